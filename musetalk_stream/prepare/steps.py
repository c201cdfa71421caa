"""From an upload to an avatar, step by step; what a step has left is not made again."""

import datetime
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import __version__
from ..avatar import NUM_LANDMARKS, Cycle, Manifest
from ..blend import i420_planes
from ..config import Config
from ..errors import FaceFinderMissing, StorageFull
from ..renderers.musetalk.box import Box
from ..renderers.musetalk.colour import bgr_of, i420_of
from .derive import derive_from_frames, unpack
from .faces import Bgr, FaceFinder, make_finder
from .faces.follow import follow
from .faces.look import Look, look, read_look
from .faces.smooth import smoothed
from .idle import idle
from .loop import choose_cycle
from .media import Kind, examine
from .pictures import pictures, read_still
from .plan import Plan, make_plan, read_plan
from .progress import Progress, Stage, Tell
from .request import FaceHint
from .source import write_source
from .work import Work, disk_errors

I420 = npt.NDArray[np.uint8]  # [H*3/2, W]
Landmarks = npt.NDArray[np.float32]  # [68, 2], or [N, 68, 2]

_LOOKED_AT = 16  # pictures of a video: the first, and others from there to its end
_WRITING = 0.8  # of the time that reading takes; the rest unpacks what was written
_ROW_BYTES = NUM_LANDMARKS * 2 * 4
# Beside the pictures themselves: the video of them, the placeholder, room for what else writes.
_ROOM_BESIDE = 0.2
_SPARE_BYTES = 32 << 20


class Outcome(StrEnum):
    LOOKED = "looked"  # a face was found, and nobody has said yet that it is the right one
    MADE = "made"  # the avatar is whole; `Work.finish` puts it into its place


def run(work: Work, config: Config, tell: Tell) -> Outcome:
    """Go on with a preparation that this process holds, as far as it can go. Blocking.

    Raises what is wrong with the upload (BadRequest), FaceFinderMissing, StorageFull or
    PreparationFailed; whoever called discards the work then.
    """
    with disk_errors(work):
        plan = _plan(work, config)
        if plan.kind is Kind.STILL:
            _read_still(work, plan, config)
        else:
            _read_motion(work, plan, config, tell)
        found = _look(work, plan, config, tell)
        if work.request.approve and not work.approved.exists():
            return Outcome.LOOKED
        if plan.kind is Kind.STILL:
            _animate(work, plan, found, tell)
        else:
            _follow(work, plan, found, config, tell)
        _describe(work, plan, found)
        _encode(work, config, tell)
        return Outcome.MADE


# --- examining and reading


def _plan(work: Work, config: Config) -> Plan:
    if work.plan.exists():
        return read_plan(work.plan.read_text())
    with work.upload.open("rb") as upload:
        original_sha256 = hashlib.file_digest(upload, "sha256").hexdigest()
    plan = make_plan(examine(work.upload, config.prepare), config.prepare, original_sha256)
    needed = int(plan.frame_bytes * plan.num_frames * (1 + _ROOM_BESIDE)) + _SPARE_BYTES
    free = shutil.disk_usage(work.folder).free
    if free < needed:
        raise StorageFull(
            f"this avatar needs about {needed / 1e6:.0f} MB while it is made, and "
            f"{free / 1e6:.0f} MB are free in {work.store}: make room and try again"
        )
    _put(work.plan, lambda path: path.write_text(plan.to_json()))
    return plan


def _read_still(work: Work, plan: Plan, config: Config) -> None:
    if work.still.exists():
        return
    media = examine(work.upload, config.prepare)
    picture = read_still(work.upload, media, plan.size)
    _put(work.still, partial(_write_picture, picture=picture, kind=".png"))


def _read_motion(work: Work, plan: Plan, config: Config, tell: Tell) -> None:
    """The video at its constant rate, and its pictures as they come out of it again: what is shown
    can be derived anew from what is kept."""
    if not _source(work).exists():
        media = examine(work.upload, config.prepare)
        with pictures(work.upload, media, plan.size, plan.fps) as frames:
            told = _counted(frames, plan.num_frames, Stage.READING, tell, most=_WRITING)
            write_source(_source(work), told, plan.size, plan.fps)
    _unpack(work, plan, Stage.READING, _WRITING, tell)


