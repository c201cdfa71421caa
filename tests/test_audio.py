"""Decoding: every container and shape of sound, and nothing but sound."""

import contextlib
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import (
    CONTAINERS,
    EAR_RATE,
    WAV_FORMATS,
    Samples,
    clicks,
    silence,
    sound_file,
    speech_like,
    tone,
    video_file,
    wav,
)

from musetalk_stream.audio import decode
from musetalk_stream.errors import (
    AudioTooLong,
    DamagedAudio,
    EmptyAudio,
    MuseTalkStreamError,
    UnsupportedAudio,
)
from musetalk_stream.mp3 import counted_frames

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)
# Raw AAC has no place to say how long its encoder's priming is: one frame of it stays.
PRIMING = {"aac": 1024}
# libmp3lame scales mono to 95 %.
SOFTENED = {"mp3": 0.95}


@dataclass(frozen=True)
class Heard:
    ear: Samples  # 48 kHz
    model: Samples  # 16 kHz
    duration_s: float


def read(sound: bytes, *, max_duration_s: float = 600, trailing_silence_s: float = 0) -> Heard:
    heard = decode(
        io.BytesIO(sound), max_duration_s=max_duration_s, trailing_silence_s=trailing_silence_s
    )
    return Heard(
        heard.heard(0, heard.num_ear), heard.listened(0, heard.num_model), heard.duration_s
    )


def rms(samples: Samples) -> float:
    """Of the middle half."""
    quarter = len(samples) // 4
    return float(np.sqrt(np.mean(samples[quarter:-quarter] ** 2)))


def bump(seconds: float, at: int) -> Samples:
    """Silence with a millisecond of sound around one place, which lossy codecs keep."""
    samples = silence(seconds)
    samples[at - 24 : at + 25] = 0.9 * np.hanning(49)
    return samples


