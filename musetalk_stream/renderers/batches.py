"""What becomes of a batch, also of one that fails, and how large may the next one be?"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..avatar import Avatar
from ..config import EncoderConfig
from ..errors import RenderFailed
from ..schedule import Rates, capacity, padded_size, usable_sizes
from . import DeviceLost, FrameRequest, Mouth, OutOfDeviceMemory, Renderer, Rendering
from .lost import LostRenderer
from .measure import encoded_per_second, frames_per_second

log = logging.getLogger(__name__)

R = TypeVar("R")

Batch = Sequence[FrameRequest]
Outcomes = Sequence[Mouth | RenderFailed | None]


class BatchRunner:
    """Has batches rendered, in sizes that fit the device. The thread that owns the renderer calls
    all of it but the properties.

    DeviceLost is raised; whatever else a renderer raises becomes an outcome.
    """

    def __init__(self, renderer: Renderer, max_batch: int) -> None:
        self._renderer = renderer
        self._max_batch = max_batch  # as told; less once larger batches were found not to be good
        self._speeds: dict[int, float] = {}
        self._encoders_fps = 0.0

    def __repr__(self) -> str:
        return f"<BatchRunner {self._renderer.name}, up to {self._max_batch} frames>"

    def successor(self, renderer: Renderer) -> "BatchRunner":
        """With another renderer of the same kind, on the same device: what was measured holds."""
        after = BatchRunner(renderer, self._max_batch)
        after._speeds, after._encoders_fps = self._speeds, self._encoders_fps
        return after

    def release(self) -> None:
        """Let go of a renderer that is lost; on any thread."""
        self._renderer = LostRenderer(self._renderer)

    @property
    def sizes(self) -> Sequence[int]:
        """The batch sizes in use, ascending."""
        return usable_sizes(self._renderer.batch_sizes, self._max_batch)

    @property
    def speeds(self) -> dict[int, float]:
        """Measured frames per second by batch size; empty before `measure`."""
        return self._speeds

    @property
    def encoders_fps(self) -> float:
        """Measured frames per second of all encoders together; 0 before `measure`."""
        return self._encoders_fps

    @property
    def capacity(self) -> Rates:
        """What sessions may ask for together, by what was measured; nothing before that."""
        most = capacity(self._speeds, self._max_batch, self._encoders_fps)
        return most if self._renderer.moves_lips else Rates(math.inf, most.output)

    def cost(self, batch: Batch) -> int:
        """The frames that it costs: batches are padded to the renderer's sizes."""
        return padded_size(len(batch), self._renderer.batch_sizes)

    def measure(
        self, avatar: Avatar, encoder: EncoderConfig, threads: int, progress: Callable[[str], None]
    ) -> None:
        """Find out how fast each size is (if the renderer moves lips), with an avatar that is
        prepared, and how fast so many threads encode.

        From then on no batch is larger than the fastest: it would only make everyone wait.
        """
        if self._renderer.moves_lips:
            self._speeds = frames_per_second(self._renderer, avatar, self.sizes, progress)
            self._max_batch = max(self._speeds, key=lambda size: self._speeds[size])
        progress("measuring the encoders")
        self._encoders_fps = encoded_per_second(
            self._renderer, avatar, self.sizes[-1], encoder, threads
        )

    def submit(self, batch: Batch) -> Rendering | Exception:
        """Hand a batch to the device; or why that could not be done, for `outcomes`."""
        return _attempt(lambda: self._renderer.submit(batch))

    def outcomes(self, batch: Batch, rendering: Rendering | Exception) -> Outcomes:
        """Wait for a batch: one outcome per frame.

        A batch that does not fit is rendered in halves, and no later one is larger than what then
        fitted; unless not even a single frame did: then it was not the size. One that fails is
        rendered frame by frame, so that one utterance's bad input fails only itself.
        """
        fitted, too_large = set[int](), dict[int, str]()
        outcomes = self._outcomes(batch, rendering, fitted, too_large)
        if too_large and 1 not in too_large and fitted:
            self._limit(max(fitted), too_large)
        return outcomes

    def _outcomes(
        self,
        batch: Batch,
        rendering: Rendering | Exception,
        fitted: set[int],
        too_large: dict[int, str],
    ) -> Outcomes:
        """`outcomes`; notes the numbers of frames that fitted, and why others did not."""
        mouths = rendering if isinstance(rendering, Exception) else _attempt(rendering.mouths)
        if not isinstance(mouths, Exception):
            if len(mouths) == len(batch):
                fitted.add(len(batch))
                return mouths
            mouths = ValueError(f"{len(mouths)} mouths for {len(batch)} frames")
        step = 1
        if isinstance(mouths, OutOfDeviceMemory):
            too_large[len(batch)] = str(mouths)
            step = (len(batch) + 1) // 2
        if len(batch) == 1:
            who = f"avatar {batch[0].avatar.id} picture {batch[0].picture}"
            log.error("%s can't be rendered", who, exc_info=mouths)
            return [RenderFailed(f"the renderer failed: {mouths!r}")]
        pieces = [batch[start : start + step] for start in range(0, len(batch), step)]
        return [
            each
            for piece in pieces
            for each in self._outcomes(piece, self.submit(piece), fitted, too_large)
        ]

    def _limit(self, fitted: int, too_large: dict[int, str]) -> None:
        """Batches didn't fit, and `fitted` frames did: no later batch costs more than these."""
        largest = padded_size(fitted, self._renderer.batch_sizes)
        if largest < self._max_batch:
            self._max_batch = largest
            size, why = next(iter(too_large.items()))
            log.warning(
                "a batch of %d frames does not fit into the device's memory (%s): "
                "at most %d frames in one from now on, %.0f lips per second by measurement",
                size,
                why,
                largest,
                self.capacity.lips,
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
