"""From what an avatar folder ships to what the server reads: pictures as planes, placeholder loop.

Derived once and kept in `derived/`; derived anew when the pictures or the encoder settings change.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..avatar import Avatar, Manifest, open_avatar, read_manifest
from ..blend import Picture, i420_planes
from ..config import EncoderConfig
from ..encode import write_placeholder
from ..errors import SetupError

log = logging.getLogger(__name__)

# The player seeks the placeholder to the frame on which speech ended; a keyframe is never far.
_KEYFRAME_EVERY = 12
_DERIVED = ("frames.i420", "placeholder.mp4", "stamp.json")


def derive(folder: Path, settings: EncoderConfig) -> None:
    """Make the files of `derived/` unless they are up to date.

    Each is written beside and renamed: no file is ever half made, who has an old one open keeps it,
    and what renderers keep in the folder stays. The stamp comes last and says that all are there.
    """
    manifest = read_manifest(folder)
    stamp = {"manifest": manifest.to_json(), "encoder": _video_settings(settings)}
    derived = folder / "derived"
    if _read_stamp(derived) == stamp:
        return
    log.info("preparing avatar %s (once)", manifest.id)
    source = folder / "source.mp4"
    if hashlib.sha256(source.read_bytes()).hexdigest() != manifest.source_sha256:
        raise SetupError(f"{source} is not the file that avatar.json describes; restore it")
    making = Path(tempfile.mkdtemp(prefix="derived.", dir=folder))
    try:
        _unpack(source, making / "frames.i420", manifest)
        _encode_placeholder(folder, making, manifest, settings)
        (making / "stamp.json").write_text(json.dumps(stamp))
        derived.mkdir(exist_ok=True)
        (derived / "stamp.json").unlink(missing_ok=True)
        for name in _DERIVED:
            (making / name).rename(derived / name)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _video_settings(settings: EncoderConfig) -> str:
    return f"{settings.preset} {settings.crf:g}"


def _read_stamp(derived: Path) -> Any:
    try:
        return json.loads((derived / "stamp.json").read_text())
    except (OSError, ValueError):
        return None


def _unpack(source: Path, planes: Path, manifest: Manifest) -> None:
    """Decode the pictures to I420, one after the other, as the memory map wants them."""
    count = 0
    try:
        with av.open(str(source), "r") as container, planes.open("wb") as out:
            for frame in container.decode(video=0):
                size = (frame.width, frame.height)
                if frame.format.name != "yuv420p" or size != (manifest.width, manifest.height):
                    raise SetupError(f"{source}: {frame} does not fit avatar.json")
                out.write(np.ascontiguousarray(frame.to_ndarray()).data)
                count += 1
    except av.FFmpegError as exc:
        raise SetupError(f"{source} can't be decoded: {exc}") from exc
    if count != manifest.num_frames:
        raise SetupError(f"{source} has {count} frames; avatar.json says {manifest.num_frames}")


def _encode_placeholder(
    folder: Path, making: Path, manifest: Manifest, settings: EncoderConfig
) -> None:
    avatar = open_avatar(folder, making)
    write_placeholder(
        making / "placeholder.mp4",
        _cycle(avatar),
        size=(manifest.width, manifest.height),
        fps=manifest.fps,
        settings=settings,
        keyframe_every=_KEYFRAME_EVERY,
    )


def _cycle(avatar: Avatar) -> Iterator[Picture]:
    for frame in range(avatar.manifest.cycle_length):
        yield i420_planes(avatar.frames[avatar.picture(frame)])
