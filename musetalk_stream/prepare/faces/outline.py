"""Which part of a picture MuseTalk will generate, as polygons that a page can draw."""

import cv2
import numpy as np
import numpy.typing as npt

from ...renderers.musetalk.box import Box, crop_box, face_box
from ...renderers.musetalk.mask import paste_mask
from ...renderers.musetalk.parsing import face_mask, labels_from_landmarks
from ..request import Point
from .face import Landmarks

_SHOWN = 128  # of 255: from here on, a pixel counts as generated
_COARSE = 0.002  # of the picture's width: how far the outline that is shown may be off
_MOST_POINTS = 60


def outlines(landmarks: Landmarks, width: int, height: int) -> list[list[Point]]:
    """Polygons around what the MuseTalk renderer will generate, the largest first; by landmarks,
    as there is no face parser here."""
    box = face_box(landmarks, (width, height))
    if box is None:
        return []
    around = crop_box(box)
    mask = paste_mask(face_mask(labels_from_landmarks(landmarks, around)), box, around)
    shown = (mask >= _SHOWN).astype(np.uint8)
    found, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contours = sorted(found, key=cv2.contourArea, reverse=True)
    return [_outline(contour, around, width) for contour in contours]


def _outline(contour: npt.NDArray[np.int32], around: Box, width: int) -> list[Point]:
    """One polygon of the picture, with as few points as show its shape."""
    coarse = max(0.5, _COARSE * width)
    simple = cv2.approxPolyDP(contour, coarse, True)
    while len(simple) > _MOST_POINTS:
        coarse *= 1.5
        simple = cv2.approxPolyDP(contour, coarse, True)
    return [(float(x + around.x1), float(y + around.y1)) for x, y in simple[:, 0].tolist()]
