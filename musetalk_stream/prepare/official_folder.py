"""What is in the folder of an official MuseTalk avatar, read with the distrust that a folder from
elsewhere deserves: everything in it is bounded, and compared with the rest.

    avator_info.json       which version made it (its name is spelled so)
    full_imgs/00000000.png …  2N pictures: to the end, and back
    coords.pkl             2N face boxes; (0, 0, 0, 0) where there is no face
    mask_coords.pkl        2N squares around them, in which the masks are
    mask/00000000.png …    2N masks
    latents.pt             2N latents, or, as faceless pictures are passed over, fewer
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..config import PrepareConfig
from ..errors import MediaTooLarge, MediaTooLong, SetupError, UnsupportedAvatar
from ..renderers.musetalk.box import Box
from .pickles import read_boxes

Bytes = npt.NDArray[np.uint8]

OFFICIAL_FPS = Fraction(25)  # of the official script, unless told otherwise; the folder has no rate

_INFO = "avator_info.json"
_MOST_INFO_BYTES = 1 << 16
_VERSIONS = ("v15", "v1")
_NO_FACE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the face of one picture is, and the square around it that its mask fills."""

    box: Box
    around: Box


@dataclass(frozen=True, slots=True, eq=False)
class OfficialFolder:
    """version        "v15" or "v1"
    width, height  of the pictures, made even by leaving out the last column or row
    places         one per picture, of which there are half as many as files; None: no face
    """

    folder: Path
    version: str
    width: int
    height: int
    places: list[Place | None]

    @property
    def num_frames(self) -> int:
        return len(self.places)

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def picture(self, index: int) -> Bytes:
        """BGR, uint8 `[H, W, 3]`. Raises UnsupportedAvatar, as all of this does."""
        rgb = _pixels(_picture_path(self.folder, index), ("RGB",))
        return np.ascontiguousarray(rgb[: self.height, : self.width, ::-1])

    def mask(self, index: int) -> Bytes:
        """uint8, as large as the square around the face."""
        place = self.places[index]
        assert place is not None, "a picture without a face has no mask"
        path = _mask_path(self.folder, index)
        _check_size(path, (place.around.width, place.around.height))
        mask = _pixels(path, ("L", "RGB"))
        if mask.ndim == 3:  # as a mask becomes that was read as a picture and written again
            if (mask != mask[..., :1]).any():
                raise _unsupported(path, "it is a coloured picture, not a mask")
            mask = np.ascontiguousarray(mask[..., 0])
        return mask

    def latents(self) -> list[npt.NDArray[np.float32] | None]:
        """`[8, 32, 32]` per picture; None where there is no face. Raises SetupError without torch,
        too."""
        try:
            from ..renderers.musetalk.official_latents import read_official_latents
        except (ImportError, OSError) as exc:  # OSError: one of torch's own libraries
            raise SetupError(
                f"latents.pt can't be read without torch ({exc}): pip install torch, or "
                "pip install -e '.[musetalk]', and try again"
            ) from exc
        path = self.folder / "latents.pt"
        found = read_official_latents(path, 2 * self.num_frames)
        seen = [index for index, place in enumerate(self.places) if place]
        if len(found) == 2 * self.num_frames:
            return [found[k] if place else None for k, place in enumerate(self.places)]
        if len(found) != 2 * len(seen):
            raise _unsupported(
                path, f"it has {len(found)} latents for {2 * self.num_frames} pictures"
            )
        latents: list[npt.NDArray[np.float32] | None] = [None] * self.num_frames
        for index, each in zip(seen, found, strict=False):
            latents[index] = each
        return latents


def is_official(folder: Path) -> bool:
    """Whether a folder looks like an official MuseTalk avatar, be it whole or not."""
    return any((folder / name).is_file() for name in (_INFO, "coords.pkl", "latents.pt"))


