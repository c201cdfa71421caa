"""The shipped demo avatar: its files agree, its loop is seamless, its landmarks lie on its face."""

import hashlib
import importlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from musetalk_stream.avatar import Cycle, read_manifest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "avatars" / "demo"
SIZE, NUM_FRAMES = 512, 200

Luma = npt.NDArray[np.float32]  # [200, 512, 512]
Landmarks = npt.NDArray[np.float32]  # [200, 68, 2]


@pytest.fixture(scope="module")
def i420() -> npt.NDArray[np.uint8]:
    """uint8 [200, 768, 512]: the pictures as they ship."""
    with av.open(FOLDER / "source.mp4") as source:
        return np.stack([f.to_ndarray() for f in source.decode(video=0)])


@pytest.fixture(scope="module")
def luma(i420: npt.NDArray[np.uint8]) -> Luma:
    return i420[:, :SIZE].astype(np.float32)


@pytest.fixture(scope="module")
def landmarks() -> Landmarks:
    points: Landmarks = np.load(FOLDER / "landmarks.npy", allow_pickle=False)
    return points


@pytest.fixture
def drawing() -> Iterator[Any]:
    """Imports a module of the drawing script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield lambda name: importlib.import_module(f"demo_avatar.{name}")


LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))  # upper and lower


def eyes_open(landmarks: Landmarks) -> npt.NDArray[np.float32]:
    """[200]: height of the eyes by their width, whichever way the head leans."""
    span = [np.hypot(*(landmarks[:, low] - landmarks[:, up]).T) for up, low in LIDS]
    width = np.hypot(*(landmarks[:, 39] - landmarks[:, 36]).T)
    return np.asarray(np.mean(span, axis=0) / width, np.float32)


def runs(where: npt.NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    return [int(n) for n in edges[1::2] - edges[::2]]


def test_manifest_describes_the_shipped_pictures(i420: npt.NDArray[np.uint8]) -> None:
    manifest = read_manifest(FOLDER)
    video = (FOLDER / "source.mp4").read_bytes()
    assert (manifest.id, manifest.licence, manifest.cycle) == ("demo", "MIT", Cycle.FORWARD)
    assert (manifest.width, manifest.height, manifest.num_frames) == (SIZE, SIZE, NUM_FRAMES)
    assert manifest.fps == Fraction(25)
    assert manifest.source_sha256 == hashlib.sha256(video).hexdigest()
    assert manifest.name
    assert manifest.provenance
    assert i420.shape == (NUM_FRAMES, SIZE * 3 // 2, SIZE)
    assert len(video) < 3_000_000


def test_video_is_plain_h264_tagged_bt709_at_a_constant_rate() -> None:
    with av.open(FOLDER / "source.mp4") as source:
        assert [s.type for s in source.streams] == ["video"]
        stream = source.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        tags = (context.color_primaries, context.color_trc, context.colorspace)
        assert tags == (1, 1, 1)  # bt709
        assert context.color_range == 1  # limited
        assert stream.average_rate == 25
        times = [f.time for f in source.decode(stream)]
    assert times == pytest.approx([k / 25 for k in range(NUM_FRAMES)])


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((1, 0, 0), (63, 102, 240)),
        ((0, 1, 0), (173, 42, 26)),
        ((0, 0, 1), (32, 240, 118)),
    ],
)
def test_colours_are_converted_by_the_bt709_matrix(
    drawing: Any, rgb: tuple[float, ...], yuv: tuple[int, ...]
) -> None:
    flat = drawing("film").to_i420(np.full((SIZE, SIZE, 3), rgb, float)).ravel().astype(float)
    planes = np.split(flat, [SIZE**2, SIZE**2 * 5 // 4])
    assert [p.mean() for p in planes] == pytest.approx(yuv, abs=0.5)


def test_landmarks_are_a_frontal_face_inside_the_picture(landmarks: Landmarks) -> None:
    assert landmarks.shape == (NUM_FRAMES, 68, 2)
    assert landmarks.dtype == np.float32
    assert landmarks.min() > 0
    assert landmarks.max() < SIZE
    x, y = landmarks[..., 0], landmarks[..., 1]
    for first, last in ((0, 17), (17, 22), (22, 27), (31, 36), (48, 55), (60, 65)):
        assert (np.diff(x[:, first:last]) > 0).all(), (first, last)  # from left to right
    assert (y[:, :17].argmax(axis=1) == 8).all()  # the chin is the lowest
    assert ((y[:, 51] < y[:, 62]) & (y[:, 66] < y[:, 57])).all()
    mouth = np.hypot(*(landmarks[:, 54] - landmarks[:, 48]).T)
    assert mouth.min() > 80
    assert mouth.max() < 105
    assert abs(landmarks[:, 62] - landmarks[:, 66]).max() < 1  # the mouth is closed
    face = y[:, 8] - y[:, 17:27].mean(axis=1)
    assert face.min() > 185
    assert face.max() < 230


def test_the_mouth_line_is_the_darkest_between_the_lips(luma: Luma, landmarks: Landmarks) -> None:
    for frame in range(0, NUM_FRAMES, 20):
        for point in (61, 62, 63):
            x, y = np.rint(landmarks[frame, point]).astype(int)
            column = luma[frame, y - 6 : y + 7, x]
            assert abs(int(column.argmin()) - 6) <= 2, (frame, point)


def test_the_last_frame_leads_into_the_first(luma: Luma, landmarks: Landmarks) -> None:
    steps = np.array([np.abs(luma[k] - luma[k - 1]).mean() for k in range(NUM_FRAMES)])
    opened = eyes_open(landmarks)
    still = opened > 0.955 * opened.max()
    no_blink = still & np.roll(still, 1)
    no_blink[0] = False
    assert no_blink.sum() > 150
    assert steps[0] <= np.percentile(steps[no_blink], 95)


def test_lips_move_as_their_landmarks_say(luma: Luma, landmarks: Landmarks) -> None:
    lips = landmarks[:, 48:68]
    x, y = np.rint(lips[0].mean(axis=0)).astype(int)
    window = np.s_[y - 26 : y + 26, x - 54 : x + 54]
    origin = np.array([x - 54, y - 26])
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
    assert np.ptp(lips.mean(axis=1), axis=0).max() > 2  # there is something to follow
    for frame in range(10, NUM_FRAMES, 19):
        unmoved = np.eye(2, 3, dtype=np.float32)
        _, moved = cv2.findTransformECC(
            luma[0][window], luma[frame][window], unmoved, cv2.MOTION_AFFINE, enough
        )
        measured = (lips[0] - origin) @ moved[:, :2].T + moved[:, 2] + origin
        assert np.abs(measured - lips[frame]).mean() < 0.3, frame


def test_the_head_sways_a_little(landmarks: Landmarks) -> None:
    brows = landmarks[:, 22] - landmarks[:, 21]
    roll = np.rad2deg(np.arctan2(brows[:, 1], brows[:, 0]))
    assert 0.5 < np.ptp(roll) < 3
    travel = np.ptp(landmarks[:, 30], axis=0)
    assert travel.min() > 0.5
    assert travel.max() < 14


def test_eyes_blink_two_or_three_times(landmarks: Landmarks) -> None:
    opened = eyes_open(landmarks)
    assert opened.max() > 0.3
    blinks = runs(opened < 0.955 * opened.max())
    assert len(blinks) in (2, 3)
    assert all(5 <= length <= 7 for length in blinks)
    assert all(length >= 1 for length in runs(opened < 0.1))
    assert len(runs(opened < 0.1)) == len(blinks)


def test_closed_eyes_hide_the_iris(luma: Luma, landmarks: Landmarks) -> None:
    opened = eyes_open(landmarks)
    awake, asleep = int(opened.argmax()), int(opened.argmin())
    for corners in ((36, 39), (42, 45)):
        pupils = []
        for frame in (awake, asleep):
            x, y = landmarks[awake, corners, :].mean(axis=0) - (0, 4)
            x, y = round(float(x)), round(float(y))
            pupils.append(luma[frame, y - 3 : y + 3, x - 3 : x + 3].mean())
        assert pupils[1] > pupils[0] + 40


def test_the_background_does_not_move(i420: npt.NDArray[np.uint8]) -> None:
    corner = i420[:, :120, :60].astype(int)
    assert abs(corner - corner[0]).max() <= 4
    assert len(np.unique(corner[0])) > 5  # a gradient, not one flat tone


def test_drawing_again_gives_the_shipped_picture(drawing: Any, i420: npt.NDArray[np.uint8]) -> None:
    pytest.importorskip("skia", reason="skia-python draws the demo avatar; nothing else needs it")
    frame = 40
    portrait, film, motion = drawing("portrait"), drawing("film"), drawing("motion")
    drawn = film.reduced(portrait.draw(motion.pose(frame)))
    planes = film.to_i420(drawn)
    assert np.abs(planes.astype(int) - i420[frame]).mean() < 1.5
    with av.open(FOLDER / "source.mp4") as source:
        shown = next(f for k, f in enumerate(source.decode(video=0)) if k == frame)
        rgb = shown.to_ndarray(format="rgb24", src_colorspace="ITU709").astype(float) / 255
    assert rgb.mean(axis=(0, 1)) == pytest.approx(drawn.mean(axis=(0, 1)), abs=0.008)


def test_landmarks_are_the_drawing_s_own(drawing: Any, landmarks: Landmarks) -> None:
    motion = drawing("motion")
    again = np.stack([motion.landmarks(k) for k in range(NUM_FRAMES)])
    assert np.abs(again - landmarks).max() < 1e-3
