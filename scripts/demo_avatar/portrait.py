"""The painting: one picture of the portrait in a given pose."""

from functools import cache

import cv2
import numpy as np
import skia

from . import hair
from .body import background, body
from .brush import moved
from .eyes import eyes
from .features import brows, face, mouth, nose
from .geometry import SCALE, SIZE
from .layers import blank, layer, pixels, put
from .motion import Pose


def draw(pose: Pose) -> np.ndarray:
    """float32 [1024, 1024, 3]: RGB 0 to 1, twice the size."""
    base = _behind(pose)
    head = _warped(_head(pose), pose)
    return base[..., :3] * (1 - head[..., 3:]) + head[..., :3]


@cache
def _still() -> dict[str, skia.Image]:
    """What is the same in every frame but for the motion of the head."""
    return {
        "background": _grained(layer(background)),
        "behind": layer(hair.back),
        "face": layer(face, mouth, nose, brows),
        "hair": layer(hair.front),
    }


def _behind(pose: Pose) -> np.ndarray:
    surface = blank()
    canvas = surface.getCanvas()
    put(canvas, _still()["background"])
    with moved(canvas, pose.head()):
        put(canvas, _still()["behind"])
    body(canvas, pose)
    return pixels(surface)


def _head(pose: Pose) -> np.ndarray:
    surface = blank()
    canvas = surface.getCanvas()
    put(canvas, _still()["face"])
    eyes(canvas, pose)
    put(canvas, _still()["hair"])
    return pixels(surface)


def _warped(head: np.ndarray, pose: Pose) -> np.ndarray:
    """The head at rest, [1024, 1024, 4], as it lies in this pose."""
    at = (np.arange(SIZE * SCALE) + 0.5) / SCALE
    x, y = np.meshgrid(at, at)
    rest = pose.unplace(np.stack([x, y], axis=-1))
    where = (rest * SCALE - 0.5).astype(np.float32)
    return cv2.remap(head, where[..., 0], where[..., 1], cv2.INTER_CUBIC)


def _grained(wall: skia.Image) -> skia.Image:
    """The wall has a fine grain, which hides the steps of its 8-bit gradients.

    It stands still, so that it costs nothing from frame to frame.
    """
    rgba = wall.toarray(colorType=skia.kRGBA_F32_ColorType)
    grain = np.random.default_rng(709).triangular(-1, 0, 1, rgba.shape[:2])
    rgba[..., :3] += (2.4 / 255 * grain)[..., None]
    return skia.Image.fromarray(rgba, skia.kRGBA_F32_ColorType)
