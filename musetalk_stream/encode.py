"""One utterance's H.264 and AAC encoders, and the chunks that are cut from their packets.

Nothing is encoded twice and no encoder is restarted, so there is nothing to hear or see at a chunk
border. Recipe: a master container owns both encoders and is never muxed into; every chunk gets a
muxer of its own whose streams are templates of the master's.
"""

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from . import fmp4
from .blend import Picture, Region, Veil, compose
from .config import EncoderConfig
from .sound import Sound
from .timeline import AAC_FRAME, EAR_RATE, aac_frames_before, ticks_per_frame, ticks_per_second

# Generic in PyAV's type stubs only, hence the string.
AnyPacket: TypeAlias = "Packet[VideoStream] | Packet[AudioStream]"

av.logging.set_level(None)

# cmaf: no edit lists, default-base-is-moof. frag_discont: tfdt is the packets' own time, in each
# file. skip_trailer: no mfra box in mid-stream.
_CHUNK_FLAGS = "cmaf+frag_keyframe+frag_discont+skip_trailer"
_BT709 = 1  # primaries, transfer and matrix alike (ITU-T H.273)
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
X264_PARAMS = "keyint=infinite:scenecut=0:open-gop=0:threads=1:sliced-threads=0:ipratio=2.8"
# AAC frames by which the encoder's packets trail what it was fed: one of priming, one of lookahead.
_AAC_DELAY = 2


def _add_video(
    container: OutputContainer, width: int, height: int, fps: Fraction, settings: EncoderConfig
) -> VideoStream:
    """The H.264 encoder of utterances and placeholders alike, so that their colours agree."""
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, ticks_per_second(fps))
    codec = stream.codec_context
    codec.time_base = stream.time_base
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = _LIMITED_RANGE
    codec.options = {
        "preset": settings.preset,
        "crf": f"{settings.crf:g}",
        "tune": "zerolatency",  # no lookahead, no B-frames: a packet for every frame at once
        "forced-idr": "1",
        # Keyframes stand where a chunk begins and nowhere else. One thread: the parallelism is
        # between sessions, and slices would cost bits. A keyframe is coded finer than x264 would
        # (ipratio 1.4), so that none is seen as a jolt where a chunk, speech or the loop begins.
        "x264-params": X264_PARAMS,
    }
    return stream


