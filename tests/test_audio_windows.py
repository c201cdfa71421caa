"""A frame is conditioned by the features around its instant, however and in whatever order they
are asked for, and long speech has no borders inside."""

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from fakes import any_sizes, arriving, model_sound

from musetalk_stream.renderers.musetalk.features import (
    LAYERS,
    SEGMENT_ROWS,
    SEGMENT_SAMPLES,
    WIDTH,
    SpeechFeatures,
)
from musetalk_stream.renderers.musetalk.windows import (
    NO_ROW,
    count_reference_frames,
    count_rows,
    gather,
    window_rows,
)
from musetalk_stream.sound import Sound
from musetalk_stream.timeline import MODEL_RATE, frames_ready, model_samples_needed

Floats = npt.NDArray[np.float32]

NTSC = Fraction(30000, 1001)
RATES = [Fraction(5), Fraction(25, 2), Fraction(24), Fraction(25), NTSC, Fraction(60)]


class Ear:
    """Features that tell what was heard: sound of the row, place in the segment, whole segment."""

    def __init__(self) -> None:
        self.heard: list[Floats] = []

    def __call__(self, samples: Floats) -> Floats:
        assert samples.shape == (SEGMENT_SAMPLES,)
        assert samples.dtype == np.float32
        self.heard.append(samples)
        loudness = np.abs(samples.reshape(SEGMENT_ROWS, -1)).mean(axis=1)
        place = np.arange(SEGMENT_ROWS) / SEGMENT_ROWS
        layers = np.stack([loudness, place, place + loudness.mean(), loudness**2, -place], axis=1)
        return np.asarray(layers[:, :, None] + np.linspace(0, 1, WIDTH), np.float32)


def noise(seconds: float, seed: int = 0) -> Floats:
    sound = np.random.default_rng(seed).standard_normal(round(seconds * MODEL_RATE))
    return (0.1 * sound).astype(np.float32)


# --- which rows


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_windows_begin_four_rows_before_the_frame(fps: Fraction) -> None:
    """After two hours, too: in fractions, without a rounding error."""
    frames = np.append(np.arange(4000), int(7200 * fps) + np.arange(4000))
    rows = window_rows(frames, fps, 10**7)
    for frame, row in zip(frames.tolist(), rows.tolist(), strict=True):
        start = (frame * 50 * fps.denominator) // fps.numerator - 4
        assert row == [each if each >= 0 else NO_ROW for each in range(start, start + 10)]
        if start >= 0:
            assert Fraction(row[4], 50) <= frame / fps < Fraction(row[5], 50)


def test_rows_beyond_the_sound_are_none() -> None:
    rows = window_rows(range(0, 10), Fraction(25), 12)
    assert rows.dtype == np.int32
    assert rows[0].tolist() == [-1, -1, -1, -1, 0, 1, 2, 3, 4, 5]
    assert rows[5].tolist() == [6, 7, 8, 9, 10, 11, -1, -1, -1, -1]
    assert (rows[8] == NO_ROW).all()
    assert (window_rows(range(3), Fraction(25), 0) == NO_ROW).all()
    assert window_rows(range(0), Fraction(25), 12).shape == (0, 10)


def test_whole_rows_are_counted_exactly() -> None:
    assert [count_rows(n) for n in (0, 319, 320, 9279, 9280, 480_000)] == [0, 0, 1, 28, 29, 1500]
    assert count_rows(9280, reference=True) == 28  # 0.58 * 50 is 28.999… in floating point


@pytest.mark.parametrize("fps", range(25, 50))
def test_the_official_windows_are_ours_from_25_to_49(fps: int) -> None:
    frames = np.arange(count_reference_frames(60 * MODEL_RATE, Fraction(fps)))
    ours = window_rows(frames, Fraction(fps), 3000)
    official = window_rows(frames, Fraction(fps), 3000, reference=True)
    differing = np.flatnonzero((ours != official).any(axis=1))
    if fps not in (29, 31):
        assert not differing.size
    # Where a frame begins with a row, 50 / fps in floating point may fall just short of it.
    assert not (differing * 50 % fps).any()
    assert differing.size < len(frames) / 100


@pytest.mark.parametrize(
    ("fps", "first"),
    [("25", 16), ("30", 12), ("24", 14), ("20", 19), ("15", 25), ("12.5", 31), ("29.97", 13)],
)
def test_official_windows_of_frame_ten(fps: str, first: int) -> None:
    rows = window_rows([10], Fraction(fps), 1000, reference=True)
    assert rows[0].tolist() == list(range(first, first + 10))


