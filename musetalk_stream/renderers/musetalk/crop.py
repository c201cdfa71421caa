"""From a picture to what the networks see of it, and from a generated face to its place."""

import cv2
import numpy as np

from .box import Box
from .resample import Bytes, resized_bilinear

FACE = 256  # pixels, the side of what the model sees and makes
PARSED = 512  # pixels, the side of what the face parser sees


def face_crop(picture: Bytes, box: Box) -> Bytes:
    """The face as the model sees it, `[256, 256, 3]`; the aspect ratio is not kept.

    picture: uint8 `[H, W, 3]`, which holds the box.
    """
    face = picture[box.y1 : box.y2, box.x1 : box.x2]
    return _bytes(cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_LANCZOS4))


def parsing_crop(picture: Bytes, crop_box: Box) -> Bytes:
    """The surroundings of the face as the face parser sees them, `[512, 512, 3]`."""
    return resized_bilinear(padded_crop(picture, crop_box), PARSED, PARSED)


def padded_crop(picture: Bytes, box: Box) -> Bytes:
    """A rectangle of a picture, `[h, w, 3]`; black where it leaves the picture."""
    crop = np.zeros((box.height, box.width, 3), np.uint8)
    seen = box.within(Box(0, 0, picture.shape[1], picture.shape[0]))
    if seen.width > 0 and seen.height > 0:
        to = seen.seen_from(box)
        crop[to.y1 : to.y2, to.x1 : to.x2] = picture[seen.y1 : seen.y2, seen.x1 : seen.x2]
    return crop


def fitted(face: Bytes, box: Box) -> Bytes:
    """A generated face `[256, 256, 3]` in the size of its box, `[h, w, 3]`."""
    return _bytes(cv2.resize(face, (box.width, box.height), interpolation=cv2.INTER_LINEAR))


def _bytes(picture: object) -> Bytes:
    """The same array under its type, without a copy; what OpenCV returns says less."""
    return np.asarray(picture, np.uint8)
