"""A preparation in a process of its own, beside a server that goes on speaking.

    python -m musetalk_stream.prepare WORK_FOLDER
    python -m musetalk_stream.prepare --examine FILE [IDLE_FILE]

It says how far it is, and what came of it, in lines of JSON on its standard output, and nothing
else there. The settings come from the environment (`config.as_environment`).
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..config import Config, load
from ..errors import DamagedMedia, MuseTalkStreamError, PreparationFailed
from ..sandbox import end_first, give_up_privileges, limit_cpu, limit_data, write_nothing
from .progress import Progress, Stage

_EXAMINE_S = 20
_EXAMINE_NICE = 5  # after those who speak, but soon: a client waits for the answer to its upload
_TELL_EVERY_S = 0.2
_LOOK_AFTER_PARENT_S = 0.2
# A process like this one, whose server was killed, ends by itself: on a busy machine late, as it
# comes last there.
_ORPHAN_ENDS_WITHIN_S = 30.0


def main(argv: Sequence[str]) -> int:
    speaker = _Speaker()
    _end_with_parent()
    end_first()
    give_up_privileges()
    try:
        config = load({})
        # What libraries, decoders and pictures in work need; a hostile file gets no more, and
        # FFmpeg, which is a process of its own, as much again. Not counted: the avatar's pictures,
        # which are mapped.
        limit_data(config.prepare.prepare_memory_mb * 10**6)
        match argv:
            case ["--examine", file, *idle]:
                speaker.say(_examine(Path(file), [Path(each) for each in idle], config, speaker))
            case [folder]:
                speaker.say(_prepare(Path(folder), config, speaker))
            case _:
                sys.stderr.write(__doc__ or "")
                return 2
    except MuseTalkStreamError as exc:
        speaker.say(_error(exc))
        return 1
    except MemoryError:
        speaker.say(_error(PreparationFailed("it takes more memory than there is for it")))
        return 1
    return 0


def _examine(
    path: Path, idle: Sequence[Path], config: Config, speaker: "_Speaker"
) -> dict[str, Any]:
    from .media import examine_all

    os.nice(_EXAMINE_NICE)
    write_nothing()
    limit_cpu(_EXAMINE_S)

    def give_up() -> None:
        exc = DamagedMedia(f"the file can't be made out within {_EXAMINE_S} s: convert it first")
        speaker.say(_error(exc))
        os._exit(1)

    limit = threading.Timer(_EXAMINE_S, give_up)
    limit.daemon = True
    limit.start()
    signal.alarm(_EXAMINE_S + 1)  # which ends us, should a library keep that thread from running
    media, _ = examine_all(path, idle[0] if idle else None, config.prepare)
    limit.cancel()
    fps = None if media.fps is None else float(media.fps)
    return {
        "media": {
            "kind": media.kind.value,
            "width": media.width,
            "height": media.height,
            "fps": fps,
            "duration_s": media.duration_s,
        }
    }


def _prepare(folder: Path, config: Config, speaker: "_Speaker") -> dict[str, Any]:
    _come_last()
    # Only here: examining a file takes neither OpenCV nor what finds faces.
    import cv2

    from .steps import Outcome, run
    from .work import disk_errors, open_work

    cv2.setNumThreads(max(1, (os.cpu_count() or 1) // 2))
    work = open_work(folder.absolute())
    with disk_errors(work), work.held(_ORPHAN_ENDS_WITHIN_S):
        outcome = run(work, config, speaker.tell)
        if outcome is Outcome.MADE:
            work.finish()
    return {outcome.value: True}


class _Speaker:
    """Standard output, which from now on is nobody else's: what libraries print there goes to
    standard error."""

    def __init__(self) -> None:
        self._out: IO[str] = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._told_s = 0.0

    def say(self, document: dict[str, Any]) -> None:
        """Raises BrokenPipeError if nobody listens any more."""
        with self._lock:
            self._out.write(json.dumps(document) + "\n")
            self._out.flush()

    def tell(self, progress: Progress) -> None:
        """As often as somebody can see: each stage, its end, a few times a second in between."""
        now_s = time.monotonic()
        is_due = now_s - self._told_s >= _TELL_EVERY_S or progress.share >= 1.0
        if is_due or progress.stage is not self._stage:
            self._stage, self._told_s = progress.stage, now_s
            self.say({"stage": progress.stage.value, "share": round(progress.share, 4)})


def _error(exc: MuseTalkStreamError) -> dict[str, Any]:
    return {
        "error": {
            "title": exc.title,
            "detail": exc.detail,
            "code": exc.code,
            "status": exc.status,
            "retryable": exc.retryable,
        }
    }


def _come_last() -> None:
    """Those who speak come first: this process, and the FFmpeg that it starts, get what is left."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # not in every container
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_parent() -> None:
    """Whoever started this process is the only one who wants its result. By a thread that looks:
    the kernel's own signal for this (PR_SET_PDEATHSIG) comes when the starting *thread* ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_AFTER_PARENT_S)
        os._exit(1)  # FFmpeg, if it runs, ends at its broken pipe

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
