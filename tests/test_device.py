"""Fixed batch sizes, what does not fit, what a broken device says; graphs where there is CUDA."""

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from weights_by_name import UNET_SMALLEST, VAE_SMALLEST, named

from musetalk_stream.errors import SetupError
from musetalk_stream.models.generator import FaceGenerator
from musetalk_stream.models.unet import UNet, UNetConfig
from musetalk_stream.models.vae import Vae, VaeConfig
from musetalk_stream.renderers import DeviceLost, OutOfDeviceMemory
from musetalk_stream.renderers.musetalk.device import (
    EagerRunner,
    Faces,
    Runner,
    fitting_sizes,
    make_runner,
    sizes_up_to,
    translated_errors,
)

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def generator() -> FaceGenerator:
    unet = named(UNet(UNetConfig.from_json(UNET_SMALLEST)))
    return FaceGenerator(unet, named(Vae(VaeConfig.from_json(VAE_SMALLEST)))).requires_grad_(False)


def inputs(count: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(count)
    latents, windows = random.normal(size=(count, 8, 32, 32)), random.normal(size=(count, 50, 384))
    return latents.astype(np.float32), windows.astype(np.float32)


def example() -> tuple[Floats, Floats]:
    """One frame's."""
    latents, windows = inputs(1)
    return latents[0], windows[0]


def ignored(doing: str) -> None:
    pass


class Small(nn.Module):
    """Has room for `room` frames."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room = room
        self.error = error

    def forward(self, latents: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        if len(latents) > self.room:
            raise self.error
        faces = torch.zeros((len(latents), 256, 256, 3), dtype=torch.uint8)
        return faces, torch.ones(len(latents), dtype=torch.bool)


def runner_with_room(room: int, error: Exception) -> Runner:
    return EagerRunner(Small(room, error), CPU, torch.float32, (1, 2, 4, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))],
)
def test_batch_sizes(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert sizes_up_to(max_batch) == sizes


def test_a_batch_between_two_sizes_gives_what_was_asked_for(generator: FaceGenerator) -> None:
    runner = make_runner(generator, CPU, torch.float32, 8)
    latents, windows = inputs(5)
    faces, finite = runner.start(latents, windows)()
    assert faces.shape == (5, 256, 256, 3)
    assert finite.tolist() == [True] * 5
    for k in range(5):
        alone, _ = runner.start(latents[k : k + 1], windows[k : k + 1])()
        assert np.abs(alone[0].astype(int) - faces[k]).max() <= 1


def test_only_the_frame_with_bad_numbers_is_marked(generator: FaceGenerator) -> None:
    runner = make_runner(generator, CPU, torch.float32, 4)
    latents, windows = inputs(4)
    windows[2] = np.inf
    _, finite = runner.start(latents, windows)()
    assert finite.tolist() == [True, True, False, True]


ENGINE = "FIND was unable to find an engine to execute this computation"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(ENGINE)]
)
def test_sizes_that_do_not_fit_are_dropped(error: Exception) -> None:
    start, told = runner_with_room(2, error).start, list[str]()
    assert fitting_sizes(start, (1, 2, 4, 8), *example(), told.append) == (1, 2)
    assert told == [f"warming up batches of {size}" for size in (8, 4, 2, 1)]


def test_no_room_at_all_is_told() -> None:
    start = runner_with_room(0, torch.OutOfMemoryError("3 GiB are wanted\nand more")).start
    with pytest.raises(SetupError, match=r"not even one frame.*3 GiB are wanted\)"):
        fitting_sizes(start, (1, 2), *example(), ignored)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), OutOfDeviceMemory),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), OutOfDeviceMemory),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), DeviceLost),
        (RuntimeError("sizes of tensors must match"), RuntimeError),
        (ValueError("no"), ValueError),
    ],
)
def test_errors_of_the_device(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, translated_errors():
        raise error
    assert caught.type is kind


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphs_give_what_eager_batches_give(generator: FaceGenerator, dtype: torch.dtype) -> None:
    """Two batches in flight at a time, of changing sizes."""
    eager = make_runner(generator, CPU, torch.float32, 4)
    counts = (4, 3, 1, 4, 2, 2)
    expected = [eager.start(*inputs(count))()[0] for count in counts]
    device = torch.device("cuda")
    moved = copy.deepcopy(generator).to(device, dtype)
    graphs = make_runner(moved, device, dtype, 4)
    graphs.warm_up(*example(), ignored)
    found: list[Faces] = []
    waiting: list[Callable[[], Faces]] = []
    for count in counts:
        waiting.append(graphs.start(*inputs(count)))
        if len(waiting) == 2:
            found.append(waiting.pop(0)())
    found.append(waiting.pop(0)())
    for (faces, finite), wanted in zip(found, expected, strict=True):
        assert finite.all()
        difference = np.abs(faces.astype(int) - wanted)
        assert difference.max() <= 1 if dtype is torch.float32 else difference.mean() < 0.5
