"""What stands in for a renderer that is lost."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from ..avatar import Avatar
from ..sound import Sound
from . import DeviceLost, FrameRequest, Renderer, Rendering


class LostRenderer:
    """Knows what the lost one was like and holds nothing that it held: its memory is free for the
    one that comes after it."""

    def __init__(self, lost: Renderer) -> None:
        self.name = lost.name
        self.moves_lips = lost.moves_lips
        self.batch_sizes: Sequence[int] = tuple(lost.batch_sizes)

    def __repr__(self) -> str:
        return f"<LostRenderer {self.name}>"

    def load(self, progress: Callable[[str], None]) -> None:
        raise DeviceLost("it is lost")

    def is_prepared(self, avatar: Avatar) -> bool:
        return False

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        raise DeviceLost("it is lost")

    def audio_windows(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[Any]:
        raise DeviceLost("it is lost")

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        raise DeviceLost("it is lost")
