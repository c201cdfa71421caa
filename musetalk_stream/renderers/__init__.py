"""What a renderer is: from an avatar and a run of audio to one mouth per lips frame."""

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
    "Mouth",
    "Mouths",
    "OutOfDeviceMemory",
    "Rendered",
    "Renderer",
    "Rendering",
    "between",
]


class OutOfDeviceMemory(Exception):
    """The batch does not fit into the device's memory; a smaller one may."""


class DeviceLost(Exception):
    """The device will not work again in this process; the message says what it said."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRequest:
    """One lips frame to render: the audio that moves the mouth, and which picture of which avatar
    is shown at that instant."""

    avatar: Avatar
    picture: int  # index into avatar.frames and avatar.landmarks
    audio_window: Any  # one row of Renderer.audio_windows


class Mouth(Protocol):
    """A rendered mouth, which goes on any picture of its avatar. On any thread, any number of
    times: what is costly about a picture is done in `on`, by those who encode it."""

    @property
    def openness(self) -> float:
        """How far it is open, or how much of it shows: 0 is the source face."""
        ...

    def on(self, picture: int) -> Region | None:
        """The part of a picture that it changes; None where the picture shows no face."""
        ...

    def towards(self, other: "Mouth | None", share: float) -> "Mouth":
        """Between this mouth and another of the same utterance (None: the source face), of which it
        has a share of more than 0 and less than 1."""
        ...


Mouths = list[Mouth | None]


def between(one: Mouth | None, other: Mouth | None, share: float) -> Mouth | None:
    """From `one` at share 0 to `other` at 1; None is the source face.

    A mouth that closes does so evenly. One that opens stays as it is for the first half, so that it
    is not open long before it is heard.
    """
    if (other.openness if other else 0) > (one.openness if one else 0):
        share = max(0.0, 2 * share - 1)
    if share == 0:
        return one
    if one is not None:
        return one.towards(other, share)
    return None if other is None else other.towards(None, 1 - share)


class Rendering(Protocol):
    """A batch that has been handed to the device."""

    def mouths(self) -> Mouths:
        """Wait for it: one mouth per request, in order; None where the source face is to be shown
        as it is. Raises if one of them can't be rendered."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """The rendering of a renderer that is done when it has been asked."""

    complete: Mouths

    def mouths(self) -> Mouths:
        return self.complete


class Renderer(Protocol):
    """Stateless between calls, but for caches: frames of many sessions may be mixed in one batch.

    One thread calls all of it, `load` first; `name`, `moves_lips`, `batch_sizes` and `is_prepared`
    may be asked on any thread. Any call may raise OutOfDeviceMemory or DeviceLost.

    moves_lips  whether mouths are made by `submit`. If not, they are made by `Mouth.on`, while
                frames are encoded: then there is no limit to lips but that of the encoders
    """

    name: str
    moves_lips: bool

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
        """The conditioning of lips frames `first` … `first+count-1`, one row each, of whatever type
        and shape suits the renderer.

        Frame k is shown from k/fps on. Frames past the end of the audio are silent. Asking for
        frames piecewise or all at once gives the same rows. Live sound must have come as far as
        `timeline.model_samples_needed(first + count, fps)`, or have ended; rows depend on nothing
        beyond that, but a piece may hear what the one before could not yet.
        """
        ...

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        """Hand a batch to the device, without waiting for it if the device works by itself."""
        ...
