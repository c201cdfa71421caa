"""What the renderer needs of an avatar: latents and placements per picture, made once and kept."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ...avatar import Avatar
from ...blend import i420_planes
from ...errors import SetupError
from .box import MARGIN, Box, crop_box, face_box
from .colour import bgr_of
from .crop import face_crop, parsing_crop
from .mask import paste_mask
from .networks import Networks
from .parsing import Mode, face_mask, labels_from_landmarks
from .region import Placement, place
from .resample import Bytes

_FORMAT = "1"
_ABANDONED_AFTER_S = 3600.0  # by a process that was killed while it wrote
_PICTURES_PER_STEP = 1  # batches of others wait for no more than this
LATENTS = (8, 32, 32)  # of one picture
_NOWHERE = Box(0, 0, 0, 0)  # the place of a picture without a face


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
        return avatar.derived / f"musetalk-{self.version}.safetensors"

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
    """One of each per picture. No placement: a picture without a face, which is shown as it is.

    latents  float32 `[N, 8, 32, 32]`: masked and reference latents, scaled
    """

    latents: npt.NDArray[np.float32]
    placements: list[Placement | None]


def prepare(avatar: Avatar, networks: Networks, recipe: Recipe) -> Iterator[float]:
    """Make and keep what `open_prepared` opens, a few pictures at a time; yields the share done.

    Raises SetupError if it can't be written.
    """
    num_frames = avatar.manifest.num_frames
    latents = np.zeros((num_frames, *LATENTS), np.float32)
    placements: list[Placement | None] = [None] * num_frames
    for first in range(0, num_frames, _PICTURES_PER_STEP):
        last = min(first + _PICTURES_PER_STEP, num_frames)
        looks = [_look(avatar, picture, recipe) for picture in range(first, last)]
        views = [view for view in looks if view]
        if views:
            found = networks.latents(np.stack([view.face for view in views]))
            masks = _masks(avatar, views, networks, recipe.mode)
            for view, latent, mask in zip(views, found, masks, strict=True):
                latents[view.picture] = latent
                placements[view.picture] = place(mask, view.box, view.around, _size(avatar))
        yield last / num_frames
    _write(recipe.path(avatar), recipe.stamp(avatar), latents, placements)


def is_prepared(avatar: Avatar, recipe: Recipe) -> bool:
    """Whether there is what `open_prepared` opens. Reads a few bytes."""
    try:
        with safe_open(recipe.path(avatar), framework="numpy") as file:
            return bool(file.metadata() == recipe.stamp(avatar))
    except (OSError, SafetensorError):
        return False


def open_prepared(avatar: Avatar, recipe: Recipe) -> PreparedAvatar:
    """In milliseconds. Raises SetupError if there is nothing that fits avatar and recipe."""
    if not is_prepared(avatar, recipe):
        raise SetupError(f"avatar {avatar.id} is not prepared for these MuseTalk weights")
    with safe_open(recipe.path(avatar), framework="numpy") as file:
        latents, boxes, rects, luma, chroma = (
            file.get_tensor(name) for name in ("latents", "boxes", "rects", "luma", "chroma")
        )
    placements: list[Placement | None] = []
    for box, rect in zip(boxes.tolist(), rects.tolist(), strict=True):
        where = Box(*rect)
        if where == _NOWHERE:
            placements.append(None)
            continue
        here, luma = _taken(luma, where.height, where.width)
        here_half, chroma = _taken(chroma, where.height // 2, where.width // 2)
        placements.append(Placement(Box(*box), where, here, here_half))
    return PreparedAvatar(latents, placements)


def _taken(flat: Bytes, height: int, width: int) -> tuple[Bytes, Bytes]:
    """A mask from the front of all masks, and the rest."""
    return flat[: height * width].reshape(height, width), flat[height * width :]


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


def _masks(avatar: Avatar, views: list[_View], networks: Networks, mode: Mode) -> list[Bytes]:
    if networks.parser:
        parsed = list(networks.labels(np.stack([view.surroundings for view in views])))
    else:
        parsed = [labels_from_landmarks(avatar.landmarks[v.picture], v.around) for v in views]
    return [
        paste_mask(face_mask(labels, mode), view.box, view.around)
        for view, labels in zip(views, parsed, strict=True)
    ]


def _size(avatar: Avatar) -> tuple[int, int]:
    return avatar.manifest.width, avatar.manifest.height


def _write(
    path: Path,
    stamp: dict[str, str],
    latents: npt.NDArray[np.float32],
    placements: list[Placement | None],
) -> None:
    """Beside and renamed, so that there is all of it or nothing."""

    def flat(masks: list[Bytes]) -> Bytes:
        return np.concatenate([np.empty(0, np.uint8), *(mask.reshape(-1) for mask in masks)])

    there = [placement for placement in placements if placement]
    boxes = [placement.box if placement else _NOWHERE for placement in placements]
    rects = [placement.rect if placement else _NOWHERE for placement in placements]
    content = save(
        {
            "latents": latents,
            "boxes": np.array(boxes, np.int32),
            "rects": np.array(rects, np.int32),
            "luma": flat([placement.luma for placement in there]),
            "chroma": flat([placement.chroma for placement in there]),
        },
        metadata=stamp,
    )
    making = path.with_suffix(f".{os.getpid()}")
    for abandoned in path.parent.glob(f"{path.stem}.[0-9]*"):
        if time.time() - abandoned.stat().st_mtime > _ABANDONED_AFTER_S:
            abandoned.unlink(missing_ok=True)
    try:
        making.write_bytes(content)
        making.rename(path)
    except OSError as exc:
        making.unlink(missing_ok=True)
        raise SetupError(f"{path} can't be written: {exc.strerror}") from exc