def test_where_the_official_code_gives_up_so_do_its_windows() -> None:
    for fps in (50, 60):
        frames = range(count_reference_frames(2 * MODEL_RATE, Fraction(fps)))
        with pytest.raises(ValueError, match=f"gives up at {fps} fps"):
            window_rows(frames, Fraction(fps), 100, reference=True)
    with pytest.raises(ValueError, match="3 rows"):  # padding is no longer than the sound
        window_rows([0], Fraction(25), 3, reference=True)
    with pytest.raises(ValueError, match="less than 1 fps"):
        window_rows([0], Fraction(1, 2), 100, reference=True)


def test_official_padding_is_no_longer_than_the_sound() -> None:
    """At 12 fps ten rows of zeros would go before five rows of sound; there are five."""
    rows = window_rows([0], Fraction(12), 5, reference=True)
    assert rows[0].tolist() == [-1, -1, -1, -1, -1, 0, 1, 2, 3, 4]


def test_tokens_are_row_by_row_and_layer_by_layer() -> None:
    features = np.random.default_rng(0).standard_normal((30, LAYERS, WIDTH)).astype(np.float32)
    rows = window_rows(range(12), Fraction(25), 30)
    windows = gather(features, rows)
    assert windows.shape == (12, 50, WIDTH)
    assert windows.dtype == np.float32
    assert np.array_equal(windows[5, 3 * LAYERS + 2], features[9, 2])
    assert not windows[0, : 4 * LAYERS].any()
    assert windows[0, 4 * LAYERS :].all()
    assert gather(features, rows[:0]).shape == (0, 50, WIDTH)


# --- features of a whole utterance


@pytest.mark.parametrize("seconds", [4.01, 29.99, 30.0])
def test_up_to_30_seconds_are_one_segment_padded_with_silence(seconds: float) -> None:
    samples, ear = noise(seconds), Ear()
    features = SpeechFeatures(model_sound(samples), ear)
    found = features.rows(0, features.num_rows)
    assert found.shape == (int(seconds * 50), LAYERS, WIDTH)
    assert np.array_equal(ear.heard[0][: samples.size], samples)
    assert not ear.heard[0][samples.size :].any()
    assert np.array_equal(found, Ear()(ear.heard[0])[: len(found)])
    features.rows(3, 90)
    assert len(ear.heard) == 1


def test_nothing_is_encoded_before_it_is_needed() -> None:
    ear = Ear()
    features = SpeechFeatures(model_sound(noise(80)), ear)
    assert not ear.heard
    features.rows(0, 1340)
    assert len(ear.heard) == 1
    features.rows(1340, 1360)  # the fade into the second segment begins at 1350
    assert len(ear.heard) == 2
    assert "80.0 s, segments [0, 1]" in repr(features)


def test_where_there_are_no_rows_nothing_is_encoded() -> None:
    for samples in (noise(0), noise(0.019), noise(1)):
        ear = Ear()
        features = SpeechFeatures(model_sound(samples), ear)
        past = window_rows(range(100, 103), Fraction(25), features.num_rows)
        assert not features.windows(past).any()
        assert features.windows(past).shape == (3, 50, WIDTH)
        assert not ear.heard


def test_frames_in_order_encode_every_segment_once() -> None:
    ear = Ear()
    features = SpeechFeatures(model_sound(noise(100)), ear)
    for first in range(0, 2500, 8):
        features.windows(window_rows(range(first, first + 8), Fraction(25), features.num_rows))
    assert len(ear.heard) == 4  # from 0, 26, 52 and 78 s on
    for number, heard in enumerate(ear.heard):
        begin = number * 26 * MODEL_RATE
        expected = noise(100)[begin : begin + SEGMENT_SAMPLES]
        assert np.array_equal(heard[: expected.size], expected)


@pytest.mark.parametrize("seconds", [29.99, 30.0, 30.01, 56.0, 56.02, 70.3])
def test_piecewise_in_any_order_is_whole(seconds: float) -> None:
    samples = noise(seconds)
    whole = SpeechFeatures(model_sound(samples), Ear())
    every = whole.rows(0, whole.num_rows)
    features = SpeechFeatures(model_sound(samples), Ear())
    for first in np.random.default_rng(1).permutation(np.arange(0, whole.num_rows, 150)):
        last = min(first + 150, whole.num_rows)
        assert np.array_equal(features.rows(int(first), int(last)), every[first:last])


@pytest.mark.parametrize("fps", [Fraction(60), NTSC, Fraction(25, 2), Fraction(5)], ids=str)
def test_windows_of_48_seconds_at_any_rate(fps: Fraction) -> None:
    samples = noise(48)
    features = SpeechFeatures(model_sound(samples), Ear())
    every = features.rows(0, features.num_rows)
    count = int(48 * fps)
    rows = window_rows(range(count), fps, features.num_rows)
    for first in range(0, count, 8):
        part = rows[first : first + 8]
        assert np.array_equal(features.windows(part), gather(every, part))
    assert features.num_rows == 2400


