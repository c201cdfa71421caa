"""Where everything is in the face at rest, in pixels of the 512x512 picture.

The paint follows these curves and so do the landmarks, which are therefore exact. Left and right
are the viewer's. The face is symmetric about `CENTRE_X`.
"""

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # [n, 2]: x, y

SIZE = 512
SCALE = 2  # drawn at this multiple of the size, then reduced
CENTRE_X = 256.0


def smooth(points: object, closed: bool = False, steps: int = 14) -> Points:
    """A centripetal Catmull-Rom curve through the points, as a fine polyline."""
    p = np.asarray(points, float)
    if closed:
        p = np.vstack([p[-1], p, p[0], p[1]])
    else:
        p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    out = []
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        ab, bc, cd = (max(np.hypot(*(v - u)), 1e-6) ** 0.5 for u, v in ((a, b), (b, c), (c, d)))
        m1 = (c - b) + bc * ((b - a) / ab - (c - a) / (ab + bc))
        m2 = (c - b) + bc * ((d - c) / cd - (d - b) / (bc + cd))
        out.append(b + m1 * t + (3 * (c - b) - 2 * m1 - m2) * t**2 + (m1 + m2 - 2 * (c - b)) * t**3)
    if not closed:
        out.append(p[-2:-1])
    return np.vstack(out)


def along(curve: Points, places: object) -> Points:
    """The points at the given fractions of the curve's length."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    at = np.asarray(places, float) * length[-1]
    return np.stack([np.interp(at, length, curve[:, i]) for i in (0, 1)], axis=1)


def mirrored(points: object) -> Points:
    """The same points on the other side of the face, in the same order."""
    p = np.array(points, float)
    p[:, 0] = 2 * CENTRE_X - p[:, 0]
    return p


def at_x(curve: Points, x: object) -> Points:
    """The points of a curve that runs from left to right at the given x."""
    xs = np.asarray(x, float)
    return np.stack([xs, np.interp(xs, curve[:, 0], curve[:, 1])], axis=1)


# --- the outline of the face, from the crown over the right side to the chin -------------------

_HALF_FACE = np.array(
    [(0, 84), (44, 89), (78, 116), (93, 160), (97, 204), (96, 240), (92, 278), (84.5, 312),
     (69, 343), (47, 367), (24, 382), (0, 387)],
    float,
)  # fmt: skip
_RIGHT = np.array([CENTRE_X, 0]) + _HALF_FACE
FACE = smooth(np.vstack([_RIGHT, mirrored(_RIGHT)[-2:0:-1]]), closed=True)

_JAW_HALF = smooth(_RIGHT, steps=40)
_JAW_HALF = _JAW_HALF[_JAW_HALF[:, 1] >= 216]  # from the ear to the chin
_JAW_RIGHT = along(_JAW_HALF, np.linspace(0, 1, 9))
JAW = np.vstack([mirrored(_JAW_RIGHT), _JAW_RIGHT[-2::-1]])  # [17, 2], landmarks 0-16

# --- brows -------------------------------------------------------------------------------------

BROW_TOP = smooth([(179, 201), (191, 188.2), (207, 181.4), (223, 181.6), (239.5, 187.5)])
BROW_BOTTOM = smooth([(179, 201), (192, 194.4), (207, 191), (223, 193.2), (239, 199.5)])

# --- eyes --------------------------------------------------------------------------------------

# The left eye; the right one is its mirror image. From the outer to the inner corner.
EYE_UPPER = smooth(
    [(184.5, 225.0), (192, 217.8), (202, 213.4), (213, 213.0), (225, 218.2), (236.5, 230.2)]
)
EYE_LOWER = smooth(
    [(184.5, 225.0), (193, 231.4), (203.5, 235.2), (215, 236.2), (227, 234.2), (236.5, 230.2)]
)
EYE_CENTRE = (210.6, 223.6)
IRIS_RADIUS = 12.9


def lids(openness: float) -> tuple[Points, Points]:
    """Upper and lower lid of the left eye; 1 is open, 0 is closed (both on one line)."""
    t = np.linspace(0, 1, 60)
    upper, lower = along(EYE_UPPER, t), along(EYE_LOWER, t)
    shut = upper + 0.86 * (lower - upper)
    return shut + openness * (upper - shut), shut + openness * (lower - shut)


# --- nose --------------------------------------------------------------------------------------

NOSE_BRIDGE = np.array([(256, 218), (256, 240), (256, 262), (256, 282)], float)
NOSE_BASE = np.array([(238.5, 291), (247, 294.5), (256, 296.5), (265, 294.5), (273.5, 291)], float)

# --- mouth -------------------------------------------------------------------------------------

MOUTH_LEFT, MOUTH_RIGHT, MOUTH_CORNER_Y = 211.0, 301.0, 322.6
MOUTH_LINE = smooth(
    [(211, 322.6), (220, 326.4), (234, 328.8), (247, 328.9), (256, 330.0),
     (265, 328.9), (278, 328.8), (292, 326.4), (301, 322.6)]
)  # fmt: skip
LIP_TOP = smooth(
    [(211, 322.6), (224, 320.3), (237, 317.0), (247.5, 314.8), (256, 317.0),
     (264.5, 314.8), (275, 317.0), (288, 320.3), (301, 322.6)]
)  # fmt: skip
LIP_BOTTOM = smooth(
    [(211, 322.6), (221, 333.0), (234, 342.4), (246, 346.8), (256, 347.4),
     (266, 346.8), (278, 342.4), (291, 333.0), (301, 322.6)]
)  # fmt: skip


def mouth_landmarks() -> Points:
    """[20, 2]: the outer lips 48-59, then the inner lips 60-67; the mouth is closed."""
    xs = [234.0, 247.0, 256.0, 265.0, 278.0]
    corners = np.array([(MOUTH_LEFT, MOUTH_CORNER_Y), (MOUTH_RIGHT, MOUTH_CORNER_Y)])
    inner_x = [236.0, 256.0, 276.0]
    return np.vstack(
        [
            corners[:1],
            at_x(LIP_TOP, xs),
            corners[1:],
            at_x(LIP_BOTTOM, xs[::-1]),
            at_x(MOUTH_LINE, [MOUTH_LEFT + 4]),
            at_x(MOUTH_LINE, inner_x),
            at_x(MOUTH_LINE, [MOUTH_RIGHT - 4]),
            at_x(MOUTH_LINE, inner_x[::-1]),
        ]
    )


def eye_landmarks(openness: float) -> Points:
    """[12, 2]: 36-41 the left eye, 42-47 the right one, each clockwise from its left corner."""
    upper, lower = lids(openness)
    u, low = along(upper, [0, 0.33, 0.67, 1]), along(lower, [0.67, 0.33])
    left = np.vstack([u, low])
    right = mirrored(np.vstack([u[::-1], low[::-1]]))
    return np.vstack([left, right])


def brow_landmarks() -> Points:
    """[10, 2]: 17-21 the left brow, 22-26 the right one, from left to right."""
    middle = (along(BROW_TOP, np.linspace(0, 1, 5)) + along(BROW_BOTTOM, np.linspace(0, 1, 5))) / 2
    return np.vstack([middle, mirrored(middle)[::-1]])
