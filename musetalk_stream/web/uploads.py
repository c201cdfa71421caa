"""Uploads: sound in pieces as it arrives, pictures as files; bounded, gone when the request is."""

import asyncio
import shutil
import tempfile
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ..captions import MAX_BYTES as CAPTIONS_BYTES
from ..disk import full_disk_told
from ..errors import (
    BadRequest,
    EmptyAudio,
    EmptyMedia,
    InvalidParameter,
    NoAudioFile,
    NoMediaFile,
    UploadAborted,
    UploadStalled,
    UploadTooLarge,
)
from ..prepare.work import RECEIVING
from .limits import require_quota, spend_body

T = TypeVar("T")

FIELD = "audio_file"
CAPTIONS_FIELD = "captions"
MEDIA_FIELD = "file"
IDLE_FIELD = "idle"
# What multipart headers and other fields may add to the file itself.
_OVERHEAD_BYTES = 128 << 10
_MAX_OTHER_FIELDS = 16
_MAX_FIELD_BYTES = 16 << 10  # 68 landmarks with all their decimals are a quarter of it
_CHUNK_BYTES = 64 << 10
# The framework keeps each piece of a form until the next one has come: so that the first sound is
# there soon, the first pieces are small.
_AT_FIRST_BYTES = 2 << 10
_HOW = "send multipart/form-data"
# A phone that vanished must not hold its session: it says so after this long without a byte.
_SILENCE_S = 30.0
# A body of a few kilobytes comes at once; one that trickles holds a connection.
_SMALL_BODY_S = 10.0
# Pictures and videos hold one of few places while they arrive: besides that time, no more than this
# leaves them. Phones send ten times faster.
_LEAST_BYTES_PER_S = 50_000


def require_audio_form(request: web.Request, max_bytes: int) -> None:
    """What the head of a request says already. Raises NoAudioFile, UploadTooLarge,
    QuotaExceeded."""
    missing = NoAudioFile(f"{_HOW} with the sound in the field {FIELD}")
    _require_multipart(request, max_bytes, 1, missing)


def require_size(request: web.Request, max_bytes: int) -> None:
    """Likewise, of a body that is a file. Raises UploadTooLarge, QuotaExceeded."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    require_quota(request)


class AudioForm:
    """A form with the sound in the field `audio_file`, as it arrives: `sound`, then `rest`.

    captions   the field `captions`, as far as it has come; of several the last one

    Its methods raise UploadTooLarge, QuotaExceeded, UploadStalled, UploadAborted, BadRequest.
    """

    def __init__(self, request: web.Request, max_bytes: int, silence_s: float) -> None:
        """silence_s: without a byte, while we ask for one"""
        self.captions = b""
        self._request = request
        self._max_bytes = max_bytes
        self._silence_s = silence_s
        self._reader: MultipartReader | None = None
        self._others: list[str] = []
        self._others_bytes = 0
        self._has_sound = False

    async def sound(self) -> AsyncGenerator[bytes, None]:
        """The file, piece by piece as it arrives. Raises NoAudioFile and EmptyAudio, too."""
        part = await self._until_sound()
        if part is None:
            found = _found(self._others)
            raise NoAudioFile(f"send the sound in the field {FIELD}; {found}")

        async def read(size: int) -> bytes:
            try:
                return await part.read_chunk(size)
            except ValueError:
                if self._request.content.at_eof():  # only its last boundary is lacking
                    return b""
                raise

        pieces = _pieces(self._request, read, self._max_bytes, self._silence_s)
        async with aclosing(_not_empty(pieces, f"the file in the field {FIELD}")) as some:
            async for data in some:
                yield data

    async def rest(self) -> None:
        """What comes after the sound."""
        await self._until_sound()

    async def _until_sound(self) -> BodyPartReader | None:
        """The part that is the sound; None when there is none any more."""
        while len(self._others) < _MAX_OTHER_FIELDS:
            part = await self._within(self._next_part())
            if part is None:
                break
            if not isinstance(part, BodyPartReader):
                self._others.append("nested parts")
            elif part.name == FIELD and not self._has_sound:
                self._has_sound = True
                return part
            else:
                self._others.append(repr(part.name)[:40])
                await self._take(part)
        return None

    async def _next_part(self) -> MultipartReader | BodyPartReader | None:
        if self._reader is None:
            self._reader = await self._request.multipart()
        try:
            return await self._reader.next()
        except ValueError:
            if self._has_sound and self._request.content.at_eof():  # the last boundary is lacking
                return None
            raise

    async def _take(self, part: BodyPartReader) -> None:
        """Captions, as much of them as there may be and a little more; others are passed over."""
        is_captions, data = part.name == CAPTIONS_FIELD, b""
        while piece := await self._within(part.read_chunk(_CHUNK_BYTES)):
            self._others_bytes += len(piece)
            if self._others_bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            if is_captions and len(data) <= CAPTIONS_BYTES:
                data += piece
        if is_captions:
            self.captions = data

    async def _within(self, reading: Awaitable[T]) -> T:
        return await _read_within(self._request, reading, self._silence_s)


async def audio_body(
    request: web.Request, max_bytes: int, silence_s: float
) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece as it arrives; likewise."""
    pieces = _pieces(request, request.content.read, max_bytes, silence_s)
    async with aclosing(_not_empty(pieces, "the body")) as some:
        async for data in some:
            yield data


