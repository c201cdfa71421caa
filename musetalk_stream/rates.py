"""How much may each of many ask for? So much at once, and then so much per second."""

import math
from collections import OrderedDict

_MOST_NAMES = 10_000
_NOTHING_S = 1e-6  # by which sums of fractions may be off


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371): of each name there is one number, the instant
    at which all that it may ask for at once is there again.

    per_s    units, of whatever is counted
    at_once  units that a name which has not asked lately gets without waiting

    Names beyond 10,000 push out the one that has asked least lately, which may then begin anew.
    """

    def __init__(self, per_s: float, at_once: float, most_names: int = _MOST_NAMES) -> None:
        self.num_refused = 0
        self._s_per_unit = 1 / per_s
        self.at_once = at_once
        self._most_names = most_names
        self._whole_s: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<RateLimit {1 / self._s_per_unit:g}/s of {len(self._whole_s)}>"

    @property
    def num_names(self) -> int:
        return len(self._whole_s)

    def take(self, name: str, units: float, now_s: float) -> float:
        """Take units; if they are not there, none. Seconds until they are: 0 if they were taken,
        infinite if there are never that many."""
        wait_s = self.wait_s(name, units, now_s)
        if wait_s:
            self.num_refused += 1
        else:
            self._whole_s[name] = self._since(name, now_s) + units * self._s_per_unit
            if len(self._whole_s) > self._most_names:
                self._whole_s.popitem(last=False)
        if name in self._whole_s:
            self._whole_s.move_to_end(name)
        return wait_s

    def use(self, name: str, units: float, now_s: float) -> None:
        """Take units that can't be refused any more, as far as they are there."""
        there = self.at_once - (self._since(name, now_s) - now_s) / self._s_per_unit
        if (units := min(units, there)) > 0:
            self.take(name, units, now_s)

    def wait_s(self, name: str, units: float, now_s: float) -> float:
        """What `take` would say."""
        if units > self.at_once:
            return math.inf
        missing = self._since(name, now_s) - now_s + (units - self.at_once) * self._s_per_unit
        return missing if missing > _NOTHING_S else 0.0

    def _since(self, name: str, now_s: float) -> float:
        return max(self._whole_s.get(name, now_s), now_s)
