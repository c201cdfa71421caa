"""The painting: one picture of the portrait in a given pose."""

import numpy as np
import skia

from . import geometry as g
from .brush import clipped, colour, fill, linear, moved, oval, path, radial, ribbon, stroke, taper
from .motion import DEPTH_BROWS, DEPTH_EYES, DEPTH_MOUTH, DEPTH_NOSE, Pose

SCALE = 2  # drawn at this multiple of the size, then reduced

MULTIPLY = skia.BlendMode.kMultiply
SCREEN = skia.BlendMode.kScreen
SOFT = skia.BlendMode.kSoftLight


def draw(pose: Pose) -> np.ndarray:
    """float32 [1024, 1024, 3]: RGB 0 to 1, twice the size."""
    size = g.SIZE * SCALE
    info = skia.ImageInfo.Make(size, size, skia.kRGBA_F16_ColorType, skia.kPremul_AlphaType)
    surface = skia.Surface.MakeRaster(info)
    canvas = surface.getCanvas()
    canvas.scale(SCALE, SCALE)
    _background(canvas)
    with moved(canvas, pose.head()):
        _hair_back(canvas)
    _body(canvas, pose)
    with moved(canvas, pose.head()):
        _face(canvas)
    with moved(canvas, pose.head(DEPTH_MOUTH)):
        _mouth(canvas)
    with moved(canvas, pose.head(DEPTH_EYES)):
        _eyes(canvas, pose)
    with moved(canvas, pose.head(DEPTH_NOSE)):
        _nose(canvas)
    with moved(canvas, pose.head(DEPTH_BROWS)):
        _brows(canvas)
    with moved(canvas, pose.head()):
        _hair_front(canvas)
    pixels = surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_F32_ColorType)
    return pixels[..., :3]


# --- behind ------------------------------------------------------------------------------------


def _background(canvas: skia.Canvas) -> None:
    canvas.drawPaint(
        fill(
            shader=linear(
                (0, 0),
                (380, 512),
                [(0, colour("e9c9a8")), (0.5, colour("c99f86")), (1, colour("8b6a66"))],
            )
        )
    )
    oval(canvas, (150, 130), 190, 190, fill(colour("fff0d8", 0.5), blur=70))
    oval(canvas, (420, 420), 200, 160, fill(colour("4e4652", 0.45), blur=70))


SKIN = "eab491"
SKIN_LIGHT = "ffdcc0"
SKIN_SHADE = "b8694c"
SKIN_DEEP = "8e4632"


def _body(canvas: skia.Canvas, pose: Pose) -> None:
    lift = 2.2 * pose.breath
    canvas.save()
    canvas.translate(0, -0.5 * lift)
    neck = g.smooth([(206, 340), (208, 372), (208, 402), (200, 428), (172, 444), (150, 520)])
    neck_right = g.mirrored(neck)
    canvas.drawPath(
        path(neck, neck_right[::-1]),
        fill(
            shader=linear(
                (200, 0),
                (316, 0),
                [(0, colour("dba07d")), (0.45, colour("e2a985")), (1, colour("c08062"))],
            )
        ),
    )
    with clipped(canvas, path(neck, neck_right[::-1])):
        # the shadow of the chin
        oval(canvas, (262, 374), 74, 44, fill(colour("8a4634", 0.75), blur=12))
        oval(canvas, (300, 410), 26, 60, fill(colour("8a4634", 0.35), blur=14))
        oval(canvas, (236, 432), 16, 26, fill(colour("ffd7b8", 0.35), blur=9), tilt=-14)
        canvas.drawPath(
            path(g.smooth([(222, 404), (236, 430), (249, 452)]), closed=False),
            stroke(colour("9c563f", 0.32), 5, blur=3.5),
        )
        canvas.drawPath(
            path(g.smooth([(292, 404), (277, 430), (264, 452)]), closed=False),
            stroke(colour("9c563f", 0.35), 5, blur=3.5),
        )
    canvas.restore()
    _jumper(canvas, lift)


