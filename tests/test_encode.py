"""Chunks: each alone, all together, and nothing to see or hear where they meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fakes import EAR_RATE, TINY_SIZE, Samples, as_sound, make_avatar, tone
from media import (
    complaints,
    decoded_luma,
    decoded_sound,
    mp4box,
    needs_ffmpeg,
    needs_mp4box,
    num_packets,
    probe,
    write_all,
)

from musetalk_stream import fmp4
from musetalk_stream.avatar import Avatar
from musetalk_stream.blend import MouthRegion, i420_planes
from musetalk_stream.config import EncoderConfig
from musetalk_stream.encode import UtteranceEncoder
from musetalk_stream.timeline import AAC_FRAME, aac_frames_before, frames_covering, ticks_per_second

RATES = ["5", "12.5", "15", "24", "25", "29.97", "30", "60"]


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return make_avatar(tmp_path_factory.mktemp("encode"))


@dataclass
class Encoded:
    mime: str
    chunks: list[bytes]
    sizes: list[int]
    fps: Fraction

    @property
    def num_frames(self) -> int:
        return sum(self.sizes)


def encode(
    avatar: Avatar,
    fps: str,
    sound: Samples,
    sizes: Sequence[int],
    region: MouthRegion | None = None,
) -> Encoded:
    """An utterance cut into chunks of the given sizes, the last one repeated to the end."""
    rate = Fraction(fps)
    encoder = UtteranceEncoder(
        width=TINY_SIZE, height=TINY_SIZE, fps=rate, sound=as_sound(sound), settings=EncoderConfig()
    )
    total, done = frames_covering(len(sound), rate), 0
    chunks: list[bytes] = []
    taken: list[int] = []
    while done < total:
        count = min(sizes[min(len(taken), len(sizes) - 1)], total - done)
        for frame in range(done, done + count):
            picture = avatar.frames[avatar.picture(frame)]
            encoder.add(i420_planes(picture), region if frame % 3 else None)
        chunks.append(encoder.cut())
        taken.append(count)
        done += count
    encoder.close()
    return Encoded(encoder.mime, chunks, taken, rate)


def mouth(level: int = 200) -> MouthRegion:
    luma = np.full((16, 32), level, np.uint8)
    chroma = np.full((8, 16), 90, np.uint8)
    return MouthRegion(48, 88, luma, chroma, chroma)


@pytest.fixture(scope="module", params=RATES)
def spoken(request: pytest.FixtureRequest, avatar: Avatar) -> Encoded:
    """Four seconds of tone at every rate, in a short first chunk and longer ones."""
    return encode(avatar, request.param, tone(4.0), [8, 16, 48], mouth())


@needs_ffmpeg
def test_ffmpeg_has_nothing_to_say(spoken: Encoded, tmp_path: Path) -> None:
    paths, whole = write_all(tmp_path, spoken.chunks)
    for path in [*paths, whole]:
        assert complaints(path) == []


@needs_ffmpeg
def test_every_frame_and_no_more_is_there(spoken: Encoded, tmp_path: Path) -> None:
    paths, whole = write_all(tmp_path, spoken.chunks)
    for path, size in zip(paths, spoken.sizes, strict=True):
        assert num_packets(path, "v:0") == size
    assert (
        num_packets(whole, "v:0") == spoken.num_frames == frames_covering(4 * EAR_RATE, spoken.fps)
    )
    assert num_packets(whole, "a:0") == aac_frames_before(spoken.num_frames, spoken.fps)


@needs_ffmpeg
def test_timestamps_are_exact(spoken: Encoded, tmp_path: Path) -> None:
    _, whole = write_all(tmp_path, spoken.chunks)
    ticks = ticks_per_second(spoken.fps)
    tracks: list[tuple[str, Fraction, int]] = [
        ("v:0", ticks / spoken.fps, ticks),
        ("a:0", Fraction(AAC_FRAME), EAR_RATE),
    ]
    for stream, step, timescale in tracks:
        found = probe(whole, "-select_streams", stream, "-show_packets", "-show_streams")
        assert found["streams"][0]["time_base"] == f"1/{timescale}"
        packets = found["packets"]
        assert [packet["pts"] for packet in packets] == [k * step for k in range(len(packets))]
        assert [packet["dts"] for packet in packets] == [packet["pts"] for packet in packets]
        assert {packet["duration"] for packet in packets} == {step}


@needs_ffmpeg
def test_one_idr_per_chunk_and_it_is_first(spoken: Encoded, tmp_path: Path) -> None:
    paths, _ = write_all(tmp_path, spoken.chunks)
    for path, size in zip(paths, spoken.sizes, strict=True):
        frames = probe(path, "-select_streams", "v:0", "-show_frames")["frames"]
        assert [frame["key_frame"] for frame in frames] == [1] + [0] * (size - 1)
        assert [frame["pict_type"] for frame in frames] == ["I"] + ["P"] * (size - 1)


def nal_types(chunk: bytes, size: int) -> list[int]:
    """The type of each NAL unit of the chunk's picture samples (length-prefixed, H.264 7.3.1)."""
    _, media = fmp4.split(chunk)
    (mdat,) = fmp4.find(media, "mdat")
    at, types, slices = mdat.start, [], 0
    while slices < size:
        length = int.from_bytes(media[at : at + 4])
        types.append(media[at + 4] & 0x1F)
        slices += types[-1] in (1, 5)
        at += 4 + length
        if not 0 < length < len(media):
            break  # an AAC frame of the interleaved other track
    return types


