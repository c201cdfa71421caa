"""What a renderer is: from an avatar and a run of audio to one mouth region per output frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..audio import Pcm
from ..avatar import Avatar
from ..blend import MouthRegion

__all__ = ["FrameRequest", "Renderer"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameRequest:
    """One frame to render: which picture of which avatar, and the audio that moves its mouth."""

    avatar: Avatar
    picture: int  # index into avatar.frames and avatar.landmarks
    audio_window: npt.NDArray[np.float32]  # one row of Renderer.audio_windows


class Renderer(Protocol):
    """Stateless between calls: frames of many sessions may be mixed in one batch."""

    name: str

    def audio_windows(
        self, pcm: Pcm, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[np.float32]:
        """The conditioning of frames `first` … `first+count-1`, one row each.

        Frame k is shown from k/fps on. Frames past the end of the audio are silent. Asking for
        frames piecewise or all at once gives the same rows.
        """
        ...

    def render(self, batch: Sequence[FrameRequest]) -> list[MouthRegion | None]:
        """One region per request, in order; None where the source face is to be shown as it is."""
        ...
