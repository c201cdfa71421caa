"""What the engine has done: percentiles of late for `/sessions/stats`, all of it for `/metrics`."""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from .distribution import Distribution
from .laps import STAGES, Laps

_WINDOW = 1024  # chunks that the percentiles look back on
_RATE_WINDOW_S = 10.0
# Seconds. A first chunk takes 0.05 of them; who waits for a turn may wait for minutes.
_SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_S = (0.001, 0.0025, *_SHORT_S)
_LONG_S = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Of what is in time, which most of it should be, all is in the first place.
_LATE_S = (0, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


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
    """Counts for all utterances of this server. Seconds, where nothing else is said.

    failures        utterances that failed, by the error's code
    queue_wait      of an utterance with sound, until its turn had come
    to_first_chunk  from when it could be spoken to its first chunk announced
    stages          of making a chunk, by stage
    lateness        of chunks after the first: by how much viewers had to wait for one
    first_frame     from the upload to a painted frame, as players say
    stalls          as players say, and how long they were together (stalled_s)
    reconnects      subscribers that came back; resets: those for whom it was too late
    """

    def __init__(self) -> None:
        self.utterances = 0
        self.completed = 0
        self.failed = 0
        self.cancelled = 0
        self.chunks = 0
        self.late_chunks = 0
        self.frames = 0
        self.failures: Counter[str] = Counter()
        self.queue_wait = Distribution(_LONG_S)
        self.to_first_chunk = Distribution(_SHORT_S)
        self.stages = {stage: Distribution(_STAGE_S) for stage in STAGES}
        self.lateness = Distribution(_LATE_S)
        self.first_frame = Distribution(_SHORT_S)
        self.stalls = 0
        self.stalled_s = 0.0
        self.reconnects = 0
        self.resets = 0
        self._first_s: deque[float] = deque(maxlen=_WINDOW)
        self._painted_s: deque[float] = deque(maxlen=_WINDOW)
        self._making_s: deque[float] = deque(maxlen=_WINDOW)
        self._frames: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def first_chunk(self, latency_s: float) -> None:
        self._first_s.append(latency_s)
        self.to_first_chunk.observe(latency_s)

    def first_painted(self, latency_s: float) -> None:
        self._painted_s.append(latency_s)

    def fail(self, code: str) -> None:
        self.failed += 1
        self.failures[code] += 1

    def stalled(self, seconds: float) -> None:
        """A player had nothing to show for so long."""
        self.stalls += 1
        self.stalled_s += seconds

    def chunk(
        self, *, made_in_s: float, laps: Laps, frames: int, late_s: float | None, now_s: float
    ) -> None:
        """late_s: how long after the instant at which viewers needed it, negative before; None of
        one for which nobody waits"""
        self.chunks += 1
        self.frames += frames
        if late_s is not None:
            self.late_chunks += late_s > 0
            self.lateness.observe(max(0.0, late_s))
        for stage, spread in self.stages.items():
            spread.observe(laps.seconds(stage))
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
