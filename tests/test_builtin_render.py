"""The built-in renderer moves lips, jaw and chin, and nothing else."""

import gc
import weakref
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from musetalk_stream.avatar import Avatar, Cycle, Manifest, read_manifest
from musetalk_stream.blend import MouthRegion, compose, i420_planes
from musetalk_stream.prepare.faces.smooth import smoothed
from musetalk_stream.renderers import FrameRequest, between
from musetalk_stream.renderers.builtin import BuiltinRenderer

SIZE = 256

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]


def rendered(renderer: BuiltinRenderer, batch: list[FrameRequest]) -> list[MouthRegion | None]:
    mouths = renderer.submit(batch).mouths()
    regions = [
        each.on(of.picture) if each else None for of, each in zip(batch, mouths, strict=True)
    ]
    return [region for region in regions if region is None or isinstance(region, MouthRegion)]


def landmarks(x: float = 128, y: float = 160, unit: float = 26, roll: float = 0.0) -> Floats:
    """68 points of a face whose mouth is at x, y and 2 * unit wide; roll in radians."""
    jaw = [(2.3 * np.cos(a), -1.6 + 3.1 * np.sin(a)) for a in np.linspace(np.pi, 0, 17)]
    brows = [
        (s * b, -3.2)
        for s, around in ((-1, (2.0, 1.7, 1.4, 1.0, 0.6)), (1, (0.6, 1.0, 1.4, 1.7, 2.0)))
        for b in around
    ]
    nose = [(0.0, -2.5), (0.0, -2.0), (0.0, -1.5), (0.0, -1.1)]
    nose += [(-0.5, -0.8), (-0.25, -0.75), (0, -0.7), (0.25, -0.75), (0.5, -0.8)]
    eyes = [
        (s * 1.1 + 0.4 * np.cos(a), -2.6 + 0.15 * np.sin(a))
        for s in (-1, 1)
        for a in np.linspace(np.pi, 3 * np.pi, 7)[:6]
    ]
    outer = [
        (-1, 0),
        (-0.6, -0.25),
        (-0.25, -0.35),
        (0, -0.3),
        (0.25, -0.35),
        (0.6, -0.25),
        (1, 0),
        (0.6, 0.3),
        (0.25, 0.42),
        (0, 0.44),
        (-0.25, 0.42),
        (-0.6, 0.3),
    ]
    inner = [(-0.92, 0), (-0.4, 0), (0, 0), (0.4, 0), (0.92, 0), (0.4, 0), (0, 0), (-0.4, 0)]
    points = np.array(jaw + brows + nose + eyes + outer + inner) * unit
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return np.asarray(points @ turn.T + (x, y), np.float32)


