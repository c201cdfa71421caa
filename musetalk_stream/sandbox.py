"""What may a process still do that opens foreign files? Little, and not for long.

Everything here is for the process that calls it, and can't be taken back.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_IS_LINUX = sys.platform == "linux"
# Options of prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_libc = ctypes.CDLL(None, use_errno=True) if _IS_LINUX else None


def end_with_parent(parent: int) -> None:
    """By the kernel. Only where the parent has one thread: it is that one's end that counts."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def end_first() -> None:
    """By the kernel, where memory runs out: before its server. What it starts likewise."""
    with suppress(OSError):  # this system has nothing of the kind
        Path("/proc/self/oom_score_adj").write_text("1000")


def give_up_privileges() -> None:
    """No more rights by programs that it starts, no memory in a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _libc is not None:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def hide() -> None:
    """Others of the same user can't look into it, nor make it do anything."""
    if _libc is not None:
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_memory(num_bytes: int) -> None:
    """So much more than there is now, of every kind; then MemoryError."""
    if _IS_LINUX:  # elsewhere it counts something else
        _lower(resource.RLIMIT_AS, mapped_bytes() + num_bytes)


def limit_data(num_bytes: int) -> None:
    """So much in all that is neither a file nor shared; of programs that it starts, of each."""
    if _IS_LINUX:
        _lower(resource.RLIMIT_DATA, num_bytes)


def limit_cpu(seconds: int) -> None:
    """Ended by SIGXCPU after so much computing time of its own."""
    _lower(resource.RLIMIT_CPU, seconds, seconds + 1)


def write_nothing() -> None:
    """Into pipes and sockets that are there, not into files."""
    _lower(resource.RLIMIT_FSIZE, 0)


def open_nothing() -> None:
    """No file, no socket, no process (unless it is root's) that is not there already."""
    _lower(resource.RLIMIT_NOFILE, 0)
    _lower(resource.RLIMIT_NPROC, 0)


def mapped_bytes() -> int:
    """The address space that is in use (Linux only)."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(kind)
    limits = (soft, soft if hard is None else hard)
    if most != resource.RLIM_INFINITY:
        limits = (min(limits[0], most), min(limits[1], most))
    with suppress(ValueError):  # this system has no such limit
        resource.setrlimit(kind, limits)
