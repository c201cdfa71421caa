"""The face in every picture of a video. A process that is killed loses none that it has found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO

import numpy as np
import numpy.typing as npt

from ..avatar import NUM_LANDMARKS
from ..config import Config
from ..errors import FaceCut, FaceFinderMissing, FaceTooSmall, NoFace
from .faces import FaceFinder, make_finder
from .faces.follow import follow
from .faces.look import BY_HAND, Look, look
from .faces.smooth import bridged
from .files import put, write_array
from .plan import Plan
from .planes import bgr, frames_of, roughly_bgr
from .progress import Progress, Stage, Tell
from .request import FaceHint
from .work import Work

Landmarks = npt.NDArray[np.float32]  # [68, 2]

LOOKED_AT = 16  # pictures of a film: the first, and others from there to its end
_OFTEN_SEEN = 0.6  # of the pictures: below that, somebody should know
_ROW_BYTES = NUM_LANDMARKS * 2 * 4


@dataclass(frozen=True, slots=True)
class _Run:
    """Pictures that follow each other, in the order in which the face is followed."""

    numbers: Sequence[int]
    start: Landmarks
    hint: FaceHint


@contextmanager
def finding(config: Config, hint: FaceHint) -> Iterator[FaceFinder | None]:
    """What finds faces. None if there is none and none is needed, as somebody has marked the face;
    else raises FaceFinderMissing."""
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


def spread(begin: int, end: int) -> list[int]:
    """The numbers of the pictures in which to look for a face. A film may begin in black, so there
    are some of all of it."""
    return sorted({int(number) for number in np.linspace(begin, end - 1, LOOKED_AT)})


def follow_face(work: Work, plan: Plan, found: Look, config: Config, tell: Tell) -> None:
    """Leaves the landmarks of all pictures, float32 `[N, 68, 2]`, NaN where there is no face.

    Raises FaceFinderMissing; NoFace, FaceTooSmall or FaceCut of the film at rest; NoFace if
    nobody could ever speak.
    """
    if work.followed.exists():
        return
    hint = plan.scaled(work.request.hint)
    # Where a face was recognised, its mark has done its work: pictures without the face stay so.
    marked = hint if found.finder == BY_HAND else FaceHint()
    frames = frames_of(work, plan)
    path = work.followed.with_suffix(".part")
    with finding(config, hint) as finder, path.open("ab+") as file:
        runs = _runs(work, frames, found, marked, finder)
        # Marks are carried along from where they were made: that can't be taken up in between.
        rows = _known_rows(file, keep=marked == FaceHint())
        begin = 0
        for run in runs:
            known = rows[begin : begin + len(run.numbers)]
            rest = run.numbers[len(known) :]
            start = next((row for row in reversed(known) if np.isfinite(row).all()), run.start)
            sought = (roughly_bgr(frames[number]) for number in rest)
            for landmarks in follow(sought, start, finder, run.hint) if rest else ():
                file.write(landmarks.astype(np.float32).tobytes())
                file.flush()
                rows.append(landmarks)
                tell(Progress(Stage.FOLLOWING, len(rows) / len(frames)))
            begin += len(run.numbers)
    followed = np.empty((len(frames), NUM_LANDMARKS, 2), np.float32)
    followed[[number for run in runs for number in run.numbers]] = rows
    spoken = work.num_idle_frames
    followed = np.concatenate([bridged(each) for each in (followed[:spoken], followed[spoken:])])
    _tell_if_rare(work, found, followed[spoken:])
    put(work.followed, partial(write_array, array=followed))


def _runs(
    work: Work,
    frames: npt.NDArray[np.uint8],
    found: Look,
    hint: FaceHint,
    finder: FaceFinder | None,
) -> list[_Run]:
    """From where the face was found to the end of the film, and from there back to its beginning;
    then likewise in the film at rest, in which it is looked for near the same place."""
    rest = work.num_idle_frames
    runs = [
        _Run(range(found.frame, len(frames)), found.points, hint),
        _Run(range(found.frame - 1, rest - 1, -1), found.points, hint),
    ]
    if rest:
        numbers = spread(0, rest)
        near = FaceHint(point=tuple(found.points.mean(axis=0).tolist()))
        try:
            at_rest = look([partial(bgr, frames[number]) for number in numbers], near, finder)
        except (NoFace, FaceTooSmall, FaceCut, FaceFinderMissing) as exc:
            raise type(exc)(f"in the idle video: {exc}") from exc
        first = numbers[at_rest.frame]
        runs.append(_Run(range(first, rest), at_rest.points, FaceHint()))
        runs.append(_Run(range(first - 1, -1, -1), at_rest.points, FaceHint()))
    return runs


def _tell_if_rare(work: Work, found: Look, followed: npt.NDArray[np.float32]) -> None:
    """Notes that most of a film will be silent. Raises NoFace if all of it would be."""
    count, seen = len(followed), int(np.isfinite(followed).all(axis=(1, 2)).sum())
    if not seen:
        raise NoFace(
            "the face is lost in every picture of the video: send one that shows it whole, well "
            "lit and towards the camera throughout"
        )
    note = (
        f"The face is seen in {seen} of {count} pictures; in the others nobody speaks: cut the "
        "video to one take."
    )
    if seen < _OFTEN_SEEN * count and note not in found.notes:
        told = replace(found, notes=[*found.notes, note])
        put(work.look, lambda path: path.write_text(told.to_json()))


def _known_rows(file: IO[bytes], *, keep: bool) -> list[Landmarks]:
    """What an earlier process has found. The last row may be half written: it is cut off."""
    file.seek(0)
    rows = file.read() if keep else b""
    count = len(rows) // _ROW_BYTES
    file.truncate(count * _ROW_BYTES)
    return list(
        np.frombuffer(rows[: count * _ROW_BYTES], np.float32).reshape(count, NUM_LANDMARKS, 2)
    )