def _jumper(canvas: skia.Canvas, lift: float) -> None:
    canvas.save()
    canvas.translate(0, -lift)
    collar = g.smooth(
        [(188, 434), (206, 456), (232, 470), (256, 473), (280, 470), (306, 456), (324, 434)]
    )
    left = g.smooth([(188, 434), (150, 447), (98, 462), (62, 486), (40, 540)])
    outline = path(collar[::-1], left, g.mirrored(left)[::-1])
    canvas.drawPath(
        outline,
        fill(
            shader=linear(
                (90, 430),
                (420, 530),
                [(0, colour("3f8784")), (0.5, colour("2c6a6c")), (1, colour("1a4650"))],
            )
        ),
    )
    with clipped(canvas, outline):
        canvas.drawPath(
            path(collar + (0, 5), closed=False), stroke(colour("7fc0b6", 0.35), 3, blur=2)
        )
        canvas.drawPath(
            path(collar + (0, 13), closed=False), stroke(colour("0d2c35", 0.4), 3, blur=2)
        )
        oval(canvas, (140, 470), 60, 18, fill(colour("9bd3c6", 0.35), blur=14), tilt=-16)
        oval(canvas, (390, 520), 70, 50, fill(colour("0c2a36", 0.5), blur=22))
    canvas.drawPath(path(collar, closed=False), stroke(colour("14363d", 0.5), 1.6))
    canvas.restore()


# --- the face ----------------------------------------------------------------------------------


def _face(canvas: skia.Canvas) -> None:
    outline = path(g.FACE)
    canvas.drawPath(
        outline,
        fill(
            shader=radial(
                (226, 212),
                215,
                [
                    (0, colour("f6c8a6")),
                    (0.45, colour(SKIN)),
                    (0.8, colour("d9966f")),
                    (1, colour("bd7453")),
                ],
            )
        ),
    )
    with clipped(canvas, outline):
        # away from the light
        oval(canvas, (372, 270), 44, 150, fill(colour("a6583c", 0.6), blur=24))
        oval(canvas, (150, 300), 22, 110, fill(colour("b5694b", 0.4), blur=16))
        oval(canvas, (322, 372), 54, 40, fill(colour("a05238", 0.45), blur=18), tilt=-40)
        oval(canvas, (192, 378), 46, 26, fill(colour("a8593d", 0.3), blur=15), tilt=42)
        # the shadow of the hair on forehead and temples
        canvas.drawPath(
            path(
                g.smooth(
                    [
                        (168, 214),
                        (172, 170),
                        (196, 132),
                        (240, 108),
                        (282, 92),
                        (316, 116),
                        (338, 160),
                        (346, 220),
                    ]
                ),
                closed=False,
            ),
            stroke(colour("8c4833", 0.5), 26, blur=11),
        )
        # forehead, cheeks, chin
        oval(canvas, (232, 156), 44, 24, fill(colour(SKIN_LIGHT, 0.6), blur=16), tilt=-10)
        oval(canvas, (200, 262), 26, 18, fill(colour(SKIN_LIGHT, 0.65), blur=11), tilt=14)
        oval(canvas, (312, 262), 22, 16, fill(colour(SKIN_LIGHT, 0.35), blur=11), tilt=-14)
        oval(canvas, (196, 278), 30, 18, fill(colour("e0604d", 0.34), blur=13), tilt=12)
        oval(canvas, (316, 278), 30, 18, fill(colour("d8543f", 0.34), blur=13), tilt=-12)
        oval(canvas, (252, 369), 20, 11, fill(colour(SKIN_LIGHT, 0.5), blur=7))
        # between the lower lip and the chin, the corners of the mouth
        oval(canvas, (256, 355.5), 22, 3.6, fill(colour("9c4f3a", 0.45), blur=4))
        # eye sockets
        oval(canvas, (214, 207), 30, 10, fill(colour("a8603f", 0.32), blur=7), tilt=-4)
        oval(canvas, (298, 207), 30, 10, fill(colour("a05838", 0.36), blur=7), tilt=4)


