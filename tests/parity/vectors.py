"""Which comparison fits which file: told by the arrays that it holds, not by its name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import networks, pictures, sound
from .comparison import Comparison

Arrays = Mapping[str, Any]

# The first whose names are all there (a name ending in * stands for any that begins so).
KINDS: list[tuple[tuple[str, ...], Callable[[Arrays], list[Comparison]]]] = [
    (("cfg", "latents", "audio_before_pe"), networks.unet),
    (("cfg", "img_bgr"), networks.vae),
    (("pcm",), networks.whisper),
    (("pe",), networks.positional),
    (("keypoints", "det"), pictures.boxes),
    (("face", "crop_box", "mask_*"), pictures.blending),
    (("label_map",), pictures.parsing),
    (("frame", "crop256_*"), pictures.resizing),
    (("sec*",), sound.windows),
    (("N*",), pictures.cycles),
]


def compare(path: Path) -> list[Comparison]:
    """Every array of a vector file against ours. ValueError if its kind is not known."""
    arrays = _read(path)
    for names, kind in KINDS:
        if all(_has(arrays, name) for name in names):
            return kind(arrays)
    raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}: no vectors of a known kind")


def _read(path: Path) -> Arrays:
    if path.suffix == ".json":
        read: dict[str, Any] = json.loads(path.read_text())
        return read
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _has(arrays: Arrays, name: str) -> bool:
    if name.endswith("*"):
        return any(each.startswith(name[:-1]) for each in arrays)
    return name in arrays
