"""Files that are there whole or not at all, and room on the disk that stays free."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StorageFailed, StorageFull

log = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ESTALE)
_PROBE, _PROBE_BYTES = ".probe", 64 << 10  # written where files could not be, about a small chunk
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


class Room:
    """Whether a folder takes files, as who wrote or looked last has seen it."""

    def __init__(self, folder: Path, what: str, *, min_free_bytes: int = 0) -> None:
        """what: is kept there, for the log; min_free_bytes: of the disk, which stay free"""
        self._folder = folder
        self._what = what
        self._min_free_bytes = min_free_bytes
        self._trouble: StorageFull | None = None

    def __repr__(self) -> str:
        return f"<Room {self._folder} {self.trouble or 'takes files'}>"

    @property
    def trouble(self) -> str | None:
        """What stands against keeping anything there."""
        return self._trouble.detail if self._trouble else None

    def require(self) -> None:
        """Without a look. Raises StorageFull, StorageFailed."""
        if self._trouble:
            raise _anew(self._trouble)

    @contextmanager
    def taking(self, advice: str = "make room and try again") -> Iterator[None]:
        """Something is written in the block. Raises StorageFull, StorageFailed."""
        try:
            require_free(self._folder, self._min_free_bytes)
            with full_disk_told(advice):
                yield
        except StorageFull as exc:
            self._find(_anew(exc))
            raise

    def look_again(self) -> None:
        """Is there room; and is trouble over? Blocking."""
        was_trouble, probe = self._trouble is not None, self._folder / _PROBE
        try:
            with self.taking():
                if was_trouble:
                    write_whole(probe, bytes(_PROBE_BYTES))
                    self._trouble = None
                    log.info("%s can be kept again", self._what)
        except StorageFull:
            pass  # it has been found
        except OSError as exc:
            self._find(StorageFailed(f"the disk takes nothing ({exc}): try again later"))
        finally:
            if was_trouble:
                with contextlib.suppress(OSError):
                    probe.unlink(missing_ok=True)

    def _find(self, trouble: StorageFull) -> None:
        if self._trouble is None:
            log.error("%s can't be kept in %s: %s", self._what, self._folder, trouble.detail)
        self._trouble = trouble


def _anew(exc: StorageFull) -> StorageFull:
    """Without the frames that it went through, which have what was to be written."""
    return type(exc)(exc.detail)
