"""Skia in the few words that the portrait needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import skia

from .geometry import Points


def colour(text: str, alpha: float = 1.0) -> int:
    """'e8b08c' with an opacity, as Skia's ARGB integer."""
    return (round(alpha * 255) << 24) | int(text, 16)


def path(*curves: Points, closed: bool = True) -> skia.Path:
    """One outline that runs along the curves in turn."""
    p = skia.Path()
    p.addPoly([skia.Point(float(x), float(y)) for x, y in np.vstack(curves)], closed)
    return p


def linear(
    a: tuple[float, float], b: tuple[float, float], stops: Sequence[tuple[float, int]]
) -> skia.Shader:
    return skia.GradientShader.MakeLinear([a, b], [c for _, c in stops], [s for s, _ in stops])


def radial(
    centre: tuple[float, float], radius: float, stops: Sequence[tuple[float, int]]
) -> skia.Shader:
    return skia.GradientShader.MakeRadial(
        centre, radius, [c for _, c in stops], [s for s, _ in stops]
    )


def fill(
    argb: int = 0xFF000000, *, shader: skia.Shader | None = None, blur: float = 0.0
) -> skia.Paint:
    paint = skia.Paint(AntiAlias=True, Color=argb)
    if shader is not None:
        paint.setShader(shader)
    if blur:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    return paint


def stroke(
    argb: int, width: float, *, shader: skia.Shader | None = None, blur: float = 0.0
) -> skia.Paint:
    paint = fill(argb, shader=shader, blur=blur)
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(width)
    paint.setStrokeCap(skia.Paint.kRound_Cap)
    paint.setStrokeJoin(skia.Paint.kRound_Join)
    return paint


def ribbon(curve: Points, widths: Points) -> skia.Path:
    """A tapered stroke: the curve with a width at each of its points."""
    tangent = np.gradient(curve, axis=0)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    half = np.asarray(widths)[:, None] / 2
    return path(curve + normal * half, (curve - normal * half)[::-1])


def taper(n: int, width: float, start: float = 0.0, end: float = 0.0, peak: float = 0.5) -> Points:
    """Widths of a stroke that is thickest at `peak` of its length."""
    t = np.linspace(0, 1, n)
    rise = start + (1 - start) * np.sin(np.clip(t / peak, 0, 1) * np.pi / 2)
    fall = end + (1 - end) * np.sin(np.clip((1 - t) / (1 - peak), 0, 1) * np.pi / 2)
    return width * np.minimum(rise, fall)


@contextmanager
def clipped(canvas: skia.Canvas, outline: skia.Path) -> Iterator[None]:
    canvas.save()
    canvas.clipPath(outline, skia.ClipOp.kIntersect, True)
    yield
    canvas.restore()


@contextmanager
def moved(canvas: skia.Canvas, affine: Points) -> Iterator[None]:
    """Draw under an affine map [2, 3]."""
    canvas.save()
    canvas.concat(skia.Matrix.MakeAll(*affine[0], *affine[1], 0, 0, 1))
    yield
    canvas.restore()


def oval(
    canvas: skia.Canvas,
    centre: tuple[float, float],
    rx: float,
    ry: float,
    paint: skia.Paint,
    tilt: float = 0.0,
) -> None:
    x, y = centre
    canvas.save()
    canvas.rotate(tilt, x, y)
    canvas.drawOval(skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry), paint)
    canvas.restore()