async def _not_empty(pieces: AsyncGenerator[bytes, None], what: str) -> AsyncGenerator[bytes, None]:
    is_empty = True
    async with aclosing(pieces):
        async for data in pieces:
            is_empty = False
            yield data
    if is_empty:
        raise EmptyAudio(f"{what} is empty: 0 bytes")


async def _pieces(
    request: web.Request,
    read: Callable[[int], Awaitable[bytes]],
    max_bytes: int,
    silence_s: float,
) -> AsyncGenerator[bytes, None]:
    size = 0
    while True:
        reading = read(_AT_FIRST_BYTES if size < _CHUNK_BYTES else _CHUNK_BYTES)
        data = await _read_within(request, reading, silence_s)
        if not data:
            return
        size += len(data)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield data


async def _read_within(request: web.Request, reading: Awaitable[T], silence_s: float) -> T:
    """From what reading an upload can raise to what a client understands."""
    read = await _read(request, reading, silence_s)
    spend_body(request)
    return read


async def _read(request: web.Request, reading: Awaitable[T], silence_s: float) -> T:
    try:
        async with asyncio.timeout(silence_s):
            return await reading
    except TimeoutError as exc:
        raise UploadStalled(f"nothing more of the upload came for {silence_s:g} s") from exc
    except ConnectionError as exc:
        raise aborted() from exc
    except (ValueError, RuntimeError, HttpProcessingError, web.RequestPayloadError) as exc:
        # RuntimeError is aiohttp's word for a `_charset_` field that it can't use.
        if request.transport is None or request.transport.is_closing():
            raise aborted() from exc
        raise BadRequest(f"the body can't be read: {str(exc)[:200]}") from exc


async def small_body(request: web.Request) -> bytes:
    """All of a body that is bounded by the framework. Raises UploadStalled, UploadAborted,
    BadRequest."""
    return await _read(request, request.read(), _SMALL_BODY_S)


def aborted() -> UploadAborted:
    return UploadAborted("the connection was lost before the sound was complete")


@dataclass(frozen=True, slots=True)
class ReceivedMedia:
    """path, idle: the files, which may be moved away; fields: the others of the form, by name."""

    path: Path
    idle: Path | None
    file_name: str
    fields: dict[str, str]


