"""True but tiny stand-ins: a renderer that writes the frame number into the picture, an avatar of
a few small frames, and sounds in every container that we read."""

import io
import json
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from musetalk_stream.avatar import FORMAT, Avatar, open_avatar
from musetalk_stream.blend import MouthRegion, i420_planes
from musetalk_stream.config import EncoderConfig
from musetalk_stream.prepare import derive
from musetalk_stream.renderers import (
    DeviceLost,
    FrameRequest,
    Mouth,
    Mouths,
    OutOfDeviceMemory,
    Rendered,
    Rendering,
)
from musetalk_stream.sound import Sound

Samples = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]

EAR_RATE = 48_000

# --- the renderer

_BITS, _CELL = 16, 8  # a number is 2 rows of 8 cells, each 8 x 8 pixels
_MARKER_X, _MARKER_Y = 32, 88
_BLACK, _WHITE, _GREY = 16, 235, 128


@dataclass
class NumberRenderer:
    """Paints the frame number over the mouth of every frame that has sound under it.

    delay_s        how long each frame takes
    fails_on       says of which (avatar id, frame number) it can't render
    fails_to_hear  audio_windows raises
    works_later    a batch is only rendered when it is waited for, as if on a device
    fits           frames that fit into its memory at once
    lost           what its device says instead of rendering
    unprepared     ids of the avatars that must be prepared first, in four steps
    """

    delay_s: float = 0
    fails_on: Callable[[str, int], bool] = lambda avatar_id, frame: False
    fails_to_hear: bool = False
    works_later: bool = False
    fits: int = 1000
    lost: str = ""
    unprepared: set[str] = field(default_factory=set)
    name: str = "number"
    moves_lips: bool = True
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    batches: list[int] = field(default_factory=list)

    def load(self, progress: Callable[[str], None]) -> None:
        if self.lost:
            raise DeviceLost(self.lost)
        progress("counting")

    def is_prepared(self, avatar: Avatar) -> bool:
        return avatar.id not in self.unprepared

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        for step in range(1, 5):
            yield step / 4
        self.unprepared.discard(avatar.id)

    def audio_windows(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[np.float32]:
        """Frame number and loudness: float32 `[count, 2]`."""
        if self.fails_to_hear:
            raise ValueError("deaf on purpose")
        windows = np.zeros((count, 2), np.float32)
        for row, frame in enumerate(range(first, first + count)):
            start, stop = (round(k * 16_000 / fps) for k in (frame, frame + 1))
            heard = sound.listened(start, min(stop, sound.num_model))
            windows[row] = frame, float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0
        return windows

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        self.batches.append(len(batch))
        return Later(self, batch) if self.works_later else Rendered(self.render(batch))

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        if self.lost:
            raise DeviceLost(self.lost)
        if len(batch) > self.fits:
            raise OutOfDeviceMemory(f"{len(batch)} frames and room for {self.fits}")
        if self.delay_s:
            time.sleep(self.delay_s * len(batch))
        for request in batch:
            if self.fails_on(request.avatar.id, int(request.audio_window[0])):
                raise ValueError("broken on purpose")
        return [
            Number(int(request.audio_window[0])) if request.audio_window[1] > 1e-3 else None
            for request in batch
        ]


@dataclass(frozen=True)
class Later:
    """A batch of a renderer that works later."""

    renderer: NumberRenderer
    batch: Sequence[FrameRequest]

    def mouths(self) -> Mouths:
        return self.renderer.render(self.batch)


@dataclass(frozen=True)
class Number:
    """A mouth that shows a number; between two, that of the nearer one."""

    number: int
    openness: float = 1.0

    def on(self, picture: int) -> MouthRegion | None:
        return marker(self.number)

    def towards(self, other: Mouth | None, share: float) -> "Number":
        return other if isinstance(other, Number) and share > 0.5 else self


def marker(number: int) -> MouthRegion:
    bits = [(number >> (_BITS - 1 - place)) & 1 for place in range(_BITS)]
    cells = np.where(np.array(bits).reshape(2, -1), _WHITE, _BLACK).astype(np.uint8)
    luma = np.kron(cells, np.ones((_CELL, _CELL), np.uint8))
    chroma = np.full((luma.shape[0] // 2, luma.shape[1] // 2), _GREY, np.uint8)
    return MouthRegion(_MARKER_X, _MARKER_Y, luma, chroma, chroma)


def read_marker(luma: Plane) -> int:
    """The number in a decoded picture, `[H, W]`."""
    rows, columns = 2, _BITS // 2
    area = luma[_MARKER_Y:, _MARKER_X:][: rows * _CELL, : columns * _CELL].astype(np.float32)
    cells = area.reshape(rows, _CELL, columns, _CELL).mean(axis=(1, 3)).reshape(-1)
    return int("".join("1" if level > _GREY else "0" for level in cells), 2)


def numbers(mouths: Mouths) -> list[int]:
    """The numbers of mouths, none of which may be None."""
    found = []
    for mouth in mouths:
        region = mouth.on(0) if mouth else None
        assert region is not None
        picture = i420_planes(np.zeros((TINY_SIZE * 3 // 2, TINY_SIZE), np.uint8))
        region.paste(picture)
        found.append(read_marker(picture.luma))
    return found


def without_marker(luma: Plane) -> Plane:
    """A copy in which the marker's place is the same in all pictures."""
    plain = luma.copy()
    plain[_MARKER_Y : _MARKER_Y + 2 * _CELL, _MARKER_X : _MARKER_X + _BITS // 2 * _CELL] = _GREY
    return plain


# --- the avatar

TINY = "tiny"
TINY_SIZE, TINY_FRAMES, TINY_FPS = 128, 10, 25


def make_avatar_folder(
    store: Path,
    avatar_id: str = TINY,
    *,
    num_frames: int = TINY_FRAMES,
    size: int = TINY_SIZE,
    fps: int = TINY_FPS,
    cycle: str = "forward",
) -> Path:
    """What an avatar ships: a gradient on which a bright bar moves a step per frame."""
    import hashlib

    folder = store / avatar_id
    folder.mkdir(parents=True)
    source = folder / "source.mp4"
    with av.open(str(source), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.options = {"crf": "10", "preset": "ultrafast"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        for index in range(num_frames):
            planes = np.full((size * 3 // 2, size), _GREY, np.uint8)
            planes[:size] = np.linspace(60, 180, size).astype(np.uint8)
            planes[: size // 2, index * 8 % size : index * 8 % size + 16] = 220
            planes[size : size * 5 // 4] = 110
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = index
            frame.time_base = Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    np.save(folder / "landmarks.npy", face_landmarks(num_frames, size))
    manifest = {
        "format": FORMAT,
        "id": avatar_id,
        "name": avatar_id.title(),
        "width": size,
        "height": size,
        "fps": str(fps),
        "num_frames": num_frames,
        "cycle": cycle,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "provenance": "made by the tests",
        "licence": "MIT",
    }
    (folder / "avatar.json").write_text(json.dumps(manifest))
    return folder


def face_landmarks(num_frames: int, size: int) -> npt.NDArray[np.float32]:
    """A plausible face, float32 `[N, 68, 2]`: jaw, brows, nose, eyes, lips on circles and lines."""
    points = np.zeros((68, 2))

    def ellipse(first: int, last: int, centre: tuple[float, float], radii: tuple[float, float],
                turn: tuple[float, float] = (0.0, 2 * np.pi)) -> None:  # fmt: skip
        angles = np.linspace(*turn, last - first, endpoint=turn[1] - turn[0] < 6)
        points[first:last, 0] = centre[0] + radii[0] * np.cos(angles)
        points[first:last, 1] = centre[1] + radii[1] * np.sin(angles)

    ellipse(0, 17, (0.5, 0.45), (0.35, 0.45), (np.pi, 0.0))
    ellipse(17, 22, (0.35, 0.35), (0.1, 0.04), (np.pi, 2 * np.pi))
    ellipse(22, 27, (0.65, 0.35), (0.1, 0.04), (np.pi, 2 * np.pi))
    points[27:31] = [(0.5, y) for y in np.linspace(0.4, 0.55, 4)]
    points[31:36] = [(x, 0.6) for x in np.linspace(0.42, 0.58, 5)]
    ellipse(36, 42, (0.35, 0.42), (0.06, 0.03), (np.pi, 3 * np.pi))
    ellipse(42, 48, (0.65, 0.42), (0.06, 0.03), (np.pi, 3 * np.pi))
    ellipse(48, 60, (0.5, 0.75), (0.14, 0.06), (np.pi, 3 * np.pi))
    ellipse(60, 68, (0.5, 0.75), (0.11, 0.02), (np.pi, 3 * np.pi))
    return np.repeat(points[None].astype(np.float32) * size, num_frames, axis=0)


def make_avatar(store: Path, avatar_id: str = TINY, **options: int) -> Avatar:
    """A small avatar, prepared and opened."""
    folder = make_avatar_folder(store, avatar_id, **options)  # type: ignore[arg-type]
    derive(folder, EncoderConfig())
    return open_avatar(folder)


# --- sounds


def as_sound(ear: Samples, model: Samples | None = None) -> Sound:
    """A sound that is all there; at 16 kHz every third audio sample, unless it is given."""
    return Sound.whole(ear, ear[::3].copy() if model is None else model)


def model_sound(model: Samples) -> Sound:
    """A sound that is all there, of which only what renderers listen to matters: at 16 kHz."""
    return as_sound(np.zeros(3 * len(model), np.float32), model)


def arriving(model: Samples, sizes: Iterator[int]) -> Iterator[Sound]:
    """A live sound, of which only what renderers listen to matters: after each piece of it that
    has come, and at last when it has ended."""
    sound, place = Sound(is_live=True), 0
    while place < len(model):
        piece = model[place : place + next(sizes)]
        sound.add(np.zeros(3 * len(piece), np.float32), piece)
        place += len(piece)
        yield sound
    sound.end()
    yield sound


def any_sizes(seed: int) -> Iterator[int]:
    """Sizes of pieces, from a single audio sample to half a second of them."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.choice([1, 160, 333, 4000, 8000]))


def tone(seconds: float, frequency: float = 441.0, rate: int = EAR_RATE,
         level: float = 0.5) -> Samples:  # fmt: skip
    """A sine of amplitude `level`, float32 `[n]`."""
    instants = np.arange(round(seconds * rate)) / rate
    return np.asarray(level * np.sin(2 * np.pi * frequency * instants), np.float32)


def silence(seconds: float, rate: int = EAR_RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.float32)


def clicks(seconds: float, at: Sequence[int], rate: int = EAR_RATE) -> Samples:
    """Single full-scale samples at the given places."""
    samples = silence(seconds, rate)
    samples[list(at)] = 1.0
    return samples


def speech_like(seconds: float, rate: int = EAR_RATE, seed: int = 1) -> Samples:
    """A buzz in syllables of a quarter of a second with pauses between the words."""
    instants = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(instants))
    voice = sum(np.sin(2 * np.pi * 140 * k * instants) / k for k in range(1, 9))
    syllables = np.clip(np.sin(2 * np.pi * 2 * instants), 0, 1) * (instants % 2.0 < 1.5)
    return np.asarray(0.25 * syllables * (voice + noise), np.float32)


def buzz(seconds: float, rate: int = EAR_RATE) -> Samples:
    """A voice without pauses: a pitch and its overtones, swelling four times a second."""
    instants = np.arange(round(seconds * rate)) / rate
    overtones = sum(np.sin(2 * np.pi * 140 * k * instants) / k for k in range(1, 9))
    swelling = 0.7 + 0.3 * np.sin(2 * np.pi * 4 * instants)
    return np.asarray(0.2 * swelling * overtones, np.float32)


WAV_FORMATS: dict[str, tuple[int, int]] = {  # name -> format tag, bits
    "u8": (1, 8),
    "s16": (1, 16),
    "s24": (1, 24),
    "s32": (1, 32),
    "f32": (3, 32),
    "f64": (3, 64),
}


def wav(samples: Samples, rate: int = EAR_RATE, *, fmt: str = "s16", channels: int = 1,
        data_size: int | None = None) -> bytes:  # fmt: skip
    """Samples, the same in all channels, as RIFF/WAVE; `data_size` overrides what it promises."""
    tag, bits = WAV_FORMATS[fmt]
    exact = np.repeat(np.asarray(samples, np.float64), channels)
    if tag == 3:
        data = exact.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.clip(np.round(exact * 127 + 128), 0, 255).astype(np.uint8).tobytes()
    else:
        full = 2 ** (bits - 1) - 1
        data = np.round(np.clip(exact, -1, 1) * full).astype("<i4").tobytes()
        wide = np.frombuffer(data, np.uint8).reshape(-1, 4)
        data = wide[:, : bits // 8].tobytes()
    size = len(data) if data_size is None else data_size
    block = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * block, block, bits)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", size) + data
    riff_size = len(body) if data_size is None else data_size
    return struct.pack("<4sI", b"RIFF", min(riff_size, 2**32 - 1)) + body


# container -> (muxer, encoder, sample format, sample rates that it can take; the first is usual)
CONTAINERS: dict[str, tuple[str, str, str]] = {
    "wav": ("wav", "pcm_s16le", "s16"),
    "mp3": ("mp3", "libmp3lame", "fltp"),
    "m4a": ("ipod", "aac", "fltp"),
    "aac": ("adts", "aac", "fltp"),
    "ogg": ("ogg", "libopus", "flt"),
    "opus": ("opus", "libopus", "flt"),
    "flac": ("flac", "flac", "s16"),
    "oga": ("ogg", "flac", "s16"),
    "webm": ("webm", "libopus", "flt"),
    "mka": ("matroska", "flac", "s16"),
    "caf": ("caf", "pcm_s16le", "s16"),
    "aiff": ("aiff", "pcm_s16be", "s16"),
    "w64": ("w64", "pcm_s16le", "s16"),
}

_FF_QP2LAMBDA = 118  # FFmpeg's unit of quality


def sound_file(samples: Samples, container: str, rate: int = EAR_RATE, *, channels: int = 1,
               options: dict[str, str] | None = None,
               quality: int | None = None) -> bytes:  # fmt: skip
    """Samples, the same in all channels, in a container of CONTAINERS; at a steady bit rate, unless
    a quality is given."""
    muxer, codec, fmt = CONTAINERS[container]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with (
        tempfile.NamedTemporaryFile() as file,  # by name: a muxer may read again what it wrote
        av.open(file.name, "w", format=muxer, options=options or {}) as out,
    ):
        stream = out.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        if quality is None:
            stream.codec_context.bit_rate = 96_000 * channels
        else:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = quality * _FF_QP2LAMBDA
        resampler = av.AudioResampler(format=fmt, layout=layout, rate=rate)
        # Interleaved, so that 5.1 is not mixed but written as it is.
        interleaved = np.repeat(np.asarray(samples, np.float32), channels)[None]
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        pieces = [*resampler.resample(frame), *resampler.resample(None)] if len(samples) else []
        for resampled in pieces:
            out.mux(stream.encode(resampled))
        out.mux(stream.encode(None))
        out.close()
        return Path(file.name).read_bytes()


def video_file() -> bytes:
    """An MP4 without an audio track."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64), 99, np.uint8), format="yuv420p")
            frame.pts = index
            frame.time_base = Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()
