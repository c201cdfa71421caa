"""What becomes of a batch, also of one that fails, and how large may the next one be?"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..avatar import Avatar
from ..blend import Region
from ..errors import RenderFailed
from ..schedule import capacity, padded_size, usable_sizes
from . import DeviceLost, FrameRequest, OutOfDeviceMemory, Renderer, Rendering
from .measure import frames_per_second

log = logging.getLogger(__name__)

R = TypeVar("R")

Batch = Sequence[FrameRequest]
Outcomes = Sequence[Region | RenderFailed | None]


class BatchRunner:
    """Has batches rendered, in sizes that fit the device. The thread that owns the renderer calls
    all of it but the properties.

    DeviceLost is raised; whatever else a renderer raises becomes an outcome.
    """

    def __init__(self, renderer: Renderer, max_batch: int) -> None:
        self._renderer = renderer
        self._max_batch = max_batch  # as told; less once larger batches were found not to be good
        self._speeds: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"<BatchRunner {self._renderer.name}, up to {self._max_batch} frames>"

    @property
    def sizes(self) -> Sequence[int]:
        """The batch sizes in use, ascending."""
        return usable_sizes(self._renderer.batch_sizes, self._max_batch)

    @property
    def speeds(self) -> dict[int, float]:
        """Measured frames per second by batch size; empty before `measure`."""
        return self._speeds

    @property
    def capacity_fps(self) -> float:
        """Frames per second that sessions may ask for together, by what was measured; or 0."""
        return capacity(self._speeds, self._max_batch)

    def cost(self, batch: Batch) -> int:
        """The frames that it costs: batches are padded to the renderer's sizes."""
        return padded_size(len(batch), self._renderer.batch_sizes)

    def measure(self, avatar: Avatar, progress: Callable[[str], None]) -> None:
        """Find out how fast each size is, with an avatar that is prepared.

        From then on no batch is larger than the fastest: it would only make everyone wait.
        """
        self._speeds = frames_per_second(self._renderer, avatar, self.sizes, progress)
        self._max_batch = max(self._speeds, key=lambda size: self._speeds[size])

    def submit(self, batch: Batch) -> Rendering | Exception:
        """Hand a batch to the device; or why that could not be done, for `outcomes`."""
        return _attempt(lambda: self._renderer.submit(batch))

    def outcomes(self, batch: Batch, rendering: Rendering | Exception) -> Outcomes:
        """Wait for a batch: one outcome per frame.

        A batch that does not fit is rendered in halves; one that fails, frame by frame, so that
        one utterance's bad input fails only itself.
        """
        regions = rendering if isinstance(rendering, Exception) else _attempt(rendering.regions)
        if not isinstance(regions, Exception):
            if len(regions) == len(batch):
                return regions
            regions = ValueError(f"{len(regions)} regions for {len(batch)} frames")
        does_not_fit = isinstance(regions, OutOfDeviceMemory)
        if does_not_fit:
            self._halve(batch, str(regions))
        if len(batch) == 1:
            who = f"avatar {batch[0].avatar.id} picture {batch[0].picture}"
            log.error("%s can't be rendered", who, exc_info=regions)
            return [RenderFailed(f"the renderer failed: {regions!r}")]
        step = (len(batch) + 1) // 2 if does_not_fit else 1
        pieces = [batch[start : start + step] for start in range(0, len(batch), step)]
        return [each for piece in pieces for each in self.outcomes(piece, self.submit(piece))]

    def _halve(self, batch: Batch, why: str) -> None:
        """A batch didn't fit: no later one is larger than half of what it cost."""
        half = max(1, self.cost(batch) // 2)
        if half < self._max_batch:
            self._max_batch = half
            log.warning(
                "a batch of %d frames does not fit into the device's memory (%s): "
                "at most %d frames in one from now on, %.0f frames per second by measurement",
                len(batch),
                why,
                half,
                self.capacity_fps,
            )


def _attempt(function: Callable[[], R]) -> R | Exception:
    """What `function` gives, or the error that it raises; DeviceLost is raised all the same."""
    try:
        return function()
    except DeviceLost:
        raise
    except OutOfDeviceMemory as exc:
        return OutOfDeviceMemory(str(exc))  # another one: its traceback keeps the memory taken
    except Exception as exc:
        return exc
