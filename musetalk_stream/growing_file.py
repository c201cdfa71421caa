"""A file that is still being written: by one who receives it, for one who reads it."""

import asyncio
import tempfile
import threading
from typing import BinaryIO, Self, TypeVar, cast

from .errors import MuseTalkStreamError

# Most utterances stay below this and never touch the disk.
_IN_MEMORY_BYTES = 4 << 20
_EVERYTHING = 1 << 62

E = TypeVar("E", bound=BaseException)


class GrowingFile:
    """Made and written on an event loop; read by one thread. Its bytes go when the block ends.

    What came can be read again: the file is kept whole, in memory or, if it is long, on the disk.

    size  bytes so far
    """

    def __init__(self) -> None:
        self.size = 0
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (closed by __exit__)
        self._read = 0
        self._has_ended = False
        self._broken_off: MuseTalkStreamError | None = None
        self._refused: BaseException | None = None
        self._changed = threading.Condition()
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._refused = self._refused or ValueError("the file is closed")
            self._has_ended = True
            self._spool.close()
            self._changed.notify_all()

    def __repr__(self) -> str:
        return f"<GrowingFile {self.size} bytes{'' if self._has_ended else ', arriving'}>"

    # --- who writes, on the event loop

    async def write(self, data: bytes) -> None:
        """Raises what `refuse` was told, once nobody wants the file any more."""
        if self.size + len(data) > _IN_MEMORY_BYTES:  # a write to the disk may block
            await asyncio.to_thread(self._append, data)
        else:
            self._append(data)
        self._tell()

    def _append(self, data: bytes) -> None:
        with self._changed:
            self.raise_if_refused()
            assert not self._has_ended, "a file was written after its end"
            self._spool.seek(self.size)
            self._spool.write(data)
            self.size += len(data)
            self._changed.notify_all()

    def finish(self) -> None:
        """That was all."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        self._tell()

    def abort(self, error: MuseTalkStreamError) -> None:
        """No more comes, though it should have: who reads gets what is there, and is told why."""
        if not self._has_ended:
            self._broken_off = anew(error)
            self.finish()

    # --- who reads

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    @property
    def broken_off(self) -> MuseTalkStreamError | None:
        """Why it ended before its end; None while it has not, or if it is whole."""
        return self._broken_off

    async def beginning(self, size: int) -> bytes:
        """The first bytes; fewer if there are no more. Raises what `refuse` was told."""
        await self._until(size)
        return self.read_at(0, min(size, self.size))

    async def whole(self) -> BinaryIO:
        """All of it, from its beginning, once all has come. Raises why that will not be."""
        await self._until(_EVERYTHING)
        if self._broken_off:
            raise anew(self._broken_off)
        return self.rewound()

    def rewound(self) -> BinaryIO:
        """The complete file, at its beginning."""
        assert self._has_ended, "a file was taken for complete before it was"
        self._spool.seek(0)
        return cast(BinaryIO, self._spool)

    async def _until(self, size: int) -> None:
        while self.size < size and not self._has_ended and not self._refused:
            await self._news.wait()
        self.raise_if_refused()

    def read(self, size: int) -> bytes:
        """At least one byte, as soon as there is one; none at the end. Raises what `refuse` was
        told. On a thread: it may wait."""
        with self._changed:
            self._wait_for(self._read + 1)
            data = self._stretch(self._read, min(size, self.size - self._read))
            self._read += len(data)
            return data

    def read_at(self, place: int, size: int) -> bytes:
        """Bytes from some place on, fewer only at the end; `read` goes on where it was."""
        with self._changed:
            self._wait_for(place + size)
            return self._stretch(place, max(0, min(size, self.size - place)))

    def has_more(self) -> bool:
        """Whether `read` would not wait."""
        return self._has_ended or self.size > self._read

    def refuse(self, error: BaseException) -> None:
        """Nobody wants the file any more: whoever writes, reads or waits gets this error."""
        with self._changed:
            self._refused = self._refused or error
            self._changed.notify_all()
        self._tell()

    def raise_if_refused(self) -> None:
        if self._refused:
            raise anew(self._refused)

    def _wait_for(self, size: int) -> None:
        while self.size < size and not self._has_ended and not self._refused:
            self._changed.wait()
        self.raise_if_refused()

    def _stretch(self, place: int, size: int) -> bytes:
        self._spool.seek(place)
        return self._spool.read(size)

    # --- what wakes those who wait on the event loop

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def anew(error: E) -> E:
    """One for each who gets it: an error that was raised holds on to the frames that it left."""
    other = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    return other
