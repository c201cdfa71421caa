"""The built-in renderer, to the contract that all renderers keep."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from ...avatar import Avatar
from ...blend import MouthRegion
from ...sound import Sound
from .. import FrameRequest, Rendered
from .face import Face, study
from .hearing import OPEN, listen
from .pose import pose
from .warp import speak

_MAX_FACES = 64  # avatars remembered; beyond it the one that was met first is forgotten


class BuiltinRenderer:
    """Moves the lips, jaw and chin of the avatar's own picture; needs no weights, any CPU will do.

    The same requests give the same bytes. Faces are remembered only as a cache.
    """

    name = "builtin"
    batch_sizes = (1,)  # frames cost the same in any company

    def __init__(self) -> None:
        # A frame takes less than half a millisecond: spread over threads it takes more.
        cv2.setNumThreads(1)
        # By the identity of the pictures, and with a weak reference to tell that it still holds.
        self._faces: dict[int, tuple[weakref.ref[npt.NDArray[np.uint8]], Face | None]] = {}

    def load(self, progress: Callable[[str], None]) -> None:
        """There is nothing to load."""

    def is_prepared(self, avatar: Avatar) -> bool:
        return True

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        return iter(())

    def audio_windows(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[np.float32]:
        """Openness, spread, rounding and teeth, 0 to 1: float32 `[count, 4]`; zeros are silence."""
        return listen(sound.listened(0, sound.num_model), fps, first, count)

    def submit(self, batch: Sequence[FrameRequest]) -> Rendered:
        """None in silence, and where a picture shows no face."""
        return Rendered([self._render(request) for request in batch])

    def _render(self, request: FrameRequest) -> MouthRegion | None:
        if not request.audio_window[OPEN] > 0:
            return None
        face = self._face(request.avatar)
        place = face.place(request.picture) if face else None
        if face is None or place is None:
            return None
        how = pose(request.audio_window, place.own_opening)
        return speak(request.avatar.frames[request.picture], face, place, how)

    def _face(self, avatar: Avatar) -> Face | None:
        key = id(avatar.frames)
        known = self._faces.get(key)
        if known is not None and known[0]() is avatar.frames:
            return known[1]
        face = study(avatar)
        if len(self._faces) >= _MAX_FACES:
            self._faces.pop(next(iter(self._faces)))
        self._faces[key] = (weakref.ref(avatar.frames), face)
        return face

    def __repr__(self) -> str:
        return f"<BuiltinRenderer {len(self._faces)} faces>"
