"""Checkpoints: every format that is used, and everything that is found under such a name."""

import hashlib
import pickle
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from musetalk_stream.errors import WeightsError
from musetalk_stream.models.checkpoint import fill, load_state
from musetalk_stream.weights import OFFICIAL_FILES

State = dict[str, Tensor]


class Payload:
    """What a pickle can do to who loads it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return network().state_dict()


def write(path: Path, state: State) -> Path:
    """A checkpoint in the format that its name says."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        is_new = not path.stem.endswith("legacy")
        torch.save(state, path, _use_new_zipfile_serialization=is_new)
    return path


FORMATS = ["unet.pth", "pytorch_model.bin", "legacy.pth", "model.safetensors"]


@pytest.mark.parametrize("name", FORMATS)
def test_tensors_come_back(name: str, state: State, tmp_path: Path) -> None:
    loaded = load_state(write(tmp_path / name, state))
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("name", FORMATS)
def test_a_filled_network_can_be_changed_and_the_file_stays(
    name: str, state: State, tmp_path: Path
) -> None:
    path = write(tmp_path / name, state)
    before = hashlib.sha256(path.read_bytes()).digest()
    with torch.device("meta"):
        module = network()
    fill(module, load_state(path), path)
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in state.items())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    assert torch.equal(module.state_dict()["0.weight"], state["0.weight"] * 2)
    del module
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_a_filled_network_keeps_its_number_format(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "half.pth", {key: tensor.half() for key, tensor in state.items()})
    module = network()
    fill(module, load_state(path), path)
    assert module.state_dict()["0.weight"].dtype == torch.float32
    assert module.state_dict()["1.num_batches_tracked"].dtype == torch.int64


def test_a_state_dict_may_lie_inside(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "trained.pth")
    assert load_state(tmp_path / "trained.pth").keys() == state.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_off_file_is_damaged(name: str, state: State, tmp_path: Path) -> None:
    path = write(tmp_path / name, state)
    whole = path.read_bytes()
    for num_bytes in (30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:num_bytes])
        with pytest.raises(WeightsError, match=rf"\({num_bytes} bytes\) is damaged"):
            load_state(path)


@pytest.mark.parametrize("name", ["unet.pth", "legacy.pth"])
def test_any_changed_byte_is_an_error_of_ours_or_none(
    name: str, state: State, tmp_path: Path
) -> None:
    path = write(tmp_path / name, state)
    whole = path.read_bytes()
    num_refused = 0
    for position in range(16, 900, 7):
        for value in (0x00, 0x2E, 0xFF):
            changed = bytearray(whole)
            changed[position] = value
            path.write_bytes(changed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, about pickle protocols
                try:
                    load_state(path)
                except WeightsError:
                    num_refused += 1
    assert num_refused > 50


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_does_not_run(is_zip: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "unet.pth"
    torch.save({"a": Payload(trace)}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="holds Python objects"):
        load_state(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "it would have run"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>\n<title>Sign in</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:7e", "is a Git LFS pointer"),
        (b'{"error": "not found"}\n', "is a text file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is no PyTorch checkpoint"),
        (pickle.dumps({"a": 1}), "is no PyTorch checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "unet.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        load_state(path)


def test_a_pointer_in_place_of_safetensors_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:7e")
    with pytest.raises(WeightsError, match="Git LFS pointer"):
        load_state(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({"a": 1}, "'a', which is no tensor"),
        ({3: torch.zeros(1)}, "3, which is no tensor"),
        (network(), "holds Python objects"),
    ],
)
def test_other_contents_are_named(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=words):
        load_state(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["nothing.pth", "nothing.safetensors", "."])
def test_what_can_not_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="can't read"):
        load_state(tmp_path / name)


def test_in_the_place_of_an_official_file_the_error_says_what_that_is_like(tmp_path: Path) -> None:
    official = OFFICIAL_FILES[0]
    path = tmp_path / official.path
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(WeightsError) as caught:
        load_state(path)
    assert "(16 bytes)" in str(caught.value)
    assert str(official.num_bytes) in str(caught.value)
    assert str(official.sha256) in str(caught.value)
    assert f"musetalk-stream weights --dir {tmp_path} --list" in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "unet.pth", state)
    state["other.weight"] = state.pop("0.bias")
    state["0.weight"] = torch.zeros(4, 3, 1, 1)
    module = network()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        fill(module, state, path)
    for words in (
        f"{path} (",
        "does not fit Sequential",
        "1 keys are missing (such as 0.bias)",
        "1 keys are unexpected (such as other.weight)",
        "1 keys have another shape (such as 0.weight is [4, 3, 1, 1], not [4, 3, 3, 3])",
    ):
        assert words in str(caught.value)
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in before.items())
