"""The pictures of an avatar in the making, and how they look to OpenCV."""

import cv2
import numpy as np
import numpy.typing as npt

from ..blend import i420_planes
from ..renderers.musetalk.box import Box
from ..renderers.musetalk.colour import bgr_of, i420_of
from .faces import Bgr
from .plan import Plan
from .work import Work

I420 = npt.NDArray[np.uint8]  # [H*3/2, W]


def frames_of(work: Work, plan: Plan) -> npt.NDArray[np.uint8]:
    """`[N, H*3/2, W]`, mapped."""
    height = plan.height * 3 // 2
    mapped = np.memmap(work.planes, np.uint8, mode="r")
    return mapped.view(np.ndarray).reshape(-1, height, plan.width)


def bgr(frame: I420) -> Bgr:
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    return bgr_of(i420_planes(frame), Box(0, 0, width, height))


def roughly_bgr(frame: I420) -> Bgr:
    """For what only looks for faces: by BT.601, a shade off, and thirty times as fast."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420), np.uint8)


def i420(picture: Bgr) -> I420:
    planes = i420_of(picture)
    flat = np.concatenate([plane.ravel() for plane in (planes.luma, planes.cb, planes.cr)])
    return np.asarray(flat.reshape(-1, picture.shape[1]), np.uint8)
