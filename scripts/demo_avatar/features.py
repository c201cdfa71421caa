"""What stands on the lit skin and holds still: nose, brows, mouth."""

import numpy as np
import skia

from . import geometry as g
from . import skin
from .brush import clipped, colour, fill, linear, oval, path, ribbon, stroke, taper
from .layers import put


def face(canvas: skia.Canvas) -> None:
    lit = np.dstack([skin.face(), np.ones(skin.face().shape[:2], np.float32)])
    image = skia.Image.fromarray(np.ascontiguousarray(lit), skia.kRGBA_F32_ColorType)
    with clipped(canvas, path(g.FACE)):
        put(canvas, image)
        away = g.smooth([(350, 150), (356, 215), (352, 275), (338, 325), (306, 368)])
        canvas.drawPath(path(away, closed=False), stroke(colour("8e4028", 0.34), 22, blur=14))
        canvas.drawPath(path(g.FACE), stroke(colour("7a3322", 0.45), 5, blur=4))


def nose(canvas: skia.Canvas) -> None:
    wing = g.smooth([(241.4, 279), (237.4, 285), (238.2, 290.6), (242.5, 293.2)])
    for side in (wing, g.mirrored(wing)):
        canvas.drawPath(
            ribbon(side, taper(len(side), 2.4, 0.1, 0.3)), fill(colour("8e4630", 0.42), blur=1.1)
        )
    base = g.smooth([(248, 295), (252, 297.6), (256, 298.4), (260, 297.6), (264, 295)])
    canvas.drawPath(ribbon(base, taper(len(base), 1.8)), fill(colour("8e4630", 0.3), blur=0.9))
    for x, tilt in ((247.6, -16), (264.4, 16)):
        oval(canvas, (x, 292.8), 4.0, 1.7, fill(colour("5c2418", 0.72), blur=0.9), tilt=tilt)


def brows(canvas: skia.Canvas) -> None:
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
    under = [(0, colour("54301f", 0.74)), (0.65, colour("54301f", 0.7)), (1, colour("54301f", 0.2))]
    shade = linear((180, 0), (241, 0), under)
    for flip in (False, True):
        canvas.save()
        if flip:
            canvas.translate(2 * g.CENTRE_X, 0)
            canvas.scale(-1, 1)
        canvas.drawPath(path(top, bottom[::-1]), fill(shader=shade, blur=1.7))
        for hair, width, alpha in hairs:
            shape = ribbon(hair, taper(len(hair), width, 0.6, 0.0, peak=0.2))
            canvas.drawPath(shape, fill(colour("3e2318", alpha)))
        canvas.restore()


def mouth(canvas: skia.Canvas) -> None:
    line = g.MOUTH_LINE
    canvas.drawPath(path(line, closed=False), stroke(colour("6e2424", 0.35), 4, blur=1.8))
    canvas.drawPath(
        ribbon(line, taper(len(line), 2.3, 0.35, 0.35)), fill(colour("5c1a1e", 0.85), blur=0.6)
    )
    for x in (g.MOUTH_LEFT, g.MOUTH_RIGHT):
        oval(canvas, (x, g.MOUTH_CORNER_Y), 3.0, 2.2, fill(colour("7e382c", 0.5), blur=1.5))
    with clipped(canvas, path(line, g.LIP_BOTTOM[::-1])):
        oval(canvas, (248, 336.5), 15, 2.6, fill(colour("ffe4da", 0.42), blur=2.2))
