"""Which comparison fits which file: told by the arrays that it holds, not by its name."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import networks, pictures, sound
from .comparison import Comparison

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """needs: the names that tell it; one ending in * stands for any that begins so
    inputs: the names of what is compared with nothing, likewise"""

    compare: Callable[[Arrays], list[Comparison]]
    needs: tuple[str, ...]
    inputs: tuple[str, ...] = ()


# The first whose names are all there.
KINDS = (
    Kind(networks.unet, ("cfg", "latents", "audio_before_pe"), ("cfg", "latents", "audio_*")),
    Kind(networks.vae, ("cfg", "img_bgr"), ("cfg", "img_bgr", "z_scaled")),
    Kind(networks.vae, ("cfg", "z_scaled"), ("cfg", "z_scaled")),
    Kind(networks.whisper, ("pcm",), ("pcm",)),
    Kind(networks.positional, ("pe",)),
    Kind(networks.configuration, ("block_out_channels",), ("*",)),
    Kind(pictures.boxes, ("keypoints", "det"), ("keypoints", "det")),
    Kind(pictures.blending, ("face", "crop_box", "mask_*"), ("frame", "face256", "box", "mask_*")),
    Kind(pictures.parsing, ("label_map",), ("label_map",)),
    Kind(pictures.resizing, ("frame", "crop256_*"), ("frame", "box*")),
    Kind(sound.windows, ("sec*",)),
    Kind(pictures.cycles, ("N*",)),
)


def compare(path: Path) -> tuple[list[Comparison], list[str]]:
    """Every array of a vector file against ours, and the names of those that we know nothing about.

    ValueError if it can't be read, if its kind is not known, or if nothing in it can be compared.
    """
    arrays = _read(path)
    for kind in KINDS:
        if all(any(_fits(name, need) for name in arrays) for need in kind.needs):
            break
    else:
        raise ValueError(f"no vectors of a known kind: {', '.join(arrays) or 'nothing'}")
    found = kind.compare(arrays)
    if not found:
        raise ValueError(f"nothing to compare with: {', '.join(arrays)}")
    compared = {each.array.partition(" ")[0] for each in found}
    left = [
        name
        for name in arrays
        if name not in compared and not any(_fits(name, known) for known in kind.inputs)
    ]
    return found, left


def _read(path: Path) -> Arrays:
    try:
        if path.suffix == ".json":
            read = json.loads(path.read_text())
        else:
            with np.load(path, allow_pickle=False) as file:
                read = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as exc:
        raise ValueError(f"can't be read: {exc or type(exc).__name__}") from exc
    if not isinstance(read, dict):
        raise ValueError("holds no arrays by name")
    return read


def _fits(name: str, known: str) -> bool:
    return name.startswith(known[:-1]) if known.endswith("*") else name == known
