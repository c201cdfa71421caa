"""A generated face in the picture: near the official blend, and nothing else is touched."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from musetalk_stream.blend import Picture, i420_planes, mix
from musetalk_stream.renderers import Mouth, between
from musetalk_stream.renderers.musetalk.box import Box, crop_box
from musetalk_stream.renderers.musetalk.colour import bgr_of, i420_of
from musetalk_stream.renderers.musetalk.crop import fitted
from musetalk_stream.renderers.musetalk.mask import paste_mask
from musetalk_stream.renderers.musetalk.region import FaceMouth, FaceRegion, Placement, place

Bytes = npt.NDArray[np.uint8]

VECTORS = Path(__file__).parent / "data" / "parity"
WIDTH, HEIGHT = 320, 240
FULL_MASK = np.full((512, 512), 255, np.uint8)


def smooth_picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Bytes:
    """Random colours that change over a few pixels, as those of a photograph do."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    image = Image.fromarray(coarse.astype(np.uint8)).resize((width, height))
    return np.ascontiguousarray(image)


def official_blend(frame: Bytes, face: Bytes, box: Box, around: Box, mask: Bytes) -> Bytes:
    """As the official `get_image_blending` does it, with Pillow."""
    body = Image.fromarray(frame)
    large = body.crop(around)
    large.paste(Image.fromarray(fitted(face, box)), box.seen_from(around))
    body.paste(large, around[:2], Image.fromarray(mask))
    return np.asarray(body)


def picture_of(planes: Picture) -> Picture:
    """A writable copy whose rows are longer than its width, as an encoder's are."""

    def padded(plane: Bytes) -> Bytes:
        roomy = np.full((plane.shape[0], plane.shape[1] + 32), 99, np.uint8)
        roomy[:, : plane.shape[1]] = plane
        return roomy[:, : plane.shape[1]]

    return Picture(padded(planes.luma), padded(planes.cb), padded(planes.cr))


def placement_of(box: Box) -> Placement:
    around = crop_box(box)
    placement = place(paste_mask(FULL_MASK, box, around), box, around, (WIDTH, HEIGHT))
    assert placement is not None
    return placement


def distance(ours: Bytes, theirs: Bytes) -> Bytes:
    return np.asarray(np.abs(ours.astype(np.int16) - theirs), np.uint8)


# --- the formula


def test_mix_is_pillows_for_all_levels() -> None:
    source, face = np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 2)
    for level in range(256):
        mask = np.full(source.shape, level, np.uint8)
        image = Image.fromarray(source)
        image.paste(Image.fromarray(face), mask=Image.fromarray(mask))
        np.testing.assert_array_equal(mix(source, face, mask), np.asarray(image))


def test_mix_of_three_channels() -> None:
    source, face = smooth_picture(1), smooth_picture(2)
    mask = smooth_picture(3)[..., 0]
    mixed = mix(source, face, mask)
    for channel in range(3):
        single = mix(source[..., channel], face[..., channel], mask)
        np.testing.assert_array_equal(mixed[..., channel], single)


# --- colours


@pytest.mark.parametrize(
    ("bgr", "ycc"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 255), (63, 102, 240)),  # red: BT.601 would have luma 81
        ((0, 255, 0), (173, 42, 26)),
        ((255, 0, 0), (32, 240, 118)),
    ],
)
def test_colours_are_bt709_of_limited_range(
    bgr: tuple[int, int, int], ycc: tuple[int, int, int]
) -> None:
    picture = np.full((4, 6, 3), bgr, np.uint8)
    planes = i420_of(picture)
    assert (planes.luma.shape, planes.cb.shape, planes.cr.shape) == ((4, 6), (2, 3), (2, 3))
    for plane, level in zip((planes.luma, planes.cb, planes.cr), ycc, strict=True):
        assert (plane == level).all()
    assert distance(bgr_of(planes, Box(0, 0, 6, 4)), picture).max() <= 2


def test_there_and_back_moves_no_colour() -> None:
    planes = i420_of(smooth_picture(4))
    again = i420_of(bgr_of(planes, Box(0, 0, WIDTH, HEIGHT)))
    # Random levels go beyond what BGR holds, here and there, and are clipped.
    assert distance(again.luma, planes.luma).mean() < 0.1
    for ours, theirs in ((again.cb, planes.cb), (again.cr, planes.cr)):
        assert distance(ours, theirs).mean() < 0.5


