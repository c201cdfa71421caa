"""From the folder of an official MuseTalk avatar to one of ours: the same pictures in the same
order, and the same boxes, masks and latents, so that nothing has to be made anew.

What those depend on is kept as safetensors; no pickle comes along.
"""

import datetime
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..avatar import NUM_LANDMARKS, Cycle, Manifest
from ..config import Config
from ..errors import FaceFinderMissing, UnsupportedAvatar
from ..renderers.musetalk.given import given_path, writing_given
from ..renderers.musetalk.region import place
from .derive import derive
from .faces import FaceFinder, make_finder
from .faces.face import centre_of, is_within, within
from .faces.smooth import smoothed
from .files import put, sha256, write_array
from .official_folder import OFFICIAL_FPS, OfficialFolder, is_official, open_official
from .planes import i420
from .progress import Progress, Stage, Tell
from .source import write_source
from .work import Work

__all__ = ["import_official", "is_official"]

log = logging.getLogger(__name__)


def import_official(folder: Path, work: Work, config: Config, tell: Tell) -> None:
    """Fill `work.avatar`, which then only has to be put into its place. Blocking; what is there
    already is not made again.

    Raises UnsupportedAvatar with the file that is wrong, MediaTooLong, MediaTooLarge; SetupError
    without torch, which reads the latents.
    """
    official = open_official(folder, config.prepare)
    source = work.source
    # First of all, so that it does not take a minute to hear what is wrong with them.
    latents = None if given_path(work.avatar).exists() else official.latents()
    if not source.exists():
        told = _counted(official, tell)
        write_source(source, told, official.size, OFFICIAL_FPS)
    if latents:
        _write_given(official, latents, work.avatar, sha256(source))
    _write_landmarks(official, work, config, tell)
    _describe(official, work)
    tell(Progress(Stage.ENCODING, 0.0))
    derive(work.avatar, config.encoder)
    tell(Progress(Stage.ENCODING, 1.0))


def _counted(official: OfficialFolder, tell: Tell) -> Iterator[npt.NDArray[np.uint8]]:
    """Its pictures as I420, `[H*3/2, W]`."""
    for index in range(official.num_frames):
        yield i420(official.picture(index))
        tell(Progress(Stage.READING, (index + 1) / official.num_frames))


def _write_given(
    official: OfficialFolder,
    latents: list[npt.NDArray[np.float32] | None],
    avatar: Path,
    source_sha256: str,
) -> None:
    version, num_frames = official.version, official.num_frames
    count = 0
    with writing_given(avatar, version, source_sha256, num_frames) as file:
        for index, (where, each) in enumerate(zip(official.places, latents, strict=True)):
            if where is None or each is None:
                continue
            placement = place(official.mask(index), where.box, where.around, official.size)
            if placement:  # else the mask is empty: nothing of the face would be seen
                file.add(index, each, placement)
                count += 1
        if not count:
            raise UnsupportedAvatar(
                f"{official.folder / 'mask'}: all masks are empty, so that nobody would speak. "
                "Copy the folder once more, or make the avatar of its video: musetalk-stream "
                "prepare VIDEO"
            )


# --- the face, for other renderers and versions


def _write_landmarks(official: OfficialFolder, work: Work, config: Config, tell: Tell) -> None:
    path = work.landmarks
    if path.exists():
        return
    shape = (official.num_frames, NUM_LANDMARKS, 2)
    landmarks = np.full(shape, np.nan, np.float32)
    try:
        finder = make_finder(config.prepare.face_finder, config.musetalk.models_dir)
    except FaceFinderMissing as exc:
        log.warning(
            "avatar %s is only for MuseTalk %s: other renderers can't move its lips, as nothing "
            "finds faces here (%s)",
            work.request.avatar_id, official.version, exc,
        )  # fmt: skip
    else:
        with closing(finder):
            _find(official, finder, landmarks, tell)
            _finder_name(work).write_text(finder.name)
    put(path, partial(write_array, array=smoothed(landmarks, Cycle.MIRROR)))


def _find(
    official: OfficialFolder,
    finder: FaceFinder,
    landmarks: npt.NDArray[np.float32],
    tell: Tell,
) -> None:
    """The faces in or next to the given boxes, into `landmarks`."""
    for index, where in enumerate(official.places):
        if where is not None:
            face = finder.near(official.picture(index), where.box)
            if face is not None and is_within(centre_of(face.box), where.box):  # else another's
                landmarks[index] = within(face.landmarks, official.width, official.height)
        tell(Progress(Stage.FOLLOWING, (index + 1) / official.num_frames))


def _finder_name(work: Work) -> Path:
    """What found the landmarks, for an import that goes on later."""
    return work.folder / "face_finder.txt"


# --- what it is


def _describe(official: OfficialFolder, work: Work) -> None:
    if work.manifest.exists():
        return
    request, finder_name = work.request, _finder_name(work)
    manifest = Manifest(
        id=request.avatar_id,
        name=request.name,
        width=official.width,
        height=official.height,
        fps=OFFICIAL_FPS,
        num_frames=official.num_frames,
        cycle=Cycle.MIRROR,
        source_sha256=sha256(work.source),
        provenance=f"imported from the official MuseTalk {official.version} avatar "
        f"{official.folder.name} on {datetime.date.today().isoformat()} "
        f"by musetalk-stream {__version__}",
        licence=f"that of {official.folder.name}: who uses the avatar needs the consent of those "
        "who hold its rights and of the person it shows",
        original_name=request.file_name,
        face_finder=finder_name.read_text() if finder_name.exists() else "",
        landmarks_sha256=sha256(work.landmarks),
    )
    put(work.manifest, lambda path: path.write_text(json.dumps(manifest.to_json(), indent=2)))
