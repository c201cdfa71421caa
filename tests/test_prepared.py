"""Prepared avatars: made once, known again, and never taken for whole when they are not."""

import resource
import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import make_avatar
from models_folder import loaded, make_models, replace_file
from safetensors.numpy import load_file

from musetalk_stream.avatar import Avatar
from musetalk_stream.errors import SetupError
from musetalk_stream.models.checkpoint import load_state
from musetalk_stream.renderers.musetalk.box import Box
from musetalk_stream.renderers.musetalk.prepared import PreparedAvatar, open_prepared
from musetalk_stream.renderers.musetalk.prepared_file import LATENTS, read_parts, writing
from musetalk_stream.renderers.musetalk.region import Placement
from musetalk_stream.renderers.musetalk.renderer import MuseTalkRenderer

SIZE = 192
HEADER = 4096


@pytest.fixture(scope="module")
def renderer(models: Path) -> MuseTalkRenderer:
    return loaded(models)


@pytest.fixture(scope="module")
def avatar(renderer: MuseTalkRenderer, tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    """Prepared; its second and last pictures show no face. Never changed."""
    made = make_avatar(tmp_path_factory.mktemp("avatars"), "face", size=SIZE, num_frames=4)
    points = made.landmarks.copy()
    points[[1, 3]] = np.nan
    hidden = replace(made, landmarks=points)
    assert list(renderer.prepare(hidden))[-1] == 1.0
    return hidden


@pytest.fixture
def fresh(avatar: Avatar, tmp_path: Path) -> Avatar:
    """The same in an empty folder."""
    return replace(avatar, derived=tmp_path)


def path_of(renderer: MuseTalkRenderer, avatar: Avatar) -> Path:
    return renderer.loaded.recipe.path(avatar)


def opened(renderer: MuseTalkRenderer, avatar: Avatar) -> PreparedAvatar:
    return open_prepared(avatar, renderer.loaded.recipe)


# --- known again, or not


def test_what_is_prepared_is_kept_and_known_again(
    models: Path, renderer: MuseTalkRenderer, avatar: Avatar
) -> None:
    again = loaded(models)
    assert again.is_prepared(avatar)
    assert np.array_equal(opened(renderer, avatar).latents, opened(again, avatar).latents)


def test_other_landmarks_or_pictures_are_not_prepared(
    renderer: MuseTalkRenderer, avatar: Avatar
) -> None:
    assert not renderer.is_prepared(replace(avatar, landmarks=avatar.landmarks + 1))
    other = replace(avatar.manifest, source_sha256="0" * 64)
    assert not renderer.is_prepared(replace(avatar, manifest=other))


def test_other_weights_prepare_anew_and_beside(
    renderer: MuseTalkRenderer, fresh: Avatar, tmp_path_factory: pytest.TempPathFactory
) -> None:
    list(renderer.prepare(fresh))
    models = make_models(tmp_path_factory.mktemp("models"))
    path = models / "sd-vae/diffusion_pytorch_model.bin"
    state = load_state(path)
    state["quant_conv.bias"] = state["quant_conv.bias"] + 0.5
    replace_file(path, state)
    other = loaded(models)
    assert not other.is_prepared(fresh)
    list(other.prepare(fresh))
    assert other.is_prepared(fresh)
    assert renderer.is_prepared(replace(fresh)), "they do not get in each other's way"


def test_face_parsing_weights_prepare_anew(fresh: Avatar, tmp_path: Path) -> None:
    parsing = loaded(make_models(tmp_path / "models", face_parsing=True))
    assert not parsing.is_prepared(fresh)
    list(parsing.prepare(fresh))
    assert parsing.is_prepared(fresh)


# --- the file


def test_other_programs_can_read_it(renderer: MuseTalkRenderer, avatar: Avatar) -> None:
    arrays = load_file(path_of(renderer, avatar))
    prepared = opened(renderer, avatar)
    assert np.array_equal(arrays["latents"], prepared.latents)
    assert [placement is None for placement in prepared.placements] == [False, True, False, True]
    assert not arrays["latents"][[1, 3]].any()
    assert not arrays["boxes"][[1, 3]].any()
    assert arrays["latents"][[0, 2]].any(axis=(1, 2, 3)).all()
    faces = [placement for placement in prepared.placements if placement]
    assert [list(face.rect) for face in faces] == arrays["rects"][[0, 2]].tolist()
    masks = [mask.ravel() for face in faces for mask in (face.luma, face.chroma)]
    assert np.array_equal(np.concatenate(masks), arrays["masks"])


def test_an_avatar_without_any_face_has_no_masks(renderer: MuseTalkRenderer, fresh: Avatar) -> None:
    faceless = replace(fresh, landmarks=np.full_like(fresh.landmarks, np.nan))
    list(renderer.prepare(faceless))
    assert opened(renderer, faceless).placements == [None] * 4
    assert load_file(path_of(renderer, faceless))["masks"].size == 0


_AFTER_LATENTS = HEADER + 4 * 8 * 32 * 32 * 4


@pytest.mark.parametrize(
    "length", [0, 7, 1000, HEADER, HEADER + 9999, _AFTER_LATENTS + 5, _AFTER_LATENTS + 100, -1]
)
def test_a_torn_file_is_not_prepared(
    renderer: MuseTalkRenderer, fresh: Avatar, length: int
) -> None:
    list(renderer.prepare(fresh))
    path = path_of(renderer, fresh)
    path.write_bytes(path.read_bytes()[:length])
    assert not renderer.is_prepared(fresh)
    with pytest.raises(SetupError, match="is not prepared"):
        opened(renderer, fresh)
    list(renderer.prepare(fresh))
    assert renderer.is_prepared(fresh)


_BOX, _RECT = _AFTER_LATENTS, _AFTER_LATENTS + 4 * 16


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(0, 2**31 - 1, id="header too long"),
        pytest.param(8, 0, id="header no JSON"),
        pytest.param(_BOX, -2, id="box left of the picture"),
        pytest.param(_BOX + 8, SIZE + 2, id="box right of the picture"),
        pytest.param(_BOX + 16, 1, id="box without a rectangle"),
        pytest.param(_RECT, 2**31 - 2, id="rectangle far away"),
        pytest.param(_RECT, 3, id="rectangle with an odd corner"),
        pytest.param(_RECT + 4, 0, id="rectangle larger than its box"),
        pytest.param(_RECT + 8, 0, id="rectangle inside out"),
        pytest.param(_RECT + 12, SIZE, id="rectangle below its box"),
    ],
)
def test_a_damaged_file_is_not_prepared(
    renderer: MuseTalkRenderer, fresh: Avatar, place: int, value: int
) -> None:
    list(renderer.prepare(fresh))
    content = bytearray(path_of(renderer, fresh).read_bytes())
    content[place : place + 4] = value.to_bytes(4, "little", signed=True)
    path_of(renderer, fresh).write_bytes(content)
    assert not renderer.is_prepared(fresh)