def test_the_first_picture_is_an_idr_and_not_a_mere_i(spoken: Encoded) -> None:
    for chunk in spoken.chunks:
        pictures = [kind for kind in nal_types(chunk, 1) if kind in (1, 5)]
        assert pictures == [5]


def test_init_segments_are_identical(spoken: Encoded) -> None:
    assert len({fmp4.split(chunk)[0] for chunk in spoken.chunks}) == 1


def test_a_chunk_is_ftyp_moov_moof_mdat(spoken: Encoded) -> None:
    for chunk in spoken.chunks:
        kinds = [box.type for box in fmp4.boxes(chunk)]
        assert kinds == [b"ftyp", b"moov", b"moof", b"mdat"]


def test_there_are_no_edit_lists(spoken: Encoded) -> None:
    init, _ = fmp4.split(spoken.chunks[0])
    assert fmp4.find(init, "moov/trak/edts") == []


@needs_mp4box
def test_mp4box_reads_the_same(spoken: Encoded, tmp_path: Path) -> None:
    paths, whole = write_all(tmp_path, spoken.chunks)
    *each, together = mp4box(*paths, whole)
    ticks = ticks_per_second(spoken.fps)
    done = 0
    for index, (seen, size) in enumerate(zip(each, spoken.sizes, strict=True)):
        assert seen["errors"] == []
        assert seen["fragmented"] is True
        assert seen["boxes"] == ["ftyp", "moov", "moof", "mdat"]
        assert seen["sequence"] == [index + 1]
        codecs = spoken.mime.split('"')[1]
        assert codecs.lower() in seen["mime"].lower()
        audio_start = aac_frames_before(done, spoken.fps)
        audio_end = aac_frames_before(done + size, spoken.fps)
        assert seen["tfdt"] == [[done * ticks / spoken.fps, audio_start * AAC_FRAME]]
        video, audio = seen["tracks"]
        assert (video["type"], audio["type"]) == ("video", "audio")
        assert (video["timescale"], audio["timescale"]) == (ticks, EAR_RATE)
        assert len(video["samples"]) == size
        assert len(audio["samples"]) == audio_end - audio_start
        assert [sync for *_, sync in video["samples"]] == [True] + [False] * (size - 1)
        done += size
    assert len(together["tracks"][0]["samples"]) == spoken.num_frames
    for track in together["tracks"]:  # absolute, in one line without a hole
        for (dts, _, duration, _), (following, *_) in zip(
            track["samples"], track["samples"][1:], strict=False
        ):
            assert dts + duration == following


def test_sound_never_ends_before_the_picture(spoken: Encoded) -> None:
    frame = 0
    for chunk, size in zip(spoken.chunks, spoken.sizes, strict=True):
        video_start, audio_start = fmp4.base_media_decode_times(fmp4.split(chunk)[1])
        assert Fraction(audio_start, EAR_RATE) >= Fraction(
            video_start, ticks_per_second(spoken.fps)
        )
        assert audio_start == aac_frames_before(frame, spoken.fps) * AAC_FRAME
        frame += size


@pytest.mark.parametrize("fps", ["15", "25"])
def test_borders_are_exact_to_the_sample(avatar: Avatar, fps: str) -> None:
    spoken = encode(avatar, fps, tone(4.0), [8, 16, 32])
    for chunk in spoken.chunks:
        video_start, audio_start = fmp4.base_media_decode_times(fmp4.split(chunk)[1])
        assert Fraction(audio_start, EAR_RATE) == Fraction(
            video_start, ticks_per_second(spoken.fps)
        )


# --- sound


