"""A generated face on its way into the picture.

The official code blends whole pictures in BGR; here the planes of the rectangle that the mask
touches are blended, by the same integer formula. Conversion to I420 is linear, so what differs is
its rounding: 0.15 levels on average and 1 at most from the official blends converted afterwards
(`tests/test_face_region.py`); in chroma 3 where a steep mask cuts through noise. What the mask does
not touch stays as it was, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...blend import Picture, mix
from .. import Mouth
from .box import Box
from .colour import i420_of
from .crop import fitted
from .resample import Bytes


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where in one picture of an avatar a generated face goes, and how much of it shows there.

    box     of the face
    rect    what changes: inside the picture, even corners; at most a pixel outside the box
    luma    uint8 `[h, w]` of `rect`: 0 the source, 255 the face
    chroma  uint8 `[h/2, w/2]`, the mean of the four pixels of luma
    """

    box: Box
    rect: Box
    luma: Bytes
    chroma: Bytes


def place(mask: Bytes, box: Box, crop_box: Box, size: tuple[int, int]) -> Placement | None:
    """From the mask of a crop (`mask.paste_mask`), in a picture of this width and height (even).

    None if nothing of the face would be seen.
    """
    seen = box.within(Box(0, 0, *size)).within(crop_box)
    if seen.width <= 0 or seen.height <= 0:
        return None
    inside = seen.seen_from(crop_box)
    shown = mask[inside.y1 : inside.y2, inside.x1 : inside.x2]
    x, y, width, height = cv2.boundingRect(shown)
    if not width:
        return None
    touched = Box(seen.x1 + x, seen.y1 + y, seen.x1 + x + width, seen.y1 + y + height)
    rect = touched.even()
    luma = np.zeros((rect.height, rect.width), np.uint8)
    to = touched.seen_from(rect)
    luma[to.y1 : to.y2, to.x1 : to.x2] = shown[y : y + height, x : x + width]
    half = (rect.width // 2, rect.height // 2)
    chroma = np.asarray(cv2.resize(luma, half, interpolation=cv2.INTER_AREA), np.uint8)
    return Placement(box, rect, luma, chroma)


@dataclass(frozen=True, slots=True, eq=False)
class FaceRegion:
    """A generated face, uint8 `[256, 256, 3]` BGR, that is pasted when its turn comes.

    strength: 0 to 1, how much of it shows; it fades at the edges of speech.
    """

    placement: Placement
    face: Bytes
    strength: float = 1.0

    def paste(self, into: Picture) -> None:
        rect = self.placement.rect
        face = i420_of(_cut(fitted(self.face, self.placement.box), self.placement))
        luma, chroma = (
            _scaled(mask, self.strength) for mask in (self.placement.luma, self.placement.chroma)
        )
        half = np.s_[rect.y1 // 2 : rect.y2 // 2, rect.x1 // 2 : rect.x2 // 2]
        for target, plane, mask in (
            (into.luma[rect.y1 : rect.y2, rect.x1 : rect.x2], face.luma, luma),
            (into.cb[half], face.cb, chroma),
            (into.cr[half], face.cr, chroma),
        ):
            target[:] = mix(target, plane, mask)


@dataclass(frozen=True, slots=True, eq=False)
class FaceMouth:
    """A generated face, uint8 `[256, 256, 3]` BGR, for any picture of its avatar: the box and the
    mask are those of the picture that it is shown on.

    placements  one per picture
    strength    0 to 1, how much of it shows
    """

    placements: Sequence[Placement | None]
    face: Bytes
    strength: float

    @property
    def openness(self) -> float:
        return self.strength

    def on(self, picture: int) -> FaceRegion | None:
        placement = self.placements[picture]
        return FaceRegion(placement, self.face, self.strength) if placement else None

    def towards(self, other: Mouth | None, share: float) -> "FaceMouth":
        mine = self.strength * (1 - share)
        if other is None:
            return FaceMouth(self.placements, self.face, mine)
        assert isinstance(other, FaceMouth)
        theirs = other.strength * share
        # As if one picture faded into the other after both were pasted.
        part = theirs / (mine + theirs)
        mixed = cv2.addWeighted(self.face, 1 - part, other.face, part, 0)
        return FaceMouth(self.placements, np.asarray(mixed, np.uint8), mine + theirs)


def _cut(face: Bytes, placement: Placement) -> Bytes:
    """The part of a face, in the size of its box, that lies in the rectangle; where that is a pixel
    larger, the face's border again: it only lends colour to chroma that two pixels share."""
    height, width = face.shape[:2]
    part = placement.rect.seen_from(placement.box)
    kept = part.within(Box(0, 0, width, height))
    cut = face[kept.y1 : kept.y2, kept.x1 : kept.x2]
    if kept != part:
        edges = (kept.y1 - part.y1, part.y2 - kept.y2, kept.x1 - part.x1, part.x2 - kept.x2)
        cut = np.asarray(cv2.copyMakeBorder(cut, *edges, cv2.BORDER_REPLICATE), np.uint8)
    return cut


def _scaled(mask: Bytes, strength: float) -> Bytes:
    if strength == 1:
        return mask
    return np.asarray(cv2.convertScaleAbs(mask, alpha=strength), np.uint8)