def _nose(canvas: skia.Canvas) -> None:
    # sides of the bridge
    canvas.drawPath(
        path(g.smooth([(241, 206), (246, 226), (246, 252), (240, 276)]), closed=False),
        stroke(colour("b06a4a", 0.28), 6, blur=4.5),
    )
    canvas.drawPath(
        path(g.smooth([(272, 204), (266, 226), (267, 252), (274, 278)]), closed=False),
        stroke(colour("9c5238", 0.42), 8, blur=5),
    )
    # light on the bridge and the tip
    canvas.drawPath(
        path(g.smooth([(254, 206), (254, 238), (254, 268)]), closed=False),
        stroke(colour("ffe6d0", 0.5), 6, blur=3.6),
    )
    oval(canvas, (254, 279), 8, 7, fill(colour("fff0e0", 0.65), blur=4))
    # under the tip
    oval(canvas, (257, 300), 18, 5, fill(colour("94472f", 0.4), blur=4))
    # wings
    wing = g.smooth([(240, 277), (235.6, 284), (236.6, 290.5), (241.5, 293)])
    for side in (wing, g.mirrored(wing)):
        canvas.drawPath(
            ribbon(side, taper(len(side), 2.6, 0.1, 0.3)), fill(colour("8e4630", 0.55), blur=0.9)
        )
    base = g.smooth([(248, 295), (252, 297.6), (256, 298.4), (260, 297.6), (264, 295)])
    canvas.drawPath(ribbon(base, taper(len(base), 1.8)), fill(colour("8e4630", 0.4), blur=0.8))
    for x, tilt in ((246.6, -18), (265.4, 18)):
        oval(canvas, (x, 293.0), 4.6, 2.0, fill(colour("5c2418", 0.78), blur=0.8), tilt=tilt)


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
    t = np.linspace(0, 1, len(upper))[:, None]
    # the lid: from the crease down to the lashes
    crease = (
        g.along(g.EYE_UPPER, np.linspace(0.02, 0.94, 60))
        + np.hstack([0 * t, -5.6 - 1.2 * np.sin(np.pi * t)])
        + (0, 1.0 * (1 - openness))
    )
    canvas.drawPath(path(crease, upper[::-1]), fill(colour("b26a4e", 0.5), blur=1.6))
    canvas.drawPath(ribbon(crease, taper(60, 2.0)), fill(colour("7c3d2a", 0.62), blur=0.6))
    if openness > 0.04:
        opening = path(upper, lower[::-1])
        with clipped(canvas, opening):
            _eyeball(canvas, upper, gaze, flip)
    # rims
    canvas.drawPath(ribbon(lower, taper(60, 1.3, 0.4, 0.3)), fill(colour("7c3a2b", 0.55), blur=0.4))
    line = upper + np.hstack([0 * t, -0.7 * np.sin(np.pi * t)])
    canvas.drawPath(
        ribbon(line, taper(60, 3.6, 0.5, 0.15, peak=0.35)), fill(colour("2a1410", 0.95), blur=0.25)
    )
    _lashes(canvas, line, openness)


def _eyeball(canvas: skia.Canvas, upper: g.Points, gaze: tuple[float, float], flip: bool) -> None:
    canvas.drawRect(
        skia.Rect.MakeLTRB(180, 195, 245, 245),
        fill(
            shader=radial(
                g.EYE_CENTRE,
                30,
                [(0, colour("fbf4ee")), (0.6, colour("f1e2d8")), (1, colour("c9a394"))],
            )
        ),
    )
    oval(canvas, (233.5, 226.6), 4, 3, fill(colour("d98c7c", 0.7), blur=1.4))
    cx, cy = g.EYE_CENTRE[0] + gaze[0], g.EYE_CENTRE[1] + gaze[1]
    r = g.IRIS_RADIUS
    oval(canvas, (cx, cy), r + 0.4, r + 0.4, fill(colour("2b1a14", 0.9), blur=0.7))
    oval(
        canvas,
        (cx, cy),
        r - 0.6,
        r - 0.6,
        fill(
            shader=radial(
                (cx, cy),
                r,
                [
                    (0, colour("3a2012")),
                    (0.45, colour("7a4a22")),
                    (0.8, colour("6a3a1c")),
                    (1, colour("341c10")),
                ],
            )
        ),
    )
    oval(canvas, (cx, cy + 5), 7.4, 4.6, fill(colour("d8944a", 0.65), blur=2.4))
    oval(canvas, (cx, cy), 4.9, 4.9, fill(colour("120a08"), blur=0.5))
    # the shadow of the upper lid
    canvas.drawPath(path(upper, closed=False), stroke(colour("3a1c16", 0.5), 7, blur=2.6))
    # window light, on the same side in both eyes
    side = 1 if flip else -1
    oval(canvas, (cx + side * 4.0, cy - 4.2), 2.7, 2.9, fill(colour("ffffff", 0.96), blur=0.35))
    oval(canvas, (cx - side * 4.2, cy + 4.4), 1.3, 1.3, fill(colour("ffffff", 0.55), blur=0.5))


