"""What a renderer is: from an avatar and a run of audio to one mouth region per output frame."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy.typing as npt

from ..avatar import Avatar
from ..blend import Region
from ..sound import Sound

__all__ = [
    "DeviceLost",
    "FrameRequest",
    "OutOfDeviceMemory",
    "Regions",
    "Rendered",
    "Renderer",
    "Rendering",
]

Regions = list[Region | None]


class OutOfDeviceMemory(Exception):
    """The batch does not fit into the device's memory; a smaller one may."""


class DeviceLost(Exception):
    """The device will not work again in this process; the message says what it said."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRequest:
    """One frame to render: which picture of which avatar, and the audio that moves its mouth."""

    avatar: Avatar
    picture: int  # index into avatar.frames and avatar.landmarks
    audio_window: Any  # one row of Renderer.audio_windows


class Rendering(Protocol):
    """A batch that has been handed to the device."""

    def regions(self) -> Regions:
        """Wait for it: one region per request, in order; None where the source face is to be shown
        as it is. Raises if one of them can't be rendered."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """The rendering of a renderer that is done when it has been asked."""

    complete: Regions

    def regions(self) -> Regions:
        return self.complete


class Renderer(Protocol):
    """Stateless between calls, but for caches: frames of many sessions may be mixed in one batch.

    One thread calls all of it, `load` first; `name`, `batch_sizes` and `is_prepared` may be asked
    on any thread. Any call may raise OutOfDeviceMemory or DeviceLost.
    """

    name: str

    @property
    def batch_sizes(self) -> Sequence[int]:
        """The sizes at which it renders, ascending; a batch in between costs as much as the next
        larger one."""
        ...

    def load(self, progress: Callable[[str], None]) -> None:
        """Get ready to render; `progress` is told what is being done. Raises SetupError."""
        ...

    def is_prepared(self, avatar: Avatar) -> bool:
        """Whether frames of this avatar can be rendered at once."""
        ...

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        """Make what this renderer needs of an avatar, in steps short enough to go between the
        batches of others; yields the share done, 0 to 1. Nothing is kept if it is not exhausted."""
        ...

    def audio_windows(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[Any]:
        """The conditioning of frames `first` … `first+count-1`, one row each, of whatever type and
        shape suits the renderer.

        Frame k is shown from k/fps on. Frames past the end of the audio are silent. Asking for
        frames piecewise or all at once gives the same rows.
        """
        ...

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        """Hand a batch to the device, without waiting for it if the device works by itself."""
        ...