def test_a_rectangle_has_the_colours_of_the_whole() -> None:
    planes = i420_of(smooth_picture(5))
    whole = bgr_of(planes, Box(0, 0, WIDTH, HEIGHT))
    for rect in (Box(13, 21, 88, 90), Box(0, 0, 7, 5), Box(WIDTH - 3, HEIGHT - 9, WIDTH, HEIGHT)):
        part = whole[rect.y1 : rect.y2, rect.x1 : rect.x2]
        np.testing.assert_array_equal(bgr_of(planes, rect), part)


# --- the face in its place

BOXES = {
    "inside": Box(110, 70, 200, 180),
    "odd": Box(111, 71, 204, 182),
    "at the left and the top": Box(0, 0, 91, 111),
    "at the right and the bottom": Box(229, 123, WIDTH, HEIGHT),
    "beyond the right": Box(281, 101, WIDTH + 30, 190),
    "beyond the bottom": Box(100, 151, 211, HEIGHT + 11),
    "tiny": Box(51, 61, 62, 74),
    "larger than the generated face": Box(3, 1, 303, 239),
}


def distances(ours: Picture, theirs: Picture, rect: Box) -> list[Bytes]:
    """Of luma, Cb and Cr within a rectangle."""
    half = Box(*(edge // 2 for edge in rect))
    return [
        distance(mine, other)[at.y1 : at.y2, at.x1 : at.x2]
        for mine, other, at in (
            (ours.luma, theirs.luma, rect),
            (ours.cb, theirs.cb, half),
            (ours.cr, theirs.cr, half),
        )
    ]


@pytest.mark.parametrize("name", ["blend_inside", "blend_crop_off_edge"])
def test_near_the_official_result(name: str) -> None:
    with np.load(VECTORS / f"{name}.npz") as vectors:
        frame, box, around = vectors["frame"], Box(*vectors["box"]), Box(*vectors["crop_box"])
        placement = place(vectors["mask_jaw"], box, around, (frame.shape[1], frame.shape[0]))
        face, official = vectors["face256"], i420_of(vectors["blend_jaw"])
    assert placement is not None
    into = i420_of(frame)
    FaceRegion(placement, face).paste(into)
    for plane in distances(into, official, placement.rect):
        assert plane.max() <= 1
        assert plane.mean() < 0.2


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
def test_near_the_official_blend(box: Box) -> None:
    frame, face = smooth_picture(6), smooth_picture(7, 256, 256)
    around = crop_box(box)
    mask = paste_mask(FULL_MASK, box, around)
    official = i420_of(official_blend(frame, face, box, around, mask))
    into, placement = picture_of(i420_of(frame)), placement_of(box)
    FaceRegion(placement, face).paste(into)
    luma, cb, cr = distances(into, official, placement.rect)
    assert luma.max() <= 1
    assert luma.mean() < 0.2
    # A mask that is as steep as it is here is not the same for all four pixels of a chroma sample.
    # The tiny face was shrunk to noise, so that the four differ in colour, too.
    worst, average = (30, 3) if box == BOXES["tiny"] else (3, 0.3)
    for chroma in (cb, cr):
        assert chroma.max() <= worst
        assert chroma.mean() < average


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_where_the_mask_is_zero_the_source_stays(box: Box, strength: float) -> None:
    source = i420_of(smooth_picture(8))
    into = picture_of(source)
    placement = placement_of(box)
    FaceRegion(placement, smooth_picture(9, 256, 256), strength).paste(into)
    masks = (placement.luma, placement.chroma, placement.chroma)
    for plane, before, mask, step in zip(
        (into.luma, into.cb, into.cr),
        (source.luma, source.cb, source.cr),
        masks,
        (1, 2, 2),
        strict=True,
    ):
        x1, y1, x2, y2 = (edge // step for edge in placement.rect)
        touched = np.zeros(plane.shape, np.bool_)
        touched[y1:y2, x1:x2] = mask > 0
        np.testing.assert_array_equal(plane[~touched], before[~touched])
        assert (plane[touched] != before[touched]).any()
        assert plane.base is not None
        assert (plane.base[:, plane.shape[1] :] == 99).all()


def test_strength_fades_between_source_and_face() -> None:
    box = BOXES["inside"]
    source, face = i420_of(smooth_picture(10)), smooth_picture(11, 256, 256)
    placement = placement_of(box)

    def pasted(strength: float) -> Picture:
        into = picture_of(source)
        FaceRegion(placement, face, strength).paste(into)
        return into

    none, half, full = pasted(0), pasted(0.5), pasted(1)
    np.testing.assert_array_equal(none.luma, source.luma)
    np.testing.assert_array_equal(none.cr, source.cr)
    middle = (source.luma.astype(np.float64) + full.luma) / 2
    assert np.abs(half.luma - middle).max() <= 2


@pytest.mark.parametrize(("one", "other"), [(1.0, 1.0), (0.25, 0.75), (0.5, None), (None, 1.0)])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_between_two_mouths_one_picture_fades_into_the_other(
    one: float | None, other: float | None, share: float
) -> None:
    """None is the source face; numbers are strengths."""
    source = i420_of(smooth_picture(12))
    placements = [None, placement_of(BOXES["inside"])]
    first, second = (
        None
        if strength is None
        else FaceMouth(placements, smooth_picture(seed, 256, 256), strength)
        for seed, strength in ((13, one), (14, other))
    )

    def shown(mouth: Mouth | None) -> Picture:
        into = picture_of(source)
        region = mouth.on(1) if mouth else None
        if region is not None:
            region.paste(into)
        return into

    before, after = shown(first), shown(second)
    middle = shown(between(first, second, share))
    if (other or 0) > (one or 0):
        share = max(0.0, 2 * share - 1)  # what opens waits
    for plane in ("luma", "cb", "cr"):
        exact = (1 - share) * getattr(before, plane) + share * getattr(after, plane)
        assert np.abs(getattr(middle, plane) - exact).max() <= 2.5
        assert (getattr(middle, plane) != getattr(source, plane)).any() == bool(one or share)


def test_a_mouth_goes_where_the_face_is_in_the_picture() -> None:
    face = smooth_picture(15, 256, 256)
    here, there = placement_of(BOXES["inside"]), placement_of(BOXES["tiny"])
    mouth = FaceMouth([here, None, there], face, 0.5)
    for picture, placement in ((0, here), (2, there)):
        region = mouth.on(picture)
        assert region is not None
        assert (region.placement, region.strength) == (placement, 0.5)
        assert region.face is face, "nothing is mixed where nothing needs to be"
    assert mouth.on(1) is None
    assert between(mouth, None, 0) is mouth
    assert between(None, mouth, 0) is None
    assert between(None, None, 0.5) is None


def test_a_placement_knows_its_rectangle() -> None:
    box = Box(111, 71, 204, 182)
    around = crop_box(box)
    mask = np.zeros((around.height, around.width), np.uint8)
    mask[90, 60] = 200  # at 89, 90 of the crop box's corner: 124, 132
    placement = place(mask, box, around, (WIDTH, HEIGHT))
    assert placement is not None
    x, y = around.x1 + 60, around.y1 + 90
    assert placement.rect == (x // 2 * 2, y // 2 * 2, x // 2 * 2 + 2, y // 2 * 2 + 2)
    assert placement.luma.sum() == 200
    assert placement.chroma.tolist() == [[50]]


def test_nothing_of_the_face_is_seen() -> None:
    box = BOXES["inside"]
    around = crop_box(box)
    nothing = np.zeros((around.height, around.width), np.uint8)
    assert place(nothing, box, around, (WIDTH, HEIGHT)) is None
    outside = Box(WIDTH + 2, 10, WIDTH + 50, 60)
    mask = paste_mask(FULL_MASK, outside, crop_box(outside))
    assert place(mask, outside, crop_box(outside), (WIDTH, HEIGHT)) is None
    # The seam reaches beyond the box, where there is no face to show.
    seam_only = paste_mask(FULL_MASK, box, around)
    inside = box.seen_from(around)
    seam_only[inside.y1 : inside.y2, inside.x1 : inside.x2] = 0
    assert seam_only.any()
    assert place(seam_only, box, around, (WIDTH, HEIGHT)) is None


def test_pasting_into_the_planes_of_a_frame() -> None:
    frame = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    white = np.full((256, 256, 3), 255, np.uint8)
    FaceRegion(placement_of(BOXES["inside"]), white).paste(i420_planes(frame))
    planes = i420_planes(frame)
    assert planes.luma.max() == 235
    assert (planes.cb == 128).all()
    assert (planes.cr == 128).all()
