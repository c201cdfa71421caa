"""What is said in a session: sound that comes in, interruptions, and what became of it."""

import math
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import hdrs, web

from ..errors import (
    InvalidParameter,
    MuseTalkStreamError,
    StreamActive,
    UnsupportedAudio,
    UtteranceEnded,
)
from ..growing_file import anew
from ..options import (
    AGO_MS,
    FIRST_FRAME_MS,
    INTERRUPT_WAIT,
    PLAYED_MS,
    STALLED_MS,
    Option,
    flag,
    speech_options,
)
from ..sessions import Session
from ..turn import Turn
from .arriving import LOST, admitted, as_told, begun, hear_container, hear_pcm, status
from .captions import cues_of_field
from .context import CONFIG, session
from .parameters import PCM_TYPES, parameters, pcm_of_content_type
from .problems import problem
from .uploads import AudioForm, audio_body, require_audio_form, require_size

IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"

LONGEST_KEY = 255
_KEY = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_KEY}}}")
# What may carry a container of sound; its bytes say which.
_CONTAINERS = re.compile(r"audio/.+|video/(webm|mp4)|application/(ogg|octet-stream)")


async def upload(request: web.Request) -> web.Response:
    """A file in a form."""
    its, limits = session(request), request.app[CONFIG].upload
    options, key = speech_options(request.query, its.options), _key(request)
    require_audio_form(request, limits.max_upload_bytes)
    form = AudioForm(request, limits.max_upload_bytes, limits.audio_stall_timeout_s)
    if said := _said(its, key):
        await _pass_over(form.sound())
        await form.rest()
        return _replay(request, its, said)
    async with begun(request, form.sound()) as sound:
        cues = cues_of_field(form.captions)
        with admitted(request, its, options, key) as turn:
            its.caption(turn.request_id, cues)
            await hear_container(sound, turn.speech)
    await _take_rest(form, its, turn)
    return _accepted(its, turn)


async def _take_rest(form: AudioForm, its: Session, turn: Turn) -> None:
    """Captions that come after the sound. What is wrong there is wrong, but not with the sound:
    that is spoken, and to send it again would say it twice."""
    known = form.captions
    try:
        await form.rest()
        if form.captions is not known:
            its.caption(turn.request_id, cues_of_field(form.captions))
    except MuseTalkStreamError as exc:
        told = anew(exc)
        told.args = (f"{exc}; the sound before it is spoken: don't send it again",)
        told.retryable = False
        raise told from None


async def stream_audio(request: web.Request) -> web.Response:
    """A body of sound: raw audio samples, or a container."""
    its, limits = session(request), request.app[CONFIG].upload
    options, key = speech_options(request.query, its.options), _key(request)
    form = pcm_of_content_type(request)
    if form is None:
        _require_container(request)
        require_size(request, limits.max_upload_bytes)
        max_bytes = limits.max_upload_bytes
    else:
        # Its length is what counts, and is looked at as it comes.
        max_bytes = math.ceil(limits.max_audio_s + 1) * form.bytes_per_second
    pieces = audio_body(request, max_bytes, limits.audio_stall_timeout_s)
    if said := _said(its, key):
        await _pass_over(pieces)
        return _replay(request, its, said)
    async with begun(request, pieces) as sound:
        with admitted(request, its, options, key) as turn:
            if form:
                await hear_pcm(sound, form, turn.speech)
            else:
                await hear_container(sound, turn.speech)
    return _accepted(its, turn)


def _require_container(request: web.Request) -> None:
    if request.content_type.startswith("multipart/"):
        raise UnsupportedAudio("forms go to /stream; send the sound itself as the body here")
    if not _CONTAINERS.fullmatch(request.content_type):
        raise UnsupportedAudio(
            f"{request.content_type[:60]} is no sound: send {PCM_TYPES[0]};rate=…;channels=… for "
            "raw audio samples, or a file as audio/… or application/octet-stream"
        )


def _key(request: web.Request) -> str | None:
    keys = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidParameter(
            IDEMPOTENCY_KEY, f"must be one of 1 to {LONGEST_KEY} visible ASCII characters"
        )
    return str(keys[0])


