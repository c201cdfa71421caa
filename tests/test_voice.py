"""Voice is told from silence, and how the sound is split makes no difference."""

import numpy as np
import numpy.typing as npt
import pytest
from fakes import silence, speech_like

from musetalk_stream.timeline import MODEL_RATE
from musetalk_stream.voice import CELL, VoiceActivity

Floats = npt.NDArray[np.float32]


def heard(samples: Floats, *sizes: int) -> npt.NDArray[np.bool_]:
    """Voice per cell, fed in pieces of these sizes, in turn."""
    activity, found, place, turn = VoiceActivity(), [], 0, 0
    while place < len(samples):
        size = sizes[turn % len(sizes)] if sizes else len(samples)
        found.append(activity.feed(samples[place : place + size]))
        place, turn = place + size, turn + 1
    return np.concatenate(found) if found else np.zeros(0, np.bool_)


def test_one_answer_per_whole_cell() -> None:
    activity = VoiceActivity()
    assert activity.feed(np.zeros(0, np.float32)).shape == (0,)
    assert activity.feed(np.zeros(CELL - 1, np.float32)).shape == (0,)
    assert activity.feed(np.zeros(1, np.float32)).shape == (1,)
    assert activity.feed(np.zeros(3 * CELL + 5, np.float32)).shape == (3,)
    assert activity.feed(np.zeros(CELL - 5, np.float32)).dtype == np.bool_


@pytest.mark.parametrize("sizes", [(1,), (159, 161), (7, 4000, 320), (16_000,)], ids=str)
def test_how_it_is_split_makes_no_difference(sizes: tuple[int, ...]) -> None:
    samples = speech_like(2, MODEL_RATE)
    assert np.array_equal(heard(samples, *sizes), heard(samples))


def test_what_follows_changes_nothing() -> None:
    samples = speech_like(3, MODEL_RATE)
    changed = samples.copy()
    changed[2 * MODEL_RATE :] = 0.3
    assert np.array_equal(heard(samples)[:200], heard(changed)[:200])


def test_silence_is_no_voice() -> None:
    assert not heard(silence(2, MODEL_RATE)).any()
    assert not heard(np.full(MODEL_RATE, 0.4, np.float32)).any()  # an offset
    breath = 0.0009 * np.random.default_rng(1).standard_normal(MODEL_RATE)
    assert not heard(breath.astype(np.float32)).any()


def test_speech_is_voice() -> None:
    found = heard(np.concatenate([silence(1, MODEL_RATE), speech_like(3, MODEL_RATE)]))
    assert not found[:100].any()
    assert found[100:].mean() > 0.3  # it pauses, too


def test_what_is_too_loud_is_still_sound() -> None:
    samples = speech_like(2, MODEL_RATE)
    assert heard(samples * 20).mean() > 0.3
