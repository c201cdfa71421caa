"""The folder in which an avatar is made: who may be in it, what is left of it, and what was asked
for."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import make_avatar_folder

from musetalk_stream.avatar import find_avatars, is_avatar_id, shipped_avatars
from musetalk_stream.config import EncoderConfig, bundled
from musetalk_stream.errors import AvatarExists, InvalidParameter, PreparationFailed, SetupError
from musetalk_stream.prepare import prepare_store
from musetalk_stream.prepare.request import (
    FaceHint,
    Loop,
    Request,
    avatar_id_of,
    read_hint,
    read_request,
)
from musetalk_stream.prepare.work import (
    PREPARING,
    RECEIVING,
    Work,
    forget_uploads,
    open_work,
    sweep,
    throw_away,
    unfinished,
)

REQUEST = Request(avatar_id="ann", name="Ann", file_name="ann.jpg", job_id="job")
WEEK_S = 7 * 24 * 3600


def begun(store: Path, request: Request = REQUEST) -> Work:
    work = Work(store, request)
    work.begin()
    work.upload.write_bytes(b"upload")
    return work


def left_in(store: Path) -> list[str]:
    return sorted(str(path.relative_to(store)) for path in store.rglob("*"))


def hold_elsewhere(work: Work) -> "subprocess.Popen[str]":
    """Another process, which holds the folder until its standard input ends."""
    code = (
        "import sys; from pathlib import Path; from musetalk_stream.prepare.work import open_work\n"
        "with open_work(Path(sys.argv[1])).held(): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(work.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_an_avatar_comes_into_its_place_whole(tmp_path: Path) -> None:
    work = begun(tmp_path)
    (work.avatar / "avatar.json").write_text("{}")
    assert find_avatars(tmp_path) == {}, "not before it is finished"
    assert work.finish() == tmp_path / "ann"
    assert left_in(tmp_path) == ["ann", "ann/avatar.json"]


def test_two_of_one_id_can_not_be_made(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(AvatarExists, match="being made"):
        Work(tmp_path, REQUEST).begin()
    (tmp_path / "bea").mkdir()
    other = Work(tmp_path, replace(REQUEST, avatar_id="bea"))
    with pytest.raises(AvatarExists, match="choose another id"):
        other.begin()


def test_an_avatar_that_came_meanwhile_stays(tmp_path: Path) -> None:
    work = begun(tmp_path)
    make_avatar_folder(tmp_path, "ann")
    (work.avatar / "avatar.json").write_text("{}")
    with pytest.raises(AvatarExists):
        work.finish()
    assert (tmp_path / "ann" / "source.mp4").is_file()


def test_an_old_one_is_replaced_at_the_end(tmp_path: Path) -> None:
    make_avatar_folder(tmp_path, "ann")
    work = Work(tmp_path, REQUEST)
    work.begin(replace=True)
    (work.avatar / "avatar.json").write_text("new")
    assert (tmp_path / "ann" / "source.mp4").is_file(), "until then, the old one is there"
    work.finish(replace=True)
    assert left_in(tmp_path) == ["ann", "ann/avatar.json"]


def test_an_old_one_stays_where_no_new_one_comes(tmp_path: Path) -> None:
    make_avatar_folder(tmp_path, "ann")
    work = Work(tmp_path, REQUEST)
    work.begin(replace=True)
    work.avatar.rmdir()  # so that it can't be renamed
    with pytest.raises(FileNotFoundError):
        work.finish(replace=True)
    assert (tmp_path / "ann" / "source.mp4").is_file()
    work.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["ann"]


def test_of_many_who_begin_at_once_one_does(tmp_path: Path) -> None:
    """And the others neither take its folder away nor trip over it."""

    def make(store: Path) -> str:
        work = Work(store, REQUEST)
        try:
            with work.held():
                work.begin()
                (work.avatar / "avatar.json").write_text("{}")
                work.finish()
        except AvatarExists:
            work.discard()
            return "refused"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            store = tmp_path / str(number)
            ends = sorted(pool.map(make, [store] * 4))
            assert ends == ["made", "refused", "refused", "refused"]
            assert left_in(store) == ["ann", "ann/avatar.json"]


def test_who_comes_second_is_told_what_to_do(tmp_path: Path) -> None:
    by_hand = begun(tmp_path, replace(REQUEST, job_id=""))
    with pytest.raises(AvatarExists, match="avatars --delete ann"):
        Work(tmp_path, REQUEST).begin()
    with by_hand.held(), pytest.raises(AvatarExists, match="by another process"):
        Work(tmp_path, REQUEST).begin()


def test_what_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    begun(tmp_path).discard()
    assert left_in(tmp_path) == []
    Work(tmp_path, REQUEST).discard()  # once more does no harm


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    work = begun(tmp_path)
    with hold_elsewhere(work) as other:
        with pytest.raises(AvatarExists, match="another process"), work.held():
            raise AssertionError("it is held")
        work.discard()
        assert work.upload.exists(), "who is at it is not disturbed"
        assert unfinished(tmp_path) == []
        os.utime(work.folder, (0, 0))
        other.kill()
        other.wait()
    with work.held():
        assert not work.is_held_by_others()
        work.discard()
    assert left_in(tmp_path) == []


def test_what_was_asked_for_can_change(tmp_path: Path) -> None:
    work = begun(tmp_path)
    hint = FaceHint(box=(1, 2, 3, 4), point=(5, 6), landmarks=((0.5, 1.5),) * 68)
    work.keep(replace(REQUEST, hint=hint, loop=Loop.FORWARD, approve=True))
    assert open_work(work.folder).request == work.request
    assert read_request(work.request.to_json()).hint == hint


def test_jobs_go_on_in_their_order(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        work = begun(tmp_path, replace(REQUEST, avatar_id=name))
        os.utime(work.folder / "request.json", (1000 - age, 1000 - age))
    by_hand = begun(tmp_path, replace(REQUEST, avatar_id="by-hand", job_id=""))
    found = [work.request.avatar_id for work in unfinished(tmp_path)]
    assert found == ["old", "middle", "new"]
    assert by_hand.upload.exists(), "whoever began it goes on with it"


@pytest.mark.parametrize("missing", ["upload.bin", "request.json", "ann"])
def test_what_can_not_go_on_goes(tmp_path: Path, missing: str) -> None:
    work = begun(tmp_path)
    path = work.folder / missing
    path.rmdir() if path.is_dir() else path.unlink()
    assert unfinished(tmp_path) == []
    assert not work.folder.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hint": {}}', "\xff"])
def test_a_damaged_request_is_told(tmp_path: Path, text: str) -> None:
    work = begun(tmp_path)
    (work.folder / "request.json").write_text(text)
    with pytest.raises(PreparationFailed, match="nothing to go on with"):
        open_work(work.folder)


def test_old_leftovers_are_swept_up(tmp_path: Path) -> None:
    for name in ("fresh", "old", "held"):
        work = begun(tmp_path, replace(REQUEST, avatar_id=name))
        if name != "fresh":
            for path in (work.folder, *work.folder.iterdir()):
                os.utime(path, (path.stat().st_mtime - WEEK_S - 60,) * 2)
    (tmp_path / ".deleted-x-1").mkdir()
    with hold_elsewhere(work) as other:
        os.utime(work.lock, (0, 0))
        os.utime(work.folder, (0, 0))
        sweep(tmp_path)
        other.kill()
    left = sorted(path.name for path in (tmp_path / ".preparing").iterdir())
    assert left == ["fresh", "held", "held.lock"]
    shutil.rmtree(work.folder)
    sweep(tmp_path)
    assert not work.lock.exists(), "who held it was killed, and its folder is gone"
    assert not (tmp_path / ".deleted-x-1").exists()


def test_uploads_that_were_cut_off_go(tmp_path: Path) -> None:
    folder = tmp_path / PREPARING / f"{RECEIVING}x1"
    folder.mkdir(parents=True)
    (folder / "file").write_text("half of")
    work = begun(tmp_path)
    forget_uploads(tmp_path)
    assert not folder.exists()
    assert work.folder.exists()


def test_an_avatar_is_thrown_away(tmp_path: Path) -> None:
    make_avatar_folder(tmp_path, "ann")
    throw_away(tmp_path / "ann")
    assert left_in(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        throw_away(tmp_path / "ann")


def test_a_broken_avatar_of_one_user_keeps_no_server_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped, store = tmp_path / "shipped", tmp_path / "store"
    make_avatar_folder(shipped, "one")
    broken = make_avatar_folder(store, "broken")
    (broken / "source.mp4").write_bytes(b"broken")
    cut = make_avatar_folder(store, "cut")
    (cut / "avatar.json").write_text(json.dumps({"format": 1})[:-1])
    assert sorted(prepare_store(store, find_avatars(shipped), EncoderConfig())) == ["one"]
    assert "avatar broken is left out" in caplog.text
    assert "avatar cut is left out" in caplog.text
    with pytest.raises(SetupError, match="restore it"):
        prepare_store(store, find_avatars(shipped), EncoderConfig(), needed=["broken"])


def test_what_users_have_made_beside_those_that_ship_is_theirs(tmp_path: Path) -> None:
    """In a checkout both are in one folder."""
    make_avatar_folder(bundled("avatars"), name := f"test-{tmp_path.name[:40]}")
    try:
        assert list(shipped_avatars()) == ["demo"]
    finally:
        shutil.rmtree(bundled("avatars") / name)


def test_no_name_of_a_file_in_it_is_an_id(tmp_path: Path) -> None:
    """The folder of the avatar itself stands among them, by its id."""
    work = Work(tmp_path, Request(avatar_id="ann", name="", file_name="", job_id=""))
    inside = [path for path in vars(work).values() if isinstance(path, Path)]
    names = {path.name for path in inside if path.parent == work.folder and path != work.avatar}
    assert len(names) > 5
    assert not any(is_avatar_id(name) for name in names)


# --- what was asked for


@pytest.mark.parametrize(
    ("file_name", "avatar_id"),
    [
        ("Ann.JPG", "ann"),
        ("Été 2024 (1).jpeg", "ete-2024-1"),
        ("../../etc/passwd", "passwd"),
        ("写真.png", "avatar"),
        ("", "avatar"),
        (".png", "png"),
        ("-_-.mp4", "avatar"),
        ("x" * 300 + ".mp4", "x" * 56),
        ("a\0b\nc.mov", "a-b-c"),
    ],
)
def test_an_id_from_a_file_name(file_name: str, avatar_id: str) -> None:
    assert avatar_id_of(file_name) == avatar_id
    assert is_avatar_id(avatar_id)


def test_hints_are_read() -> None:
    points = [[float(n), n / 2] for n in range(68)]
    hint = read_hint({"face_box": "1,2, 3.5,4", "face_point": "5,6", "landmarks": str(points)})
    assert hint.box == (1, 2, 3.5, 4)
    assert hint.point == (5, 6)
    assert hint.landmarks == tuple((x, y) for x, y in points)
    assert not read_hint({"face_box": "", "face_point": " "})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("face_box", "1,2,3"),
        ("face_box", "1,2,3,x"),
        ("face_box", "1,2,3,nan"),
        ("face_box", "3,2,1,4"),
        ("face_box", "1,2,inf,4"),
        ("face_point", "1"),
        ("face_point", "1;2"),
        ("landmarks", "nothing"),
        ("landmarks", "[[1, 2]]"),
        ("landmarks", "7"),
        ("landmarks", "[" * 100_000),
        ("landmarks", str([[1, 2, 3]] * 68)),
        ("landmarks", json.dumps([[1, float("nan")]] * 68)),
    ],
)
def test_a_wrong_hint_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{name}: must be"):
        read_hint({name: text})
