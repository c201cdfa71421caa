"""One thread owns the renderer and takes frames of many utterances into one batch."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .blend import Region
from .errors import RenderFailed
from .renderers import FrameRequest, Regions, Renderer
from .schedule import Job, next_batch

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(eq=False)
class _Part(Job[FrameRequest]):
    """The frames of one `Batcher.render` call, and what has been rendered of them."""

    done: Regions = field(default_factory=list)
    size: int = 0
    future: "Future[Regions]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class BatcherStatistics:
    frames_rendered: int
    batches: int
    frames_waiting: int
    mean_batch: float


class Batcher:
    """Renders frames in the order of their deadlines.

    Its queue is bounded by its callers: each utterance waits for one part before it asks for the
    next, and sessions are limited.
    """

    def __init__(self, renderer: Renderer, *, max_batch: int) -> None:
        self._renderer = renderer
        self._max_batch = max_batch
        self._wake = threading.Condition()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._parts: list[_Part] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="renderer")
        self._frames_rendered = 0
        self._batches = 0

    @contextmanager
    def running(self) -> Iterator["Batcher"]:
        """The render thread lives inside this block; what still waits at its end is cancelled."""
        self._thread.start()
        try:
            yield self
        finally:
            with self._wake:
                self._stopping = True
                self._wake.notify()
            self._thread.join()
            for future in [part.future for part in self._parts] + [f for _, f in self._calls]:
                future.cancel()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    async def call(self, function: Callable[[Renderer], R]) -> R:
        """Run `function` with the renderer on its thread, before the next batch."""
        future: Future[R] = Future()
        with self._wake:
            self._calls.append((lambda: function(self._renderer), future))
            self._wake.notify()
        try:
            return await asyncio.wrap_future(future)
        finally:
            del future  # as in render

    async def render(
        self, requests: Sequence[FrameRequest], *, deadline_s: float, per_turn: int
    ) -> Regions:
        """One region per request, in order; RenderFailed if one of them can't be rendered.

        deadline_s  the instant (monotonic clock) at which the viewer runs out of frames
        per_turn    how many of these frames may ride in one batch
        """
        part = _Part(deadline_s, per_turn, list(requests), size=len(requests))
        with self._wake:
            self._parts.append(part)
            self._wake.notify()
        try:
            return await asyncio.wrap_future(part.future)
        finally:
            # A future refers to its exception, that to the frames it went through, and this one
            # to the future: a cycle that would keep the utterance's sound alive.
            del part

    def statistics(self) -> BatcherStatistics:
        with self._wake:
            return BatcherStatistics(
                frames_rendered=self._frames_rendered,
                batches=self._batches,
                frames_waiting=sum(len(part.waiting) for part in self._parts),
                mean_batch=self._frames_rendered / self._batches if self._batches else 0.0,
            )

    def _run(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Wait for work and do a batch of it; False when it is time to stop. What was worked on is
        let go with the return: a thread that waits must not keep an utterance's sound alive."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopping or self._calls or self._parts)
            if self._stopping:
                return False
            call = self._calls.popleft() if self._calls else None
            # A cancelled part is one whose utterance has gone.
            self._parts = [part for part in self._parts if not part.future.cancelled()]
            turns = [] if call else next_batch(self._parts, self._max_batch)
        if call:
            _resolve(call[1], call[0])
        elif turns:
            self._render(turns)
        return True

    def _render(self, turns: list[tuple[Job[FrameRequest], list[FrameRequest]]]) -> None:
        outcomes = iter(self._render_each([request for _, frames in turns for request in frames]))
        failed: dict[int, RenderFailed] = {}
        for part, frames in turns:
            assert isinstance(part, _Part)
            for _ in frames:
                outcome = next(outcomes)
                if isinstance(outcome, RenderFailed):
                    failed[id(part)] = outcome
                else:
                    part.done.append(outcome)
        with self._wake:
            self._batches += 1
            self._frames_rendered += sum(len(frames) for _, frames in turns)
            finished = [p for p in self._parts if id(p) in failed or len(p.done) == p.size]
            self._parts = [part for part in self._parts if part not in finished]
        for part in finished:
            if part.future.set_running_or_notify_cancel():
                if id(part) in failed:
                    part.future.set_exception(failed[id(part)])
                else:
                    part.future.set_result(part.done)

    def _render_each(self, batch: list[FrameRequest]) -> Sequence[Region | RenderFailed | None]:
        """Render a batch; if it fails, frame by frame, so that one utterance's bad input fails
        only itself."""
        try:
            regions = self._renderer.submit(batch).regions()
            if len(regions) != len(batch):
                raise ValueError(f"{len(regions)} regions for {len(batch)} frames")
            return regions
        except Exception as exc:
            if len(batch) > 1:
                return [outcome for request in batch for outcome in self._render_each([request])]
            log.exception("avatar %s picture %d", batch[0].avatar.id, batch[0].picture)
            return [RenderFailed(f"the renderer failed: {exc!r}")]


def _resolve(future: "Future[Any]", function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as exc:
        log.exception("renderer call")
        future.set_exception(RenderFailed(f"the renderer failed: {exc!r}"))
