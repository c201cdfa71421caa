"""The VAE: pictures of 256 x 256 to latents of 32 x 32 and back.

It is Stable Diffusion's (diffusers' AutoencoderKL, whose parameter names these are).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from . import fields
from .layers import Attention, Downsample, GroupNorm, Resnet, Upsample, as_picture, as_tokens

# What the UNet sees are latents times this. The official configuration does not say so: it is
# diffusers' default.
SCALING_FACTOR = 0.18215

_EPS = 1e-6  # of all norms, whatever the configuration says
# Fields of which we know one value only.
_FIXED: fields.Json = {
    "act_fn": "silu",
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "scaling_factor": SCALING_FACTOR,
    "shift_factor": None,
    "use_post_quant_conv": True,
    "use_quant_conv": True,
}
_NEW_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """What shapes the network; as it stands, the official one."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)  # from large pictures to small
    layers_per_block: int = 2
    groups: int = 32

    @classmethod
    def from_json(cls, config: fields.Json) -> Self:
        """From `config.json`. ValueError names a field that is missing or not supported."""
        fields.only(config, _FIXED)
        channels = fields.wholes(config, "block_out_channels")
        fields.choices(config, "down_block_types", {"DownEncoderBlock2D": False}, len(channels))
        fields.choices(config, "up_block_types", {"UpDecoderBlock2D": False}, len(channels))
        return cls(
            in_channels=fields.whole(config, "in_channels"),
            out_channels=fields.whole(config, "out_channels"),
            latent_channels=fields.whole(config, "latent_channels"),
            block_out_channels=channels,
            layers_per_block=fields.whole(config, "layers_per_block"),
            groups=fields.dividing(config, "norm_num_groups", channels),
        )


class Vae(nn.Module):
    def __init__(self, config: VaeConfig | None = None) -> None:
        super().__init__()
        config = config or VaeConfig()
        latent = config.latent_channels
        self.encoder = _Encoder(config)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)
        self.decoder = _Decoder(config)

    def encode_mean(self, images: Tensor) -> Tensor:
        """The means, unscaled, of what the official code draws samples from.

        images [B, 3, H, W] RGB from -1 to 1 -> [B, 4, H/8, W/8]
        """
        means: Tensor = self.quant_conv(self.encoder(images)).chunk(2, dim=1)[0]
        return means

    def decode(self, latents: Tensor) -> Tensor:
        """Unscaled latents [B, 4, h, w] -> [B, 3, 8h, 8w] RGB, about -1 to 1 but not clamped.

        After `fold_pixels`: scaled latents -> BGR.
        """
        images: Tensor = self.decoder(self.post_quant_conv(latents))
        return images

    @torch.no_grad()
    def fold_pixels(self) -> None:
        """Let decoding take scaled latents and give BGR. Once, after loading.

        The step from -1..1 to 0..255 stays outside: bfloat16 has only whole numbers above 128.
        """
        self.post_quant_conv.weight /= SCALING_FACTOR
        last = self.decoder.conv_out
        assert last.bias is not None
        last.weight.copy_(last.weight.flip(0))
        last.bias.copy_(last.bias.flip(0))


def with_new_attention_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with today's names of the attention layers; sd-vae-ft-mse has older ones.

    Their weights may be matrices or 1x1 convolutions; matrices they become.
    """
    renamed = {}
    for key, tensor in state.items():
        block, _, layer = key.rpartition(".attentions.0.")
        name, _, kind = layer.partition(".")
        if block and name in _NEW_NAMES:
            key = f"{block}.attentions.0.{_NEW_NAMES[name]}.{kind}"
            tensor = tensor.flatten(1) if kind == "weight" else tensor
        renamed[key] = tensor
    return renamed


class _Encoder(nn.Module):
    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        borders = pairwise((channels[0], *channels))
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            _DownBlock(config, before, after, is_last=level == len(channels) - 1)
            for level, (before, after) in enumerate(borders)
        )
        self.mid_block = _MidBlock(channels[-1], config.groups)
        self.conv_norm_out = GroupNorm(config.groups, channels[-1], _EPS)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> means and logarithms of variances [B, 8, H/8, W/8]"""
        x: Tensor = self.conv_in(images)
        for block in self.down_blocks:
            x = block(x)
        x = self.mid_block(x)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(x), inplace=True))
        return out


class _Decoder(nn.Module):
    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        borders = pairwise((channels[0], *channels))
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = _MidBlock(channels[0], config.groups)
        self.up_blocks = nn.ModuleList(
            _UpBlock(config, before, after, is_last=step == len(channels) - 1)
            for step, (before, after) in enumerate(borders)
        )
        self.conv_norm_out = GroupNorm(config.groups, channels[-1], _EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, 4, h, w] -> [B, 3, 8h, 8w]"""
        x: Tensor = self.conv_in(latents)
        x = self.mid_block(x)
        for block in self.up_blocks:
            x = block(x)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(x), inplace=True))
        return out


class _DownBlock(nn.Module):
    def __init__(self, config: VaeConfig, before: int, after: int, *, is_last: bool) -> None:
        super().__init__()
        self.resnets = _resnets(before, after, config.layers_per_block, config.groups)
        self.downsamplers = nn.ModuleList([] if is_last else [Downsample(after, all_sides=False)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class _MidBlock(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = _resnets(channels, channels, 2, groups)
        self.attentions = nn.ModuleList([_PictureAttention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return out


class _UpBlock(nn.Module):
    def __init__(self, config: VaeConfig, before: int, after: int, *, is_last: bool) -> None:
        super().__init__()
        self.resnets = _resnets(before, after, config.layers_per_block + 1, config.groups)
        self.upsamplers = nn.ModuleList([] if is_last else [Upsample(after)])

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for upsample in self.upsamplers:
            x = upsample(x, 2 * x.shape[2], 2 * x.shape[3])
        return x


def _resnets(before: int, after: int, count: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(
        Resnet(before if i == 0 else after, after, groups, _EPS) for i in range(count)
    )


class _PictureAttention(Attention):
    """Every place of a picture looks at every other, in one head; added to the picture."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, channels, heads=1, bias=True)
        self.group_norm = GroupNorm(groups, channels, _EPS)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        tokens = as_tokens(self.group_norm(x))
        return x + as_picture(super().forward(tokens, tokens), x.shape[2])
