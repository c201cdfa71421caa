"""The same face through a video, and its landmarks without tremble."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from portraits import FACE_WIDTH, Matrix, astronaut, heads, moved, placed

from musetalk_stream.avatar import Cycle
from musetalk_stream.errors import FaceFinderMissing
from musetalk_stream.prepare.faces import Bgr, FaceFinder, make_finder
from musetalk_stream.prepare.faces.follow import follow
from musetalk_stream.prepare.faces.mean_face import mean_face
from musetalk_stream.prepare.faces.smooth import bridged, smoothed
from musetalk_stream.prepare.request import FaceHint, Point

Landmarks = npt.NDArray[np.float32]

SIZE = (400, 300)
NO_HINT = FaceHint()


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceFinder]:
    pytest.importorskip("mediapipe", reason="the extra `face` has no wheel for this Python")
    finder = make_finder("mediapipe", tmp_path_factory.mktemp("no models"))
    yield finder
    finder.close()


@pytest.fixture(scope="module")
def landmarks(finder: FaceFinder) -> Landmarks:
    """Of the astronaut."""
    return finder.faces(astronaut())[0].landmarks


def followed(
    pictures: list[Bgr], start: Landmarks, finder: FaceFinder | None, hint: FaceHint = NO_HINT
) -> Landmarks:
    found = np.stack(list(follow(pictures, start, finder, hint)))
    assert found.shape == (len(pictures), 68, 2)
    assert found.dtype == np.float32
    return found


def mean_error(found: Landmarks, true: Landmarks) -> float:
    """In widths of the face."""
    return float(np.linalg.norm(found - true, axis=-1).mean() / np.ptp(true[..., 0]))


def seen(found: Landmarks) -> list[bool]:
    known = np.isfinite(found)
    assert (known.all(axis=(1, 2)) == known.any(axis=(1, 2))).all()  # all points or none
    return [bool(each) for each in known.all(axis=(1, 2))]


def sway(frame: int) -> Matrix:
    """A head that moves, turns and comes nearer: up to 9 pixels and 3 degrees per picture."""
    t = 2 * np.pi * frame / 40
    x, y = 200 + 55 * np.sin(t), 150 + 25 * np.sin(2 * t + 1)
    return placed(x, y, 100 + 15 * np.sin(t), 18 * np.cos(t))


# --- following


def test_a_head_that_moves_and_is_gone_for_a_while(
    finder: FaceFinder, landmarks: Landmarks
) -> None:
    gone = {17, 18, 19, 30}
    places = [sway(frame) for frame in range(40)]
    pictures = [heads(SIZE) if n in gone else heads(SIZE, place) for n, place in enumerate(places)]
    found = followed(pictures, moved(landmarks, places[0]), finder)
    assert seen(found) == [n not in gone for n in range(40)]
    for n in set(range(40)) - gone:
        assert mean_error(found[n], moved(landmarks, places[n])) < 0.02, n


def test_another_face_does_not_take_over(finder: FaceFinder, landmarks: Landmarks) -> None:
    """Not one that is larger, and not when ours is away."""
    ours, other = placed(110, 140, 80), placed(290, 160, 100)
    pictures = [
        *[heads(SIZE, ours)] * 2,
        *[heads(SIZE, ours, other)] * 3,
        *[heads(SIZE, other)] * 30,
        *[heads(SIZE, ours, other)] * 2,
    ]
    found = followed(pictures, moved(landmarks, ours), finder)
    assert seen(found) == [True] * 5 + [False] * 30 + [True] * 2
    assert mean_error(found[4], moved(landmarks, ours)) < 0.02
    assert mean_error(found[-1], moved(landmarks, ours)) < 0.02


def test_after_a_cut_the_only_face_is_the_same(finder: FaceFinder, landmarks: Landmarks) -> None:
    before, after = placed(80, 150, 80), placed(320, 150, 90)
    pictures = [heads(SIZE, before)] + [heads(SIZE, after)] * 27
    found = followed(pictures, moved(landmarks, before), finder)
    assert seen(found) == [True] + [False] * 25 + [True] * 2
    assert mean_error(found[-1], moved(landmarks, after)) < 0.02
    larger = [heads(SIZE, before)] + [heads(SIZE, placed(280, 150, 180))] * 27
    assert seen(followed(larger, moved(landmarks, before), finder)) == [True] + [False] * 27


def test_a_mouth_that_leaves_the_picture(finder: FaceFinder, landmarks: Landmarks) -> None:
    places = [placed(200, 150 + 20 * step, 100) for step in range(8)]
    places += places[::-1]
    found = followed([heads(SIZE, place) for place in places], landmarks, finder)
    lowest_lip = [moved(landmarks, place)[57, 1] for place in places]
    chin = [moved(landmarks, place)[8, 1] for place in places]
    for lip, jaw, is_seen in zip(lowest_lip, chin, seen(found), strict=True):
        if lip > SIZE[1] + 2:
            assert not is_seen
        if jaw < SIZE[1]:
            assert is_seen
    known = found[np.isfinite(found).all(axis=(1, 2))]
    assert (known >= 0).all()
    assert (known <= (SIZE[0] - 1, SIZE[1] - 1)).all()


def test_a_video_that_begins_without_the_face(finder: FaceFinder, landmarks: Landmarks) -> None:
    place = placed(200, 150, 100)
    pictures = [heads(SIZE), heads(SIZE), heads(SIZE, place)]
    assert seen(followed(pictures, moved(landmarks, place), finder)) == [False, False, True]


def test_pictures_are_taken_one_by_one(finder: FaceFinder, landmarks: Landmarks) -> None:
    """So that a video need not fit into memory."""
    taken = 0

    def pictures() -> Iterator[Bgr]:
        nonlocal taken
        for _ in range(3):
            taken += 1
            yield astronaut()

    found = follow(pictures(), landmarks, finder, NO_HINT)
    for n in (1, 2, 3):
        next(found)
        assert taken == n


# --- what is marked by hand


def marks(points: Landmarks) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in points)


@pytest.mark.parametrize("with_finder", [True, False])
def test_a_mark_that_nothing_recognises_stays(
    finder: FaceFinder | None, landmarks: Landmarks, *, with_finder: bool
) -> None:
    box = (100.0, 80.0, 220.0, 220.0)
    start = mean_face(box)
    pictures = [heads(SIZE)] * 20
    for hint in (FaceHint(box=box), FaceHint(landmarks=marks(start))):
        found = followed(pictures, start, finder if with_finder else None, hint)
        np.testing.assert_array_equal(found, np.stack([start] * 20))


def test_a_mark_is_worn_by_the_face_below_it(finder: FaceFinder, landmarks: Landmarks) -> None:
    """Somebody has set the corners of the mouth further out: they stay so while the head moves."""
    places = [sway(frame) for frame in range(10)]
    own = landmarks.copy()
    own[48] -= (4, 0)
    own[54] += (4, 0)
    start = moved(own, places[0])
    hint = FaceHint(landmarks=marks(start))
    found = followed([heads(SIZE, place) for place in places], start, finder, hint)
    np.testing.assert_allclose(found[0], start, atol=0.6)
    for n, place in enumerate(places):
        assert mean_error(found[n], moved(own, place)) < 0.02
        corners = float(np.linalg.norm(found[n][54] - found[n][48]))
        scale = np.hypot(*place[:, 0])
        assert corners / scale == pytest.approx(float(np.linalg.norm(own[54] - own[48])), rel=0.03)


def test_a_box_around_a_face_that_is_recognised_later(
    finder: FaceFinder, landmarks: Landmarks
) -> None:
    place = placed(200, 150, 100)
    start = moved(landmarks, place)
    pictures = [heads(SIZE)] * 3 + [heads(SIZE, place)] * 2
    found = followed(pictures, start, finder, FaceHint(box=(140, 90, 260, 220)))
    assert seen(found) == [False] * 3 + [True] * 2


def test_without_finder_and_mark(landmarks: Landmarks) -> None:
    for hint in (NO_HINT, FaceHint(point=(1, 2))):
        with pytest.raises(FaceFinderMissing):
            followed([astronaut()], landmarks, None, hint)


# --- smoothing

LIPS = slice(48, 68)
TREMBLE = 0.4  # pixels, each point by itself


def swaying(count: int = 120, period: int = 40) -> Landmarks:
    """A face, 200 pixels wide, that moves by up to 6 pixels per picture, and closes a ring."""
    face = mean_face((-100, -110, 100, 110))
    matrices = []
    for frame in range(count):
        t = 2 * np.pi * frame / period
        angle, scale = np.deg2rad(10 * np.sin(t)), 1 + 0.08 * np.cos(2 * t)
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        matrices.append([[c, -s, 300 + 35 * np.sin(t)], [s, c, 250 + 15 * np.sin(2 * t)]])
    return np.stack([moved(face, np.array(matrix)) for matrix in matrices])


def trembling(true: Landmarks) -> Landmarks:
    noise = np.random.default_rng(7).normal(0, TREMBLE, true.shape)
    return (true + noise).astype(np.float32)


def tremble(found: Landmarks, true: Landmarks) -> float:
    """How much the lips tremble from one picture to the next, in pixels."""
    return float(np.diff((found - true)[:, LIPS], axis=0).std())


@pytest.mark.parametrize("cycle", list(Cycle))
def test_tremble_goes_and_movement_stays(cycle: Cycle) -> None:
    true = swaying()
    before = trembling(true)
    after = smoothed(before, cycle)
    assert after.dtype == np.float32
    assert tremble(after, true) < tremble(before, true) / 4
    assert (after - true)[:, LIPS].std() < (before - true)[:, LIPS].std() / 1.7
    assert np.abs(smoothed(true, cycle) - true).max() < 0.3  # what lags behind


def test_the_ends_do_not_tremble_more() -> None:
    true = np.repeat(swaying(1), 40, axis=0)
    ends, middle = [], []
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(0, TREMBLE, true.shape)
        after = smoothed((true + noise).astype(np.float32), Cycle.PING_PONG)
        ends += [tremble(part, true[:4]) for part in (after[:4], after[-4:])]
        middle.append(tremble(after[10:-10], true[10:-10]))
    assert np.mean(ends) < 1.5 * np.mean(middle)


def test_quick_nods_are_not_lagged_behind() -> None:
    """15 pixels up and down twice a second, at 25 pictures per second."""
    true = swaying()
    true[..., 1] += 15 * np.sin(2 * np.pi * np.arange(120) / 12.5).astype(np.float32)[:, None]
    after = smoothed(true, Cycle.PING_PONG)
    assert np.abs(after - true).max() < 0.7
    assert np.abs(after - true)[4:-4].max() < 0.5


def test_an_open_mouth_stays_open() -> None:
    """The face's own movement: lips that part slowly."""
    true = swaying()
    gap = 10 * (1 - np.cos(2 * np.pi * np.arange(120) / 40)).astype(np.float32)
    true[:, 65:68, 1] += gap[:, None]
    after = smoothed(true, Cycle.FORWARD)
    assert np.abs(after - true).max() < 0.5


