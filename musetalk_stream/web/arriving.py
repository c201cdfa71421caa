"""How sound gets from a request into an utterance while it arrives."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from aiohttp import web

from ..errors import MuseTalkStreamError, UploadStalled
from ..growing_file import GrowingFile
from ..listening import PcmFormat
from ..options import SpeechOptions
from ..sessions import Session
from ..speech import Speech
from ..turn import Turn
from .context import CONFIG, services
from .uploads import aborted, storage_errors

# A file of which all has come by then is looked at as a whole before it is spoken, so that a
# damaged one is an error and not half an utterance. Longer would be heard; most uploads of a few
# seconds, and all that a neighbour sends, take less.
_AT_ONCE_S = 0.1


@contextmanager
def admitted(
    request: web.Request, its: Session, options: SpeechOptions, key: str | None = None
) -> Iterator[Turn]:
    """A place in the queue, held while sound arrives inside the block. An error that leaves it ends
    the utterance early, and so does a client that goes away.

    Raises SessionGone, StreamActive, QueueFull, RendererLost, AtCapacity, and what the block does.
    """
    services(request).registry.renew_share(its)  # first: what it refuses must interrupt nothing
    with its.admit(options, key=key) as turn:
        yield turn


def described(its: Session, request_id: str) -> dict[str, Any]:
    """An utterance as clients see it. Raises UtteranceNotFound."""
    its.turn(request_id)
    return next(each for each in its.utterances() if each["request_id"] == request_id)


def require_pace(request: web.Request, speech: Speech) -> None:
    """A sender of which a little comes now and then is waited for with silence, but not for ever:
    for no longer in all than an utterance may be. Raises UploadStalled."""
    longest_s = request.app[CONFIG].upload.max_audio_s
    if speech.waited_s > longest_s:
        raise UploadStalled(f"the sound came so slowly that {longest_s:g} s of silence are in it")


async def hear_pcm(
    request: web.Request, pieces: AsyncGenerator[bytes, None], form: PcmFormat, speech: Speech
) -> None:
    """Whoever sends faster than it is spoken waits. Raises what `pieces` and `speech` do, and
    UploadStalled."""
    async with aclosing(pieces):
        async for data in pieces:
            require_pace(request, speech)
            await speech.hear_pcm(data, form)
    speech.end()


async def hear_container(
    request: web.Request, pieces: AsyncGenerator[bytes, None], speech: Speech
) -> None:
    """Hear a file while it arrives, if that takes longer than a moment. Nobody is held back: its
    size is limited, and clients that send files give up on servers that do not read. Likewise."""
    with GrowingFile() as file:
        receiving = asyncio.create_task(_receive(request, pieces, file, speech), name="receiving")
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


async def _receive(
    request: web.Request, pieces: AsyncGenerator[bytes, None], file: GrowingFile, speech: Speech
) -> None:
    try:
        with storage_errors():
            async with aclosing(pieces):
                async for data in pieces:
                    require_pace(request, speech)
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
