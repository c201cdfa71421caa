"""How does an image file become upright sRGB pictures? Stills and animations, by Pillow.

Pillow's guard against decompression bombs is one number for the whole process: these functions set
it to what they were allowed, so they are for one thread of a process at a time.
"""

import logging
import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from ..config import PrepareConfig
from ..errors import DamagedMedia, MediaTooLarge, MediaTooLong, UnsupportedMedia

log = logging.getLogger(__name__)

Bgr: TypeAlias = npt.NDArray[np.uint8]  # [H, W, 3]

# No format that is a program (EPS), that a helper program reads, or that nobody has photos in.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# What has several pictures besides these has pages, or other views of the same.
_ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}

_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
_ON_ITS_SIDE = (5, 6, 7, 8)

# Behind what is transparent. Grey, so that it tints no edge; light, because people are mostly cut
# out of light backgrounds, whose rest at their edges would shine on a dark one.
_BACKGROUND = (208, 208, 208)

# Browsers show a picture that says so, or says nothing, for a tenth of a second.
_SHORTEST_MS, _INSTEAD_MS = 11, 100

_SAMPLES_PER_PIXEL = 2  # in each direction, of what a JPEG is decoded to before it is scaled


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says.

    width, height  of the upright picture
    durations_ms   of each picture of an animation; none for a still
    """

    width: int
    height: int
    durations_ms: tuple[int, ...] = ()


def examine_image(path: Path, limits: PrepareConfig) -> ImageHeader | None:
    """Decode a file once, after its header was found to keep the limits; None if it is no image
    that Pillow reads. Raises MediaTooLarge, MediaTooLong, DamagedMedia, UnsupportedMedia."""
    try:
        with _opened(path, limits.max_photo_mp * 1e6) as image:
            return _examined(image, limits)
    except UnidentifiedImageError:
        return None


def read_image(path: Path, header: ImageHeader, size: tuple[int, int]) -> Bgr:
    """The upright picture, scaled to `size` (width, height). Raises DamagedMedia."""
    with _opened(path, header.width * header.height) as image:
        return _upright(image, size)


def animation(
    path: Path, header: ImageHeader, size: tuple[int, int]
) -> Generator[tuple[Bgr, int], None, None]:
    """Each picture, upright and scaled, with its duration in ms. Raises DamagedMedia."""
    with _opened(path, header.width * header.height) as image:
        first = _first_frame(image)
        for index, duration_ms in enumerate(header.durations_ms):
            image.seek(first + index)
            yield _upright(image, size), duration_ms


@contextmanager
def _opened(path: Path, max_pixels: float) -> Iterator[Image.Image]:
    """The image, not decoded yet. Pillow refuses what has twice the pixels, wherever it meets it;
    what is wrong with the file is DamagedMedia."""
    allowed, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max(1, round(max_pixels))
    try:
        with warnings.catch_warnings():
            # Of bombs up to twice the limit, where our own check refuses, and of torn metadata.
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=_FORMATS)
        with image:
            yield image
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError as exc:
        raise MediaTooLarge(
            f"the picture has more than {2 * max_pixels / 1e6:g} megapixels; "
            f"the limit is {max_pixels / 1e6:g}: make it smaller"
        ) from exc
    # Pillow's readers let through whatever they stumble over in a broken file.
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError,
            RuntimeError, struct.error) as exc:  # fmt: skip
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the disk, not the file's content
        raise DamagedMedia(
            f"the picture is cut off or corrupt ({_short(exc)}); send it again"
        ) from exc
    finally:
        Image.MAX_IMAGE_PIXELS = allowed


def _short(exc: Exception) -> str:
    return str(exc).splitlines()[0][:80] if str(exc) else type(exc).__name__


def _examined(image: Image.Image, limits: PrepareConfig) -> ImageHeader:
    num_frames = getattr(image, "n_frames", 1) - _first_frame(image)
    moves = image.format in _ANIMATED and num_frames > 1
    # Before anything else is asked: for its EXIF block, a PNG is decoded to the end.
    max_mp = limits.max_video_mp if moves else limits.max_photo_mp
    _check_pixels(*image.size, "animation" if moves else "picture", max_mp)
    size = _upright_size(image)
    if moves:
        return ImageHeader(*size, _durations_ms(image, num_frames, limits.max_avatar_s))
    image.draft(None, (1, 1))  # whether all of a JPEG is there shows at an eighth of its size, too
    image.load()
    _check_mode(image)
    return ImageHeader(*size)


def _check_pixels(width: int, height: int, what: str, max_mp: float) -> None:
    if width * height > max_mp * 1e6:
        raise MediaTooLarge(
            f"the {what} has {width} x {height} pixels, {width * height / 1e6:.1f} megapixels; "
            f"the limit is {max_mp:g}: make it smaller"
        )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Of an image that was not loaded; a TIFF's size is that of the upright picture already."""
    on_side = image.format != "TIFF" and _orientation(image) in _ON_ITS_SIDE
    return image.size[::-1] if on_side else image.size


