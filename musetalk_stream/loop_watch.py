"""Does the event loop turn? A thread asks it, as the loop itself could not tell."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from .distribution import Distribution

log = logging.getLogger(__name__)

_ASK_EVERY_S = 0.25
_LAGS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_STALL_S = 0.5  # without a turn: by then a chunk is late that was in time


class LoopWatch:
    """Asks four times per second how long the loop takes to answer. Of each stall it logs once
    where the loop is: lines of code, never what is in variables.

    lags    all answers, in seconds
    stalls  of them that took half a second and more
    """

    def __init__(self, *, stall_s: float = _STALL_S) -> None:
        self._stall_s = stall_s
        self._ending = threading.Event()
        self.stalls = 0
        self.lags = Distribution(_LAGS_S)

    def __repr__(self) -> str:
        return f"<LoopWatch {self.stalls} stalls>"

    @contextmanager
    def running(self) -> Iterator["LoopWatch"]:
        """Watches the running loop, on the thread that enters this block, until its end."""
        watch = threading.Thread(
            target=self._watch,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="loop-watch",
            daemon=True,
        )
        watch.start()
        try:
            yield self
        finally:
            self._ending.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        while not self._ending.wait(_ASK_EVERY_S) and not loop.is_closed():
            asked_s, answered = time.monotonic(), threading.Event()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # it was closed just now
                return
            if not answered.wait(self._stall_s):
                self.stalls += 1
                _tell_where(thread_id, time.monotonic() - asked_s)
                while not answered.wait(_ASK_EVERY_S):
                    if self._ending.is_set():
                        return
            self.lags.observe(time.monotonic() - asked_s)


def _tell_where(thread_id: int, stalled_s: float) -> None:
    frame = sys._current_frames().get(thread_id)
    where = "".join(traceback.format_stack(frame)) if frame else "nowhere to be seen"
    log.warning("the event loop has not turned for %.1f s; it is at\n%s", stalled_s, where)
