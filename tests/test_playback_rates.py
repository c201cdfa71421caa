"""Lips at one rate and output at a faster one: the body moves as in the idle loop, the mouth is on
time, and only lips are rendered."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fakes import TINY_SIZE, read_marker, tone, wav
from media import decoded
from servers import Json, ProcessServer, Serve, Server
from talking import RATE as PCM_RATE
from talking import as_pcm, cut, send

from musetalk_stream.avatar import Avatar, open_avatar
from musetalk_stream.timeline import cycle_frame

RATE = 48_000
DURATION_S = 4.0
RATES = [(12.5, 25), (10, 15), (20, 25), (25, 60)]  # of lips and of output
NOSE, NECK = (
    33,
    90,
)  # a landmark; luma pixels below the chin of the demo avatar, which the jaw moves

Frames = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def demo(process_server: ProcessServer, avatar_store: Path) -> Avatar:
    return open_avatar(avatar_store / "demo")


def bursts() -> npt.NDArray[np.float32]:
    """A buzz that comes and goes at irregular instants."""
    rng = np.random.default_rng(3)
    instants = np.arange(round(DURATION_S * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * instants) / k for k in range(1, 9))
    loud = np.zeros(len(instants))
    at_s = 0.3
    while at_s < DURATION_S - 0.6:
        lasts_s = rng.uniform(0.18, 0.32)
        loud[round(at_s * RATE) : round((at_s + lasts_s) * RATE)] = 0.25
        at_s += lasts_s + rng.uniform(0.2, 0.45)
    return np.asarray(loud * voice, np.float32)


@dataclass(frozen=True, eq=False)
class Spoken:
    """What a viewer sees: I420 frames `[N, H*3/2, W]`, and the idle loop's under each of them."""

    frames: Frames
    idle: Frames
    pictures: list[int]
    playback_fps: float


_spoken: dict[tuple[float, float], Spoken] = {}


async def spoken(server: ProcessServer, avatar: Avatar, fps: float, playback_fps: float) -> Spoken:
    """The bursts at these rates, spoken once for all tests."""
    if (fps, playback_fps) not in _spoken:
        _spoken[fps, playback_fps] = await _speak(server, avatar, fps, playback_fps)
    return _spoken[fps, playback_fps]


async def _speak(server: ProcessServer, avatar: Avatar, fps: float, playback_fps: float) -> Spoken:
    async with server.client() as client:
        session_id = await client.create(avatar_id="demo", fps=fps, playback_fps=playback_fps)
        events = await client.speak(session_id, wav(bursts()))
        assert events[-1]["event"] == "complete", events[-1]
        frames, _ = decoded(await client.chunks(events))
        await client.client.delete(f"/sessions/{session_id}")
    (start,) = (event["avatar_frame"] for event in events if event["event"] == "started")
    pictures = [
        avatar.picture(cycle_frame(start, k, Fraction(playback_fps), avatar.manifest.fps))
        for k in range(len(frames))
    ]
    return Spoken(frames, avatar.frames[pictures], pictures, playback_fps)


