"""A face is found in a picture, wherever and however large it is, or the error says what to do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from portraits import FACE_WIDTH, astronaut, heads, moved, placed
from skimage import data

from musetalk_stream.errors import (
    FaceCut,
    FaceFinderMissing,
    FaceTooSmall,
    InvalidParameter,
    NoFace,
)
from musetalk_stream.prepare.faces import Bgr, FaceFinder, Rect, make_finder
from musetalk_stream.prepare.faces.look import Look, look, read_look
from musetalk_stream.prepare.faces.mean_face import MIRRORED, mean_face
from musetalk_stream.prepare.request import FaceHint

pytest.importorskip("mediapipe", reason="the extra `face` has no wheel for this Python")

LIPS = slice(48, 68)
# Places in the astronaut, as one sees them.
MOUTH = (200.0, 136.0, 248.0, 158.0)
CORNERS = [(202.3, 139.6), (245.4, 140.7)]
PUPILS = [(203.4, 100.8), (247.0, 103.3)]
CHIN = (222.0, 178.0)
NOSE_TIP = (223.0, 126.7)


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceFinder]:
    finder = make_finder("mediapipe", tmp_path_factory.mktemp("no models"))
    yield finder
    finder.close()


@pytest.fixture(scope="module")
def landmarks(finder: FaceFinder) -> npt.NDArray[np.float32]:
    """Of the astronaut."""
    (face,) = finder.faces(astronaut())
    return face.landmarks


def seen(
    picture: Bgr,
    finder: FaceFinder | None,
    hint: FaceHint = FaceHint(),  # noqa: B008
) -> Look:
    return look([lambda: picture], hint, finder)


def mean_error(found: npt.NDArray[np.float32], true: npt.NDArray[np.float32]) -> float:
    """In widths of the face."""
    return float(np.linalg.norm(found - true, axis=1).mean() / np.ptp(true[:, 0]))


def marks(points: npt.NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def away(point: npt.NDArray[np.float32], place: tuple[float, float]) -> float:
    return float(np.linalg.norm(point - place))


# --- where landmarks are


def test_landmarks_are_where_one_sees_them(landmarks: npt.NDArray[np.float32]) -> None:
    assert landmarks.shape == (68, 2)
    assert landmarks.dtype == np.float32
    left, top, right, bottom = MOUTH
    assert (landmarks[LIPS] > (left, top)).all()
    assert (landmarks[LIPS] < (right, bottom)).all()
    assert away(landmarks[48], CORNERS[0]) < 2.5
    assert away(landmarks[54], CORNERS[1]) < 2.5
    assert away(landmarks[36:42].mean(axis=0), PUPILS[0]) < 3
    assert away(landmarks[42:48].mean(axis=0), PUPILS[1]) < 3
    assert away(landmarks[8], CHIN) < 3
    assert away(landmarks[30], NOSE_TIP) < 4


@pytest.mark.parametrize("whose", ["found", "mean"])
def test_landmarks_are_those_of_a_face(whose: str, landmarks: npt.NDArray[np.float32]) -> None:
    """The order of iBUG 300-W, which everything that draws relies on."""
    points = landmarks if whose == "found" else mean_face((100, 100, 200, 210))
    x, y = points[:, 0], points[:, 1]
    width = float(np.ptp(x))
    assert (np.diff(x[:17]) > -0.02 * width).all()  # the jaw, from the picture's left
    assert y[8] == y.max()
    for run in (range(17, 27), (36, 39, 42, 45), range(31, 36), range(48, 55), range(60, 65)):
        assert (np.diff(x[list(run)]) > 0).all(), run
    assert (np.diff(y[27:31]) > 0).all()  # down the nose
    assert y[17:27].max() < y[36:48].min() < y[30] < y[33] < y[51] < y[62] <= y[66] < y[57] < y[8]
    assert (y[[37, 38, 43, 44]] < y[[41, 40, 47, 46]]).all()  # upper lids above lower ones
    assert (y[50:53] < y[61:64]).all()
    assert (y[[58, 57, 56]] > y[[67, 66, 65]]).all()


def test_landmarks_are_symmetric(landmarks: npt.NDArray[np.float32]) -> None:
    """A frontal face is its own mirror image, about; the mean one is exactly."""
    for points, limit in ((landmarks, 0.05), (mean_face((100, 100, 200, 210)), 1e-6)):
        mirror = points[list(MIRRORED)] * (-1, 1)
        mirror += points[27:31].mean(axis=0) - mirror[27:31].mean(axis=0)
        assert mean_error(mirror, points) < limit


def test_the_mean_face_fills_its_box() -> None:
    points = mean_face((10, 20, 110, 150))
    np.testing.assert_allclose(points.min(axis=0), (10, 20), atol=1e-4)
    np.testing.assert_allclose(points.max(axis=0), (110, 150), atol=1e-4)


def test_a_mean_face_is_like_a_found_one(landmarks: npt.NDArray[np.float32]) -> None:
    box = (*landmarks.min(axis=0).tolist(), *landmarks.max(axis=0).tolist())
    assert mean_error(mean_face(box), landmarks) < 0.06


@pytest.mark.parametrize(
    ("face_width", "roll_deg", "limit"),
    [
        (64, 0, 0.02),  # 5 % of the picture's width
        (100, 0, 0.015),
        (184, 0, 0.01),
        (500, 0, 0.01),
        (150, 15, 0.015),
        (150, -15, 0.015),
        (150, 30, 0.02),
    ],
)
def test_faces_of_all_sizes(
    finder: FaceFinder,
    landmarks: npt.NDArray[np.float32],
    face_width: float,
    roll_deg: float,
    limit: float,
) -> None:
    matrix = placed(700, 360, face_width, roll_deg)
    found = seen(heads((1280, 720), matrix), finder)
    assert mean_error(found.points, moved(landmarks, matrix)) < limit


def test_the_same_picture_has_the_same_landmarks(
    finder: FaceFinder, landmarks: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    other = make_finder("mediapipe", tmp_path)
    np.testing.assert_array_equal(other.faces(astronaut())[0].landmarks, landmarks)
    other.close()
    np.testing.assert_array_equal(finder.faces(astronaut())[0].landmarks, landmarks)


def test_a_face_near_a_box(finder: FaceFinder, landmarks: npt.NDArray[np.float32]) -> None:
    (face,) = finder.faces(astronaut())
    left, top, right, bottom = face.box
    face_near = finder.near(astronaut(), (left + 20, top - 15, right + 20, bottom - 15))
    assert face_near
    assert mean_error(face_near.landmarks, landmarks) < 0.01
    assert finder.near(astronaut(), (380, 350, 480, 450)) is None


# --- which face


BOTH = (placed(250, 200, 100), placed(700, 260, 180))


def test_of_several_faces_the_largest(
    finder: FaceFinder, landmarks: npt.NDArray[np.float32]
) -> None:
    found = seen(heads((1000, 520), *BOTH), finder)
    assert [found.chosen, len(found.faces)] == [0, 2]
    assert mean_error(found.points, moved(landmarks, BOTH[1])) < 0.02
    assert found.notes[0] == "There are 2 faces; the one that speaks is marked."


@pytest.mark.parametrize("point", [(250, 200), (300, 215), (40, 10)])
def test_of_several_faces_the_one_around_or_next_to_a_point(
    finder: FaceFinder, landmarks: npt.NDArray[np.float32], point: tuple[float, float]
) -> None:
    found = seen(heads((1000, 520), *BOTH), finder, FaceHint(point=point))
    assert found.chosen == 1
    assert mean_error(found.points, moved(landmarks, BOTH[0])) < 0.02


def test_the_face_in_a_box(finder: FaceFinder, landmarks: npt.NDArray[np.float32]) -> None:
    found = seen(heads((1000, 520), *BOTH), finder, FaceHint(box=(190, 140, 310, 260)))
    assert mean_error(found.points, moved(landmarks, BOTH[0])) < 0.02
    assert found.finder == finder.name
    assert len(found.faces) == 1


def test_the_first_picture_with_a_good_face(finder: FaceFinder) -> None:
    size = (400, 300)
    pictures = [
        heads(size),  # none
        heads(size, placed(200, 290, 100)),  # cut
        heads(size, placed(200, 150, 100)),
        heads(size, placed(200, 150, 140)),
    ]
    found = look([lambda p=p: p for p in pictures], FaceHint(), finder)  # type: ignore[misc]
    assert found.frame == 2


# --- by hand


@pytest.mark.parametrize("with_finder", [True, False])
def test_a_box_around_what_nothing_recognises(finder: FaceFinder, *, with_finder: bool) -> None:
    box = (100.0, 80.0, 220.0, 220.0)
    found = seen(heads((400, 300)), finder if with_finder else None, FaceHint(box=box))
    np.testing.assert_allclose(found.points, mean_face(box), atol=1e-3)
    assert found.finder == "by hand"
    assert "No face was recognised in the box" in found.notes[0]
    assert found.mask


def test_a_box_beside_a_face_does_not_mean_the_face(finder: FaceFinder) -> None:
    box = (290.0, 60.0, 380.0, 180.0)
    assert seen(astronaut(), finder, FaceHint(box=box)).finder == "by hand"


def test_a_face_in_a_box_that_is_much_larger(
    finder: FaceFinder, landmarks: npt.NDArray[np.float32]
) -> None:
    for box in ((0, 0, 512, 512), (-1e6, -1e6, 1e6, 1e6)):
        found = seen(astronaut(), finder, FaceHint(box=box))
        assert found.finder == finder.name
        assert mean_error(found.points, landmarks) < 0.02


def test_a_huge_box_without_a_face(finder: FaceFinder) -> None:
    with pytest.raises(FaceCut):
        seen(heads((400, 300)), finder, FaceHint(box=(-1e6, -1e6, 1e6, 1e6)))
    assert finder.near(astronaut(), (-1e6, -1e6, 1e6, 1e6)) is None


def test_landmarks_are_used_as_they_are(finder: FaceFinder) -> None:
    points = tuple((float(x), float(y)) for x, y in mean_face((100, 80, 220, 220)))
    found = seen(astronaut(), finder, FaceHint(landmarks=points))
    np.testing.assert_array_equal(found.points, np.array(points, np.float32))
    assert found.finder == "by hand"


SCATTERED = np.random.default_rng(7).uniform(100, 400, (68, 2)).astype(np.float32)


@pytest.mark.parametrize("point", [(-1, 100), (100, 512.5), (float("nan"), 100)])
def test_a_point_outside_the_picture(finder: FaceFinder, point: tuple[float, float]) -> None:
    with pytest.raises(InvalidParameter, match="face_point"):
        seen(astronaut(), finder, FaceHint(point=point))


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        (FaceHint(box=(600, 600, 700, 700)), "face_box"),
        (FaceHint(box=(-90, 10, -20, 60)), "face_box"),
        (FaceHint(box=(200, 200, 100, 300)), "face_box"),
        (FaceHint(box=(100, 100, float("nan"), 300)), "face_box"),
        (FaceHint(box=(300, 400, 500, 401)), "face_box"),
        (FaceHint(landmarks=((1, 2), (3, 4))), "landmarks"),
        (FaceHint(landmarks=marks(mean_face((100, 300, 400, 301)))), "landmarks"),
        (FaceHint(landmarks=marks(512 - mean_face((100, 100, 400, 400)))), "landmarks"),
        (FaceHint(landmarks=marks(mean_face((0, 0, 90, 90))[::-1])), "landmarks"),
        (FaceHint(landmarks=marks(SCATTERED)), "landmarks"),
        (FaceHint(landmarks=((float("inf"), 2),) * 68), "landmarks"),
    ],
)
def test_hints_that_can_not_be(finder: FaceFinder, hint: FaceHint, named: str) -> None:
    for each in (finder, None):
        with pytest.raises(InvalidParameter, match=named):
            seen(astronaut(), each, hint)


# --- what can't be used


@pytest.mark.parametrize("what", ["coffee", "noise", "grey"])
def test_a_picture_without_a_face(finder: FaceFinder, what: str) -> None:
    picture = {
        "coffee": np.asarray(data.coffee()[..., ::-1]).copy(),
        "noise": np.random.default_rng(7).integers(0, 256, (300, 400, 3)).astype(np.uint8),
        "grey": heads((400, 300)),
    }[what]
    with pytest.raises(NoFace, match="towards the camera"):
        seen(picture, finder)


@pytest.mark.parametrize(
    ("rows", "columns", "what"),
    [
        (slice(0, 158), slice(None), "chin"),
        (slice(0, 145), slice(None), "mouth"),
        (slice(105, None), slice(None), "eyes"),
        (slice(None), slice(0, 235), "mouth|eyes"),
    ],
)
def test_a_face_that_the_border_cuts(
    finder: FaceFinder, rows: slice, columns: slice, what: str
) -> None:
    with pytest.raises(FaceCut, match=what):
        seen(astronaut()[rows, columns].copy(), finder)


def test_of_several_faces_one_that_is_whole(finder: FaceFinder) -> None:
    picture = heads((500, 400), placed(320, 380, 150), placed(120, 120, 80))
    found = seen(picture, finder)
    assert found.chosen == 1
    with pytest.raises(FaceCut, match=r"choose another face \(face_point\)"):
        seen(picture, finder, FaceHint(point=(320, 350)))


@pytest.mark.parametrize("roll_deg", range(0, 360, 15))
def test_lips_are_below_the_eyes_however_the_head_is_turned(
    finder: FaceFinder, landmarks: npt.NDArray[np.float32], roll_deg: int
) -> None:
    place = placed(250, 250, 92, roll_deg)
    border = cv2.warpAffine(astronaut(), place, (500, 500), borderMode=cv2.BORDER_REPLICATE)
    try:
        found = seen(np.asarray(border, np.uint8), finder)
    except NoFace:
        assert 105 <= roll_deg <= 255
    else:
        assert mean_error(found.points, moved(landmarks, place)) < 0.1


def test_a_head_upside_down(finder: FaceFinder) -> None:
    for hint in (FaceHint(), FaceHint(point=(300, 380))):
        with pytest.raises(NoFace, match=r"upside down .*: turn the picture"):
            seen(astronaut()[::-1, ::-1].copy(), finder, hint)


def test_a_face_that_just_touches_the_border_is_kept_in(finder: FaceFinder) -> None:
    found = seen(astronaut()[:174, 180:].copy(), finder)
    assert (found.points >= 0).all()
    assert (found.points <= (found.width - 1, found.height - 1)).all()


def test_a_face_that_is_too_small(finder: FaceFinder) -> None:
    with pytest.raises(FaceTooSmall, match=r"is (39|40|41) pixels wide, and 48 are the least"):
        seen(heads((400, 300), placed(200, 150, 40)), finder)


# --- what is told


@pytest.mark.parametrize(
    ("face_width", "roll_deg", "notes"),
    [(70, 0, ["soft"]), (200, 0, []), (450, 0, ["MuseTalk draws 256"]), (200, 30, ["tilted"])],
)
def test_notes(finder: FaceFinder, face_width: float, roll_deg: float, notes: list[str]) -> None:
    found = seen(heads((1000, 800), placed(500, 400, face_width, roll_deg)), finder)
    notes = [*notes, "lips are apart"]  # she smiles
    assert len(found.notes) == len(notes)
    assert all(word in note for word, note in zip(notes, found.notes, strict=True))


def test_closed_lips_are_not_told(finder: FaceFinder) -> None:
    points = mean_face((100, 80, 220, 220))
    points[65:68] = points[[63, 62, 61]]
    assert seen(astronaut(), finder, FaceHint(landmarks=marks(points))).notes == []


def test_lips_of_a_video_may_be_apart(finder: FaceFinder) -> None:
    """They are so because somebody speaks, and need not stay so."""
    found = look([astronaut] * 2, FaceHint(), finder)
    assert not any("lips are apart" in note for note in found.notes)


def test_a_profile_is_told(finder: FaceFinder) -> None:
    photographer = np.repeat(data.camera()[..., None], 3, axis=2)
    assert any("turned to the side" in note for note in seen(photographer, finder).notes)


def test_the_mask_is_around_the_mouth_and_below_the_eyes(finder: FaceFinder) -> None:
    found = seen(astronaut(), finder)
    (outline,) = found.mask
    assert 8 <= len(outline) <= 60
    x, y = np.array(outline).T
    lips = found.points[LIPS]
    assert x.min() < lips[:, 0].min() < lips[:, 0].max() < x.max()
    assert found.points[36:48, 1].max() < y.min() < lips[:, 1].min() < lips[:, 1].max() < y.max()
    left, _, right, bottom = found.faces[0][0]
    assert x.min() > left - 2
    assert x.max() < right + 2
    assert y.max() < bottom + 12


def test_a_look_is_kept_as_it_is(finder: FaceFinder) -> None:
    found = seen(heads((1000, 520), *BOTH), finder)
    assert read_look(found.to_json()) == found
    for text in ("{", "{}", '{"faces": 3}'):
        with pytest.raises((ValueError, KeyError, TypeError)):
            read_look(text)


# --- which finder


def test_a_finder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FaceFinderMissing, match=r"dwpose needs .*dw-ll_ucoco_384\.onnx"):
        make_finder("dwpose", tmp_path)
    with pytest.raises(FaceFinderMissing) as missing:
        make_finder("dwpose", tmp_path)
    assert "[face]" not in str(missing.value), "mediapipe is not what was asked for"
    for hint in (FaceHint(), FaceHint(point=(3, 4))):
        with pytest.raises(FaceFinderMissing, match=r"\[face\].* by hand"):
            seen(astronaut(), None, hint)


@pytest.mark.parametrize("choice", ["auto", "mediapipe"])
def test_without_mediapipe(tmp_path: Path, choice: str) -> None:
    """As where its wheel is not installed, or can't be loaded."""
    code = (
        "import sys; sys.modules['mediapipe'] = None\n"
        "from pathlib import Path\n"
        "from musetalk_stream.prepare.faces import make_finder\n"
        f"make_finder({choice!r}, Path({str(tmp_path)!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = run.stderr.splitlines()[-1]
    assert last.startswith("musetalk_stream.errors.FaceFinderMissing")
    assert "mediapipe can't be loaded" in last
    assert ("dwpose needs" in last) == (choice == "auto")
    assert "pip install 'musetalk-stream[face]'" in last


def test_nothing_is_said_on_standard_error(tmp_path: Path) -> None:
    """Where progress is shown, or a log is kept."""
    code = (
        "from pathlib import Path\n"
        "from portraits import astronaut\n"
        "from musetalk_stream.prepare.faces import make_finder\n"
        f"finder = make_finder('mediapipe', Path({str(tmp_path)!r}))\n"
        "assert len(finder.faces(astronaut())) == 1\n"
        "finder.close()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
        env={"PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parent}"},
    )
    assert run.stderr == ""


def test_rectangles_are_left_top_right_bottom(finder: FaceFinder) -> None:
    (face,) = finder.faces(astronaut())
    box: Rect = face.box
    assert box[0] < 190 < 260 < box[2]
    assert box[1] < 95 < 170 < box[3]
    assert face.width == pytest.approx(FACE_WIDTH, abs=2)
    assert 0.5 <= face.score <= 1
