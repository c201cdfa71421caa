"""Avatar folders: what they say, how they are made ready, and what is wrong with some."""

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fakes import TINY_FRAMES, make_avatar, make_avatar_folder
from pictures import files_of_at_most

from musetalk_stream.avatar import (
    find_avatars,
    is_avatar_id,
    open_avatar,
    read_manifest,
)
from musetalk_stream.config import EncoderConfig, bundled
from musetalk_stream.errors import SetupError
from musetalk_stream.prepare import derive, prepare_store

SETTINGS = EncoderConfig()


@pytest.mark.parametrize("name", ["demo", "a", "A-b_9", "0" * 64])
def test_ids(name: str) -> None:
    assert is_avatar_id(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "_a", "a/b", "a b", "a.b", "0" * 65, "é", "a\n", "a\0", "٣"]
)
def test_what_is_no_id(name: str) -> None:
    assert not is_avatar_id(name)


def test_a_prepared_avatar(tmp_path: Path) -> None:
    avatar = make_avatar(tmp_path)
    assert avatar.frames.shape == (TINY_FRAMES, 192, 128)
    assert avatar.landmarks.shape == (TINY_FRAMES, 68, 2)
    assert avatar.placeholder.is_file()
    assert not avatar.frames.flags.writeable
    assert repr(avatar) == "<Avatar tiny 10 frames>"


@pytest.mark.parametrize(
    ("num_frames", "cycle", "length", "order"),
    [
        (4, "forward", 4, [0, 1, 2, 3, 0]),
        (4, "ping-pong", 6, [0, 1, 2, 3, 2, 1, 0]),
        (2, "ping-pong", 2, [0, 1, 0]),
        (1, "ping-pong", 1, [0, 0]),
        (3, "mirror", 6, [0, 1, 2, 2, 1, 0, 0, 1]),
        (1, "mirror", 2, [0, 0, 0]),
    ],
)
def test_cycles(tmp_path: Path, num_frames: int, cycle: str, length: int, order: list[int]) -> None:
    folder = make_avatar_folder(tmp_path, num_frames=num_frames, cycle=cycle)
    derive(folder, SETTINGS)
    avatar = open_avatar(folder)
    assert avatar.manifest.cycle_length == length
    assert [avatar.picture(k) for k in range(len(order))] == order


def test_a_manifest_reads_back_what_it_writes(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    assert read_manifest(folder).to_json() == json.loads((folder / "avatar.json").read_text())


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", 2, "format 2 is not 1"),
        ("width", 127, "even"),
        ("height", 3, "even"),
        ("num_frames", 0, "positive"),
        ("fps", "0", "positive"),
        ("fps", "fast", "fast"),
        ("fps", "1/0", "avatar.json"),
        ("cycle", "backwards", "backwards"),
        ("id", "other", "not the folder's name"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, value: object, words: str) -> None:
    folder = make_avatar_folder(tmp_path)
    document = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**document, field: value}))
    with pytest.raises(SetupError, match=words):
        read_manifest(folder)


def test_derive_is_done_once_and_again_when_it_must(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    frames = folder / "derived" / "frames.i420"
    derive(folder, SETTINGS)
    first = frames.stat().st_ino
    derive(folder, SETTINGS)
    assert frames.stat().st_ino == first, "nothing has changed"
    loop = folder / "derived" / "placeholder.mp4"
    second = loop.stat().st_ino
    derive(folder, EncoderConfig(crf=30))
    assert loop.stat().st_ino != second, "it goes through other encoder settings"
    assert frames.stat().st_ino == first, "the pictures do not"
    document = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**document, "cycle": "ping-pong"}))
    derive(folder, EncoderConfig(crf=30))
    assert frames.stat().st_ino != first, "the placeholder shows another cycle"
    assert sorted(path.name for path in folder.iterdir()) == [
        "avatar.json", "derived", "landmarks.npy", "source.mp4",
    ]  # fmt: skip


def test_without_room_for_another_loop_the_old_one_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_avatar_folder(tmp_path)
    with files_of_at_most(1000), pytest.raises(OSError, match="large"):
        derive(folder, SETTINGS)
    derive(folder, SETTINGS)
    old = open_avatar(folder).placeholder.read_bytes()
    with files_of_at_most(1000):
        derive(folder, EncoderConfig(crf=30))
    assert "keeps its old loop" in caplog.text
    assert open_avatar(folder).placeholder.read_bytes() == old
    derive(folder, EncoderConfig(crf=30))
    assert open_avatar(folder).placeholder.read_bytes() != old
    assert not list(folder.glob("derived.*"))


