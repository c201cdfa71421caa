"""The built-in renderer, to the contract that all renderers keep."""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from ...avatar import Avatar
from ...blend import MouthRegion
from ...sound import Sound
from .. import FrameRequest, Mouth, Rendered
from ..presence import Presence
from .arrays import Floats, Plane, as_floats
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
    moves_lips = False  # those who encode do
    batch_sizes = (1,)  # frames cost the same in any company

    def __init__(self) -> None:
        # A frame takes less than half a millisecond: spread over threads it takes more.
        cv2.setNumThreads(1)
        self._presence = Presence()
        self._turn = threading.Lock()
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
        rows = listen(sound, fps, first, count)
        presence = self._presence.levels(sound, fps, first, count)
        rows[:, OPEN] *= presence
        rows[presence == 0] = 0
        return rows

    def submit(self, batch: Sequence[FrameRequest]) -> Rendered:
        """None in silence, and where no picture shows a face."""
        return Rendered([self._render(request) for request in batch])

    def _render(self, request: FrameRequest) -> "Lips | None":
        if not request.audio_window[OPEN] > 0:
            return None
        face = self._face(request.avatar)
        return Lips(request.avatar.frames, face, request.audio_window, self._turn) if face else None

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


@dataclass(frozen=True, slots=True, eq=False)
class Lips:
    """A mouth shape that any picture may take: each is moved in its own way, so between two rows
    lies a mouth that is as sharp as they are.

    pictures  of the avatar, uint8 `[N, H*3/2, W]`
    row       of `audio_windows`
    turn      whose it is: threads that do this side by side get a fifth less done together, as each
              of many small arrays makes them wait for the interpreter; while one does it, others
              encode
    """

    pictures: Plane
    face: Face
    row: Floats
    turn: threading.Lock

    @property
    def openness(self) -> float:
        return float(self.row[OPEN])

    def on(self, picture: int) -> MouthRegion | None:
        place = self.face.place(picture)
        if place is None:
            return None
        how = pose(self.row, place.own_opening)
        with self.turn:
            return speak(self.pictures[picture], self.face, place, how)

    def towards(self, other: Mouth | None, share: float) -> "Lips":
        row = self.row * (1 - share)
        if other is not None:
            assert isinstance(other, Lips)
            row += other.row * share
        return Lips(self.pictures, self.face, as_floats(row), self.turn)
