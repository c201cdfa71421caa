"""What does a video file say, and what is true of it? By PyAV: all packets, two pictures."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..config import PrepareConfig
from ..errors import DamagedMedia, MediaTooLarge, MediaTooLong, UnsupportedMedia
from ..listening import CODECS as SOUND_CODECS
from ..listening import CONTAINERS as SOUND_CONTAINERS

av.logging.set_level(None)

# Containers that hold their pictures themselves: no playlists, scripts or image sequences, which
# name other files and addresses.
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf"
# What cameras, phones, programs and browsers write. FFmpeg has decoders for hundreds of games and
# recorders, which few have looked at; the sound of a video is not decoded.
CODECS = frozenset({
    "av1", "dnxhd", "ffv1", "flv1", "gif", "h263", "h264", "hevc", "libaom-av1", "libdav1d",
    "libvpx", "libvpx-vp9", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3",
    "png", "prores", "qtrle", "rawvideo", "theora", "vc1", "vp8", "vp9", "webp", "wmv1", "wmv2",
    "wmv3"
})  # fmt: skip
# FFmpeg looks into the sound, too, to say what is in a file.
CODEC_WHITELIST = ",".join(sorted(CODECS | SOUND_CODECS))
_OPEN_OPTIONS = {
    "codec_whitelist": CODEC_WHITELIST,
    # Sound, too, in order to say what is missing in it.
    "format_whitelist": f"{CONTAINERS},{SOUND_CONTAINERS}",
    # The bytes come through our own reader; no protocol may be opened for anything further.
    "protocol_whitelist": "none",
    "enable_drefs": "0",
}
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of a song

_HDR = {16, 18}  # transfer characteristics: PQ (SMPTE ST 2084) and HLG (ITU-T H.273)
_UNSPECIFIED = 2

# An MP4 that promises this much more than it holds was cut off.
_MISSING_S, _MISSING_SHARE = 1.0, 0.1
_MOST_RATE = 1000  # packets per second; more of them have no times, or false ones


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What reading needs to know of a video file.

    width, height  upright, in square pixels
    pixels         of a decoded picture, as it is coded
    num_pictures   at least one
    fps            pictures per second, on average
    """

    container: str
    stream: int
    width: int
    height: int
    pixels: int
    num_pictures: int
    fps: Fraction
    duration_s: float
    hdr: bool
    interlaced: bool
    has_matrix: bool


@dataclass(slots=True)
class _Seen:
    """What the packets of a stream showed."""

    first: VideoFrame | None = None
    num_decoded: int = 0  # of those that were tried: 2 for two and more
    num_packets: int = 0
    start_s: Fraction = Fraction(0)
    last_s: Fraction = Fraction(0)  # where the last picture begins
    tail_s: Fraction = Fraction(0)  # how long it is shown

    @property
    def span_s(self) -> Fraction:
        return self.last_s - self.start_s

    @property
    def duration_s(self) -> Fraction:
        return self.span_s + self.tail_s

    def add(self, instant: Fraction, duration: Fraction) -> None:
        first = not self.num_packets
        self.num_packets += 1
        self.start_s = instant if first else min(self.start_s, instant)
        if first or instant >= self.last_s:
            self.last_s, self.tail_s = instant, duration


def examine_video(path: Path, limits: PrepareConfig) -> VideoHeader | None:
    """Read all packets and decode two pictures; None if it is no container that we read. Raises
    UnsupportedMedia, DamagedMedia, MediaTooLong, MediaTooLarge."""
    # FFmpeg itself refuses to decode anything larger, also while it looks for what there is.
    # Up to twice the limit it does, and the refusal can name the size.
    options = {**_OPEN_OPTIONS, "max_pixels": str(round(2e6 * limits.max_video_mp))}
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, UnicodeError):
            return None
        with container:
            return _examined(container, limits)


