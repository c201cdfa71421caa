"""From an upload to an avatar, step by step; what a step has left is not made again."""

import datetime
import json
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from .. import __version__
from ..avatar import Cycle, Manifest
from ..config import Config
from ..errors import PreparationFailed, StorageFull
from .derive import derive_from_frames, unpack
from .faces import Bgr
from .faces.look import Look, look, read_look
from .faces.smooth import smoothed
from .files import put, read_picture, sha256, write_array, write_picture
from .following import finding, follow_face, spread
from .idle import idle
from .loop import choose_cycle
from .media import Kind, examine, examine_all
from .pictures import pictures, read_still
from .plan import Plan, make_plan, read_plan
from .planes import I420, bgr, frames_of, i420
from .progress import Progress, Stage, Tell
from .source import write_source
from .work import Work, disk_errors

Landmarks = npt.NDArray[np.float32]  # [68, 2], or [N, 68, 2]

_WRITING = 0.8  # of the time that reading takes; the rest unpacks what was written
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
    with disk_errors(work), _library_errors(work):
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
            follow_face(work, plan, found, config, tell)
        _describe(work, plan, found)
        _encode(work, config, tell)
        return Outcome.MADE


@contextmanager
def _library_errors(work: Work) -> Iterator[None]:
    """What libraries say without a reason that anybody could act upon."""
    try:
        yield
    except OSError:  # among them are those of PyAV that have to do with files
        raise
    except (av.FFmpegError, cv2.error) as exc:
        raise PreparationFailed(
            f"avatar {work.request.avatar_id} can't be made of this file: {exc}"
        ) from exc


# --- examining and reading


def _plan(work: Work, config: Config) -> Plan:
    if work.plan.exists():
        return read_plan(work.plan.read_text())
    idle_film = work.idle_film if work.idle_film.exists() else None
    media, rest = examine_all(work.upload, idle_film, config.prepare)
    plan = make_plan(media, rest, config.prepare, sha256(work.upload))
    needed = int(plan.frame_bytes * plan.num_frames * (1 + _ROOM_BESIDE)) + _SPARE_BYTES
    free = shutil.disk_usage(work.folder).free
    if free < needed:
        raise StorageFull(
            f"this avatar needs about {needed / 1e6:.0f} MB while it is made, and "
            f"{free / 1e6:.0f} MB are free in {work.store}: make room and try again"
        )
    put(work.plan, lambda path: path.write_text(plan.to_json()))
    return plan


def _read_still(work: Work, plan: Plan, config: Config) -> None:
    if work.still.exists():
        return
    media = examine(work.upload, config.prepare)
    picture = read_still(work.upload, media, plan.size)
    put(work.still, partial(write_picture, picture=picture, kind=".png"))


def _read_motion(work: Work, plan: Plan, config: Config, tell: Tell) -> None:
    """The video at its constant rate, and its pictures as they come out of it again: what is shown
    can be derived anew from what is kept."""
    if not work.source.exists():
        with closing(_films(work, plan, config)) as frames:
            told = _counted(frames, plan.num_frames, Stage.READING, tell, most=_WRITING)
            write_source(work.source, told, plan.size, plan.fps)
    _unpack(work, plan, Stage.READING, _WRITING, tell)


def _films(work: Work, plan: Plan, config: Config) -> Generator[I420, None, None]:
    """The pictures of the film at rest, if there is one, then those of the upload."""
    if work.idle_film.exists():
        count = 0
        for frame in _film(work.idle_film, plan, config):
            count += 1
            yield frame
        put(work.idle_frames, partial(_write_number, number=count))
    yield from _film(work.upload, plan, config)


def _film(path: Path, plan: Plan, config: Config) -> Iterator[I420]:
    with pictures(path, examine(path, config.prepare), plan.size, plan.fps) as frames:
        yield from frames


def _unpack(work: Work, plan: Plan, stage: Stage, begins: float, tell: Tell) -> None:
    """`begins`: the share of the stage that was done before."""
    if work.planes.exists():
        return
    work.planes.parent.mkdir(exist_ok=True)

    def told(count: int) -> None:
        share = min(1.0, count / plan.num_frames)
        tell(Progress(stage, begins + (1 - begins) * share))

    put(work.planes, lambda path: unpack(work.source, path, plan.size, told))


