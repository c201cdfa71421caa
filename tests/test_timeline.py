"""Counting time: borders, ticks and the avatar's cycle."""

from fractions import Fraction

import pytest

from musetalk_stream.timeline import (
    AAC_FRAME,
    EAR_RATE,
    PART_FRAMES,
    CyclePhase,
    aac_frames_before,
    chunk_frames,
    cycle_frame,
    frames_covering,
    frames_ready,
    lips_under,
    output_frame_under,
    output_frames_ready,
    seconds,
    ticks_per_frame,
    ticks_per_second,
)

RATES = [Fraction(text) for text in ("5", "12.5", "15", "23.976", "24", "25", "29.97", "30", "60")]


@pytest.mark.parametrize(
    ("num_samples", "fps", "frames"),
    [
        (1, 25, 1),
        (0, 25, 1),
        (EAR_RATE, 25, 25),
        (EAR_RATE + 1, 25, 26),
        (EAR_RATE - 1, 25, 25),
        (EAR_RATE * 600, 60, 36_000),
        (EAR_RATE // 2, Fraction("12.5"), 7),
    ],
)
def test_frames_cover_all_sound(num_samples: int, fps: Fraction | int, frames: int) -> None:
    assert frames_covering(num_samples, Fraction(fps)) == frames


@pytest.mark.parametrize("fps", RATES)
def test_sound_never_ends_before_the_picture(fps: Fraction) -> None:
    for frame in range(0, 2000, 7):
        heard = Fraction(aac_frames_before(frame, fps) * AAC_FRAME, EAR_RATE)
        assert frame / fps <= heard < frame / fps + Fraction(AAC_FRAME, EAR_RATE)


@pytest.mark.parametrize("fps", [Fraction(15), Fraction(25)])
def test_part_borders_are_exact_to_the_sample(fps: Fraction) -> None:
    for part in range(500):
        frame = part * PART_FRAMES
        assert aac_frames_before(frame, fps) * AAC_FRAME * fps == frame * EAR_RATE


@pytest.mark.parametrize("fps", RATES)
def test_frames_last_whole_ticks_of_a_timescale_that_ffmpeg_keeps(fps: Fraction) -> None:
    assert ticks_per_frame(fps) * fps == ticks_per_second(fps)
    assert 10_000 <= ticks_per_second(fps) < 2**31


@pytest.mark.parametrize(
    ("duration_s", "fps", "frames"),
    [(2, 25, 48), (2, 15, 32), (0.2, 5, 8), (0.2, 60, 16), (10, 60, 600), (10, 25, 248)],
)
def test_full_chunks_are_whole_parts(duration_s: float, fps: int, frames: int) -> None:
    assert chunk_frames(duration_s, Fraction(fps)) == frames


def test_seconds_are_exact_where_floats_are() -> None:
    assert seconds(48, Fraction(25)) == 1.92
    assert seconds(2997, Fraction("29.97")) == 100.0


def test_phase_moves_at_the_avatars_own_rate_and_wraps() -> None:
    phase = CyclePhase(frame=190, at_s=100.0, fps=Fraction(25), cycle_length=200)
    assert phase.frame_at(100.0) == 190
    assert phase.frame_at(100.039) == 190
    assert phase.frame_at(100.041) == 191
    assert phase.frame_at(100.4) == 0
    assert phase.frame_at(100.0 + 8 * 1000) == 190
    assert phase.frame_at(99.0) == 190, "it stands still until its instant"


def test_phase_is_moved_within_the_cycle() -> None:
    phase = CyclePhase(0, 0.0, Fraction(25), 200).moved_to(405, 7.0)
    assert (phase.frame, phase.at_s) == (5, 7.0)


@pytest.mark.parametrize(
    ("fps", "shown"),
    [(25, [7, 8, 9, 10]), (50, [7, 7, 8, 8]), (12.5, [7, 9, 11, 13]), (15, [7, 8, 10, 12])],
)
def test_motion_has_its_natural_speed_at_every_rate(fps: float, shown: list[int]) -> None:
    rate = Fraction(fps)
    assert [cycle_frame(7, frame, rate, Fraction(25)) for frame in range(4)] == shown


PAIRS = [(25, 25), (12.5, 25), (10, 15), (20, 25), (25, 60), (29.97, 60)]


@pytest.mark.parametrize(("fps", "playback_fps"), PAIRS)
def test_output_frames_are_ready_when_the_lips_around_them_are(
    fps: float, playback_fps: float
) -> None:
    lips, output = (Fraction(str(rate)) for rate in (fps, playback_fps))

    def is_ready(frame: int, num_ear: int) -> bool:
        before, share = lips_under(frame, lips, output)
        return before + bool(share) < frames_ready(num_ear, lips)

    for num_ear in range(0, 3 * EAR_RATE, 479):
        ready = output_frames_ready(num_ear, lips, output)
        assert ready == 0 or is_ready(ready - 1, num_ear)
        assert not is_ready(ready, num_ear)


@pytest.mark.parametrize("fps", RATES)
def test_where_rates_are_the_same_lips_are_output_frames(fps: Fraction) -> None:
    for frame in (0, 1, 7, 1000, 100_001):
        assert lips_under(frame, fps, fps) == (frame, 0)
        assert output_frame_under(frame, fps, fps) == frame
        assert output_frames_ready(frame * 480, fps, fps) == frames_ready(frame * 480, fps)


@pytest.mark.parametrize(("fps", "playback_fps"), PAIRS)
def test_a_lips_frame_lies_in_the_output_frame_of_its_instant(
    fps: float, playback_fps: float
) -> None:
    lips, output = (Fraction(str(rate)) for rate in (fps, playback_fps))
    for lips_frame in range(500):
        frame = output_frame_under(lips_frame, lips, output)
        assert frame / output <= lips_frame / lips < (frame + 1) / output
