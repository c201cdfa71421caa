"""Where finished chunks are kept and read from, and how much room they may take."""

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .disk import PART, Room, full_disk_told, write_whole
from .errors import ChunkNotFound, StorageFull
from .fmp4 import mime_type, split
from .threads import to_its_end

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{22}\Z")  # secrets.token_urlsafe(16)
# Playback is over this long after generation: the greatest lead, and some patience.
_WATCHED_FOR_S = 60.0
_CHUNK_NAME = re.compile(r"chunk_\d{4,}\.mp4\Z")
_NOTE = "utterance.json"
_ADVICE = "make room and send the audio again"
# Of another server that shares the place and may be there still: what nobody has written to for so
# long is left behind.
_ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored chunk. `path` is complete for as long as the chunk is listed."""

    path: Path
    mime: str
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """An utterance of a server that has ended, whose chunks are served again.

    note   what was said last by `begin` or `finish`
    ended  whether that was `finish`
    at     seconds since 1970: when it was last written to
    """

    request_id: str
    note: Mapping[str, Any]
    ended: bool
    at: float


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    chunks: int
    bytes: int


class ChunkStore(Protocol):
    async def begin(self, request_id: str, note: Mapping[str, Any]) -> None:
        """An utterance may come: the note is what the next server knows of it if this one is
        killed. Raises StorageFull, OSError."""
        ...

    async def put(self, request_id: str, index: int, body: bytes, mime: str) -> str:
        """Keep a chunk; its file name once it is complete. StorageFull when there is no room."""
        ...

    def get(self, request_id: str, name: str) -> Chunk:
        """Raises ChunkNotFound."""
        ...

    async def finish(self, request_id: str, note: Mapping[str, Any]) -> None:
        """No more chunks of this utterance come: when room is short, it may go before its time. The
        note is what the next server knows of it; where that can't be written, it knows nothing."""
        ...

    async def delete(self, request_id: str) -> None:
        """Forget an utterance's chunks at once; deleting what is not there is no error."""
        ...

    def recover(
        self, session_ids: Collection[str], *, is_alone: bool, retention_s: float
    ) -> list[Found]:
        """Serve again what the last server left of these sessions, oldest first, and remove all
        else that is ours and whose time is over. Others' files stay. Blocking; before anything is
        put.

        is_alone     no other server shares the place: what is of no session is of nobody
        retention_s  since its end, after which an utterance goes
        """
        ...

    def statistics(self) -> StoreStatistics: ...

    @property
    def trouble(self) -> str | None:
        """What stands against keeping a chunk, if the place is to blame."""
        ...

    def require_room(self) -> None:
        """Raises StorageFull if there is trouble."""
        ...

    async def look_again(self) -> None:
        """Whether there is trouble, or it is over."""
        ...


def no_such_chunk() -> ChunkNotFound:
    return ChunkNotFound(
        "there is no such chunk (chunks go with their session, or when their time is up)"
    )


def chunk_name(index: int) -> str:
    return f"chunk_{index:04d}.mp4"


