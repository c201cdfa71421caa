"""A face through a whole video, as a preparation follows it: marks, cuts and gaps."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pictures import write_video
from portraits import Matrix, heads, placed

from musetalk_stream.config import Config, StorageConfig
from musetalk_stream.errors import FaceCut, FaceFinderMissing, FaceTooSmall
from musetalk_stream.prepare.faces.mean_face import mean_face
from musetalk_stream.prepare.request import FaceHint, Request
from musetalk_stream.prepare.steps import run
from musetalk_stream.prepare.work import Work

pytest.importorskip("mediapipe", reason="the extra `face` has no wheel for this Python")

SIZE = (320, 240)
HERE = placed(160, 120, 80)
BOX = (110.0, 70.0, 210.0, 180.0)


def film(path: Path, *places: Matrix | None) -> Path:
    """A picture per place, with nobody in it for None."""
    pictures = [heads(SIZE) if place is None else heads(SIZE, place) for place in places]
    return write_video(path, [np.ascontiguousarray(each[..., ::-1]) for each in pictures])


def begun(store: Path, upload: Path, hint: FaceHint, idle: Path | None = None) -> Work:
    request = Request("ann", "Ann", upload.name, "job", hint=hint)
    work = Work(store, request)
    work.begin()
    shutil.copyfile(upload, work.upload)
    if idle:
        shutil.copyfile(idle, work.idle_film)
    return work


def made(work: Work, finder: str = "auto") -> npt.NDArray[np.float32]:
    """The landmarks that were followed."""
    config = Config(storage=StorageConfig(avatars_dir=work.store))
    config = replace(
        config,
        prepare=replace(config.prepare, face_finder=finder),
        musetalk=replace(config.musetalk, models_dir=work.store / "none"),
    )
    run(work, config, lambda progress: None)
    return np.asarray(np.load(work.followed), np.float32)


def seen(landmarks: npt.NDArray[np.float32]) -> str:
    return "".join("X" if each else "." for each in np.isfinite(landmarks).all(axis=(1, 2)))


def notes(work: Work) -> list[str]:
    found: list[str] = json.loads(work.look.read_text())["notes"]
    return found


def test_a_box_puts_no_face_where_none_is(tmp_path: Path) -> None:
    """Be it before the face comes, after it has gone, or where another process goes on."""
    video = film(tmp_path / "a.mp4", *[None] * 20, *[HERE] * 6, *[None] * 24)
    work = begun(tmp_path / "store", video, FaceHint(box=BOX))
    followed = made(work)
    expected = "." * 20 + "X" * 6 + "." * 24
    assert seen(followed) == expected
    number = json.loads(work.look.read_text())["frame"]
    rows = np.concatenate([followed[number:], followed[:number][::-1]])
    work.followed.with_suffix(".part").write_bytes(rows[:10].tobytes())
    for path in (work.followed, work.manifest, work.landmarks):
        path.unlink()
    assert seen(made(work)) == expected


def test_a_face_that_is_rarely_seen_is_told(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", *[HERE] * 5, *[None] * 10)
    work = begun(tmp_path / "store", video, FaceHint())
    assert seen(made(work)) == "X" * 5 + "." * 10
    assert "seen in 5 of 15 pictures; in the others nobody speaks" in notes(work)[-1]


def test_a_face_that_was_missed_for_a_moment_goes_on(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", *[HERE] * 4, *[None] * 2, *[HERE] * 4)
    work = begun(tmp_path / "store", video, FaceHint())
    assert seen(made(work)) == "X" * 10
    assert not any("is seen in" in note for note in notes(work))


def test_what_is_wrong_with_the_idle_video(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", *[HERE] * 4)
    for place, error in (
        (placed(160, 220, 80), FaceCut),
        (placed(160, 120, 42), FaceTooSmall),
    ):
        idle = film(tmp_path / "idle.mp4", *[place] * 4)
        work = begun(tmp_path / error.__name__, video, FaceHint(), idle)
        with pytest.raises(error, match="in the idle video: the "):
            made(work)


def test_marks_are_not_those_of_the_idle_video(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", *[HERE] * 4)
    points = tuple((float(x), float(y)) for x, y in mean_face(BOX))
    for number, hint in enumerate((FaceHint(box=BOX), FaceHint(landmarks=points))):
        work = begun(tmp_path / str(number), video, hint, video)
        with pytest.raises(FaceFinderMissing, match="in the idle video: "):
            made(work, finder="dwpose")
