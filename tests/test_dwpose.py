"""The steps around DWPose: what of a picture the network sees, and where its answer is in it.

The network here is a tiny one that answers with bright spots: the landmarks of the face's one half
are the left spot, those of the other the right one, those in the middle the brighter one. So what
it says depends on the picture, and on nothing else.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from musetalk_stream.errors import WeightsError
from musetalk_stream.prepare.faces import Bgr, FaceFinder, make_finder

PLACE = "dwpose/dw-ll_ucoco_384.onnx"
WIDTH, HEIGHT = 288, 384  # of the network's input
LEFT_HALF = [*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67]
MIDDLE = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
LEFT, RIGHT, EITHER = 0, 1, 2


def spot_network(outputs: tuple[str, str] = ("simcc_x", "simcc_y"), gain: float = 0.4) -> bytes:
    """ONNX: `[1, 3, 384, 288]` to columns `[1, 133, 576]` and rows `[1, 133, 768]`."""
    ramp = np.linspace(1.0, 0.5, WIDTH)
    ways = np.stack([ramp, ramp[::-1], np.ones(WIDTH)])[None, :, None, :] * gain  # [1, 3, 1, 288]
    way_of = np.full(133, RIGHT)
    way_of[[23 + landmark for landmark in LEFT_HALF]] = LEFT
    way_of[[23 + landmark for landmark in MIDDLE]] = EITHER
    constants = {
        "ways": ways.astype(np.float32),
        "way_of": way_of.astype(np.int64),
        "columns": np.repeat(np.arange(WIDTH), 2).astype(np.int64),
        "rows": np.repeat(np.arange(HEIGHT), 2).astype(np.int64),
        "channels": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["input", "channels"], ["grey"], keepdims=1),
        node("Relu", ["grey"], ["bright"]),
        node("Mul", ["bright", "ways"], ["seen"]),  # [1, 3, 384, 288]
    ]
    for axis, steps, output in ((2, "columns", outputs[0]), (3, "rows", outputs[1])):
        nodes += [
            node("ReduceMax", ["seen", f"axis{axis}"], [f"most{axis}"], keepdims=0),
            node("Gather", [f"most{axis}", steps], [f"fine{axis}"], axis=2),
            node("Gather", [f"fine{axis}", "way_of"], [output], axis=1),
        ]
        constants[f"axis{axis}"] = np.array([axis], np.int64)
    shapes = ([1, 133, 2 * WIDTH], [1, 133, 2 * HEIGHT])
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(outputs, shapes, strict=True)
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def models(folder: Path, network: bytes) -> Path:
    path = folder / PLACE
    path.parent.mkdir(parents=True)
    path.write_bytes(network)
    return folder


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> FaceFinder:
    return make_finder("dwpose", models(tmp_path_factory.mktemp("models"), spot_network()))


def spots(size: tuple[int, int], *places: tuple[float, float], level: int = 255) -> Bgr:
    """White spots on black, `[height, width, 3]`."""
    columns, rows = np.arange(size[0]), np.arange(size[1])[:, None]
    reach = 6 * max(size) / 400
    light = np.zeros((size[1], size[0]))
    for x, y in places:
        light += level * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
    return np.repeat(light.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def pixels_per_step(size: tuple[int, int]) -> float:
    return max(1.25 * size[0] / WIDTH, 1.25 * size[1] / HEIGHT) / 2


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (288, 384), (1920, 1080), (101, 77)])
def test_landmarks_are_where_the_network_says(finder: FaceFinder, size: tuple[int, int]) -> None:
    """Through scaling and padding there, and decoding back; the halves keep their sides although
    the mirrored picture is asked, too."""
    left, right = (0.3 * size[0], 0.35 * size[1]), (0.7 * size[0], 0.6 * size[1])
    (face,) = finder.faces(spots(size, left, right))
    # The mean with the mirrored answer may be off by a step, as the official one is.
    within = 2.5 * pixels_per_step(size)
    rights = sorted({*range(68)} - {*LEFT_HALF, *MIDDLE})
    assert np.abs(face.landmarks[LEFT_HALF] - left).max() < within
    assert np.abs(face.landmarks[rights] - right).max() < within
    assert face.landmarks.dtype == np.float32


def test_a_moved_picture_moves_landmarks(finder: FaceFinder) -> None:
    size = (640, 360)
    first = finder.faces(spots(size, (200, 150), (400, 200)))[0].landmarks
    second = finder.faces(spots(size, (260, 190), (460, 240)))[0].landmarks
    moved: npt.NDArray[np.float32] = second - first
    assert np.abs(moved - (60, 40)).max() < 2 * pixels_per_step(size)


def test_both_answers_count(finder: FaceFinder) -> None:
    """Were left and right not exchanged in the mirrored answer, its peaks would lie elsewhere and
    the mean would be half as high."""
    size = (640, 360)
    (face,) = finder.faces(spots(size, (200, 150), (400, 200)))
    grey = (255 - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    assert face.score == pytest.approx(0.4 * grey.mean() * 0.82, rel=0.08)


def test_colours_are_normalised_as_rgb(tmp_path: Path) -> None:
    """Of two spots, red and blue, the blue one is brighter to the network: its mean is lower."""
    finder = make_finder("dwpose", models(tmp_path, spot_network(gain=1.0)))
    size = (640, 360)
    red, blue = spots(size, (200, 150)), spots(size, (400, 200))
    picture = np.maximum(red * (0, 0.95, 1), blue * (1, 0.95, 0)).astype(np.uint8)
    (face,) = finder.faces(picture)
    assert np.abs(face.landmarks[MIDDLE] - (400, 200)).max() < 3 * pixels_per_step(size)


def test_there_is_at_most_one_face_and_it_is_the_same_near_a_box(finder: FaceFinder) -> None:
    picture = spots((640, 360), (200, 150), (400, 200))
    (face,) = finder.faces(picture)
    near = finder.near(picture, (0, 0, 10, 10))
    assert near
    np.testing.assert_array_equal(near.landmarks, face.landmarks)
    assert "dwpose" in finder.name


@pytest.mark.parametrize("level", [0, 60, 150])
def test_what_the_network_is_not_sure_of_is_no_face(finder: FaceFinder, level: int) -> None:
    picture = spots((640, 360), (200, 150), (400, 200), level=level)
    assert finder.faces(picture) == []
    assert finder.near(picture, (100, 100, 300, 300)) is None


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    models(tmp_path, b"this is no network")
    with pytest.raises(WeightsError, match=r"can't be read.*134399116 bytes"):
        make_finder("dwpose", tmp_path)


def test_a_file_that_broke_off(tmp_path: Path) -> None:
    models(tmp_path, spot_network()[:-300])
    with pytest.raises(WeightsError, match="can't be read"):
        make_finder("dwpose", tmp_path)


def test_another_network(tmp_path: Path) -> None:
    models(tmp_path, spot_network(("heat", "maps")))
    with pytest.raises(WeightsError, match=r"another network.*heat, maps"):
        make_finder("dwpose", tmp_path)


def test_a_part_of_a_wider_picture(finder: FaceFinder) -> None:
    picture = spots((640, 360), (200, 150), (400, 200))
    wide = np.zeros((360, 700, 3), np.uint8)
    wide[:, 30:670] = picture
    found = finder.faces(wide[:, 30:670])[0].landmarks
    np.testing.assert_array_equal(found, finder.faces(picture)[0].landmarks)
