"""One utterance as one MP4 file: while it grows, and when all of it is there.

Its bytes are the first chunk and, of those after it, what follows the init segment.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ETag, HttpVersion11, hdrs, web

from ..errors import ChunkNotFound, MuseTalkStreamError, NothingToPlay
from ..hls import Segment
from ..sessions import Session
from ..store import ChunkStore
from ..turn import Turn
from .context import services, session
from .event_stream import give_up_on_silence
from .media import is_named, requested_range
from .playlists import until_there

_BLOCK_BYTES = 1 << 20
_DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class _Part:
    """Some bytes of a chunk file, in the recording or in what is wanted of it."""

    path: Path
    start: int
    size: int


async def recording(request: web.Request) -> web.StreamResponse:
    """Who fetches it is a viewer."""
    its = session(request)
    turn = its.turn(request.match_info["request_id"])
    await until_there(its, turn, 1)
    if request.method == hdrs.METH_GET:
        services(request).registry.fetched(turn.request_id)
    if turn.status.is_active and request.version < HttpVersion11:
        # Without chunked coding the end of a file that broke off looks like its end.
        await its.until(lambda: not turn.status.is_active)
    if turn.status.is_active:
        return await _growing(request, its, turn)
    _require_whole(turn)
    return await _whole(request, turn)


def _require_whole(turn: Turn) -> None:
    if turn.has_failed:
        raise NothingToPlay(
            f"the utterance failed after {turn.delivery.seconds:g} s, so there is no recording of "
            "it; its playlist_url has what was made"
        )


def _headers(request: web.Request, turn: Turn) -> dict[str, str]:
    headers = {hdrs.CONTENT_TYPE: turn.delivery.mime, "X-Content-Type-Options": "nosniff"}
    if request.query.get(_DOWNLOAD) in ("1", "true"):
        headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{turn.request_id}.mp4"'
    return headers


# --- while it grows


async def _growing(request: web.Request, its: Session, turn: Turn) -> web.StreamResponse:
    """Chunk by chunk as they are made; ranges can't be had yet. If it fails, or what was made is
    gone, the connection ends without the last piece, so that nobody takes it for whole."""
    headers = {**_headers(request, turn), hdrs.CACHE_CONTROL: "no-store"}
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    give_up_on_silence(request)
    try:
        async for block in _blocks_as_they_come(services(request).store, its, turn):
            await response.write(block)
        _require_whole(turn)
    except MuseTalkStreamError:
        _drop(request)
    return response


async def _blocks_as_they_come(store: ChunkStore, its: Session, turn: Turn) -> AsyncIterator[bytes]:
    made, num_sent = turn.delivery.segments, 0

    def is_there() -> bool:
        return len(made) > num_sent or not turn.status.is_active

    while await its.until(is_there) and num_sent < len(made):
        for part in _parts(store, turn.request_id, made[num_sent : num_sent + 1], num_sent == 0):
            async for block in _blocks(part):
                yield block
        num_sent += 1


# --- when all of it is there


async def _whole(request: web.Request, turn: Turn) -> web.StreamResponse:
    parts = _parts(services(request).store, turn.request_id, turn.delivery.segments, True)
    size = sum(part.size for part in parts)
    tag = ETag(turn.request_id)
    headers = {
        **_headers(request, turn),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: "private, max-age=3600, immutable",
        hdrs.ETAG: f'"{tag.value}"',
    }
    if request.if_match is not None and not is_named(tag, request.if_match):
        raise web.HTTPPreconditionFailed(text="the recording is another one: its ETag differs")
    if is_named(tag, request.if_none_match):
        del headers[hdrs.CONTENT_TYPE]
        return web.Response(status=304, headers=headers)
    is_same = request.headers.get(hdrs.IF_RANGE, headers[hdrs.ETAG]) == headers[hdrs.ETAG]
    wanted = requested_range(request, size) if is_same else None
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
    if wanted is not None:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    wanted = wanted or range(size)
    response.content_length = len(wanted)
    await response.prepare(request)
    if request.method == hdrs.METH_GET:
        give_up_on_silence(request)
        try:
            for part in _within(parts, wanted):
                async for block in _blocks(part):
                    await response.write(block)
        except MuseTalkStreamError:
            _drop(request)
    return response


# --- the bytes


def _parts(
    store: ChunkStore, request_id: str, segments: Sequence[Segment], is_first: bool
) -> list[_Part]:
    """Of the first chunk everything, of others what follows the init segment. Raises
    ChunkNotFound."""
    parts = []
    for place, segment in enumerate(segments):
        start = 0 if is_first and place == 0 else segment.init_size
        path = store.get(request_id, segment.name).path
        parts.append(_Part(path, start, segment.size - start))
    return parts


def _within(parts: Sequence[_Part], wanted: range) -> list[_Part]:
    """What of the parts, laid end to end, lies in a range."""
    found, place = [], 0
    for part in parts:
        first, last = max(place, wanted.start), min(place + part.size, wanted.stop)
        if first < last:
            found.append(_Part(part.path, part.start + first - place, last - first))
        place += part.size
    return found


async def _blocks(part: _Part) -> AsyncIterator[bytes]:
    """Raises ChunkNotFound where its file has gone meanwhile."""
    for offset in range(0, part.size, _BLOCK_BYTES):
        size = min(_BLOCK_BYTES, part.size - offset)
        yield await asyncio.to_thread(_read, part.path, part.start + offset, size)


def _read(path: Path, start: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        raise ChunkNotFound("this chunk is not there any more") from None


def _drop(request: web.Request) -> None:
    """What comes is not what was announced: the connection ends before its end does."""
    if request.transport is not None:
        request.transport.close()
