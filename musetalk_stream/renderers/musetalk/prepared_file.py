"""The file of a prepared avatar: written picture by picture, mapped when it is opened.

A safetensors file, so that other programs can read it, with the stamp as its metadata:

    latents  float32 [N, 8, 32, 32]  masked and reference latents, scaled
    boxes    int32   [N, 4]          of the faces; all 0 where there is none, and so the next
    rects    int32   [N, 4]          what changes in the picture
    masks    uint8   [M]             of each face: luma, then chroma, as large as its rect

The header has a fixed size, and all of it follows from the stamp, N and the size of the file. So a
file whose header is not the expected one is of something else, torn or damaged.
"""

import json
import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import SetupError
from .box import Box
from .region import Placement
from .resample import Bytes

LATENTS = (8, 32, 32)  # of one picture

_HEADER_BYTES = 4096  # with the 8 that say how long the rest is; a page, so that all is aligned
_ITEM_BYTES = {"F32": 4, "I32": 4, "U8": 1}

Stamp = dict[str, str]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The arrays of a file, mapped: nothing is read before it is looked at."""

    latents: npt.NDArray[np.float32]
    boxes: Ints
    rects: Ints
    masks: Bytes

    def placements(self) -> list[Placement | None]:
        """One per picture; None: no face."""
        found: list[Placement | None] = []
        start = 0
        for box, rect in zip(self.boxes.tolist(), self.rects.tolist(), strict=True):
            where = Box(*rect)
            if not where.width:
                found.append(None)
                continue
            middle = start + where.width * where.height
            end = middle + where.width * where.height // 4
            luma = self.masks[start:middle].reshape(where.height, where.width)
            chroma = self.masks[middle:end].reshape(where.height // 2, where.width // 2)
            found.append(Placement(Box(*box), where, luma, chroma))
            start = end
        return found


def read_parts(path: Path, stamp: Stamp, num_frames: int, size: tuple[int, int]) -> Parts | None:
    """None if there is no whole file of this stamp, of so many pictures of this width and height.

    Reads the header and the rectangles alone.
    """
    try:
        with path.open("rb") as file:
            # As a plain array: slicing a memmap object is several times slower.
            mapped = np.memmap(file, np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError):  # a ValueError if it is empty
        return None
    boxes_at, rects_at, masks_at = _places(num_frames)
    num_mask_bytes = mapped.size - masks_at
    if num_mask_bytes < 0:
        return None
    if mapped[:_HEADER_BYTES].tobytes() != _header(stamp, num_frames, num_mask_bytes):
        return None
    parts = Parts(
        mapped[_HEADER_BYTES:boxes_at].view(np.float32).reshape(num_frames, *LATENTS),
        mapped[boxes_at:rects_at].view(np.int32).reshape(num_frames, 4),
        mapped[rects_at:masks_at].view(np.int32).reshape(num_frames, 4),
        mapped[masks_at:],
    )
    return parts if _are_possible(parts, size) else None


def _are_possible(parts: Parts, size: tuple[int, int]) -> bool:
    """Whether the rectangles can be pasted into pictures of this size, and have all masks."""
    boxes, rects = parts.boxes.astype(np.int64), parts.rects.astype(np.int64)
    is_face = (boxes != 0).any(axis=1) | (rects != 0).any(axis=1)
    boxes, rects = boxes[is_face], rects[is_face]
    for corners in (boxes, rects):
        if (corners[:, :2] < 0).any() or (corners[:, 2:] > size).any():
            return False
        if (corners[:, :2] >= corners[:, 2:]).any():
            return False
    if (rects % 2).any() or (rects[:, :2] < boxes[:, :2] - 1).any():
        return False
    if (rects[:, 2:] > boxes[:, 2:] + 1).any():
        return False
    areas = np.prod(rects[:, 2:] - rects[:, :2], axis=1)
    return int(areas.sum()) * 5 // 4 == parts.masks.size


@contextmanager
def writing(path: Path, stamp: Stamp, num_frames: int) -> Iterator["Writer"]:
    """A file to which this block adds pictures, in order. Written beside and renamed, so that there
    is all of it or nothing; whoever renames last wins. What a killed process leaves is removed by
    `prepare_store`. Raises SetupError if it can't be written."""
    # By chance and not by process id: processes in containers that share a folder have the same.
    making = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with making.open("xb") as out:
            try:
                writer = Writer(out, num_frames)
                writer.begin()
                yield writer
                writer.finish(stamp)
                making.rename(path)
            finally:
                making.unlink(missing_ok=True)
    except OSError as exc:
        raise SetupError(f"{path} can't be written: {exc.strerror}") from exc


class Writer:
    """Fills a new file. Every picture is written at once: memory is not needed for all of them, and
    a full disk is noticed when it is full."""

    def __init__(self, out: BinaryIO, num_frames: int) -> None:
        self._out = out
        self._num_frames = num_frames
        self._boxes = np.zeros((num_frames, 4), np.int32)
        self._rects = np.zeros((num_frames, 4), np.int32)
        self._end = _places(num_frames)[-1]

    def begin(self) -> None:
        """Takes the header's room: a disk that is full is noticed before there is work to lose."""
        self._write(0, bytes(_HEADER_BYTES))

    def add(self, picture: int, latents: npt.NDArray[np.float32], placement: Placement) -> None:
        """A picture that is never added has no face: no masks, and latents of zeros, by a hole."""
        self._boxes[picture], self._rects[picture] = placement.box, placement.rect
        masks = placement.luma.tobytes() + placement.chroma.tobytes()
        self._write(_HEADER_BYTES + picture * latents.nbytes, latents.tobytes())
        self._write(self._end, masks)
        self._end += len(masks)

    def finish(self, stamp: Stamp) -> None:
        boxes_at, rects_at, masks_at = _places(self._num_frames)
        self._write(boxes_at, self._boxes.tobytes())
        self._write(rects_at, self._rects.tobytes())
        self._write(0, _header(stamp, self._num_frames, self._end - masks_at))

    def _write(self, place: int, content: bytes) -> None:
        self._out.seek(place)
        self._out.write(content)
        self._out.flush()


def _places(num_frames: int) -> tuple[int, int, int]:
    """Where boxes, rects and masks begin."""
    boxes_at = _HEADER_BYTES + num_frames * math.prod(LATENTS) * 4
    rects_at = boxes_at + num_frames * 16
    return boxes_at, rects_at, rects_at + num_frames * 16


def _header(stamp: Stamp, num_frames: int, num_mask_bytes: int) -> bytes:
    """https://github.com/huggingface/safetensors: the length of the rest as a little-endian u64,
    then JSON, which may be padded by spaces."""
    document: dict[str, object] = {"__metadata__": stamp}
    start = 0
    for name, dtype, shape in (
        ("latents", "F32", [num_frames, *LATENTS]),
        ("boxes", "I32", [num_frames, 4]),
        ("rects", "I32", [num_frames, 4]),
        ("masks", "U8", [num_mask_bytes]),
    ):
        end = start + math.prod(shape) * _ITEM_BYTES[dtype]
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        start = end
    length = _HEADER_BYTES - 8
    return length.to_bytes(8, "little") + json.dumps(document).encode().ljust(length)
