"""The chunks of an utterance for players that want a list of them: HTTP Live Streaming."""

from aiohttp import hdrs, web

from .. import hls
from ..access import ANYBODY
from ..errors import NothingToPlay, NotYet, UtteranceNotFound
from ..sessions import Session
from ..turn import Turn
from .access import caller, token_of_addresses, with_token
from .context import CONFIG, services, session
from .media import IMMUTABLE

# How long a request waits for what will be there: longer than a chunk takes, shorter than clients
# and proxies are patient.
_HELD_S = 10.0
_TRY_AGAIN_S = 1
_NOT_KEPT = {hdrs.CACHE_CONTROL: "no-store"}
_GROWING = {hdrs.CACHE_CONTROL: "no-cache"}
_WHOLE = {hdrs.CACHE_CONTROL: IMMUTABLE}  # as its chunks are


async def live_list(request: web.Request) -> web.Response:
    """The media list of an utterance. Without a name, the address is for the one that is spoken
    now, and the answer names it: a list that is loaded again must stay that of the same one."""
    its = session(request)
    if "request_id" not in request.query:
        url = request.rel_url.update_query(request_id=_current(its).request_id)
        address = f"{url.raw_name}?{url.raw_query_string}"
        return web.Response(status=307, headers={hdrs.LOCATION: address, **_NOT_KEPT})
    turn = its.turn(request.query["request_id"])
    num_wanted = hls.wanted_segments(
        request.query.get(hls.MEDIA_SEQUENCE), len(turn.delivery.segments)
    )
    await until_there(request, its, turn, num_wanted)
    its.looked_at(turn.request_id)
    text = hls.media_list(
        turn.delivery.segments,
        folder=f"../../chunks/{turn.request_id}/",
        query=with_token("", token_of_addresses(request)),
        target_s=_target_s(its),
        is_whole=not turn.status.is_active,
    )
    return _answer(request, text, turn)


async def master_list(request: web.Request) -> web.Response:
    """Which media list is the utterance's, and what a player must be able to do for it."""
    its = session(request)
    request_id = request.query.get("request_id")
    turn = _current(its) if request_id is None else its.turn(request_id)
    await until_there(request, its, turn, 1)
    manifest = its.avatar.manifest
    text = hls.master_list(
        turn.delivery.segments,
        media_url=with_token(
            f"live.m3u8?request_id={turn.request_id}", token_of_addresses(request)
        ),
        mime=turn.delivery.mime,
        size=(manifest.width, manifest.height),
        fps=its.options.playback_fps,
        target_s=_target_s(its),
        most_bits_per_s=None if not turn.status.is_active else _most_bits_per_s(request, its),
    )
    answer = _answer(request, text, turn)
    if request_id is None:  # of another one soon
        answer.headers.update(_GROWING)
    return answer


def _target_s(its: Session) -> int:
    return hls.target_duration_s(its.options.chunk_duration_s, its.options.playback_fps)


def _most_bits_per_s(request: web.Request, its: Session) -> int:
    manifest, encoder = its.avatar.manifest, request.app[CONFIG].encoder
    return hls.most_bits_per_s(
        size=(manifest.width, manifest.height),
        fps=its.options.playback_fps,
        crf=encoder.crf,
        audio_kbps=encoder.audio_kbps,
    )


def _current(its: Session) -> Turn:
    if its.current is None:
        raise UtteranceNotFound("this session has nothing to play: upload sound first")
    return its.current


async def until_there(request: web.Request, its: Session, turn: Turn, num_segments: int) -> None:
    """Returns when so many chunks of it are there, or all that there will be.

    Raises NotYet after a while, NothingToPlay if there will be none, and ChunkNotFound if they had
    to make room for others."""
    made = turn.delivery.segments

    def is_there() -> bool:
        return len(made) >= num_segments or not turn.status.is_active

    if not await its.until(is_there, _HELD_S):
        raise NotYet(
            f"the utterance is {turn.status.value}, and its next chunk did not come within "
            f"{_HELD_S:g} s: ask again",
            retry_after_s=_TRY_AGAIN_S,
        )
    if not made:
        raise NothingToPlay(f"the utterance is {turn.status.value} and nothing of it was made")
    services(request).store.get(turn.request_id, made[0].name)


def _answer(request: web.Request, text: str, turn: Turn) -> web.Response:
    """Tokens that were made for it end before what is kept does."""
    its = caller(request)
    is_kept = its is ANYBODY or its.session_id is not None
    headers = _WHOLE if is_kept and not turn.status.is_active else _GROWING
    answer = web.Response(text=text, headers=headers)
    answer.headers[hdrs.CONTENT_TYPE] = hls.CONTENT_TYPE
    return answer
