"""The UNet: from the masked and the reference latents and the sound, the latents of a talking face.

It is Stable Diffusion's UNet (diffusers' UNet2DConditionModel, whose parameter names these are)
with 8 input channels and an audio context of 384. MuseTalk calls it once, at time step 0; what
comes out is the picture's latents, scaled, not noise.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, silu

from . import fields
from .layers import Attention, Downsample, GroupNorm, Resnet, Upsample, as_picture, as_tokens

# Fields of which we know one value only. What else is different shows when the weights are loaded:
# their names or shapes do not fit.
_FIXED: fields.Json = {
    "act_fn": "silu",
    "attention_type": "default",
    "center_input_sample": False,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_attention_heads": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "time_embedding_act_fn": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "use_linear_projection": False,
}
_DOWN_ATTENDS = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP_ATTENDS = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """What shapes the network; as it stands, the official one."""

    in_channels: int = 8
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)  # from large pictures to small
    down_attends: tuple[bool, ...] = (True, True, True, False)  # which blocks have transformers
    up_attends: tuple[bool, ...] = (False, True, True, True)
    layers_per_block: int = 2
    heads: int = 8
    groups: int = 32
    eps: float = 1e-5
    audio_width: int = 384

    @classmethod
    def from_json(cls, config: fields.Json) -> Self:
        """From `musetalk.json`. ValueError names a field that is missing or not supported."""
        fields.only(config, _FIXED)
        channels = fields.wholes(config, "block_out_channels")
        return cls(
            in_channels=fields.whole(config, "in_channels"),
            out_channels=fields.whole(config, "out_channels"),
            block_out_channels=channels,
            down_attends=fields.choices(config, "down_block_types", _DOWN_ATTENDS, len(channels)),
            up_attends=fields.choices(config, "up_block_types", _UP_ATTENDS, len(channels)),
            layers_per_block=fields.whole(config, "layers_per_block"),
            # Its name notwithstanding, it is the number of heads.
            heads=fields.dividing(config, "attention_head_dim", channels),
            groups=fields.dividing(config, "norm_num_groups", channels),
            eps=fields.small(config, "norm_eps"),
            audio_width=fields.whole(config, "cross_attention_dim"),
        )

    @property
    def time_width(self) -> int:
        return 4 * self.block_out_channels[0]


class UNet(nn.Module):
    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        config = config or UNetConfig()
        first, last = config.block_out_channels[0], config.block_out_channels[-1]
        skips = [first]  # channels of the pictures that the way up meets again
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.time_embedding: _TimeEmbedding | None = _TimeEmbedding(first, config.time_width)
        self.down_blocks = nn.ModuleList(
            _DownBlock(config, level, skips) for level in range(len(config.block_out_channels))
        )
        self.mid_block = _MidBlock(config, last)
        self.up_blocks = nn.ModuleList(
            _UpBlock(config, step, skips) for step in range(len(config.block_out_channels))
        )
        self.conv_norm_out = GroupNorm(config.groups, first, config.eps)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)

    def forward(self, latents: Tensor, audio: Tensor) -> Tensor:
        """One frame each: the masked and the reference latents [B, 8, h, w], scaled, and the sound
        [B, 50, 384], positions added. Gives scaled latents [B, 4, h, w]."""
        time = None if self.time_embedding is None else silu(self.time_embedding())
        x: Tensor = self.conv_in(latents)
        skips = [x]
        for block in self.down_blocks:
            x = block(x, audio, time, skips)
        x = self.mid_block(x, audio, time)
        for block in self.up_blocks:
            x = block(x, audio, time, skips)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(x), inplace=True))
        return out

    def fold_time(self) -> None:
        """Move the time step, which is always 0, into the biases. Once, after loading, and in
        float32: the biases take it up no more precisely than they are themselves."""
        assert self.time_embedding is not None, "folded already"
        time = silu(self.time_embedding())
        for module in self.modules():
            if isinstance(module, Resnet):
                module.fold_time(time)
        self.time_embedding = None


class _TimeEmbedding(nn.Module):
    """The embedding of time step 0: [1, time_width]."""

    def __init__(self, channels: int, time_width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, time_width)
        self.linear_2 = nn.Linear(time_width, time_width)

    def forward(self) -> Tensor:
        # At 0 all cosines, the first half of the sinusoids, are 1 and all sines are 0.
        cosines = self.linear_1.weight[:, : self.linear_1.in_features // 2]
        out: Tensor = self.linear_2(silu(cosines.sum(dim=1) + self.linear_1.bias)[None])
        return out


class _DownBlock(nn.Module):
    """`skips` in the constructors are channels, in the passes the pictures themselves."""

    def __init__(self, config: UNetConfig, level: int, skips: list[int]) -> None:
        super().__init__()
        channels = config.block_out_channels[level]
        self.resnets = nn.ModuleList()
        for _ in range(config.layers_per_block):
            self.resnets.append(_resnet(config, skips[-1], channels))
            skips.append(channels)
        self.attentions = _transformers(
            config, channels, len(self.resnets), config.down_attends[level]
        )
        self.downsamplers = nn.ModuleList()
        if level < len(config.block_out_channels) - 1:
            self.downsamplers.append(Downsample(channels, all_sides=True))
            skips.append(channels)

    def forward(self, x: Tensor, audio: Tensor, time: Tensor | None, skips: list[Tensor]) -> Tensor:
        for resnet, attend in zip_longest(self.resnets, self.attentions):
            x = resnet(x, time)
            if attend is not None:
                x = attend(x, audio)
            skips.append(x)
        for downsample in self.downsamplers:
            x = downsample(x)
            skips.append(x)
        return x


class _MidBlock(nn.Module):
    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_resnet(config, channels, channels) for _ in range(2))
        self.attentions = _transformers(config, channels, 1, True)

    def forward(self, x: Tensor, audio: Tensor, time: Tensor | None) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, time), audio)
        out: Tensor = self.resnets[1](x, time)
        return out


class _UpBlock(nn.Module):
    def __init__(self, config: UNetConfig, step: int, skips: list[int]) -> None:
        super().__init__()
        upwards = config.block_out_channels[::-1]
        below, channels = upwards[max(step - 1, 0)], upwards[step]
        self.resnets = nn.ModuleList()
        for _ in range(config.layers_per_block + 1):
            self.resnets.append(_resnet(config, below + skips.pop(), channels))
            below = channels
        self.attentions = _transformers(
            config, channels, len(self.resnets), config.up_attends[step]
        )
        self.upsamplers = nn.ModuleList([Upsample(channels)] if skips else [])

    def forward(self, x: Tensor, audio: Tensor, time: Tensor | None, skips: list[Tensor]) -> Tensor:
        for resnet, attend in zip_longest(self.resnets, self.attentions):
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
            if attend is not None:
                x = attend(x, audio)
        for upsample in self.upsamplers:
            x = upsample(x, *skips[-1].shape[2:])
        return x


def _resnet(config: UNetConfig, in_channels: int, out_channels: int) -> Resnet:
    return Resnet(in_channels, out_channels, config.groups, config.eps, config.time_width)


def _transformers(config: UNetConfig, channels: int, count: int, wanted: bool) -> nn.ModuleList:
    return nn.ModuleList(_Transformer(config, channels) for _ in range(count if wanted else 0))


class _Transformer(nn.Module):
    """Self-attention, attention over the sound and a feed-forward layer, added to the picture."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(config.groups, channels, eps=1e-6)  # whatever norm_eps says
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([_Layer(config, channels)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        tokens = _project(as_tokens(self.norm(x)), self.proj_in)
        for layer in self.transformer_blocks:
            tokens = layer(tokens, audio)
        return x + as_picture(_project(tokens, self.proj_out), x.shape[2])


def _project(tokens: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 1x1 convolution as the matrix product that it is."""
    return linear(tokens, conv.weight.flatten(1), conv.bias)


class _Layer(nn.Module):
    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, channels, config.heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, config.audio_width, config.heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = _FeedForward(channels)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), audio)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class _FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # Their second layer is dropout, of which only the place in the names is left.
        self.net = nn.Sequential(
            _Geglu(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class _Geglu(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        gated: Tensor = value * gelu(gate)
        return gated
