"""The process that prepares an avatar, as the server sees it: what it tells, and how it ends.

Foreign files are opened in it and not here: what a damaged one does to a decoder, it does to a
process that nobody else needs.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import (
    AvatarExists,
    DamagedMedia,
    EmptyMedia,
    FaceCut,
    FaceFinderMissing,
    FaceTooSmall,
    InvalidParameter,
    MediaTooLarge,
    MediaTooLong,
    MuseTalkStreamError,
    NoFace,
    PreparationFailed,
    SetupError,
    StorageFull,
    UnsupportedAvatar,
    UnsupportedMedia,
)
from ..prepare.progress import Progress, Stage, Tell

log = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-m", "musetalk_stream.prepare")
_LONGEST_LINE_BYTES = 64 << 10
_SHOWN_BYTES = 4 << 10  # of what the process said last on stderr
_EXAMINED_WITHIN_S = 30.0  # it gives up by itself earlier than that
# A step tells how far it is every few seconds, even on a slow machine.
_SILENCE_S = 600.0

_KINDS: dict[str, Callable[[str], MuseTalkStreamError]] = {
    kind.code: kind
    for kind in (
        EmptyMedia, DamagedMedia, UnsupportedMedia, MediaTooLong, MediaTooLarge, NoFace, FaceCut,
        FaceTooSmall, FaceFinderMissing, UnsupportedAvatar, AvatarExists, StorageFull, SetupError,
        PreparationFailed,
    )
}  # fmt: skip

Message = dict[str, Any]


async def examine(upload: Path, idle: Path | None, environment: dict[str, str]) -> tuple[int, int]:
    """Width and height of what was uploaded, upright. Raises what `prepare.media.examine_all`
    raises, and PreparationFailed."""
    try:
        async with asyncio.timeout(_EXAMINED_WITHIN_S):
            files = [str(path) for path in (upload, idle) if path]
            last = await _run(["--examine", *files], environment, lambda progress: None)
    except TimeoutError:
        raise DamagedMedia(
            f"the file could not be examined in {_EXAMINED_WITHIN_S:g} s: save it anew, "
            "as JPEG or MP4"
        ) from None
    return last["media"]["width"], last["media"]["height"]


async def prepare(folder: Path, environment: dict[str, str], tell: Tell) -> bool:
    """Whether the avatar has been made; if not, its face was found and is to be approved.

    Raises what `prepare.steps.run` raises, and PreparationFailed if the process ends otherwise.
    Cancelled, it ends the process and all that it has started.
    """
    last = await _run([str(folder)], environment, tell)
    return "made" in last


async def _run(arguments: list[str], environment: dict[str, str], tell: Tell) -> Message:
    """The last thing that the process says, which is not how far it is."""
    async with _started(arguments, environment) as process:
        assert process.stderr is not None
        tail = asyncio.create_task(_tail(process.stderr), name="preparation-stderr")
        last: Message = {}
        try:
            async with aclosing(_messages(process)) as messages:
                async for message in messages:
                    if "stage" in message:
                        tell(Progress(Stage(message["stage"]), float(message["share"])))
                    else:
                        last = message
            status = await process.wait()
        except TimeoutError:
            raise PreparationFailed(
                f"the preparation stood still for {_SILENCE_S / 60:.0f} min: try again"
            ) from None
        except ValueError as exc:
            raise PreparationFailed(f"the preparation can't be understood: {exc}") from exc
        finally:
            _kill(process)  # whose descendants may have the other end of the pipe
            said = await tail
    if "error" in last:
        raise _error(last["error"])
    if not last:
        log.error("a preparation ended with status %d and these words: %s", status, said or "none")
        raise PreparationFailed(_how_it_ended(status))
    return last


@asynccontextmanager
async def _started(
    arguments: list[str], environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in a group of its own, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,  # never written to: it ends when we do
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE_BYTES,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    """With all that it has started. Its number is not anybody else's while one of them lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _messages(process: asyncio.subprocess.Process) -> AsyncGenerator[Message, None]:
    """Raises TimeoutError when nothing comes for too long, ValueError when it is no message."""
    assert process.stdout is not None
    while True:
        async with asyncio.timeout(_SILENCE_S):
            line = await process.stdout.readline()
        if not line:
            return
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"it said {line[:80]!r}")
        yield message


async def _tail(stream: asyncio.StreamReader) -> str:
    tail = b""
    while piece := await stream.read(_SHOWN_BYTES):
        tail = (tail + piece)[-_SHOWN_BYTES:]
    return tail.decode(errors="replace").strip()


def _error(told: Message) -> MuseTalkStreamError:
    code, detail = str(told["code"]), str(told["detail"])
    if code == InvalidParameter.code:
        name, _, what = detail.partition(": ")
        return InvalidParameter(name, what)
    return _KINDS.get(code, PreparationFailed)(detail)


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the preparation was killed, as happens when memory runs out: try a smaller file"
    if status < 0:
        name = signal.Signals(-status).name
        return f"the preparation crashed ({name}): save the picture or video anew and try again"
    return f"the preparation ended without a word (status {status}); the server's log has its last"
