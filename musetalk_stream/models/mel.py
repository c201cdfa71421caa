"""The log-mel spectrogram that Whisper hears.

80 bands from 0 to 8 kHz on Slaney's mel scale (Auditory Toolbox, 1998), each a triangle of unit
area, over power spectra of 25 ms every 10 ms.
"""

import math
from functools import cache

import torch
from torch import Tensor

from ..timeline import MODEL_RATE

_WINDOW, _HOP = 400, 160  # samples
_BANDS = 80
# Slaney's scale is linear up to 1 kHz, which is 15 mel, and logarithmic above.
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27


def log_mel(pcm: Tensor) -> Tensor:
    """Segments of 30 s, padded with zeros, float32 [B, 480000] -> [B, 80, 3000].

    What is 80 dB below the loudest moment of its own segment, or more, is raised to that.
    """
    assert pcm.shape[1:] == (30 * MODEL_RATE,), pcm.shape
    window, filters = _hann(pcm.device), _filters(pcm.device)
    spectra = torch.stft(pcm, _WINDOW, _HOP, window=window, return_complex=True)
    power = spectra[..., :-1].abs().square()  # [B, 201, 3000]; the last frame is dropped
    bels = (filters @ power).clamp(min=1e-10).log10()
    floor = bels.amax(dim=(1, 2), keepdim=True) - 8.0
    return (torch.maximum(bels, floor) + 4.0) / 4.0


@cache
def _hann(device: torch.device) -> Tensor:
    return torch.hann_window(_WINDOW, device=device)


@cache
def _filters(device: torch.device) -> Tensor:
    """[80, 201]: how much of the power at each frequency goes into each band."""
    nyquist = MODEL_RATE / 2
    top = _KNEE_MEL + math.log(nyquist / _KNEE_HZ) / _LOG_STEP
    edges = _hertz(torch.linspace(0, top, _BANDS + 2, dtype=torch.float64))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    frequencies = torch.linspace(0, nyquist, _WINDOW // 2 + 1, dtype=torch.float64)
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (high - low)).float().to(device)


def _hertz(mel: Tensor) -> Tensor:
    linear = mel * _KNEE_HZ / _KNEE_MEL
    logarithmic = _KNEE_HZ * ((mel - _KNEE_MEL) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE_MEL, linear, logarithmic)