def _lashes(canvas: skia.Canvas, line: g.Points, openness: float) -> None:
    for place in np.linspace(0.0, 0.62, 9):
        x, y = g.along(line, [place])[0]
        out = 1 - place / 0.62
        dx, dy = (
            -1.5 - 5.5 * out,
            (-4.6 + 2.0 * out) * (0.25 + 0.75 * openness) + 3.2 * (1 - openness),
        )
        lash = g.smooth([(x, y), (x + 0.35 * dx, y + 0.7 * dy), (x + dx, y + dy)])
        canvas.drawPath(
            ribbon(lash, taper(len(lash), 1.5, 1.0, 0.0, peak=0.05)), fill(colour("24110d", 0.9))
        )


def _brows(canvas: skia.Canvas) -> None:
    rng = np.random.default_rng(3)
    t = np.linspace(0, 1, 70)
    top, bottom = g.along(g.BROW_TOP, t), g.along(g.BROW_BOTTOM, t)
    hairs = []
    for _ in range(150):
        at = rng.uniform(0.02, 0.98)
        i = int(at * 69)
        depth = rng.uniform(0.0, 1.0)
        root = bottom[i] + depth * (top[i] - bottom[i])
        angle = np.deg2rad(
            np.interp(at, [0, 0.35, 0.8, 1], [160, 172, 215, 245]) + rng.normal(0, 7)
        )
        length = rng.uniform(5, 8.5) * np.interp(at, [0, 0.3, 1], [0.6, 1, 0.9])
        tip = root + length * np.array([np.cos(angle), np.sin(angle)])
        hairs.append((root, tip, rng.uniform(0.3, 0.7)))
    for flip in (False, True):
        canvas.save()
        if flip:
            canvas.translate(2 * g.CENTRE_X, 0)
            canvas.scale(-1, 1)
        canvas.drawPath(path(top, bottom[::-1]), fill(colour("4a281b", 0.72), blur=1.3))
        for root, tip, alpha in hairs:
            canvas.drawPath(
                path(np.array([root, tip]), closed=False), stroke(colour("351a12", alpha), 0.9)
            )
        canvas.restore()


# --- mouth -------------------------------------------------------------------------------------


def _mouth(canvas: skia.Canvas) -> None:
    # the groove under the nose
    canvas.drawPath(
        path(g.smooth([(256, 300), (256, 311)]), closed=False),
        stroke(colour("b0674a", 0.28), 5, blur=2.4),
    )
    canvas.drawPath(
        path(g.smooth([(249.5, 300), (248.5, 311)]), closed=False),
        stroke(colour("ffe3cc", 0.35), 2.5, blur=1.6),
    )
    whole = path(g.LIP_TOP, g.LIP_BOTTOM[::-1])
    canvas.drawPath(whole, fill(colour("b5544a", 0.5), blur=1.4))
    upper = path(g.LIP_TOP, g.MOUTH_LINE[::-1])
    lower = path(g.MOUTH_LINE, g.LIP_BOTTOM[::-1])
    canvas.drawPath(
        upper,
        fill(shader=linear((0, 313), (0, 331), [(0, colour("c9665c")), (1, colour("a8433f"))])),
    )
    canvas.drawPath(
        lower,
        fill(
            shader=linear(
                (0, 327),
                (0, 349),
                [(0, colour("bd544d")), (0.45, colour("d9766a")), (1, colour("bf5d52"))],
            )
        ),
    )
    with clipped(canvas, lower):
        oval(canvas, (249, 338), 18, 3.6, fill(colour("ffd9cc", 0.55), blur=2.8))
        oval(canvas, (290, 336), 14, 9, fill(colour("8e3230", 0.35), blur=5))
    with clipped(canvas, upper):
        oval(canvas, (246.5, 317), 7, 1.6, fill(colour("ffcdbd", 0.5), blur=1.4), tilt=-14)
    line = g.MOUTH_LINE
    canvas.drawPath(
        ribbon(line, taper(len(line), 2.4, 0.3, 0.3)), fill(colour("6a2226", 0.85), blur=0.55)
    )
    for x in (g.MOUTH_LEFT - 0.5, g.MOUTH_RIGHT + 0.5):
        oval(canvas, (x, 324.4), 3.2, 2.4, fill(colour("8e4034", 0.5), blur=1.6))


