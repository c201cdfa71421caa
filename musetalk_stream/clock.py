"""What time is it? Wall time that does not jump."""

import time
from collections.abc import Callable

Clock = Callable[[], float]

# Goes on while the machine sleeps, where there is such a clock.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_clock() -> Clock:
    """Seconds since 1970 as the wall clock said it now, and as time has passed since: whoever sets
    the clock of the machine neither ends nor revives what expires while a server runs."""
    began_s = time.time() - time.clock_gettime(_STEADY)
    return lambda: began_s + time.clock_gettime(_STEADY)
