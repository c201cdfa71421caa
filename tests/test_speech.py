"""Sound while it arrives: the same as the whole, held back where it must be, and let go of."""

import asyncio
import gc
import io
import random
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from fakes import CONTAINERS, EAR_RATE, Samples, silence, sound_file, speech_like, tone, wav

from musetalk_stream.audio import decode
from musetalk_stream.config import UploadConfig
from musetalk_stream.decoding import DecodeProcesses, Decoders
from musetalk_stream.errors import (
    AudioTooLong,
    DamagedAudio,
    EmptyAudio,
    MuseTalkStreamError,
    QueueFull,
    UnsupportedAudio,
    UploadAborted,
    UploadStalled,
    UtteranceEnded,
)
from musetalk_stream.growing_file import GrowingFile
from musetalk_stream.listening import PcmFormat
from musetalk_stream.options import SpeechOptions
from musetalk_stream.sound import Sound, SoundRoom
from musetalk_stream.speech import MAX_AHEAD_S, MAX_LISTENERS, Speech
from musetalk_stream.timeline import ear_samples_needed, frames_covering, frames_ready
from musetalk_stream.workers import Workers

FPS = Fraction(25)
HEADER = 44  # bytes of a wav file before its audio samples
# Those that have to be there as a whole before anything can be decoded.
WHOLE_ONLY = {"m4a", "caf", "aiff", "w64"}
SHAPES = [(8000, 1), (11_025, 3), (16_000, 1), (22_050, 2), (24_000, 1), (32_000, 5),
          (44_100, 2), (44_100, 7), (48_000, 6), (96_000, 8), (192_000, 1)]  # fmt: skip


_processes: DecodeProcesses


@pytest.fixture(scope="module", autouse=True)
def processes(decoding: DecodeProcesses) -> None:
    """For `decoders`, which tests open as often as they like."""
    global _processes
    _processes = decoding


@contextmanager
def decoders(room: SoundRoom | None = None) -> Iterator[Decoders]:
    with Workers(1, "decoder").running() as workers:
        yield Decoders(workers, _processes, room or SoundRoom())


@asynccontextmanager
async def speech(*, max_audio_s: float = 600, **options: Any) -> AsyncIterator[Speech]:
    with decoders() as each:
        yield Speech(SpeechOptions(**options), UploadConfig(max_audio_s=max_audio_s), each)


def both(sound: Sound | None) -> tuple[Samples, Samples]:
    assert sound is not None
    return sound.heard(0, sound.num_ear), sound.listened(0, sound.num_model)


def whole(data: bytes, **options: Any) -> tuple[Samples, Samples]:
    return both(decode(io.BytesIO(data), max_duration_s=600, **options))


def equal(one: tuple[Samples, Samples], other: tuple[Samples, Samples]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def pieces(data: bytes, sizes: list[int], seed: int) -> Iterator[bytes]:
    generator, place = random.Random(seed), 0
    while place < len(data):
        size = generator.choice(sizes)
        yield data[place : place + size]
        place += size


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 (of a thread)
            await asyncio.sleep(0.005)


def listener_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "listener"]


# --- raw audio samples


@pytest.mark.parametrize(("rate", "channels"), SHAPES)
@pytest.mark.parametrize("sizes", [[1, 3, 7, 640, 961], [5000, 40_001], [1 << 20]])
async def test_any_split_of_pcm_is_the_whole_file(
    rate: int, channels: int, sizes: list[int]
) -> None:
    file = wav(speech_like(0.7, rate), rate, channels=channels)
    async with speech() as its:
        for data in pieces(file[HEADER:], sizes, seed=rate):
            await its.hear_pcm(data, PcmFormat(rate, channels))
        its.end()
        if channels > 2:  # whose mean is heard; here they are the same
            file = wav(speech_like(0.7, rate), rate)
        assert equal(both(its.sound), whole(file))
        assert its.ended_early is None
        assert its.total_frames(FPS) == frames_covering(round(0.7 * EAR_RATE), FPS)