def draw(points: Floats, skin: tuple[int, int, int] = (150, 185, 225)) -> npt.NDArray[np.uint8]:
    """A face at these landmarks, BGR colours, as an I420 picture `[SIZE*3/2, SIZE]`."""
    rng = np.random.default_rng(7)
    image = np.full((SIZE, SIZE, 3), (120, 90, 60), np.uint8)
    image = np.asarray(image + rng.integers(0, 12, image.shape), np.uint8)

    def fill(some: Floats, colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(image, [np.rint(some * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    neck = points[[5, 11, 11, 5]] + np.array([[0, 0], [0, 0], [0, 200], [0, 200]], np.float32)
    fill(neck, (120, 150, 190))
    face = np.concatenate([points[:17], points[16:17] - (0, 60), points[0:1] - (0, 60)])
    fill(np.asarray(face, np.float32), skin)
    fill(points[48:60], (110, 90, 190))
    line = np.rint(points[60:65] * 16).astype(np.int32)
    cv2.polylines(image, [line], False, (60, 40, 110), 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)


def avatar(
    places: list[Floats], pictures: list[Plane] | None = None, cycle: Cycle = Cycle.FORWARD
) -> Avatar:
    pictures = pictures if pictures is not None else [draw(points) for points in places]
    manifest = Manifest("drawn", "Drawn", SIZE, SIZE, Fraction(25), len(places), cycle, "", "", "")
    return Avatar(manifest, np.stack(pictures), np.stack(places), Path("none"), Path("none"))


SHAPES = {  # openness, spread, rounding, teeth
    "ah": (1.0, 0.1, 0.0, 0.3),
    "eh": (0.7, 0.5, 0.0, 0.6),
    "ee": (0.35, 1.0, 0.0, 0.9),
    "oh": (0.6, 0.0, 0.8, 0.0),
    "oo": (0.3, 0.0, 1.0, 0.0),
    "sh": (0.25, 0.0, 0.6, 1.0),
    "ss": (0.15, 0.5, 0.0, 1.0),
}


def request(of: Avatar, shape: tuple[float, ...], picture: int = 3) -> FrameRequest:
    return FrameRequest(of, picture, np.array(shape, np.float32))


def region(of: Avatar, shape: tuple[float, ...], picture: int = 3) -> MouthRegion:
    found = rendered(BuiltinRenderer(), [request(of, shape, picture)])[0]
    assert found is not None
    return found


def composed(of: Avatar, found: MouthRegion | None, picture: int = 3) -> Plane:
    """The whole I420 picture with the region in it."""
    frame = np.array(of.frames[picture])
    compose(i420_planes(frame), i420_planes(np.asarray(of.frames[picture])), found)
    return frame


def same(one: MouthRegion | None, other: MouthRegion | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.x, one.y) == (other.x, other.y) and all(
        np.array_equal(getattr(one, plane), getattr(other, plane)) for plane in ("luma", "cb", "cr")
    )


@pytest.fixture(scope="module")
def plain() -> Avatar:
    """A face that has moved, turned and come nearer by its seventh picture."""
    places = [landmarks(), landmarks(134, 157, 27, 0.1)]
    pictures = [draw(points) for points in places]
    return avatar([places[n // 6] for n in range(12)], [pictures[n // 6] for n in range(12)])


@pytest.fixture(scope="module")
def demo() -> Avatar:
    """The first pictures of the avatar that is shipped."""
    folder = Path(__file__).parents[1] / "avatars/demo"
    manifest = read_manifest(folder)
    with av.open(folder / "source.mp4") as film:
        frames = [
            picture.to_ndarray(format="yuv420p")
            for picture, _ in zip(film.decode(video=0), range(8), strict=False)
        ]
    points = np.load(folder / "landmarks.npy").astype(np.float32)[:8]
    few = replace(manifest, num_frames=8)
    return Avatar(few, np.stack(frames), points, folder, folder)


def test_silence_is_the_source_picture(plain: Avatar) -> None:
    assert rendered(BuiltinRenderer(), [request(plain, (0, 0, 0, 0))] * 2) == [None, None]


def test_a_region_is_even_and_fits(plain: Avatar) -> None:
    found = region(plain, SHAPES["ah"])
    height, width = found.luma.shape
    assert not any(n % 2 for n in (found.x, found.y, height, width))
    assert found.cb.shape == found.cr.shape == (height // 2, width // 2)
    assert found.luma.dtype == found.cb.dtype == found.cr.dtype == np.uint8
    assert found.x + width <= SIZE
    assert found.y + height <= SIZE


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("picture", [3, 8])
def test_nothing_but_lips_jaw_and_chin_changes(plain: Avatar, name: str, picture: int) -> None:
    points = plain.landmarks[picture]
    along = (points[54] - points[48]) / 2
    # From the nose down, as wide as the jaw, and the strip of neck that the chin moves over.
    below = points[4:13] + 1.2 * np.array([-along[1], along[0]])
    hull = cv2.convexHull(np.concatenate([points[3:14], points[31:36], below]).astype(np.float32))
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(inside, np.rint(hull).astype(np.int32), 1)
    inside = cv2.dilate(inside, np.ones((3, 3)))  # its corners were rounded

    now = i420_planes(composed(plain, region(plain, SHAPES[name], picture), picture))
    was = i420_planes(np.asarray(plain.frames[picture]))
    assert (now.luma != was.luma)[inside == 1].sum() > 200
    assert np.array_equal(now.luma[inside == 0], was.luma[inside == 0])
    coarse = cv2.resize(inside, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA) > 0
    assert np.array_equal(now.cb[~coarse], was.cb[~coarse])
    assert np.array_equal(now.cr[~coarse], was.cr[~coarse])


def test_the_border_of_a_region_is_the_source(plain: Avatar) -> None:
    found = region(plain, SHAPES["ah"])
    height, width = found.luma.shape
    source = i420_planes(np.asarray(plain.frames[3])).luma
    there = source[found.y : found.y + height, found.x : found.x + width]
    ring = np.ones_like(there, np.bool_)
    ring[2:-2, 2:-2] = False
    assert np.array_equal(found.luma[ring], there[ring])


def test_shapes_differ_in_pixels(demo: Avatar) -> None:
    pictures = [composed(demo, region(demo, shape)).astype(int) for shape in SHAPES.values()]
    pictures.append(demo.frames[3].astype(int))
    changed = [(np.abs(a - b) > 16).sum() for n, a in enumerate(pictures) for b in pictures[:n]]
    assert len(pictures) >= 6
    assert min(changed) > 150


def test_the_demo_opens_on_a_dark_cavity_and_its_chin_goes_down(demo: Avatar) -> None:
    points = demo.landmarks[3]
    shut = i420_planes(np.asarray(demo.frames[3])).luma.astype(int)
    wide = i420_planes(composed(demo, region(demo, SHAPES["ah"]))).luma.astype(int)
    x, lips = round(float(points[62, 0])), round(float(points[62, 1]))
    assert wide[lips : lips + 20, x - 8 : x + 8].min() < 60
    chin = round(float(points[8, 1]))
    edge = [
        np.abs(np.diff(luma[chin - 12 : chin + 20, x - 6 : x + 6].mean(axis=1)))
        for luma in (shut, wide)
    ]
    assert edge[1].argmax() > edge[0].argmax() + 4


def test_wider_openings_move_more(plain: Avatar) -> None:
    source = plain.frames[3].astype(int)
    changed = [
        (np.abs(composed(plain, region(plain, (wide, 0, 0, 0.3))) - source) > 8).sum()
        for wide in (0.1, 0.4, 0.7, 1.0)
    ]
    assert changed == sorted(changed)
    assert changed[-1] > 2 * changed[0]


def test_a_small_change_of_shape_is_a_small_change_of_picture(demo: Avatar) -> None:
    near = [composed(demo, region(demo, (wide, 0.3, 0.2, 0.5))) for wide in (0.50, 0.51)]
    assert np.abs(near[0].astype(int) - near[1]).mean() < 0.1


def test_between_two_mouths_is_the_shape_between_theirs(plain: Avatar) -> None:
    """As sharp as they are, and on the picture that is shown, wherever the face is in it."""
    renderer = BuiltinRenderer()
    shapes = (0.9, 0.2, 0.0, 0.4), (0.3, 0.6, 0.4, 0.8), (0.48, 0.48, 0.28, 0.68)
    one, other, middle = renderer.submit([request(plain, shape) for shape in shapes]).mouths()
    mixed = between(one, other, 0.7)
    assert mixed is not None
    assert middle is not None
    for picture in (3, 9):
        found, exact = (each.on(picture) for each in (mixed, middle))
        assert isinstance(found, MouthRegion)
        assert isinstance(exact, MouthRegion)
        assert (found.x, found.y) == (exact.x, exact.y)
        assert np.abs(found.luma.astype(int) - exact.luma).max() <= 1


def test_from_silence_the_mouth_opens_as_far_as_its_share(plain: Avatar) -> None:
    renderer = BuiltinRenderer()
    quiet, wide, half = renderer.submit(
        [
            request(plain, shape)
            for shape in ((0, 0, 0, 0), (0.8, 0.4, 0.2, 0.6), (0.4, 0.2, 0.1, 0.3))
        ]
    ).mouths()
    assert quiet is None
    assert half is not None
    exact = half.on(3)
    assert isinstance(exact, MouthRegion)
    assert between(None, wide, 0.5) is None, "what opens waits until the second half"
    for mixed in (between(None, wide, 0.75), between(wide, None, 0.5)):
        found = mixed.on(3) if mixed else None
        assert isinstance(found, MouthRegion)
        assert np.abs(found.luma.astype(int) - exact.luma).max() <= 1


def test_the_same_request_gives_the_same_bytes(plain: Avatar) -> None:
    renderer = BuiltinRenderer()
    requests = [request(plain, shape, 5 * (n % 2) + 3) for n, shape in enumerate(SHAPES.values())]
    first, again = rendered(renderer, requests), rendered(renderer, requests[::-1])[::-1]
    fresh = [rendered(BuiltinRenderer(), [one])[0] for one in requests]
    for one, two, three in zip(first, again, fresh, strict=True):
        assert same(one, two)
        assert same(one, three)


def test_a_batch_may_mix_avatars(plain: Avatar, demo: Avatar) -> None:
    mixed = [
        request(plain, SHAPES["ah"]),
        request(demo, SHAPES["ah"]),
        request(plain, (0, 0, 0, 0)),
        request(demo, SHAPES["oo"], 3),
    ]
    together = rendered(BuiltinRenderer(), mixed)
    alone = [rendered(BuiltinRenderer(), [one])[0] for one in mixed]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert together[2] is None


def test_a_picture_without_a_face_stays_as_it_is() -> None:
    lost = np.full((68, 2), np.nan, np.float32)
    some = avatar([landmarks(), lost, landmarks(), landmarks()], [draw(landmarks())] * 4)
    found = rendered(BuiltinRenderer(), [request(some, SHAPES["ah"], n) for n in range(4)])
    assert found[1] is None
    assert None not in (found[0], found[2], found[3])
    nobody = avatar([lost] * 4, [draw(landmarks())] * 4)
    assert rendered(BuiltinRenderer(), [request(nobody, SHAPES["ah"])]) == [None]


@pytest.mark.parametrize("x", [-40, 3, 128, 251, 400])
@pytest.mark.parametrize("y", [-90, 2, 128, 250, 500])
def test_a_face_may_leave_the_picture(x: float, y: float) -> None:
    some = avatar([landmarks(x, y, roll=0.3)] * 4, [draw(landmarks())] * 4)
    found = rendered(BuiltinRenderer(), [request(some, SHAPES["ah"])])[0]
    changed = composed(some, found)
    assert changed.shape == some.frames[3].shape
    if (x, y) == (128, 128):
        assert found is not None
    if x == 400 or y == 500:
        assert found is None


def test_a_face_too_small_to_see_stays_as_it_is() -> None:
    tiny = avatar([landmarks(unit=1.5)] * 4, [draw(landmarks())] * 4)
    assert rendered(BuiltinRenderer(), [request(tiny, SHAPES["ah"])]) == [None]


def test_a_jaw_above_the_mouth_is_no_face(plain: Avatar) -> None:
    upside_down = plain.landmarks.copy()
    upside_down[:, :17, 1] = 2 * upside_down[:, 48:49, 1] - upside_down[:, :17, 1] - 60
    strange = replace(plain, landmarks=upside_down, frames=plain.frames[:])
    assert rendered(BuiltinRenderer(), [request(strange, (1, 0, 0, 0.5))]) == [None]


def test_trembling_landmarks_are_calmed() -> None:
    """By preparation; the renderer takes them as they are."""
    rng = np.random.default_rng(5)
    trembling = landmarks() + rng.normal(0, 0.7, (24, 68, 2)).astype(np.float32)
    places = [*smoothed(trembling.astype(np.float32), Cycle.FORWARD)]
    picture = draw(landmarks())
    calm = avatar([landmarks()] * 24, [picture] * 24)
    shaky = avatar(places, [picture] * 24)
    still = composed(calm, region(calm, SHAPES["eh"])).astype(int)
    seen = [composed(shaky, region(shaky, SHAPES["eh"], n), n).astype(int) for n in range(24)]
    assert np.mean([np.abs(one - still).mean() for one in seen]) < 0.6


def test_an_avatar_is_not_kept_alive() -> None:
    renderer = BuiltinRenderer()
    some = avatar([landmarks()] * 4)
    pixels = weakref.ref(some.frames)
    rendered(renderer, [request(some, SHAPES["ah"])])
    del some
    gc.collect()
    assert pixels() is None


@pytest.mark.parametrize("skin", [(40, 50, 70), (200, 215, 235)], ids=["dark", "light"])
def test_colours_suit_the_avatar(skin: tuple[int, int, int]) -> None:
    some = avatar([landmarks()] * 4, [draw(landmarks(), skin)] * 4)
    luma = i420_planes(composed(some, region(some, SHAPES["ah"]))).luma.astype(int)
    points = some.landmarks[3]
    x, lips = round(float(points[62, 0])), round(float(points[62, 1]))
    mouth = luma[lips - 1 : lips + 10, x - 6 : x + 6]
    face = luma[lips + 40 : lips + 44, x - 6 : x + 6].mean()
    assert mouth.min() < 50
    assert face < mouth.max() + 60
    assert mouth.max() <= 235


def test_a_grey_picture_has_a_grey_mouth() -> None:
    picture = draw(landmarks())
    planes = i420_planes(picture)
    planes.cb[:], planes.cr[:] = 128, 128
    some = avatar([landmarks()] * 4, [picture] * 4)
    for shape in SHAPES.values():
        shown = i420_planes(composed(some, region(some, shape)))
        assert np.abs(np.stack([shown.cb, shown.cr]).astype(int) - 128).max() <= 1


def test_nothing_shines_in_the_dark() -> None:
    picture = draw(landmarks())
    luma = i420_planes(picture).luma
    luma[:] = 16 + (luma - 16.0) * 0.15
    some = avatar([landmarks()] * 4, [picture] * 4)
    face = luma[80:190, 80:180].max()
    for shape in SHAPES.values():
        shown = i420_planes(composed(some, region(some, shape))).luma
        assert shown[80:190, 80:180].max() <= face + 2


def test_edges_are_as_soft_as_those_of_a_near_face() -> None:
    """A mouth that is twice as large has edges that are twice as wide, not harder ones."""
    steps = []
    for unit in (30, 60):
        places = [landmarks(y=100, unit=unit)] * 4
        some = avatar(places)
        shown = i420_planes(composed(some, region(some, SHAPES["oh"]))).luma
        inside = shown[100 - unit // 4 : 100 + unit * 7 // 20, 128]  # between the red of the lips
        steps.append(int(np.abs(np.diff(inside.astype(int))).max()))
    assert steps[1] < 0.8 * steps[0]


def test_open_lips_keep_showing_what_is_between_them() -> None:
    points = landmarks()
    points[[61, 62, 63]] -= (0, 4)
    points[[67, 66, 65]] += (0, 6)
    picture = draw(points)
    teeth = (slice(156, 162), slice(120, 136))
    i420_planes(picture).luma[teeth] = 220
    some = avatar([points] * 4, [picture] * 4)
    for wide in (0.1, 0.5, 1.0):
        luma = i420_planes(composed(some, region(some, (wide, 0.0, 0.0, 0.3)))).luma
        assert luma[154:162, 120:136].max() > 200
    assert luma[166:180, 120:136].min() < 60
    assert rendered(BuiltinRenderer(), [request(some, (0, 0, 0, 0))]) == [None]


def test_a_mouth_is_drawn_where_a_quick_head_is() -> None:
    """Not where it was on average."""
    picture = draw(landmarks(128, 140))
    nodding = [landmarks(128, 140 + 9 * np.cos(2 * np.pi * n / 8)) for n in range(8)]
    moving = avatar(nodding, [picture] * 8)
    for n in (0, 4):  # at the ends of its way
        still = avatar([nodding[n]] * 8, [picture] * 8)
        found, expected = (region(each, SHAPES["ah"], n) for each in (moving, still))
        assert (found.x, found.y, found.luma.shape) == (expected.x, expected.y, expected.luma.shape)
        assert np.abs(found.luma.astype(int) - expected.luma).mean() < 1


def test_few_faces_are_remembered() -> None:
    renderer = BuiltinRenderer()
    picture = draw(landmarks())
    several = [avatar([landmarks()] * 2, [picture] * 2) for _ in range(70)]
    for some in several:
        assert rendered(renderer, [request(some, SHAPES["ah"], 0)])[0] is not None
    assert repr(renderer) == "<BuiltinRenderer 64 faces>"