def largest_change(found: Spoken, avatar: Avatar) -> float:
    """Of luma in 8x8 blocks, away from the lower face, between any frame and the idle loop's."""
    size = avatar.manifest.width
    largest = 0.0
    for frame, idle, picture in zip(found.frames, found.idle, found.pictures, strict=True):
        change = frame[:size].astype(np.float64) - idle[:size]
        points = avatar.landmarks[picture]
        left, right = points[:17, 0].min(), points[:17, 0].max()
        top, bottom = points[NOSE, 1], points[:17, 1].max() + NECK
        change[int(top) : int(bottom), int(left) : int(right)] = 0
        blocks = change.reshape(size // 8, 8, size // 8, 8).mean(axis=(1, 3))
        largest = max(largest, float(np.abs(blocks).max()))
    return largest


def openness(found: Spoken, avatar: Avatar) -> Doubles:
    """How much each frame's lips differ from those at rest: mean luma difference."""
    moved = []
    for frame, idle, picture in zip(found.frames, found.idle, found.pictures, strict=True):
        lips = avatar.landmarks[picture, 48:68]
        (x1, y1), (x2, y2) = lips.min(0).astype(int) - 4, lips.max(0).astype(int) + 12
        moved.append(np.abs(frame[y1:y2, x1:x2].astype(int) - idle[y1:y2, x1:x2]).mean())
    return np.array(moved)


def lag_s(ideal: Doubles, found: Doubles, playback_fps: float) -> tuple[float, float]:
    """By how much `found` is later than `ideal`, and how alike they then are: their correlation."""
    instants = np.arange(0.3, DURATION_S - 0.3, 0.001)
    starts = np.arange(len(ideal)) / playback_fps
    likeness = {
        lag: float(
            np.corrcoef(
                np.interp(instants, starts, ideal), np.interp(instants + lag, starts, found)
            )[0, 1]
        )
        for lag in np.arange(-0.15, 0.1501, 0.005)
    }
    best = max(likeness, key=lambda lag: likeness[lag])
    return float(best), likeness[best]


@pytest.mark.parametrize(("fps", "playback_fps"), RATES)
async def test_the_body_moves_as_at_rest_and_lips_are_on_time(
    process_server: ProcessServer, demo: Avatar, fps: float, playback_fps: float
) -> None:
    found = await spoken(process_server, demo, fps, playback_fps)
    assert len(found.frames) == DURATION_S * playback_fps
    assert largest_change(found, demo) < 6, "codec noise, and no more"
    ideal = await spoken(process_server, demo, playback_fps, playback_fps)
    late_s, alike = lag_s(openness(ideal, demo), openness(found, demo), playback_fps)
    assert abs(late_s) <= 0.015, "a mouth that is held is later"
    assert alike > 0.85


async def test_between_two_lips_frames_a_mouth_closes_evenly_and_does_not_open_yet(
    process_server: ProcessServer, demo: Avatar
) -> None:
    moved = openness(await spoken(process_server, demo, 12.5, 25), demo)
    before, between, after = moved[:-2:2], moved[1:-1:2], moved[2::2]
    least = 0.15 * moved.max()
    for differs, low, high in (
        (before - after > least, 0.3, 0.7),
        (after - before > least, 0, 0.15),
    ):
        assert differs.sum() > 5
        part = (between - before)[differs] / (after - before)[differs]
        assert low <= np.median(np.abs(part)) < high


@pytest.mark.parametrize(("fps", "playback_fps"), [(25, 25), (12.5, 25)])
async def test_a_mouth_opens_when_it_is_heard(
    process_server: ProcessServer, demo: Avatar, fps: float, playback_fps: float
) -> None:
    found = openness(await spoken(process_server, demo, fps, playback_fps), demo)
    is_open = found > 0.25 * found.max()
    opens_s = np.flatnonzero(is_open[1:] & ~is_open[:-1]) / playback_fps + 1 / playback_fps
    heard = np.flatnonzero(np.abs(bursts()) > 0.1)
    begins_s = heard[np.insert(np.diff(heard) > 0.1 * RATE, 0, True)] / RATE
    assert len(begins_s) > 4
    for begin_s in begins_s:
        assert np.abs(opens_s - begin_s).min() <= 0.0405


@pytest.mark.parametrize(("fps", "playback_fps"), [(25, 25), *RATES])
async def test_only_lips_are_rendered(serve: Serve, fps: float, playback_fps: float) -> None:
    """Each once, although parts of output frames share some."""
    server = await serve()
    session_id = await server.create(fps=fps, playback_fps=playback_fps)
    heard = await server.speak(session_id, wav(bursts()))
    assert heard[-1]["duration"] == DURATION_S
    stats = (await server.client.get("/sessions/stats")).json()
    assert stats["engine"]["frames_rendered"] == math.ceil(DURATION_S * fps)


async def numbers_shown(server: Server, events: list[Json]) -> list[int]:
    frames, _ = decoded(await server.chunks(events))
    return [read_marker(frame[:TINY_SIZE]) for frame in frames]


@pytest.mark.parametrize(("fps", "playback_fps"), RATES)
async def test_sound_that_arrives_slowly_gives_the_same_lips(
    serve: Serve, fps: float, playback_fps: float
) -> None:
    """No frame is made before the lips on either side of it can be."""
    server = await serve()
    samples = tone(2.0, rate=PCM_RATE)
    options = {"fps": fps, "playback_fps": playback_fps}
    whole = await server.speak(await server.create(**options), wav(samples, PCM_RATE))
    session_id = await server.create(**options)
    async with server.events(session_id) as stream:
        await stream.next()
        answer = await send(server, session_id, cut(as_pcm(samples, order=">"), 1111, 0.005))
        assert answer.status_code == 202, answer.text
        slow = await stream.until_end()
    assert slow[-1]["waited"] == whole[-1]["waited"] == 0
    assert await numbers_shown(server, slow) == await numbers_shown(server, whole)