def _unpack(work: Work, plan: Plan, stage: Stage, begins: float, tell: Tell) -> None:
    """`begins`: the share of the stage that was done before."""
    if _planes(work).exists():
        return
    _planes(work).parent.mkdir(exist_ok=True)

    def told(count: int) -> None:
        share = min(1.0, count / plan.num_frames)
        tell(Progress(stage, begins + (1 - begins) * share))

    _put(_planes(work), lambda path: unpack(_source(work), path, plan.size, told))


# --- the face


def _look(work: Work, plan: Plan, config: Config, tell: Tell) -> Look:
    if work.look.exists():
        return read_look(work.look.read_text())
    tell(Progress(Stage.LOOKING, 0.0))
    hint = plan.scaled(work.request.hint)
    shown = _first_pictures(work, plan)
    with _finder(config, hint) as finder:
        tell(Progress(Stage.LOOKING, 0.5))  # finding a face takes about as long as getting ready
        found = look([picture for _, picture in shown], hint, finder)
    number, picture = shown[found.frame]
    found = replace(found, frame=number)
    # The picture first: whoever sees that somebody has looked may want to see where.
    _put(work.picture, partial(_write_picture, picture=picture(), kind=".jpg"))
    _put(work.look, lambda path: path.write_text(found.to_json()))
    tell(Progress(Stage.LOOKING, 1.0))
    return found


def _first_pictures(work: Work, plan: Plan) -> list[tuple[int, Callable[[], Bgr]]]:
    """The pictures in which to look for the face, by their number. A video may begin in black, so
    there are some of all of it."""
    if plan.kind is Kind.STILL:
        return [(0, partial(_read_picture, work.still))]
    frames = _frames(work, plan)
    numbers = np.unique(np.linspace(0, len(frames) - 1, _LOOKED_AT).astype(int)).tolist()
    return [(number, partial(_bgr, frames[number])) for number in numbers]


@contextmanager
def _finder(config: Config, hint: FaceHint) -> Iterator[FaceFinder | None]:
    """None if there is none and none is needed, as somebody has marked the face."""
    finder: FaceFinder | None = None
    try:
        finder = make_finder(config.prepare.face_finder, config.musetalk.models_dir)
    except FaceFinderMissing:
        if hint.box is None and hint.landmarks is None:
            raise
    try:
        yield finder
    finally:
        if finder:
            finder.close()


def _animate(work: Work, plan: Plan, found: Look, tell: Tell) -> None:
    if not _landmarks(work).exists():
        points: list[Landmarks] = []

        def moved() -> Iterator[I420]:
            for picture, landmarks in idle(_read_picture(work.still), found.points):
                points.append(landmarks)
                yield _i420(picture)

        told = _counted(moved(), plan.num_frames, Stage.ANIMATING, tell, most=0.9)
        write_source(_source(work), told, plan.size, plan.fps)
        _put(_landmarks(work), partial(_write_array, array=np.stack(points)))
    _unpack(work, plan, Stage.ANIMATING, 0.9, tell)


def _follow(work: Work, plan: Plan, found: Look, config: Config, tell: Tell) -> None:
    """The face in each picture: from where it was found to the end, then from there back to the
    beginning. What is known is on the disk at once, so a process that is killed loses nothing."""
    if work.followed.exists():
        return
    frames = _frames(work, plan)
    order = [*range(found.frame, len(frames)), *range(found.frame - 1, -1, -1)]
    backwards = len(frames) - found.frame  # the place in `order` where that begins
    path = work.followed.with_suffix(".part")
    hint = plan.scaled(work.request.hint)
    with _finder(config, hint) as finder, path.open("ab+") as file:
        rows = _rows(file)
        for begin, end in ((0, backwards), (backwards, len(order))):
            known = rows[begin:end]
            rest = order[begin + len(known) : end]
            start = next((row for row in reversed(known) if np.isfinite(row).all()), found.points)
            sought = (_roughly_bgr(frames[number]) for number in rest)
            for landmarks in follow(sought, start, finder, hint) if rest else ():
                file.write(landmarks.astype(np.float32).tobytes())
                file.flush()
                rows.append(landmarks)
                tell(Progress(Stage.FOLLOWING, len(rows) / len(order)))
    followed = np.empty((len(order), *found.points.shape), np.float32)
    followed[order] = rows
    _put(work.followed, partial(_write_array, array=followed))