# --- hair --------------------------------------------------------------------------------------

# Each lock lies between an inner and an outer guide; strands run between the two.
PART = (282, 78)
LEFT_INNER = g.smooth(
    [
        PART,
        (244, 96),
        (204, 126),
        (174, 168),
        (160, 214),
        (156, 262),
        (152, 312),
        (140, 362),
        (130, 410),
        (134, 456),
        (146, 500),
    ]
)
LEFT_OUTER = g.smooth(
    [
        (284, 52),
        (226, 46),
        (168, 66),
        (128, 112),
        (110, 172),
        (104, 236),
        (96, 300),
        (82, 362),
        (68, 414),
        (66, 462),
        (80, 512),
    ]
)
RIGHT_INNER = g.smooth(
    [
        PART,
        (308, 92),
        (332, 120),
        (348, 164),
        (354, 212),
        (357, 262),
        (361, 312),
        (374, 362),
        (384, 410),
        (380, 456),
        (368, 500),
    ]
)
RIGHT_OUTER = g.smooth(
    [
        (278, 52),
        (326, 54),
        (368, 78),
        (396, 122),
        (406, 178),
        (410, 236),
        (416, 300),
        (430, 362),
        (444, 414),
        (446, 462),
        (432, 512),
    ]
)


def _hair_back(canvas: skia.Canvas) -> None:
    back = path(LEFT_OUTER + (6, 0), (RIGHT_OUTER - (6, 0))[::-1])
    canvas.drawPath(
        back, fill(shader=linear((0, 60), (0, 500), [(0, colour("3a2018")), (1, colour("22110d"))]))
    )


def _hair_front(canvas: skia.Canvas) -> None:
    _lock(canvas, LEFT_INNER, LEFT_OUTER, light=1.0, seed=11)
    _lock(canvas, RIGHT_INNER, RIGHT_OUTER, light=0.7, seed=12)


def _lock(canvas: skia.Canvas, inner: g.Points, outer: g.Points, light: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 90)
    a, b = g.along(inner, t), g.along(outer, t)
    outline = path(a, b[::-1])
    canvas.drawPath(path(a, closed=False), stroke(colour("3a1a12", 0.35), 6, blur=4))
    canvas.drawPath(
        outline,
        fill(
            shader=linear(
                (0, 50),
                (0, 500),
                [
                    (0, colour("4b2a1d")),
                    (0.3, colour("5c3524")),
                    (0.7, colour("45261b")),
                    (1, colour("36190f")),
                ],
            )
        ),
    )
    shades = ["2c150f", "3d2118", "5a3323", "754630", "95613f"]
    for _ in range(420):
        u = rng.uniform(-0.015, 1.015)
        first, last = sorted(rng.choice(90, 2, replace=False))
        if last - first < 25:
            first, last = max(0, first - 20), min(89, last + 20)
        wave = 0.02 * np.sin(t * rng.uniform(4, 9) + rng.uniform(0, 6))
        v = np.clip(u + wave, -0.02, 1.02)[:, None]
        strand = (a + v * (b - a))[first : last + 1]
        shade = (
            shades[min(int(abs(rng.normal(0, 1.5))), 4)]
            if rng.uniform() < 0.5
            else shades[rng.integers(0, 3)]
        )
        canvas.drawPath(
            ribbon(strand, taper(len(strand), rng.uniform(0.8, 2.6))),
            fill(colour(shade, rng.uniform(0.25, 0.6))),
        )
    with clipped(canvas, outline):
        mid = a + 0.5 * (b - a)
        canvas.drawPath(
            path(a + 0.42 * (b - a), closed=False),
            stroke(colour("c98f5e", 0.30 * light), 12, blur=8, mode=SCREEN),
        )
        oval(
            canvas,
            tuple(mid[22]),
            46,
            13,
            fill(colour("e0a878", 0.34 * light), blur=10, mode=SCREEN),
            tilt=-50 if seed == 11 else 50,
        )
        canvas.drawPath(path(b, closed=False), stroke(colour("1c0c08", 0.5), 14, blur=8))
        canvas.drawPath(path(a, closed=False), stroke(colour("1c0c08", 0.4), 9, blur=5))