@pytest.mark.parametrize(
    ("container", "channels"),
    [(name, channels) for name in CONTAINERS for channels in (1, 2, 6)
     if (name, channels) != ("mp3", 6)],  # mp3 has no 5.1
)  # fmt: skip
def test_every_container_keeps_level_and_length(container: str, channels: int) -> None:
    pcm = read(sound_file(tone(2.0), container, channels=channels))
    if channels == 6 and container in ("m4a", "aac", "ogg", "opus", "webm", "mka"):
        expected = pytest.approx(0.5 / 2**0.5, rel=0.08)  # the LFE channel is band-limited
    else:
        level = 1 if channels == 2 else SOFTENED.get(container, 1)
        expected = pytest.approx(level * 0.5 / 2**0.5, rel=0.05)
    assert rms(pcm.ear) == expected
    assert rms(pcm.model) == expected
    assert pcm.ear.dtype == pcm.model.dtype == np.float32
    assert abs(len(pcm.ear) - 2 * EAR_RATE) < 1400, "at most one padded codec frame more"
    assert len(pcm.model) == -(-len(pcm.ear) // 3)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_aligned_to_the_sample(container: str) -> None:
    pcm = read(sound_file(bump(2.0, EAR_RATE), container))
    place = EAR_RATE + PRIMING.get(container, 0)
    assert abs(int(np.argmax(pcm.ear)) - place) <= 1
    assert abs(int(np.argmax(pcm.model)) - place / 3) <= 1


@pytest.mark.parametrize("rate", RATES)
def test_a_click_stays_where_it_was(rate: int) -> None:
    places = [rate // 4, rate // 2, rate - rate // 10]
    pcm = read(wav(clicks(1.0, places, rate), rate))
    assert len(pcm.ear) == EAR_RATE
    for place in places:
        for samples, out in ((pcm.ear, EAR_RATE), (pcm.model, 16_000)):
            expected = place * out / rate
            near = range(int(expected) - 200, int(expected) + 200)
            found = near[int(np.argmax(np.abs(samples[near.start : near.stop])))]
            assert abs(found - expected) <= 1


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_level_at_every_rate(rate: int) -> None:
    pcm = read(wav(tone(2.0, rate=rate), rate))
    instants = np.arange(len(pcm.ear)) / EAR_RATE
    middle = slice(EAR_RATE // 2, -EAR_RATE // 2)
    error = pcm.ear - 0.5 * np.sin(2 * np.pi * 441 * instants)
    assert np.abs(error[middle]).max() < 2e-3
    assert rms(pcm.model) == pytest.approx(0.5 / 2**0.5, rel=0.01)


def test_what_the_model_can_not_hear_does_not_alias() -> None:
    pcm = read(wav(tone(2.0, frequency=12_000)))
    assert rms(pcm.ear) == pytest.approx(0.5 / 2**0.5, rel=0.01)
    assert rms(pcm.model) < 0.01


@pytest.mark.parametrize("fmt", WAV_FORMATS)
def test_every_sample_format(fmt: str) -> None:
    pcm = read(wav(tone(1.0), fmt=fmt))
    assert rms(pcm.ear) == pytest.approx(0.5 / 2**0.5, rel=0.01)
    assert len(pcm.ear) == EAR_RATE


@pytest.mark.parametrize("channels", range(1, 9))
def test_any_number_of_channels(channels: int) -> None:
    pcm = read(wav(tone(1.0), channels=channels))
    assert rms(pcm.ear) == pytest.approx(0.5 / 2**0.5, rel=0.01)


def test_a_loud_stereo_file_does_not_clip() -> None:
    pcm = read(wav(tone(1.0, level=1.0), fmt="f32", channels=2))
    assert np.abs(pcm.ear).max() == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(("trailing_s", "added"), [(0, 0), (1.5, 72_000), (30, 1_440_000)])
def test_trailing_silence_is_exact(trailing_s: float, added: int) -> None:
    pcm = read(wav(tone(0.5)), trailing_silence_s=trailing_s)
    assert len(pcm.ear) == EAR_RATE // 2 + added
    assert not pcm.ear[EAR_RATE // 2 :].any()
    assert not pcm.model[EAR_RATE // 2 // 3 + 1 :].any()
    assert pcm.duration_s == pytest.approx(0.5 + trailing_s)


def test_one_sample_is_sound() -> None:
    pcm = read(wav(np.ones(1, np.float32)))
    assert (len(pcm.ear), len(pcm.model)) == (1, 1)


# --- lengths that are not what they seem


@pytest.mark.parametrize("data_size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0])
@pytest.mark.parametrize("shape", [(48_000, 1, "s16"), (96_000, 2, "s32"), (16_000, 1, "s16")])
def test_wav_from_a_pipe(data_size: int, shape: tuple[int, int, str]) -> None:
    rate, channels, fmt = shape
    sound = wav(tone(1.0, rate=rate), rate, channels=channels, fmt=fmt, data_size=data_size)
    assert len(read(sound).ear) == EAR_RATE


VARYING = np.concatenate([silence(3), speech_like(3), tone(2, 3000)])


@pytest.mark.parametrize("container", ["mp3", "aac"])
def test_a_guessed_length_is_no_promise(container: str) -> None:
    """Without a header of its own, FFmpeg guesses the length from the first bit rate: the quiet
    beginning makes the guess many times too long."""
    options = {"write_xing": "0"} if container == "mp3" else {}
    sound = sound_file(VARYING, container, options=options)
    assert len(read(sound, max_duration_s=9).ear) == pytest.approx(8 * EAR_RATE, abs=3000)


@pytest.mark.parametrize("container", ["mp3", "aac", "ogg", "oga"])
def test_joined_files_are_one(container: str) -> None:
    one, other = sound_file(tone(1.0), container), sound_file(tone(2.0), container)
    assert len(read(one + other).ear) == pytest.approx(3 * EAR_RATE, abs=5000)


@pytest.mark.parametrize("first", [silence(2.0), tone(2.0)], ids=["quiet", "tone"])
def test_joined_files_of_varying_rate(first: Samples) -> None:
    """The tag of the first counts its own frames; FFmpeg guesses the length of the whole from the
    bit rate of its beginning, which is far too low."""
    noise = np.random.default_rng(0).normal(0, 0.2, 2 * EAR_RATE).astype(np.float32)
    joined = b"".join(sound_file(samples, "mp3", quality=2) for samples in (first, noise))
    assert len(read(joined).ear) == pytest.approx(4 * EAR_RATE, abs=5000)
    alone = sound_file(noise, "mp3", quality=2)
    with pytest.raises(DamagedAudio, match="cut off"):
        read(alone[: len(alone) * 8 // 10])


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)], ids=["", "ID3"])
def test_what_an_mp3_says_of_its_length(tag: bytes) -> None:
    file = io.BytesIO(tag + sound_file(tone(2.0), "mp3"))
    assert counted_frames(file) == pytest.approx(2 * EAR_RATE / 1152, abs=3)
    assert file.tell() == 0
    untagged = sound_file(tone(2.0), "mp3", options={"write_xing": "0"})
    for other in (untagged, wav(tone(0.1)), b"", b"ID3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f"):
        assert counted_frames(io.BytesIO(tag + other)) is None


def test_chained_ogg_may_change_its_rate() -> None:
    chained = sound_file(tone(1.0), "oga") + sound_file(tone(1.0, rate=16_000), "oga", 16_000)
    pcm = read(chained)
    assert len(pcm.ear) == pytest.approx(2 * EAR_RATE, abs=100)
    assert rms(pcm.ear[EAR_RATE:]) == pytest.approx(0.5 / 2**0.5, rel=0.01)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(6000), b"not audio " * 50])
def test_what_follows_an_mp3_is_passed_over(tail: bytes) -> None:
    assert len(read(sound_file(tone(1.0), "mp3") + tail).ear) == pytest.approx(EAR_RATE, abs=2400)


# --- refused


@pytest.mark.parametrize("container", ["mp3", "flac", "webm", "mka", "aiff"])
def test_cut_off_files_are_damaged(container: str) -> None:
    sound = sound_file(speech_like(4.0), container)
    with pytest.raises(DamagedAudio, match="cut off"):
        read(sound[: len(sound) // 2])


def test_cut_off_m4a() -> None:
    at_the_end = sound_file(speech_like(4.0), "m4a")
    with pytest.raises(UnsupportedAudio):  # its index is what was cut off
        read(at_the_end[: len(at_the_end) // 2])
    in_front = sound_file(speech_like(4.0), "m4a", options={"movflags": "faststart"})
    with pytest.raises(DamagedAudio, match="cut off"):
        read(in_front[: len(in_front) // 2])


def test_a_corrupt_middle_is_damage() -> None:
    sound = bytearray(sound_file(speech_like(4.0), "flac"))
    sound[len(sound) // 4 : len(sound) // 2] = b"\xaa" * (len(sound) // 2 - len(sound) // 4)
    with pytest.raises(DamagedAudio):
        read(bytes(sound))


@pytest.mark.parametrize("sound", [wav(silence(0)), sound_file(silence(0), "flac")])
def test_no_samples(sound: bytes) -> None:
    with pytest.raises(EmptyAudio, match="0 samples"):
        read(sound)


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "ogg", "aac"])
def test_too_long(container: str) -> None:
    sound = sound_file(tone(3.0), container)
    with pytest.raises(AudioTooLong, match="limit"):
        read(sound, max_duration_s=2.5)
    read(sound, max_duration_s=3.1)


def test_too_long_is_seen_before_decoding() -> None:
    eleven_minutes = wav(silence(660, 8000), 8000)
    with pytest.raises(AudioTooLong, match="660 s"):
        read(eleven_minutes)


@pytest.mark.parametrize(
    "noise",
    [
        *(b"", b"RIFF", b"hello, this is text", b"<html>" * 100, b"\x00" * 5000),
        *(b"ID3" + bytes(100), b"OggS" + bytes(200), b"fLaC" + bytes(200)),
        *(b"RIFF\xff\xff\xff\xffWAVE" + bytes(100),),
        *(b"%PDF-1.4\n", b"\x89PNG\r\n\x1a\n" + bytes(500), b"\xff\xfb" + bytes(50)),
    ],
    ids=lambda noise: repr(noise[:12]),
)  # fmt: skip
def test_what_is_not_sound(noise: bytes) -> None:
    with pytest.raises(MuseTalkStreamError) as caught:
        read(noise)
    assert caught.value.status in (415, 422)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(60_000)
    with pytest.raises((UnsupportedAudio, DamagedAudio, EmptyAudio)):
        read(noise)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("container", ["mp3", "m4a", "flac", "ogg", "webm", "wav"])
def test_scrambled_files_never_crash(container: str, seed: int) -> None:
    sound = bytearray(sound_file(tone(0.5), container))
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, len(sound), 40):
        sound[place] = generator.integers(256)
    with contextlib.suppress(MuseTalkStreamError):
        read(bytes(sound))


def test_a_film_without_sound() -> None:
    with pytest.raises(UnsupportedAudio, match="no audio track"):
        read(video_file())


# --- nothing that is named in a file is ever opened


@pytest.fixture
def bait(tmp_path: Path) -> Path:
    """A sound file on this machine that a playlist could name."""
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(tone(1.0)))
    return path


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            sound = wav(tone(1.0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(sound)))
            self.end_headers()
            self.wfile.write(sound)

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def playlists(target: str) -> dict[str, bytes]:
    """Files that name another one, in every format in which FFmpeg would follow them."""
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        '<SegmentBase indexRange="0-1"/></Representation></AdaptationSet></Period></MPD>'
    )
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\na=control:{target}\nm=audio 5004 RTP/AVP 0\n"  # noqa: E501
    return {
        "m3u8": f"#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode(),
        "m3u8 key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n'.encode(),  # noqa: E501
        "concat": f"ffconcat version 1.0\nfile '{target}'\n".encode(),
        "concat unsafe": f"file '{target}'\n".encode(),
        "mpd": mpd.encode(),
        "sdp": sdp.encode(),
        "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'.encode(),
        "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n".encode(),
        "address": target.encode(),
        "mov reference": movie_with_reference(target),
    }


def movie_with_reference(target: str) -> bytes:
    """A sound track whose samples lie in another file (dref "alis" and "url ")."""
    sound = sound_file(silence(0.5), "m4a")
    at = sound.index(b"dref")
    size = int.from_bytes(sound[at - 4 : at])
    path = target.removeprefix("file://").encode()
    entry = b"url " + bytes(4) + path + b"\x00"
    box = b"dref" + bytes(4) + (1).to_bytes(4) + (len(entry) + 4).to_bytes(4) + entry
    # The boxes around it grow by as much.
    grown = bytearray(sound[: at - 4] + (len(box) + 4).to_bytes(4) + box + sound[at - 4 + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = grown.index(name) - 4
        old = int.from_bytes(grown[place : place + 4])
        grown[place : place + 4] = (old + len(box) + 4 - size).to_bytes(4)
    return bytes(grown)


DISGUISES = (
    b"",
    b"ID3\x04\x00\x00\x00\x00\x00\x00",
    b"\xef\xbb\xbf",
    b"\n\n",
    b"RIFF\xff\xff\xff\xffWAVE",
)


@pytest.mark.parametrize("kind", playlists(""))
@pytest.mark.parametrize("disguise", DISGUISES, ids=repr)
def test_a_playlist_opens_nothing(
    kind: str, disguise: bytes, bait: Path, trap: tuple[str, list[str]]
) -> None:
    address, asked = trap
    for target in (str(bait), f"file://{bait}", f"{address}/secret.wav"):
        with contextlib.suppress(UnsupportedAudio, DamagedAudio, EmptyAudio):
            pcm = read(disguise + playlists(target)[kind])
            assert rms(pcm.ear) < 0.01, "the other file was played"
    assert not asked


def test_the_bait_works_without_our_guards(bait: Path, tmp_path: Path) -> None:
    """What the playlists are for: FFmpeg itself follows them, whatever the file is called."""
    playlist = tmp_path / "list.mp3"
    playlist.write_bytes(playlists(str(bait))["concat"])
    with av.open(str(playlist), "r", options={"safe": "0"}) as container:
        assert next(container.decode(audio=0)).samples
