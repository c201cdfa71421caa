"""Weights that anyone can draw again, from the names of the parameters, and sizes to use them at.

The rule is that of the official code's test vectors (see `parity`).
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Json = Mapping[str, Any]
Network = TypeVar("Network", bound=nn.Module)


def _unet(channels: list[int], groups: int, heads: int, layers: int) -> Json:
    levels = len(channels)
    return {
        "act_fn": "silu",
        "attention_head_dim": heads,
        "block_out_channels": channels,
        "cross_attention_dim": 384,
        "down_block_types": [*["CrossAttnDownBlock2D"] * (levels - 1), "DownBlock2D"],
        "in_channels": 8,
        "layers_per_block": layers,
        "norm_eps": 1e-5,
        "norm_num_groups": groups,
        "out_channels": 4,
        "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * (levels - 1)],
    }


def _vae(channels: list[int], groups: int, layers: int) -> Json:
    return {
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "out_channels": 3,
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
    }


# The sizes of the test vectors: about 0.5 s per frame on two cores.
UNET_TINY = _unet([64, 128, 192, 192], groups=32, heads=8, layers=2)
VAE_TINY = _vae([32, 64, 64, 64], groups=32, layers=2)
# For tests that render many frames.
UNET_SMALLEST = _unet([16, 32, 32, 32], groups=8, heads=4, layers=1)
VAE_SMALLEST = _vae([8, 8, 16, 16], groups=8, layers=1)


def named_state(
    network: nn.Module | Mapping[str, Sequence[int]], prefix: str = ""
) -> dict[str, Tensor]:
    """The state of a network (which may be on the meta device), or of shapes by key.

    `prefix` belongs to the names that are drawn from, not to the keys.
    """
    shapes = (
        {key: tensor.shape for key, tensor in network.state_dict().items()}
        if isinstance(network, nn.Module)
        else network
    )
    return {key: named_tensor(prefix + key, shape) for key, shape in shapes.items()}


def named(network: Network, prefix: str = "") -> Network:
    """The network with the weights of its names; made anew if it was on the meta device.

    Tensor by tensor, so that the official UNet's 3.4 GB are there only once.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        network.to_empty(device="cpu")
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            tensor.copy_(named_tensor(prefix + key, tensor.shape))
    return network.eval()


def named_tensor(name: str, shape: Sequence[int]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    z = torch.from_numpy(random.standard_normal(math.prod(shape)).astype(np.float32))
    z = z.reshape(tuple(shape))
    if name.endswith("running_var"):
        return 0.5 + z.abs()
    if name.endswith("running_mean"):
        return 0.1 * z
    if len(shape) <= 1:
        return 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
    return z / math.sqrt(math.prod(shape[1:]))