def _said(its: Session, key: str | None) -> Turn | None:
    """The utterance that an earlier request of this key has made; none if it was lost on its way:
    then this one carries what is missing, and is spoken from its beginning. Raises StreamActive
    while that one is still arriving."""
    turn = its.said(key) if key is not None else None
    if turn is not None and turn.is_arriving:
        raise StreamActive(f"the upload of this {IDEMPOTENCY_KEY} is still arriving")
    if turn is not None and isinstance(turn.ended_early, LOST):
        turn.key = None
        return None
    return turn


async def _pass_over(pieces: AsyncGenerator[bytes, None]) -> None:
    """A client that is still sending reads no answer, so all of it is read first, within its
    limits."""
    async with aclosing(pieces):
        async for _ in pieces:
            pass


def _replay(request: web.Request, its: Session, turn: Turn) -> web.Response:
    """What the first request was told."""
    cut = UtteranceEnded(f"the utterance is {turn.status.value}") if turn.was_cut else None
    error = turn.ended_early or cut
    answer = problem(request, as_told(error, turn)) if error else _accepted(its, turn)
    answer.headers[IDEMPOTENCY_REPLAYED] = "true"
    return answer


def _accepted(its: Session, turn: Turn) -> web.Response:
    document = {
        "request_id": turn.request_id,
        "session_id": its.id,
        "status": status(its, turn),
        "duration": turn.describe()["duration"],
        "epoch": turn.epoch,
    }
    headers = {hdrs.LOCATION: f"/sessions/{its.id}/utterances/{turn.request_id}"}
    return web.json_response(document, status=202, headers=headers)


async def interrupt(request: web.Request) -> web.Response:
    """Everything is silent at once; then, how much of it was heard."""
    its = session(request)
    raw = await parameters(request)
    wait_s = float(INTERRUPT_WAIT.read(raw.get(INTERRUPT_WAIT.name, INTERRUPT_WAIT.default)))
    interruption = its.interrupt()
    document = {
        "interrupted": bool(interruption.request_ids),
        "epoch": interruption.epoch,
        "request_ids": list(interruption.request_ids),
        "request_id": interruption.heard,
        "played_ms": await its.played_ms(interruption, wait_s),
    }
    return web.json_response(document)


async def list_utterances(request: web.Request) -> web.Response:
    its = session(request)
    return web.json_response({"utterances": [_with_links(its, each) for each in its.utterances()]})


async def get_utterance(request: web.Request) -> web.Response:
    its = session(request)
    turn = its.turn(request.match_info["request_id"])
    return web.json_response(_with_links(its, turn.describe()))


def _with_links(its: Session, utterance: dict[str, Any]) -> dict[str, Any]:
    request_id = utterance["request_id"]
    base = f"/sessions/{its.id}"
    return {
        **utterance,
        "playlist_url": f"{base}/master.m3u8?request_id={request_id}",
        "recording_url": f"{base}/utterances/{request_id}.mp4",
        "captions_url": f"{base}/utterances/{request_id}/captions",
    }


async def cancel_utterance(request: web.Request) -> web.Response:
    session(request).cancel(request.match_info["request_id"])
    return web.Response(status=204)


async def playback(request: web.Request) -> web.Response:
    """The player's report: what viewers see and hear."""
    its = session(request)
    raw = await parameters(request)
    request_id = raw.get("request_id")
    if not isinstance(request_id, str):
        raise InvalidParameter("request_id", "must be the id of an utterance")
    what = raw.get("event")
    if what == "started":
        first_frame_s = None
        if FIRST_FRAME_MS.name in raw:
            first_frame_s = _whole(raw, FIRST_FRAME_MS) / 1000
        ago_s = _whole(raw, AGO_MS) / 1000
        its.playback_started(request_id, ago_s=ago_s, first_frame_s=first_frame_s)
    elif what == "stalled":
        if STALLED_MS.name not in raw:
            raise InvalidParameter(STALLED_MS.name, STALLED_MS.range)
        its.playback_stalled(request_id, _whole(raw, STALLED_MS) / 1000)
    elif what == "finished":
        its.playback_finished(
            request_id,
            played_ms=_whole(raw, PLAYED_MS),
            interrupted=flag(raw, "interrupted"),
        )
    else:
        raise InvalidParameter("event", "must be started, stalled or finished")
    return web.Response(status=204)


def _whole(raw: Mapping[str, Any], option: Option) -> int:
    return int(option.read(raw.get(option.name, option.default)))