def _first_frame(image: Image.Image) -> int:
    """An APNG may begin with a picture for who can't play it, which is no part of it."""
    return 1 if getattr(image, "default_image", False) else 0


def _durations_ms(image: Image.Image, num_frames: int, max_s: float) -> tuple[int, ...]:
    durations: list[int] = []
    total_ms, first = 0, _first_frame(image)
    for index in range(first, first + num_frames):
        image.seek(index)
        image.load()
        said_ms = round(image.info.get("duration") or 0)
        durations.append(said_ms if said_ms >= _SHORTEST_MS else _INSTEAD_MS)
        total_ms += durations[-1]
        if total_ms > max_s * 1000:
            raise MediaTooLong(
                f"the animation takes longer than the limit of {max_s:g} s: make it shorter"
            )
    return tuple(durations)


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, TypeError, struct.error):
        return 1  # a photo with a torn EXIF block is still a photo


def _upright(image: Image.Image, size: tuple[int, int]) -> Bgr:
    """The current picture of a file: scaled, sRGB, on the background, upright."""
    width, height = size[::-1] if _upright_size(image) != image.size else size
    image.draft(None, (_SAMPLES_PER_PIXEL * width, _SAMPLES_PER_PIXEL * height))
    image.load()
    # Colours after scaling: a profile takes a second for ten megapixels.
    scaled = _plain(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    rgb = _opaque_srgb(scaled, image.info.get("icc_profile"))
    # Asked after loading, when Pillow has turned a TIFF by itself and says so.
    turn = _TRANSPOSED.get(_orientation(image))
    upright = rgb if turn is None else rgb.transpose(turn)
    return np.ascontiguousarray(np.asarray(upright)[..., ::-1])


def _check_mode(image: Image.Image) -> None:
    if image.mode in ("F", "LAB", "HSV") or (image.mode == "I" and image.format != "PNG"):
        raise UnsupportedMedia(
            f"the picture's pixels are of a kind that has no fixed colours ({image.mode}): "
            "save it as JPEG or PNG"
        )


def _plain(image: Image.Image) -> Image.Image:
    """The loaded picture with 8 bits per channel, as L, LA, RGB, RGBA or CMYK."""
    _check_mode(image)
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.uint16)
        # Divided by 257 and rounded, in 16 bits: of a hundred megapixels there is no room for more.
        return Image.fromarray((((levels - (levels >> 8)) + 128) >> 8).astype(np.uint8))
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "P":
        palette = image.palette
        return image.convert("RGBA" if palette and palette.mode == "RGBA" else "RGB")
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB") if image.mode in ("YCbCr", "RGBX") else image


def _opaque_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """From one of the modes of `_plain` to RGB."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if alpha is not None:
        image = image.convert(image.mode[:-1])
    rgb = (_by_profile(image, profile) if profile else None) or image.convert("RGB")
    if alpha is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, _BACKGROUND), alpha)


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The colours that an embedded profile means; None if it can't be used, as browsers do."""
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as exc:
        log.info("the picture's colour profile is not used: %s", exc)
        return None
