"""What the engine has done lately: counters and percentiles for `/sessions/stats`."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_WINDOW = 1024  # chunks that the percentiles look back on
_RATE_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """`first_chunk_*`: from when an utterance could be spoken (decoded, or a first part of it is
    there; and nothing before it) to its first chunk announced; `first_painted_*`: to its first
    frame on a screen, as players say; `chunk_*`: making one chunk."""

    utterances: int
    failed: int
    cancelled: int
    chunks: int
    late_chunks: int
    frames_per_second: float
    first_chunk_p50_ms: float | None
    first_chunk_p95_ms: float | None
    first_painted_p50_ms: float | None
    first_painted_p95_ms: float | None
    chunk_p50_ms: float | None
    chunk_p95_ms: float | None


class EngineStats:
    """Counts for all utterances of this server."""

    def __init__(self) -> None:
        self.utterances = 0
        self.failed = 0
        self.cancelled = 0
        self.chunks = 0
        self.late_chunks = 0
        self._first_s: deque[float] = deque(maxlen=_WINDOW)
        self._painted_s: deque[float] = deque(maxlen=_WINDOW)
        self._making_s: deque[float] = deque(maxlen=_WINDOW)
        self._frames: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def first_chunk(self, latency_s: float) -> None:
        self._first_s.append(latency_s)

    def first_painted(self, latency_s: float) -> None:
        self._painted_s.append(latency_s)

    def chunk(self, *, made_in_s: float, frames: int, late: bool, now_s: float) -> None:
        self.chunks += 1
        self.late_chunks += late
        self._making_s.append(made_in_s)
        self._frames.append((now_s, frames))

    def typical_first_chunk_s(self, default: float) -> float:
        """The median of the latest first chunks; `default` before there was one."""
        latest = list(self._first_s)[-9:]
        return percentile(latest, 0.5) if latest else default

    def statistics(self, now_s: float) -> EngineStatistics:
        recent = sum(n for at, n in self._frames if now_s - at <= _RATE_WINDOW_S)
        return EngineStatistics(
            utterances=self.utterances,
            failed=self.failed,
            cancelled=self.cancelled,
            chunks=self.chunks,
            late_chunks=self.late_chunks,
            frames_per_second=recent / _RATE_WINDOW_S,
            first_chunk_p50_ms=_ms(self._first_s, 0.5),
            first_chunk_p95_ms=_ms(self._first_s, 0.95),
            first_painted_p50_ms=_ms(self._painted_s, 0.5),
            first_painted_p95_ms=_ms(self._painted_s, 0.95),
            chunk_p50_ms=_ms(self._making_s, 0.5),
            chunk_p95_ms=_ms(self._making_s, 0.95),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _ms(values: Sequence[float], share: float) -> float | None:
    return round(percentile(values, share) * 1000, 1) if values else None
