"""Where a frame's time goes on the device, and how much of what the device can do is used."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .features import SEGMENT_SAMPLES
from .networks import Networks

_RUNS = 5  # of which the best counts
_ENOUGH_S = 3.0
# Large enough to fill a device with one product, small enough for a CPU.
_MATRIX = {"cuda": 8192, "cpu": 2048}


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds, run one by one and waited for; frames are those of one batch."""

    unet_ms: float  # per frame
    decoder_ms: float  # per frame, pixels on the device
    hearing_ms: float  # per 30 s of sound
    latents_ms: float  # per picture of an avatar, once
    gflop_per_frame: float
    peak_tflops: float  # what matrix products reach on this device in this number format

    @property
    def limit_fps(self) -> float:
        """Frames per second if everything ran like a matrix product."""
        return self.peak_tflops * 1e3 / self.gflop_per_frame


@torch.inference_mode()
def measure_stages(networks: Networks, batch: int) -> Stages:
    latent, window = networks.example()
    latents, windows = (
        torch.from_numpy(np.repeat(each[None], batch, axis=0)).to(networks.device, networks.dtype)
        for each in (latent, window)
    )
    generator = networks.generator
    clean = generator.clean(latents, windows)
    silence = np.zeros(SEGMENT_SAMPLES, np.float32)
    picture = np.zeros((1, 256, 256, 3), np.uint8)
    # Spelled out as matrix products: fused attention is not counted on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        generator(latents[:1], windows[:1])

    def ms(function: Callable[[], object]) -> float:
        return _best_s(function, networks.device) * 1e3

    return Stages(
        unet_ms=ms(lambda: generator.clean(latents, windows)) / batch,
        decoder_ms=ms(lambda: generator.pixels(clean)) / batch,
        hearing_ms=ms(lambda: networks.hear(silence)),
        latents_ms=ms(lambda: networks.latents(picture)),
        gflop_per_frame=counter.get_total_flops() / 1e9,
        peak_tflops=_peak_tflops(networks.device, networks.dtype),
    )


def _peak_tflops(device: torch.device, dtype: torch.dtype) -> float:
    side = _MATRIX[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _best_s(lambda: left @ right, device) / 1e12


def _best_s(function: Callable[[], object], device: torch.device) -> float:
    """The seconds of the fastest of some runs, after one that does not count."""

    def run() -> float:
        began_s = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began_s

    run()
    best_s, until_s = run(), time.perf_counter() + _ENOUGH_S
    for _ in range(_RUNS - 1):
        if time.perf_counter() > until_s:
            break
        best_s = min(best_s, run())
    return best_s