def test_deriving_anew_keeps_what_others_hold(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    derive(folder, SETTINGS)
    shown = open_avatar(folder)
    seen = shown.frames.copy()
    (folder / "derived" / "renderer.safetensors").write_text("an hour of work")
    derive(folder, EncoderConfig(crf=30))
    assert (folder / "derived" / "renderer.safetensors").read_text() == "an hour of work"
    assert np.array_equal(shown.frames, seen), "it is still mapped"


def test_derive_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    derive(folder, SETTINGS)
    (folder / "derived" / "stamp.json").unlink()  # as between two renames
    (folder / "derived" / "frames.i420").write_bytes(b"of another source")
    derive(folder, SETTINGS)
    assert open_avatar(folder).frames.shape == (TINY_FRAMES, 192, 128)


def test_a_failed_derive_leaves_the_old_one(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    derive(folder, SETTINGS)
    (folder / "source.mp4").write_bytes(b"broken")
    document = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**document, "cycle": "ping-pong"}))
    with pytest.raises(SetupError, match="restore it"):
        derive(folder, SETTINGS)
    assert (folder / "derived" / "frames.i420").is_file()
    assert not list(folder.glob("derived.*"))


def test_frames_must_be_as_many_as_promised(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    document = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**document, "num_frames": 11}))
    with pytest.raises(SetupError, match="has 10 frames"):
        derive(folder, SETTINGS)
    (folder / "avatar.json").write_text(json.dumps({**document, "width": 256}))
    with pytest.raises(SetupError, match="does not fit"):
        derive(folder, SETTINGS)


def test_landmarks_must_fit(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path)
    derive(folder, SETTINGS)
    np.save(folder / "landmarks.npy", np.zeros((10, 5, 2), np.float32))
    with pytest.raises(SetupError, match="shape"):
        open_avatar(folder)


def test_a_store_gets_the_bundled_avatars(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    make_avatar_folder(shipped, "one")
    store = tmp_path / "store"
    make_avatar_folder(store, "mine")
    assert sorted(prepare_store(store, find_avatars(shipped), SETTINGS)) == ["mine", "one"]
    assert (store / "one" / "derived" / "placeholder.mp4").is_file()
    assert not (shipped / "one" / "derived").exists(), "what ships is left alone"


def test_what_killed_servers_left_is_swept_up(tmp_path: Path) -> None:
    folder = make_avatar_folder(tmp_path, "mine")
    derive(folder, SETTINGS)
    for age, name in (("old", "3"), ("recent", "4")):
        (folder / f"derived.{age}").mkdir()
        (folder / "derived" / f"file.{name}.part").touch()
    for left in (folder / "derived.old", folder / "derived" / "file.3.part"):
        os.utime(left, (0, 0))
    prepare_store(tmp_path, find_avatars(tmp_path / "nothing"), SETTINGS)
    assert [path.name for path in folder.glob("derived.*")] == ["derived.recent"]
    assert [path.name for path in folder.glob("derived/*.part")] == ["file.4.part"]


def test_a_newer_bundled_avatar_replaces_the_older(tmp_path: Path) -> None:
    old, new, store = tmp_path / "old", tmp_path / "new", tmp_path / "store"
    make_avatar_folder(old, "one", num_frames=4)
    make_avatar_folder(new, "one", num_frames=6)
    prepare_store(store, find_avatars(old), SETTINGS)
    prepare_store(store, find_avatars(new), SETTINGS)
    assert open_avatar(store / "one").manifest.num_frames == 6


def test_find_passes_over_what_is_no_avatar(tmp_path: Path) -> None:
    make_avatar_folder(tmp_path, "one")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").write_text("x")
    assert list(find_avatars(tmp_path)) == ["one"]
    assert find_avatars(tmp_path / "nowhere") == {}


def test_the_demo_avatar_ships() -> None:
    manifest = read_manifest(bundled("avatars") / "demo")
    assert (manifest.width, manifest.height, manifest.fps) == (512, 512, Fraction(25))
    assert 6 <= manifest.cycle_length / 25 <= 10
