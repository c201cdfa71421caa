"""Landmarks of a whole video without their tremble: how the head moves, then how the face does.

What finds landmarks looks at each picture by itself, so they tremble by parts of a pixel, and lips
that are drawn on them would, too.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...avatar import Cycle

Complex: TypeAlias = npt.NDArray[np.complex128]  # x + iy

# Pictures to either side over which each parabola is fitted. The head's movement is known from 68
# points at once and may be quick; the face's own is slower, and its points tremble one by one.
_HEAD, _FACE = 3, 6
# A step from one picture to the next is a cut if it is longer than this share of the face and than
# this many times the steps before and after it.
_CUT, _CUT_RATIO = 0.06, 3.0


# Pictures without a face that are bridged if it is in about the same place before and after: it
# was missed there, and lips that fall back for so short a time would twitch.
_BRIDGED = 3
_BRIDGED_STEP = 0.3  # of the face's size


class _Run(NamedTuple):
    """Pictures through which a face is seen without a break."""

    pictures: npt.NDArray[np.intp]
    is_ring: bool  # the last leads into the first


def bridged(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Landmarks `[N, 68, 2]` with short gaps filled by even steps from one side to the other."""
    result = landmarks.copy()
    seen = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    for first, last in pairwise(seen.tolist()):
        before, after = landmarks[first], landmarks[last]
        step = float(np.linalg.norm(after - before, axis=1).max() / np.ptp(before, axis=0).max())
        if 1 < last - first <= _BRIDGED + 1 and step <= _BRIDGED_STEP:
            for n in range(first + 1, last):
                result[n] = before + (after - before) * ((n - first) / (last - first))
    return result


def smoothed(landmarks: npt.NDArray[np.float32], cycle: Cycle) -> npt.NDArray[np.float32]:
    """Landmarks `[N, 68, 2]` as they would be without tremble; NaN stays NaN, and nothing is
    averaged across it or across a cut.

    A local parabola has no phase and follows what moves evenly faster or slower, so a moving head
    is not lagged behind. FORWARD goes on from the last picture to the first. The others turn back
    at the ends, where a mirrored movement has a corner that no parabola follows: there, only what
    is on this side counts.
    """
    assert len(landmarks), "no pictures"
    result = np.array(landmarks, np.float32)
    points = landmarks.astype(np.float64) @ np.array([1, 1j])  # [N, 68]
    for run in _runs(points, is_ring=cycle is Cycle.FORWARD):
        steady = _steady(points[run.pictures], is_ring=run.is_ring)
        result[run.pictures] = np.stack([steady.real, steady.imag], axis=2)
    return result


def _runs(points: Complex, *, is_ring: bool) -> Iterator[_Run]:
    leads = _leads(points)
    if is_ring and leads.all():
        yield _Run(np.arange(len(points)), is_ring=True)
        return
    if not is_ring:
        leads[-1:] = False
    # Beginning after a break, so that no run is in two parts.
    order = np.roll(np.arange(len(points)), -1 - np.flatnonzero(~leads)[-1])
    for pictures in np.split(order, np.flatnonzero(~leads[order])[:-1] + 1):
        if np.isfinite(points[pictures[0]]).all():
            yield _Run(pictures, is_ring=False)


def _leads(points: Complex) -> npt.NDArray[np.bool_]:
    """`[N]`: whether a face goes on from each picture to the next, and from the last to the
    first."""
    middle = points.mean(axis=1)
    size = np.abs(points - middle[:, None]).max(axis=1) * 2
    step = np.abs(np.roll(middle, -1) - middle) / size
    around = np.fmax(np.roll(step, 1), np.roll(step, -1))  # fmax: a number rather than NaN
    usual = np.where(np.isfinite(around), around, 0)
    return np.asarray(step <= np.maximum(_CUT, _CUT_RATIO * usual))  # not where it is NaN


def _steady(points: Complex, *, is_ring: bool) -> Complex:
    """`[n, 68]` of one run."""
    middle = points.mean(axis=1, keepdims=True)
    around = points - middle
    mean_face = around.mean(axis=0)
    # [n, 1]: how each face is turned and scaled against the mean one (least squares)
    turn = (around @ mean_face.conj())[:, None] / (np.abs(mean_face) ** 2).sum()
    head = _fitted(np.concatenate([middle, turn], axis=1), _HEAD, 2, is_ring=is_ring)
    face = _fitted(around / turn, _FACE, 1, is_ring=is_ring)
    return np.asarray(face * head[:, 1:] + head[:, :1])


def _fitted(values: Complex, half: int, end_degree: int, *, is_ring: bool) -> Complex:
    """`[n, …]`: at each place, the parabola through what is around it; where there is less on one
    side than on the other, a curve of `end_degree`, as a parabola there follows every tremble."""
    count = len(values)
    result = np.empty_like(values)
    for place in range(count):
        if is_ring:
            before = after = min(half, (count - 1) // 2)
        else:
            before, after = min(half, place), min(half, count - 1 - place)
        near = np.arange(place - before, place + after + 1) % count
        degree = 2 if before == after or before + after < half else end_degree
        result[place] = _weights(before, after, half, degree) @ values[near]
    return result


@lru_cache
def _weights(before: int, after: int, half: int, degree: int) -> npt.NDArray[np.floating[Any]]:
    """How much each of the neighbours counts, itself among them: `[before + 1 + after]`."""
    away = np.arange(-before, after + 1)
    powers = np.vander(away, min(degree + 1, len(away)), increasing=True)
    # Tricube: neighbours count less the farther they are, and come and go without a jump.
    trust = (1 - (np.abs(away) / (half + 1)) ** 3) ** 3
    root = np.sqrt(trust)[:, None]
    fit = np.linalg.pinv(powers * root) * root.T  # [3, n]: the parabola's coefficients
    return np.asarray(fit[0])
