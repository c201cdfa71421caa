"""The latents of an official avatar folder: `latents.pt`, without running what a pickle may say."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...errors import UnsupportedAvatar
from .prepared_file import LATENTS

# Of one picture: the numbers as float32 at most, and the names and headers of their zip entry.
_MOST_BYTES_EACH = 8 * 32 * 32 * 4 + 4096
_SPARE_BYTES = 1 << 20


def read_official_latents(path: Path, most: int) -> list[npt.NDArray[np.float32]]:
    """One per picture, `[8, 32, 32]`: masked and reference latents, scaled; at most `most`.

    Raises UnsupportedAvatar.
    """
    try:
        _check_size(path, most * _MOST_BYTES_EACH + _SPARE_BYTES)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except _ERRORS as exc:
        what = str(exc).splitlines() or [type(exc).__name__]
        raise UnsupportedAvatar(f"{path} can't be read as a list of latents: {what[0]}") from exc
    if not isinstance(found, list) or len(found) > most:
        raise UnsupportedAvatar(f"{path} is no list of at most {most} latents")
    return [_latents(each, path) for each in found]


_ERRORS = (
    OSError, zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, TypeError,
    KeyError, IndexError, AttributeError, EOFError, NotImplementedError, OverflowError,
)  # fmt: skip


def _check_size(path: Path, most_bytes: int) -> None:
    """torch stores without compressing; what is compressed could become any size."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed")
    if sum(entry.file_size for entry in entries) > most_bytes:
        raise ValueError("it is too large for this many pictures")


def _latents(value: object, path: Path) -> npt.NDArray[np.float32]:
    if not isinstance(value, torch.Tensor) or tuple(value.shape) != (1, *LATENTS):
        what = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise UnsupportedAvatar(f"{path} holds {what} in the place of latents [1, 8, 32, 32]")
    if value.layout is not torch.strided or not value.is_floating_point():
        raise UnsupportedAvatar(f"{path} holds latents of {value.dtype}")
    latents = value[0].float().contiguous().numpy()
    if not np.isfinite(latents).all():
        raise UnsupportedAvatar(f"{path} holds latents that are not numbers throughout")
    return np.asarray(latents, np.float32)
