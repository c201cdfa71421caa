"""The same face through a video: picture by picture, never another one's."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from ..request import FaceHint
from .face import (
    JAW,
    LIPS,
    Bgr,
    Face,
    FaceFinder,
    Landmarks,
    beyond,
    box_of,
    distance,
    size_of,
    within,
)
from .finders import finder_missing

_LOOKED_AT = 16  # pictures in which a face that was marked by hand may first be recognised
# What is taken for the same face in the next picture: how far it may have moved, in sizes of the
# face, and how much larger or smaller it may be. Both grow while it is not seen.
_REACH, _REACH_GROWS, _REACH_MOST = 0.6, 0.05, 1.0
_RATIO, _RATIO_GROWS, _RATIO_MOST = 1.4, 0.05, 2.0
_LOST_FOR_LONG = 25  # pictures, after which it may be anywhere: the film was cut, or it walked

_CUT = 0.15  # of the face's width: how far the jaw may leave the picture


def follow(
    frames: Iterable[Bgr], start: Landmarks, finder: FaceFinder | None, hint: FaceHint
) -> Iterator[Landmarks]:
    """Landmarks `[68, 2]` for each picture, in order; NaN where the face or its mouth is not seen.

    start  where `look` has found it, or somebody has marked it
    hint   what was marked: a face that is marked and that nothing recognises stays where it is

    Raises FaceFinderMissing if there is neither finder nor mark.
    """
    pictures = iter(frames)
    mark = hint.landmarks is not None
    if mark or hint.box is not None:
        first = list(islice(pictures, _LOOKED_AT))
        pictures = chain(first, pictures)
        recognised = _recognised(first, start, finder)
        if recognised is None:
            yield from (start.copy() for _ in pictures)
            return
        if mark:  # the marks are worn by the face that is recognised below them
            for found in _tracked(pictures, recognised, finder):
                yield _worn(start, recognised, found)
            return
        start = recognised
    yield from _tracked(pictures, start, finder)


def similarity(before: Landmarks, after: Landmarks) -> tuple[complex, complex]:
    """The turn-and-scale `a` and the shift `b` that best move points to others: a * p + b, with
    x + iy as p (least squares)."""
    p, q = before @ np.array([1, 1j]), after @ np.array([1, 1j])
    around_p, around_q = p - p.mean(), q - q.mean()
    a = complex(np.vdot(around_p, around_q) / np.vdot(around_p, around_p).real)
    return a, complex(q.mean() - a * p.mean())


def _recognised(
    pictures: list[Bgr], start: Landmarks, finder: FaceFinder | None
) -> Landmarks | None:
    """The face under a mark, in the first picture where it is recognised."""
    if finder is None:
        return None
    found = (finder.near(picture, box_of(start)) for picture in pictures)
    return next(
        (face.landmarks for face in found if face and distance(face.box, box_of(start)) < _REACH),
        None,
    )


def _worn(mark: Landmarks, recognised: Landmarks, found: Landmarks) -> Landmarks:
    """The mark, moved as the face below it has moved."""
    a, b = similarity(recognised, found)
    moved = a * (mark @ np.array([1, 1j])) + b
    return np.asarray(np.stack([moved.real, moved.imag], axis=1), np.float32)


def _tracked(
    pictures: Iterable[Bgr], start: Landmarks, finder: FaceFinder | None
) -> Iterator[Landmarks]:
    if finder is None:
        raise finder_missing()
    last, num_lost, was_alone = Face(start, 1.0), 0, True
    before: Bgr | None = None
    for picture in pictures:
        anywhere = was_alone and num_lost >= _LOST_FOR_LONG
        face = _next(picture, last, num_lost, finder, anywhere=anywhere)
        if face is None:
            if before is not None and not num_lost:
                was_alone = len(finder.faces(before)) <= 1
            num_lost += 1
            yield np.full_like(start, np.nan)
            continue
        last, num_lost, before = face, 0, picture
        height, width = picture.shape[:2]
        is_seen = _is_seen(face, width, height)
        yield within(face.landmarks, width, height) if is_seen else np.full_like(start, np.nan)


def _is_seen(face: Face, width: int, height: int) -> bool:
    """Whether the border leaves enough of a face to move its lips."""
    jaw_beyond = beyond(face.landmarks[JAW], width, height)
    return beyond(face.landmarks[LIPS], width, height) <= 0 and jaw_beyond <= _CUT * face.width


def _next(
    picture: Bgr, last: Face, num_lost: int, finder: FaceFinder, *, anywhere: bool
) -> Face | None:
    """The face that was `last` before `num_lost` pictures without it; if it may be anywhere, the
    only one of about its size."""
    near = finder.near(picture, last.box)
    if near and _is_same(near, last, num_lost):
        return near
    faces = finder.faces(picture)
    same = [face for face in faces if _is_same(face, last, num_lost)]
    if not same and anywhere and len(faces) == 1 and _ratio(faces[0], last) <= _RATIO_MOST:
        return faces[0]
    return min(same, key=lambda face: distance(face.box, last.box), default=None)


def _is_same(face: Face, last: Face, num_lost: int) -> bool:
    reach = min(_REACH + _REACH_GROWS * num_lost, _REACH_MOST)
    most = min(_RATIO + _RATIO_GROWS * num_lost, _RATIO_MOST)
    return distance(face.box, last.box) <= reach and _ratio(face, last) <= most


def _ratio(face: Face, other: Face) -> float:
    """How many times the larger is as large as the smaller."""
    one, two = size_of(face.box), size_of(other.box)
    return max(one, two) / min(one, two)