def _rows(file: Any) -> list[Landmarks]:
    """What an earlier process has found. The last row may be half written: it is cut off."""
    file.seek(0)
    rows = file.read()
    count = len(rows) // _ROW_BYTES
    file.truncate(count * _ROW_BYTES)
    return list(
        np.frombuffer(rows[: count * _ROW_BYTES], np.float32).reshape(count, NUM_LANDMARKS, 2)
    )


# --- what it is, and the loop


def _describe(work: Work, plan: Plan, found: Look) -> None:
    """avatar.json, and for a video the landmarks as they are shown."""
    if _manifest(work).exists():
        return
    frames = _frames(work, plan)
    cycle = Cycle.FORWARD
    if plan.kind is not Kind.STILL:
        cycle = choose_cycle(frames, work.request.loop)
        steady = smoothed(np.load(work.followed), cycle)
        _put(_landmarks(work), partial(_write_array, array=steady))
    request = work.request
    manifest = Manifest(
        id=request.avatar_id,
        name=request.name,
        width=plan.width,
        height=plan.height,
        fps=plan.fps,
        num_frames=len(frames),
        cycle=cycle,
        source_sha256=_sha256(_source(work)),
        provenance=f"made from {request.file_name} on {datetime.date.today().isoformat()} "
        f"by musetalk-stream {__version__}",
        licence=f"that of {request.file_name}: who uses the avatar needs the consent of those who "
        "hold its rights and of the person it shows",
        original_name=request.file_name,
        original_sha256=plan.original_sha256,
        face_finder=found.finder,
        landmarks_sha256=_sha256(_landmarks(work)),
    )
    _put(_manifest(work), lambda path: path.write_text(json.dumps(manifest.to_json(), indent=2)))


def _encode(work: Work, config: Config, tell: Tell) -> None:
    def told(share: float) -> None:
        tell(Progress(Stage.ENCODING, share))

    derive_from_frames(work.avatar, config.encoder, told)


# --- files


def _source(work: Work) -> Path:
    return work.avatar / "source.mp4"


def _planes(work: Work) -> Path:
    return work.avatar / "derived" / "frames.i420"


def _landmarks(work: Work) -> Path:
    return work.avatar / "landmarks.npy"


def _manifest(work: Work) -> Path:
    return work.avatar / "avatar.json"


def _frames(work: Work, plan: Plan) -> npt.NDArray[np.uint8]:
    """`[N, H*3/2, W]`, mapped."""
    height = plan.height * 3 // 2
    mapped = np.memmap(_planes(work), np.uint8, mode="r")
    return mapped.view(np.ndarray).reshape(-1, height, plan.width)


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Let it be written beside, then rename it: it is whole or not there."""
    making = path.with_name(path.name + ".part")
    write(making)
    making.rename(path)


def _write_array(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:  # by its name, numpy would give it another suffix
        np.save(file, array)


def _write_picture(path: Path, picture: Bgr, kind: str) -> None:
    encoded, data = cv2.imencode(kind, picture)
    assert encoded, f"a picture of shape {picture.shape} can be encoded as {kind}"
    path.write_bytes(data.tobytes())


def _read_picture(path: Path) -> Bgr:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is a whole picture: it was renamed to be there"
    return np.asarray(picture, np.uint8)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bgr(frame: I420) -> Bgr:
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    return bgr_of(i420_planes(frame), Box(0, 0, width, height))


def _roughly_bgr(frame: I420) -> Bgr:
    """For what only looks for faces: by BT.601, a shade off, and thirty times as fast."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420), np.uint8)


def _i420(picture: Bgr) -> I420:
    planes = i420_of(picture)
    width = picture.shape[1]
    return np.concatenate(
        [plane.reshape(-1, width) for plane in (planes.luma, planes.cb, planes.cr)]
    )


def _counted(
    frames: Iterator[I420], num_frames: int, stage: Stage, tell: Tell, *, most: float
) -> Iterator[I420]:
    """The same pictures; tells how many have gone through, of about `num_frames`. `most`: the share
    of the stage that they are."""
    for count, frame in enumerate(frames, start=1):
        yield frame
        tell(Progress(stage, most * min(1.0, count / num_frames)))