def test_a_ring_has_no_seam() -> None:
    """Beginning elsewhere on the cycle changes nothing."""
    before = trembling(swaying())
    turned = smoothed(np.roll(before, 31, axis=0), Cycle.FORWARD)
    np.testing.assert_allclose(np.roll(turned, -31, axis=0), smoothed(before, Cycle.FORWARD))
    there_and_back = smoothed(before, Cycle.PING_PONG)
    assert np.abs(there_and_back[20:100] - smoothed(before, Cycle.FORWARD)[20:100]).max() < 0.01
    assert np.abs(there_and_back[0] - smoothed(before, Cycle.FORWARD)[0]).max() > 0.05


def test_a_face_that_was_missed_for_a_moment_goes_on() -> None:
    true = swaying()
    missed = true.copy()
    missed[[*range(20, 23), 50]] = np.nan
    assert np.abs(bridged(missed) - true).max() < 3
    gone = true.copy()
    gone[[0, 1, *range(60, 64), 119]] = np.nan  # at the ends, and for longer
    np.testing.assert_array_equal(bridged(gone), gone)
    elsewhere = missed.copy()
    elsewhere[:20] += 100
    assert np.isnan(bridged(elsewhere)[20:23]).all()


@pytest.mark.parametrize("cycle", list(Cycle))
def test_gaps_stay_and_are_not_bridged(cycle: Cycle) -> None:
    before = trembling(swaying())
    before[40:43] = np.nan
    before[119] = np.nan
    after = smoothed(before, cycle)
    assert [n for n, is_seen in enumerate(seen(after)) if not is_seen] == [40, 41, 42, 119]
    # What is on one side of a gap does not depend on what is on the other.
    other = before.copy()
    other[43:119] += 20
    np.testing.assert_array_equal(smoothed(other, cycle)[:40], after[:40])