def open_official(folder: Path, limits: PrepareConfig) -> OfficialFolder:
    """Look at all but pixels and latents. Raises UnsupportedAvatar, MediaTooLong, MediaTooLarge."""
    version = _version(folder / _INFO)
    count = _count(folder / "full_imgs", limits)
    if _count(folder / "mask", limits) != count:
        raise _unsupported(folder / "mask", f"there are not as many as the {count} in full_imgs")
    coords, mask_coords = (
        _both_ways(folder / name, count) for name in ("coords.pkl", "mask_coords.pkl")
    )
    width, height = _size(folder, count, limits)
    places = [
        _place(folder, index, coords[index], mask_coords[index], (width, height))
        for index in range(count // 2)
    ]
    if not any(places):
        raise _unsupported(folder / "coords.pkl", "there is a face in none of the pictures")
    official = OfficialFolder(folder, version, width // 2 * 2, height // 2 * 2, places)
    for first, again in ((0, count - 1), (count // 2 - 1, count // 2)):
        if not np.array_equal(official.picture(first), official.picture(again)):
            path = _picture_path(folder, again)
            raise _unsupported(path, f"on the way back it must be as {first:08d}.png")
    return official


def _version(path: Path) -> str:
    try:
        with path.open("rb") as file:
            info: Any = json.loads(file.read(_MOST_INFO_BYTES))
        version = info.get("version", "v1")  # older ones do not say
    except (OSError, ValueError, AttributeError, RecursionError) as exc:
        raise _unsupported(path, f"it can't be read: {exc}") from exc
    if version not in _VERSIONS:
        raise _unsupported(path, f"there is no version {str(version)[:32]!r}, only v15 and v1")
    return str(version)


def _count(folder: Path, limits: PrepareConfig) -> int:
    """How many pictures are in a folder; all numbers from 0 on must be there, and no others."""
    most = 2 * int(limits.max_avatar_s * OFFICIAL_FPS)
    try:
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.suffix == ".png" and not path.name.startswith(".")  # as a Mac adds them
        )
    except OSError as exc:
        raise _unsupported(folder, f"it can't be read: {exc.strerror}") from exc
    if len(names) > most:
        raise MediaTooLong(
            f"{folder} has {len(names)} pictures, {len(names) / 2 / OFFICIAL_FPS:.1f} s and back; "
            f"{limits.max_avatar_s:g} s are allowed (max_avatar_s)"
        )
    wanted = [f"{index:08d}.png" for index in range(len(names))]
    if names != wanted:
        odd = next(name for name in wanted if name not in names)
        raise _unsupported(folder / odd, "it is missing, or there are pictures of other names")
    if not names or len(names) % 2:
        raise _unsupported(folder, f"{len(names)} pictures are not as many back as forth")
    return len(names)


def _both_ways(path: Path, count: int) -> list[tuple[float, float, float, float]]:
    """The boxes of a file that must have one per picture, and on the way back the same."""
    boxes = read_boxes(path, count)
    if len(boxes) != count:
        raise _unsupported(path, f"it has {len(boxes)} boxes for {count} pictures")
    if boxes != boxes[::-1]:
        raise _unsupported(path, "its second half is not its first half backwards")
    return boxes


def _size(folder: Path, count: int, limits: PrepareConfig) -> tuple[int, int]:
    """Width and height, which must be those of all pictures. Reads no pixels."""
    first = _picture_path(folder, 0)
    with _opened(first) as image:
        width, height = image.size
    if width * height > limits.max_video_mp * 1e6:
        raise MediaTooLarge(
            f"{first} has {width * height / 1e6:.1f} megapixels; {limits.max_video_mp:g} are "
            "allowed (max_video_mp)"
        )
    if min(width, height) < 2:
        raise _unsupported(first, f"{width} x {height} pixels are none that show a face")
    for index in range(1, count):
        _check_size(_picture_path(folder, index), (width, height))
    return width, height


def _place(
    folder: Path,
    index: int,
    coords: tuple[float, float, float, float],
    mask_coords: tuple[float, float, float, float],
    size: tuple[int, int],
) -> Place | None:
    if coords == _NO_FACE:
        return None
    box, around = (Box(*(int(each) for each in corners)) for corners in (coords, mask_coords))
    path = folder / "coords.pkl"
    if tuple(box) != coords or tuple(around) != mask_coords:
        raise _unsupported(path, f"picture {index} has a box between pixels: {coords}")
    # Where the official code slices beyond the right or lower border, it gets what is inside.
    width, height = size
    seen = box.within(Box(0, 0, width // 2 * 2, height // 2 * 2))
    if seen.width <= 0 or seen.height <= 0 or box.x1 < 0 or box.y1 < 0:
        raise _unsupported(path, f"picture {index} has a box outside of it: {tuple(box)}")
    longest = 4 * max(width, height)
    if not (0 < around.width <= longest and 0 < around.height <= longest):
        path = folder / "mask_coords.pkl"
        raise _unsupported(path, f"picture {index} has no possible square: {tuple(around)}")
    return Place(seen, around)


# --- files


def _picture_path(folder: Path, index: int) -> Path:
    return folder / "full_imgs" / f"{index:08d}.png"


def _mask_path(folder: Path, index: int) -> Path:
    return folder / "mask" / f"{index:08d}.png"


def _opened(path: Path) -> Image.Image:
    """Its header alone."""
    try:
        return Image.open(path, formats=("PNG",))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError,
            Image.DecompressionBombError) as exc:  # fmt: skip
        raise _unsupported(path, f"it can't be read: {exc}") from exc


def _check_size(path: Path, size: tuple[int, int]) -> None:
    with _opened(path) as image:
        if image.size != size:
            raise _unsupported(path, f"its size is {image.size} and should be {size}")


def _pixels(path: Path, modes: tuple[str, ...]) -> Bytes:
    with _opened(path) as image:
        if image.mode not in modes:
            raise _unsupported(path, f"it is a picture of mode {image.mode}, not {modes[0]}")
        try:
            return np.asarray(image, np.uint8)
        except (OSError, ValueError, SyntaxError) as exc:
            raise _unsupported(path, f"it is damaged: {exc}") from exc


def _unsupported(path: Path, what: str) -> UnsupportedAvatar:
    return UnsupportedAvatar(
        f"{path}: {what}. Copy the folder once more, or make the avatar of its video: "
        "musetalk-stream prepare VIDEO"
    )