class DiskChunkStore:
    """Chunks as files `{folder}/{request_id}/chunk_0000.mp4`, written beside and renamed.

    Lookups go through an index in memory: nothing that a client sends ever becomes a path.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        min_free_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """min_free_bytes: of the disk, which chunks leave free"""
        self._folder = folder
        self._clock = clock
        self._max_bytes = max_bytes
        self._room = Room(folder, "chunks", min_free_bytes=min_free_bytes)
        self._chunks: dict[str, dict[str, Chunk]] = {}
        self._bytes = 0
        self._finished: dict[str, float] = {}  # request id -> when, oldest first

    def __repr__(self) -> str:
        return f"<DiskChunkStore {self._folder} {self._bytes} bytes>"

    async def begin(self, request_id: str, note: Mapping[str, Any]) -> None:
        await to_its_end(self._write_note, request_id, note, ended=False)

    def _write_note(self, request_id: str, note: Mapping[str, Any], *, ended: bool) -> None:
        body = json.dumps({"ended": ended, "note": note}).encode()
        with full_disk_told(_ADVICE) if ended else self._room.taking(_ADVICE):
            write_whole(self._folder / request_id / _NOTE, body)

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
            await to_its_end(self._write, path, body)
            kept = True
        finally:
            if not kept:
                self._bytes -= len(body)
                await to_its_end(_remove, path)
        self._chunks.setdefault(request_id, {})[name] = Chunk(path, mime, len(body))
        return name

    def _write(self, path: Path, body: bytes) -> None:
        with self._room.taking(_ADVICE):
            write_whole(path, body)

    @property
    def trouble(self) -> str | None:
        return self._room.trouble

    def require_room(self) -> None:
        self._room.require()

    async def look_again(self) -> None:
        await to_its_end(self._room.look_again)

    async def finish(self, request_id: str, note: Mapping[str, Any]) -> None:
        self._finished[request_id] = self._clock()
        try:
            await to_its_end(self._write_note, request_id, note, ended=True)
        except (OSError, StorageFull) as exc:
            log.warning("utterance %s won't outlive this server: %s", request_id[:8], exc)

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
        await to_its_end(shutil.rmtree, self._folder / request_id, ignore_errors=True)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(sum(map(len, self._chunks.values())), self._bytes)

    def recover(
        self, session_ids: Collection[str], *, is_alone: bool, retention_s: float
    ) -> list[Found]:
        found: list[Found] = []
        for folder, age_s in _ours(self._folder):
            known = _read(folder)
            if known is None or known.note.get("session_id") not in session_ids:
                if is_alone or age_s > retention_s + _ABANDONED_AFTER_S:
                    shutil.rmtree(folder, ignore_errors=True)
                    log.info("removed chunks of nobody in %s", folder)
            elif age_s > retention_s:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                found.append(known)
        found.sort(key=lambda each: each.at)
        return [each for each in found if self._serve_again(each)]

    def _serve_again(self, known: Found) -> bool:
        """False where an utterance is not there any more as it was told: files are not forced to
        the disk, and a power cut leaves empty ones."""
        folder = self._folder / known.request_id
        try:
            chunks = _whole_chunks(folder, known)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            log.error("utterance %s is lost, as its files are damaged: %r", folder.name[:8], exc)
            shutil.rmtree(folder, ignore_errors=True)
            return False
        self._chunks[known.request_id] = chunks
        self._bytes += sum(chunk.size for chunk in chunks.values())
        self._finished[known.request_id] = self._clock() - max(0.0, time.time() - known.at)
        return True


@contextmanager
def shared(store: Path) -> Iterator[bool]:
    """A place of chunks is in use while this block runs; whether no other server used it when it
    began. Makes it if it is not there. Raises OSError."""
    store.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _is_alone(descriptor)
    finally:
        os.close(descriptor)


def _is_alone(descriptor: int) -> bool:
    """The kernel lets go of what a killed server held. Between the two calls another may come: it
    finds nothing that is older than its own start, and removes nothing of a session of ours."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_alone = True
    except BlockingIOError:
        is_alone = False
    except OSError as exc:  # file systems of a network may not lock folders
        log.warning("what is left in the chunk store goes by its age: %s", exc)
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return is_alone


def _ours(store: Path) -> Iterator[tuple[Path, float]]:
    """Folders that can only be ours, and for how many seconds nobody has written to them."""
    for folder in store.iterdir():
        if _REQUEST_ID.match(folder.name) and folder.is_dir() and not folder.is_symlink():
            try:
                names = [path.name.removesuffix(PART) for path in folder.iterdir()]
                age_s = time.time() - folder.stat().st_mtime
            except OSError:  # another user's, or it has just gone
                continue
            if all(name == _NOTE or _CHUNK_NAME.match(name) for name in names):
                yield folder, age_s


def _read(folder: Path) -> Found | None:
    """None where there is no note, or none that can be read."""
    try:
        path = folder / _NOTE
        kept = json.loads(path.read_bytes())
        note, ended = kept["note"], kept["ended"]
        if not isinstance(note, dict) or not isinstance(ended, bool):
            return None
        return Found(folder.name, note, ended, folder.stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _whole_chunks(folder: Path, known: Found) -> dict[str, Chunk]:
    """Of one that has ended, as its note says; else what can be read. Raises OSError; ValueError,
    KeyError, TypeError where they, or the note, are damaged."""
    paths = {path.name: path for path in sorted(folder.iterdir()) if path.name != _NOTE}
    for name in [name for name in paths if name.endswith(PART)]:
        paths.pop(name).unlink()  # its server was killed while it wrote it
    chunks = {}
    if known.ended:
        for name, size, *_ in known.note["segments"]:
            chunk = Chunk(paths[name], str(known.note["mime"]), paths[name].stat().st_size)
            if chunk.size != size:
                raise ValueError(f"{name} has {chunk.size} bytes instead of {size}")
            chunks[name] = chunk
        return chunks
    for path in paths.values():
        body = path.read_bytes()
        try:
            chunks[path.name] = Chunk(path, mime_type(split(body)[0]), len(body))
        except ValueError as exc:  # of the last moments before a power cut
            log.warning("removing %s: %s", path, exc)
            path.unlink()
    return chunks


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to tell
        path.unlink(missing_ok=True)