def _examined(container: InputContainer, limits: PrepareConfig) -> VideoHeader:
    name = container.format.name
    stream = _video_stream(container)
    _check_pixels(stream.codec_context.width, stream.codec_context.height, limits.max_video_mp)
    promised_s = _promised_s(container, stream)
    if promised_s is not None and promised_s > limits.max_avatar_s:
        raise MediaTooLong(
            f"the video takes {promised_s:.1f} s; the limit is {limits.max_avatar_s:g} s: "
            "send a part of it"
        )
    seen = _read(container, stream, limits.max_avatar_s)
    frame = seen.first
    if frame is None:
        raise DamagedMedia(
            "no picture in the video can be decoded: it is cut off or corrupt; send it again"
        )
    if seen.num_decoded < 2 <= seen.num_packets:
        raise DamagedMedia(
            f"only one of {seen.num_packets} pictures of the video can be decoded: it is corrupt; "
            "send it again"
        )
    _check_pixels(frame.width, frame.height, limits.max_video_mp)
    if name.startswith("mov") and promised_s is not None:
        _check_whole(float(seen.duration_s), promised_s)
    width, height = _upright_size(frame, stream)
    return VideoHeader(
        container=name,
        stream=stream.index,
        width=width,
        height=height,
        pixels=frame.width * frame.height,
        num_pictures=max(1, seen.num_packets),
        fps=_rate(seen, stream),
        duration_s=float(seen.duration_s),
        hdr=frame.color_trc in _HDR,
        interlaced=frame.interlaced_frame,
        has_matrix=frame.colorspace != _UNSPECIFIED,
    )


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not int(stream.disposition) & _ATTACHED_PICTURE:
            if stream.codec_context is None:
                raise UnsupportedMedia(
                    "the video is coded in a way that is not known here: convert it to H.264 in MP4"
                )
            codec = stream.codec_context.name
            if codec not in CODECS:
                raise UnsupportedMedia(
                    f"the video's codec is {codec}, which is not decoded here: convert it to H.264 "
                    "in MP4"
                )
            return stream
    what = "only sound and its cover" if container.streams.video else "no picture"
    raise UnsupportedMedia(f"the file holds {what}: send a photo or a video of a face")


def _check_pixels(width: int, height: int, max_mp: float) -> None:
    if width * height > max_mp * 1e6:
        raise MediaTooLarge(
            f"the pictures have {width} x {height} pixels, {width * height / 1e6:.1f} megapixels; "
            f"the limit is {max_mp:g}: send a smaller version, 1080p is plenty"
        )


def _check_whole(found_s: float, promised_s: float) -> None:
    if found_s < promised_s - max(_MISSING_S, _MISSING_SHARE * promised_s):
        raise DamagedMedia(
            f"the video ends after {found_s:.1f} s of {promised_s:.1f} s: it was cut off; "
            "send it again"
        )


def _promised_s(container: InputContainer, stream: VideoStream) -> float | None:
    """The shorter of what stream and container say: of a video that was trimmed on a phone the
    stream, of one with longer sound the container says too much."""
    promises = []
    if stream.duration is not None and stream.time_base is not None:
        promises.append(float(stream.duration * stream.time_base))
    if container.duration is not None:
        promises.append(container.duration / av.time_base)
    return min((promise for promise in promises if promise > 0), default=None)


def _read(container: InputContainer, stream: VideoStream, max_s: float) -> _Seen:
    """Go through all packets; what comes after one that can't be read does not count."""
    seen = _Seen()
    stream.codec_context.thread_count = 1
    for instant, duration, frames in _packets(container, stream):
        for frame in frames:
            seen.first = seen.first or frame
            seen.num_decoded = min(2, seen.num_decoded + 1)
        if instant is None:
            continue
        seen.add(instant, duration)
        if seen.span_s > max_s or seen.num_packets > max(2, max_s * _MOST_RATE):
            raise MediaTooLong(f"the video takes more than {max_s:g} s: send a part of it")
    if not seen.tail_s and seen.num_packets > 1:  # as long as the others
        seen.tail_s = seen.span_s / (seen.num_packets - 1)
    return seen


def _packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[Fraction | None, Fraction, list[VideoFrame]]]:
    """Instant and duration in seconds of each packet (None: it is not shown), and what was decoded
    of it; nothing more after two pictures."""
    decoded = 0
    try:
        for packet in container.demux(stream):
            frames: list[VideoFrame] = []
            if decoded < 2:
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    frames = []  # a damaged picture; there may be better ones
                decoded += len(frames)
            base = packet.time_base or Fraction(0)
            time = packet.pts if packet.pts is not None else packet.dts
            # What an edit list leaves out is only there for the decoder: a phone trims like that.
            shown = time is not None and packet.size > 0 and not packet.is_discard
            instant = time * base if shown and time is not None else None
            yield instant, (packet.duration or 0) * base, frames
    except av.FFmpegError:
        return  # up to here it could be read


def _rate(seen: _Seen, stream: VideoStream) -> Fraction:
    """What the file says if it agrees with what was counted, for that is exact."""
    said = stream.average_rate or Fraction(0)
    if seen.span_s <= 0 or seen.num_packets < 2:
        return said if said > 0 else Fraction(1)
    counted = (seen.num_packets - 1) / seen.span_s
    if abs(said - counted) <= counted / 100:
        return Fraction(said)
    return counted.limit_denominator(1001)


def _upright_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = frame.width, frame.height
    # The way that enlarges: nothing that is in the file gets lost.
    if aspect > 1:
        width = math.ceil(width * aspect)
    elif 0 < aspect < 1:
        height = math.ceil(height / aspect)
    on_side = round(frame.rotation / 90) % 2 == 1
    return (height, width) if on_side else (width, height)
