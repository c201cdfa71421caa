"""Latents and audio windows in, faces out: everything that is computed once per frame."""

from typing import cast

import torch
from torch import Tensor, nn

from .positional import positional_encoding
from .unet import UNet
from .vae import Vae

WINDOW_TOKENS = 50  # 10 feature rows of 5 layers
WINDOW_WIDTH = 384


class FaceGenerator(nn.Module):
    """Positional encoding, U-Net and VAE decoder in one step: t = 0, no scheduler, no guidance.

    Takes over `unet` and `vae` and folds their constants into their weights.
    """

    positions: Tensor

    def __init__(self, unet: UNet, vae: Vae) -> None:
        super().__init__()
        unet.fold_time()
        vae.fold_pixels()
        self.unet = unet
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder
        positions = positional_encoding(WINDOW_TOKENS, WINDOW_WIDTH)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, latents: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Faces, and which of them are numbers throughout.

        latents  `[B, 8, h, w]`: masked and reference latents, scaled
        windows  `[B, 50, 384]`: audio features without positions
        gives    uint8 `[B, 8h, 8w, 3]` BGR, and bool `[B]`
        """
        return self.pixels(self.clean(latents, windows))

    def clean(self, latents: Tensor, windows: Tensor) -> Tensor:
        """Latents of the talking face, scaled: `[B, 4, h, w]`."""
        return cast(Tensor, self.unet(latents, windows + self.positions))

    def pixels(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        # In full precision once decoded: bf16 has steps of a whole level in bright skin.
        pixels = self.decoder(self.post_quant_conv(clean)).float() * 127.5 + 127.5
        finite = pixels.isfinite().flatten(1).all(dim=1)
        faces = pixels.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return faces, cast(Tensor, finite)
