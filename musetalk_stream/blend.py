"""Pictures on their way to the encoder: a source picture with the mouth region pasted over it.

All of it happens in I420, the encoder's own pixel format, and touches only the region: converting
whole pictures costs more than encoding them.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Writable views of the three planes of one I420 picture; strides may exceed the width."""

    luma: Plane  # [H, W]
    cb: Plane  # [H/2, W/2]
    cr: Plane  # [H/2, W/2]


class Region(Protocol):
    """The part of a picture that a renderer has changed."""

    def paste(self, into: Picture) -> None:
        """Change `into`, a copy of the source picture. On any thread, at most once."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MouthRegion:
    """A rectangle of I420 that replaces what the source picture has there.

    x, y    its corner in luma pixels, both even
    luma    uint8 `[h, w]`, h and w even
    cb, cr  uint8 `[h/2, w/2]`
    """

    x: int
    y: int
    luma: Plane
    cb: Plane
    cr: Plane

    def paste(self, into: Picture) -> None:
        height, width = self.luma.shape
        x, y = self.x, self.y
        into.luma[y : y + height, x : x + width] = self.luma
        half = np.s_[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2]
        into.cb[half] = self.cb
        into.cr[half] = self.cr


def i420_planes(frame: Plane) -> Picture:
    """View an I420 frame `[H*3/2, W]` (contiguous) as its three planes, without a copy."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    flat = frame.reshape(-1)
    luma_size, chroma_size = height * width, height * width // 4
    chroma = (height // 2, width // 2)
    return Picture(
        flat[:luma_size].reshape(height, width),
        flat[luma_size : luma_size + chroma_size].reshape(chroma),
        flat[luma_size + chroma_size :].reshape(chroma),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Veil:
    """Another picture that shows through the whole of a frame; opacity 0 to 1."""

    picture: Picture
    opacity: float

    def lay(self, over: Picture) -> None:
        alpha = round(self.opacity * 256)
        for plane, other in (
            (over.luma, self.picture.luma),
            (over.cb, self.picture.cb),
            (over.cr, self.picture.cr),
        ):
            total = np.multiply(plane, 256 - alpha, dtype=np.uint16)
            total += np.multiply(other, alpha, dtype=np.uint16)
            total += 127  # 255 * 256 + 127 is the most that 16 bits must hold
            plane[:] = total >> 8


def compose(
    into: Picture, source: Picture, region: Region | None, veil: Veil | None = None
) -> None:
    """Copy the source picture, paste the region (None: the face is the source face), then lay the
    veil over all of it."""
    into.luma[:] = source.luma
    into.cb[:] = source.cb
    into.cr[:] = source.cr
    if region is not None:
        region.paste(into)
    if veil is not None:
        veil.lay(into)


def mix(source: Plane, face: Plane, mask: Plane) -> Plane:
    """`source` where the mask is 0, `face` where it is 255, and in between as Pillow's `paste`.

    source, face  uint8 `[h, w]` or `[h, w, C]`
    mask          uint8 `[h, w]`

    The official code blends by this formula: t = source*(255-m) + face*m + 128, and then
    (t + t/256) / 256. 16 bits hold all of it: t is at most 255*255 + 128 = 65153, and t + t/256 at
    most 65407.
    """
    if source.ndim > mask.ndim:
        mask = mask[..., None]
    total = np.multiply(face, mask, dtype=np.uint16)
    part = np.multiply(source, ~mask, dtype=np.uint16)
    total += part
    total += 128
    np.right_shift(total, 8, out=part)
    total += part
    total >>= 8
    return total.astype(np.uint8)