class UtteranceEncoder:
    """Frames in, chunks out. Not thread-safe: one call at a time, from any thread.

    mime       `video/mp4; codecs="…"`, from the init segment's own bytes
    init_size  bytes of the init segment, with which every chunk begins
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        fps: Fraction,
        sound: Sound,
        settings: EncoderConfig,
    ) -> None:
        """`sound` may still be arriving: what has come when a chunk is cut is in it."""
        self._fps = fps
        self._ticks_per_frame = ticks_per_frame(fps)
        self._sound = sound
        # A container only because PyAV templates streams, not codec contexts.
        self._master = av.open(io.BytesIO(), "w", format="mp4")
        self._video = _add_video(self._master, width, height, fps, settings)
        self._audio: AudioStream = self._master.add_stream("aac", rate=EAR_RATE)
        self._audio.layout = "mono"
        self._audio.bit_rate = settings.audio_kbps * 1000
        # The default coder searches twice as long for what mono speech does not need.
        self._audio.codec_context.options = {"aac_coder": "fast"}
        self._master.start_encoding()

        self._frame = VideoFrame(width, height, "yuv420p")
        self._frame.time_base = Fraction(1, ticks_per_second(fps))
        self._picture = _writable_planes(self._frame)
        self._video_packets: list[AnyPacket] = []
        self._audio_packets: list[AnyPacket] = []
        self._frames_encoded = 0
        self._aac_frames_fed = 0
        self._aac_frames_cut = 0
        self._chunk_start = 0
        self._chunks_cut = 0
        self._init = self._mux([])
        self.mime = fmp4.mime_type(self._init)
        self.init_size = len(self._init)

    def close(self) -> None:
        """Let go of the encoders. PyAV's containers and streams refer to each other: without this,
        megabytes of encoder would wait for the garbage collector."""
        self._master.close()

    def add(self, source: Picture, region: Region | None, veil: Veil | None = None) -> None:
        """Compose and encode the next frame. The first frame after a cut is an IDR."""
        compose(self._picture, source, region, veil)
        first = self._frames_encoded == self._chunk_start
        self._frame.pts = self._frames_encoded * self._ticks_per_frame
        self._frame.pict_type = PictureType.I if first else PictureType.NONE
        self._video_packets += self._video.encode(self._frame)
        self._frames_encoded += 1

    def cut(self) -> bytes:
        """The frames since the last cut, with their sound, as a self-contained chunk."""
        assert self._frames_encoded > self._chunk_start, "a chunk needs at least one frame"
        border = aac_frames_before(self._frames_encoded, self._fps)
        self._encode_audio(border)
        count = border - self._aac_frames_cut
        audio, self._audio_packets = self._audio_packets[:count], self._audio_packets[count:]
        video, self._video_packets = self._video_packets, []
        chunk = self._mux(_by_decode_time(video, audio))
        self._check(chunk)
        self._chunk_start = self._frames_encoded
        self._aac_frames_cut = border
        self._chunks_cut += 1
        return chunk

    def _encode_audio(self, border: int) -> None:
        """Encode the sound until the packets of all AAC frames before `border` are there."""
        while self._aac_frames_fed < border + _AAC_DELAY:
            start = self._aac_frames_fed * AAC_FRAME
            samples = self._sound.heard(start, start + AAC_FRAME)
            frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = EAR_RATE
            frame.pts = start
            frame.time_base = Fraction(1, EAR_RATE)
            # The first packet is the encoder's priming, at pts -1024. Muxed, its negative time
            # would wrap tfdt around; dropped, sound and picture start together.
            self._audio_packets += [
                packet
                for packet in self._audio.encode(frame)
                if packet.pts is not None and packet.pts >= 0
            ]
            self._aac_frames_fed += 1

    def _mux(self, packets: Iterable[AnyPacket]) -> bytes:
        file = io.BytesIO()
        options = {
            "movflags": _CHUNK_FLAGS,
            "fragment_index": str(self._chunks_cut + 1),
            "video_track_timescale": str(ticks_per_second(self._fps)),
        }
        with av.open(file, "w", format="mp4", options=options) as out:
            video = out.add_stream_from_template(self._video)
            audio = out.add_stream_from_template(self._audio)
            out.start_encoding()
            for packet in packets:
                packet.stream = video if packet.stream is self._video else audio
                out.mux(packet)
        return file.getvalue()

    def _check(self, chunk: bytes) -> None:
        """FFmpeg ignores options that it does not know, so the bytes themselves are asked."""
        init, media = fmp4.split(chunk)
        if init != self._init:
            raise RuntimeError("the init segment changed within an utterance")
        times = fmp4.base_media_decode_times(media)
        expected = [self._chunk_start * self._ticks_per_frame, self._aac_frames_cut * AAC_FRAME]
        if times != expected:
            raise RuntimeError(f"tfdt is {times}, not {expected}")


def _writable_planes(frame: VideoFrame) -> Picture:
    """The encoder's own frame as arrays: composing writes where the encoder reads."""

    def view(index: int) -> npt.NDArray[np.uint8]:
        plane = frame.planes[index]
        flat: npt.NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
        return flat.reshape(plane.height, plane.line_size)[:, : plane.width]

    return Picture(view(0), view(1), view(2))


def _by_decode_time(video: list[AnyPacket], audio: list[AnyPacket]) -> Iterator[AnyPacket]:
    """Both tracks in one order of time, as a muxer wants them."""

    def instant(packet: AnyPacket) -> Fraction:
        assert packet.dts is not None
        assert packet.time_base is not None
        return packet.dts * packet.time_base

    return iter(sorted([*video, *audio], key=instant))


def jpeg(picture: Picture) -> bytes:
    """A picture as a file of its own, in the colours that files of this kind have: full range,
    BT.601."""
    height, width = picture.luma.shape
    frame = VideoFrame(width, height, "yuv420p")
    compose(_writable_planes(frame), picture, None)
    frame.pts = 0
    full = VideoReformatter().reformat(
        frame,
        format="yuvj420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    encoder = CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.color_range = ColorRange.JPEG
    encoder.options = {"qmin": "2", "qmax": "3"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(full), *encoder.encode(None)])


def write_placeholder(
    path: Path,
    pictures: Iterable[Picture],
    *,
    size: tuple[int, int],
    fps: Fraction,
    settings: EncoderConfig,
    keyframe_every: int,
) -> None:
    """Encode an avatar's idle cycle by the utterance's settings, as one progressive MP4."""
    width, height = size
    options = {"movflags": "faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        stream = _add_video(out, width, height, fps, settings)
        frame = VideoFrame(width, height, "yuv420p")
        frame.time_base = stream.time_base
        planes = _writable_planes(frame)
        for index, picture in enumerate(pictures):
            compose(planes, picture, None)
            frame.pts = index * ticks_per_frame(fps)
            key = index % keyframe_every == 0
            frame.pict_type = PictureType.I if key else PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
