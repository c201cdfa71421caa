"""The hair: two sides that fall from the parting, each a fan of wavy locks made of lit strands."""

from dataclasses import dataclass

import numpy as np
import skia

from . import geometry as g
from .brush import colour, fill, linear, path, ribbon, stroke, taper

STEPS = 64
T = np.linspace(0, 1, STEPS)


@dataclass(frozen=True, slots=True)
class Lock:
    """Where a lock lies across its side, how far and with which phase it waves, how long it is."""

    middle: float
    half: float
    sway: float
    phase: float
    length: float


@dataclass(frozen=True, slots=True)
class Side:
    """The scalp's hair lies between two guides; `u` is 0 at the inner and 1 at the outer one."""

    inner: g.Points
    outer: g.Points
    locks: tuple[
        tuple[float, float, float, float, float], ...
    ]  # u, half width, sway, phase, length
    light: float
    seed: int

    def at(self, u: np.ndarray) -> g.Points:
        return self.inner + np.asarray(u)[:, None] * (self.outer - self.inner)


def _side(inner: list, outer: list, **rest: object) -> Side:
    a, b = (g.along(g.smooth(guide), T) for guide in (inner, outer))
    return Side(a, b, **rest)


LEFT = _side(
    [
        (290, 90),
        (256, 101),
        (216, 127),
        (182, 164),
        (163, 208),
        (156, 254),
        (151, 300),
        (156, 346),
        (150, 392),
        (141, 434),
        (152, 474),
    ],
    [
        (292, 35.5),
        (232, 34),
        (174, 54),
        (132, 102),
        (114, 164),
        (106, 222),
        (90, 274),
        (80, 322),
        (87, 366),
        (78, 410),
        (66, 452),
        (86, 498),
    ],
    locks=(
        Lock(0.90, 0.19, 0.17, 0.3, 0.92),
        Lock(0.10, 0.17, 0.14, 0.9, 0.94),
        Lock(0.68, 0.18, 0.17, 0.0, 0.99),
        Lock(0.29, 0.17, 0.16, 1.1, 1.00),
        Lock(0.48, 0.18, 0.18, 0.5, 0.95),
    ),
    light=1.0,
    seed=11,
)
RIGHT = _side(
    [
        (276, 92),
        (302, 100),
        (327, 122),
        (345, 160),
        (355, 208),
        (357, 254),
        (362, 300),
        (357, 346),
        (363, 392),
        (372, 434),
        (361, 474),
    ],
    [
        (270, 35),
        (322, 38.5),
        (364, 60),
        (392, 106),
        (403, 166),
        (408, 222),
        (423, 274),
        (434, 322),
        (427, 366),
        (436, 410),
        (448, 452),
        (428, 498),
    ],
    locks=(
        Lock(0.90, 0.19, 0.17, 0.6, 0.93),
        Lock(0.10, 0.17, 0.14, 0.2, 0.92),
        Lock(0.68, 0.18, 0.17, 0.9, 0.99),
        Lock(0.30, 0.17, 0.16, 0.0, 0.98),
        Lock(0.49, 0.18, 0.18, 0.4, 0.94),
    ),
    light=0.92,
    seed=12,
)

RAMP_AT = (0.0, 0.22, 0.45, 0.66, 0.85, 1.0)
RAMP = ("1a0b08", "3a1d13", "633822", "95603a", "cf9a66", "f6d3a2")
LIGHT = np.array([-0.45, -0.62, 0.64])
HALF = np.array([-0.24, -0.42, 0.88])


def ramp(value: float) -> int:
    rgb = [np.interp(value, RAMP_AT, [int(c[i : i + 2], 16) for c in RAMP]) for i in (0, 2, 4)]
    return colour("".join(f"{round(c):02x}" for c in rgb))


def back(canvas: skia.Canvas) -> None:
    """What is seen of the hair behind neck and cheeks: dark, with a few strands."""
    outline = path(LEFT.at(0.85 - 0.2 * T), RIGHT.at(0.85 - 0.2 * T)[::-1])
    dark = [(0, colour("2e160e")), (1, colour("1d0d09"))]
    canvas.drawPath(outline, fill(shader=linear((0, 200), (0, 480), dark), blur=2))
    rng = np.random.default_rng(10)
    for side in (LEFT, RIGHT) * 90:
        first, last = rng.integers(20, 34), rng.integers(46, STEPS)
        u = 0.1 - rng.uniform(0, 0.75) * np.linspace(0.6, 1.1, STEPS)
        curve = side.at(u + 0.03 * np.sin(9 * T + rng.uniform(0, 2)))[first:last]
        shade = colour(rng.choice(["4a2618", "5c3120", "140806"]), rng.uniform(0.15, 0.5))
        widths = taper(len(curve), rng.uniform(1.0, 2.6), 0.1, 0.1)
        canvas.drawPath(ribbon(curve, widths), fill(shade, blur=0.5))


def front(canvas: skia.Canvas) -> None:
    n = int(0.56 * STEPS)
    for side in (RIGHT, LEFT):
        # the shadow on the face
        shadow = path(side.inner[:n], closed=False)
        canvas.drawPath(shadow, stroke(colour("4a1c10", 0.44), 16, blur=8))
    dark = fill(colour("2c150d"))
    for side in (RIGHT, LEFT):
        under = path(side.at(0.03 + 0 * T)[2:n], side.at(0.97 + 0 * T)[2:n][::-1])
        canvas.drawPath(under, dark)
    # Where the two sides meet, the parting.
    top = g.smooth(
        [*LEFT.at(np.full(STEPS, 0.985))[[6, 3]], *RIGHT.at(np.full(STEPS, 0.985))[[3, 6]]]
    )
    bottom = [
        RIGHT.at(np.full(STEPS, 0.1))[4],
        RIGHT.inner[1] - (0, 3),
        LEFT.at(np.full(STEPS, 0.1))[4],
    ]
    canvas.drawPath(path(top, np.array(bottom)), dark)
    for side in (RIGHT, LEFT):
        rng = np.random.default_rng(side.seed)
        for lock in side.locks:
            _lock(canvas, side, lock, rng)
        _flyaways(canvas, side, rng)


