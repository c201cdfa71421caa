"""How values are spread: how many were at most so large. What a Prometheus histogram is made of."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf


class Distribution:
    """Counts values by the least of the bounds that they do not exceed. For one writing thread;
    who reads meanwhile may miss the latest value."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: ascending; above the last of them is one more place."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def __repr__(self) -> str:
        return f"<Distribution of {self.count}>"

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """For each bound, and for no bound (infinity), how many values do not exceed it."""
        total, found = 0, []
        for bound, count in zip((*self._bounds, inf), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found
