"""One utterance as one MP4 file: while it grows, and when all of it is there.

Its bytes are the first chunk and, of those after it, what follows the init segment.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import HttpVersion11, hdrs, web

from ..errors import ChunkNotFound, MuseTalkStreamError, NothingToPlay
from ..hls import Segment
from ..options import flag
from ..sessions import Session
from ..store import ChunkStore
from ..turn import Turn
from .access import require_still
from .context import services, session
from .media import IMMUTABLE
from .parts import Part, blocks_of, drop, send_parts
from .playlists import until_there
from .sending import SENDING, finish, send

_DOWNLOAD = "download"


async def recording(request: web.Request) -> web.StreamResponse:
    """Who fetches it is a viewer."""
    its = session(request)
    turn = its.turn(request.match_info["request_id"])
    with its.connected():
        await until_there(request, its, turn, 1)
        if turn.status.is_active and request.version < HttpVersion11:
            # Without chunked coding the end of a file that broke off looks like its end.
            await its.until(lambda: not turn.status.is_active)
        if not turn.status.is_active:
            _require_whole(turn)
        if request.method == hdrs.METH_GET:
            its.fetched(turn.request_id)
        if turn.status.is_active:
            return await _growing(request, its, turn)
        return await _whole(request, turn)


def _require_whole(turn: Turn) -> None:
    if turn.has_failed:
        raise NothingToPlay(
            f"the utterance failed after {turn.delivery.seconds:g} s, so there is no recording of "
            "it; its playlist_url has what was made"
        )


def _headers(request: web.Request, turn: Turn) -> dict[str, str]:
    headers = {hdrs.CONTENT_TYPE: turn.delivery.mime, "X-Content-Type-Options": "nosniff"}
    if flag(request.query, _DOWNLOAD):
        headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{turn.request_id}.mp4"'
    return headers


# --- while it grows


async def _growing(request: web.Request, its: Session, turn: Turn) -> web.StreamResponse:
    """Chunk by chunk as they are made; ranges can't be had yet. If it fails, or what was made is
    gone, or who watches may not any more, the connection ends without the last piece, so that
    nobody takes it for whole."""
    headers = {**_headers(request, turn), hdrs.CACHE_CONTROL: "no-store"}
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        async with aclosing(_as_it_comes(services(request).store, its, turn)) as blocks:
            with request.app[SENDING].answer():
                async for block in blocks:
                    require_still(request)
                    its.looked_at(turn.request_id)
                    await send(request, response, block)
        _require_whole(turn)
        await finish(request, response)
    except MuseTalkStreamError:
        drop(request)
    except TimeoutError:
        pass  # the client has left without a word
    return response


async def _as_it_comes(store: ChunkStore, its: Session, turn: Turn) -> AsyncGenerator[bytes, None]:
    made, num_sent = turn.delivery.segments, 0

    def is_there() -> bool:
        return len(made) > num_sent or not turn.status.is_active

    while await its.until(is_there) and num_sent < len(made):
        for part in _parts(store, turn.request_id, made[num_sent : num_sent + 1], num_sent == 0):
            async with aclosing(blocks_of(part, _gone())) as blocks:
                async for block in blocks:
                    yield block
        num_sent += 1


# --- when all of it is there


async def _whole(request: web.Request, turn: Turn) -> web.StreamResponse:
    parts = _parts(services(request).store, turn.request_id, turn.delivery.segments, True)
    headers = {**_headers(request, turn), hdrs.CACHE_CONTROL: IMMUTABLE}
    return await send_parts(request, parts, headers, _gone(), tag=turn.request_id)


def _parts(
    store: ChunkStore, request_id: str, segments: Sequence[Segment], is_first: bool
) -> list[Part]:
    """Of the first chunk everything, of others what follows the init segment. Raises
    ChunkNotFound."""
    parts = []
    for place, segment in enumerate(segments):
        start = 0 if is_first and place == 0 else segment.init_size
        path = store.get(request_id, segment.name).path
        parts.append(Part(path, start, segment.size - start))
    return parts


def _gone() -> ChunkNotFound:
    return ChunkNotFound("this chunk is not there any more")
