"""The whole pipeline: what comes out of a server, looked at frame by frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fakes import (
    EAR_RATE,
    TINY_FRAMES,
    TINY_SIZE,
    NumberRenderer,
    Samples,
    read_marker,
    silence,
    tone,
    wav,
    without_marker,
)
from media import complaints, decoded_luma, decoded_sound, needs_ffmpeg, num_packets, write_all
from servers import Json, Serve, Server

from musetalk_stream.avatar import Avatar, open_avatar

pytestmark = needs_ffmpeg


@pytest.fixture
def avatar(server: Server, avatar_store: Path) -> Avatar:
    """The small avatar as the server has prepared it."""
    return open_avatar(avatar_store / "tiny")


async def speak(
    server: Server, sound: Samples, folder: Path, **options: object
) -> tuple[list[Json], Path]:
    """An utterance: its events, and all its chunks in one file."""
    heard = await server.speak(await server.create(**options), wav(sound))
    assert heard[-1]["event"] == "complete"
    _, whole = write_all(folder, await server.chunks(heard))
    return heard, whole


@pytest.mark.parametrize(
    "options",
    [
        {"fps": 25},
        {"fps": 15},
        {"fps": 12.5, "chunk_duration": 0.2},
        {"fps": 29.97, "chunk_duration": 10},
        {"fps": 60, "batch_size": 64},
        {"fps": 5, "batch_size": 1},
    ],
    ids=str,
)
async def test_every_frame_once_in_order_with_its_own_lips(
    server: Server, avatar: Avatar, options: dict[str, float], tmp_path: Path
) -> None:
    heard, whole = await speak(server, tone(3.0), tmp_path, **options)
    luma = decoded_luma(whole, TINY_SIZE)
    rate = Fraction(str(options["fps"]))
    assert [read_marker(frame) for frame in luma] == list(range(len(luma)))
    assert len(luma) / rate == pytest.approx(heard[-1]["duration"])
    start = heard[0]["avatar_frame"]
    for index, frame in enumerate(luma):
        cycle_frame = start + int(index * 25 / rate)
        source = avatar.frames[avatar.picture(cycle_frame)][:TINY_SIZE]
        assert np.abs(without_marker(frame).astype(int) - without_marker(source)).mean() < 2.5
    chunks = [event for event in heard if event["event"] == "chunk"]
    for chunk in chunks:
        first = round(chunk["start"] * rate)
        last = first + round(chunk["duration"] * rate) - 1
        assert chunk["avatar_frames"] == [
            (start + int(k * 25 / rate)) % TINY_FRAMES for k in (first, last)
        ]


async def test_lips_are_between_frames_of_their_own_when_playback_is_faster(
    server: Server, tmp_path: Path
) -> None:
    heard, whole = await speak(server, tone(2.0), tmp_path, fps=10, playback_fps=25)
    luma = decoded_luma(whole, TINY_SIZE)
    assert (len(luma), heard[0]["fps"], heard[-1]["duration"]) == (50, 25, 2.0)
    assert [read_marker(frame) for frame in luma] == [
        min(round(k * 10 / 25), 19) for k in range(50)
    ]


async def test_in_silence_the_face_is_the_source(
    server: Server, avatar: Avatar, tmp_path: Path
) -> None:
    sound = np.concatenate([silence(0.4), tone(0.4), silence(0.4), tone(0.4)])
    session_id = await server.create()
    heard = await server.speak(session_id, wav(sound), trailing_silence=0.4)
    _, whole = write_all(tmp_path, await server.chunks(heard))
    luma = decoded_luma(whole, TINY_SIZE)
    assert len(luma) == 50
    start = heard[0]["avatar_frame"]
    # A frame at the edge of a tone still hears it ring.
    for frame in [*range(9), *range(21, 29), *range(41, 50)]:
        source = avatar.frames[avatar.picture(start + frame)][:TINY_SIZE]
        assert np.abs(luma[frame].astype(int) - source).mean() < 2.5, frame
    assert [read_marker(luma[frame]) for frame in (10, 19, 30, 39)] == [10, 19, 30, 39]


async def test_nothing_of_it_displeases_ffmpeg(server: Server, tmp_path: Path) -> None:
    heard, whole = await speak(server, tone(4.0), tmp_path)
    chunks = [tmp_path / f"chunk_{index:04d}.mp4" for index in range(heard[-1]["total_chunks"])]
    for path in [*chunks, whole]:
        assert complaints(path) == []
    assert num_packets(whole, "v:0") == 100
    assert len(decoded_sound(whole)) >= 4 * EAR_RATE


async def test_batches_are_never_larger_than_allowed(serve: Serve) -> None:
    renderer = NumberRenderer(delay_s=0.001, batch_sizes=(1, 2, 4, 5, 8))
    server = await serve(renderer, max_batch=5)
    await server.speak(await server.create(batch_size=64), wav(tone(2.0)))
    assert max(renderer.batches) == 5
    assert sum(renderer.batches) == 50
