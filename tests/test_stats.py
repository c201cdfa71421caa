"""Counters and percentiles."""

import pytest

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
        stats.chunk(made_in_s=made_in_s, frames=50, late=made_in_s > 0.25, now_s=100.0)
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
    stats.chunk(made_in_s=0.1, frames=50, late=False, now_s=100.0)
    assert stats.statistics(now_s=110.5).frames_per_second == 0


def test_typical_first_chunk_is_the_median_of_the_latest() -> None:
    stats = EngineStats()
    assert stats.typical_first_chunk_s(0.1) == 0.1
    for latency_s in (9.0, 9.0, *[0.2] * 9):
        stats.first_chunk(latency_s)
    assert stats.typical_first_chunk_s(0.1) == 0.2
