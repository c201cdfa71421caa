"""Multipart uploads: spooled as they arrive, bounded, and gone when the request is."""

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, cast

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import (
    BadRequest,
    EmptyAudio,
    NoAudioFile,
    StorageFull,
    UploadStalled,
    UploadTooLarge,
)

FIELD = "audio_file"
# Most utterances stay below this and never touch the disk.
_IN_MEMORY_BYTES = 4 << 20
# What multipart headers and other fields may add to the file itself.
_OVERHEAD_BYTES = 64 << 10
_MAX_OTHER_FIELDS = 16
# A phone that vanished must not hold its session: it says so after this long without a byte.
_SILENCE_S = 30.0


@asynccontextmanager
async def received_audio(request: web.Request, max_bytes: int) -> AsyncIterator[BinaryIO]:
    """The file in the field `audio_file`, rewound. Removed when the block ends, however it ends.

    Raises NoAudioFile, EmptyAudio, UploadTooLarge, UploadStalled, BadRequest, StorageFull.
    """
    if (request.content_length or 0) > max_bytes + _OVERHEAD_BYTES:
        raise _too_large(max_bytes)
    if not request.content_type.startswith("multipart/"):
        raise NoAudioFile(f"send multipart/form-data with the sound in the field {FIELD}")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
        file = cast(BinaryIO, spool)
        with _errors_translated():
            async with asyncio.timeout(_SILENCE_S) as silence:
                part = await _audio_part(request)
                size = 0
                while data := await part.read_chunk(64 << 10):
                    silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_S)
                    size += len(data)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    if size > _IN_MEMORY_BYTES:  # a write to the disk may block
                        await asyncio.to_thread(file.write, data)
                    else:
                        file.write(data)
        if not size:
            raise EmptyAudio(f"the file in the field {FIELD} is empty: 0 bytes")
        file.seek(0)
        yield file


@contextmanager
def _errors_translated() -> Iterator[None]:
    """From what reading a body and writing a file can raise to what a client understands."""
    try:
        yield
    except TimeoutError as exc:
        raise UploadStalled(
            f"nothing more of the upload came for {_SILENCE_S:g} s: send it again"
        ) from exc
    except (ValueError, RuntimeError, HttpProcessingError, web.RequestPayloadError) as exc:
        # RuntimeError is aiohttp's word for a `_charset_` field that it can't use.
        raise BadRequest(f"the multipart body can't be read: {str(exc)[:200]}") from exc
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull("the disk is full: make room and send the audio again") from exc


async def _audio_part(request: web.Request) -> BodyPartReader:
    others: list[str] = []
    reader = await request.multipart()
    while len(others) < _MAX_OTHER_FIELDS and (part := await reader.next()) is not None:
        if isinstance(part, BodyPartReader) and part.name == FIELD:
            return part
        others.append(repr(part.name)[:40] if isinstance(part, BodyPartReader) else "nested parts")
    found = f"found only: {', '.join(others)}" if others else "the form is empty"
    raise NoAudioFile(f"send the sound in the field {FIELD}; {found}")


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"the upload is larger than the limit of {max_bytes // 10**6} MB")
