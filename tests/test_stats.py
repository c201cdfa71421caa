"""Counters and percentiles."""

import math

import pytest

from musetalk_stream.distribution import Distribution
from musetalk_stream.laps import Laps
from musetalk_stream.stats import EngineStats, percentile


@pytest.mark.parametrize(
    ("values", "share", "result"),
    [
        ([5.0], 0.5, 5.0),
        ([5.0], 0.95, 5.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
        ([1.0, 2.0], 0.0, 1.0),
    ],
)
def test_nearest_rank(values: list[float], share: float, result: float) -> None:
    assert percentile(values, share) == result


def test_before_anything_happened() -> None:
    figures = EngineStats().statistics(now_s=0.0)
    assert figures.frames_per_second == 0
    assert figures.first_chunk_p50_ms is figures.chunk_p95_ms is None
    assert figures.first_painted_p50_ms is None


def test_what_happened_is_counted() -> None:
    stats = EngineStats()
    for made_in_s in (0.1, 0.2, 0.3):
        late_s = made_in_s - 0.25
        stats.chunk(made_in_s=made_in_s, laps=Laps(), frames=50, late_s=late_s, now_s=100.0)
    stats.first_chunk(0.08)
    stats.first_painted(0.21)
    figures = stats.statistics(now_s=101.0)
    assert (figures.chunks, figures.late_chunks) == (3, 1)
    assert (figures.chunk_p50_ms, figures.chunk_p95_ms) == (200.0, 300.0)
    assert figures.first_chunk_p50_ms == 80.0
    assert figures.first_painted_p50_ms == figures.first_painted_p95_ms == 210.0
    assert figures.frames_per_second == 15.0


def test_the_rate_forgets() -> None:
    stats = EngineStats()
    stats.chunk(made_in_s=0.1, laps=Laps(), frames=50, late_s=None, now_s=100.0)
    assert stats.statistics(now_s=110.5).frames_per_second == 0


def test_typical_first_chunk_is_the_median_of_the_latest() -> None:
    stats = EngineStats()
    assert stats.typical_first_chunk_s(0.1) == 0.1
    for latency_s in (9.0, 9.0, *[0.2] * 9):
        stats.first_chunk(latency_s)
    assert stats.typical_first_chunk_s(0.1) == 0.2


def test_a_distribution_counts_what_does_not_exceed_its_bounds() -> None:
    spread = Distribution([0, 1, 5])
    for value in (0, 0.5, 1, 3, 100):
        spread.observe(value)
    assert spread.cumulative() == [(0, 1), (1, 3), (5, 4), (math.inf, 5)]
    assert (spread.count, spread.sum) == (5, 104.5)


def test_laps_are_added_up_by_stage() -> None:
    laps = Laps()
    for stage in ("render", "encode", "render"):
        with laps.timed(stage):
            pass
    assert [lap.stage for lap in laps.passed] == ["render", "encode", "render"]
    first, _, third = laps.passed
    both_s = first.ended_s - first.began_s + third.ended_s - third.began_s
    assert laps.seconds("render") == pytest.approx(both_s)
    assert laps.seconds("store") == 0


def test_only_what_viewers_wait_for_can_be_late() -> None:
    stats = EngineStats()
    for late_s in (None, -2.0, 0.3):
        stats.chunk(made_in_s=0.1, laps=Laps(), frames=8, late_s=late_s, now_s=0.0)
    assert (stats.late_chunks, stats.lateness.count) == (1, 2)
    assert stats.lateness.sum == pytest.approx(0.3)
    assert stats.lateness.cumulative()[0] == (0, 1), "what is early is in time"
