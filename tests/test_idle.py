"""Idle motion of a photo: gentle, seamless, rigid in the face, and true to its landmarks."""

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fakes import face_landmarks
from skimage.data import astronaut

from musetalk_stream.prepare.idle import IDLE_FPS, IDLE_FRAMES, idle

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]


def face(left: float, top: float, side: float) -> Points:
    """The chin is at 0.9 of `side`, the jaw 0.7 of it wide."""
    unit = face_landmarks(1, 1000)[0] / 1000
    return np.asarray(unit * side + (left, top), np.float32)


def portrait() -> tuple[Picture, Points]:
    return np.ascontiguousarray(astronaut()[..., ::-1]), face(155, 43, 135)


def with_dots(width: int, height: int, places: Points) -> Picture:
    """Bright round spots on grey."""
    x, y = np.arange(width), np.arange(height)[:, None]
    grey = np.full((height, width), 60.0)
    for dot_x, dot_y in places:
        grey += 150 * np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / (2 * 2.0**2))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def dot_near(picture: Picture, place: Points) -> Points:
    """The centre of the bright spot around a place."""
    left, top = (max(0, round(float(each)) - 6) for each in place)
    light = picture[top : top + 13, left : left + 13, 0].astype(float) - 60
    light[light < 8] = 0
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    centre = [(light * each).sum() / light.sum() for each in (columns, rows)]
    return np.asarray(centre + np.array([left, top]), np.float32)


# Left, top, side of the face in a picture of 320 x 240.
PLACES = pytest.mark.parametrize(
    "where",
    [
        pytest.param((100, 40, 110), id="middle"),
        pytest.param((45, -30, 230), id="close-up"),
        pytest.param((10, 15, 90), id="top left"),
        pytest.param((220, 140, 90), id="bottom right"),
        pytest.param((150, 100, 30), id="far away"),
    ],
)


@PLACES
def test_landmarks_go_where_the_pixels_go(where: tuple[float, float, float]) -> None:
    points = face(*where)
    marked = [8, 45]  # the chin and an eye; even in small faces they are apart
    loop = list(idle(with_dots(320, 240, points[marked]), points))
    for picture, moved in loop[::23]:
        for place in moved[marked]:
            assert np.abs(dot_near(picture, place) - place).max() < 0.3


@PLACES
def test_the_loop_is_gentle(where: tuple[float, float, float]) -> None:
    points = face(*where)
    loop = [moved for _, moved in idle(np.zeros((240, 320, 3), np.uint8), points)]
    assert len(loop) == IDLE_FRAMES == 8 * IDLE_FPS
    assert np.abs(loop[0] - points).max() < 1e-3, "it begins with the photo"
    side = where[2]
    assert max(np.abs(moved - points).max() for moved in loop) < 0.03 * side
    # No seam and no jerk.
    steps = [after - before for before, after in pairwise([*loop, loop[0]])]
    assert max(np.abs(step).max() for step in steps) < 0.002 * side
    turns = [after - before for before, after in pairwise([*steps, steps[0]])]
    assert max(np.abs(turn).max() for turn in turns) < 0.0003 * side
    # The face moves as one.
    assert max(np.abs(spans(moved) - spans(points)).max() for moved in loop) < 0.05


def spans(points: Points) -> Points:
    """How far each point is from each: `[68, 68]`."""
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1), np.float32)


def test_it_can_be_seen() -> None:
    picture, points = portrait()
    loop = list(idle(picture, points))
    reach = np.ptp([moved for _, moved in loop], axis=0)
    assert reach[8].max() > 1.0, "the chin of a face of 95 pixels"
    chest = np.array([shown[215:300, 130:220].astype(int) for shown, _ in loop[::10]])
    assert np.ptp(chest, axis=0).mean() > 1.0


@PLACES
def test_borders_hold_still(where: tuple[float, float, float]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3), np.uint8)
    coarse = cv2.GaussianBlur(noise, (0, 0), 3)
    for shown, _ in list(idle(np.asarray(coarse), face(*where)))[::20]:
        apart = np.abs(shown.astype(int) - coarse)
        for border in (apart[0], apart[-1], apart[:, 0], apart[:, -1]):
            assert border.max() <= 1


def test_the_background_holds_still() -> None:
    picture, points = portrait()
    for shown, _ in list(idle(picture, points))[::20]:
        apart = np.abs(shown.astype(int) - picture)
        assert apart[:160, :60].max() <= 2  # above the shoulders
        assert apart[:160, 380:].max() <= 2


def test_no_line_is_torn_or_folded() -> None:
    points = face(100, 40, 110)
    slope = np.tile(np.linspace(0, 255, 320), (240, 1))
    picture = np.repeat(slope.astype(np.uint8)[..., None], 3, axis=2)
    for shown, _ in list(idle(picture, points))[::20]:
        across = np.diff(shown[..., 0].astype(int), axis=1)
        assert across.min() >= 0
        assert across.max() <= 2


def test_sharpness_does_not_pulse() -> None:
    picture, points = portrait()
    seen = []
    for shown, _ in idle(picture, points):
        grey = cv2.cvtColor(shown[60:165, 175:270], cv2.COLOR_BGR2GRAY)
        across, down = (cv2.Sobel(grey, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
        seen.append(float((across**2 + down**2).mean()))
    assert max(seen) / min(seen) < 1.03


def test_a_face_at_the_border_moves_less_and_one_cut_by_it_holds_still() -> None:
    picture = np.zeros((240, 320, 3), np.uint8)

    def reach(points: Points) -> float:
        return float(np.ptp([moved for _, moved in idle(picture, points)], axis=0).max())

    free, near, cut = face(100, 60, 100), face(-13, 60, 100), face(-30, 60, 100)
    assert 0 < reach(near) < 0.5 * reach(free)
    assert reach(cut) == 0


@pytest.mark.parametrize("size", [(64, 48), (66, 1280), (2, 2)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    loop = idle(picture, face(width * 0.2, height * 0.2, min(size) * 0.5))
    assert all(np.array_equal(shown, picture) for shown, _ in loop)
