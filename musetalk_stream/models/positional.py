"""Which of the audio tokens is which: the sinusoids that MuseTalk adds to them."""

import math

import torch
from torch import Tensor


def positional_encoding(length: int, width: int) -> Tensor:
    """float32 [length, width]: sines in the even columns, cosines in the odd ones."""
    # In float32 from the beginning, as the official table is made.
    scale = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * scale
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