@pytest.mark.parametrize("channels", range(1, 9))
async def test_every_channel_is_heard(channels: int) -> None:
    for channel in range(channels):
        samples = np.zeros((EAR_RATE // 2, channels), "<i2")
        samples[:, channel] = 32767 * tone(0.5)
        async with speech() as its:
            await its.hear_pcm(samples.tobytes(), PcmFormat(EAR_RATE, channels))
            its.end()
            heard = both(its.sound)[0]
            assert np.abs(heard - tone(0.5) / channels).max() < 0.001


async def test_big_endian() -> None:
    file = wav(tone(0.5, rate=16_000), 16_000)
    swapped = np.frombuffer(file[HEADER:], "<i2").astype(">i2").tobytes()
    async with speech() as its:
        await its.hear_pcm(swapped, PcmFormat(16_000, big_endian=True))
        its.end()
        assert equal(both(its.sound), whole(file))


async def test_a_loud_stereo_sound_does_not_clip() -> None:
    loud = wav(tone(0.5, level=0.99), channels=2)[HEADER:]
    async with speech() as its:
        await its.hear_pcm(loud, PcmFormat(EAR_RATE, 2))
        its.end()
        assert np.abs(both(its.sound)[0]).max() == pytest.approx(0.99, abs=0.001)


async def test_within_an_audio_sample_is_damage_and_the_rest_is_spoken() -> None:
    file = wav(tone(0.5), channels=2)
    async with speech(trailing_silence_s=0.1) as its:
        await its.hear_pcm(file[HEADER:] + b"\1\2\3", PcmFormat(EAR_RATE, 2))
        with pytest.raises(DamagedAudio, match="3 of 4 bytes"):
            its.end()
        assert isinstance(its.ended_early, DamagedAudio)
        assert equal(both(its.sound), whole(file, trailing_silence_s=0.1))
        its.end()  # once is enough


@pytest.mark.parametrize("data", [b"", b"\1"])
async def test_no_sound_is_an_error(data: bytes) -> None:
    async with speech(trailing_silence_s=1) as its:
        await its.hear_pcm(data, PcmFormat(EAR_RATE))
        with pytest.raises((EmptyAudio, DamagedAudio)):
            its.end()
        assert its.has_ended
        assert its.sound is None
        assert its.total_frames(FPS) == 0


async def test_too_much_is_cut_at_the_limit() -> None:
    async with speech(max_audio_s=1) as its:
        with pytest.raises(AudioTooLong, match="1 s"):
            await its.hear_pcm(wav(tone(1.5))[HEADER:], PcmFormat(EAR_RATE))
        assert isinstance(its.ended_early, AudioTooLong)
        ear, model = both(its.sound)
        assert (len(ear), len(model)) == (EAR_RATE, 16_000)
        with pytest.raises(AudioTooLong):
            await its.hear_pcm(bytes(100), PcmFormat(EAR_RATE))


async def test_trailing_silence_is_exact() -> None:
    async with speech(trailing_silence_s=1.5) as its:
        await its.hear_pcm(wav(tone(0.5))[HEADER:], PcmFormat(EAR_RATE))
        its.end()
        ear, model = both(its.sound)
        assert len(ear) == 2 * EAR_RATE
        assert len(model) == 32_000
        assert not ear[EAR_RATE // 2 :].any()


# --- who speaks


async def test_frames_wait_for_what_they_need() -> None:
    async with speech() as its:
        assert its.total_frames(FPS) is None
        data = wav(tone(1.0))[HEADER:]
        made = []
        for place in range(0, len(data), 1920):
            await its.hear_pcm(data[place : place + 1920], PcmFormat(EAR_RATE))
            assert its.sound is not None
            made.append(frames_ready(its.sound.num_known, FPS))
            if made[-1]:
                assert ear_samples_needed(made[-1], FPS) <= its.sound.num_ear
        assert made == sorted(made)
        assert made[-1] in (17, 18)  # 0.2 s and a frame and a half are held back
        its.end()
        assert its.total_frames(FPS) == 25


async def test_more_wakes_for_sound_and_for_the_end() -> None:
    async with speech() as its:
        for happens in (
            lambda: its.hear_pcm(bytes(9600), PcmFormat(EAR_RATE)),
            lambda: asyncio.to_thread(int),
        ):
            waiting = asyncio.create_task(its.more(30))
            await asyncio.sleep(0)
            await happens()
            if its.sound is not None and waiting.done() is False:
                its.end()
            await asyncio.wait_for(waiting, 5)
        assert its.has_ended
        await its.more(30)  # at once
    async with speech() as its:
        await its.more(0.01)  # nothing came
        assert its.sound is None


async def test_who_sends_too_fast_waits() -> None:
    """A client a hundred times faster than speech: no more than the bound is ever there."""
    second = wav(tone(1.0, rate=16_000), 16_000)[HEADER:]
    async with speech() as its:
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await its.hear_pcm(second, PcmFormat(16_000))
                sent += 1
            its.end()

        sending = asyncio.create_task(send())
        spoken_s = 0.0
        while not sending.done():
            if its.sound is not None:
                assert its.sound.duration_s - spoken_s <= MAX_AHEAD_S + 1
                assert its.sound.kept_s <= 40 + MAX_AHEAD_S + 4
                if its.sound.duration_s - spoken_s > MAX_AHEAD_S:
                    before = sent
                    await asyncio.sleep(0.002)
                    assert sent == before, "it was to wait"
                spoken_s = min(spoken_s + 2, its.sound.duration_s)
                its.spoken(spoken_s)
            await asyncio.sleep(0)
        await sending
        assert its.sound is not None
        assert its.sound.num_ear == 100 * EAR_RATE
        last = its.sound.heard(99 * EAR_RATE, 100 * EAR_RATE)
        assert np.abs(last - tone(1.0))[:-100].max() < 0.01


# --- silence where no sound comes


def largest_step(samples: Samples) -> float:
    return float(np.abs(np.diff(samples)).max())


@pytest.mark.parametrize("at", [12_000, 12_027, 12_054, 12_081])
async def test_a_pause_does_not_click(at: int) -> None:
    """441 Hz has 109 audio samples per period: the pause begins at different phases of it."""
    data = wav(tone(1.0))[HEADER:]
    async with speech() as its:
        await its.hear_pcm(data[: 2 * at], PcmFormat(EAR_RATE))
        before = both(its.sound)[0]
        its.fill(EAR_RATE // 2)
        its.fill(EAR_RATE // 2 - 1)  # rounded up
        await its.hear_pcm(data[2 * at : 2 * at + 100], PcmFormat(EAR_RATE))
        its.fill(4800)
        await its.hear_pcm(data[2 * at + 100 :], PcmFormat(EAR_RATE))
        its.end()
        ear, model = both(its.sound)
        assert largest_step(ear) <= largest_step(both(decode_of(tone(1.0)))[0])
        assert largest_step(model) <= largest_step(both(decode_of(tone(1.0)))[1])
        assert its.waited_s == pytest.approx(1.1)
        assert len(ear) == EAR_RATE + EAR_RATE + 4800
        # What had come is as it was, and the middle of the pause is still.
        assert np.array_equal(ear[: len(before)], before)
        pause = ear[len(before) + 480 : len(before) + EAR_RATE]
        assert not pause.any()
        assert np.abs(ear[-4800:] - tone(1.0)[-4800:]).max() < 0.001


def decode_of(samples: Samples) -> Sound:
    return decode(io.BytesIO(wav(samples)), max_duration_s=60)


async def test_nothing_is_filled_in_after_the_end() -> None:
    async with speech() as its:
        its.fill(4800)
        assert its.sound is None
        await its.hear_pcm(wav(tone(0.5))[HEADER:], PcmFormat(EAR_RATE))
        its.end()
        its.fill(4800)
        assert its.waited_s == 0
        assert its.sound is not None
        assert its.sound.num_ear == EAR_RATE // 2


async def test_a_sender_that_dribbles_is_waited_for_as_long_as_an_utterance_may_be() -> None:
    async with speech(max_audio_s=1) as its:
        await its.hear_pcm(bytes(4800), PcmFormat(24_000))
        waiting = asyncio.create_task(silent(its))
        await asyncio.sleep(0.01)
        for _ in range(11):
            assert not its.has_ended
            its.fill(EAR_RATE // 10)
        assert isinstance(its.ended_early, UploadStalled)
        with pytest.raises(UploadStalled, match="1 s of silence"):
            await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("piece", [b"", bytes(2)])
async def test_a_sender_of_which_too_little_comes_to_begin(piece: bytes) -> None:
    """However often it sends something."""
    limits = UploadConfig(audio_stall_timeout_s=0.4)
    with decoders() as workers:
        its = Speech(SpeechOptions(), limits, workers)

        async def dribble() -> None:
            while True:
                async with its.awaiting():
                    await asyncio.sleep(0.02)
                await its.hear_pcm(piece, PcmFormat(24_000))

        with pytest.raises(UploadStalled, match="could not begin"):
            await asyncio.wait_for(dribble(), 5)


async def test_a_slow_sender_of_which_enough_comes_to_begin() -> None:
    limits = UploadConfig(audio_stall_timeout_s=0.4)
    with decoders() as workers:
        its = Speech(SpeechOptions(), limits, workers)
        await its.hear_pcm(bytes(4 * 24_000), PcmFormat(24_000))  # 2 s
        for _ in range(30):
            async with its.awaiting():
                await asyncio.sleep(0.02)
            await its.hear_pcm(bytes(2), PcmFormat(24_000))
        assert its.ended_early is None


# --- leading silence


@pytest.mark.parametrize("quiet_s", [0.0, 0.05, 0.7, 3.0])
async def test_leading_silence_is_left_out_alike(quiet_s: float) -> None:
    file = wav(np.concatenate([silence(quiet_s), speech_like(1.0)]))
    trimmed = whole(file, trim_leading_silence=True)
    for sizes in ([960], [7001], [1 << 20]):
        async with speech(trim_leading_silence=True) as its:
            for data in pieces(file[HEADER:], sizes, seed=1):
                await its.hear_pcm(data, PcmFormat(EAR_RATE))
            its.end()
            assert equal(both(its.sound), trimmed)
    left_out_s = quiet_s + 1.0 - len(trimmed[0]) / EAR_RATE
    assert max(0.0, quiet_s - 0.15) <= left_out_s <= quiet_s + 0.1
    assert len(trimmed[1]) == -(-len(trimmed[0]) // 3)


@pytest.mark.parametrize("seconds", [1.0, 9.0])
async def test_without_a_voice_everything_stays(seconds: float) -> None:
    file = wav(silence(seconds, 16_000), 16_000)
    assert len(whole(file, trim_leading_silence=True)[0]) == seconds * EAR_RATE
    async with speech(trim_leading_silence=True) as its:
        await its.hear_pcm(file[HEADER:], PcmFormat(16_000))
        assert (its.sound is not None) == (seconds > 8), "it can't be held back for ever"
        its.end()
        assert its.sound is not None
        assert its.sound.num_ear == seconds * EAR_RATE


# --- containers


async def nothing() -> None:
    pass


async def hear(
    its: Speech,
    data: bytes,
    *,
    sizes: list[int],
    before_end: Callable[[], Coroutine[Any, Any, None]] = nothing,
) -> None:
    """Send a file piece by piece."""
    with GrowingFile() as file:
        hearing = asyncio.create_task(its.hear_growing(file))
        try:
            for piece in pieces(data, sizes, seed=1):
                await file.write(piece)
                await asyncio.sleep(0)
            await before_end()
            file.finish()
        except MuseTalkStreamError:
            pass  # which is what the hearing raises
        await hearing


@pytest.mark.parametrize("container", sorted(set(CONTAINERS) - {"mp3"}))
@pytest.mark.parametrize("sizes", [[1, 100, 700], [5000]])
async def test_a_container_that_arrives_is_the_whole_file(container: str, sizes: list[int]) -> None:
    file = sound_file(speech_like(3.0), container, channels=2)

    async def look() -> None:
        if container in WHOLE_ONLY:
            assert its.sound is None
        else:
            await eventually(lambda: its.sound is not None)

    async with speech(trailing_silence_s=0.5) as its:
        await hear(its, file, sizes=sizes, before_end=look)
        assert equal(both(its.sound), whole(file, trailing_silence_s=0.5))
        assert its.has_ended
    assert not listener_threads()


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
async def test_an_mp3_keeps_the_padding_at_its_end(rate: int) -> None:
    """FFmpeg leaves it out only of a file whose size it knows; the rest is the same."""
    file = sound_file(speech_like(2.0, rate), "mp3", rate)
    ear, model = whole(file)
    async with speech() as its:
        await hear(its, file, sizes=[700])
        longer, longer_model = both(its.sound)
    # The last of it is resampled with what follows, or without.
    assert np.array_equal(longer[: len(ear) - 200], ear[:-200])
    assert np.array_equal(longer_model[: len(model) - 200], model[:-200])
    assert len(ear) <= len(longer) <= len(ear) + 1152 * EAR_RATE / rate


@pytest.mark.parametrize("data_size", [0, 0x7FFFF000, 0xFFFFFFFF])
@pytest.mark.parametrize("shape", [(24_000, 1, "s16"), (96_000, 2, "s32"), (16_000, 2, "f32")])
async def test_wav_from_a_pipe(data_size: int, shape: tuple[int, int, str]) -> None:
    rate, channels, fmt = shape
    file = wav(tone(1.0, rate=rate), rate, channels=channels, fmt=fmt, data_size=data_size)
    async with speech() as its:
        await hear(its, file, sizes=[3000])
        assert equal(both(its.sound), whole(file))


async def test_what_stands_beside_the_sound_of_a_wav_is_passed_over() -> None:
    plain = wav(tone(0.5))
    note = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"
    file = plain[:12] + note + plain[12:] + note
    async with speech() as its:
        await hear(its, file, sizes=[1, 50])
        assert equal(both(its.sound), whole(plain))
        assert equal(both(its.sound), whole(file))


async def test_a_wav_is_heard_from_its_first_bytes_on() -> None:
    async with speech() as its:
        with GrowingFile() as file:
            hearing = asyncio.create_task(its.hear_growing(file))
            await file.write(wav(tone(1.0, rate=16_000), 16_000)[: HEADER + 3200])
            await eventually(lambda: its.sound is not None and its.sound.duration_s > 0.09)
            file.abort(UploadAborted("gone"))
            with pytest.raises(UploadAborted):
                await hearing


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "webm"])
async def test_a_file_that_is_cut_off_is_spoken_as_far_as_it_goes(container: str) -> None:
    file = sound_file(speech_like(4.0), container)
    async with speech() as its:
        with pytest.raises(DamagedAudio, match="cut off"):
            await hear(its, file[: len(file) // 2], sizes=[3000])
        assert isinstance(its.ended_early, DamagedAudio)
        assert its.sound is not None
        assert 0.9 < its.sound.duration_s < 2.6  # pauses are few bytes
        assert its.has_ended


@pytest.mark.parametrize(
    "data",
    [b"", b"RI", b"hello, this is text", b"RIFF\xff\xff\xff\xffWAVE" + bytes(100),
     b"OggS" + bytes(3000), b"ID3" + bytes(100), b"\xff\xfb" + bytes(50)],
    ids=lambda data: repr(data[:8]),
)  # fmt: skip
async def test_what_is_not_sound(data: bytes) -> None:
    async with speech() as its:
        with pytest.raises((UnsupportedAudio, EmptyAudio)):
            await hear(its, data, sizes=[1000])
        assert its.sound is None
    assert not listener_threads()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("container", ["mp3", "flac", "ogg", "webm", "wav", "aac"])
async def test_scrambled_files_end(container: str, seed: int) -> None:
    file = bytearray(sound_file(tone(0.5), container))
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, len(file), 40):
        file[place] = generator.integers(256)
    async with speech() as its:
        with suppress(MuseTalkStreamError):
            await hear(its, bytes(file), sizes=[700])
    assert not listener_threads()


@pytest.mark.parametrize("promises", [True, False])
async def test_too_long_a_file(promises: bool) -> None:
    file = wav(tone(3.0), data_size=None if promises else 0)
    async with speech(max_audio_s=2) as its:
        with pytest.raises(AudioTooLong, match="limit"):
            await hear(its, file, sizes=[20_000])
        if promises:
            assert its.sound is None, "known before it is spoken"
        else:
            assert its.sound is not None
            assert its.sound.duration_s == 2


async def test_a_sender_that_breaks_off_has_its_sound_spoken() -> None:
    file_data = sound_file(speech_like(4.0), "mp3")
    async with speech() as its:
        with GrowingFile() as file:
            hearing = asyncio.create_task(its.hear_growing(file))
            await file.write(file_data[: len(file_data) // 2])
            file.abort(UploadStalled("nothing came"))
            with pytest.raises(UploadStalled):
                await hearing
        assert isinstance(its.ended_early, UploadStalled)
        assert its.sound is not None
        assert its.sound.duration_s == pytest.approx(2.0, abs=0.2)
    assert not listener_threads()


async def test_the_sound_of_all_has_a_bound() -> None:
    """Of files, that is: raw samples come no faster than they are spoken."""
    file, form = wav(tone(2.0)), PcmFormat(24_000)
    with decoders(SoundRoom(3 * 256_000)) as each:

        async def hear(its: Speech, whole: bool) -> None:
            if whole:
                await its.hear_file(io.BytesIO(file))
                return
            with GrowingFile() as growing:
                await growing.write(file)
                growing.finish()
                await its.hear_growing(growing)

        first = Speech(SpeechOptions(), UploadConfig(), each)
        await hear(first, whole=True)
        for whole in (True, False):
            its = Speech(SpeechOptions(), UploadConfig(), each)
            with pytest.raises(QueueFull, match="sound_memory_mb"):
                await hear(its, whole)
            its.close()  # a second of it may have come
        raw = Speech(SpeechOptions(), UploadConfig(), each)
        await raw.hear_pcm(bytes(4 * 24_000), form)
        raw.end()
        raw.close()
        first.close()
        for whole in (True, False):
            its = Speech(SpeechOptions(), UploadConfig(), each)
            await hear(its, whole)
            its.close()
        longer = Speech(SpeechOptions(), UploadConfig(), each)
        await longer.hear_file(io.BytesIO(wav(tone(4.0))))  # alone
        longer.close()


async def test_no_more_than_some_listen_at_once() -> None:
    """One more upload is decoded when all of it is there."""
    file = wav(tone(0.5))
    with decoders() as workers:

        async def send(its: Speech, may_end: asyncio.Event) -> None:
            with GrowingFile() as growing:
                hearing = asyncio.create_task(its.hear_growing(growing))
                await growing.write(file[:-100])
                await may_end.wait()
                await growing.write(file[-100:])
                growing.finish()
                await hearing

        end = asyncio.Event()
        many = [Speech(SpeechOptions(), UploadConfig(), workers) for _ in range(MAX_LISTENERS + 1)]
        async with asyncio.TaskGroup() as group:
            for its in many:
                group.create_task(send(its, end))
            await eventually(lambda: sum(its.sound is not None for its in many) == MAX_LISTENERS)
            assert len(listener_threads()) == MAX_LISTENERS
            end.set()
        assert all(equal(both(its.sound), whole(file)) for its in many)
        assert sum(its.sound is not None and its.sound.is_live for its in many) == MAX_LISTENERS
    assert not listener_threads()


# --- interrupted


async def growing(its: Speech, data: bytes) -> None:
    """Half a file, and then nothing for a long time."""
    with GrowingFile() as file:
        hearing = asyncio.create_task(its.hear_growing(file))
        await file.write(data[: len(data) // 2])
        await hearing


async def raw(its: Speech) -> None:
    while True:
        await its.hear_pcm(bytes(48_000), PcmFormat(24_000))


async def silent(its: Speech) -> None:
    await its.hear_pcm(bytes(4800), PcmFormat(24_000))
    async with its.awaiting():
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "sending",
    [
        raw,
        silent,
        lambda its: growing(its, sound_file(tone(2.0), "mp3")),
        lambda its: growing(its, sound_file(tone(2.0), "m4a")),
    ],
    ids=["held back", "silent", "mp3", "m4a"],
)
async def test_who_sends_is_told_of_an_interruption(
    sending: Callable[[Speech], Coroutine[Any, Any, None]],
) -> None:
    async with speech() as its:
        task = asyncio.create_task(sending(its))
        # Until it waits: for more to come, for all of it, or for some of it to be spoken.
        await asyncio.sleep(0.15)
        assert not task.done()
        its.close()
        with pytest.raises(UtteranceEnded):
            await asyncio.wait_for(task, 5)
        with pytest.raises(UtteranceEnded):
            await its.hear_pcm(bytes(100), PcmFormat(EAR_RATE))
        with pytest.raises(UtteranceEnded):
            await its.hear_file(io.BytesIO(wav(tone(0.1))))
        with pytest.raises(UtteranceEnded):
            its.end()
        its.end(UploadAborted("gone"))  # nobody is there to be told
        assert its.ended_early is None
    assert not listener_threads()


async def test_who_vanishes_takes_the_thread_along() -> None:
    async with speech() as its:
        with GrowingFile() as file:
            hearing = asyncio.create_task(its.hear_growing(file))
            await file.write(wav(tone(1.0))[:5000])
            await eventually(lambda: its.sound is not None)
            assert listener_threads()
            hearing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hearing
            assert not listener_threads()
            with pytest.raises(UtteranceEnded):
                await file.write(b"more")


# --- let go of


async def send_pcm(its: Speech, file: bytes) -> None:
    await its.hear_pcm(file[HEADER:] + b"\1", PcmFormat(EAR_RATE))
    its.end()


async def send_half(its: Speech, file: bytes, then: Callable[[GrowingFile], None]) -> None:
    with GrowingFile() as arriving:
        hearing = asyncio.create_task(its.hear_growing(arriving))
        await arriving.write(file[: len(file) // 2])
        await eventually(lambda: its.sound is not None)
        then(arriving)
        try:
            await hearing
        finally:
            del hearing


@pytest.mark.parametrize(
    "send",
    [
        send_pcm,
        lambda its, file: send_half(its, file, lambda arriving: arriving.finish()),
        lambda its, file: send_half(its, file, lambda arriving: arriving.abort(UploadStalled("-"))),
        lambda its, file: send_half(its, file, lambda arriving: its.close()),
    ],
    ids=["within a sample", "cut off", "stalled", "interrupted"],
)
async def test_what_went_wrong_does_not_keep_the_sound(
    send: Callable[[Speech, bytes], Coroutine[Any, Any, None]],
) -> None:
    """Errors refer to the frames they went through; a circle would wait for the collector."""
    with decoders() as workers:
        its = Speech(SpeechOptions(), UploadConfig(), workers)
        gc.collect()
        gc.disable()
        try:
            with suppress(MuseTalkStreamError):
                await send(its, wav(tone(1.0)))
            kept = [weakref.ref(each) for each in (its, its.sound) if each]
            del its
            await asyncio.sleep(0.01)
            assert not any(reference() for reference in kept)
        finally:
            gc.enable()


# --- whole files


async def test_a_complete_file() -> None:
    data = sound_file(speech_like(1.0), "mp3")
    async with speech(trailing_silence_s=0.5, trim_leading_silence=True) as its:
        await its.hear_file(io.BytesIO(data))
        expected = whole(data, trailing_silence_s=0.5, trim_leading_silence=True)
        assert equal(both(its.sound), expected)
        assert its.sound is not None
        assert not its.sound.is_live
        assert its.has_ended
        assert its.decoded_s is not None


async def test_a_complete_file_that_is_none() -> None:
    async with speech() as its:
        with pytest.raises(UnsupportedAudio):
            await its.hear_file(io.BytesIO(b"text"))
        assert its.sound is None
        assert not its.has_ended
