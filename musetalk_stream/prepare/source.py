"""How are an avatar's pictures kept? As H.264 in which no loss can be seen."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..timeline import ticks_per_frame, ticks_per_second

av.logging.set_level(None)

_BT709 = 1  # primaries, transfer and matrix alike (ITU-T H.273)
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_KEYFRAME_EVERY = 250  # each is seen as a small jump, and nobody seeks in it
_OPTIONS = {
    "preset": "veryfast",
    "crf": "8",  # about 47 dB: what is made from it, mouths and loops, is encoded once more
    "bf": "0",
}


def write_source(
    path: Path,
    pictures: Iterable[npt.NDArray[np.uint8]],
    size: tuple[int, int],
    fps: Fraction,
) -> int:
    """Encode I420 pictures `[H*3/2, W]` and return how many there were; at least one.

    The file is written beside and renamed. Raises OSError if it can't be, and whatever iterating
    raises; then nothing is left of it.
    """
    making = path.with_name(f"{path.name}.part")
    try:
        with av.open(str(making), "w", format="mp4") as out:
            count = _encode(out, pictures, size, fps)
        making.rename(path)
    finally:
        making.unlink(missing_ok=True)
    return count


def _encode(
    out: OutputContainer,
    pictures: Iterable[npt.NDArray[np.uint8]],
    size: tuple[int, int],
    fps: Fraction,
) -> int:
    stream = _video_stream(out, size, fps)
    count = 0
    for picture in pictures:
        assert picture.shape == (size[1] * 3 // 2, size[0]), picture.shape
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = count * ticks_per_frame(fps)
        frame.time_base = stream.time_base
        out.mux(stream.encode(frame))
        count += 1
    assert count, "an avatar needs a picture"
    out.mux(stream.encode(None))
    return count


def _video_stream(out: OutputContainer, size: tuple[int, int], fps: Fraction) -> VideoStream:
    stream = out.add_stream("libx264", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, ticks_per_second(fps))
    codec = stream.codec_context
    codec.time_base = stream.time_base
    codec.gop_size = _KEYFRAME_EVERY
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = _LIMITED_RANGE
    codec.options = _OPTIONS
    return stream