# --- the face


def _look(work: Work, plan: Plan, config: Config, tell: Tell) -> Look:
    if work.look.exists():
        return read_look(work.look.read_text())
    tell(Progress(Stage.LOOKING, 0.0))
    hint = plan.scaled(work.request.hint)
    shown = _first_pictures(work, plan)
    with finding(config, hint) as finder:
        tell(Progress(Stage.LOOKING, 0.5))  # finding a face takes about as long as getting ready
        found = look([picture for _, picture in shown], hint, finder)
    number, picture = shown[found.frame]
    found = replace(found, frame=number)
    # The picture first: whoever sees that somebody has looked may want to see where.
    put(work.picture, partial(write_picture, picture=picture(), kind=".jpg"))
    put(work.look, lambda path: path.write_text(found.to_json()))
    tell(Progress(Stage.LOOKING, 1.0))
    return found


def _first_pictures(work: Work, plan: Plan) -> list[tuple[int, Callable[[], Bgr]]]:
    """The pictures in which to look for the face, by their number."""
    if plan.kind is Kind.STILL:
        return [(0, partial(read_picture, work.still))]
    frames = frames_of(work, plan)
    numbers = spread(work.num_idle_frames, len(frames))
    return [(number, partial(bgr, frames[number])) for number in numbers]


def _animate(work: Work, plan: Plan, found: Look, tell: Tell) -> None:
    if not work.landmarks.exists():
        points: list[Landmarks] = []

        def moved() -> Iterator[I420]:
            for picture, landmarks in idle(read_picture(work.still), found.points):
                points.append(landmarks)
                yield i420(picture)

        told = _counted(moved(), plan.num_frames, Stage.ANIMATING, tell, most=0.9)
        write_source(work.source, told, plan.size, plan.fps)
        put(work.landmarks, partial(write_array, array=np.stack(points)))
    _unpack(work, plan, Stage.ANIMATING, 0.9, tell)


# --- what it is, and the loop


def _describe(work: Work, plan: Plan, found: Look) -> None:
    """avatar.json, and for a video the landmarks as they are shown."""
    if work.manifest.exists():
        return
    frames = frames_of(work, plan)
    cycle = Cycle.FORWARD
    if plan.kind is not Kind.STILL:
        rest = work.num_idle_frames
        cycle = choose_cycle(frames[:rest] if rest else frames, work.request.loop)
        followed = np.load(work.followed)
        steady = smoothed(followed[rest:], Cycle.PING_PONG if rest else cycle)
        if rest:
            steady = np.concatenate([smoothed(followed[:rest], cycle), steady])
        put(work.landmarks, partial(write_array, array=steady))
    request = work.request
    manifest = Manifest(
        id=request.avatar_id,
        name=request.name,
        width=plan.width,
        height=plan.height,
        fps=plan.fps,
        num_frames=len(frames),
        cycle=cycle,
        source_sha256=sha256(work.source),
        provenance=f"made from {request.file_name} on {datetime.date.today().isoformat()} "
        f"by musetalk-stream {__version__}",
        licence=f"that of {request.file_name}: who uses the avatar needs the consent of those who "
        "hold its rights and of the person it shows",
        original_name=request.file_name,
        original_sha256=plan.original_sha256,
        face_finder=found.finder,
        landmarks_sha256=sha256(work.landmarks),
        idle_frames=work.num_idle_frames,
    )
    put(work.manifest, lambda path: path.write_text(json.dumps(manifest.to_json(), indent=2)))


def _encode(work: Work, config: Config, tell: Tell) -> None:
    def told(share: float) -> None:
        tell(Progress(Stage.ENCODING, share))

    for leftover in work.avatar.glob("derived.*"):  # of a process that was killed here
        shutil.rmtree(leftover)
    derive_from_frames(work.avatar, config.encoder, told)


def _write_number(path: Path, number: int) -> None:
    path.write_text(str(number))


def _counted(
    frames: Iterator[I420], num_frames: int, stage: Stage, tell: Tell, *, most: float
) -> Iterator[I420]:
    """The same pictures; tells how many have gone through, of about `num_frames`. `most`: the share
    of the stage that they are."""
    for count, frame in enumerate(frames, start=1):
        yield frame
        tell(Progress(stage, most * min(1.0, count / num_frames)))
