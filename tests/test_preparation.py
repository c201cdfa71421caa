"""From an upload to an avatar: the steps, the process in which they run, how long they say it
takes."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pictures import files_of_at_most, write_video
from skimage import data

from musetalk_stream.avatar import Cycle, open_avatar
from musetalk_stream.config import Config, PrepareConfig, StorageConfig, as_environment
from musetalk_stream.errors import (
    DamagedMedia,
    FaceFinderMissing,
    NoFace,
    SetupError,
    StorageFull,
)
from musetalk_stream.prepare.faces.look import read_look
from musetalk_stream.prepare.faces.mean_face import mean_face
from musetalk_stream.prepare.files import write_array
from musetalk_stream.prepare.progress import Estimate, Progress, Stage
from musetalk_stream.prepare.request import FaceHint, Loop, Request
from musetalk_stream.prepare.steps import Outcome, run
from musetalk_stream.prepare.work import Work

VIDEO_FRAMES = 12
SIDE = 256
Told = list[dict[str, Any]]


def config_for(store: Path, **settings: Any) -> Config:
    return Config(storage=StorageConfig(avatars_dir=store), prepare=PrepareConfig(**settings))


def begun(store: Path, upload: Path, **wanted: Any) -> Work:
    """A preparation of a file that has arrived."""
    request = Request(avatar_id="ann", name="Ann", file_name=upload.name, job_id="job")
    work = Work(store, replace(request, **wanted))
    work.begin()
    shutil.copyfile(upload, work.upload)
    return work


def small_astronaut() -> npt.NDArray[np.uint8]:
    """RGB; the face is 74 pixels wide and in the middle."""
    portrait = data.astronaut()[:320, 65:385]
    return np.asarray(cv2.resize(portrait, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "ann.png"
    cv2.imwrite(str(path), small_astronaut()[..., ::-1])
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who moves to the right, a pixel per frame."""
    path = tmp_path_factory.mktemp("video") / "ann.mp4"
    picture = small_astronaut()
    write_video(path, [np.roll(picture, number, axis=1) for number in range(VIDEO_FRAMES)])
    return path


