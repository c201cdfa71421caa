"""Which part of a face is generated: masks from a map of what each pixel shows."""

from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from .box import Box
from .crop import PARSED
from .resample import Bytes

# Classes of the face parser (CelebAMask-HQ).
_SKIN, _NOSE, _INNER_MOUTH, _UPPER_LIP, _LOWER_LIP, _NECK = 1, 10, 11, 12, 13, 14
_MOUTH = (_INNER_MOUTH, _UPPER_LIP, _LOWER_LIP)

CHEEK_WIDTHS = (90, 90)  # pixels from the middle of the map to the left and to the right cheek


class Mode(StrEnum):
    """Which part of the face the mask holds."""

    JAW = "jaw"  # skin and mouth, grown below the chin, without the outer cheeks; version 1.5
    RAW = "raw"  # skin and mouth; version 1
    NECK = "neck"  # skin, mouth and neck


def face_mask(
    labels: Bytes, mode: Mode = Mode.JAW, cheek_widths: tuple[int, int] = CHEEK_WIDTHS
) -> Bytes:
    """The official mask of a map of classes: uint8 `[512, 512]`, 0 or 255."""
    assert labels.shape == (PARSED, PARSED), f"a map of {labels.shape}"
    if mode is Mode.JAW:
        inside = _jaw(labels, cheek_widths) | np.isin(labels, _MOUTH)
    elif mode is Mode.NECK:
        inside = np.isin(labels, (_SKIN, *_MOUTH, _NECK))
    else:
        inside = np.isin(labels, (_SKIN, *_MOUTH))
    return np.where(inside, 255, 0).astype(np.uint8)


def _jaw(labels: Bytes, cheek_widths: tuple[int, int]) -> npt.NDArray[np.bool_]:
    grown = cv2.dilate((labels == _SKIN).astype(np.uint8), skin_kernel())
    thinned = cv2.erode(grown, cheek_kernel(), iterations=2)
    skin = np.where(cheek_mask(cheek_widths), thinned, grown)
    return np.asarray((skin > 0) & (labels != _NOSE))


def skin_kernel() -> Bytes:
    """Grows skin by 16 pixels up and 6 down: `[33, 33]`, rows 1, 3 … 21 wide from row 10 on."""
    side, centre, first, widest = 33, 16, 10, 10
    kernel = np.zeros((side, side), np.uint8)
    for row in range(first, side):
        reach = min(row - first, widest)
        kernel[row, centre - reach : centre + reach + 1] = 1
    return kernel


def cheek_kernel() -> Bytes:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), np.uint8)


def cheek_mask(widths: tuple[int, int]) -> Bytes:
    """Where skin is thinned: 255 beyond `widths` from the middle, `[512, 512]`."""
    left, right = PARSED // 2 - widths[0], PARSED // 2 + widths[1]
    mask = np.full((PARSED, PARSED), 255, np.uint8)
    mask[:, left + 1 : right] = 0
    return mask


def labels_from_landmarks(landmarks: npt.NDArray[np.float32], crop_box: Box) -> Bytes:
    """A map of classes for where there is no face parser: uint8 `[512, 512]`, of `crop_box`.

    landmarks: `[68, 2]` in pixels of the picture. Skin reaches from the jaw to the brows; there
    are no neck, no hair and no glasses in it.
    """
    scale = PARSED / np.array([crop_box.width, crop_box.height])
    points = np.rint((landmarks - np.array(crop_box[:2])) * scale - 0.5).astype(np.int32)
    labels = np.zeros((PARSED, PARSED), np.uint8)
    nose = cv2.convexHull(points[27:36])
    for polygon, label in (
        (points[[*range(17), *range(26, 16, -1)]], _SKIN),  # the jaw, closed over the brows
        (nose, _NOSE),
        (points[[*range(48, 55), *range(64, 59, -1)]], _UPPER_LIP),
        (points[[*range(54, 60), 48, 60, *range(67, 63, -1)]], _LOWER_LIP),
        (points[60:68], _INNER_MOUTH),
    ):
        cv2.fillPoly(labels, [polygon], label)
    return labels
