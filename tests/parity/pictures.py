"""Boxes, crops, masks, blending and cycles against the official code's."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from musetalk_stream.avatar import NUM_LANDMARKS, Avatar, Cycle, Manifest
from musetalk_stream.blend import mix
from musetalk_stream.renderers.musetalk import parsing as masks
from musetalk_stream.renderers.musetalk.box import Box, crop_box, face_box
from musetalk_stream.renderers.musetalk.crop import face_crop, fitted

from .comparison import Comparison, exact

Arrays = Mapping[str, Any]

_LANDMARKS = slice(23, 91)  # of the 133 points of a whole body
_NO_FACE = (0, 0, 0, 0)
_BOUNDLESS = (1 << 30, 1 << 30)  # the file does not say how large the picture is


def boxes(arrays: Arrays) -> list[Comparison]:
    """Version 1: no margin. What the official code's face detector does not find (-1) has no face,
    whatever the landmarks are."""
    landmarks = arrays["keypoints"][:, 0, _LANDMARKS]
    compared = []
    for name, (shift,) in _named(arrays, r"coords_shift(-?\d+)"):
        ours = [
            _NO_FACE
            if min(detection) < 0
            else face_box(
                points,
                _BOUNDLESS,
                shift=int(shift),
                margin=0,
                detection=_box(detection),
                smallest=1,
            )
            or _NO_FACE
            for points, detection in zip(landmarks, arrays["det"], strict=True)
        ]
        compared.append(exact(name, ours, arrays[name]))
    return compared


def blending(arrays: Arrays) -> list[Comparison]:
    frame, face, box = arrays["frame"], arrays["face"], _box(arrays["box"])
    around = _box(arrays["crop_box"])
    compared = [exact("crop_box", crop_box(box), around)]
    if "face256" in arrays:
        compared.append(exact("face", fitted(arrays["face256"], box), face))
    seen = box.within(Box(0, 0, frame.shape[1], frame.shape[0]))
    of_face, of_mask = seen.seen_from(box), seen.seen_from(around)
    for name, (mode,) in _named(arrays, r"blend_(\w+)"):
        mask = arrays[f"mask_{mode}"]
        ours = frame.copy()
        _part(ours, seen)[:] = mix(_part(frame, seen), _part(face, of_face), _part(mask, of_mask))
        compared.append(exact(name, ours, arrays[name]))
    return compared


def parsing(arrays: Arrays) -> list[Comparison]:
    compared = []
    if "kernel" in arrays:
        compared.append(exact("kernel", masks.skin_kernel(), arrays["kernel"]))
    if "cheek_kernel" in arrays:
        compared.append(exact("cheek_kernel", masks.cheek_kernel(), arrays["cheek_kernel"]))
    for name, (left, right) in _named(arrays, r"cheek_mask_(\d+)(?:_(\d+))?"):
        widths = int(left), int(right or left)
        compared.append(exact(name, masks.cheek_mask(widths), arrays[name]))
    for name, (mode, left, right) in _named(arrays, r"mask_([a-z]+)_(\d+)(?:_(\d+))?"):
        widths = int(left), int(right or left)
        ours = masks.face_mask(arrays["label_map"], masks.Mode(mode), widths)
        compared.append(exact(name, ours, arrays[name]))
    return compared


def resizing(arrays: Arrays) -> list[Comparison]:
    compared = []
    for name, (number,) in _named(arrays, r"crop256_(\w+)"):
        box = _box(arrays[f"box{number}"])
        compared.append(exact(name, face_crop(arrays["frame"], box), arrays[name]))
        back = f"back_{number}"
        if back in arrays:
            compared.append(exact(back, fitted(arrays[name], box), arrays[back]))
    return compared


def cycles(arrays: Arrays) -> list[Comparison]:
    compared = []
    for name, sizes in _named(arrays, r"N(\d+)_T(\d+)_bs(\d+)"):
        num_pictures, num_frames, batch_size = (int(size) for size in sizes)
        avatar = _mirrored_avatar(num_pictures)
        pictures = np.array([avatar.picture(frame) for frame in range(num_frames)])
        frames = np.arange(num_frames)
        ours = np.stack([frames // batch_size, frames, pictures])
        theirs = [
            [np.full(len(batch[0]), number), *batch]
            for number, batch in enumerate(arrays[name]["batches"])
        ]
        compared.append(exact(f"{name} frame_index", pictures, arrays[name]["frame_index"]))
        compared.append(exact(f"{name} batches", ours, np.concatenate(theirs, axis=1)))
    return compared


def _mirrored_avatar(num_pictures: int) -> Avatar:
    manifest = Manifest(
        id="official",
        name="official",
        width=2,
        height=2,
        fps=Fraction(25),
        num_frames=num_pictures,
        cycle=Cycle.MIRROR,
        source_sha256="",
        provenance="",
        licence="",
    )
    frames = np.zeros((num_pictures, 3, 2), np.uint8)
    landmarks = np.full((num_pictures, NUM_LANDMARKS, 2), np.nan, np.float32)
    return Avatar(manifest, frames, landmarks, Path(), Path())


def _named(arrays: Arrays, pattern: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names that match as a whole, with the parts of them that are asked for."""
    for name in arrays:
        match = re.fullmatch(pattern, name)
        if match:
            yield name, match.groups()


def _box(numbers: Any) -> Box:
    return Box(*(int(number) for number in numbers))


def _part(picture: Any, box: Box) -> Any:
    return picture[box.y1 : box.y2, box.x1 : box.x2]
