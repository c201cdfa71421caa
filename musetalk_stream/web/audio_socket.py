"""Raw sound over a WebSocket: one connection, many utterances."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from ..captions import Cue, cues_of_json
from ..errors import (
    BadRequest,
    CaptionsTooLarge,
    EmptyAudio,
    InvalidCaptions,
    MuseTalkStreamError,
    QuotaExceeded,
    TokenExpired,
    UploadTooLarge,
    UtteranceNotFound,
)
from ..events import Missed
from ..listening import PcmFormat
from ..options import SpeechOptions, speech_options
from ..sessions import Session
from ..sse import PING_S
from ..turn import Turn
from .access import seconds_left
from .arriving import admitted, status
from .context import session
from .limits import spend
from .parameters import pcm_format
from .uploads import aborted

log = logging.getLogger(__name__)

# Ten seconds of the usual sound; a client that wants to send a file has other ways.
MAX_MESSAGE_BYTES = 1 << 20
# What is larger than this is not even read: the connection ends without a word of ours.
_MAX_FRAME_BYTES = 4 * MAX_MESSAGE_BYTES
_SEND_TIMEOUT_S = 10.0
_FAREWELL_S = 1.0  # that a client has for its side of the closing handshake


class Word(Enum):
    """What a client says besides sound."""

    START = "start"  # of another utterance, whatever became of the one before
    END = "end"  # of the utterance
    CANCEL = "cancel"


async def audio_socket(request: web.Request) -> web.StreamResponse:
    its = session(request)
    form, options = pcm_format(request.query), speech_options(request.query, its.options)
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        raise web.HTTPUpgradeRequired(
            headers={hdrs.UPGRADE: "websocket"},
            text="this address speaks WebSocket: open it as ws:// or wss://",
        )
    socket = web.WebSocketResponse(
        compress=False, max_msg_size=_MAX_FRAME_BYTES, timeout=_FAREWELL_S
    )
    await socket.prepare(request)
    async with _closed_with(its, socket):
        await _AudioSocket(request, socket, its, form, options).serve()
    return socket


@asynccontextmanager
async def _closed_with(its: Session, socket: web.WebSocketResponse) -> AsyncIterator[None]:
    """The socket is closed when the session is, if that comes before the end of the block."""
    is_over = asyncio.Event()

    async def close_when_over() -> None:
        await _until_over(its)
        is_over.set()
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the session has ended")

    closing = asyncio.create_task(close_when_over(), name=f"socket-of-{its.id[:8]}")
    try:
        with its.connected():
            yield
    finally:
        if not is_over.is_set():
            closing.cancel()
        await asyncio.wait([closing])


async def _until_over(its: Session) -> None:
    """Its event log ends with it."""
    while True:
        try:
            async with aclosing(its.events.follow(its.events.last_id)) as events:
                async for _ in events:
                    pass
            return
        except Missed:
            continue


@dataclass(frozen=True, slots=True)
class _Captions:
    """What is said in the sound: cues as JSON, not looked at yet."""

    cues: object


class _Mistake(Exception):
    """What can't be understood ends the connection, with this code.

    request_id  the utterance that ends with it
    """

    def __init__(self, code: WSCloseCode, error: MuseTalkStreamError) -> None:
        super().__init__(error.detail)
        self.code = code
        self.error = error
        self.request_id: str | None = None


class _AudioSocket:
    """One connection. Only the task that serves it reads and writes."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        its: Session,
        form: PcmFormat,
        options: SpeechOptions,
    ) -> None:
        self._request = request
        self._socket = socket
        self._session = its
        self._form = form
        self._options = options
        self._latest: str | None = None  # request id of the utterance that came last
        self._is_arriving = False  # an utterance, or what is passed over of it
        self._heard: str | None = None  # request id of the one that is arriving, if it is taken
        self._cues: tuple[Cue, ...] = ()  # of the next one

    async def serve(self) -> None:
        """Until the client leaves, makes a mistake, or the session ends."""
        try:
            while (said := await self._next()) is not None:
                if isinstance(said, bytes):
                    self._is_arriving = True
                    await self._utterance(said)
                    self._is_arriving, self._heard = False, None
                elif said is Word.CANCEL:
                    await self._cancel(self._latest)
                elif said is Word.END:
                    await self._tell(
                        EmptyAudio("there is no sound: nothing came to be ended"), None
                    )
        except _Mistake as mistake:
            await self._close(mistake.code, mistake.error, mistake.request_id)
        except (ConnectionError, TimeoutError):
            pass  # the client has gone, or does not read: there is nobody to tell
        except Exception:  # which would otherwise be answered as HTTP, within the WebSocket
            log.exception("a WebSocket ends")
            error = MuseTalkStreamError("the server made a mistake; its log says which")
            await self._close(WSCloseCode.INTERNAL_ERROR, error, None)

    async def _close(
        self, code: WSCloseCode, error: MuseTalkStreamError, request_id: str | None
    ) -> None:
        with suppress(ConnectionError, TimeoutError):
            await self._tell(error, request_id)
            await self._socket.close(code=code, message=error.code.encode())

    async def _utterance(self, first: bytes) -> None:
        """From its first sound to its end. What goes wrong with it is told once, and the rest of it
        is passed over; the connection stays."""
        request_id: str | None = None
        is_over = False  # its end was said
        cues, self._cues = self._cues, ()
        try:
            with admitted(self._request, self._session, self._options) as turn:
                request_id = self._latest = self._heard = turn.request_id
                self._session.caption(request_id, cues)
                await self._say("accepted", request_id=request_id, epoch=turn.epoch)
                said = await self._hear(turn, first)
                is_over = True
                if said is Word.CANCEL:
                    await self._cancel(request_id)
                    return
                turn.speech.end()
        except MuseTalkStreamError as exc:
            if isinstance(exc.__cause__, _Mistake):
                raise exc.__cause__ from None
            await self._tell(exc, request_id)
            if not is_over and await self._pass_over() is Word.CANCEL:
                await self._say("cancelled", request_id=request_id)
            return
        await self._say(
            "ended",
            request_id=request_id,
            duration=turn.describe()["duration"],
            status=status(self._session, turn),
        )

    async def _hear(self, turn: Turn, first: bytes) -> Word:
        """How it ended. Not to read is how a client is told to wait."""
        said: bytes | Word | None = first
        speech = turn.speech
        while isinstance(said, bytes):
            await speech.hear_pcm(said, self._form)
            try:
                async with speech.awaiting():
                    said = await self._next()
            except _Mistake as mistake:
                mistake.request_id = turn.request_id
                raise mistake.error from mistake  # which ends the utterance
        if said is None:
            raise aborted()
        return said

    async def _pass_over(self) -> Word | None:
        """What still comes of an utterance that is not heard any more; the word that ends it."""
        while isinstance(said := await self._next(), bytes):
            pass
        return said

    async def _cancel(self, request_id: str | None) -> None:
        """Always answered, so that a client may wait for it."""
        if request_id is not None:
            with suppress(UtteranceNotFound):  # it was over long ago
                self._session.cancel(request_id)
        await self._say("cancelled", request_id=request_id)

    async def _caption(self, raw: object) -> None:
        """Captions of the utterance that is arriving, else of the next one; of one that was
        refused, of none. Those that are wrong are told about, and nothing else happens."""
        try:
            cues = cues_of_json(raw)
        except (InvalidCaptions, CaptionsTooLarge) as exc:
            await self._tell(exc, self._heard)
            return
        if not self._is_arriving:
            self._cues = cues
        elif self._heard is not None:
            with suppress(UtteranceNotFound):  # nothing of it could be spoken
                self._session.caption(self._heard, cues)

    # --- the wire

    async def _next(self) -> bytes | Word | None:
        """Sound, or a word; None when the connection is over. A client that is silent is asked now
        and then whether it is there. Raises _Mistake."""
        while True:
            try:
                message = await self._socket.receive(self._patience_s())
            except TimeoutError:
                await self._socket.ping()
                continue
            if message.type is WSMsgType.BINARY:
                _check_size(message.data)
                self._spend(len(message.data))
                if message.data:
                    return bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                _check_size(message.data)
                said = _word(message.data)
                if isinstance(said, Word):
                    return said
                await self._caption(said.cues)
            else:
                return None

    def _patience_s(self) -> float:
        """Who has begun to speak may finish. Raises _Mistake when another utterance is not for who
        asked any more."""
        if self._is_arriving:
            return PING_S
        left_s = seconds_left(self._request)
        if not left_s:
            raise _Mistake(
                WSCloseCode.POLICY_VIOLATION,
                TokenExpired("the token of this connection has ended: open another with a new one"),
            )
        return min(PING_S, left_s)

    def _spend(self, num_bytes: int) -> None:
        """Raises _Mistake."""
        refused = None
        try:
            spend(self._request, num_bytes)
        except QuotaExceeded as exc:
            refused = exc
        if refused:  # raised out here, as it becomes the cause of its own error later
            raise _Mistake(WSCloseCode.TRY_AGAIN_LATER, refused)

    async def _tell(self, error: MuseTalkStreamError, request_id: str | None) -> None:
        about = {} if request_id is None else {"request_id": request_id}
        await self._say(
            "error",
            code=error.code,
            message=error.detail,
            status=error.status,
            retryable=error.retryable,
            **about,
        )

    async def _say(self, what: str, **fields: object) -> None:
        async with asyncio.timeout(_SEND_TIMEOUT_S):
            await self._socket.send_str(json.dumps({"event": what, **fields}))


def _check_size(message: bytes | str) -> None:
    if len(message) > MAX_MESSAGE_BYTES:
        raise _Mistake(
            WSCloseCode.MESSAGE_TOO_BIG,
            UploadTooLarge(
                f"a message is larger than {MAX_MESSAGE_BYTES} bytes: send smaller ones"
            ),
        )


def _word(text: str) -> Word | _Captions:
    """Raises _Mistake."""
    try:
        said = json.loads(text)
        what = said["event"] if "event" in said else said["type"]
        return _Captions(said.get("cues")) if what == "captions" else Word(what)
    except (ValueError, TypeError, LookupError, RecursionError):
        words = ", ".join(json.dumps({"event": word.value}) for word in Word)
        raise _Mistake(
            WSCloseCode.UNSUPPORTED_DATA,
            BadRequest(
                f'sound is binary, and text must be {words} or {{"event": "captions", "cues": […]}}'
                f", not {text[:60]!r}"
            ),
        ) from None
