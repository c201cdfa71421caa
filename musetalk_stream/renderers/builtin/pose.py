"""How a row of mouth shape moves the parts of a mouth, in mouth coordinates."""

from dataclasses import dataclass

import numpy as np

from .arrays import Floats, as_floats
from .hearing import OPEN, ROUNDED, SPREAD, TEETH


@dataclass(frozen=True, slots=True)
class Pose:
    """lower, upper: how far the lips part, down and up; jaw: how far the chin goes down;
    squeeze: the lips' source is this much wider than the lips (negative: narrower);
    width: part of the lips that opens; rounded: how round the opening is, 0 to 1;
    upper_teeth, lower_teeth, tongue: how brightly they show."""

    lower: float
    upper: float
    jaw: float
    squeeze: float
    width: float
    rounded: float
    upper_teeth: float
    lower_teeth: float
    tongue: float


def pose(row: Floats, own_opening: float) -> Pose:
    """own_opening: how far the lips are apart in the picture itself, 0 if they are closed.

    Lips that are open already part as much less, and keep showing what is between them. They
    never come closer than they are, so that silence, which is the picture itself, is one end of
    their way.
    """
    wide, spread, rounded, teeth = (float(row[n]) for n in (OPEN, SPREAD, ROUNDED, TEETH))
    shown = teeth * min(1.0, 8 * wide)
    light = (0.34 + 0.30 * min(1.0, 2 * wide) + 0.36 * teeth) * (1 - 0.95 * rounded * (1 - teeth))
    lower = 0.42 * wide + 0.05 * shown
    upper = (0.09 + 0.15 * rounded) * wide + 0.045 * shown
    total = lower + upper
    part = total / (total + own_opening)
    return Pose(
        lower=lower * part,
        upper=upper * part,
        jaw=0.31 * wide * part,
        squeeze=0.30 * rounded - 0.08 * spread,
        width=0.95 - 0.14 * rounded,
        rounded=rounded,
        upper_teeth=0.0 if own_opening else light,
        lower_teeth=light,
        tongue=min(1.0, 1.6 * wide) * (1 - 0.6 * rounded),
    )


def parting(q: Floats, rounded: float) -> Floats:
    """How much of the opening there is at q, -1 to 1 from corner to corner; 0 beyond.

    Two arcs that meet in the corners, or, the more rounded, a ring.
    """
    square = q * q
    rest = np.maximum(0, 1 - square)
    arcs = rest * (1 + np.float32(0.35) * square)
    return as_floats(arcs + np.float32(rounded) * (np.sqrt(rest) - arcs))
