"""Pools of threads that serve whoever needs it first."""

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")

_LAST = float("inf")  # the deadline of the order to stop: whatever waits is served before


def _let_it_be() -> None: ...


class Workers:
    """A pool of threads whose queue is ordered by deadline, first come first served among equals.

    The queue is bounded by its callers: an utterance waits for one piece of work before it asks
    for the next, and sessions are limited.
    """

    def __init__(self, count: int, name: str, *, nice: int = 0) -> None:
        """`nice`: how far the threads stand back for others of this process (Linux only)."""
        self._count = count
        self._name = name
        self._nice = nice
        self._order = itertools.count()
        self._queue: PriorityQueue[
            tuple[float, int, Callable[[], Any] | None, Future[Any] | None]
        ] = PriorityQueue()

    @contextmanager
    def running(self) -> Iterator["Workers"]:
        """The threads live inside this block; work that is queued at its end is still done."""
        threads = [
            threading.Thread(target=self._work, name=f"{self._name}-{index}")
            for index in range(self._count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for _ in threads:
                self._queue.put((_LAST, next(self._order), None, None))
            for thread in threads:
                thread.join()

    async def run(
        self, function: Callable[[], T], *, deadline_s: float, stop: Callable[[], None] = _let_it_be
    ) -> T:
        """Call `function` on one of the threads.

        Cancelled while it waits, it is never called. Cancelled while it runs, it is awaited all
        the same: whoever cancels is about to take away what it works on. `stop` is called before,
        so that it takes less long.
        """
        future: Future[T] = Future()
        self._queue.put((deadline_s, next(self._order), function, future))
        outcome = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            if not future.cancel():
                stop()
                await asyncio.wait([outcome])
                if not outcome.cancelled():
                    outcome.exception()  # nobody is there to be told, and that is no mistake
            raise
        finally:
            # A future refers to its exception, that to the frames it went through, and this one
            # to the futures: a cycle that would keep what the work was done on alive.
            del future, outcome

    def _work(self) -> None:
        if self._nice and sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while True:
            _, _, function, future = self._queue.get()
            if function is None or future is None:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as exc:  # handed on to whoever awaits it
                    future.set_exception(exc)
            # A thread that waits must not keep the last utterance's encoder alive.
            del function, future
