"""Sound files, whole: from whatever container to mono at the two rates that we use."""

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph

from .errors import AudioTooLong, DamagedAudio, EmptyAudio, UnsupportedAudio
from .mp3 import counted_frames
from .sound import Sound
from .timeline import EAR_RATE, MODEL_RATE

# FFmpeg's log callback takes the GIL from its own threads: deadlocks and contention.
av.logging.set_level(None)

# Plain audio containers and nothing that can refer to another file or address (playlists, concat
# scripts, images sequences, network demuxers).
CONTAINERS = "aac,aiff,amr,caf,flac,matroska,webm,mov,mp4,mp3,ogg,w64,wav"
_OPEN_OPTIONS = {
    "format_whitelist": CONTAINERS,
    # The bytes come through our own reader; no protocol may be opened for anything further.
    "protocol_whitelist": "none",
    "enable_drefs": "0",
}
ACCEPTED = "wav, mp3, m4a/aac, ogg/opus, flac or webm"

# A container that promises this much more sound than it holds was cut off. Encoder delay and
# rounding stay well below it.
_MISSING_S = 0.25
# Writers that can't seek back promise "as much as there can be": those promises mean nothing.
_LONGEST_PROMISE_S = 6 * 3600
# Containers without a length of their own: FFmpeg guesses it from the first bit rate that it meets.
_GUESSED_LENGTHS = {"aac", "amr", "mp3"}
# Packets of a file that may be no audio: a tag or padding makes a few, a corrupt file many.
_REFUSED_PACKETS = 8

# Audio samples per second that recorders use, from telephones to studios.
_LOWEST_RATE, _HIGHEST_RATE = 4_000, 768_000
_FIRST_CAPACITY = 1 << 18  # audio samples; 1 MB, which malloc gives back when it is freed

_FULL_SCALE = 2.0**-31  # 32-bit audio samples to ±1


def decode(file: BinaryIO, *, max_duration_s: float, trailing_silence_s: float = 0) -> Sound:
    """Decode the first audio track of a file (in memory or on disk, at its beginning).

    Raises UnsupportedAudio (not audio, or not a plain audio container), DamagedAudio (cut off or
    corrupt), EmptyAudio (no samples), AudioTooLong.
    """
    try:
        mp3_frames = counted_frames(file)
        with av.open(file, "r", options=_OPEN_OPTIONS, metadata_errors="replace") as container:
            ear, model = _decode_track(container, max_duration_s, mp3_frames)
    except (av.FFmpegError, UnicodeError) as exc:
        raise UnsupportedAudio(f"this is not a sound file that we read: send {ACCEPTED}") from exc
    if not len(ear):
        raise EmptyAudio("the file holds no sound: 0 samples")
    silence = round(trailing_silence_s * EAR_RATE)
    return _at_both_rates(ear, model, silence)


