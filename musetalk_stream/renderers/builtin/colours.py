"""What an open mouth shows, in the light of the avatar's own lips and skin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...avatar import Avatar
from ...blend import i420_planes

Tone = tuple[float, float, float]  # Y, Cb, Cr, limited range

_BLACK, _WHITE = 16.0, 235.0
_COLOURFUL = 12.0  # from here on, away from grey, skin has a colour of its own


@dataclass(frozen=True, slots=True)
class Colours:
    cavity: Tone
    teeth: Tone
    tongue: Tone


def colours_of(avatar: Avatar, points: npt.NDArray[np.float32], pictures: Sequence[int]) -> Colours:
    """points: the landmarks of all pictures; pictures: those to look at."""
    lips, skin, brightest = [], [], []
    for n in pictures:
        at = points[n]
        upper = (at[[50, 51, 52]] + at[[61, 62, 63]]) / 2
        lower = (at[[58, 57, 56]] + at[[67, 66, 65]]) / 2
        cheeks = (at[[48, 54]] + at[[4, 12]]) / 2
        chin = 0.4 * at[[57]] + 0.6 * at[[8]]
        lips.append(_samples(avatar.frames[n], np.concatenate([upper, lower])))
        skin.append(_samples(avatar.frames[n], np.concatenate([cheeks, chin, at[[29]]])))
        brightest.append(_brightest(avatar.frames[n], at[17:]))
    lip, cheek = (np.median(np.concatenate(tones), axis=0) for tones in (lips, skin))
    # A black-and-white picture has a black-and-white mouth.
    colourful = min(1.0, float(np.hypot(*(cheek[1:] - 128))) / _COLOURFUL)
    return Colours(
        cavity=(
            _BLACK + 0.15 * (lip[0] - _BLACK),
            128 - 8 * colourful,
            128 + max(7.0 * colourful, 0.45 * (lip[2] - 128)),
        ),
        teeth=(
            # In the dark nothing shines: no brighter than the brightest of the face.
            min(cheek[0] + 0.45 * (_WHITE - cheek[0]), float(np.median(brightest))),
            128 + 0.30 * (cheek[1] - 128),
            128 + 0.25 * (cheek[2] - 128),
        ),
        tongue=(
            _BLACK + 0.55 * (lip[0] - _BLACK),
            128 + 0.9 * (lip[1] - 128),
            128 + 0.9 * (lip[2] - 128),
        ),
    )


def _brightest(frame: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]) -> float:
    """Luma within brows, nose and lips, but for single pixels."""
    luma = i420_planes(frame).luma
    height, width = luma.shape
    left, top = np.clip(points.min(axis=0), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(points.max(axis=0), 0, (width - 1, height - 1)).astype(int)
    return float(np.percentile(luma[top : bottom + 1, left : right + 1], 99))


def _samples(
    frame: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Y, Cb, Cr at points: `[n, 3]`; at the border for those outside."""
    planes = i420_planes(frame)
    height, width = planes.luma.shape
    x = np.clip(points[:, 0], 0, width - 1).astype(int)
    y = np.clip(points[:, 1], 0, height - 1).astype(int)
    half = (y // 2, x // 2)
    colours = np.stack([planes.luma[y, x], planes.cb[half], planes.cr[half]], axis=1)
    return np.asarray(colours, np.float64)
