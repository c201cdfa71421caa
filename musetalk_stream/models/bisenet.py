"""BiSeNet: which part of a face, of 19, each pixel shows.

The network of face-parsing.PyTorch (github.com/zllrunning/face-parsing.PyTorch, model.py), whose
parameter names these are and whose `79999_iter.pth` MuseTalk uses. It has no spatial path: the
ResNet's pictures of an eighth of the size take its place.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

CLASSES = 19


class BiSeNet(nn.Module):
    """For inference alone: made in evaluation mode, where batch norms use what they learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _FeatureFusion(256, 256)
        self.conv_out = _Head(256, 256)
        # Two more heads, which only training has a use for; the file holds their weights.
        self.conv_out16 = _Head(128, 64)
        self.conv_out32 = _Head(128, 64)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 512, 512] RGB, ImageNet's mean and deviation taken out -> scores
        [B, 19, 512, 512]"""
        spatial, context = self.cp(images)
        scores = self.conv_out(self.ffm(spatial, context))
        return interpolate(scores, images.shape[2:], mode="bilinear", align_corners=True)


class _ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = _Resnet18()
        self.arm16 = _AttentionRefinement(256, 128)
        self.arm32 = _AttentionRefinement(512, 128)
        self.conv_head32 = _ConvBnRelu(128, 128, 3)
        self.conv_head16 = _ConvBnRelu(128, 128, 3)
        self.conv_avg = _ConvBnRelu(512, 128, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The ResNet's pictures [B, 128, H/8, W/8] and the context, as large."""
        eighth, sixteenth, thirty_second = self.resnet(images)
        context = self.arm32(thirty_second) + self.conv_avg(_mean(thirty_second))
        context = self.conv_head32(interpolate(context, sixteenth.shape[2:]))
        context = self.arm16(sixteenth) + context
        context = self.conv_head16(interpolate(context, eighth.shape[2:]))
        return eighth, context


class _Resnet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures of an eighth, a sixteenth and a thirty-second of the size."""
        x = max_pool2d(relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _ResnetBlock(in_channels, out_channels, stride),
        _ResnetBlock(out_channels, out_channels, 1),
    )


class _ResnetBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
            if in_channels != out_channels or stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(h + (x if self.downsample is None else self.downsample(x)))


class _AttentionRefinement(nn.Module):
    """Weighs the channels by what they are on average."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = _ConvBnRelu(in_channels, out_channels, 3)
        self.conv_atten = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv(x)
        weights: Tensor = self.bn_atten(self.conv_atten(_mean(h)))
        return h * weights.sigmoid()


class _FeatureFusion(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convblk = _ConvBnRelu(in_channels, out_channels, 1)
        self.conv1 = nn.Conv2d(out_channels, out_channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(out_channels // 4, out_channels, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        h: Tensor = self.convblk(torch.cat([spatial, context], dim=1))
        weights: Tensor = self.conv2(relu(self.conv1(_mean(h))))
        return h + h * weights.sigmoid()


class _Head(nn.Module):
    def __init__(self, in_channels: int, inner_channels: int) -> None:
        super().__init__()
        self.conv = _ConvBnRelu(in_channels, inner_channels, 3)
        self.conv_out = nn.Conv2d(inner_channels, CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.conv_out(self.conv(x))
        return scores


class _ConvBnRelu(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


def _mean(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 1, 1]"""
    return x.mean(dim=(2, 3), keepdim=True)
