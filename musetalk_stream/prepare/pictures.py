"""How do the pictures of an uploaded file come in? Upright, scaled, BT.709, at a constant rate.

Videos are read by an ffmpeg process, so that a decoder that crashes or hangs is not ours;
animations by Pillow.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import ffmpeg
import numpy as np
import numpy.typing as npt

from ..blend import i420_planes
from ..errors import DamagedMedia, MediaTooLong, SetupError
from ..renderers.musetalk.box import Box
from ..renderers.musetalk.colour import bgr_of, i420_of
from .ffmpeg_process import FFmpeg, ffmpeg_binary, running
from .media import Media
from .stills import Bgr, animation, read_image
from .videos import CODEC_WHITELIST, VideoHeader

I420: TypeAlias = npt.NDArray[np.uint8]  # [H*3/2, W]
Size: TypeAlias = tuple[int, int]  # width, height

_STALL_S = 300.0  # for a decoder that comes last, beside those who speak, on a busy machine
_THREADS = 2  # of the decoder; the server speaks meanwhile

# Times are rounded, and the last picture stays for a moment.
_SLACK_S = 1.0

# So much of the time that a video takes must come out as pictures.
_WHOLE = 0.9

# Untagged videos of at least this height are taken for HD, as players do.
_HD_HEIGHT = 720

# Brightness that tone mapping takes for 1, in cd/m². White paper in HDR, 203 by ITU-R BT.2408, so
# comes out at three quarters, as bright as in a well exposed video.
_WHITE = 100


def read_still(path: Path, media: Media, size: Size) -> Bgr:
    """The upright picture as BGR, uint8 `[H, W, 3]`. Raises DamagedMedia."""
    if media.image is not None:
        return read_image(path, media.image, size)
    assert media.video is not None
    # At its own rate: at a lower one, it might be too short to be shown at all.
    with pictures(path, media, size, media.video.fps) as frames:
        return bgr_of(i420_planes(next(frames)), Box(0, 0, *size))


@contextmanager
def pictures(
    path: Path, media: Media, size: Size, fps: Fraction, stall_s: float = _STALL_S
) -> Iterator[Iterator[I420]]:
    """The pictures at a constant rate, at least one; what reads them ends with the block.

    Iterating raises DamagedMedia, and MediaTooLong if there is more than was examined.
    stall_s  for how long the decoder may be silent
    """
    if media.image is not None:
        with closing(_animated(path, media, size, fps)) as frames:
            yield frames
        return
    assert media.video is not None
    most = math.ceil(((media.duration_s or 0) + _SLACK_S) * fps) + 1
    command = _command(path, media.video, size, fps, most + 1)
    with running(command, stall_s) as process:
        yield _decoded(process, size, most, fps, media)


def _animated(path: Path, media: Media, size: Size, fps: Fraction) -> Generator[I420, None, None]:
    """At each instant of the constant rate the picture that is shown then."""
    assert media.image is not None
    index, end_ms = 0, 0
    with closing(animation(path, media.image, size)) as frames:
        for bgr, duration_ms in frames:
            end_ms += duration_ms
            planes = i420_of(bgr)
            picture = np.concatenate([planes.luma.ravel(), planes.cb.ravel(), planes.cr.ravel()])
            while index * 1000 < end_ms * fps:
                yield picture.reshape(size[1] * 3 // 2, size[0])
                index += 1


def _decoded(process: FFmpeg, size: Size, most: int, fps: Fraction, media: Media) -> Iterator[I420]:
    width, height = size
    num_bytes, count = width * height * 3 // 2, 0
    while len(picture := process.read(num_bytes)) == num_bytes:
        count += 1
        if count > most:
            raise MediaTooLong("the video goes on after the end that it says: send a part of it")
        yield np.frombuffer(picture, np.uint8).reshape(height * 3 // 2, width)
    status, complaint = process.result()
    if "No such filter" in complaint:
        raise SetupError(
            f"this ffmpeg can't do what the video needs ({complaint}): install another"
        )
    if status != 0 or not count:
        raise DamagedMedia(f"the video can't be decoded ({complaint}): convert it to H.264 in MP4")
    _check_whole(float(count / fps), media)


def _check_whole(read_s: float, media: Media) -> None:
    if media.duration_s is None or media.fps is None:
        return
    # The last picture may be shown more briefly than it says.
    if read_s < _WHOLE * media.duration_s - float(1 / media.fps):
        raise DamagedMedia(
            f"only {read_s:.1f} s of {media.duration_s:.1f} s of the video could be read: it is "
            "corrupt; send it again, or convert it to H.264 in MP4"
        )


def _command(path: Path, video: VideoHeader, size: Size, fps: Fraction, most: int) -> list[str]:
    source = ffmpeg.input(
        # Without the prefix, what stands before a colon in a name would be taken for a protocol.
        f"file:{path}",
        protocol_whitelist="file,pipe",
        format_whitelist=video.container,
        codec_whitelist=CODEC_WHITELIST,
        # A picture that is larger than those examined is not decoded; coded sizes are rounded up.
        max_pixels=str(2 * video.pixels + 65536),
        threads=_THREADS,
        # Else, where the size of the pictures changes, a new chain of filters would begin at time 0
        # again; scaling takes any size.
        reinit_filter=0,
    )
    stream = source[str(video.stream)]
    for name, args, options in _filters(video, size, fps):
        stream = stream.filter(name, *args, **options)
    output = ffmpeg.output(
        stream, "pipe:1", format="rawvideo", pix_fmt="yuv420p", **{"frames:v": most}
    ).global_args("-nostdin", "-hide_banner", "-loglevel", "error")
    command: list[str] = ffmpeg.compile(output, cmd=ffmpeg_binary())
    return command


_Filter: TypeAlias = tuple[str, tuple[str, ...], dict[str, Any]]


def _filters(video: VideoHeader, size: Size, fps: Fraction) -> Iterator[_Filter]:
    """Turning upright is not among them: ffmpeg does that by itself, before the first."""
    if video.interlaced:
        yield "bwdif", (), {"mode": "send_frame"}
    yield "setpts", ("PTS-STARTPTS",), {}
    yield "fps", (), {"fps": str(fps)}
    yield from _from_hdr(video, size) if video.hdr else _scaled(video, size)
    yield "setsar", ("1",), {}
    yield "format", ("yuv420p",), {}


def _scaled(video: VideoHeader, size: Size) -> Iterator[_Filter]:
    options = {
        "w": size[0],
        "h": size[1],
        "flags": "lanczos+accurate_rnd+full_chroma_int",
        "out_color_matrix": "bt709",
        "out_range": "tv",
    }
    if not video.has_matrix:
        hd = min(video.width, video.height) >= _HD_HEIGHT
        options["in_color_matrix"] = "bt709" if hd else "bt601"
    yield "scale", (), options


def _from_hdr(video: VideoHeader, size: Size) -> Iterator[_Filter]:
    """Scaled while it is still small, then tone-mapped in linear light."""
    if not video.has_matrix:  # there is no HDR without BT.2020
        yield "setparams", (), {"colorspace": "bt2020nc", "color_primaries": "bt2020"}
    options = {"w": size[0], "h": size[1], "filter": "lanczos", "t": "linear", "npl": _WHITE}
    yield "zscale", (), options
    yield "format", ("gbrpf32le",), {}
    yield "zscale", (), {"p": "bt709"}
    yield "tonemap", ("hable",), {"desat": 0}
    yield "zscale", (), {"t": "bt709", "m": "bt709", "r": "tv"}
