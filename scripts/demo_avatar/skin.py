"""The face as a lit relief: a height field, skin colours, soft light, and light under the skin.

All of it lies in the picture at rest, at the scale of the drawing, and is computed once.
"""

from functools import cache

import cv2
import numpy as np

from . import geometry as g

Field = np.ndarray  # float32 [h, w] or [h, w, 3]

SCALE = g.SCALE
_N = g.SIZE * SCALE

KEY = np.array([-0.58, -0.50, 0.64])  # from the upper left, before the face
FILL = np.array([0.75, 0.05, 0.66])
RIM = np.array([0.97, -0.12, 0.22])  # from behind, at the right
HALF = np.array([-0.26, -0.30, 0.92])  # between the key light and the viewer


def srgb(linear: Field) -> Field:
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def linear(text: str) -> Field:
    """'e8b08c' as linear light, [3]."""
    c = np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _grid() -> tuple[Field, Field]:
    at = (np.arange(_N, dtype=np.float32) + 0.5) / SCALE
    return np.meshgrid(at - g.CENTRE_X, at)  # x from the middle of the face, y


def bump(x: float, y: float, sx: float, sy: float, tilt: float = 0.0) -> Field:
    """A soft hill of height 1."""
    gx, gy = _grid()
    c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    u, v = (gx - x) * c + (gy - y) * s, -(gx - x) * s + (gy - y) * c
    return np.exp(-0.5 * ((u / sx) ** 2 + (v / sy) ** 2))


def pair(x: float, y: float, sx: float, sy: float, tilt: float = 0.0) -> Field:
    """The same hill on both sides of the face."""
    return bump(-x, y, sx, sy, tilt) + bump(x, y, sx, sy, -tilt)


def soft(field: Field, sigma: float) -> Field:
    """Blurred; sigma in pixels of the 512 picture."""
    return cv2.GaussianBlur(field, (0, 0), sigma * SCALE)


def mask(outline: g.Points, blur: float = 0.0) -> Field:
    fine = np.round(outline * SCALE * 16).astype(np.int32)
    out = np.zeros((_N, _N), np.float32)
    cv2.fillPoly(out, [fine], 1.0, cv2.LINE_8, 4)
    return soft(out, blur) if blur else out


def _upper_lip() -> g.Points:
    return np.vstack([g.LIP_TOP, g.MOUTH_LINE[::-1]])


def _lower_lip() -> g.Points:
    return np.vstack([g.MOUTH_LINE, g.LIP_BOTTOM[::-1]])


@cache
def relief() -> Field:
    """Height towards the viewer, in pixels."""
    x, y = _grid()
    z = 118 * np.sqrt(np.maximum(1 - (x / 121) ** 2 - ((y - 232) / 190) ** 2, 0.02))
    z += 7 * pair(58, 264, 27, 22, 20)  # cheeks
    z += 3.0 * pair(43, 196, 26, 7, -4)  # brows
    z -= 7.5 * pair(42, 214, 25, 13, 4)  # sockets
    z += 6.5 * pair(45.5, 224, 18, 12)  # eyeballs
    z -= 4 * pair(20, 222, 7, 12)  # beside the bridge
    z -= 1.5 * pair(41, 244, 17, 3.2, 8)  # under the eyes
    z -= 0.4 * pair(47, 306, 4, 13, -28)  # from the nose to the corners of the mouth
    z -= 2.2 * pair(70, 304, 15, 17, 24)  # below the cheekbones
    z -= 3 * pair(88, 214, 14, 26)  # temples
    z += 7 * bump(0, 326, 44, 30)  # muzzle
    z += 7.5 * bump(0, 370, 21, 13)  # chin
    z -= 3.6 * bump(0, 354, 22, 5)  # above the chin
    z -= 1.5 * pair(50, 326, 8, 9)  # beside the corners of the mouth
    z -= 1.1 * bump(0, 305, 3.2, 7) - 0.6 * pair(6.5, 305, 2.4, 8)  # the groove under the nose
    z += _nose(x, y)
    z += 3.4 * mask(_upper_lip(), 2.6) + 5.4 * mask(_lower_lip(), 3.2)
    z -= 3.0 * soft(_line(g.MOUTH_LINE, 2.2), 1.9)
    return z.astype(np.float32)


def _nose(x: Field, y: Field) -> Field:
    down = np.clip((y - 196) / 84, 0, 1)
    ridge = (2.0 + 16 * down**1.2) * np.exp(-0.5 * (x / (6.4 + 3.4 * down)) ** 2)
    under = np.clip((y - 296) / 3.0, -40, 40)
    ends = np.clip((y - 190) / 26, 0, 1) / (1 + np.exp(under))
    tip = 7.5 * bump(0, 284.5, 10, 7.2) + 6.0 * pair(13.4, 287.5, 5.2, 5.0)
    return soft((ridge * ends).astype(np.float32), 1.6) + tip


