"""Avatars that rest on one film and speak on another: which picture when, and no jump between."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import make_avatar_folder, silence, tone, wav
from media import decoded_luma, needs_ffmpeg, write_all
from servers import Serve

from musetalk_stream.avatar import open_avatar, read_manifest
from musetalk_stream.config import EncoderConfig
from musetalk_stream.errors import SetupError
from musetalk_stream.prepare import derive

SIZE = 128
IDLE, SPEAKING = 6, 8  # pictures
FADE = 8  # frames at 25 per second


def make_folder(store: Path, *, idle_frames: int = IDLE) -> Path:
    folder = make_avatar_folder(store, "both", num_frames=IDLE + SPEAKING, cycle="ping-pong")
    manifest = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps(manifest | {"idle_frames": idle_frames}))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An avatar whose idle pictures are dark, and those of its speech light."""
    folder = make_folder(tmp_path / "avatars")
    derive(folder, EncoderConfig())
    path = folder / "derived/frames.i420"
    shape = (IDLE + SPEAKING, SIZE * 3 // 2, SIZE)
    planes = np.memmap(path, np.uint8, mode="r+", shape=shape)
    planes[:IDLE, :SIZE] = 60
    planes[IDLE:, :SIZE] = 180
    planes[:, SIZE:] = 128
    planes.flush()
    return tmp_path / "avatars"


def test_the_cycle_is_the_idle_pictures_alone(store: Path) -> None:
    avatar = open_avatar(store / "both")
    assert avatar.manifest.cycle_length == 2 * IDLE - 2
    assert {avatar.picture(frame) for frame in range(100)} == set(range(IDLE))
    with av.open(str(avatar.placeholder)) as film:
        assert sum(1 for _ in film.decode(video=0)) == avatar.manifest.cycle_length


def test_the_pictures_of_speech_go_to_the_end_and_back(store: Path) -> None:
    avatar = open_avatar(store / "both")
    order = [avatar.speaking_picture(frame) - IDLE for frame in range(16)]
    assert order == [0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0, 1]


@pytest.mark.parametrize("idle_frames", [-1, IDLE + SPEAKING, "6"])
def test_some_pictures_must_be_left_for_speech(tmp_path: Path, idle_frames: int) -> None:
    with pytest.raises(SetupError, match="idle_frames"):
        read_manifest(make_folder(tmp_path, idle_frames=idle_frames))


@needs_ffmpeg
async def test_speech_fades_from_the_idle_pictures_and_back(
    serve: Serve, store: Path, tmp_path: Path
) -> None:
    server = await serve(avatars_dir=store, avatar="both")
    sound = np.concatenate([silence(0.2), tone(1.6), silence(0.2)])
    heard = await server.speak(await server.create(), wav(sound))
    assert heard[0]["avatar_frame"] < 2 * IDLE - 2
    _, whole = write_all(tmp_path, await server.chunks(heard))
    light = decoded_luma(whole, SIZE)[:, :40].mean(axis=(1, 2))  # above the marker
    assert len(light) == 50
    assert abs(light[[0, -1]] - 60).max() < 2
    assert abs(light[FADE:-FADE] - 180).max() < 2
    assert np.all(np.diff(light[: FADE + 1]) > 0)
    assert np.all(np.diff(light[-FADE - 1 :]) < 0)
    assert abs(np.diff(light)).max() < 1.6 * 120 / FADE


@needs_ffmpeg
async def test_the_shortest_utterance_stays_with_the_idle_pictures(
    serve: Serve, store: Path, tmp_path: Path
) -> None:
    server = await serve(avatars_dir=store, avatar="both")
    heard = await server.speak(await server.create(), wav(tone(0.04)))
    _, whole = write_all(tmp_path, await server.chunks(heard))
    light = decoded_luma(whole, SIZE)[:, :40].mean(axis=(1, 2))
    assert abs(light - 60).max() < 2
