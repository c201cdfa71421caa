"""Is this the only server on a store? Only then is what it finds in the making left behind."""

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from ..prepare.work import PREPARING

log = logging.getLogger(__name__)

_LOCK = ".server"  # beside the works, and no name of one; it stays when the server ends


@asynccontextmanager
async def served(store: Path) -> AsyncIterator[tuple[bool, Callable[[], None]]]:
    """Every server holds the lock of its store while this block runs. The kernel lets go for one
    that is killed.

    Yields whether there is no other server, and what to call once others may come: they wait until
    then, so call it soon.
    """
    try:
        lock, is_alone = await asyncio.to_thread(_hold, store / PREPARING)
    except OSError as exc:
        log.warning("jobs that were left in %s rest, as it can't be held: %s", store, exc)
        yield False, lambda: None
        return
    with lock:
        if not is_alone:
            log.warning("jobs that were left in %s rest: another server is there", store)
        yield is_alone, lambda: fcntl.flock(lock, fcntl.LOCK_SH)


def _hold(folder: Path) -> tuple[BinaryIO, bool]:
    """Whether nobody else does. Raises OSError."""
    lock = _open(folder)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
            return lock, False
    except OSError:
        lock.close()
        raise
    return lock, True


def _open(folder: Path) -> BinaryIO:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return (folder / _LOCK).open("ab")
        except FileNotFoundError:  # who was the last in the folder has just removed it
            continue