def _lock(canvas: skia.Canvas, side: Side, lock: Lock, rng: np.random.Generator) -> None:
    """A dark body with its shadow, then strand over strand, the light ones last."""
    last = int(STEPS * lock.length)
    edges = [_strand(side, lock, s)[0][int(0.3 * STEPS) : int(0.92 * last)] for s in (-0.9, 0.9)]
    body = path(edges[0], edges[1][::-1])
    canvas.drawPath(body, fill(colour("120705", 0.40), blur=3.5))
    canvas.drawPath(body, fill(colour("2f170e"), blur=0.8))
    for i in range(230):
        under = i < 80
        s = rng.uniform(-1, 1) if under else np.clip(rng.normal(0, 0.5), -1, 1)
        wander = 0.010 * np.sin(rng.uniform(3, 8) * T + rng.uniform(0, 6))
        curve, bulge = _strand(side, lock, s, wander)
        end = int(last * rng.uniform(0.90, 1.0))
        start = rng.integers(0, 5) if rng.uniform() < 0.6 else rng.integers(0, 26)
        curve, bulge = curve[start:end], bulge[start:end]
        value = _lit(curve, bulge, side.light) * rng.uniform(0.78, 1.16) - 0.12 * under
        width = rng.uniform(2.2, 3.8) if under else rng.uniform(0.8, 2.1)
        widths = taper(len(curve), width, 0.05, 0.04, peak=0.2)
        canvas.drawPath(ribbon(curve, widths), fill(shader=_shine(curve, value), blur=0.2 * under))


def _flyaways(canvas: skia.Canvas, side: Side, rng: np.random.Generator) -> None:
    """Single hairs that leave the outline, without which hair looks like a helmet."""
    for i in range(44):
        outside = i % 2 == 0
        start = rng.integers(2, 34) if outside else rng.integers(1, 14)
        end = start + rng.integers(14, 28)
        swing = np.sin(np.linspace(0.0, rng.uniform(1.5, 3.0), end - start))
        reach = rng.uniform(0.0, 0.10) if outside else -rng.uniform(0.01, 0.09)
        at = np.zeros(STEPS) + outside
        at[start:end] += reach * swing
        curve = side.at(at)[start:end]
        value = _lit(curve, np.zeros(len(curve)), side.light) * rng.uniform(0.8, 1.3)
        width = rng.uniform(0.5, 0.9) if outside else rng.uniform(0.7, 1.5)
        widths = taper(len(curve), width, 0.1, 0.0, peak=0.3)
        canvas.drawPath(ribbon(curve, widths), fill(shader=_shine(curve, value)))


def _strand(
    side: Side, lock: Lock, s: float, wander: np.ndarray | float = 0.0
) -> tuple[g.Points, np.ndarray]:
    """The strand at `s`, -1 to 1 across the lock, and how its surface tilts to the viewer."""
    loose = np.clip((T - 0.36) / 0.34, 0, 1) ** 1.2  # further down each lock goes its own way
    spread = 1 + 0.25 * loose - 1.2 * np.clip((T / lock.length - 0.66) / 0.34, 0, 1) ** 1.5
    turn = 14.0 * T + lock.phase + 0.35 * s
    u = lock.middle + lock.sway * loose * np.sin(turn) + s * lock.half * np.maximum(spread, 0.02)
    bulge = -0.5 * s + 1.5 * loose * np.cos(turn - 0.9)
    return side.at(u + wander), bulge


def _lit(curve: g.Points, bulge: np.ndarray, light: float) -> np.ndarray:
    """0 to 1: hair shines where it runs across the light (Kajiya and Kay)."""
    x, y = (curve[:, 0] - 256) / 165, (curve[:, 1] - 235) / 215
    dome = 120 * np.sqrt(np.clip(1 - np.minimum(x**2 + np.minimum(y, 0) ** 2, 0.97), 0, 1))
    tangent = np.gradient(np.column_stack([curve, dome]), axis=0)
    tangent[:, 2] += 0.55 * bulge * np.hypot(tangent[:, 0], tangent[:, 1])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    diffuse = np.sqrt(np.clip(1 - (tangent @ LIGHT) ** 2, 0, 1))
    shine = np.clip(1 - (tangent @ HALF) ** 2, 0, 1) ** 14
    facing = 0.62 + 0.38 * np.clip(-(curve[:, 0] - 256) / 150, -1, 1) * 0.6
    roots = np.clip(np.hypot(*(curve - (280, 64)).T) / 60, 0.35, 1)
    return roots * (0.12 + 0.36 * diffuse * facing + 0.56 * light * shine * facing)


def _shine(curve: g.Points, value: np.ndarray) -> skia.Shader:
    """Colours along the chord of the curve."""
    a, b = curve[0], curve[-1]
    chord = b - a
    places = (curve - a) @ chord / (chord @ chord)
    stops: list[tuple[float, int]] = []
    at = -1.0
    for p, v in list(zip(places, value, strict=True))[::3]:
        p = float(np.clip(p, 0, 1))
        if p > at + 0.01:
            stops.append((p, ramp(float(v))))
            at = p
    stops[0] = (0.0, stops[0][1])
    stops.append((1.0, stops[-1][1])) if stops[-1][0] < 1 else None
    return linear(tuple(a), tuple(b), stops)
