"""An avatar: the prepared pictures of one person, the cycle they move on, and where the face is.

A folder `avatars/{id}/` ships `avatar.json`, `source.mp4` and `landmarks.npy`; `prepare` derives
`derived/frames.i420` and `derived/placeholder.mp4` from them. This module opens a prepared folder.
"""

import hashlib
import io
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .config import bundled
from .errors import SetupError

FORMAT = 1
NUM_LANDMARKS = 68
SHIPPED = ("demo",)  # ids of the avatars that come with us

ID_RULE = "must be 1 to 64 of A-Z a-z 0-9 - _, beginning with a letter or a digit"
# Ids are names of folders, so they are matched before a path is ever built from one.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_OPTIONAL = ("original_name", "original_sha256", "face_finder", "landmarks_sha256")
_IDLE_FRAMES = "idle_frames"


class Cycle(StrEnum):
    """The order in which the pictures of an avatar repeat."""

    FORWARD = "forward"  # the last picture leads into the first
    PING_PONG = "ping-pong"  # to the end and back, each end shown once
    MIRROR = "mirror"  # to the end and back, each end shown twice, as in official MuseTalk avatars


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `avatar.json` says.

    `fps` is the rate at which the pictures were taken; `source_sha256` names the exact pictures,
    so that what was derived from others is recognised as stale.

    Those after `licence` are of avatars that were made by `prepare`, and empty in others: the file
    that it was made of, what found the face, and the exact landmarks. Where a film of its own shows
    the person at rest, its pictures are the first `idle_frames`, and those after them are shown in
    speech; 0 where all pictures are shown in both.
    """

    id: str
    name: str
    width: int
    height: int
    fps: Fraction
    num_frames: int
    cycle: Cycle
    source_sha256: str
    provenance: str
    licence: str
    original_name: str = ""
    original_sha256: str = ""
    face_finder: str = ""
    landmarks_sha256: str = ""
    idle_frames: int = 0

    @property
    def cycle_frames(self) -> int:
        """Pictures in the cycle: the first ones of all."""
        return self.idle_frames or self.num_frames

    @property
    def cycle_length(self) -> int:
        """Frames in one cycle."""
        if self.cycle is Cycle.MIRROR:
            return 2 * self.cycle_frames
        if self.cycle is Cycle.FORWARD:
            return self.cycle_frames
        return ping_pong_length(self.cycle_frames)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "id": self.id,
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "fps": str(self.fps),
            "num_frames": self.num_frames,
            "cycle": self.cycle.value,
            "source_sha256": self.source_sha256,
            "provenance": self.provenance,
            "licence": self.licence,
            **{
                name: getattr(self, name)
                for name in (*_OPTIONAL, _IDLE_FRAMES)
                if getattr(self, name)
            },
        }


def read_manifest(folder: Path) -> Manifest:
    """Read `avatar.json`; SetupError names the file and the field that is wrong."""
    path = folder / "avatar.json"
    try:
        raw = json.loads(path.read_text())
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']} is not {FORMAT}")
        manifest = Manifest(
            id=raw["id"],
            name=raw["name"],
            width=raw["width"],
            height=raw["height"],
            fps=Fraction(raw["fps"]),
            num_frames=raw["num_frames"],
            cycle=Cycle(raw["cycle"]),
            source_sha256=raw["source_sha256"],
            provenance=raw["provenance"],
            licence=raw["licence"],
            **{name: raw[name] for name in (*_OPTIONAL, _IDLE_FRAMES) if name in raw},
        )
        if manifest.id != folder.name:
            raise ValueError(f"id {manifest.id!r} is not the folder's name")
        sizes = (manifest.width, manifest.height, manifest.num_frames, manifest.idle_frames)
        if not all(isinstance(size, int) for size in sizes):
            raise ValueError("width, height, num_frames and idle_frames must be integers")
        if manifest.width % 2 or manifest.height % 2:
            raise ValueError("width and height must be even (4:2:0 chroma)")
        if manifest.num_frames < 1 or manifest.fps <= 0:
            raise ValueError("num_frames and fps must be positive")
        if not 0 <= manifest.idle_frames < manifest.num_frames:
            raise ValueError("idle_frames must leave pictures for speech")
        if not all(isinstance(getattr(manifest, name), str) for name in _OPTIONAL):
            raise ValueError(f"{', '.join(_OPTIONAL)} must be strings")
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as exc:
        raise SetupError(f"{path} can't be used: {exc!r}") from exc
    return manifest


def ping_pong_length(num_frames: int) -> int:
    """Frames from the first picture to the last and back, each end shown once."""
    return 2 * num_frames - 2 if num_frames > 2 else num_frames


def is_avatar_id(text: str) -> bool:
    return _ID.match(text) is not None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Avatar:
    """An opened avatar, shared by all sessions that show it. Nothing in it is ever written.

    frames     uint8 `[N, H*3/2, W]`: I420 pictures, memory-mapped, so that all sessions share the
               page cache
    landmarks  float32 `[N, 68, 2]`: x, y in pixels, in the order of iBUG 300-W (0-16 jaw, 27-35
               nose, 36-47 eyes, 48-59 outer lips, 60-67 inner lips); NaN where no face was found
    derived    the folder of what was made from the above
    folder     the folder of what it ships
    """

    manifest: Manifest
    frames: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float32]
    derived: Path
    folder: Path

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def placeholder(self) -> Path:
        return self.derived / "placeholder.mp4"

    def picture(self, cycle_frame: int) -> int:
        """The index into `frames` and `landmarks` for a place on the cycle."""
        place = cycle_frame % self.manifest.cycle_length
        if place < self.manifest.cycle_frames:
            return place
        back = self.manifest.cycle_length - place
        return back - 1 if self.manifest.cycle is Cycle.MIRROR else back

    @property
    def has_speaking_pictures(self) -> bool:
        """Whether other pictures than those of the cycle are shown in speech."""
        return self.manifest.cycle_frames < self.manifest.num_frames

    def speaking_picture(self, frame: int) -> int:
        """The index of the picture at an instant of speech, counted in frames of the avatar's own
        rate from anywhere: these pictures go to the end and back."""
        count = self.manifest.num_frames - self.manifest.cycle_frames
        place = frame % ping_pong_length(count)
        return self.manifest.cycle_frames + min(place, ping_pong_length(count) - place)

    def __repr__(self) -> str:
        return f"<Avatar {self.id} {self.manifest.num_frames} frames>"


def open_avatar(folder: Path, derived: Path | None = None) -> Avatar:
    """Open a prepared avatar in milliseconds: the pictures are mapped, not read.

    derived  where its derived files are, if not in `{folder}/derived`
    """
    manifest = read_manifest(folder)
    derived = derived or folder / "derived"
    shape = (manifest.num_frames, manifest.height * 3 // 2, manifest.width)
    try:
        mapped = np.memmap(derived / "frames.i420", np.uint8, mode="r", shape=shape)
        written = (folder / "landmarks.npy").read_bytes()
        landmarks = np.load(io.BytesIO(written), allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as exc:
        raise SetupError(f"avatar {manifest.id} in {folder} can't be opened: {exc}") from exc
    if landmarks.shape != (manifest.num_frames, NUM_LANDMARKS, 2):
        raise SetupError(f"{folder}/landmarks.npy has shape {landmarks.shape}")
    promised = manifest.landmarks_sha256
    if promised and hashlib.sha256(written).hexdigest() != promised:
        raise SetupError(f"{folder}/landmarks.npy is not what avatar.json describes; restore it")
    # As a plain array: slicing a memmap object is several times slower.
    return Avatar(manifest, mapped.view(np.ndarray), landmarks, derived, folder)


def shipped_avatars() -> dict[str, Path]:
    """The folders of the avatars that come with us, by id. In a checkout, its users' lie beside."""
    found = find_avatars(bundled("avatars"))
    return {avatar_id: folder for avatar_id, folder in found.items() if avatar_id in SHIPPED}


def find_avatars(store: Path) -> dict[str, Path]:
    """The avatar folders in a store, by id; a folder is an avatar if it has an `avatar.json`."""
    if not store.is_dir():
        return {}
    return {
        path.name: path
        for path in sorted(store.iterdir())
        if is_avatar_id(path.name) and (path / "avatar.json").is_file()
    }
