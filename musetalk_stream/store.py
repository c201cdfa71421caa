"""Where finished chunks are kept and read from, and how much room they may take."""

import asyncio
import contextlib
import errno
import logging
import re
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from .errors import ChunkNotFound, StorageFull

log = logging.getLogger(__name__)

T = TypeVar("T")

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{22}\Z")  # secrets.token_urlsafe(16)
# Playback is over this long after generation: the greatest lead, and some patience.
_WATCHED_FOR_S = 60.0
_CHUNK_NAME = re.compile(r"chunk_\d{4,}\.mp4\Z")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored chunk. `path` is complete for as long as the chunk is listed."""

    path: Path
    mime: str
    size: int


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    chunks: int
    bytes: int


class ChunkStore(Protocol):
    async def put(self, request_id: str, index: int, body: bytes, mime: str) -> str:
        """Keep a chunk; its file name once it is complete. StorageFull when there is no room."""
        ...

    def get(self, request_id: str, name: str) -> Chunk:
        """Raises ChunkNotFound."""
        ...

    def finish(self, request_id: str) -> None:
        """No more chunks of this utterance come: when room is short, it may go before its time."""
        ...

    async def delete(self, request_id: str) -> None:
        """Forget an utterance's chunks at once; deleting what is not there is no error."""
        ...

    def statistics(self) -> StoreStatistics: ...


def chunk_name(index: int) -> str:
    return f"chunk_{index:04d}.mp4"


class DiskChunkStore:
    """Chunks as files `{folder}/{request_id}/chunk_0000.mp4`, written beside and renamed.

    Lookups go through an index in memory: nothing that a client sends ever becomes a path.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._max_bytes = max_bytes
        self._chunks: dict[str, dict[str, Chunk]] = {}
        self._bytes = 0
        self._finished: dict[str, float] = {}  # request id -> when, oldest first

    def __repr__(self) -> str:
        return f"<DiskChunkStore {self._folder} {self._bytes} bytes>"

    async def put(self, request_id: str, index: int, body: bytes, mime: str) -> str:
        await self._make_room(len(body))
        if self._bytes + len(body) > self._max_bytes:
            raise StorageFull(
                f"the chunk store is full ({self._max_bytes // 10**6} MB): "
                "delete sessions that are no longer needed or raise chunk_store_mb"
            )
        name = chunk_name(index)
        path = self._folder / request_id / name
        self._bytes += len(body)
        kept = False
        try:
            await _to_its_end(asyncio.to_thread(_write, path, body))
            kept = True
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("the disk is full: make room and send the audio again") from exc
            raise
        finally:
            if not kept:
                self._bytes -= len(body)
                await _to_its_end(asyncio.to_thread(_remove, path))
        self._chunks.setdefault(request_id, {})[name] = Chunk(path, mime, len(body))
        return name

    def finish(self, request_id: str) -> None:
        self._finished[request_id] = self._clock()

    async def _make_room(self, num_bytes: int) -> None:
        """Delete the oldest finished utterances that nobody can still be watching."""
        while self._bytes + num_bytes > self._max_bytes and self._finished:
            request_id, finished_s = next(iter(self._finished.items()))
            if self._clock() - finished_s < _WATCHED_FOR_S:
                return
            await self.delete(request_id)

    def get(self, request_id: str, name: str) -> Chunk:
        try:
            return self._chunks[request_id][name]
        except KeyError:
            raise ChunkNotFound(
                "there is no such chunk (chunks go with their session, or when their time is up)"
            ) from None

    async def delete(self, request_id: str) -> None:
        self._finished.pop(request_id, None)
        self._bytes -= sum(chunk.size for chunk in self._chunks.pop(request_id, {}).values())
        folder = self._folder / request_id
        await _to_its_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(sum(map(len, self._chunks.values())), self._bytes)


def sweep(store: Path, older_than_s: float) -> None:
    """Remove what a server that was killed left in a store: folders that can only be ours and that
    nobody has written to for `older_than_s` seconds (another server may share the place).

    Makes the store if it is not there. Raises OSError.
    """
    store.mkdir(parents=True, exist_ok=True)
    for folder in store.iterdir():
        if not (_REQUEST_ID.match(folder.name) and folder.is_dir()):
            continue
        ours = all(_CHUNK_NAME.match(f.name.removesuffix(".part")) for f in folder.iterdir())
        if ours and time.time() - folder.stat().st_mtime > older_than_s:
            shutil.rmtree(folder, ignore_errors=True)
            log.info("removed abandoned chunks in %s", folder)


def _write(path: Path, body: bytes) -> None:
    """All of the file or none of it: a reader never meets half a chunk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(body)
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to tell
        path.unlink(missing_ok=True)


async def _to_its_end(work: Coroutine[None, None, T]) -> T:
    """Await work on a thread to its end even when cancelled meanwhile: a thread can't be stopped,
    and what it writes after its owner has cleaned up would stay for ever."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
