"""The wall behind the portrait, the neck and the jumper."""

import numpy as np
import skia

from . import geometry as g
from .brush import clipped, colour, fill, linear, oval, path, radial, stroke
from .motion import Pose


def background(canvas: skia.Canvas) -> None:
    wall = [(0, colour("b9cbbf")), (0.45, colour("7fa39c")), (1, colour("35575d"))]
    canvas.drawPaint(fill(shader=radial((130, 110), 560, wall)))
    oval(canvas, (120, 90), 150, 130, fill(colour("ffeccb", 0.55), blur=70))
    oval(canvas, (450, 150), 60, 110, fill(colour("d8e0cf", 0.16), blur=40))
    for x, y, r in ((48, 300, 34), (90, 190, 22), (462, 88, 38), (486, 214, 24), (424, 30, 20)):
        oval(canvas, (x, y), r, r, fill(colour("ffeccb", 0.11), blur=8))  # lamps out of focus
    oval(canvas, (440, 470), 170, 120, fill(colour("1f3a44", 0.5), blur=60))


def body(canvas: skia.Canvas, pose: Pose) -> None:
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