def test_the_share_of_both_segments_is_one_in_all_rows() -> None:
    def constant(samples: Floats) -> Floats:
        return np.ones((SEGMENT_ROWS, LAYERS, WIDTH), np.float32)

    features = SpeechFeatures(model_sound(noise(90)), constant)
    np.testing.assert_allclose(features.rows(0, 4500), 1, rtol=0, atol=1e-6)


def test_reference_segments_are_put_end_to_end() -> None:
    samples, ear = noise(65), Ear()
    features = SpeechFeatures(model_sound(samples), ear, reference=True)
    found = features.rows(0, features.num_rows)
    assert len(ear.heard) == 3
    joined = np.concatenate([Ear()(heard) for heard in ear.heard])
    assert np.array_equal(found, joined[: 65 * 50])


def test_features_of_another_shape_are_refused() -> None:
    features = SpeechFeatures(
        model_sound(noise(1)), lambda samples: np.zeros((10, 5, 384), np.float32)
    )
    with pytest.raises(AssertionError, match=r"\(10, 5, 384\)"):
        features.rows(0, 10)
    with pytest.raises(AssertionError, match="60 rows"):
        SpeechFeatures(model_sound(noise(1.2)), Ear()).rows(50, 61)


# --- features of sound that is still arriving


def in_parts(samples: Floats, ear: Callable[[Floats], Floats], sizes: Iterator[int]) -> Floats:
    """The windows of all frames at 25 fps, eight at a time, each part as soon as it can be made."""
    fps, found, features = Fraction(25), [], None
    first, num_frames = 0, samples.size * 25 // MODEL_RATE
    for sound in arriving(samples, sizes):
        features = features or SpeechFeatures(sound, ear)
        ready = num_frames if sound.has_ended else frames_ready(sound.num_ear, fps)
        while first < num_frames and (ready >= first + 8 or sound.has_ended):
            count = min(8, num_frames - first)
            upto = min(sound.num_model, model_samples_needed(first + count, fps))
            rows = window_rows(range(first, first + count), fps, count_rows(upto))
            found.append(features.windows(rows, upto=upto))
            first += count
    return np.concatenate(found)


def test_what_is_made_of_arriving_sound_does_not_depend_on_how_fast_it_came() -> None:
    samples = noise(4)
    at_once = in_parts(samples, Ear(), itertools.repeat(samples.size))
    for seed in range(3):
        assert np.array_equal(in_parts(samples, Ear(), any_sizes(seed)), at_once)


def test_nothing_is_heard_beyond_what_a_part_may_depend_on() -> None:
    samples, ear = noise(2), Ear()
    in_parts(samples, ear, itertools.repeat(samples.size))
    assert len(ear.heard) == 6  # of 7 parts, as the last two hear all of it
    for part, heard in enumerate(ear.heard[:5], 1):
        upto = min(samples.size, model_samples_needed(8 * part, Fraction(25)))
        assert np.array_equal(heard[:upto], samples[:upto])
        assert not heard[upto:].any()


def test_long_arriving_speech_costs_no_more_per_part() -> None:
    """One segment, and for 3 s of 26 another one that it fades to."""
    seconds, ear = 60, Ear()
    in_parts(noise(seconds), ear, itertools.repeat(MODEL_RATE))
    num_parts = math.ceil(seconds * 25 / 8)
    assert num_parts < len(ear.heard) < num_parts * 1.15


def test_features_of_arriving_speech_have_no_borders() -> None:
    """Where rows tell only their own sound, those of the segments are the same."""

    def row_by_row(samples: Floats) -> Floats:
        loudness = np.abs(samples.reshape(SEGMENT_ROWS, -1)).mean(axis=1)
        return np.broadcast_to(loudness[:, None, None], (SEGMENT_ROWS, LAYERS, WIDTH))

    samples = noise(60)
    every = SpeechFeatures(model_sound(samples), row_by_row)
    whole = every.windows(window_rows(range(60 * 25), Fraction(25), every.num_rows))
    found = in_parts(samples, row_by_row, itertools.repeat(MODEL_RATE))
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)


def test_what_has_been_spoken_may_be_forgotten() -> None:
    samples, ear, heard = noise(70), Ear(), Ear()
    whole = SpeechFeatures(model_sound(samples), heard)
    whole.rows(0, whole.num_rows)
    sound = Sound(is_live=True)
    features = SpeechFeatures(sound, ear)
    for place in range(0, samples.size, MODEL_RATE):
        sound.add(np.zeros(3 * MODEL_RATE, np.float32), samples[place : place + MODEL_RATE])
        last = count_rows(sound.num_model)
        features.rows(max(0, last - 60), last)
        sound.forget_before(sound.duration_s - 40)
    complete = [each for each in ear.heard if each[-MODEL_RATE:].any()]
    assert np.array_equal(complete[0], heard.heard[0])
    assert np.array_equal(complete[-1], heard.heard[1])
