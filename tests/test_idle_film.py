"""A second video, shown in silence: read before the first, its face found for itself."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import write_video
from portraits import astronaut, heads, placed
from servers import Command

from musetalk_stream.avatar import open_avatar
from musetalk_stream.config import Config, StorageConfig
from musetalk_stream.errors import InvalidParameter, NoFace, UnsupportedMedia
from musetalk_stream.prepare.request import Request
from musetalk_stream.prepare.steps import run
from musetalk_stream.prepare.work import Work

SIZE = (320, 240)
IDLE_X, SPEAKING_X = 90, 200  # where the face is
IDLE_FRAMES, SPEAKING_FRAMES = 6, 10


@dataclass(frozen=True)
class Films:
    speaking: Path
    idle: Path


def film(path: Path, x: float, num_frames: int, size: tuple[int, int] = SIZE) -> Path:
    """A face that drifts to the right by a pixel per frame."""
    pictures = [heads(size, placed(x + number, 110, 80)) for number in range(num_frames)]
    write_video(path, [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures])
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    folder = tmp_path_factory.mktemp("films")
    return Films(
        film(folder / "speaking.mp4", SPEAKING_X, SPEAKING_FRAMES),
        film(folder / "idle.mp4", IDLE_X, IDLE_FRAMES),
    )


def begun(store: Path, upload: Path, idle: Path) -> Work:
    work = Work(store, Request(avatar_id="ann", name="Ann", file_name=upload.name, job_id="job"))
    work.begin()
    shutil.copyfile(upload, work.upload)
    shutil.copyfile(idle, work.idle_film)
    return work


def config_for(store: Path) -> Config:
    return Config(storage=StorageConfig(avatars_dir=store))


def made(command: Command, store: Path, *arguments: object) -> tuple[int, str]:
    result = command("prepare", *map(str, arguments), "--avatars-dir", str(store))
    return result.returncode, result.stderr


def test_idle_pictures_come_first_and_faces_are_found_in_both(
    command: Command, tmp_path: Path, films: Films
) -> None:
    status, words = made(command, tmp_path, films.speaking, "--idle", films.idle, "--id", "ann")
    assert status == 0, words
    avatar = open_avatar(tmp_path / "ann")
    assert avatar.manifest.idle_frames == IDLE_FRAMES
    assert avatar.manifest.num_frames == IDLE_FRAMES + SPEAKING_FRAMES
    middle = avatar.landmarks.mean(axis=1)[:, 0]
    assert np.abs(middle[:IDLE_FRAMES] - np.arange(IDLE_FRAMES) - middle[0]).max() < 2
    assert 85 < middle[IDLE_FRAMES] - middle[0] < 125
    assert {avatar.picture(frame) for frame in range(50)} == set(range(IDLE_FRAMES))


def test_what_was_followed_is_not_followed_again(tmp_path: Path, films: Films) -> None:
    work = begun(tmp_path, films.speaking, films.idle)
    run(work, config_for(tmp_path), lambda progress: None)
    whole = np.load(work.followed)
    rows = np.concatenate([whole[IDLE_FRAMES:], whole[:3]])  # as they are found; then it was killed
    work.followed.with_suffix(".part").write_bytes(rows.tobytes() + b"half a row")
    for path in (work.followed, work.manifest, work.landmarks):
        path.unlink()
    run(work, config_for(tmp_path), lambda progress: None)
    assert np.allclose(np.load(work.followed), whole, atol=0.5)
    assert open_avatar(work.finish()).manifest.idle_frames == IDLE_FRAMES


def test_the_face_must_be_in_the_idle_video_too(tmp_path: Path, films: Films) -> None:
    empty = tmp_path / "empty.mp4"
    write_video(empty, [np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)] * 4)
    work = begun(tmp_path / "store", films.speaking, empty)
    with pytest.raises(NoFace, match="in the idle video: no face"):
        run(work, config_for(tmp_path / "store"), lambda progress: None)


def test_the_two_must_have_the_same_shape(tmp_path: Path, films: Films) -> None:
    tall = film(tmp_path / "tall.mp4", 60, 4, (180, 320))
    work = begun(tmp_path / "store", films.speaking, tall)
    with pytest.raises(InvalidParameter, match="same shape: 180x320 does not go with 320x240"):
        run(work, config_for(tmp_path / "store"), lambda progress: None)


def test_what_is_wrong_with_the_idle_video_is_told_as_such(tmp_path: Path, films: Films) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    work = begun(tmp_path / "store", films.speaking, text)
    with pytest.raises(UnsupportedMedia, match=r"^in the idle video: "):
        run(work, config_for(tmp_path / "store"), lambda progress: None)


def test_it_goes_with_a_video_only(command: Command, tmp_path: Path, films: Films) -> None:
    photo = tmp_path / "ann.png"
    cv2.imwrite(str(photo), astronaut())
    store = tmp_path / "store"
    for arguments in ((photo, "--idle", films.idle), (films.speaking, "--idle", photo)):
        status, words = made(command, store, *arguments)
        assert status == 1
        assert words.endswith("musetalk-stream: idle: must be a video, and goes with a video\n")
    status, words = made(command, store, films.speaking, "--idle", tmp_path / "none.mp4")
    assert (status, "there is no" in words) == (1, True)
    assert not list(store.glob("*/"))
    assert not list(store.glob(".preparing/*"))
