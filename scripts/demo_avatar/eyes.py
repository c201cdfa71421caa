"""The eyes: drawn anew for every frame, since they blink and look about."""

import numpy as np
import skia

from . import geometry as g
from .brush import clipped, colour, fill, oval, path, radial, ribbon, stroke, taper
from .motion import Pose


def eyes(canvas: skia.Canvas, pose: Pose) -> None:
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
