"""From what an avatar folder ships to what the server reads: pictures as planes, placeholder loop.

Derived once and kept in `derived/`; derived anew when the pictures or the encoder settings change.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..avatar import Avatar, Manifest, open_avatar, read_manifest
from ..blend import Picture, i420_planes
from ..config import EncoderConfig
from ..encode import X264_PARAMS, write_placeholder
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
    stamp = _read_stamp(folder / "derived")
    if stamp == _stamp(manifest, settings):
        return
    log.info("preparing avatar %s (once)", manifest.id)
    if not _has_pictures(folder / "derived", stamp, manifest):
        _derive_all(folder, manifest, settings)
        return
    try:
        derive_from_frames(folder, settings, lambda share: None)
    except OSError as exc:  # a full disk, most likely; nothing that is shown has changed
        if not (folder / "derived" / "placeholder.mp4").is_file():
            raise
        log.error("avatar %s keeps its old loop, of other settings: %s", manifest.id, exc)


def _has_pictures(derived: Path, stamp: Any, manifest: Manifest) -> bool:
    """Whether what was derived is of this avatar, whatever the encoder settings were."""
    planes = derived / "frames.i420"
    num_bytes = manifest.num_frames * manifest.width * manifest.height * 3 // 2
    is_of_it = isinstance(stamp, dict) and stamp.get("manifest") == manifest.to_json()
    return is_of_it and planes.is_file() and planes.stat().st_size == num_bytes


def _derive_all(folder: Path, manifest: Manifest, settings: EncoderConfig) -> None:
    source = folder / "source.mp4"
    if hashlib.sha256(source.read_bytes()).hexdigest() != manifest.source_sha256:
        raise SetupError(f"{source} is not the file that avatar.json describes; restore it")
    with _beside(folder) as making:
        count = unpack(source, making / "frames.i420", (manifest.width, manifest.height))
        if count != manifest.num_frames:
            raise SetupError(f"{source} has {count} frames; avatar.json says {manifest.num_frames}")
        _encode_placeholder(open_avatar(folder, making), making, settings, lambda share: None)


def derive_from_frames(
    folder: Path, settings: EncoderConfig, tell: Callable[[float], None]
) -> None:
    """What `derive` makes, where `frames.i420` is there already; `tell` hears the share done."""
    if _read_stamp(folder / "derived") == _stamp(read_manifest(folder), settings):
        return
    with _beside(folder) as making:
        _encode_placeholder(open_avatar(folder), making, settings, tell)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder for what is being made, which goes to `derived/` if the block succeeds."""
    making = Path(tempfile.mkdtemp(prefix="derived.", dir=folder))
    try:
        yield making
        derived = folder / "derived"
        derived.mkdir(exist_ok=True)
        (derived / "stamp.json").unlink(missing_ok=True)
        for name in _DERIVED:
            if (making / name).exists():
                (making / name).rename(derived / name)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _stamp(manifest: Manifest, settings: EncoderConfig) -> dict[str, Any]:
    return {
        "manifest": manifest.to_json(),
        "encoder": f"{settings.preset} {settings.crf:g} {X264_PARAMS}",
    }


def _read_stamp(derived: Path) -> Any:
    try:
        return json.loads((derived / "stamp.json").read_text())
    except (OSError, ValueError):
        return None


def unpack(
    source: Path,
    planes: Path,
    size: tuple[int, int],
    tell: Callable[[int], None] = lambda count: None,
) -> int:
    """Decode the pictures to I420, one after the other, as the memory map wants them.

    tell   hears how many there are so far
    gives  how many there are; SetupError if they can't be decoded or have another size
    """
    count = 0
    try:
        with av.open(str(source), "r") as container, planes.open("wb") as out:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                if frame.format.name != "yuv420p" or (frame.width, frame.height) != size:
                    raise SetupError(f"{source}: {frame} does not fit avatar.json")
                out.write(np.ascontiguousarray(frame.to_ndarray()).data)
                count += 1
                tell(count)
    except av.FFmpegError as exc:
        raise SetupError(f"{source} can't be decoded: {exc}") from exc
    return count


def _encode_placeholder(
    avatar: Avatar, making: Path, settings: EncoderConfig, tell: Callable[[float], None]
) -> None:
    manifest = avatar.manifest
    write_placeholder(
        making / "placeholder.mp4",
        _cycle(avatar, tell),
        size=(manifest.width, manifest.height),
        fps=manifest.fps,
        settings=settings,
        keyframe_every=_KEYFRAME_EVERY,
    )
    (making / "stamp.json").write_text(json.dumps(_stamp(manifest, settings)))


def _cycle(avatar: Avatar, tell: Callable[[float], None]) -> Iterator[Picture]:
    length = avatar.manifest.cycle_length
    for frame in range(length):
        yield i420_planes(avatar.frames[avatar.picture(frame)])
        tell((frame + 1) / length)
