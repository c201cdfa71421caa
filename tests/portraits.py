"""Pictures with a face in them, of which it is known where the face is."""

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

Bgr = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]  # [2, 3]: from one picture's pixels to another's

FACE_WIDTH = 92.0  # pixels from jaw to jaw in the astronaut
FACE_CENTRE = (225.0, 132.0)
_HEAD = (95, 5, 355, 235)  # what is shown of the astronaut: left, top, right, bottom
_GREY = 110


def astronaut() -> Bgr:
    """A portrait in the public domain: `[512, 512, 3]`, one face, 92 pixels wide."""
    return np.asarray(data.astronaut()[..., ::-1], np.uint8).copy()


def placed(x: float, y: float, face_width: float, roll_deg: float = 0.0) -> Matrix:
    """Moves the astronaut so that the face is there, so wide, and turned clockwise."""
    scale, angle = face_width / FACE_WIDTH, np.deg2rad(roll_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array([x, y]) - turn @ np.array(FACE_CENTRE)
    return np.concatenate([turn, shift[:, None]], axis=1)


def moved(points: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Points `[n, 2]` where a matrix moves them."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def heads(size: tuple[int, int], *places: Matrix) -> Bgr:
    """Heads on grey, as `placed` says: `[height, width, 3]`. Without any, a picture without a
    face."""
    picture = np.full((size[1], size[0], 3), _GREY, np.uint8)
    left, top, right, bottom = _HEAD
    outside = np.ones((512, 512), bool)
    outside[top:bottom, left:right] = False
    source = np.where(outside[..., None], _GREY, astronaut()).astype(np.uint8)
    seen = np.where(outside, 0, 255).astype(np.uint8)
    for matrix in places:
        halvings = max(0, int(-np.log2(np.hypot(*matrix[:, 0]))))  # so that it is averaged
        small, there = source, matrix.copy()
        for _ in range(halvings):
            half = cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            small = np.asarray(half, np.uint8)
        step = 2.0**halvings
        there[:, 2] += there[:, :2] @ np.full(2, (step - 1) / 2)
        there[:, :2] *= step
        head = cv2.warpAffine(small, there, size, borderValue=(_GREY,) * 3)
        where = cv2.warpAffine(seen, matrix, size) > 127
        picture[where] = head[where]
    return picture
