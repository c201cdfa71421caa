"""Between the networks' BGR and the encoder's I420: BT.709, limited range.

Both directions take a chroma sample to stand in the middle of its four pixels, so that there and
back moves no colour. (H.264 puts it half a pixel to the left; that shows in neither direction.)
"""

import cv2
import numpy as np

from ...blend import Picture
from .box import Box
from .resample import Bytes

_KR, _KG, _KB = 0.2126, 0.7152, 0.0722  # ITU-R BT.709
_LUMA, _CHROMA = 219 / 255, 224 / 255  # limited range: 16-235 and 16-240
_CONTEXT = 4  # pixels around a rectangle that its chroma is interpolated from

_LUMA_OF_BGR = np.array([_KB, _KG, _KR])
_BLUE, _RED = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
# [Y, Cb, Cr] = _TO_YCC @ [B, G, R, 1]
_TO_YCC = np.concatenate(
    [
        [
            _LUMA * _LUMA_OF_BGR,
            _CHROMA * (_BLUE - _LUMA_OF_BGR) / (2 * (1 - _KB)),
            _CHROMA * (_RED - _LUMA_OF_BGR) / (2 * (1 - _KR)),
        ],
        [[16.0], [128.0], [128.0]],
    ],
    axis=1,
)
_TO_BGR = np.linalg.inv(np.concatenate([_TO_YCC, [[0, 0, 0, 1]]]))[:3]


def i420_of(bgr: Bytes) -> Picture:
    """The planes of a BGR picture, uint8 `[h, w, 3]`, h and w even; within 1 level of exact."""
    height, width = bgr.shape[:2]
    full = cv2.transform(bgr, _TO_YCC)
    half = cv2.resize(full, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return Picture(
        *(np.asarray(each, np.uint8) for each in (full[..., 0], half[..., 1], half[..., 2]))
    )


def bgr_of(planes: Picture, rect: Box) -> Bytes:
    """A rectangle of an I420 picture as BGR, uint8 `[h, w, 3]`; for preparation, not per frame."""
    height, width = planes.luma.shape
    # With some of its surroundings: the same pixels as if the whole picture were converted.
    wide = rect.even(_CONTEXT).within(Box(0, 0, width, height))
    half = np.s_[wide.y1 // 2 : wide.y2 // 2, wide.x1 // 2 : wide.x2 // 2]
    ycc = np.empty((wide.height, wide.width, 3), np.float32)
    ycc[..., 0] = planes.luma[wide.y1 : wide.y2, wide.x1 : wide.x2]
    for channel, plane in ((1, planes.cb), (2, planes.cr)):
        coarse = plane[half].astype(np.float32)
        ycc[..., channel] = cv2.resize(
            coarse, (wide.width, wide.height), interpolation=cv2.INTER_CUBIC
        )
    bgr = np.clip(np.rint(cv2.transform(ycc, _TO_BGR)), 0, 255).astype(np.uint8)
    inner = rect.seen_from(wide)
    return np.ascontiguousarray(bgr[inner.y1 : inner.y2, inner.x1 : inner.x2])