def _line(curve: g.Points, width: float) -> Field:
    out = np.zeros((_N, _N), np.float32)
    fine = np.round(curve * SCALE * 16).astype(np.int32)
    cv2.polylines(out, [fine], False, 1.0, round(width * SCALE), cv2.LINE_AA, 4)
    return out


def normals(z: Field) -> Field:
    """[h, w, 3] unit vectors."""
    dy, dx = np.gradient(z * SCALE)
    n = np.dstack([-dx, -dy, np.ones_like(z)])
    return n / np.linalg.norm(n, axis=2, keepdims=True)


def _albedo() -> Field:
    """Skin and lips, linear light."""
    skin = np.ones((_N, _N, 3), np.float32) * linear("edb697").astype(np.float32)

    def tint(where: Field, hexes: str, amount: float) -> None:
        nonlocal skin
        w = (amount * np.clip(where, 0, 1))[..., None]
        skin = skin * (1 - w) + w * linear(hexes).astype(np.float32)

    tint(pair(60, 268, 27, 17, 18), "e8836c", 0.34)
    tint(bump(0, 281, 13, 10), "e3866c", 0.22)
    tint(bump(0, 374, 20, 12), "e79a7c", 0.3)
    tint(bump(0, 150, 60, 26), "f3c39e", 0.4)
    tint(pair(43, 210, 25, 8, -3), "c98468", 0.45)
    tint(pair(44, 241, 20, 4, 4), "d69a80", 0.35)
    rng = np.random.default_rng(5)
    mottle = soft(rng.normal(size=(_N, _N)).astype(np.float32), 5)
    skin *= (1 + 0.012 * mottle / mottle.std())[..., None]
    tint(_freckles(rng), "a9643f", 0.17)
    lips = np.vstack([g.LIP_TOP, g.LIP_BOTTOM[::-1]])
    edge = mask(lips, 1.1)
    tint(mask(lips, 3.0), "cf7a66", 0.30)
    tint(edge, "c8605a", 0.84)
    tint(mask(_upper_lip(), 1.0), "a8403f", 0.35)
    return skin


def _freckles(rng: np.random.Generator) -> Field:
    """Faint, over nose and cheeks."""
    out = np.zeros((_N, _N), np.float32)
    for _ in range(110):
        x, y = rng.normal(0, 38), rng.uniform(246, 276)
        if abs(x) > 12 or y < 268:
            at = (round((g.CENTRE_X + x) * SCALE), round((y + 0.05 * abs(x)) * SCALE))
            cv2.circle(
                out, at, int(rng.integers(1, 3)), float(rng.uniform(0.3, 1.0)), -1, cv2.LINE_AA
            )
    return soft(out, 0.5)


@cache
def face() -> Field:
    """float32 [h, w, 3], sRGB 0 to 1: the lit face without eyes, brows and mouth line."""
    z = relief()
    n = normals(soft(z, 0.7))
    key, fill = n @ (KEY / np.linalg.norm(KEY)), n @ (FILL / np.linalg.norm(FILL))
    light = np.zeros((_N, _N, 3), np.float32)
    # Light spreads under the skin, red the farthest: wrapped and blurred by colour.
    for i, (wrap, blur) in enumerate(((0.42, 5.0), (0.26, 2.6), (0.20, 1.6))):
        lit = np.clip((key + wrap) / (1 + wrap), 0, None).astype(np.float32)
        side = np.clip((fill + 0.3) / 1.3, 0, None).astype(np.float32)
        warm, cool, ambient = ((1.14, 0.14, 0.140), (1.07, 0.135, 0.112), (0.99, 0.15, 0.114))[i]
        light[..., i] = soft(warm * lit + cool * side, blur) * 0.7 + 0.3 * (
            warm * lit + cool * side
        )
        light[..., i] += ambient
    hollow = np.clip(soft(z, 9) - z, 0, None)  # where less of the room is seen
    light *= np.exp(-np.array([0.035, 0.060, 0.068]) * hollow[..., None])
    light *= 1 - np.array([0.34, 0.5, 0.55]) * _nose_shadow()[..., None]
    edge = np.clip(n @ (RIM / np.linalg.norm(RIM)) - 0.62, 0, 1) ** 1.5
    light += edge[..., None] * np.array([0.9, 1.15, 1.1])
    h = np.clip(n @ (HALF / np.linalg.norm(HALF)), 0, 1)
    lips = mask(np.vstack([g.LIP_TOP, g.LIP_BOTTOM[::-1]]), 1.0)
    shine = (
        0.085 * h**22
        + h**60 * (0.11 * bump(0, 282, 12, 8) + 0.06 * bump(0, 240, 8, 30))
        + 0.20 * lips * h**50
    )
    colour = _albedo() * light + shine[..., None] * np.array([1.0, 0.93, 0.85])
    return srgb(colour * 1.04).astype(np.float32)


def _nose_shadow() -> Field:
    return np.clip(0.55 * bump(6, 300, 14, 3.4, 6) + 0.35 * bump(15, 262, 5, 22, -8), 0, 1)