def test_a_rectangle_smaller_than_its_masks_is_not_prepared(
    renderer: MuseTalkRenderer, fresh: Avatar
) -> None:
    list(renderer.prepare(fresh))
    content = bytearray(path_of(renderer, fresh).read_bytes())
    content[_RECT] += 2  # x1 of the first
    path_of(renderer, fresh).write_bytes(content)
    assert not renderer.is_prepared(fresh)


def test_more_bytes_than_the_header_says_are_not_prepared(
    renderer: MuseTalkRenderer, fresh: Avatar
) -> None:
    list(renderer.prepare(fresh))
    with path_of(renderer, fresh).open("ab") as file:
        file.write(b"\0")
    assert not renderer.is_prepared(fresh)


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    num_frames, side = 400, 200
    rect = Box(20, 20, 20 + side, 20 + side)
    luma = np.full((side, side), 7, np.uint8)
    placement = Placement(rect, rect, luma, luma[::2, ::2].copy())
    latents = np.ones(LATENTS, np.float32)
    path, stamp = tmp_path / "avatar.safetensors", {"of": "a test"}
    tracemalloc.start()
    try:
        with writing(path, stamp, num_frames) as file:
            for picture in range(num_frames):
                file.add(picture, latents, placement)
        parts = read_parts(path, stamp, num_frames, (256, 256))
        assert parts is not None
        placements = parts.placements()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 30e6
    assert peak < 2e6
    last = placements[-1]
    assert last is not None
    assert np.array_equal(last.luma, luma)
    assert not last.luma.flags.owndata


# --- what stands in the way


def test_preparation_that_is_given_up_leaves_nothing(
    renderer: MuseTalkRenderer, fresh: Avatar
) -> None:
    steps = renderer.prepare(fresh)
    assert 0 < next(steps) < 1
    del steps
    assert list(fresh.derived.iterdir()) == []
    assert not renderer.is_prepared(fresh)


def test_a_killed_server_leaves_nothing_that_counts(
    renderer: MuseTalkRenderer, fresh: Avatar, tmp_path: Path
) -> None:
    path = path_of(renderer, fresh)
    steps = renderer.prepare(fresh)
    next(steps)
    (making,) = tmp_path.iterdir()
    assert making.suffix == ".part"
    shutil.copy(making, path)  # even as if it had been renamed
    assert not renderer.is_prepared(fresh)
    list(renderer.prepare(fresh))
    assert renderer.is_prepared(fresh)


def test_two_servers_prepare_the_same_avatar_at_once(
    renderer: MuseTalkRenderer, fresh: Avatar
) -> None:
    one, two = renderer.prepare(fresh), renderer.prepare(fresh)
    next(one)
    list(two)
    first = opened(renderer, fresh)
    list(one)
    assert list(fresh.derived.iterdir()) == [path_of(renderer, fresh)]
    last = opened(renderer, fresh)
    assert np.array_equal(first.latents, last.latents), "the first is still mapped"


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """As on a full disk, from the system's point of view: also for root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_at_once_and_left_clean(
    renderer: MuseTalkRenderer, fresh: Avatar
) -> None:
    for limit in (1000, HEADER + 5000):  # not even a header; not even a picture
        with files_of_at_most(limit), pytest.raises(SetupError, match="can't be written: File"):
            next(renderer.prepare(fresh))
        assert list(fresh.derived.iterdir()) == []


def test_a_folder_that_is_none_is_told_at_once(
    renderer: MuseTalkRenderer, fresh: Avatar, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for name in ("gone", "file"):
        with pytest.raises(SetupError, match="can't be written"):
            next(renderer.prepare(replace(fresh, derived=tmp_path / name)))
