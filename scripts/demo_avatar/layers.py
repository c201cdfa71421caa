"""Pictures that are drawn once and put together."""

from collections.abc import Callable

import numpy as np
import skia

from .geometry import SCALE, SIZE


def blank() -> skia.Surface:
    """A transparent surface that takes coordinates of the 512 picture."""
    size = SIZE * SCALE
    info = skia.ImageInfo.Make(size, size, skia.kRGBA_F16_ColorType, skia.kPremul_AlphaType)
    surface = skia.Surface.MakeRaster(info)
    surface.getCanvas().scale(SCALE, SCALE)
    return surface


def pixels(surface: skia.Surface) -> np.ndarray:
    """float32 [1024, 1024, 4], alpha multiplied in."""
    size = SIZE * SCALE
    out = np.zeros((size, size, 4), np.float32)
    info = skia.ImageInfo.Make(size, size, skia.kRGBA_F32_ColorType, skia.kPremul_AlphaType)
    surface.makeImageSnapshot().readPixels(info, out, size * 16, 0, 0)
    return out


def layer(*painters: Callable[[skia.Canvas], None]) -> skia.Image:
    surface = blank()
    for painter in painters:
        painter(surface.getCanvas())
    return surface.makeImageSnapshot()


def put(canvas: skia.Canvas, image: skia.Image) -> None:
    frame = skia.Rect.MakeWH(SIZE, SIZE)
    canvas.drawImageRect(image, frame, skia.SamplingOptions(skia.CubicResampler.CatmullRom()))
