"""Sound that comes in, piece by piece: raw audio samples, or a container while it is read."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from .errors import AudioTooLong, DamagedAudio, UnsupportedAudio
from .mp3 import counted_frames
from .resample import BothRates
from .sound import Samples
from .timeline import EAR_RATE
from .wav import Seekable, WavHeader, wav_header

# Plain audio containers and nothing that can refer to another file or address (playlists, concat
# scripts, images sequences, network demuxers).
CONTAINERS = "aac,aiff,amr,caf,flac,matroska,webm,mov,mp4,mp3,ogg,w64,wav"
# What sound is coded in that people send. FFmpeg has decoders for hundreds of games and recorders,
# which few have looked at; pictures beside the sound are not decoded.
CODECS = frozenset({
    "aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3",
    "flac", "gsm", "gsm_ms", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus",
    "pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be",
    "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8", "speex",
    "vorbis"
})  # fmt: skip
_OPEN_OPTIONS = {
    "format_whitelist": CONTAINERS,
    "codec_whitelist": ",".join(sorted(CODECS)),
    # The bytes come through our own reader; no protocol may be opened for anything further.
    "protocol_whitelist": "none",
    "enable_drefs": "0",
}
# Of what is still arriving, FFmpeg looks at so many microseconds before it decodes, not at 5 s.
_SOON = {"analyzeduration": "100000"}
_READ_BYTES = 1 << 15
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

BEGINNING = 12  # bytes that show which container it is
_EBML = b"\x1a\x45\xdf\xa3"  # webm, matroska


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Growing(Reader, Protocol):
    """What arrives: `read` waits for a byte, `read_at` for all of them or the end."""

    def read_at(self, place: int, size: int) -> bytes: ...


class Beginning:
    """Looks at the beginning of what arrives before it is read."""

    def __init__(self, file: Growing) -> None:
        self._file = file
        self._place = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read_at(self._place, size)
        self._place += len(data)
        return data

    def seek(self, place: int, /) -> int:
        self._place = place
        return place


def may_stream(beginning: bytes) -> bool:
    """Whether a container that begins so can be decoded while it arrives. Others have what is
    needed for it at their end (mp4), or are rare."""
    if beginning.startswith((b"OggS", b"fLaC", b"ID3", _EBML)):
        return True
    if beginning.startswith(b"RIFF"):
        return beginning[8:12] == b"WAVE"
    # An MPEG audio frame: mp3, or AAC in ADTS.
    return len(beginning) > 1 and beginning[0] == 0xFF and beginning[1] & 0xE0 == 0xE0


# --- raw audio samples


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Signed 16-bit audio samples, interleaved.

    rate      Hz, 4000 to 192000
    channels  1 to 8
    """

    rate: int
    channels: int = 1
    big_endian: bool = False

    def __post_init__(self) -> None:
        assert _is_pcm_format(self.rate, self.channels), f"{self}"

    @property
    def bytes_per_sample(self) -> int:
        """Of all channels together."""
        return 2 * self.channels

    @property
    def bytes_per_second(self) -> int:
        return self.rate * self.bytes_per_sample


def _is_pcm_format(rate: int, channels: int) -> bool:
    return 4_000 <= rate <= 192_000 and 1 <= channels <= 8


class PcmListener:
    """Bytes in, sound at both rates out; what comes out does not depend on how they are split.

    One or two channels are heard as those of a wav file. Nobody says which are which of more: their
    mean is heard.
    """

    def __init__(self, form: PcmFormat) -> None:
        self.form = form
        self._rates = BothRates()
        self._rest = b""  # less than an audio sample of all channels

    def hear(self, data: bytes) -> tuple[Samples, Samples]:
        """What can be said now: ear, model."""
        data = self._rest + data
        size = len(data) // self.form.bytes_per_sample * self.form.bytes_per_sample
        self._rest = data[size:]
        samples = np.frombuffer(data[:size], ">i2" if self.form.big_endian else "<i2")
        if not len(samples):
            return samples.astype(np.float32), samples.astype(np.float32)
        if self.form.channels > 2:
            samples = np.rint(samples.reshape(-1, self.form.channels).mean(axis=1))
        layout = "stereo" if self.form.channels == 2 else "mono"
        frame = AudioFrame.from_ndarray(samples.astype(np.int16)[None], format="s16", layout=layout)
        frame.sample_rate = self.form.rate
        return self._rates.add(frame)

    def finish(self) -> tuple[Samples, Samples, int]:
        """What the filters held back: ear, model; and how many bytes of an audio sample are over
        that never became whole."""
        return *self._rates.finish(), len(self._rest)


# --- containers


