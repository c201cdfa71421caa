"""Two who speak at once through one renderer: nothing of one is ever seen or heard at the other."""

import asyncio
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fakes import (
    EAR_RATE,
    TINY_SIZE,
    Number,
    NumberRenderer,
    make_avatar,
    numbers,
    read_marker,
    tone,
    wav,
)
from media import decoded_luma, decoded_sound, needs_ffmpeg, write_all
from servers import Serve

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.renderers import FrameRequest, Mouths, Rendering
from musetalk_stream.sound import Sound

LEVELS = {"tiny": 0.3, "other": 0.6}  # of the tones that the two avatars speak


def signature(avatar_id: str, frame: int, level: float) -> int:
    """A number that says whose picture, whose sound and which frame it is."""
    return frame + 1024 * round(10 * level) + 16_384 * (avatar_id == "other")


class Signing(NumberRenderer):
    """Paints the signature of every frame over its mouth."""

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        super().render(batch)
        return [
            # A sine's root mean square is its level over the square root of 2.
            Number(signature(each.avatar.id, int(frame), float(loudness) * 2**0.5))
            for each in batch
            for frame, loudness in [each.audio_window]
        ]


class Fickle(Signing):
    """Some batches are done at once and some later, some fail and some do not fit."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        self.works_later = self.rng.random() < 0.7
        self.fits = 4 if self.rng.random() < 0.02 else 16
        if len(batch) > 1 and self.rng.random() < 0.1:
            raise ValueError("broken on purpose, as a batch")
        return super().submit(batch)


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> list[Avatar]:
    store = tmp_path_factory.mktemp("neighbours")
    return [make_avatar(store, avatar_id) for avatar_id in LEVELS]


async def speak(batcher: Batcher, avatar: Avatar, rng: random.Random) -> None:
    """An utterance of 40 frames in parts, as it comes; some leave early and come again."""
    ear = tone(2.0, level=LEVELS[avatar.id])
    sound, frame = Sound.whole(ear, ear[::3]), 0
    while frame < 40:
        first, count = frame, rng.randint(1, 8)
        windows = await batcher.call(
            lambda renderer, first=first, count=count: renderer.audio_windows(  # type: ignore[misc]
                sound, Fraction(25), first, count
            )
        )
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
        part = asyncio.create_task(
            batcher.render(
                [FrameRequest(avatar, 0, window) for window in windows],
                deadline_s=rng.random(),
                per_turn=rng.randint(1, 4),
            )
        )
        if rng.random() < 0.1:
            await asyncio.sleep(0)
            part.cancel()
            await asyncio.wait([part])
            continue
        expected = [signature(avatar.id, first + k, LEVELS[avatar.id]) for k in range(count)]
        assert numbers(await part) == expected
        frame += count


async def test_200_random_interleavings(avatars: list[Avatar]) -> None:
    seed = random.randrange(2**32)
    for round_ in range(200):
        print(f"seed {seed}, round {round_}")  # noqa: T201 - shown if it fails
        rng = random.Random(seed + round_)
        batcher = Batcher(Fickle(rng), max_batch=rng.choice([1, 3, 8, 16]))
        with batcher.running():
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                for avatar in avatars:
                    group.create_task(speak(batcher, avatar, random.Random(rng.random())))


@needs_ffmpeg
async def test_what_is_seen_and_heard_is_one_s_own(serve: Serve, tmp_path: Path) -> None:
    server = await serve(Signing(works_later=True))
    pitches = {"tiny": 500, "other": 1100}

    async def utterance(avatar_id: str, index: int) -> None:
        options = {"batch_size": 1 + index % 5, "chunk_duration": 0.4 + index % 3}
        session_id = await server.create(avatar_id=avatar_id, **options)
        sound = tone(2.0, pitches[avatar_id], level=LEVELS[avatar_id])
        heard = await server.speak(session_id, wav(sound))
        folder = tmp_path / f"{avatar_id}-{index}"
        folder.mkdir()
        _, whole = write_all(folder, await server.chunks(heard))
        expected = [signature(avatar_id, frame, LEVELS[avatar_id]) for frame in range(50)]
        assert [read_marker(luma) for luma in decoded_luma(whole, TINY_SIZE)] == expected
        spectrum = np.abs(np.fft.rfft(decoded_sound(whole)[: 2 * EAR_RATE]))
        assert np.argmax(spectrum) / 2 == pytest.approx(pitches[avatar_id], abs=1)
        theirs = pitches["other" if avatar_id == "tiny" else "tiny"] * 2
        assert spectrum[theirs - 20 : theirs + 20].max() < spectrum.max() / 100

    await asyncio.gather(*(utterance(each, index) for index in range(6) for each in LEVELS))
