"""The painting: one picture of the portrait in a given pose."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import skia

from . import geometry as g
from . import hair, skin
from .brush import clipped, colour, fill, linear, moved, oval, path, radial, ribbon, stroke, taper
from .motion import Pose

SCALE = g.SCALE


def draw(pose: Pose) -> np.ndarray:
    """float32 [1024, 1024, 3]: RGB 0 to 1, twice the size."""
    base = _behind(pose)
    head = _warped(_head(pose), pose)
    return base[..., :3] * (1 - head[..., 3:]) + head[..., :3]


def _surface() -> skia.Surface:
    size = g.SIZE * SCALE
    info = skia.ImageInfo.Make(size, size, skia.kRGBA_F16_ColorType, skia.kPremul_AlphaType)
    surface = skia.Surface.MakeRaster(info)
    surface.getCanvas().scale(SCALE, SCALE)
    return surface


def _pixels(surface: skia.Surface) -> np.ndarray:
    """float32 [1024, 1024, 4], alpha multiplied in."""
    size = g.SIZE * SCALE
    out = np.zeros((size, size, 4), np.float32)
    info = skia.ImageInfo.Make(size, size, skia.kRGBA_F32_ColorType, skia.kPremul_AlphaType)
    surface.makeImageSnapshot().readPixels(info, out, size * 16, 0, 0)
    return out


def _layer(*painters: Callable[[skia.Canvas], None]) -> skia.Image:
    surface = _surface()
    for painter in painters:
        painter(surface.getCanvas())
    return surface.makeImageSnapshot()


def _grained(layer: skia.Image) -> skia.Image:
    """The wall has a fine grain, which hides the steps of its 8-bit gradients.

    It stands still, so that it costs nothing from frame to frame.
    """
    pixels = layer.toarray(colorType=skia.kRGBA_F32_ColorType)
    grain = np.random.default_rng(709).triangular(-1, 0, 1, pixels.shape[:2])
    pixels[..., :3] += (2.4 / 255 * grain)[..., None]
    return skia.Image.fromarray(pixels, skia.kRGBA_F32_ColorType)


def _put(canvas: skia.Canvas, layer: skia.Image) -> None:
    frame = skia.Rect.MakeWH(g.SIZE, g.SIZE)
    canvas.drawImageRect(layer, frame, skia.SamplingOptions(skia.CubicResampler.CatmullRom()))


@cache
def _still() -> dict[str, skia.Image]:
    """What is the same in every frame but for the motion of the head."""
    return {
        "background": _grained(_layer(_background)),
        "behind": _layer(hair.back),
        "face": _layer(_face, _mouth, _nose, _brows),
        "hair": _layer(hair.front),
    }


def _behind(pose: Pose) -> np.ndarray:
    surface = _surface()
    canvas = surface.getCanvas()
    _put(canvas, _still()["background"])
    with moved(canvas, pose.head()):
        _put(canvas, _still()["behind"])
    _body(canvas, pose)
    return _pixels(surface)


def _head(pose: Pose) -> np.ndarray:
    surface = _surface()
    canvas = surface.getCanvas()
    _put(canvas, _still()["face"])
    _eyes(canvas, pose)
    _put(canvas, _still()["hair"])
    return _pixels(surface)


def _warped(layer: np.ndarray, pose: Pose) -> np.ndarray:
    """The layer of the head at rest as it lies in this pose."""
    at = (np.arange(g.SIZE * SCALE) + 0.5) / SCALE
    x, y = np.meshgrid(at, at)
    rest = pose.unplace(np.stack([x, y], axis=-1))
    where = (rest * SCALE - 0.5).astype(np.float32)
    return cv2.remap(layer, where[..., 0], where[..., 1], cv2.INTER_CUBIC)


# --- behind ------------------------------------------------------------------------------------


def _background(canvas: skia.Canvas) -> None:
    wall = [(0, colour("b9cbbf")), (0.45, colour("7fa39c")), (1, colour("35575d"))]
    canvas.drawPaint(fill(shader=radial((130, 110), 560, wall)))
    oval(canvas, (120, 90), 150, 130, fill(colour("ffeccb", 0.55), blur=70))
    oval(canvas, (450, 150), 60, 110, fill(colour("d8e0cf", 0.16), blur=40))
    for x, y, r in ((48, 300, 34), (90, 190, 22), (462, 88, 38), (486, 214, 24), (424, 30, 20)):
        oval(canvas, (x, y), r, r, fill(colour("ffeccb", 0.11), blur=8))  # lamps out of focus
    oval(canvas, (440, 470), 170, 120, fill(colour("1f3a44", 0.5), blur=60))


def _body(canvas: skia.Canvas, pose: Pose) -> None:
    lift = 2.2 * pose.breath
    canvas.save()
    canvas.translate(0, -0.5 * lift)
    _neck(canvas)
    canvas.restore()
    canvas.save()
    canvas.translate(0, -lift)
    _jumper(canvas)
    canvas.restore()


def _neck(canvas: skia.Canvas) -> None:
    side = g.smooth(
        [(203, 330), (205, 372), (204, 402), (194, 426), (160, 444), (120, 470), (110, 530)]
    )
    outline = path(side, g.mirrored(side)[::-1])
    skin = [(0, "c98a68"), (0.25, "e8b18d"), (0.5, "e6ab86"), (0.8, "c07f60"), (1, "9c5c43")]
    stops = [(at, colour(c)) for at, c in skin]
    canvas.drawPath(outline, fill(shader=linear((196, 0), (318, 0), stops)))
    with clipped(canvas, outline):
        oval(canvas, (262, 372), 70, 42, fill(colour("833d2b", 0.72), blur=11))
        oval(canvas, (304, 400), 24, 60, fill(colour("7c3a2a", 0.42), blur=13))
        oval(canvas, (200, 400), 10, 50, fill(colour("8a4634", 0.40), blur=9))
        for x0, x1, dark in ((224, 250, 0.26), (290, 263, 0.30)):
            tendon = g.smooth([(x0, 408), ((x0 + x1) / 2, 434), (x1, 456)])
            canvas.drawPath(path(tendon, closed=False), stroke(colour("96523b", dark), 6, blur=4))
        oval(canvas, (257, 455), 7, 8, fill(colour("8e4a36", 0.30), blur=5))
        for x, dark in ((214, 0.30), (300, 0.34)):
            oval(
                canvas,
                (x, 461),
                30,
                4,
                fill(colour("96523b", dark), blur=4),
                tilt=8 if x < 256 else -8,
            )
        oval(canvas, (216, 453), 26, 4, fill(colour("ffdcbf", 0.42), blur=4), tilt=8)
        oval(canvas, (230, 428), 9, 24, fill(colour("ffd7b8", 0.20), blur=8), tilt=-14)
        _necklace(canvas)


def _necklace(canvas: skia.Canvas) -> None:
    chain = g.smooth(
        [(191, 416), (213, 444), (236, 460), (256, 465), (276, 460), (299, 444), (321, 416)]
    )
    canvas.drawPath(
        path(chain + np.array([0.8, 1.6]), closed=False),
        stroke(colour("7a3c28", 0.40), 1.6, blur=1.0),
    )
    gold = [(0, colour("f3cf86")), (0.45, colour("e8bb68")), (1, colour("9a6a34"))]
    canvas.drawPath(
        path(chain, closed=False), stroke(0xFF000000, 1.1, shader=linear((203, 0), (309, 0), gold))
    )
    oval(canvas, (257, 469.8), 3.6, 3.6, fill(colour("7a3c28", 0.5), blur=1.4))
    bead = [(0, colour("fff3cf")), (0.45, colour("e3b35c")), (1, colour("8f5f2c"))]
    oval(canvas, (256, 468.4), 3.2, 3.2, fill(shader=radial((255, 467.2), 4.2, bead)))


def _jumper(canvas: skia.Canvas) -> None:
    collar = g.smooth(
        [(168, 438), (186, 461), (216, 478), (256, 484), (296, 478), (326, 461), (344, 438)]
    )
    left = g.smooth([(168, 438), (134, 449), (92, 463), (58, 486), (36, 540)])
    outline = path(collar[::-1], left, g.mirrored(left)[::-1])
    wool = [(0, colour("fbf0df")), (0.45, colour("e8d6c0")), (1, colour("a08778"))]
    canvas.drawPath(path(collar, closed=False), stroke(colour("6e3a2a", 0.5), 8, blur=4))
    canvas.drawPath(outline, fill(shader=linear((90, 440), (440, 540), wool)))
    with clipped(canvas, outline):
        for x, tilt, dark in ((104, -24, 0.42), (408, 24, 0.5)):  # under the hair
            oval(canvas, (x, 470), 60, 14, fill(colour("5e4032", dark), blur=11), tilt=tilt)
        oval(canvas, (396, 524), 74, 60, fill(colour("57464a", 0.42), blur=24))
        for x, tilt, dark in ((118, 72, 0.20), (150, 60, 0.14), (376, -64, 0.22), (404, -74, 0.2)):
            oval(canvas, (x, 512), 30, 4, fill(colour("6e5446", dark), blur=4), tilt=tilt)
    _collar(canvas, collar)


def _collar(canvas: skia.Canvas, collar: g.Points) -> None:
    """A knitted band with ribs."""
    tangent = np.gradient(collar, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.hypot(*normal.T)[:, None]
    hem = collar + 13 * normal
    band = path(collar, hem[::-1])
    canvas.drawPath(path(hem, closed=False), stroke(colour("6e5040", 0.38), 3, blur=1.8))
    wool = [(0, colour("fdf4e6")), (0.5, colour("efdfca")), (1, colour("b89f8d"))]
    canvas.drawPath(band, fill(shader=linear((168, 440), (350, 480), wool)))
    with clipped(canvas, band):
        places = np.linspace(0, 1, 62)
        for a, b in zip(g.along(collar, places), g.along(hem, places), strict=True):
            canvas.drawPath(
                path(np.array([a, b]), closed=False), stroke(colour("8a6c58", 0.30), 1.2, blur=0.5)
            )
        canvas.drawPath(path(collar, closed=False), stroke(colour("fffaf0", 0.55), 3, blur=1.2))
        canvas.drawPath(path(hem, closed=False), stroke(colour("7a5c4a", 0.35), 4, blur=1.6))


# --- the face ----------------------------------------------------------------------------------


def _face(canvas: skia.Canvas) -> None:
    lit = np.dstack([skin.face(), np.ones(skin.face().shape[:2], np.float32)])
    image = skia.Image.fromarray(np.ascontiguousarray(lit), skia.kRGBA_F32_ColorType)
    with clipped(canvas, path(g.FACE)):
        _put(canvas, image)
        away = g.smooth([(350, 150), (356, 215), (352, 275), (338, 325), (306, 368)])
        canvas.drawPath(path(away, closed=False), stroke(colour("8e4028", 0.34), 22, blur=14))
        canvas.drawPath(path(g.FACE), stroke(colour("7a3322", 0.45), 5, blur=4))


def _nose(canvas: skia.Canvas) -> None:
    wing = g.smooth([(241.4, 279), (237.4, 285), (238.2, 290.6), (242.5, 293.2)])
    for side in (wing, g.mirrored(wing)):
        canvas.drawPath(
            ribbon(side, taper(len(side), 2.4, 0.1, 0.3)), fill(colour("8e4630", 0.42), blur=1.1)
        )
    base = g.smooth([(248, 295), (252, 297.6), (256, 298.4), (260, 297.6), (264, 295)])
    canvas.drawPath(ribbon(base, taper(len(base), 1.8)), fill(colour("8e4630", 0.3), blur=0.9))
    for x, tilt in ((247.6, -16), (264.4, 16)):
        oval(canvas, (x, 292.8), 4.0, 1.7, fill(colour("5c2418", 0.72), blur=0.9), tilt=tilt)


# --- eyes and brows ----------------------------------------------------------------------------


def _eyes(canvas: skia.Canvas, pose: Pose) -> None:
    upper, lower = g.lids(pose.eyes_open)
    for flip in (False, True):
        canvas.save()
        if flip:
            canvas.translate(2 * g.CENTRE_X, 0)
            canvas.scale(-1, 1)
        gaze_x = -pose.gaze[0] if flip else pose.gaze[0]
        _eye(canvas, upper, lower, pose.eyes_open, (gaze_x, pose.gaze[1]), flip)
        canvas.restore()


def _eye(
    canvas: skia.Canvas,
    upper: g.Points,
    lower: g.Points,
    openness: float,
    gaze: tuple[float, float],
    flip: bool,
) -> None:
    t = np.linspace(0, 1, len(upper))
    arch = np.column_stack([0 * t, np.sin(np.pi * t)])
    crease = g.along(g.EYE_UPPER, 0.03 + 0.90 * t) - (0, 4.6) - 1.6 * arch
    crease += (0, 1.2 * (1 - openness))
    canvas.drawPath(path(crease, upper[::-1]), fill(colour("b5694f", 0.42), blur=1.8))
    canvas.drawPath(ribbon(crease, taper(60, 2.2)), fill(colour("7c3d2a", 0.55), blur=0.8))
    if openness > 0.04:
        with clipped(canvas, path(upper, lower[::-1])):
            _eyeball(canvas, upper, gaze, flip)
    canvas.drawPath(ribbon(lower, taper(60, 1.5, 0.5, 0.3)), fill(colour("84402f", 0.6), blur=0.5))
    rim = lower + np.column_stack([0 * t, 0.9 * np.sin(np.pi * t)])
    canvas.drawPath(ribbon(rim, taper(60, 1.1, 0.2, 0.1)), fill(colour("ffe2d0", 0.35), blur=0.6))
    _lashes(canvas, upper, openness)


def _eyeball(canvas: skia.Canvas, upper: g.Points, gaze: tuple[float, float], flip: bool) -> None:
    white = [(0, colour("f7efe8")), (0.55, colour("ecdfd6")), (1, colour("b98f80"))]
    canvas.drawPaint(fill(shader=radial(g.EYE_CENTRE, 31, white)))
    oval(canvas, (234.5, 229.4), 4, 3, fill(colour("d98c7c", 0.75), blur=1.5))
    cx, cy = g.EYE_CENTRE[0] + gaze[0], g.EYE_CENTRE[1] + gaze[1]
    r = g.IRIS_RADIUS
    oval(canvas, (cx, cy), r + 0.2, r + 0.2, fill(colour("24150f", 0.95), blur=0.8))
    brown = [(0, "3a2012"), (0.42, "64391c"), (0.78, "562f18"), (1, "2e190e")]
    stops = [(at, colour(c)) for at, c in brown]
    oval(canvas, (cx, cy), r - 0.9, r - 0.9, fill(shader=radial((cx, cy), r, stops), blur=0.3))
    _iris(canvas, cx, cy, r)
    oval(canvas, (cx, cy), 5.4, 5.4, fill(colour("0e0706"), blur=0.6))
    # the shadow of the upper lid
    canvas.drawPath(path(upper, closed=False), stroke(colour("2c1410", 0.62), 9, blur=3.0))
    # window light, on the same side in both eyes
    side = 1 if flip else -1
    oval(canvas, (cx + side * 4.4, cy - 4.6), 3.1, 3.4, fill(colour("ffffff", 0.97), blur=0.4))
    oval(canvas, (cx - side * 5.0, cy + 4.8), 1.6, 1.6, fill(colour("ffffff", 0.5), blur=0.6))


def _iris(canvas: skia.Canvas, cx: float, cy: float, r: float) -> None:
    """Light that has gone through the iris gathers opposite the window; fine spokes."""
    oval(canvas, (cx, cy + 5.6), 8.6, 5.2, fill(colour("e09a4c", 0.62), blur=2.6))
    rng = np.random.default_rng(8)
    for angle in np.linspace(0, 2 * np.pi, 56, endpoint=False):
        inner, outer = rng.uniform(0.42, 0.55) * r, rng.uniform(0.7, 0.88) * r
        ray = np.array([np.cos(angle), np.sin(angle)])
        spoke = np.array([(cx, cy) + inner * ray, (cx, cy) + outer * ray])
        shade = colour("f0b468" if rng.uniform() < 0.5 else "2e180c", rng.uniform(0.10, 0.30))
        canvas.drawPath(path(spoke, closed=False), stroke(shade, 0.7))


def _lashes(canvas: skia.Canvas, upper: g.Points, openness: float) -> None:
    """A dark rim that thickens outwards, with a fringe that melts into it."""
    ink = "22100c"
    t = np.linspace(0, 1, len(upper))
    rim = upper - np.column_stack([0 * t, 0.8 * np.sin(np.pi * t)])
    canvas.drawPath(
        ribbon(rim, taper(len(rim), 3.8, 0.3, 0.15, peak=0.35)), fill(colour(ink, 0.95), blur=0.35)
    )
    for place in np.linspace(0.10, 0.72, 19):
        x, y = g.along(upper, [place])[0]
        out = 1 - (place - 0.10) / 0.62
        dx = -0.8 - 3.6 * out
        dy = np.interp(openness, [0, 1], [2.2, -4.4 + 1.6 * out])
        lash = g.smooth([(x, y), (x + 0.3 * dx, y + 0.65 * dy), (x + dx, y + dy)])
        canvas.drawPath(
            ribbon(lash, taper(len(lash), 1.5, 1.0, 0.0, peak=0.05)),
            fill(colour(ink, 0.62), blur=0.25),
        )


def _brows(canvas: skia.Canvas) -> None:
    rng = np.random.default_rng(3)
    t = np.linspace(0, 1, 70)
    top, bottom = g.along(g.BROW_TOP, t), g.along(g.BROW_BOTTOM, t)
    hairs = []
    for _ in range(260):
        at = rng.uniform(0.03, 0.985)
        i = round(at * 69)
        across = rng.uniform(-0.05, 0.85)
        root = bottom[i] + across * (top[i] - bottom[i])
        # Upright beside the nose, lying down towards the temple; the upper hairs bend down.
        lean = np.interp(at, [0, 0.3, 0.75, 1], [150, 186, 206, 252]) - 26 * across * (at < 0.8)
        angle = np.deg2rad(lean + rng.normal(0, 5))
        length = rng.uniform(5, 8) * np.interp(at, [0, 0.3, 0.8, 1], [0.6, 1, 1, 0.7])
        ray = np.array([np.cos(angle), np.sin(angle)])
        bend = np.array([-0.4, 0.5]) * rng.uniform(0.2, 1.0)
        hair = g.smooth([root, root + 0.55 * length * ray, root + length * ray + bend])
        hairs.append((hair, rng.uniform(0.7, 1.2), rng.uniform(0.18, 0.5)))
    for flip in (False, True):
        canvas.save()
        if flip:
            canvas.translate(2 * g.CENTRE_X, 0)
            canvas.scale(-1, 1)
        canvas.drawPath(path(top, bottom[::-1]), fill(colour("5a3422", 0.55), blur=1.8))
        for hair, width, alpha in hairs:
            shape = ribbon(hair, taper(len(hair), width, 0.6, 0.0, peak=0.2))
            canvas.drawPath(shape, fill(colour("3a2016", alpha)))
        canvas.restore()


# --- mouth -------------------------------------------------------------------------------------


def _mouth(canvas: skia.Canvas) -> None:
    line = g.MOUTH_LINE
    canvas.drawPath(path(line, closed=False), stroke(colour("6e2424", 0.35), 4, blur=1.8))
    canvas.drawPath(
        ribbon(line, taper(len(line), 2.3, 0.35, 0.35)), fill(colour("5c1a1e", 0.85), blur=0.6)
    )
    for x in (g.MOUTH_LEFT, g.MOUTH_RIGHT):
        oval(canvas, (x, g.MOUTH_CORNER_Y), 3.0, 2.2, fill(colour("7e382c", 0.5), blur=1.5))
    with clipped(canvas, path(line, g.LIP_BOTTOM[::-1])):
        oval(canvas, (248, 336.5), 15, 2.6, fill(colour("ffe4da", 0.42), blur=2.2))
