"""What the networks see of a picture, and which part of what they make is shown."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from musetalk_stream.renderers.musetalk.box import Box, crop_box, face_box
from musetalk_stream.renderers.musetalk.crop import face_crop, padded_crop, parsing_crop
from musetalk_stream.renderers.musetalk.mask import paste_mask
from musetalk_stream.renderers.musetalk.parsing import Mode, face_mask, labels_from_landmarks
from musetalk_stream.renderers.musetalk.resample import resized_bicubic, resized_bilinear

Bytes = npt.NDArray[np.uint8]

SIZE = (1280, 720)
DEMO = Path(__file__).parents[1] / "avatars" / "demo" / "landmarks.npy"


def face_at(left: float, right: float, middle: float, bottom: float) -> npt.NDArray[np.float64]:
    """Landmarks with that extent; all else of them is on the nose bridge."""
    points = np.full((68, 2), ((left + right) / 2, middle))
    points[0, 0], points[16, 0], points[8, 1] = left, right, bottom
    return points


def noise(*shape: int) -> Bytes:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


# --- the box


def test_the_nose_bridge_is_in_the_middle_of_the_box() -> None:
    face = face_at(100.9, 300.9, 200.9, 320.9)
    assert face_box(face, SIZE, margin=0) == (100, 80, 300, 320)
    assert face_box(face, SIZE) == (100, 80, 300, 330)
    assert face_box(face, SIZE, shift=5, margin=0) == (100, 90, 300, 320)


@pytest.mark.parametrize(
    ("face", "box"),
    [
        (face_at(100, 300, 50, 320), (100, 0, 300, 330)),  # the middle is too high for a box
        (face_at(100, 300, 600, 715), (100, 485, 300, 720)),  # no room for the margin
        (face_at(1100, 1400, 200, 320), (1100, 80, 1280, 330)),
        (face_at(-0.9, 300, 200, 320), (0, 80, 300, 330)),  # truncated, as the official code does
    ],
)
def test_a_box_ends_with_the_picture(face: npt.NDArray[np.float64], box: Box) -> None:
    assert face_box(face, SIZE) == box


@pytest.mark.parametrize(
    "face",
    [
        face_at(-5, 300, 200, 320),
        face_at(100, 100, 200, 320),
        face_at(100, 300, 200, 200),
    ],
)
def test_landmarks_that_make_no_box(face: npt.NDArray[np.float64]) -> None:
    assert face_box(face, SIZE) is None
    assert face_box(face, SIZE, detection=Box(60, 40, 130, 715)) == (60, 40, 130, 720)


@pytest.mark.parametrize("place", [(0, 0), (29, 1), (67, 1)])
def test_a_picture_without_a_face(place: tuple[int, int]) -> None:
    face = face_at(100, 300, 200, 320)
    face[place] = np.nan
    assert face_box(face, SIZE) is None


def test_a_face_outside_the_picture() -> None:
    assert face_box(face_at(1300, 1400, 200, 320), SIZE) is None
    assert face_box(face_at(100, 300, 900, 1000), SIZE) is None
    assert face_box(face_at(-9, 3, 90, 99), SIZE, detection=Box(1290, 40, 1400, 90)) is None


def test_no_box_is_too_small_for_what_comes_next() -> None:
    assert face_box(face_at(100, 101, 200, 201), SIZE, margin=0) is None
    box = face_box(face_at(100, 101, 200, 202), SIZE, margin=0)
    assert box == (100, 198, 101, 202)
    around = crop_box(box)
    assert box.within(around) == box
    assert paste_mask(np.full((512, 512), 255, np.uint8), box, around).any()


def test_the_crop_box_is_a_square_around_the_box() -> None:
    assert crop_box(Box(5, 20, 120, 150)) == (-35, -12, 159, 182)
    assert crop_box(Box(10, 10, 21, 15)) == (8, 5, 22, 19)  # 11 // 2 * 1.5 = 7.5, cut to 7


# --- crops


def test_a_crop_is_black_outside_the_picture() -> None:
    picture = noise(20, 30, 3)
    box = Box(-3, -2, 34, 25)
    official = np.asarray(Image.fromarray(picture).crop(box))
    np.testing.assert_array_equal(padded_crop(picture, box), official)
    assert not padded_crop(picture, Box(40, 5, 50, 15)).any()


def test_crops_have_the_size_that_the_networks_take() -> None:
    picture, box = noise(200, 300, 3), Box(101, 51, 144, 120)
    assert face_crop(picture, box).shape == (256, 256, 3)
    around = Box(-10, 20, 190, 220)
    shrunk = Image.fromarray(picture).crop(around).resize((512, 512), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(parsing_crop(picture, around), np.asarray(shrunk))


@pytest.mark.parametrize("size", [(194, 194), (512, 512), (777, 601), (7, 3)])
@pytest.mark.parametrize("shape", [(512, 512), (120, 90, 3)])
def test_resizing_is_pillows(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    picture = noise(*shape)
    picture[picture > 128] = 255  # steep, so that the cubic overshoots on both sides
    picture[picture < 64] = 0
    image = Image.fromarray(picture)
    bilinear = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized_bilinear(picture, *size), bilinear)
    bicubic = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resized_bicubic(picture, *size), bicubic)


# --- masks


def test_modes_differ_in_what_they_hold() -> None:
    labels = np.zeros((512, 512), np.uint8)
    labels[150:400, 100:412] = 1  # skin
    labels[200:260, 240:272] = 10  # nose
    labels[300:340, 200:312] = 12  # upper lip
    labels[420:500, 200:312] = 14  # neck
    raw, neck, jaw = (face_mask(labels, mode) == 255 for mode in (Mode.RAW, Mode.NECK, Mode.JAW))
    assert raw.sum() == 250 * 312 - 60 * 32
    assert (neck & ~raw).sum() == 80 * 112
    assert jaw[400:410, 200:312].any()  # below the chin
    assert not jaw[200:260, 240:272].any()
    assert jaw[300:340, 200:312].all()
    assert not jaw[:, :110].any()  # thinner at the cheeks
    assert raw[:, 100:110].any()


def test_wider_cheeks_are_thinned_less() -> None:
    labels = np.zeros((512, 512), np.uint8)
    labels[150:400, 230:282] = 1
    narrow, wide = (face_mask(labels, cheek_widths=(width, width)) for width in (1, 90))
    assert (narrow > 0).sum() < (wide > 0).sum()


def demo_labels() -> Bytes:
    landmarks = np.load(DEMO)[0].astype(np.float32)
    box = face_box(landmarks, (512, 512))
    assert box is not None
    return labels_from_landmarks(landmarks, crop_box(box))


def official_mask(mask: Bytes, box: Box, around: Box) -> Bytes:
    """As the official `get_image_prepare_material` makes it, with Pillow."""
    large = Image.fromarray(mask).resize((around.width, around.height))
    inside = box.seen_from(around)
    boxed = Image.new("L", large.size, 0)
    boxed.paste(large.crop(inside), inside)
    top = int(around.height * 0.5)
    lower = Image.new("L", large.size, 0)
    lower.paste(boxed.crop((0, top, around.width, around.height)), (0, top))
    kernel = int(0.1 * around.width // 2 * 2) + 1
    return np.asarray(cv2.GaussianBlur(np.array(lower), (kernel, kernel), 0), np.uint8)


@pytest.mark.parametrize(
    "box", [Box(100, 60, 500, 460), Box(5, 20, 120, 151), Box(3, 3, 14, 15), Box(0, 0, 500, 700)]
)
@pytest.mark.parametrize("mode", Mode)
def test_the_mask_is_the_official_one(box: Box, mode: Mode) -> None:
    mask = face_mask(demo_labels(), mode)
    around = crop_box(box)
    np.testing.assert_array_equal(paste_mask(mask, box, around), official_mask(mask, box, around))


def test_seam_and_upper_border_can_be_chosen() -> None:
    box = Box(100, 60, 500, 460)
    full = np.full((512, 512), 255, np.uint8)
    hard = paste_mask(full, box, crop_box(box), upper=0.75, blur=0)
    inside = box.seen_from(crop_box(box))
    rows, columns = np.nonzero(hard)
    assert (rows.min(), rows.max() + 1) == (450, inside.y2)
    assert (columns.min(), columns.max() + 1) == (inside.x1, inside.x2)
    soft = paste_mask(full, box, crop_box(box))
    assert np.unique(soft).size > 100


def test_landmarks_draw_a_face() -> None:
    landmarks = np.load(DEMO)[0].astype(np.float32)
    box = face_box(landmarks, (512, 512))
    assert box is not None
    around, labels = crop_box(box), demo_labels()

    def label_at(point: npt.NDArray[np.float32]) -> int:
        x, y = (point - around[:2]) * 512 / around.width
        return int(labels[int(y), int(x)])

    cheek = landmarks[[2, 31]].mean(axis=0)
    assert label_at(cheek) == 1
    assert label_at(landmarks[[28, 31, 35]].mean(axis=0)) == 10
    assert label_at(landmarks[[51, 62]].mean(axis=0)) == 12
    assert label_at(landmarks[[57, 66]].mean(axis=0)) == 13
    assert label_at(landmarks[8] + [0, 9]) == 0
    assert set(np.unique(labels)) <= {0, 1, 10, 11, 12, 13}
    opened = landmarks.copy()
    opened[55:60, 1] += 15
    opened[65:68, 1] += 15
    assert (labels_from_landmarks(opened, around) == 11).sum() > (labels == 11).sum() + 100
