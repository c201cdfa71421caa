"""The built-in renderer on the demo avatar, from upload to decoded chunks: lips go with the sound,
silence shows the source, and nobody sees where the placeholder ends and speech begins."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from fakes import wav
from media import decoded
from servers import Json, ProcessServer

from musetalk_stream.avatar import Avatar, open_avatar

RATE = 48_000
FPS = 25
Frames = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def demo(process_server: ProcessServer, avatar_store: Path) -> Avatar:
    """The demo avatar as the server prepared it."""
    return open_avatar(avatar_store / "demo")


async def spoken(server: ProcessServer, sound: Samples) -> tuple[list[Json], Frames, Samples]:
    """Speak at 25 fps: events, decoded I420 frames `[N, H*3/2, W]`, and what is heard."""
    async with server.client() as client:
        session_id = await client.create(avatar_id="demo", fps=FPS)
        events = await client.speak(session_id, wav(sound))
        chunks = await client.chunks(events)
        await client.client.delete(f"/sessions/{session_id}")
    return events, *decoded(chunks)


def cycle(events: list[Json], avatar: Avatar) -> list[int]:
    """The avatar picture under every output frame, as the chunk events say."""
    pictures = []
    for event in events:
        if event["event"] == "chunk":
            first, count = event["avatar_frames"][0], round(event["duration"] * FPS)
            pictures += [avatar.picture(first + k) for k in range(count)]
    return pictures


def mouth_movement(frames: Frames, avatar: Avatar, pictures: list[int]) -> npt.NDArray[np.float64]:
    """How much each frame's lips differ from its source picture: mean luma difference."""
    moved = []
    for frame, picture in zip(frames, pictures, strict=True):
        lips = avatar.landmarks[picture, 48:68]
        (x1, y1), (x2, y2) = lips.min(0).astype(int) - 4, lips.max(0).astype(int) + 12
        source = avatar.frames[picture]
        moved.append(np.abs(frame[y1:y2, x1:x2].astype(int) - source[y1:y2, x1:x2]).mean())
    return np.array(moved)


def steps(frames: Frames) -> npt.NDArray[np.float64]:
    """What the eye sees move from each frame to the next: mean difference of luma in 8x8 blocks
    (single pixels differ by a level or two wherever the encoder sets a keyframe)."""
    count, rows, width = frames.shape
    luma = frames[:, : rows * 2 // 3].reshape(count, -1, 8, width // 8, 8).mean(axis=(2, 4))
    moved: npt.NDArray[np.float64] = np.abs(np.diff(luma, axis=0)).mean(axis=(1, 2))
    return moved


async def test_a_click_is_seen_within_20_ms_of_when_it_is_heard(
    process_server: ProcessServer, demo: Avatar
) -> None:
    times_s = 0.5 + np.arange(6) * 0.613  # at every place within a frame
    sound = np.zeros(round(4.5 * RATE), np.float32)
    rng = np.random.default_rng(7)
    for time_s in times_s:
        at = round(time_s * RATE)
        sound[at : at + 480] = 0.7 * rng.uniform(-1, 1, 480)
    events, frames, heard = await spoken(process_server, sound)
    moved = mouth_movement(frames, demo, cycle(events, demo))
    is_open = moved > 0.25 * moved.max()
    opened = np.flatnonzero(is_open & ~np.roll(is_open, 1)) / FPS
    loud = np.abs(heard) > 0.2
    clicks = [
        np.flatnonzero(loud[round((t - 0.1) * RATE) : round((t + 0.1) * RATE)])[0] / RATE + t - 0.1
        for t in times_s
    ]
    assert len(opened) == len(clicks)
    assert np.abs(opened - clicks).max() <= 0.0205  # 20 ms, and the codec's own spread


async def test_the_mouth_follows_the_loudness_of_speech(
    process_server: ProcessServer, demo: Avatar
) -> None:
    t = np.arange(6 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 14))
    envelope = np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1) * (
        0.6 + 0.4 * np.sin(2 * np.pi * 0.4 * t)
    )
    sound = (0.3 * np.asarray(voice) * envelope).astype(np.float32)
    events, frames, heard = await spoken(process_server, sound)
    moved = mouth_movement(frames, demo, cycle(events, demo))
    per_frame = RATE // FPS
    loudness = np.sqrt((heard[: len(moved) * per_frame].reshape(-1, per_frame) ** 2).mean(axis=1))
    by_lag = {
        lag: np.corrcoef(np.roll(loudness, lag)[2:-2], moved[2:-2])[0, 1] for lag in range(-5, 6)
    }
    best = max(by_lag, key=lambda lag: by_lag[lag])
    assert abs(best) <= 1
    assert by_lag[best] >= 0.7


async def test_silence_shows_the_source_frames(process_server: ProcessServer, demo: Avatar) -> None:
    events, frames, _ = await spoken(process_server, np.zeros(2 * RATE, np.float32))
    for frame, picture in zip(frames, cycle(events, demo), strict=True):
        error = (frame.astype(float) - demo.frames[picture]) ** 2
        assert 10 * np.log10(255**2 / error.mean()) > 40


async def test_the_seams_are_smaller_than_idle_motion(
    process_server: ProcessServer, demo: Avatar
) -> None:
    sound = np.zeros(RATE, np.float32)
    t = np.arange(RATE // 2) / RATE
    sound[RATE // 4 : RATE * 3 // 4] = 0.3 * np.sin(2 * np.pi * 200 * t)
    events, frames, _ = await spoken(process_server, sound)
    with av.open(str(demo.placeholder), "r") as container:
        pictures = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    idle: Frames = np.stack(pictures)
    allowed = steps(idle).max()
    (started,) = (event for event in events if event["event"] == "started")
    (complete,) = (event for event in events if event["event"] == "complete")
    before, after = idle[started["avatar_frame"] - 1], idle[complete["avatar_frame"]]
    for pair in ((before, frames[0]), (frames[-1], after)):
        assert steps(np.asarray(pair))[0] <= allowed