def process(work: Path | str, store: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "musetalk_stream.prepare", *options, str(work)],
        env=dict(os.environ) | as_environment(config_for(store)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told_by(running: "subprocess.Popen[str]") -> tuple[int, Told, str]:
    """How a process ended, what it told, and what it said besides."""
    out, err = running.communicate(timeout=60)
    return running.returncode, [json.loads(line) for line in out.splitlines()], err


def left_in(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


# --- the steps


def test_a_video_becomes_an_avatar(tmp_path: Path, video: Path) -> None:
    work = begun(tmp_path, video)
    (work.avatar / "derived.of-a-killed-process").mkdir()
    told: list[Progress] = []
    assert run(work, config_for(tmp_path), told.append) is Outcome.MADE
    avatar = open_avatar(work.finish())
    assert not list((tmp_path / "ann").glob("derived.*"))
    made = avatar.manifest
    assert (made.width, made.height, made.num_frames) == (SIDE, SIDE, VIDEO_FRAMES)
    assert made.fps == 25
    assert made.cycle is Cycle.PING_PONG
    assert made.original_name == "ann.mp4"
    assert made.original_sha256 == hashlib.sha256(video.read_bytes()).hexdigest()
    assert made.face_finder.startswith("mediapipe")
    assert "ann.mp4" in made.provenance
    drift = np.diff(avatar.landmarks.mean(axis=1)[:, 0])
    assert np.abs(drift - 1).max() < 0.5, "the face is followed"
    assert left_in(tmp_path) == ["ann"]
    assert sorted(path.name for path in avatar.folder.rglob("*")) == [
        "avatar.json", "derived", "frames.i420", "landmarks.npy", "placeholder.mp4", "source.mp4",
        "stamp.json",
    ]  # fmt: skip
    total = sum(path.stat().st_size for path in avatar.folder.rglob("*") if path.is_file())
    assert total < 2 * avatar.frames.nbytes
    stages = list(dict.fromkeys(each.stage for each in told))
    assert stages == [Stage.READING, Stage.LOOKING, Stage.FOLLOWING, Stage.ENCODING]
    assert told[-1] == Progress(Stage.ENCODING, 1.0)
    for one, other in pairwise(told):
        assert one.stage is not other.stage or one.share <= other.share


def test_a_photo_is_approved_and_moves(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo, approve=True)
    told: list[Progress] = []
    assert run(work, config_for(tmp_path), told.append) is Outcome.LOOKED
    seen = cv2.imread(str(work.picture))
    assert seen is not None
    assert seen.shape == (SIDE, SIDE, 3)
    found = read_look(work.look.read_text())
    assert len(found.landmarks) == 68
    assert found.mask, "what will be generated is shown"
    looked = work.look.stat().st_mtime_ns
    work.approved.touch()
    assert run(work, config_for(tmp_path), told.append) is Outcome.MADE
    assert work.look.stat().st_mtime_ns == looked, "nobody looks twice"
    avatar = open_avatar(work.finish())
    assert avatar.manifest.cycle is Cycle.FORWARD
    assert avatar.manifest.num_frames == 200
    assert np.allclose(avatar.landmarks[0], found.points, atol=0.01)
    assert Stage.ANIMATING in {each.stage for each in told}


@pytest.mark.parametrize("size", [(256, 254), (254, 256), (258, 256)])
def test_photos_of_any_even_size(tmp_path: Path, photo: Path, size: tuple[int, int]) -> None:
    resized = tmp_path / "resized.png"
    cv2.imwrite(str(resized), cv2.resize(cv2.imread(str(photo)), size))
    work = begun(tmp_path / "store", resized)
    assert run(work, config_for(tmp_path / "store"), lambda progress: None) is Outcome.MADE
    avatar = open_avatar(work.finish())
    shown = avatar.frames[0].reshape(-1, size[0])[: size[1]].astype(int)
    luma = cv2.cvtColor(cv2.imread(str(resized)), cv2.COLOR_BGR2GRAY) * (219 / 255) + 16
    assert np.abs(shown - luma).mean() < 6  # BT.709 and BT.601 weigh colours differently


def test_a_hint_is_in_pixels_of_the_original(tmp_path: Path, photo: Path) -> None:
    points = tuple((float(x), float(y)) for x, y in mean_face((40, 60, 220, 240)))
    work = begun(tmp_path, photo, approve=True, hint=FaceHint(landmarks=points))
    run(work, config_for(tmp_path, avatar_side=SIDE // 2), lambda progress: None)
    found = read_look(work.look.read_text())
    assert (found.width, found.height) == (SIDE // 2, SIDE // 2)
    assert np.allclose(found.points, np.array(points) / 2, atol=1e-3)


def test_another_hint_is_looked_at_anew(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo, approve=True)
    run(work, config_for(tmp_path), lambda progress: None)
    before = read_look(work.look.read_text())
    work.look.unlink()
    work.keep(replace(work.request, hint=FaceHint(box=(10, 180, 90, 250))))  # a part of her suit
    run(work, config_for(tmp_path), lambda progress: None)
    after = read_look(work.look.read_text())
    assert after.finder == "by hand"
    assert after.notes != before.notes


def test_following_goes_on_after_the_last_whole_row(tmp_path: Path, video: Path) -> None:
    work = begun(tmp_path, video, approve=True)
    config = config_for(tmp_path)
    run(work, config, lambda progress: None)
    work.approved.touch()
    start = read_look(work.look.read_text()).points
    known = np.stack([start + np.array([number, 0], np.float32) for number in range(5)])
    torn = known.tobytes() + b"half of a row"
    work.followed.with_suffix(".part").write_bytes(torn)
    told: list[Progress] = []
    run(work, config, told.append)
    assert min(each.share for each in told if each.stage is Stage.FOLLOWING) == 6 / VIDEO_FRAMES
    assert np.array_equal(np.load(work.followed)[:5], known)
    assert not np.isnan(np.load(work.followed)).any()


def test_a_face_that_comes_late_is_found_and_followed_to_both_sides(tmp_path: Path) -> None:
    picture = small_astronaut()
    shown = [np.zeros_like(picture)] * 4 + [picture] * 8
    write_video(tmp_path / "late.mp4", shown)
    work = begun(tmp_path / "store", tmp_path / "late.mp4", loop=Loop.FORWARD)
    run(work, config_for(tmp_path / "store"), lambda progress: None)
    avatar = open_avatar(work.finish())
    is_seen = np.isfinite(avatar.landmarks).all(axis=(1, 2))
    assert is_seen.tolist() == [False] * 4 + [True] * 8
    assert avatar.manifest.cycle is Cycle.FORWARD


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    work = begun(tmp_path / "store", tmp_path / "cut.png")
    with pytest.raises(DamagedMedia):
        run(work, config_for(tmp_path / "store"), lambda progress: None)


def test_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((SIDE, SIDE, 3), 90, np.uint8))
    work = begun(tmp_path / "store", tmp_path / "grey.png")
    with pytest.raises(NoFace, match="face_box"):
        run(work, config_for(tmp_path / "store"), lambda progress: None)


def test_without_a_finder_faces_are_marked_by_hand(tmp_path: Path, photo: Path) -> None:
    config = config_for(tmp_path, face_finder="dwpose")
    config = replace(config, musetalk=replace(config.musetalk, models_dir=tmp_path / "none"))
    work = begun(tmp_path, photo, approve=True)
    with pytest.raises(FaceFinderMissing, match="by hand"):
        run(work, config, lambda progress: None)
    work.keep(replace(work.request, hint=FaceHint(box=(90, 60, 166, 150))))
    assert run(work, config, lambda progress: None) is Outcome.LOOKED
    assert read_look(work.look.read_text()).finder == "by hand"


def test_changed_landmarks_are_not_shown(tmp_path: Path, video: Path) -> None:
    work = begun(tmp_path, video)
    run(work, config_for(tmp_path), lambda progress: None)
    folder = work.finish()
    np.save(folder / "landmarks.npy", np.load(folder / "landmarks.npy") + 1)
    with pytest.raises(SetupError, match=r"landmarks\.npy is not what"):
        open_avatar(folder)


# --- full disks


def test_an_array_that_does_not_fit_says_why(tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(OSError, match="too large") as caught:
        write_array(tmp_path / "a.npy", np.zeros(1000))
    assert caught.value.errno == errno.EFBIG


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"only who may mount can have a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_too_little_room_is_told_before_anything_is_done(tmp_path: Path, photo: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as store:
        work = begun(store, photo)
        with pytest.raises(StorageFull, match=r"needs about \d+ MB .* and 1\d MB are free"):
            run(work, config_for(store), lambda progress: None)
        assert not any(work.avatar.iterdir())


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(tmp_path: Path, photo: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as store:
        work = begun(store, photo, approve=True)
        assert run(work, config_for(store), lambda progress: None) is Outcome.LOOKED
        work.approved.touch()
        ballast = store / "ballast"
        with ballast.open("wb") as file, suppress(OSError):
            while shutil.disk_usage(store).free > 4 << 20:
                file.write(bytes(1 << 20))
                file.flush()
        status, told, err = told_by(process(work.folder, store))
        assert status == 1, err
        assert told[-1]["error"]["code"] == "storage_full"
        assert "the disk is full" in told[-1]["error"]["detail"]
        work.discard()
        assert left_in(store) == ["ballast"]


# --- the process


def test_a_process_makes_an_avatar_and_tells_how_far_it_is(tmp_path: Path, video: Path) -> None:
    work = begun(tmp_path, video)
    status, told, err = told_by(process(work.folder, tmp_path))
    assert (status, err) == (0, "")
    assert told[-1] == {"made": True}
    assert all(set(each) == {"stage", "share"} for each in told[:-1])
    assert left_in(tmp_path) == ["ann"]


def test_a_process_waits_for_approval(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo, approve=True)
    status, told, err = told_by(process(work.folder, tmp_path))
    assert (status, told[-1], err) == (0, {"looked": True}, "")
    assert work.look.is_file()
    assert work.picture.is_file()


def test_a_process_tells_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    work = begun(tmp_path / "store", tmp_path / "text.png")
    status, told, _ = told_by(process(work.folder, tmp_path / "store"))
    assert status == 1
    assert set(told[-1]["error"]) == {"title", "detail", "code", "status", "retryable"}
    assert told[-1]["error"]["code"] == "unsupported_media"
    assert work.upload.exists(), "whoever started it discards"


@pytest.mark.parametrize("what", ["nothing", "damaged"])
def test_a_process_needs_something_to_go_on_with(tmp_path: Path, what: str) -> None:
    folder = tmp_path / ".preparing" / what
    folder.mkdir(parents=True)
    if what == "damaged":
        (folder / "request.json").write_text("{}")
    status, told, _ = told_by(process(folder, tmp_path))
    assert (status, told[-1]["error"]["code"]) == (1, "preparation_failed")


def test_a_process_that_can_not_hold_its_work_says_so(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo)
    work.lock.mkdir()
    status, told, _ = told_by(process(work.folder, tmp_path))
    assert (status, told[-1]["error"]["code"]) == (1, "preparation_failed")


def test_no_two_processes_prepare_the_same(tmp_path: Path, video: Path) -> None:
    work = begun(tmp_path, video)
    with work.held():
        status, told, _ = told_by(process(work.folder, tmp_path))
    assert (status, told[-1]["error"]["code"]) == (1, "avatar_exists")
    assert work.upload.exists()


def test_a_file_is_examined(tmp_path: Path, video: Path) -> None:
    status, told, err = told_by(process(video, tmp_path, "--examine"))
    assert (status, err) == (0, "")
    media = {"kind": "video", "width": SIDE, "height": SIDE, "fps": 25.0}
    assert told[-1]["media"] == pytest.approx(media | {"duration_s": VIDEO_FRAMES / 25})


def test_an_examined_file_may_be_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    status, told, _ = told_by(process(tmp_path / "empty", tmp_path, "--examine"))
    assert (status, told[-1]["error"]["code"]) == (1, "empty_media")


def test_those_who_speak_come_first(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo)
    with process(work.folder, tmp_path) as running:
        assert running.stdout is not None
        running.stdout.readline()
        assert os.getpriority(os.PRIO_PROCESS, running.pid) == 19
        assert os.sched_getscheduler(running.pid) == os.SCHED_IDLE
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        assert "Max core file size        0" in limits
        running.kill()


def test_no_process_outlives_who_started_it(tmp_path: Path, photo: Path) -> None:
    work = begun(tmp_path, photo)
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'musetalk_stream.prepare', sys.argv[1]],"
        " stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    environment = dict(os.environ) | as_environment(config_for(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(work.folder)],
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        while not work.lock.exists():  # it has begun
            time.sleep(0.01)
        parent.kill()
    until_s = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < until_s
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # whoever inherits the dead need not fetch them at once


# --- how long it takes


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_percent_never_fall_and_the_rest_is_told() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    assert (estimate.percent, estimate.seconds_left) == (0, None)
    percents = []
    for stage in (Stage.READING, Stage.LOOKING, Stage.FOLLOWING, Stage.ENCODING):
        for step in range(11):
            estimate.update(Progress(stage, step / 10))
            percents.append(estimate.percent)
            clock.now_s += 1.0
    assert percents == sorted(percents)
    assert percents[-1] == 99, "100 is for who is done"
    assert estimate.seconds_left == 0.0


def test_a_photo_goes_evenly_though_it_has_other_stages() -> None:
    estimate = Estimate(Clock())
    estimate.update(Progress(Stage.LOOKING, 0.0))
    assert estimate.percent == 0
    estimate.update(Progress(Stage.ANIMATING, 0.0))
    assert estimate.percent < 40


def test_the_time_in_which_somebody_looks_is_not_counted() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.update(Progress(Stage.LOOKING, 0.0))
    clock.now_s = 2.0
    estimate.update(Progress(Stage.LOOKING, 1.0))
    clock.now_s = 3600.0
    estimate.update(Progress(Stage.ANIMATING, 0.0))
    left_s = estimate.seconds_left
    assert left_s is not None
    assert left_s < 120


def test_who_goes_on_in_the_middle_is_not_twice_as_fast() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.update(Progress(Stage.FOLLOWING, 0.5))
    clock.now_s = 2.0
    estimate.update(Progress(Stage.FOLLOWING, 0.6))
    left_s = estimate.seconds_left
    assert left_s is not None
    assert 8 < left_s < 20, "a tenth of the stage took 2 s"


def test_latents_have_a_speed_of_their_own() -> None:
    clock = Clock()
    estimate = Estimate(clock, latents=True)
    for stage in (Stage.LOOKING, Stage.ANIMATING, Stage.ENCODING):
        estimate.update(Progress(stage, 1.0))
        clock.now_s += 1.0
    before = estimate.percent
    assert before < 50
    estimate.update(Progress(Stage.LATENTS, 0.0))
    clock.now_s += 10.0
    estimate.update(Progress(Stage.LATENTS, 0.1))
    assert estimate.percent > before
    assert estimate.seconds_left == pytest.approx(90.0)
