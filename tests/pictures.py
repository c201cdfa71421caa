"""Photos and videos of which every pixel is known, as phones, programs and strangers send them."""

import resource
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Rgb = npt.NDArray[np.uint8]  # [H, W, 3]

WIDTH, HEIGHT = 192, 128
COLOURS = ((200, 40, 40), (40, 180, 60), (50, 60, 200), (128, 128, 128))

_BT709, _BT601, _LIMITED = 1, 6, 1
# The rotation part of a track's display matrix (ISO 14496-12, 6.2.2), by clockwise degrees.
_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def chart(width: int = WIDTH, height: int = HEIGHT) -> Rgb:
    """Four quarters: red and green above, blue and grey below."""
    picture = np.empty((height, width, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        row, column = divmod(index, 2)
        rows = slice(row * height // 2, (row + 1) * height // 2)
        picture[rows, column * width // 2 : (column + 1) * width // 2] = colour
    return picture


def quarters(picture: Rgb) -> npt.NDArray[np.float64]:
    """The colour in the middle of each quarter, `[4, 3]`."""
    height, width = picture.shape[:2]
    middles = [
        picture[row * height // 8 :, column * width // 8 :][: height // 8, : width // 8]
        for row in (1, 5)
        for column in (1, 5)
    ]
    return np.array([middle.mean(axis=(0, 1)) for middle in middles])


def levels(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Rgb]:
    """Grey pictures, each ten levels lighter than the one before."""
    return [np.full((height, width, 3), 20 + 10 * index % 230, np.uint8) for index in range(count)]


def write_video(
    path: Path,
    pictures: Iterable[Rgb],
    fps: Fraction | int = 25,
    *,
    instants: list[int] | None = None,
    container: str = "mp4",
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    colorspace: int = _BT709,
    transfer: int = _BT709,
    matrix: str | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    format_options: dict[str, str] | None = None,
) -> Path:
    """instants: of each picture, in milliseconds; else they follow the rate. matrix: by which the
    pixels are made, if it is not what colorspace says."""
    with av.open(str(path), "w", format=container, options=format_options or {}) as out:
        stream = out.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.options = options or {}
        if instants is not None:
            context.time_base = stream.time_base = Fraction(1, 1000)
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                context.colorspace, context.color_trc = colorspace, transfer
                context.color_primaries = context.colorspace
                context.color_range = _LIMITED
                if aspect is not None:
                    context.sample_aspect_ratio = aspect
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=matrix or ("ITU709" if colorspace == _BT709 else "SMPTE170M"),
                dst_color_range="MPEG",
            )
            frame.pts = index if instants is None else instants[index]
            frame.time_base = 1 / Fraction(fps) if instants is None else Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def turn(path: Path, degrees: int) -> None:
    """Say in an MP4 that it must be shown turned clockwise, as phones do."""
    file = bytearray(path.read_bytes())
    matrix = file.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in _MATRICES[degrees])
    struct.pack_into(">9i", file, matrix, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(file)


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """As on a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
