"""One thread owns the renderer and takes lips frames of many utterances into one batch."""

import asyncio
import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .avatar import Avatar
from .config import EncoderConfig
from .errors import MuseTalkStreamError, RendererLost, RenderFailed
from .renderers import DeviceLost, FrameRequest, Mouths, Rendered, Renderer, Rendering
from .renderers.batches import BatchRunner
from .renderers.lost import LostRenderer
from .schedule import MAX_IN_FLIGHT, Job, Rates, batch_size, next_batch

log = logging.getLogger(__name__)

R = TypeVar("R")

_RESTART_S = 5  # what whoever meets a lost renderer is told to wait


@dataclass(eq=False)
class _Part(Job[FrameRequest]):
    """The frames of one `Batcher.render` call, and what has been rendered of them."""

    done: Mouths = field(default_factory=list)
    size: int = 0
    future: "Future[Mouths]" = field(default_factory=Future)


_Turns = list[tuple[_Part, list[FrameRequest]]]
_Call = tuple[Callable[[], Any], Future[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """A batch that has been submitted and not been waited for."""

    turns: _Turns
    batch: list[FrameRequest]
    rendering: Rendering | Exception  # or why it could not be submitted

    @property
    def has_landed(self) -> bool:
        """Whether there is nothing to wait for."""
        return isinstance(self.rendering, (Rendered, Exception))


@dataclass(frozen=True, slots=True)
class BatcherStatistics:
    frames_rendered: int
    batches: int
    slots: int  # places in these batches; what is no frame is padding
    frames_waiting: int
    in_flight: int
    mean_batch: float
    batch_fill: float
    max_batch: int
    capacity_fps: float
    lips_capacity_fps: float | None  # None: the encoders move them
    output_capacity_fps: float
    frames_per_second_by_batch: dict[int, float]
    encoder_frames_per_second: float


class Batcher:
    """Renders frames in the order of their deadlines.

    Its queue is bounded by its callers: each utterance waits for one part before it asks for the
    next, and sessions are limited. Frames leave the queue when their batch is submitted, and at
    most MAX_IN_FLIGHT batches are: a frame with an early deadline waits for no more than these.

    One whose renderer is lost stays lost: a `successor` takes its place (see `supervisor`).

    loss           done when it is lost
    busy_since_s   instant (monotonic clock) at which its thread began what it does now, if anything
    has_rendered   at least one batch
    lost_device    what was lost is the device: it will not work again in this process
    """

    def __init__(self, renderer: Renderer, *, max_batch: int, capacity_fps: float = 0.0) -> None:
        """`capacity_fps`: what sessions may ask for together; 0 is what `measure` finds."""
        self._renderer = renderer
        self._runner = BatchRunner(renderer, max_batch)
        self._capacity_fps = capacity_fps
        self._wake = threading.Condition()
        self._calls: deque[_Call] = deque()
        self._spare_calls: deque[_Call] = deque()
        self._spared_last = False
        self._lands_at_once = False  # so did the latest batch: the device never has two
        self._parts: list[_Part] = []
        self._flights: deque[_Flight] = deque()
        self._stopping = False
        self._lost: str | None = None
        self.loss: Future[None] = Future()
        self.busy_since_s: float | None = None
        self.has_rendered = False
        self.lost_device = False
        # Whoever stops it waits for its thread. One that hangs must not keep the process.
        self._thread = threading.Thread(target=self._run, name="renderer", daemon=True)
        self._frames_rendered = 0
        self._batches = 0
        self._padded_frames = 0

    def __repr__(self) -> str:
        return f"<Batcher {len(self._parts)} parts, {len(self._flights)} in flight>"

    @contextmanager
    def running(self) -> Iterator["Batcher"]:
        """The render thread lives inside this block; what still waits at its end is cancelled."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience_s: float | None = None) -> None:
        """Blocking. What still waits is cancelled; a thread that does not come to its end in time
        (None: however long that is) is left to itself."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(patience_s)
        if self._thread.is_alive():
            log.error("the render thread hangs, and is left behind")
        for future in self._waiting():
            future.cancel()

    @property
    def is_alive(self) -> bool:
        """Whether its thread is."""
        return self._thread.is_alive()

    def successor(self, renderer: Renderer) -> "Batcher":
        """With another renderer of the same kind: what was measured holds, and counts go on."""
        after = Batcher(renderer, max_batch=1, capacity_fps=self._capacity_fps)
        after._runner = self._runner.successor(renderer)
        after._frames_rendered = self._frames_rendered
        after._batches, after._padded_frames = self._batches, self._padded_frames
        return after

    # --- getting ready

    async def load(self, progress: Callable[[str], None]) -> None:
        """`Renderer.load`; ends at its next word of progress if the batcher is stopped."""
        tell = self._teller(progress)
        await self.call(lambda renderer: renderer.load(tell))

    def is_prepared(self, avatar: Avatar) -> bool:
        return self._renderer.is_prepared(avatar)

    async def measure(
        self, avatar: Avatar, encoder: EncoderConfig, threads: int, progress: Callable[[str], None]
    ) -> None:
        """`BatchRunner.measure`; ends before its next size if the batcher is stopped."""
        tell = self._teller(progress)
        await self.call(lambda _: self._runner.measure(avatar, encoder, threads, tell))

    def _teller(self, progress: Callable[[str], None]) -> Callable[[str], None]:
        """`progress`, on the event loop instead of the render thread."""
        loop = asyncio.get_running_loop()

        def tell(doing: str) -> None:
            if self._stopping or self._lost:
                raise asyncio.CancelledError
            loop.call_soon_threadsafe(progress, doing)

        return tell

    # --- rendering

    async def call(self, function: Callable[[Renderer], R], *, spare: bool = False) -> R:
        """Run `function` with the renderer on its thread, before the next batch.

        spare: only once the device has all the batches that it can have, or has done the latest
               at once, and one call between two of them: for what nobody who speaks waits for
        """
        future: Future[R] = Future()
        with self._wake:
            self.raise_if_lost()
            calls = self._spare_calls if spare else self._calls
            calls.append((lambda: function(self._renderer), future))
            self._wake.notify()
        try:
            return await asyncio.wrap_future(future)
        finally:
            del future  # as in render

    async def render(
        self, requests: Sequence[FrameRequest], *, deadline_s: float, per_turn: int
    ) -> Mouths:
        """One mouth per request, in order; RenderFailed if one of them can't be rendered,
        RendererLost if nothing can.

        deadline_s  the instant (monotonic clock) at which the viewer runs out of frames
        per_turn    how many of these frames may ride in one batch
        """
        part = _Part(deadline_s, per_turn, list(requests), size=len(requests))
        with self._wake:
            self.raise_if_lost()
            self._parts.append(part)
            self._wake.notify()
        try:
            return await asyncio.wrap_future(part.future)
        finally:
            # A future refers to its exception, that to the frames it went through, and this one
            # to the future: a cycle that would keep the utterance's sound alive.
            del part

    @property
    def lost(self) -> str | None:
        """Why nothing is rendered any more, if so."""
        return self._lost

    def raise_if_lost(self) -> None:
        if self._lost:
            raise RendererLost(self._lost, retry_after_s=_RESTART_S)

    @property
    def capacity(self) -> Rates:
        """What sessions may ask for together."""
        told = self._capacity_fps
        return Rates(told, told) if told else self._runner.capacity

    def statistics(self) -> BatcherStatistics:
        most = self.capacity
        with self._wake:
            return BatcherStatistics(
                frames_rendered=self._frames_rendered,
                batches=self._batches,
                slots=self._padded_frames,
                frames_waiting=self._frames_waiting(),
                in_flight=len(self._flights),
                mean_batch=self._frames_rendered / self._batches if self._batches else 0.0,
                batch_fill=self._frames_rendered / self._padded_frames if self._batches else 0.0,
                max_batch=self._runner.sizes[-1],
                capacity_fps=round(min(most.lips, most.output), 1),
                lips_capacity_fps=round(most.lips, 1) if math.isfinite(most.lips) else None,
                output_capacity_fps=round(most.output, 1),
                frames_per_second_by_batch={k: round(v, 1) for k, v in self._runner.speeds.items()},
                encoder_frames_per_second=round(self._runner.encoders_fps, 1),
            )

    # --- the render thread

    def _run(self) -> None:
        try:
            while self._work_once():
                pass
        except BaseException as exc:  # nobody else would tell those who wait
            if self._lost:
                log.warning("a renderer that was given up has ended: %r", exc)
                return
            # As text: what keeps records must not keep what the renderer held.
            log.critical("the renderer is lost\n%s", traceback.format_exc())
            self.lost_device = isinstance(exc, DeviceLost)
            self.lose(f"the renderer has stopped: {str(exc) or repr(exc)}")

    def _work_once(self) -> bool:
        """Wait for work and do one thing; False when it is time to stop. What was worked on is let
        go with the return: a thread that waits must not keep an utterance's sound alive."""
        with self._wake:
            self.busy_since_s = None
            self._wake.wait_for(self._has_work)
            if self._stopping or self._lost:
                return False
            self.busy_since_s = time.monotonic()
            # A cancelled part is one whose utterance has gone.
            self._parts = [part for part in self._parts if not part.future.cancelled()]
            landed = bool(self._flights) and self._flights[0].has_landed
            busy = bool(self._flights or self._frames_waiting())
            spare = bool(self._spare_calls) and not (self._spared_last and busy)
            spare_first = spare and self._lands_at_once and not self._flights
            turns = [] if landed or self._calls or spare_first else self._next_turns()
        if self._calls and not landed:
            _do_first(self._calls)
        elif turns:
            batch = [request for _, frames in turns for request in frames]
            self._flights.append(_Flight(turns, batch, self._runner.submit(batch)))
        elif spare and not landed:
            self._spared_last = True
            _do_first(self._spare_calls)
        elif self._flights:
            self._spared_last, self._lands_at_once = False, landed
            self._land(self._flights[0])
        return True

    def _has_work(self) -> bool:
        calls = self._calls or self._spare_calls
        ends = self._stopping or self._lost
        return bool(ends or calls or self._flights or self._frames_waiting())

    def _frames_waiting(self) -> int:
        return sum(len(part.waiting) for part in self._parts)

    def _waiting(self) -> list["Future[Any]"]:
        calls = [future for _, future in (*self._calls, *self._spare_calls)]
        return [*(part.future for part in self._parts), *calls]

    def _next_turns(self) -> _Turns:
        waiting = self._frames_waiting()
        if not waiting or len(self._flights) == MAX_IN_FLIGHT:
            return []
        turns: _Turns = []
        for part, frames in next_batch(self._parts, batch_size(waiting, self._runner.sizes)):
            assert isinstance(part, _Part)
            turns.append((part, frames))
        return turns

    def _land(self, flight: _Flight) -> None:
        """Wait for a batch and hand out what it has become."""
        outcomes = iter(self._runner.outcomes(flight.batch, flight.rendering))
        failed: dict[int, RenderFailed] = {}
        for part, frames in flight.turns:
            for _ in frames:
                outcome = next(outcomes)
                if isinstance(outcome, RenderFailed):
                    failed[id(part)] = outcome
                else:
                    part.done.append(outcome)
        with self._wake:
            if self._lost:  # it was given up meanwhile
                return
            self.has_rendered = True
            self._flights.popleft()
            self._batches += 1
            self._frames_rendered += len(flight.batch)
            self._padded_frames += self._runner.cost(flight.batch)
            finished = [p for p in self._parts if id(p) in failed or len(p.done) == p.size]
            self._parts = [part for part in self._parts if part not in finished]
        for part in finished:
            if part.future.set_running_or_notify_cancel():
                if id(part) in failed:
                    part.future.set_exception(failed[id(part)])
                else:
                    part.future.set_result(part.done)

    def lose(self, why: str) -> None:
        """Fail everyone who waits, and all who come; let go of the renderer. On any thread: its
        own, or that of who gives it up."""
        with self._wake:
            if self._lost:
                return
            self._lost = why
            waiting = self._waiting()
            self._parts, self._calls, self._spare_calls = [], deque(), deque()
            self._flights.clear()
            self._renderer = LostRenderer(self._renderer)
            self._runner.release()
            self._wake.notify()
        for future in waiting:
            with suppress(InvalidStateError):  # cancelled, or done at the last moment
                future.set_exception(RendererLost(why, retry_after_s=_RESTART_S))
        self.loss.set_result(None)


def _do_first(calls: deque[_Call]) -> None:
    """It stays in the queue until it is done: there `lose` finds who waits for it."""
    _resolve(*calls[0])
    calls.popleft()


def _resolve(function: Callable[[], Any], future: "Future[Any]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except DeviceLost:
        raise
    except (MuseTalkStreamError, asyncio.CancelledError) as exc:
        future.set_exception(exc)
    except Exception as exc:
        log.exception("renderer call")
        future.set_exception(RenderFailed(f"the renderer failed: {exc!r}"))