def test_a_cut_is_not_smoothed_away() -> None:
    true = swaying()
    true[60:] += 50
    after = smoothed(trembling(true), Cycle.PING_PONG)
    assert np.abs(after - true)[58:62].max() < 4 * TREMBLE


def test_a_forced_ring_with_a_seam_is_cut_there() -> None:
    true = swaying(count=90)  # ends elsewhere than it begins
    true[..., 0] += np.arange(90, dtype=np.float32)[:, None]
    after = smoothed(trembling(true), Cycle.FORWARD)
    assert np.abs(after - true)[[0, 1, -2, -1]].max() < 4 * TREMBLE


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cycle", list(Cycle))
def test_few_pictures_are_left_alone(count: int, cycle: Cycle) -> None:
    before = trembling(swaying(count))
    np.testing.assert_allclose(smoothed(before, cycle), before, atol=0.5)
    nothing = np.full_like(before, np.nan)
    np.testing.assert_array_equal(smoothed(nothing, cycle), nothing)


def test_what_the_finder_makes_tremble_less(finder: FaceFinder, landmarks: Landmarks) -> None:
    """Measured on a real face, in pictures with noise like a camera's."""
    rng = np.random.default_rng(7)
    places = [placed(200 + 0.4 * n, 150, 120) for n in range(30)]
    pictures = [
        (heads(SIZE, place) + rng.normal(0, 4, (SIZE[1], SIZE[0], 3))).clip(0, 255).astype(np.uint8)
        for place in places
    ]
    true = np.stack([moved(landmarks, place) for place in places])
    found = followed(pictures, true[0], finder)
    scale = 120 / FACE_WIDTH
    assert tremble(found, true) < 0.5 * scale
    assert tremble(smoothed(found, Cycle.PING_PONG), true) < tremble(found, true) / 2
