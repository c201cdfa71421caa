"""How many files and connections may this process have open at once?"""

import contextlib
import resource


def raise_the_limit() -> int:
    """As many as the system lets us have: each event stream is one. How many that is.

    Systems keep the limit low (1024) for programs that use `select`, which this one does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what it says is possible
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
