"""How much of the generated face each pixel around it gets."""

import cv2
import numpy as np

from .box import Box
from .resample import Bytes, resized_bicubic

UPPER = 0.5  # share of the crop, from its top, that is never generated
BLUR = 0.1  # of the crop's width: the seam of the official realtime path (0.05 of the offline one)


def paste_mask(
    mask: Bytes, box: Box, crop_box: Box, *, upper: float = UPPER, blur: float = BLUR
) -> Bytes:
    """The official mask of a crop, uint8 `[crop_h, crop_w]`, 255 where only the generated face
    shows; from the mask `[512, 512]` of its parsed map.

    It is blurred beyond the face box; there, nothing is generated and the source stays.
    """
    width, height = crop_box.width, crop_box.height
    whole = resized_bicubic(mask, width, height)
    inside = box.seen_from(crop_box)
    top = max(inside.y1, int(height * upper))
    kept = np.zeros_like(whole)
    kept[top : inside.y2, inside.x1 : inside.x2] = whole[top : inside.y2, inside.x1 : inside.x2]
    kernel = int(blur * width // 2 * 2) + 1  # odd
    return np.asarray(cv2.GaussianBlur(kept, (kernel, kernel), 0), np.uint8)
