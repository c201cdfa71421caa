"""Sound by its place, however it came and however much of it has been forgotten."""

import numpy as np
import pytest
from fakes import EAR_RATE, as_sound, tone

from musetalk_stream.sound import Sound


@pytest.mark.parametrize("size", [1, 480, 65_535, 65_536, 100_000])
def test_bit_by_bit_is_the_same(size: int) -> None:
    ear = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)[: 300 * size]
    model = ear[::3].copy()
    sound = Sound(is_live=True)
    for place in range(0, len(ear), size):
        sound.add(ear[place : place + size], model[-(-place // 3) : -(-(place + size) // 3)])
    sound.end()
    one = as_sound(ear, model)
    assert (sound.num_ear, sound.num_model) == (one.num_ear, one.num_model)
    for start, stop in ((0, len(ear)), (-50, 100), (len(ear) - 10, len(ear) + 10), (5, 5)):
        assert np.array_equal(sound.heard(start, stop), one.heard(start, stop))
        assert np.array_equal(sound.listened(start, stop), one.listened(start, stop))


def test_what_nobody_asks_for_is_forgotten() -> None:
    sound = Sound(is_live=True)
    second = tone(1.0)
    for number in range(120):
        sound.add(second, second[::3].copy())
        sound.forget_before(number - 10)
        assert sound.kept_s < 16
    assert sound.num_ear == 120 * EAR_RATE
    assert np.array_equal(sound.heard(118 * EAR_RATE, 119 * EAR_RATE), second)
    assert not sound.heard(0, EAR_RATE).any()


def test_the_lengths_fit_at_the_end() -> None:
    for num_model in (330, 334, 340):
        sound = Sound(is_live=True)
        sound.add(np.ones(1000, np.float32), np.ones(num_model, np.float32))
        sound.end()
        assert sound.num_model == 334
        assert not sound.listened(334, 400).any()
        assert len(sound.listened(300, 400)) == 100


@pytest.mark.parametrize("num_model", [1, 2, 10, 50, 100, 159, 160, 161, 200])
def test_the_shortest_pause_does_not_click(num_model: int) -> None:
    whole = tone(1.0)
    sound = Sound(is_live=True)
    for place in (0, 20_001):
        if place:
            assert sound.pause(num_model) == max(num_model, 160)
        ear = whole[place : 20_001 if not place else None]
        sound.add(ear, ear[::3].copy())
    sound.end()
    assert np.abs(np.diff(sound.heard(0, sound.num_ear))).max() <= np.abs(np.diff(whole)).max()
    assert sound.num_ear == EAR_RATE + 3 * max(num_model, 160)
