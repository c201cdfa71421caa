"""Which videos go on from their end to their beginning, and which go back."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from fakes import face_landmarks
from skimage.data import astronaut

from musetalk_stream.avatar import Cycle
from musetalk_stream.prepare.idle import idle
from musetalk_stream.prepare.loop import choose_cycle
from musetalk_stream.prepare.request import Loop
from musetalk_stream.prepare.source import write_source
from musetalk_stream.renderers.musetalk.colour import i420_of

WIDTH, HEIGHT = 160, 120
Frames = npt.NDArray[np.uint8]


def video(
    place: Callable[[int], tuple[float, float]], num_frames: int, noise: float = 1.0
) -> Frames:
    """A soft light that is at `place` (of width and height) in each picture, and noise."""
    random = np.random.default_rng(7)
    x, y = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    frames = np.full((num_frames, HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    for index, frame in enumerate(frames):
        at_x, at_y = place(index)
        light = np.exp(-((x - at_x * WIDTH) ** 2 + (y - at_y * HEIGHT) ** 2) / (2 * 15**2))
        levels = 60 + 150 * light + random.normal(0, noise, light.shape)
        frame[:HEIGHT] = np.clip(levels, 0, 255)
    return frames


def around(turns: float, num_frames: int = 100) -> Callable[[int], tuple[float, float]]:
    def place(index: int) -> tuple[float, float]:
        angle = 2 * np.pi * turns * index / num_frames
        return 0.5 + 0.25 * np.cos(angle), 0.5 + 0.25 * np.sin(angle)

    return place


def test_a_turn_that_closes_goes_on() -> None:
    assert choose_cycle(video(around(1), 100), Loop.AUTO) is Cycle.FORWARD
    assert choose_cycle(video(around(3), 100), Loop.AUTO) is Cycle.FORWARD


@pytest.mark.parametrize("turns", [0.5, 0.9, 1.1, 2.7])
def test_a_turn_that_does_not_close_goes_back(turns: float) -> None:
    assert choose_cycle(video(around(turns), 100), Loop.AUTO) is Cycle.PING_PONG


def test_one_way_goes_back() -> None:
    drifting = video(lambda k: (0.2 + 0.005 * k, 0.5), 100)
    assert choose_cycle(drifting, Loop.AUTO) is Cycle.PING_PONG


def test_what_was_wanted_is_done() -> None:
    frames = video(around(1), 40)
    assert choose_cycle(frames, Loop.PING_PONG) is Cycle.PING_PONG
    drifting = video(lambda k: (0.2 + 0.01 * k, 0.5), 40)
    assert choose_cycle(drifting, Loop.FORWARD) is Cycle.FORWARD


def test_what_stands_still_but_for_noise_goes_on() -> None:
    assert choose_cycle(video(lambda k: (0.5, 0.5), 50, noise=3), Loop.AUTO) is Cycle.FORWARD
    assert choose_cycle(video(lambda k: (0.5, 0.5), 50, noise=0), Loop.AUTO) is Cycle.FORWARD


def test_what_compression_adds_is_no_jump(tmp_path: Path) -> None:
    """Neighbours are made of each other, so they differ less by it than pictures far apart."""
    portrait = np.ascontiguousarray(astronaut()[:256, 96:352, ::-1])
    points = face_landmarks(1, 135)[0] + np.array([59, 43], np.float32)
    pictures = [i420_of(picture) for picture, _ in idle(portrait, points)]
    gentle = [
        np.concatenate([plane.reshape(-1, 256) for plane in (each.luma, each.cb, each.cr)])
        for each in pictures
    ]
    write_source(tmp_path / "source.mp4", gentle, (256, 256), Fraction(25))
    with av.open(str(tmp_path / "source.mp4"), "r") as container:
        coded = np.array([each.to_ndarray() for each in container.decode(video=0)], np.uint8)
    assert choose_cycle(coded, Loop.AUTO) is Cycle.FORWARD
    assert choose_cycle(coded[:50], Loop.AUTO) is Cycle.PING_PONG, "a quarter of it"


def test_lively_moments_excuse_no_jump_in_a_quiet_one() -> None:
    def waves_then_rests(index: int) -> tuple[float, float]:
        waving = 25 <= index < 75
        return 0.5 + 0.02 * (index >= 50) + 0.1 * waving * np.sin(index), 0.5

    assert choose_cycle(video(waves_then_rests, 100, noise=0.5), Loop.AUTO) is Cycle.PING_PONG


def test_pictures_that_are_there_twice_are_no_standstill() -> None:
    doubled = video(lambda k: around(1, 50)(k // 2), 100, noise=0)
    assert choose_cycle(doubled, Loop.AUTO) is Cycle.FORWARD
    halting = video(lambda k: (0.2 + 0.01 * (k // 2), 0.5), 100, noise=0)
    assert choose_cycle(halting, Loop.AUTO) is Cycle.PING_PONG


@pytest.mark.parametrize("num_frames", [1, 2])
def test_one_or_two_pictures(num_frames: int) -> None:
    frames = video(lambda k: (0.2 + 0.5 * k, 0.5), num_frames)
    assert choose_cycle(frames, Loop.AUTO) is Cycle.FORWARD
    assert choose_cycle(frames, Loop.PING_PONG) is Cycle.PING_PONG


def test_few_and_small_pictures() -> None:
    frames = video(lambda k: (0.3 + 0.05 * k, 0.5), 6)
    assert choose_cycle(frames, Loop.AUTO) is Cycle.PING_PONG
    rows = np.arange(0, 240, 40, dtype=np.uint8)[:, None, None]
    assert choose_cycle(np.tile(rows, (1, 3, 2)), Loop.AUTO) is Cycle.PING_PONG
