"""The shelf: what is there, what is open, and what is seen when avatars come, change and go."""

import gc
import json
import logging
import shutil
from pathlib import Path

import pytest
from fakes import make_avatar, make_avatar_folder

from musetalk_stream.errors import AvatarNotFound, AvatarProtected
from musetalk_stream.shelf import AvatarShelf

ONE_BYTES = 128 * 192 * 10  # of the pictures of one small avatar


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("one", "three", "two"):
        make_avatar(tmp_path, name)
    return tmp_path


def is_open(folder: Path) -> bool:
    """Whether this process has mapped its pictures."""
    gc.collect()
    return str(folder / "derived" / "frames.i420") in Path("/proc/self/maps").read_text()


def test_aliases_and_one_opening(store: Path) -> None:
    shelf = AvatarShelf(store, {"uno": "one", "dud": "nobody"})
    assert shelf.get("uno") is shelf.get("one")
    assert shelf.ids() == ["one", "three", "two"]
    for name in ("nobody", "dud", "..", "", "one/../two", ".preparing"):
        with pytest.raises(AvatarNotFound, match="there is: one, three, two"):
            shelf.get(name)
    assert repr(shelf) == f"<AvatarShelf {store}, 1 open>"


def test_an_id_wins_over_another_name(store: Path) -> None:
    assert AvatarShelf(store, {"two": "one"}).get("two").id == "two"


def test_what_is_half_made_is_not_there(store: Path) -> None:
    make_avatar_folder(store, "raw")
    (store / "two" / "derived" / "stamp.json").unlink()
    shelf = AvatarShelf(store)
    assert shelf.ids() == ["one", "three"]
    with pytest.raises(AvatarNotFound):
        shelf.get("raw")


def test_an_avatar_that_comes_and_goes(store: Path) -> None:
    shelf = AvatarShelf(store)
    make_avatar(store, "new")
    assert shelf.get("new").id == "new"
    shutil.rmtree(store / "new")
    assert "new" not in [avatar.id for avatar in shelf.all()]
    assert not is_open(store / "new"), "its place on the disk is free"
    with pytest.raises(AvatarNotFound):
        shelf.get("new")


def test_one_that_is_made_anew_is_another(store: Path) -> None:
    shelf = AvatarShelf(store)
    old = shelf.get("one")
    shutil.rmtree(store / "one")
    make_avatar(store, "one", num_frames=4)
    new = shelf.get("one")
    assert (old.manifest.num_frames, new.manifest.num_frames) == (10, 4)
    assert old.frames[9].any(), "who shows the old one goes on"
    assert shelf.get("one") is new


def test_the_one_asked_for_longest_ago_is_closed_first(store: Path) -> None:
    shelf = AvatarShelf(store, cache_bytes=2 * ONE_BYTES)
    for name in ("one", "two", "one", "three"):
        shelf.get(name)
    assert [is_open(store / name) for name in ("one", "two", "three")] == [True, False, True]


def test_one_in_use_is_never_closed_or_opened_twice(store: Path) -> None:
    shelf = AvatarShelf(store, cache_bytes=0)
    used = shelf.get("one")
    for name in ("two", "three"):
        shelf.get(name)
    assert shelf.get("one") is used
    assert [is_open(store / name) for name in ("one", "two", "three")] == [True, False, False]
    shelf.get("two")
    del used
    assert not is_open(store / "one"), "the last one that used it has gone"


def test_asking_for_all_keeps_none_open(store: Path) -> None:
    shelf = AvatarShelf(store)
    assert [avatar.id for avatar in shelf.all()] == ["one", "three", "two"]
    assert not any(is_open(store / name) for name in ("one", "two", "three"))


def test_one_that_cant_be_opened_spoils_only_itself(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (store / "two" / "landmarks.npy").write_bytes(b"nonsense")
    document = json.loads((store / "three" / "avatar.json").read_text())
    (store / "three" / "avatar.json").write_text(json.dumps({**document, "width": "wide"}))
    shelf = AvatarShelf(store)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert [avatar.id for avatar in shelf.all()] == ["one"]
    assert len(caplog.records) == 2, "each is told once"
    with pytest.raises(AvatarNotFound, match="two can't be opened"):
        shelf.get("two")


def test_what_may_be_deleted(store: Path) -> None:
    shelf = AvatarShelf(store, protected=frozenset({"one"}))
    assert shelf.deletable("two") == store / "two"
    with pytest.raises(AvatarProtected, match="one"):
        shelf.deletable("one")
    make_avatar_folder(store, "raw")
    assert shelf.deletable("raw") == store / "raw", "it need not be ready"
    (store / "album").mkdir()
    for no_avatar in ("..", "album", "nobody"):
        with pytest.raises(AvatarNotFound):
            shelf.deletable(no_avatar)