def worst_misfit(heard: Samples, frequency: float, window: int = 480) -> tuple[float, float]:
    """Fit the sine to every window by least squares: how far its amplitude strays from 0.5, and its
    phase (radians) from what it should be."""
    instants = np.arange(len(heard)) / EAR_RATE
    basis = np.stack([np.sin(2 * np.pi * frequency * instants),
                      np.cos(2 * np.pi * frequency * instants)], axis=1)  # fmt: skip
    worst_amplitude = worst_phase = 0.0
    for start in range(2 * AAC_FRAME, len(heard) - 3 * AAC_FRAME, window // 2):
        part = slice(start, start + window)
        (sine, cosine), *_ = np.linalg.lstsq(basis[part], heard[part], rcond=None)
        worst_amplitude = max(worst_amplitude, abs(float(np.hypot(sine, cosine)) - 0.5))
        worst_phase = max(worst_phase, abs(float(np.arctan2(cosine, sine))))
    return worst_amplitude, worst_phase


@needs_ffmpeg
def test_a_tone_goes_through_all_borders_unbroken(spoken: Encoded, tmp_path: Path) -> None:
    _, whole = write_all(tmp_path, spoken.chunks)
    heard = decoded_sound(whole)
    amplitude, phase = worst_misfit(heard[: 4 * EAR_RATE], 441)
    # What AAC at this rate does to a sine anyway; the same for all cuts, and in the middle of one.
    assert amplitude < 0.03
    assert phase < 0.06


def test_the_misfit_sees_a_break() -> None:
    """The measure itself: 10 samples missing, or two milliseconds of silence, in a clean tone."""
    clean = tone(2.0)
    assert max(worst_misfit(clean, 441)) < 1e-4
    assert worst_misfit(np.delete(clean, range(50_000, 50_010)), 441)[1] > 0.3
    silenced = clean.copy()
    silenced[50_000:50_096] = 0
    assert worst_misfit(silenced, 441)[0] > 0.06


@needs_ffmpeg
def test_sound_is_where_it_was(avatar: Avatar, tmp_path: Path) -> None:
    """A burst in the middle of silence comes out at the same sample, far into the utterance."""
    sound = np.zeros(4 * EAR_RATE, np.float32)
    for at in (EAR_RATE, 3 * EAR_RATE):
        sound[at - 100 : at + 100] = np.hanning(200) * np.cos(np.arange(-100, 100) * 0.2)
    _, whole = write_all(tmp_path, encode(avatar, "25", sound, [8, 16]).chunks)
    heard = decoded_sound(whole)
    for at in (EAR_RATE, 3 * EAR_RATE):
        near = heard[at - 2000 : at + 2000]
        lag = np.argmax(np.correlate(near, sound[at - 500 : at + 500])) - 1500
        assert abs(int(lag)) <= 1


@needs_ffmpeg
def test_past_the_sound_is_silence(avatar: Avatar, tmp_path: Path) -> None:
    sound = np.concatenate([tone(1.0), np.zeros(EAR_RATE, np.float32)])
    _, whole = write_all(tmp_path, encode(avatar, "25", sound, [8, 16]).chunks)
    assert np.abs(decoded_sound(whole)[EAR_RATE + 3000 :]).max() < 1e-4


# --- streaming equals whole


def audio_packets(chunks: Sequence[bytes], folder: Path) -> list[str]:
    folder.mkdir()
    _, whole = write_all(folder, chunks)
    packets = probe(whole, "-select_streams", "a:0", "-show_packets", "-show_data_hash", "md5")
    return [packet["data_hash"] for packet in packets["packets"]]


@needs_ffmpeg
@pytest.mark.parametrize("sizes", [[8], [8, 16, 48], [4, 5, 6, 7], [200]], ids=str)
def test_how_it_is_cut_changes_nothing(avatar: Avatar, sizes: list[int], tmp_path: Path) -> None:
    """The sound's packets are the same to the byte. Pictures differ by what an IDR in another place
    costs, which is below what the encoder loses anyway."""
    sound = tone(3.0)
    cut = encode(avatar, "25", sound, sizes, mouth())
    uncut = encode(avatar, "25", sound, [75], mouth())
    assert audio_packets(cut.chunks, tmp_path / "cut") == audio_packets(
        uncut.chunks, tmp_path / "whole"
    )
    first, second = (
        decoded_luma(tmp_path / name / "all.mp4", TINY_SIZE) for name in ("cut", "whole")
    )
    assert first.shape == second.shape
    difference = np.abs(first.astype(int) - second)
    assert difference.mean() < 1.5
    assert difference.mean(axis=(1, 2)).max() < 2.5


# --- pictures


def error(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference, in levels."""
    return float(np.abs(one.astype(int) - other).mean())


@needs_ffmpeg
def test_silent_frames_are_the_source_frames(avatar: Avatar, tmp_path: Path) -> None:
    spoken = encode(avatar, "25", np.zeros(EAR_RATE, np.float32), [8])
    _, whole = write_all(tmp_path, spoken.chunks)
    luma = decoded_luma(whole, TINY_SIZE)
    for frame in range(25):
        source = avatar.frames[avatar.picture(frame)][:TINY_SIZE]
        assert error(luma[frame], source) < 2.0
        other = avatar.frames[avatar.picture(frame + 3)][:TINY_SIZE]
        assert error(luma[frame], other) > 3 * error(luma[frame], source)


@needs_ffmpeg
def test_a_region_lands_where_it_belongs_and_nowhere_else(avatar: Avatar, tmp_path: Path) -> None:
    _, whole = write_all(tmp_path, encode(avatar, "25", tone(1.0), [8], mouth(235)).chunks)
    luma = decoded_luma(whole, TINY_SIZE)
    inside = np.s_[88:104, 48:80]
    for frame in range(25):
        source = avatar.frames[avatar.picture(frame)][:TINY_SIZE].copy()
        if frame % 3:
            assert abs(float(luma[frame][inside].mean()) - 235) < 3
        else:
            assert error(luma[frame][inside], source[inside]) < 4
        rest = luma[frame].copy()
        rest[inside] = source[inside] = 0
        assert error(rest, source) < 2.0


@needs_ffmpeg
def test_colours_are_tagged_and_the_placeholder_agrees(avatar: Avatar, tmp_path: Path) -> None:
    spoken = encode(avatar, "25", np.zeros(2 * EAR_RATE, np.float32), [8, 48])
    _, whole = write_all(tmp_path, spoken.chunks)
    tags = []
    for path in (whole, avatar.placeholder):
        stream = probe(path, "-select_streams", "v:0", "-show_streams")["streams"][0]
        tags.append({name: stream.get(name) for name in (
            "color_range", "color_space", "color_transfer", "color_primaries", "pix_fmt", "profile",
            "width", "height", "codec_name",
        )})  # fmt: skip
    assert tags[0] == tags[1]
    assert tags[0]["color_range"] == "tv"
    assert {tags[0][f"color_{name}"] for name in ("space", "transfer", "primaries")} == {"bt709"}
    speech, loop = decoded_luma(whole, TINY_SIZE), decoded_luma(avatar.placeholder, TINY_SIZE)
    assert len(loop) == avatar.manifest.cycle_length
    for frame in range(len(speech)):
        assert error(speech[frame], loop[frame % len(loop)]) < 2.0


@needs_ffmpeg
def test_the_placeholder_has_keyframes_nearby_and_no_sound(tmp_path: Path) -> None:
    avatar = make_avatar(tmp_path, "long", num_frames=40)
    found = probe(avatar.placeholder, "-show_packets", "-show_streams")
    assert [stream["codec_type"] for stream in found["streams"]] == ["video"]
    keys = [index for index, packet in enumerate(found["packets"]) if "K" in packet["flags"]]
    assert keys == [0, 12, 24, 36]
    assert complaints(avatar.placeholder) == []


@needs_ffmpeg
def test_a_ping_pong_placeholder_goes_there_and_back(tmp_path: Path) -> None:
    avatar = make_avatar(tmp_path, "swing", num_frames=6, cycle="ping-pong")  # type: ignore[arg-type]
    luma = decoded_luma(avatar.placeholder, TINY_SIZE)
    assert len(luma) == avatar.manifest.cycle_length == 10
    order = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    assert [avatar.picture(k) for k in range(10)] == order
    for shown, picture in zip(luma, order, strict=True):
        assert error(shown, avatar.frames[picture][:TINY_SIZE]) < 2.0


# --- words


def test_the_codec_string_is_what_the_bytes_say(spoken: Encoded) -> None:
    init, _ = fmp4.split(spoken.chunks[0])
    at = init.index(b"avcC") + 4
    assert f"avc1.{init[at + 1]:02X}{init[at + 2]:02X}{init[at + 3]:02X}" in spoken.mime
    assert spoken.mime.endswith(',mp4a.40.2"')
    assert spoken.mime.startswith('video/mp4; codecs="avc1.')


def test_cut_needs_a_frame() -> None:
    encoder = UtteranceEncoder(
        width=64, height=64, fps=Fraction(25), sound=as_sound(tone(1.0)), settings=EncoderConfig()
    )
    with pytest.raises(AssertionError, match="at least one frame"):
        encoder.cut()
    encoder.close()


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tiny_utterances(avatar: Avatar, fps: str, size: int) -> None:
    """A few frames are an utterance, too."""
    sound = tone(1.0)[: int(size * EAR_RATE / Fraction(fps))]
    spoken = encode(avatar, fps, sound, [size])
    assert spoken.sizes == [size]
    assert len(fmp4.base_media_decode_times(fmp4.split(spoken.chunks[0])[1])) == 2
