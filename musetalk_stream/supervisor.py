"""What happens when the renderer is lost: another one takes its place, or the process has to."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

from .batcher import Batcher
from .renderers import Renderer

log = logging.getLogger(__name__)

# Before each attempt to start it again, while nothing has been rendered since the last; there is
# none after these. What worked a moment ago is tried at once: viewers are waiting.
PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# A model is loaded and warmed up in minutes where disks are slow; beyond this it never will be.
_GETTING_READY_S = 600.0
# Threads that hang can't be ended, and keep what they hold. With one of them there may be memory
# for another renderer, which shows when that is loaded; a second says that it is no accident.
_MOST_HANGING = 1
_ENDS_WITHIN_S = 10.0  # its thread, with the process: whoever stops that does not wait for minutes
_LAST_WORDS_S = 1.0  # for the thread of one that is lost; if it takes longer, it hangs
_LOOK_EVERY_S = 0.02  # whether it has ended


class RendererState(StrEnum):
    UP = "up"
    RESTARTING = "restarting"
    GIVEN_UP = "given_up"  # only another process can help


class Supervisor:
    """Owns the batcher of the renderer that is in use, and replaces both.

    batcher   in use; one that is lost, until another is ready
    restarts  renderers that took the place of a lost one
    hangs     renderers that were given up because they did not come back
    failures  attempts in a row without a batch that was rendered
    doing     what is being done to get there again
    """

    def __init__(
        self,
        renderer: Renderer,
        another: Callable[[], Renderer],
        *,
        max_batch: int,
        capacity_fps: float = 0.0,
        stall_s: float = 60.0,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """
        another  makes a renderer of the same kind, on some thread; raises what is wrong
        stall_s  what takes longer on the render thread, once it is ready, hangs
        """
        self._another = another
        self._stall_s = stall_s
        self._pauses_s = pauses_s
        self._given_up = False
        self._device_is_gone = False  # while it was being started again, too
        self._behind: list[Batcher] = []  # that are lost, and may have a thread still
        self.batcher = Batcher(renderer, max_batch=max_batch, capacity_fps=capacity_fps)
        self.restarts = 0
        self.hangs = 0
        self.failures = 0
        self.doing = ""

    def __repr__(self) -> str:
        return f"<Supervisor {self.state}, {self.restarts} restarts>"

    @property
    def state(self) -> RendererState:
        if self._given_up:
            return RendererState.GIVEN_UP
        return RendererState.RESTARTING if self.batcher.lost else RendererState.UP

    def describe(self) -> str:
        """Why nothing is rendered, and what is done about it."""
        return "; ".join(filter(None, [self.batcher.lost, self.doing]))

    @contextmanager
    def running(self) -> Iterator["Supervisor"]:
        """The render thread lives inside this block."""
        self.batcher.start()
        try:
            yield self
        finally:
            for batcher in dict.fromkeys([*self._behind, self.batcher]):
                patience_s = min(self._stall_s, _ENDS_WITHIN_S)
                batcher.stop(_LAST_WORDS_S if batcher.lost else patience_s)

    @asynccontextmanager
    async def watching(
        self, get_ready: Callable[[Batcher], Awaitable[None]], give_up: Callable[[str], None]
    ) -> AsyncIterator[None]:
        """While this block runs, a renderer that is lost or hangs is replaced.

        get_ready  brings a batcher that has been started to where it can be used
        give_up    told why, when only another process can help
        """
        task = asyncio.create_task(self._watch(get_ready), name="supervisor")

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            if exc := task.exception():
                log.critical("nobody watches the renderer any more", exc_info=exc)
            self._given_up = True
            give_up(self.describe() or repr(exc))

        task.add_done_callback(ended)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self, get_ready: Callable[[Batcher], Awaitable[None]]) -> None:
        """Ends when it gives up."""
        while True:
            await self._until_lost()
            if self.batcher.has_rendered:
                self.failures = 0
            if not await self._replace(get_ready):
                log.critical("the renderer can't be started again: %s", self.describe())
                return

    async def _until_lost(self) -> None:
        batcher, suspect_s = self.batcher, None
        loss = asyncio.wrap_future(batcher.loss)
        while not batcher.lost:
            await asyncio.wait([loss], timeout=self._stall_s / 4)
            since_s = batcher.busy_since_s
            if since_s is None or time.monotonic() - since_s < self._stall_s:
                suspect_s = None
            # Seen twice: a process that was stopped for a while finds everything to be late.
            elif since_s == suspect_s:
                self.hangs += 1
                log.critical("the renderer hangs: given up after %g s", self._stall_s)
                batcher.lose(f"the renderer did not come back within {self._stall_s:g} s")
            else:
                suspect_s = since_s

    async def _replace(self, get_ready: Callable[[Batcher], Awaitable[None]]) -> bool:
        """Whether another renderer has taken the place of the lost one."""
        for pause_s in self._pauses_s[self.failures :]:
            if await self._do_too_many_hang():
                self.doing = f"{len(self._behind)} renderers hang"
                return False
            self.failures += 1
            self.doing = f"it is started again in {pause_s:g} s"
            await asyncio.sleep(pause_s)
            self.doing = "it is being started again"
            try:
                await self._start_another(get_ready)
            except Exception as exc:
                log.error("the renderer could not be started again", exc_info=exc)
                self.doing = f"it could not be started again ({exc})"
                if self._device_is_gone:
                    return False  # see DeviceLost
                continue
            self.restarts += 1
            self.doing = ""
            log.warning("the renderer is there again (restart %d)", self.restarts)
            return True
        return False

    async def _do_too_many_hang(self) -> bool:
        """Those that have just been lost are given a moment to end."""
        known = list(dict.fromkeys([*self._behind, self.batcher]))
        deadline_s = time.monotonic() + _LAST_WORDS_S
        while True:
            self._behind = [each for each in known if each.is_alive]
            if len(self._behind) <= _MOST_HANGING or time.monotonic() > deadline_s:
                return len(self._behind) > _MOST_HANGING
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _start_another(self, get_ready: Callable[[Batcher], Awaitable[None]]) -> None:
        """Raises what stands against it."""
        if self.failures > 1:
            # It may be for want of memory: what the lost one held is not always let go at once.
            # The event loop stands still for as long as this takes.
            gc.collect()
        batcher = self.batcher.successor(await asyncio.to_thread(self._another))
        batcher.start()
        try:
            async with asyncio.timeout(_GETTING_READY_S):
                await get_ready(batcher)
        except BaseException:
            batcher.lose("it did not get ready")
            self._device_is_gone = batcher.lost_device
            self._behind.append(batcher)
            raise
        self.batcher = batcher
