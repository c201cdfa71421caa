"""How the pictures of a video repeat: on from its end to its beginning, or back from its end."""

import cv2
import numpy as np
import numpy.typing as npt

from ..avatar import Cycle
from .request import Loop

_WIDTH = 64  # of the small grey pictures that are compared: what matters moves further than noise
_SEAM = 1.5  # times the usual step: what a jump may be without being seen as one
_NEAR = 12  # steps to either side of the seam, beside which it is seen
_NOTHING = 0.35  # grey levels: what compression alone makes of equal pictures far apart

Grey = npt.NDArray[np.float32]


def choose_cycle(frames: npt.NDArray[np.uint8], wanted: Loop) -> Cycle:
    """The cycle of I420 pictures, uint8 `[N, H*3/2, W]`.

    By itself it goes forward only if the video leads from its end into its beginning, as far as one
    can see.
    """
    if wanted is Loop.FORWARD:
        return Cycle.FORWARD
    if wanted is Loop.PING_PONG:
        return Cycle.PING_PONG
    return Cycle.FORWARD if _is_loop(frames) else Cycle.PING_PONG


def _is_loop(frames: npt.NDArray[np.uint8]) -> bool:
    if len(frames) < 3:
        return True  # to and fro is the same
    small = _small(frames)
    # Also two pictures apart: where each picture is there twice, most steps to the next are none.
    return all(_leads_on(small, apart) for apart in (1, 2))


def _leads_on(small: Grey, apart: int) -> bool:
    """Whether pictures on both sides of the seam differ as little as others that far apart."""
    steps = _difference(small[apart:], small[:-apart])
    # A jump as large as the video's liveliest moments is still seen in a quiet one.
    usual = min(
        float(np.percentile(steps, 90)),
        float(max(steps[:_NEAR].max(), steps[-_NEAR:].max())),
    )
    across = _difference(small[:apart], small[-apart:])
    return float(across.max()) <= _SEAM * usual + _NOTHING


def _difference(some: Grey, others: Grey) -> Grey:
    """Root mean square per pair of pictures, in grey levels: `[n]`."""
    return np.asarray(np.sqrt(np.mean((some - others) ** 2, axis=(1, 2))), np.float32)


def _small(frames: npt.NDArray[np.uint8]) -> Grey:
    """`[N, h, 64]`: the luma, one picture after the other, as they may be mapped."""
    rows, width = frames.shape[1:]
    height = rows * 2 // 3
    size = (min(_WIDTH, width), max(1, min(height, height * _WIDTH // width)))
    return np.stack(
        [
            np.asarray(cv2.resize(frame[:height], size, interpolation=cv2.INTER_AREA), np.float32)
            for frame in frames
        ]
    )
