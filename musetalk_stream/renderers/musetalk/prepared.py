"""What the renderer needs of an avatar: latents and placements per picture, made once and kept."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...avatar import Avatar
from ...blend import i420_planes
from ...errors import SetupError
from .box import MARGIN, Box, crop_box, face_box
from .colour import bgr_of
from .crop import face_crop, parsing_crop
from .given import read_given
from .mask import paste_mask
from .networks import Networks
from .parsing import Mode, face_mask, labels_from_landmarks
from .prepared_file import Parts, read_parts, writing
from .region import Placement, place
from .resample import Bytes

_FORMAT = "2"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything besides the avatar that what is prepared depends on."""

    version: str  # "v15" or "v1"
    fingerprint: str  # of the weights

    @property
    def margin(self) -> int:
        return MARGIN if self.version == "v15" else 0

    @property
    def mode(self) -> Mode:
        return Mode.JAW if self.version == "v15" else Mode.RAW

    def path(self, avatar: Avatar) -> Path:
        """With the weights in its name: servers with others may share the folder."""
        return avatar.derived / f"musetalk-{self.version}-{self.fingerprint[:8]}.safetensors"

    def stamp(self, avatar: Avatar) -> dict[str, str]:
        return {
            "format": _FORMAT,
            "version": self.version,
            "weights": self.fingerprint,
            "pictures": avatar.manifest.source_sha256,
            "landmarks": hashlib.sha256(avatar.landmarks.tobytes()).hexdigest(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class PreparedAvatar:
    """One of each per picture, all of it mapped, so that servers share the page cache. No
    placement: a picture without a face, which is shown as it is.

    latents  float32 `[N, 8, 32, 32]`: masked and reference latents, scaled
    """

    latents: npt.NDArray[np.float32]
    placements: list[Placement | None]


def prepare(avatar: Avatar, networks: Networks, recipe: Recipe) -> Iterator[float]:
    """Make and keep what `open_prepared` opens, a picture at a time; yields the share done. What
    the avatar brings along is not made.

    Raises SetupError if it can't be written: before the first picture, if that is known.
    """
    if read_given(avatar, recipe.version):
        yield 1.0
        return
    num_frames = avatar.manifest.num_frames
    with writing(recipe.path(avatar), recipe.stamp(avatar), num_frames) as file:
        for picture in range(num_frames):
            view = _look(avatar, picture, recipe)
            if view:
                mask = _mask(avatar, view, networks, recipe.mode)
                placement = place(mask, view.box, view.around, _size(avatar))
                if placement:
                    file.add(picture, networks.latents(view.face[None])[0], placement)
            yield (picture + 1) / num_frames


def is_prepared(avatar: Avatar, recipe: Recipe) -> bool:
    """Whether there is what `open_prepared` opens. Reads a few bytes per picture."""
    return _parts(avatar, recipe) is not None


def open_prepared(avatar: Avatar, recipe: Recipe) -> PreparedAvatar:
    """In milliseconds. Raises SetupError if there is nothing that fits avatar and recipe."""
    parts = _parts(avatar, recipe)
    if parts is None:
        raise SetupError(f"avatar {avatar.id} is not prepared for these MuseTalk weights")
    return PreparedAvatar(parts.latents, parts.placements())


def _parts(avatar: Avatar, recipe: Recipe) -> Parts | None:
    stamp = recipe.stamp(avatar)
    return read_given(avatar, recipe.version) or read_parts(
        recipe.path(avatar), stamp, avatar.manifest.num_frames, _size(avatar)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What the networks see of one picture."""

    picture: int
    box: Box
    around: Box  # the square that is parsed
    face: Bytes  # [256, 256, 3], of `box`
    surroundings: Bytes  # [512, 512, 3], of `around`


def _look(avatar: Avatar, picture: int, recipe: Recipe) -> _View | None:
    """None if the picture shows no face."""
    box = face_box(avatar.landmarks[picture], _size(avatar), margin=recipe.margin)
    if box is None:
        return None
    around = crop_box(box)
    seen = around.within(Box(0, 0, *_size(avatar)))
    bgr = bgr_of(i420_planes(avatar.frames[picture]), seen)
    face = face_crop(bgr, box.seen_from(seen))
    return _View(picture, box, around, face, parsing_crop(bgr, around.seen_from(seen)))


def _mask(avatar: Avatar, view: _View, networks: Networks, mode: Mode) -> Bytes:
    if networks.parser:
        labels = networks.labels(view.surroundings[None])[0]
    else:
        labels = labels_from_landmarks(avatar.landmarks[view.picture], view.around)
    return paste_mask(face_mask(labels, mode), view.box, view.around)


def _size(avatar: Avatar) -> tuple[int, int]:
    return avatar.manifest.width, avatar.manifest.height
