"""Files that are there whole or not at all, and room on the disk that stays free."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StorageFailed, StorageFull

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ESTALE)
PART = ".part"  # the end of the name of what is not whole yet


def write_whole(path: Path, body: bytes, *, mode: int = 0o644) -> None:
    """All of the file or none of it: a reader never meets half of one. Its folder is made if need
    be. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PART)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            partial.unlink(missing_ok=True)
        raise


def require_free(folder: Path, min_free_bytes: int) -> None:
    """One system call. Raises StorageFull where less than that is free on the disk of a folder, or
    of the nearest one above it that is there."""
    if not min_free_bytes:
        return
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < min_free_bytes:
        raise StorageFull(
            f"the disk has {free // 10**6} MB free and {min_free_bytes // 10**6} MB stay free "
            "(min_free_mb): make room and try again"
        )


@contextmanager
def full_disk_told(advice: str = "make room and try again") -> Iterator[None]:
    """Raises StorageFull where OSError says that there is no room, and StorageFailed where it says
    that the disk does not take anything."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_ROOM:
            raise StorageFull(f"the disk is full: {advice}") from exc
        if exc.errno in _BROKEN:
            told = os.strerror(exc.errno or 0).lower()
            raise StorageFailed(f"the disk takes nothing ({told}): try again later") from exc
        raise
