"""Where the time of a chunk goes: render, encode, mux, store."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STAGES = ("render", "encode", "mux", "store")


@dataclass(frozen=True, slots=True)
class Lap:
    """One pass of a stage. Instants are of the monotonic clock; waiting for a thread, or for a
    place in a batch, is part of it."""

    stage: str
    began_s: float
    ended_s: float


class Laps:
    """What one chunk has gone through, in order: render and encode once for each of its parts."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed: list[Lap] = []

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """A lap, unless it fails: then there is no chunk."""
        began_s = time.monotonic()
        yield
        self.passed.append(Lap(stage, began_s, time.monotonic()))

    def seconds(self, stage: str) -> float:
        return sum(lap.ended_s - lap.began_s for lap in self.passed if lap.stage == stage)