def _at_both_rates(
    ear: npt.NDArray[np.float32], model: npt.NDArray[np.float32], silence: int
) -> Sound:
    """Append `silence` (48 kHz samples) and make the lengths fit each other."""
    num_ear = len(ear) + silence
    num_model = -(-num_ear * MODEL_RATE // EAR_RATE)
    return Sound.whole(_resized(ear, num_ear), _resized(model, num_model))


def _resized(samples: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """A copy of exactly that length, so that nothing larger is kept alive by it."""
    resized = np.zeros(length, np.float32)
    kept = min(length, len(samples))
    resized[:kept] = samples[:kept]
    return resized


def _decode_track(
    container: InputContainer, max_duration_s: float, mp3_frames: int | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    if not container.streams.audio:
        raise UnsupportedAudio(f"the file has no audio track: send {ACCEPTED}")
    stream = container.streams.audio[0]
    promised_s = _promised_duration_s(container, stream, mp3_frames)
    if promised_s is not None and promised_s > max_duration_s + _MISSING_S:
        raise AudioTooLong(f"{promised_s:.0f} s of audio; the limit is {max_duration_s:g} s")
    ear, model = _Resampled(EAR_RATE), _Resampled(MODEL_RATE)
    limit = round(max_duration_s * EAR_RATE)
    for frame in _frames(container, stream):
        ear.add(frame)
        model.add(frame)
        if ear.length > limit:
            raise AudioTooLong(f"the audio is longer than the limit of {max_duration_s:g} s")
    heard, listened = ear.finish(), model.finish()
    if promised_s is not None and len(heard) / EAR_RATE < promised_s - _MISSING_S:
        raise DamagedAudio(
            f"the file ends after {len(heard) / EAR_RATE:.2f} s of {promised_s:.2f} s: "
            "it was cut off; send it again"
        )
    return heard, listened


def _promised_duration_s(
    container: InputContainer, stream: AudioStream, mp3_frames: int | None
) -> float | None:
    codec, duration = stream.codec_context, None
    if container.format.name == "mp3" and mp3_frames is not None and codec.sample_rate:
        duration = mp3_frames * codec.frame_size / codec.sample_rate
    elif container.format.name in _GUESSED_LENGTHS:
        duration = None
    elif stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration = container.duration / av.time_base
    return duration if duration is not None and 0 < duration < _LONGEST_PROMISE_S else None


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded frames. What the decoder does not know is passed over, as players do (tags between
    joined files, padding at the end); DamagedAudio when it is too much to be that."""
    decoded, refused = False, 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                refused += 1
                if refused > _REFUSED_PACKETS:
                    raise
                continue
            for frame in frames:
                decoded = True
                yield frame
    except av.FFmpegError as exc:
        if not decoded:
            raise
        raise DamagedAudio("the file is cut off or corrupt; send it again") from exc
    if refused and not decoded:
        raise UnsupportedAudio(f"nothing in the file can be decoded: send {ACCEPTED}")


class _Resampled:
    """Collects one track as mono float32 at one rate.

    A stream may change its own rate or layout on the way (chained Ogg): then a new resampler takes
    over, so that time goes on where it was.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._graph: Graph | None = None
        self._source: tuple[object, ...] = ()
        # One array that doubles: thousands of small ones would tear holes into the heap that no
        # later upload fills.
        self._samples: npt.NDArray[np.float32] = np.empty(_FIRST_CAPACITY, np.float32)
        self.length = 0

    def add(self, frame: AudioFrame) -> None:
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            self._flush()
            if not _LOWEST_RATE <= frame.sample_rate <= _HIGHEST_RATE:
                raise UnsupportedAudio(
                    f"{frame.sample_rate} samples per second; "
                    f"send {_LOWEST_RATE} to {_HIGHEST_RATE}"
                )
            self._graph = _resampling_graph(frame, self._rate)
            self._source = source
        # Gaps and jumps in timestamps are the container's business; samples are counted.
        frame.pts = None
        assert self._graph is not None
        self._graph.push(frame)
        self._pull(self._graph)

    def finish(self) -> npt.NDArray[np.float32]:
        self._flush()
        return self._samples[: self.length]

    def _flush(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._pull(self._graph)

    def _pull(self, graph: Graph) -> None:
        while True:
            try:
                resampled = graph.pull()
            except (BlockingIOError, EOFError):  # it wants more input, or will get none
                return
            assert isinstance(resampled, AudioFrame)
            self._keep(resampled.to_ndarray()[0])

    def _keep(self, samples: npt.NDArray[np.int32]) -> None:
        end = self.length + len(samples)
        if end > len(self._samples):
            grown = np.empty(max(end, 2 * len(self._samples)), np.float32)
            grown[: self.length] = self._samples[: self.length]
            self._samples = grown
        np.multiply(samples, _FULL_SCALE, out=self._samples[self.length : end], casting="unsafe")
        self.length = end


def _resampling_graph(frame: AudioFrame, rate: int) -> Graph:
    """From what `frame` is to mono at `rate`.

    Like PyAV's AudioResampler, but without threads: graphs lie in reference cycles, and theirs
    would live on until the garbage is collected.
    """
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=Fraction(1, frame.sample_rate),
    )
    # To an integer format, because only there FFmpeg scales a downmix to full scale: as float,
    # equal channels of a stereo file would come out 3 dB too loud, and clip.
    wanted = graph.add("aformat", f"sample_fmts=s32p:channel_layouts=mono:sample_rates={rate}")
    graph.link_nodes(source, wanted, graph.add("abuffersink")).configure()
    return graph
