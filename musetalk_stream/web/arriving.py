"""How sound gets from a request into an utterance while it arrives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

from aiohttp import web

from ..errors import MuseTalkStreamError, UploadAborted, UploadStalled
from ..growing_file import GrowingFile, anew
from ..listening import PcmFormat
from ..options import SpeechOptions
from ..session_state import TurnState
from ..sessions import Session
from ..speech import Speech
from ..turn import Turn
from .access import require_still
from .context import services
from .uploads import aborted, storage_errors

# A file of which all has come by then is looked at as a whole before it is spoken, so that a
# damaged one is an error and not half an utterance. Longer would be heard; most uploads of a few
# seconds, and all that a neighbour sends, take less.
_AT_ONCE_S = 0.1

# What was lost on its way: who sends it again sends what is missing.
LOST = (UploadAborted, UploadStalled)


@asynccontextmanager
async def begun(
    request: web.Request, pieces: AsyncGenerator[bytes, None]
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """All of them, once the first is there: what brings no sound must interrupt nothing. They end
    with TokenExpired or InvalidCredentials when who sends them may not any more."""
    async with aclosing(pieces):
        first = await anext(pieces)

        async def all_of_them() -> AsyncGenerator[bytes, None]:
            yield first
            async for data in pieces:
                require_still(request)
                yield data

        yield all_of_them()


@contextmanager
def admitted(
    request: web.Request, its: Session, options: SpeechOptions, key: str | None = None
) -> Iterator[Turn]:
    """A place in the queue, held while sound arrives inside the block. An error that leaves it ends
    the utterance early, and so does a client that goes away.

    Raises SessionGone, StreamActive, QueueFull, RendererLost, AtCapacity, TooManyUtterancesOfUser,
    and what the block does.
    """
    registry = services(request).registry
    registry.require_turn(its, options.on_busy)  # first: what is refused must interrupt nothing
    services(request).readying.require(its.avatar)  # the server may have been started again
    registry.renew_share(its)
    turn: Turn | None = None
    try:
        with its.admit(options, key=key) as turn:
            yield turn
    except MuseTalkStreamError as exc:
        raise (as_told(exc, turn) if turn else exc) from exc.__cause__


def as_told(error: MuseTalkStreamError, turn: Turn) -> MuseTalkStreamError:
    """Why the sound of a turn ended early, to its sender, and what to do: of what was spoken in
    part, to send all of it again would say the beginning twice."""
    told = anew(error)
    was_begun = turn.has_sound and turn.status is not TurnState.DROPPED
    was_begun &= turn.begun_s is not None or turn.status is not TurnState.FAILED
    if turn.ended_early and turn.ended_early.code == error.code and was_begun:
        told.args = (f"{error}; what came before is spoken",)
        told.retryable = False
    elif isinstance(error, LOST):
        told.args = (f"{error}: send it again",)
    return told


def status(its: Session, turn: Turn) -> str:
    """An utterance that nothing is before is as good as spoken."""
    if turn.status is not TurnState.QUEUED:
        return turn.status.value
    return (TurnState.SPEAKING if its.is_next(turn) else TurnState.QUEUED).value


async def _while_wanted(
    pieces: AsyncGenerator[bytes, None], speech: Speech
) -> AsyncGenerator[bytes, None]:
    """Likewise; raises what `speech.awaiting` does, too."""
    while True:
        async with speech.awaiting():
            data = await anext(pieces, None)
        if data is None:
            return
        yield data


async def hear_pcm(pieces: AsyncGenerator[bytes, None], form: PcmFormat, speech: Speech) -> None:
    """Whoever sends faster than it is spoken waits. Raises what `pieces` and `speech` do."""
    async for data in _while_wanted(pieces, speech):
        await speech.hear_pcm(data, form)
    speech.end()


async def hear_container(pieces: AsyncGenerator[bytes, None], speech: Speech) -> None:
    """Hear a file while it arrives, if that takes longer than a moment. Nobody is held back: its
    size is limited, and clients that send files give up on servers that do not read. Likewise."""
    with GrowingFile() as file:
        receiving = asyncio.create_task(_receive(pieces, file, speech), name="receiving")
        hearing: asyncio.Task[None] | None = None
        try:
            await asyncio.wait([receiving], timeout=_AT_ONCE_S)
            if receiving.done():
                receiving.result()
                await speech.hear_file(file.rewound())
                return
            hearing = asyncio.create_task(speech.hear_growing(file), name="hearing")
            await asyncio.wait([hearing, receiving], return_when=asyncio.FIRST_EXCEPTION)
            if receiving.done() and not file.has_ended:
                receiving.result()  # a mistake of ours
            if file.has_ended:
                await asyncio.wait([hearing])
            hearing.result()
        except asyncio.CancelledError:
            receiving.cancel()
            file.abort(aborted())  # what came is heard all the same
            if hearing:
                await asyncio.wait([hearing])
            raise
        finally:
            await _end(receiving, hearing)
            # Their errors refer to this frame, and it to the sound.
            del receiving, hearing


async def _receive(pieces: AsyncGenerator[bytes, None], file: GrowingFile, speech: Speech) -> None:
    try:
        with storage_errors():
            async for data in _while_wanted(pieces, speech):
                await file.write(data)
        file.finish()
    except MuseTalkStreamError as exc:
        file.abort(exc)
        raise


async def _end(*tasks: asyncio.Task[None] | None) -> None:
    ending = [task for task in tasks if task]
    for task in ending:
        task.cancel()
    await asyncio.wait(ending)
    for task in ending:
        if not task.cancelled():
            task.exception()  # told already, by what the other one did
