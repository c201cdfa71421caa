"""The latents of an official avatar folder: `latents.pt`, without running what a pickle may say."""

import pickle
import pickletools
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
        _check_calls(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, list) or len(found) > most:
            raise UnsupportedAvatar(f"{path} is no list of at most {most} latents")
        return [_latents(each, path) for each in found]
    except OSError as exc:
        raise UnsupportedAvatar(f"{path} can't be read: {exc.strerror or exc}") from exc
    except _ERRORS as exc:
        raise UnsupportedAvatar(
            f"{path} can't be read as a list of latents: it is damaged, or torch.save did not "
            "write it"
        ) from exc


# What a list of tensors calls; torch would call more, some of which takes any memory.
_CALLED = {
    "torch._utils _rebuild_tensor_v2",
    "torch HalfStorage",
    "torch FloatStorage",
    "torch BFloat16Storage",
    "torch DoubleStorage",
    "collections OrderedDict",
}
_ERRORS = (
    zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, TypeError,
    KeyError, IndexError, AttributeError, AssertionError, EOFError, NotImplementedError,
    OverflowError, MemoryError,
)  # fmt: skip


def _check_size(path: Path, most_bytes: int) -> None:
    """torch stores without compressing; what is compressed could become any size."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UnsupportedAvatar(f"{path} is compressed: torch.save writes it as it is")
    if sum(entry.file_size for entry in entries) > most_bytes:
        raise UnsupportedAvatar(f"{path} is too large for this many pictures")


def _check_calls(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(name)
    for opcode, called, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL" and called not in _CALLED:
            what = str(called).replace(" ", ".")[:64]
            raise UnsupportedAvatar(f"{path} holds more than latents: it would call {what}")


def _latents(value: object, path: Path) -> npt.NDArray[np.float32]:
    if not isinstance(value, torch.Tensor) or tuple(value.shape) != (1, *LATENTS):
        what = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise UnsupportedAvatar(f"{path} holds {what} in the place of latents [1, 8, 32, 32]")
    if value.layout is not torch.strided or not value.is_floating_point():
        raise UnsupportedAvatar(f"{path} holds latents of {value.dtype}")
    latents = value[0].detach().float().contiguous().numpy()
    if not np.isfinite(latents).all():
        raise UnsupportedAvatar(f"{path} holds latents that are not numbers throughout")
    return np.asarray(latents, np.float32)