def decoded(
    file: Reader, *, max_duration_s: float, mp3_frames: int | None
) -> Generator[tuple[Samples, Samples], None, None]:
    """The first audio track of a container, as it is read: ear, model.

    max_duration_s  what promises to be longer is refused at once; the rest is for who reads
    mp3_frames      `mp3.counted_frames`

    Raises UnsupportedAudio (not audio, or not a plain audio container), DamagedAudio (cut off or
    corrupt), AudioTooLong.
    """
    with _opened(file, _OPEN_OPTIONS) as container:
        stream = _audio_track(container)
        promise = _Promise(_promised_duration_s(container, stream, mp3_frames), max_duration_s)
        for ear, model in _resampled(_frames(container, stream)):
            promise.num_ear += len(ear)
            yield ear, model
    promise.check()


def decoded_while_arriving(
    file: Growing, *, max_duration_s: float
) -> Generator[tuple[Samples, Samples], None, None]:
    """Likewise, of a container that `may_stream`, as soon as it can be said.

    The same sound, but for the padding at the end of an mp3 (less than 1152 of its audio samples):
    FFmpeg leaves it out only where it knows how large the file is.
    """
    header = wav_header(Beginning(file))
    mp3_frames = counted_frames(Beginning(file))
    with _opened(file, _OPEN_OPTIONS | _SOON) as container:
        stream = _audio_track(container)
        promised_s = _promised_duration_s(container, stream, mp3_frames)
        if header is not None and header.size is None:
            promised_s = None
        promise = _Promise(promised_s, max_duration_s)
        for ear, model in _resampled(_frames(container, stream)):
            promise.num_ear += len(ear)
            yield ear, model
    promise.check()


def plain_wav(file: Seekable) -> WavHeader | None:
    """The header of a wav file that is heard as raw audio samples are; None of any other: of more
    channels it says which are which. Leaves the file somewhere."""
    header = wav_header(file)
    if header is None or not header.is_pcm16 or header.channels > 2:
        return None
    return header if _is_pcm_format(header.rate, header.channels) else None


def decoded_pcm(
    file: Reader, header: WavHeader, *, max_duration_s: float
) -> Generator[tuple[Samples, Samples], None, None]:
    """Likewise, of a `plain_wav`, at its beginning: without FFmpeg's readers of containers."""
    listener = PcmListener(PcmFormat(header.rate, header.channels))
    promised_s = header.size / listener.form.bytes_per_second if header.size is not None else None
    promise = _Promise(promised_s, max_duration_s)
    before, left = header.place, header.size
    while left != 0 and (data := file.read(_READ_BYTES)):
        data, before = data[before:], max(0, before - len(data))
        if left is not None:
            data = data[:left]  # what follows is no sound
            left -= len(data)
        ear, model = listener.hear(data)
        promise.num_ear += len(ear)
        yield ear, model
    ear, model, _ = listener.finish()
    promise.num_ear += len(ear)
    yield ear, model
    promise.check()


class _Promise:
    """How much sound there should be, and how much there was.

    num_ear  48 kHz samples so far
    """

    def __init__(self, promised_s: float | None, max_duration_s: float) -> None:
        self._promised_s = promised_s
        self.num_ear = 0
        if promised_s is not None and promised_s > max_duration_s + _MISSING_S:
            raise AudioTooLong(f"{promised_s:.0f} s of audio; the limit is {max_duration_s:g} s")

    def check(self) -> None:
        heard_s = self.num_ear / EAR_RATE
        if self._promised_s is not None and heard_s < self._promised_s - _MISSING_S:
            raise DamagedAudio(
                f"the file ends after {heard_s:.2f} s of {self._promised_s:.2f} s: it was cut off"
            )


def _audio_track(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UnsupportedAudio(f"the file has no audio track: send {ACCEPTED}")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name if stream.codec_context else "an unknown one"
    if codec not in CODECS:
        raise UnsupportedAudio(f"its codec is {codec}, which is not decoded here: send {ACCEPTED}")
    # More would only be started, and no sound is decoded by several.
    stream.codec_context.thread_count = 1
    return stream


def _resampled(frames: Iterable[AudioFrame]) -> Iterator[tuple[Samples, Samples]]:
    rates = BothRates()
    for frame in frames:
        yield rates.add(frame)
    yield rates.finish()


@contextmanager
def _opened(file: Reader, options: dict[str, str]) -> Iterator[InputContainer]:
    try:
        with av.open(file, "r", options=options, metadata_errors="replace") as container:
            yield container
    except (av.FFmpegError, UnicodeError) as exc:
        raise UnsupportedAudio(f"this is not a sound file that we read: send {ACCEPTED}") from exc


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
        raise DamagedAudio("the file is cut off or corrupt") from exc
    if refused and not decoded:
        raise UnsupportedAudio(f"nothing in the file can be decoded: send {ACCEPTED}")
