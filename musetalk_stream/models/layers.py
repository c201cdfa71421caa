"""Building blocks that the UNet and the VAE share; parameters are named as in diffusers.

Pictures are [B, C, H, W], best in channels_last: then their tokens [B, H*W, C] are a view.
"""

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of [B, T, C] over [B, S, C], scaled by the root of a head's width."""
    q, k, v = (
        each.view(*each.shape[:2], heads, -1).transpose(1, 2) for each in (query, key, value)
    )
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def as_tokens(picture: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H*W, C]"""
    return picture.flatten(2).transpose(1, 2)


def as_picture(tokens: Tensor, height: int) -> Tensor:
    """[B, H*W, C] -> [B, C, H, W]"""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, height, -1)


class Attention(nn.Module):
    """Attention of [B, T, width] over [B, S, context_width]; `bias` in queries, keys, values."""

    def __init__(self, width: int, context_width: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width, width, bias=bias)
        self.to_v = nn.Linear(context_width, width, bias=bias)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        found = attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads)
        out: Tensor = self.to_out(found)
        return out


class GroupNorm(nn.GroupNorm):
    """torch's, but on CUDA it leaves channels-last pictures as they are.

    There torch's own turns them around, and the next convolution turns them back: two copies of
    every picture, about as much memory traffic as normalising itself.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.is_cuda and input.is_contiguous(memory_format=torch.channels_last):
            return group_norm_channels_last(input, self)
        return super().forward(input)


@torch.no_grad()
def group_norm_channels_last(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """What `norm` gives for a picture [B, C, H, W], in two passes over it and without another
    order of its bytes; sums are in float32."""
    batch, channels = x.shape[:2]
    count = x[0].numel() // norm.num_groups

    def mean_of_groups(sums: Tensor) -> Tensor:  # [B, C] -> [B, C], the same within a group
        groups = sums.view(batch, norm.num_groups, -1)
        return (groups.sum(2, keepdim=True) / count).expand_as(groups).reshape(batch, channels)

    mean = mean_of_groups(x.sum((2, 3), dtype=torch.float32))
    square = mean_of_groups(vector_norm(x, dim=(2, 3), dtype=torch.float32).square())
    scale = norm.weight.float() * ((square - mean.square()).clamp(min=0) + norm.eps).rsqrt()
    shift = norm.bias.float() - mean * scale
    # The result is rounded once, when it is written.
    return torch.addcmul(
        shift[:, :, None, None], x, scale[:, :, None, None], out=torch.empty_like(x)
    )


class Resnet(nn.Module):
    """Twice norm, SiLU and convolution, around them a shortcut; `time_width` 0: it has no time."""

    def __init__(
        self, in_channels: int, out_channels: int, groups: int, eps: float, time_width: int = 0
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, out_channels) if time_width else None
        self.norm2 = GroupNorm(groups, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """`time`: [1, time_width], past its SiLU; needed until it is folded."""
        h: Tensor = self.conv1(silu(self.norm1(x), inplace=True))
        if self.time_emb_proj is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(silu(self.norm2(h), inplace=True))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))

    @torch.no_grad()
    def fold_time(self, time: Tensor) -> None:
        """Put what `time` adds into the bias of conv1, and drop its projection."""
        assert self.time_emb_proj is not None
        assert self.conv1.bias is not None
        self.conv1.bias += self.time_emb_proj(time)[0]
        self.time_emb_proj = None


class Downsample(nn.Module):
    """Half the size. The UNet pads all sides, the VAE only the right and the bottom one."""

    def __init__(self, channels: int, *, all_sides: bool) -> None:
        super().__init__()
        self.all_sides = all_sides
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if all_sides else 0)

    def forward(self, x: Tensor) -> Tensor:
        half: Tensor = self.conv(x if self.all_sides else pad(x, (0, 1, 0, 1)))
        return half


class Upsample(nn.Module):
    """Nearest neighbours, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        larger: Tensor = self.conv(interpolate(x, (height, width)))
        return larger
