"""How a batch runs on a device: fixed shapes, nothing waited for before it is needed."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import SetupError
from ...models.generator import FaceGenerator
from ...schedule import padded_size
from .. import DeviceLost, OutOfDeviceMemory

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
# uint8 `[n, 256, 256, 3]` BGR, and bool `[n]`: which of them are numbers throughout.
Faces = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]

_RESERVE_BYTES = 2 << 30  # of the device's memory, not for batches
_CUDA_ERROR_MEMORY_ALLOCATION = 2
# Out of memory in words other than torch.OutOfMemoryError: cuDNN's search for an algorithm that
# finds no room for any, and the libraries' own allocations.
_NO_MEMORY = (
    "unable to find an engine",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class Runner(ABC):
    """A generator on its device, where it lies already in `dtype`; used by one thread."""

    def __init__(
        self,
        generator: FaceGenerator,
        device: torch.device,
        dtype: torch.dtype,
        batch_sizes: tuple[int, ...],
    ) -> None:
        self._generator = generator
        self._device = device
        self._dtype = dtype
        self.batch_sizes = batch_sizes

    @abstractmethod
    def warm_up(self, latent: Floats, window: Floats, progress: Callable[[str], None]) -> None:
        """Get ready with this example, `[8, h, w]` and `[50, 384]`; sizes that do not fit are
        dropped. Raises what `fitting_sizes` raises."""

    @abstractmethod
    def start(self, latents: Floats, windows: Floats) -> Callable[[], Faces]:
        """Start a batch, `[n, 8, h, w]` and `[n, 50, 384]`, with n at most the largest batch size;
        the function given back waits for its faces."""


def make_runner(
    generator: FaceGenerator, device: torch.device, dtype: torch.dtype, max_batch: int
) -> Runner:
    kind = GraphRunner if device.type == "cuda" else EagerRunner
    return kind(generator, device, dtype, sizes_up_to(max_batch))


def sizes_up_to(max_batch: int) -> tuple[int, ...]:
    """The powers of two below the largest batch, and that."""
    return (*(2**k for k in range(max_batch.bit_length()) if 2**k < max_batch), max_batch)


class EagerRunner(Runner):
    """Runs a batch when it is started, on the CPU, and as it is: nothing is gained by padding."""

    def warm_up(self, latent: Floats, window: Floats, progress: Callable[[str], None]) -> None:
        # There is nothing to capture, and the official size takes seconds per frame.
        fitting_sizes(self.start, self.batch_sizes[:1], latent, window, progress)

    @torch.inference_mode()
    def start(self, latents: Floats, windows: Floats) -> Callable[[], Faces]:
        inputs = (
            torch.from_numpy(each).to(self._device, self._dtype) for each in (latents, windows)
        )
        with translated_errors():
            faces, finite = self._generator(*inputs)
        return lambda: (faces.numpy(), finite.numpy())


class GraphRunner(Runner):
    """Replays one CUDA graph per batch size; faces travel to the host beside the next batch.

    A batch of this model is a thousand small kernels, which Python launches more slowly than a
    large GPU runs them; a graph is one launch.
    """

    def __init__(
        self,
        generator: FaceGenerator,
        device: torch.device,
        dtype: torch.dtype,
        batch_sizes: tuple[int, ...],
    ) -> None:
        super().__init__(generator, device, dtype, batch_sizes)
        self._compute = torch.cuda.Stream(device)
        self._copy = torch.cuda.Stream(device)
        # One for all sizes: they never run at the same time, and outputs are copied before the
        # next one runs.
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[int, _Graph] = {}

    def warm_up(self, latent: Floats, window: Floats, progress: Callable[[str], None]) -> None:
        with translated_errors():
            # For what runs beside the batches: hearing, and preparing avatars.
            reserve = torch.empty(_RESERVE_BYTES, dtype=torch.uint8, device=self._device)
        self.batch_sizes = fitting_sizes(self.start, self.batch_sizes, latent, window, progress)
        del reserve
        torch.cuda.empty_cache()

    def start(self, latents: Floats, windows: Floats) -> Callable[[], Faces]:
        count = len(latents)
        size = padded_size(count, self.batch_sizes)
        with translated_errors(), torch.inference_mode(), torch.cuda.stream(self._compute):
            if size not in self._graphs:
                self._graphs[size] = self._capture(latents[0], windows[0], size)
            graph = self._graphs[size]
            for static, each in ((graph.latents, latents), (graph.windows, windows)):
                pinned = torch.empty(static.shape, dtype=torch.float32, pin_memory=True)
                pinned.numpy()[:count] = each
                pinned.numpy()[count:] = each[-1]
                static.copy_(pinned, non_blocking=True)
            graph.graph.replay()
            # The next replay writes over the graph's own output.
            faces, finite = graph.faces[:count].clone(), graph.finite[:count].clone()
            self._copy.wait_stream(self._compute)
        with translated_errors(), torch.inference_mode(), torch.cuda.stream(self._copy):
            host = [self._to_host(each) for each in (faces, finite)]
            arrived = torch.cuda.Event(blocking=True)  # spinning would take a core from x264
            arrived.record()

        def wait() -> Faces:
            with translated_errors():
                arrived.synchronize()
            return host[0].numpy(), host[1].numpy()

        return wait

    def _to_host(self, tensor: Tensor) -> Tensor:
        # Freed by its owner, its memory must not be used again before this copy has been made.
        tensor.record_stream(self._copy)
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def _capture(self, latent: Floats, window: Floats, size: int) -> "_Graph":
        latents, windows = (
            torch.from_numpy(np.repeat(each[None], size, axis=0)).to(self._device, self._dtype)
            for each in (latent, window)
        )
        # Only here, where shapes never change: elsewhere it would try algorithms while people wait.
        torch.backends.cudnn.benchmark = True
        try:
            self._generator(latents, windows)  # cuDNN chooses, which can't be captured
            self._compute.synchronize()
            return _Graph(self._generator, latents, windows, self._compute, self._pool)
        finally:
            torch.backends.cudnn.benchmark = False


class _Graph:
    """One captured batch size with the tensors that it reads and writes."""

    def __init__(
        self,
        generator: FaceGenerator,
        latents: Tensor,
        windows: Tensor,
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self.latents, self.windows = latents, windows
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool, stream=stream):
            self.faces, self.finite = generator(latents, windows)


def fitting_sizes(
    start: Callable[[Floats, Floats], Callable[[], Faces]],
    sizes: Sequence[int],
    latent: Floats,
    window: Floats,
    progress: Callable[[str], None],
) -> tuple[int, ...]:
    """Run a batch of each size with the same example, and leave out those that do not fit.

    Raises SetupError if none does, or if what comes out is not made of numbers.
    """
    fitting, why = [], ""
    for size in reversed(sizes):  # the smaller ones then use the memory of the largest
        progress(f"warming up batches of {size}")
        try:
            _, finite = start(
                np.repeat(latent[None], size, axis=0), np.repeat(window[None], size, axis=0)
            )()
        except OutOfDeviceMemory as exc:
            why = str(exc)
            log.warning("batches of %d do not fit into the device's memory: %s", size, why)
            continue
        if not finite.all():
            raise SetupError(
                "the networks give values that are not numbers: the weights are damaged "
                "(musetalk-stream weights checks them), or this device needs --precision fp32"
            )
        fitting.append(size)
    if not fitting:
        raise SetupError(f"not even one frame fits into the device's memory ({why}): free some")
    return tuple(sorted(fitting))


@contextmanager
def translated_errors() -> Iterator[None]:
    """What torch says about memory and broken devices, in the words that the batcher acts on."""
    try:
        yield
    except RuntimeError as exc:
        kind = _kind(exc)
        if kind is None:
            raise
        if kind is OutOfDeviceMemory and torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise kind(str(exc).partition("\n")[0]) from exc


def _kind(exc: RuntimeError) -> type[OutOfDeviceMemory | DeviceLost] | None:
    if isinstance(exc, torch.OutOfMemoryError) or any(sign in str(exc) for sign in _NO_MEMORY):
        return OutOfDeviceMemory
    if isinstance(exc, torch.AcceleratorError):
        # After any other such error every further call fails, until the process is started anew.
        no_memory = getattr(exc, "error_code", None) == _CUDA_ERROR_MEMORY_ALLOCATION
        return OutOfDeviceMemory if no_memory else DeviceLost
    return None