@asynccontextmanager
async def received_media(
    request: web.Request,
    max_bytes: int,
    folder: Path,
    check: Callable[[Mapping[str, str], str], object],
) -> AsyncIterator[ReceivedMedia]:
    """The file in the field `file`, and that in the field `idle` if there is one, spooled into a
    folder of their own within `folder`, which goes when the block ends, however it ends.

    max_bytes  of each file
    check      raises what is wrong with the fields so far; asked with the file's name before a
               file is read, which may be long

    Raises NoMediaFile, EmptyMedia, UploadTooLarge, UploadStalled, InvalidParameter, BadRequest,
    StorageFull.
    """
    missing = NoMediaFile(f"{_HOW} with the picture or video in the field {MEDIA_FIELD}")
    _require_multipart(request, max_bytes, 2, missing)
    with storage_errors():
        own = _folder_within(folder)
    try:
        names: dict[str, str] = {}  # of the files, by field
        fields: dict[str, str] = {}
        receiving = _receiving(request, _LEAST_BYTES_PER_S)
        async with receiving as patience, aclosing(_parts(request)) as parts:
            async for part in parts:
                name = part.name or ""
                if name not in (MEDIA_FIELD, IDLE_FIELD):
                    if part.filename:
                        raise _no_media(f"there is a file in {name!r:.40}")
                    fields[name] = await _text(part, patience)
                    continue
                if name in names:
                    raise InvalidParameter(name, "must be one file; send one at a time")
                check(fields, part.filename or "")
                with (own / name).open("wb") as file:
                    size = await _spool(part, file, max_bytes, patience)
                if not size and name == IDLE_FIELD and not part.filename:
                    continue  # of a form in which no file was chosen
                if not size:
                    raise EmptyMedia(f"the file in the field {name} is empty: 0 bytes")
                names[name] = part.filename or ""
        if MEDIA_FIELD not in names:
            raise _no_media(_found([repr(name)[:40] for name in (*names, *fields)]))
        idle = own / IDLE_FIELD if IDLE_FIELD in names else None
        yield ReceivedMedia(own / MEDIA_FIELD, idle, names[MEDIA_FIELD], fields)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _folder_within(folder: Path) -> Path:
    """It goes on being there while a server is: that has its lock in it."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=RECEIVING, dir=folder))


@contextmanager
def storage_errors() -> Iterator[None]:
    """From what writing a file can raise to what a client understands."""
    with full_disk_told("make room and send the file again"):
        yield


def _require_multipart(
    request: web.Request, max_bytes: int, max_files: int, otherwise: BadRequest
) -> None:
    if (request.content_length or 0) > max_files * max_bytes + _OVERHEAD_BYTES:
        raise _too_large(max_bytes)
    if not request.content_type.startswith("multipart/"):
        raise otherwise
    require_quota(request)


class _Patience:
    """With who sends: it ends with silence and, if there is a least rate, with too little."""

    def __init__(
        self, request: web.Request, timeout: asyncio.Timeout, least_bytes_per_s: int
    ) -> None:
        self._request = request
        self._timeout = timeout
        self._least_bytes_per_s = least_bytes_per_s
        self._began_s = asyncio.get_running_loop().time()
        self._received_bytes = 0

    def received(self, num_bytes: int) -> None:
        """Raises QuotaExceeded."""
        spend_body(self._request)
        self._received_bytes += num_bytes
        until_s = asyncio.get_running_loop().time() + _SILENCE_S
        if self._least_bytes_per_s:
            earned_s = _SILENCE_S + self._received_bytes / self._least_bytes_per_s
            until_s = min(until_s, self._began_s + earned_s)
        self._timeout.reschedule(until_s)


@asynccontextmanager
async def _receiving(request: web.Request, least_bytes_per_s: int) -> AsyncIterator[_Patience]:
    """A limit on silence, and on slowness if that is asked for, to be told of all that comes; and
    errors translated, from what reading a body and writing a file can raise to what a client
    understands."""
    try:
        with storage_errors():
            async with asyncio.timeout(_SILENCE_S) as timeout:
                yield _Patience(request, timeout, least_bytes_per_s)
    except TimeoutError as exc:
        slow = f", or less than {least_bytes_per_s // 1000} kB/s" if least_bytes_per_s else ""
        raise UploadStalled(
            f"nothing more of the upload came for {_SILENCE_S:g} s{slow}: send it again"
        ) from exc
    except (ValueError, RuntimeError, HttpProcessingError, web.RequestPayloadError) as exc:
        # RuntimeError is aiohttp's word for a `_charset_` field that it can't use.
        raise BadRequest(f"the multipart body can't be read: {str(exc)[:200]}") from exc


async def _spool(part: BodyPartReader, file: BinaryIO, max_bytes: int, patience: _Patience) -> int:
    """Write a part to a file; how many bytes it has."""
    size = 0
    while data := await part.read_chunk(_CHUNK_BYTES):
        patience.received(len(data))
        size += len(data)
        if size > max_bytes:
            raise _too_large(max_bytes)
        await asyncio.to_thread(file.write, data)  # which may block
    return size


async def _text(part: BodyPartReader, patience: _Patience) -> str:
    data = b""
    while piece := await part.read_chunk(_CHUNK_BYTES):
        patience.received(len(piece))
        data += piece
        if len(data) > _MAX_FIELD_BYTES:
            raise InvalidParameter(
                (part.name or "")[:40], f"must be at most {_MAX_FIELD_BYTES} bytes"
            )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidParameter((part.name or "")[:40], "must be UTF-8") from None


async def _parts(request: web.Request) -> AsyncGenerator[BodyPartReader, None]:
    """The fields of a form: a file, and some others; nested ones are passed over."""
    reader = await request.multipart()
    for _ in range(_MAX_OTHER_FIELDS + 1):
        part = await reader.next()
        if part is None:
            return
        if isinstance(part, BodyPartReader):
            yield part


def _no_media(found: str) -> NoMediaFile:
    return NoMediaFile(f"send the picture or video in the field {MEDIA_FIELD}; {found}")


def _found(others: list[str]) -> str:
    return f"found only: {', '.join(others)}" if others else "the form is empty"


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"the file is larger than the limit of {max_bytes // 10**6} MB")
