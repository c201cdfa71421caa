"""What is known of an avatar's face before any speech."""

import numpy as np
import numpy.typing as npt

from ...avatar import Avatar
from .colours import Colours, colours_of
from .field import Field, field_of
from .place import Place, find_mouth

_SAMPLED = 32  # pictures that tell what the face is like


class Face:
    """The mouth of one avatar. It keeps no reference to the avatar."""

    def __init__(self, landmarks: npt.NDArray[np.float32], field: Field, colours: Colours) -> None:
        self.field = field
        self.colours = colours
        self._landmarks = landmarks
        self._places: dict[int, Place | None] = {}

    def place(self, picture: int) -> Place | None:
        """None where the picture shows no face."""
        if picture not in self._places:
            self._places[picture] = find_mouth(self._landmarks[picture])
        return self._places[picture]

    def __repr__(self) -> str:
        return f"<Face {len(self._landmarks)} pictures>"


def study(avatar: Avatar) -> Face | None:
    """Learn an avatar's face, in some milliseconds; None if no picture shows one."""
    landmarks = avatar.landmarks
    known = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    faces, pictures = [], []
    for n in known[:: 1 + len(known) // _SAMPLED].tolist():
        place = find_mouth(landmarks[n])
        if place is not None:
            faces.append(place.mouth(landmarks[n]))
            pictures.append(n)
    if not pictures:
        return None
    field = field_of(np.mean(faces, axis=0))
    if not field.v.size:  # a jaw above the mouth: these landmarks are of no face
        return None
    return Face(landmarks, field, colours_of(avatar, landmarks, pictures[:8]))
