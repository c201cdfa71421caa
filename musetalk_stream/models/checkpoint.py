"""How tensors come out of a file and into a network."""

import pickle
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import WeightsError
from ..weights import expectation

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # pickled: what torch < 1.6 begins with
_STRANGERS = {  # what is found under the name of a checkpoint, and how it begins
    b"<!doctype html": "a web page (of a login or an error, probably)",
    b"<html": "a web page (of a login or an error, probably)",
    b"version https://git-lfs": "a Git LFS pointer, not the file that it points to",
}
# All of these come out of torch.load when bytes of a checkpoint are changed at random.
_DAMAGED = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError,
    AssertionError, struct.error, SafetensorError,
)  # fmt: skip


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, in the file's number format.

    The file stays mapped into memory: tensors cost memory only once they are read, and changing
    them changes no file. Runs no code from the file. Raises WeightsError.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as exc:
        raise WeightsError(f"can't read {path}: {exc.strerror}") from exc
    is_safetensors = path.suffix == ".safetensors"
    if wrong := _wrong_from_the_start(head, is_safetensors):
        raise _unusable(path, wrong)
    try:
        if is_safetensors:
            return load_file(path)
        # Files in the old format can't be mapped.
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=head.startswith(_ZIP)
        )
    except pickle.UnpicklingError as exc:
        # torch would advise to load it all the same, which would run what it holds.
        raise _unusable(path, "is damaged, or holds Python objects beside tensors") from exc
    except _DAMAGED as exc:
        why = (str(exc) or type(exc).__name__).splitlines()[0].partition(". ")[0]
        raise _unusable(path, f"is damaged: {why.rstrip('.')}") from exc
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise _unusable(path, f"holds a {type(content).__name__}, not tensors by name")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _unusable(path, f"holds {key!r}, which is no tensor")
    return dict(content)


def fill(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Make the tensors of `state`, read from `path`, the parameters and buffers of `module`.

    They are taken over, not copied, so a module built on the meta device never holds its weights
    twice; only what has another number format than the module is converted. Raises WeightsError
    unless names and shapes are exactly those of the module.
    """
    wanted = module.state_dict()
    lacking = sorted(wanted.keys() - state.keys())
    foreign = sorted(state.keys() - wanted.keys())
    reshaped = sorted(key for key in wanted.keys() & state.keys()
                      if wanted[key].shape != state[key].shape)  # fmt: skip
    wrongs = []
    if lacking:
        wrongs.append(f"{len(lacking)} keys are missing (such as {lacking[0]})")
    if foreign:
        wrongs.append(f"{len(foreign)} keys are unexpected (such as {foreign[0]})")
    if reshaped:
        key = reshaped[0]
        shapes = f"{key} is {list(state[key].shape)}, not {list(wanted[key].shape)}"
        wrongs.append(f"{len(reshaped)} keys have another shape (such as {shapes})")
    if wrongs:
        raise _unusable(path, f"does not fit {type(module).__name__}: {', '.join(wrongs)}")
    same_format = {key: tensor.to(wanted[key].dtype) for key, tensor in state.items()}
    module.load_state_dict(same_format, assign=True)


def _wrong_from_the_start(head: bytes, is_safetensors: bool) -> str:
    """What is wrong with a file that begins like this; nothing if it may be a checkpoint."""
    if not head:
        return "is empty"
    for beginning, what in _STRANGERS.items():
        if head.lstrip().lower().startswith(beginning):
            return f"is {what}"
    if is_safetensors or head.startswith((_ZIP, _LEGACY)):
        return ""
    return "is a text file" if head.isascii() else "is no PyTorch checkpoint"


def _unusable(path: Path, what: str) -> WeightsError:
    size = path.stat().st_size
    return WeightsError(f"{path} ({size} bytes) {what}. {expectation(path)}".rstrip())
