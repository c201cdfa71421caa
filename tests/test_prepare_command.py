"""`musetalk-stream prepare` and `musetalk-stream avatars`, as somebody types them; and killed, at
any moment."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import make_avatar
from pictures import write_video
from skimage import data

from musetalk_stream.avatar import Cycle, find_avatars, open_avatar
from musetalk_stream.cli import main
from musetalk_stream.prepare.faces.mean_face import mean_face
from musetalk_stream.prepare.request import Request
from musetalk_stream.prepare.work import PREPARING, Work

NUM_FRAMES = 12
KILLS = 8


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "My Film.mp4"
    portrait = np.asarray(cv2.resize(data.astronaut()[:320, 65:385], (256, 256)), np.uint8)
    return write_video(path, [np.roll(portrait, number, axis=1) for number in range(NUM_FRAMES)])


def command(name: str, store: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "musetalk_stream", name, *words, "--avatars-dir", str(store)]


def result(name: str, store: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(name, store, *words), capture_output=True, text=True, timeout=60, check=False
    )


def left_in(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def test_a_film_becomes_an_avatar(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = result("prepare", tmp_path, str(film), "--name", "Ann", "--loop", "forward")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"avatar my-film is ready: 256 x 256, {NUM_FRAMES} frames at 25/s; try it: "
    )
    assert f"serve --avatar my-film --avatars-dir {tmp_path}" in done.stdout
    assert "following the face" in done.stderr
    assert "\r" not in done.stderr, "no terminal, no painting over"
    avatar = open_avatar(tmp_path / "my-film")
    assert (avatar.manifest.name, avatar.manifest.cycle) == ("Ann", Cycle.FORWARD)

    words = ["prepare", str(film), "--avatars-dir", str(tmp_path)]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "there is an avatar my-film already: --replace makes it anew" in said
    assert main([*words, "--replace", "--loop", "ping-pong"]) == 0
    assert open_avatar(tmp_path / "my-film").manifest.cycle is Cycle.PING_PONG
    assert left_in(tmp_path) == ["my-film"]


def test_a_terminal_sees_a_bar(tmp_path: Path, film: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command("prepare", tmp_path, str(film)), stderr=theirs) as running:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 4096):
                seen += piece
        except OSError:  # what Linux says when the other end is closed
            pass
    os.close(ours)
    assert running.returncode == 0
    lines = seen.decode().split("\r\x1b[K")
    assert any(line.startswith("[###") and "%  following the face" in line for line in lines)


Refuse = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """What is said about a command that fails and leaves nothing."""

    def refused(*words: str) -> str:
        store = tmp_path / "store"
        assert main(["prepare", *words, "--avatars-dir", str(store)]) == 1
        assert not store.exists() or left_in(store) == []
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("musetalk-stream: ")
        return last

    return refused


def test_what_can_not_be_made_is_refused_and_leaves_nothing(
    tmp_path: Path, film: Path, refusal: Refuse
) -> None:
    text, grey, folder = tmp_path / "text.jpg", tmp_path / "grey.png", tmp_path / "folder"
    text.write_text("no picture")
    cv2.imwrite(str(grey), np.full((256, 256, 3), 90, np.uint8))
    folder.mkdir()
    assert "there is no" in refusal(str(tmp_path / "nothing.jpg"))
    assert "official MuseTalk avatar" in refusal(str(folder))
    assert "picture" in refusal(str(text))
    assert "no face was found" in refusal(str(grey))
    assert "1 to 64 of" in refusal(str(film), "--id", "../film")
    assert "ships with us" in refusal(str(film), "--id", "demo", "--replace")
    assert "another name of avatar demo" in refusal(str(film), "--id", "test_avatar")
    assert "face_box" in refusal(str(film), "--face-box", "1,2,3")
    assert "landmarks" in refusal(str(film), "--landmarks", str(text))
    assert "there is no" in refusal(str(film), "--landmarks", str(tmp_path / "none.json"))
    assert "neither a file nor" in refusal("/dev/zero")
    assert "at most 128" in refusal(str(film), "--name", "x" * 129)
    with (large := tmp_path / "large.mp4").open("wb") as file:
        file.truncate(1_100_000)
    assert "the limit is 1 MB" in refusal(str(large), "--max-avatar-mb", "1")


def test_a_place_where_nothing_can_be_kept(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "store"
    assert main(["prepare", str(film), "--avatars-dir", str(store)]) == 1
    assert f"can't be made in {store}: " in capsys.readouterr().err


def test_landmarks_come_from_a_file(tmp_path: Path, film: Path) -> None:
    store, points = tmp_path / "store", tmp_path / "points.json"
    points.write_text(json.dumps(mean_face((40, 60, 220, 240)).tolist()))
    words = [str(film), "--id", "marked", "--landmarks", str(points), "--avatars-dir", str(store)]
    assert main(["prepare", *words]) == 0
    assert open_avatar(store / "marked").manifest.face_finder == "by hand"


def test_weights_that_are_missing_leave_an_avatar(tmp_path: Path, film: Path) -> None:
    done = result(
        "prepare", tmp_path / "store", str(film),
        "--renderer", "musetalk", "--models-dir", str(tmp_path / "models"),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "avatar my-film is made" in done.stdout
    assert "weights" in done.stderr.splitlines()[-1]
    assert open_avatar(tmp_path / "store" / "my-film").manifest.num_frames == NUM_FRAMES


def test_an_official_avatar_comes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_official import make_official  # and with it torch, which most tests do without

    folder, store = make_official(tmp_path / "Her"), tmp_path / "store"
    assert main(["prepare", str(folder), "--avatars-dir", str(store)]) == 0
    assert "avatar her is ready" in capsys.readouterr().out
    assert open_avatar(store / "her").manifest.cycle is Cycle.MIRROR
    assert left_in(store) == ["her"]


def test_it_is_prepared_for_the_renderer_too(
    tmp_path: Path, film: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--renderer", "musetalk", "--models-dir", str(models), "--device", "cpu"]
    assert main(["prepare", str(film), "--avatars-dir", str(tmp_path), *options]) == 0
    said = capsys.readouterr()
    assert "preparing it for the renderer" in said.err
    assert said.out.rstrip().endswith(f"--models-dir {models} --device cpu")
    assert list((tmp_path / "my-film" / "derived").glob("musetalk-v15-*.safetensors"))


def test_avatars_are_listed_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_avatar(tmp_path, "ann")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "avatar.json").write_text("{}")
    words = ["avatars", "--avatars-dir", str(tmp_path)]
    assert main(words) == 0
    listed = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in listed}
    assert "128x128" in rows["ann"]
    assert "512x512" in rows["demo"], "which ships, and will be in the store"
    assert "broken" in listed[-1]
    assert main([*words, "--delete", "ann"]) == 0
    assert capsys.readouterr().out == "avatar ann is deleted\n"
    assert main([*words, "--delete", "broken"]) == 0
    assert left_in(tmp_path) == []
    for name, said in (("demo", "stays"), ("ann", "no avatar 'ann'"), ("..", "no avatar")):
        assert main([*words, "--delete", name]) == 1
        assert said in capsys.readouterr().err


def test_what_was_begun_is_listed_and_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["avatars", "--avatars-dir", str(tmp_path)]
    works = [
        Work(tmp_path, Request(name, "Ann", "photo.jpg", job_id=job))
        for name, job in (("ann", ""), ("bea", "job"), ("cleo", ""))
    ]
    for work in works:
        work.begin()
    with works[2].held():
        assert main(words) == 0
        first, second, third = capsys.readouterr().out.splitlines()[-3:]
        assert first.startswith("unfinished: ann (of photo.jpg; musetalk-stream prepare goes on")
        assert second.startswith("unfinished: bea (a server's job")
        assert third == "unfinished: cleo (is being made now)"
        for name in ("ann", "bea"):
            assert main([*words, "--delete", name]) == 0
            assert capsys.readouterr().out == f"the unfinished avatar {name} is deleted\n"
        assert main([*words, "--delete", "cleo"]) == 1
        assert "end that first" in capsys.readouterr().err
    works[2].lock.mkdir()
    assert main([*words, "--delete", "cleo"]) == 1
    assert "'cleo' can't be deleted" in capsys.readouterr().err
    works[2].lock.rmdir()
    assert main([*words, "--delete", "cleo"]) == 0
    assert left_in(tmp_path) == []


def test_what_steers_a_terminal_comes_into_no_name(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(film), "--id", "ann", "--name", "\x1b[2JAnn\n" + "n" * 60]
    assert main(["prepare", *words, "--avatars-dir", str(tmp_path)]) == 0
    assert open_avatar(tmp_path / "ann").manifest.name == "[2JAnn " + "n" * 60
    capsys.readouterr()
    assert main(["avatars", "--avatars-dir", str(tmp_path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("ann"))
    assert "[2JAnn " + "n" * 24 + "…  My Film.mp4" in row


# --- interrupted, killed


@pytest.mark.parametrize(
    ("number", "after_s"),
    [(signal.SIGINT, 0.0), (signal.SIGINT, 0.2), (signal.SIGINT, 0.4), (signal.SIGTERM, 0.2)],
)
def test_whatever_is_interrupted_stays(
    tmp_path: Path, film: Path, number: signal.Signals, after_s: float
) -> None:
    """As while libraries are imported, which make other exceptions of it."""
    with subprocess.Popen(
        command("prepare", tmp_path, str(film)), stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert "reading the file" in running.stderr.readline()
        time.sleep(after_s)
        running.send_signal(number)
        said = running.stderr.read()
    # Where the interpreter was about to end, it may end by the signal itself: to a shell the same.
    assert running.returncode in (128 + number, -number), said
    assert "interrupted; to go on" in said
    assert (tmp_path / PREPARING / "my-film" / "request.json").is_file()


def test_who_interrupts_goes_on_later(tmp_path: Path, film: Path) -> None:
    words = command("prepare", tmp_path, str(film))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "looking" in line:
                running.send_signal(signal.SIGINT)
                break
        said = running.stderr.read()
    assert running.returncode == 130
    assert "interrupted; to go on, give the same command again" in said
    assert left_in(tmp_path) == [PREPARING]

    source = tmp_path / PREPARING / "my-film" / "my-film" / "source.mp4"
    made = source.stat().st_mtime_ns
    done = result("prepare", tmp_path, str(film))
    assert done.returncode == 0, done.stderr
    assert "going on with avatar my-film" in done.stderr
    assert (tmp_path / "my-film" / "source.mp4").stat().st_mtime_ns == made
    assert left_in(tmp_path) == ["my-film"]


@pytest.mark.parametrize("what", ["options", "settings", "bytes"])
def test_another_wish_begins_anew(
    tmp_path: Path, film: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, copy = tmp_path / "store", tmp_path / "My Film.mp4"
    copy.write_bytes(film.read_bytes())
    killed_when(command("prepare", store, str(copy)), "looking")
    words = [str(copy)]
    if what == "options":
        words += ["--loop", "forward"]
    elif what == "settings":
        words += ["--avatar-side", "200"]
    else:
        copy.write_bytes(film.read_bytes() + b"\0\0\0\x08free")  # a box without a meaning
    assert main(["prepare", *words, "--avatars-dir", str(store)]) == 0
    assert "going on" not in capsys.readouterr().err
    assert left_in(store) == ["my-film"]


def test_killed_after_the_last_step_it_only_tidies_up(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", str(film), "--avatars-dir", str(tmp_path), "--replace"]
    assert main(words) == 0
    made = (tmp_path / "my-film").stat().st_ino
    request = Request("my-film", "My Film", "My Film.mp4", job_id="")
    left = Work(tmp_path, request)
    left.begin(replace=True)
    left.avatar.rmdir()  # as it is once the avatar has been renamed to its place
    assert main(words) == 0
    assert "avatar my-film is ready" in capsys.readouterr().out
    assert (tmp_path / "my-film").stat().st_ino == made
    assert left_in(tmp_path) == ["my-film"]


def test_a_job_of_a_server_is_left_to_it(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Work(tmp_path, Request("my-film", "My Film", "My Film.mp4", job_id="job"))
    job.begin()
    assert main(["prepare", str(film), "--avatars-dir", str(tmp_path)]) == 1
    assert "a server's job: start the server" in capsys.readouterr().err
    assert job.folder.exists()


def killed_when(words: list[str], stage: str) -> None:
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        next(line for line in running.stderr if stage in line)
        running.kill()


def test_whoever_works_on_it_is_not_disturbed(tmp_path: Path, film: Path) -> None:
    words = command("prepare", tmp_path, str(film))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        next(line for line in running.stderr if "reading" in line)
        other = result("prepare", tmp_path, str(film), "--replace")
        running.stderr.read()
    assert running.returncode == 0
    if "going on" not in other.stderr and other.returncode:  # it came before the first had finished
        assert "is being made by another process" in other.stderr
    assert left_in(tmp_path) == ["my-film"]


def test_killed_at_any_moment_it_goes_on(tmp_path: Path, film: Path) -> None:
    """Each kill ends a process that goes on where the one before it was killed."""
    began_s = time.monotonic()
    assert result("prepare", tmp_path / "whole", str(film)).returncode == 0
    whole_s = time.monotonic() - began_s
    chance = random.Random(20)
    store, num_made = tmp_path / "store", 0
    for number in range(KILLS):
        store.mkdir(exist_ok=True)
        # Evenly spread over the whole duration, and by chance between.
        after_s = whole_s * (number + chance.random()) / KILLS
        words = command("prepare", store, str(film))
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as running:
            try:
                running.wait(after_s)
            except subprocess.TimeoutExpired:
                running.kill()
            running.wait()
            assert_none_left_of(running.pid)
        assert set(left_in(store)) <= {PREPARING, "my-film"}
        for folder in find_avatars(store).values():
            assert open_avatar(folder).manifest.num_frames == NUM_FRAMES, "made is whole"
            num_made += 1
            assert main(["avatars", "--avatars-dir", str(store), "--delete", folder.name]) == 0
    done = result("prepare", store, str(film))
    assert done.returncode == 0, done.stderr
    assert left_in(store) == ["my-film"]
    assert num_made < KILLS, "some were killed before they had made one"


def assert_none_left_of(session: int) -> None:
    """No process of a session is there any more, or soon: FFmpeg ends at its broken pipe."""
    until_s = time.monotonic() + 5
    while alive := [path.parent.name for path in Path("/proc").glob("[0-9]*/stat")
                    if session_of(path) == session]:  # fmt: skip
        assert time.monotonic() < until_s, alive
        time.sleep(0.02)


def session_of(stat: Path) -> int | None:
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[3])
