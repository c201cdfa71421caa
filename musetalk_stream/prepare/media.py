"""What is an uploaded file, and may it become an avatar?

Answered before anything is made of it, so that who sent it hears it at once. For a process of its
own: what is in a hostile file is decoded here for the first time.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from ..config import PrepareConfig
from ..errors import BadRequest, DamagedMedia, EmptyMedia, InvalidParameter, UnsupportedMedia
from .stills import ImageHeader, examine_image
from .videos import VideoHeader, examine_video

ACCEPTED = "a photo (JPEG, PNG, WebP, AVIF, TIFF, BMP), a GIF or a video (MP4, MOV, WebM, MKV, AVI)"

_LEAST_SIDE = 64  # pixels; no face can be seen in less
_ALIKE = 0.02  # aspect ratios that differ by less are those of one camera
_MOST_ASPECT = 8  # longer by shorter side; more is a strip, or a false pixel aspect ratio

# How files that we read begin; cut off ones still do.
_SIGNATURES = (
    (0, b"\xff\xd8\xff"),  # JPEG
    (0, b"\x89PNG"),
    (0, b"GIF8"),
    (0, b"RIFF"),  # WebP, AVI
    (0, b"BM"),
    (0, b"II*\0"),  # TIFF
    (0, b"MM\0*"),
    (4, b"ftyp"),  # MP4, MOV, AVIF
    (4, b"moov"),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # ISO/IEC 23008-12

# Pictures per second that cameras and programs make. Slower ones are shown several times: whoever
# works with avatars may take a frame for an instant.
_COMMON_RATES = (10, 12, Fraction(25, 2), 15, 16, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
# What becomes of one by rounded times, or on a phone that is busy now and then.
_NEARLY = Fraction(1, 200)
# Television's are a thousandth slower, so these are told by less.
_TELEVISION_RATES = tuple(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120))
_ALMOST = Fraction(1, 4000)
# Every second or third picture moves more evenly than most of them, unless too few are left.
_ENOUGH = Fraction(3, 4)


class Kind(StrEnum):
    STILL = "still"
    ANIMATION = "animation"  # GIF, APNG, animated WebP or AVIF
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Media:
    """A file that may become an avatar.

    width, height  upright, in square pixels
    fps            pictures per second, on average; None for a still
    duration_s     None for a still
    image, video   what reading needs to know; one of them is there
    """

    kind: Kind
    width: int
    height: int
    fps: Fraction | None
    duration_s: float | None
    image: ImageHeader | None = None
    video: VideoHeader | None = None


def examine(path: Path, limits: PrepareConfig) -> Media:
    """Raises EmptyMedia, UnsupportedMedia, DamagedMedia, MediaTooLong, MediaTooLarge; the message
    says what the file is, what it may be and what to do."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise EmptyMedia(f"the file is empty (0 bytes): send {ACCEPTED}")
    media = _examined(path, head, limits)
    _check_shape(media.width, media.height)
    return media


def _examined(path: Path, head: bytes, limits: PrepareConfig) -> Media:
    image = examine_image(path, limits)
    if image is not None:
        return _of_image(image)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        # Its tiles look like videos of one picture each.
        raise UnsupportedMedia("this is a HEIC photo, which is not read here: send it as JPEG")
    video = examine_video(path, limits)
    if video is not None:
        return _of_video(video)
    if any(head[at:].startswith(signature) for at, signature in _SIGNATURES):
        raise DamagedMedia(
            "the file can't be opened: it is cut off or corrupt; send it again, or as JPEG or MP4"
        )
    raise UnsupportedMedia(f"this is neither a picture nor a video that we read: send {ACCEPTED}")


def _of_image(image: ImageHeader) -> Media:
    if not image.durations_ms:
        return Media(Kind.STILL, image.width, image.height, None, None, image=image)
    total_ms = sum(image.durations_ms)
    fps = Fraction(len(image.durations_ms) * 1000, total_ms)
    return Media(Kind.ANIMATION, image.width, image.height, fps, total_ms / 1000, image=image)


def _of_video(video: VideoHeader) -> Media:
    if video.num_pictures < 2:
        return Media(Kind.STILL, video.width, video.height, None, None, video=video)
    return Media(Kind.VIDEO, video.width, video.height, video.fps, video.duration_s, video=video)


def _check_shape(width: int, height: int) -> None:
    if min(width, height) < _LEAST_SIDE:
        raise UnsupportedMedia(
            f"the picture has {width} x {height} pixels; it needs at least {_LEAST_SIDE} pixels "
            "in each direction: send a larger one"
        )
    if max(width, height) > _MOST_ASPECT * min(width, height):
        raise UnsupportedMedia(
            f"the picture has {width} x {height} pixels, which is a strip: cut out the part "
            "with the face"
        )


def examine_all(path: Path, idle: Path | None, limits: PrepareConfig) -> tuple[Media, Media | None]:
    """The upload, and the film of the person at rest if there is one. Raises what `examine` raises,
    and InvalidParameter if the two can't be those of one avatar."""
    media = examine(path, limits)
    if idle is None:
        return media, None
    try:
        at_rest = examine(idle, limits)
    except BadRequest as exc:
        raise type(exc)(f"in the idle video: {exc}") from exc
    _require_alike(media, at_rest)
    return media, at_rest


def _require_alike(media: Media, rest: Media) -> None:
    if Kind.STILL in (media.kind, rest.kind):
        raise InvalidParameter("idle", "must be a video, and goes with a video")
    aspects = (media.width / media.height, rest.width / rest.height)
    if max(aspects) / min(aspects) > 1 + _ALIKE:
        raise InvalidParameter(
            "idle",
            f"must be a video of the same shape: {rest.width}x{rest.height} does not go with "
            f"{media.width}x{media.height}",
        )


def scaled_size(media: Media, side: int) -> tuple[int, int]:
    """Even width and height, the longer one at most `side`; never enlarged."""
    shrink = min(Fraction(1), Fraction(side, max(media.width, media.height)))
    return _even(media.width * shrink), _even(media.height * shrink)


def _even(length: Fraction) -> int:
    """Rounded down where it is odd: 4:2:0 chroma has half as many samples."""
    return max(2, round(length) // 2 * 2)


def motion_rate(media: Media, most: float) -> Fraction:
    """The constant rate at which the pictures of a video or animation are taken, at most `most`."""
    assert media.fps is not None, "a still has no rate"
    limit = Fraction(most).limit_denominator(1001)
    rate = _common(media.fps)
    if rate is None:
        # The next one up shows every picture.
        return min([limit, *(Fraction(rate) for rate in _COMMON_RATES if rate > media.fps)])
    if rate <= limit:
        return rate
    every = -(-rate // limit)
    return rate / every if rate / every >= _ENOUGH * limit else limit


def _common(fps: Fraction) -> Fraction | None:
    """The common rate that this nearly is."""
    for rates, within in ((_TELEVISION_RATES, _ALMOST), (_COMMON_RATES, _NEARLY)):
        nearest = min((Fraction(rate) for rate in rates), key=lambda rate: abs(rate - fps))
        if abs(nearest - fps) <= within * nearest:
            return nearest
    return None
