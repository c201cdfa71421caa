"""Chunks on disk: whole or not at all, and gone when they are deleted."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from musetalk_stream.errors import ChunkNotFound, StorageFull
from musetalk_stream.store import DiskChunkStore, chunk_name, sweep

REQUEST, OTHER = "A" * 22, "b-_" + "C" * 19


@pytest.fixture
def store(tmp_path: Path) -> DiskChunkStore:
    return DiskChunkStore(tmp_path, max_bytes=1000)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_names_survive_index_9999() -> None:
    assert [chunk_name(k) for k in (0, 9999, 10_000)] == [
        "chunk_0000.mp4",
        "chunk_9999.mp4",
        "chunk_10000.mp4",
    ]


async def test_what_is_put_can_be_got(store: DiskChunkStore, tmp_path: Path) -> None:
    name = await store.put(REQUEST, 3, b"body", "video/mp4")
    chunk = store.get(REQUEST, name)
    assert (chunk.mime, chunk.size, chunk.path.read_bytes()) == ("video/mp4", 4, b"body")
    assert files(tmp_path) == [f"{REQUEST}/chunk_0003.mp4"]
    figures = store.statistics()
    assert (figures.chunks, figures.bytes) == (1, 4)


@pytest.mark.parametrize(
    ("request_id", "name"),
    [("nobody", "chunk_0000.mp4"), (REQUEST, "chunk_0001.mp4"), (REQUEST, "../secret"),
     ("..", "secret"), ("", ""), ("/etc", "passwd"), (REQUEST, "chunk_0000.mp4\0")],
)  # fmt: skip
async def test_what_was_not_put_is_not_there(
    store: DiskChunkStore, tmp_path: Path, request_id: str, name: str
) -> None:
    await store.put(REQUEST, 0, b"body", "video/mp4")
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ChunkNotFound):
        store.get(request_id, name)


async def test_delete(store: DiskChunkStore, tmp_path: Path) -> None:
    for index in range(3):
        await store.put(REQUEST, index, b"body", "video/mp4")
    await store.put(OTHER, 0, b"body", "video/mp4")
    await store.delete(REQUEST)
    await store.delete(REQUEST)
    await store.delete("never there")
    assert files(tmp_path) == [f"{OTHER}/chunk_0000.mp4"]
    assert store.statistics().bytes == 4
    with pytest.raises(ChunkNotFound):
        store.get(REQUEST, "chunk_0000.mp4")


async def test_the_limit_counts_all_and_gives_back(store: DiskChunkStore, tmp_path: Path) -> None:
    await store.put(REQUEST, 0, bytes(900), "video/mp4")
    with pytest.raises(StorageFull, match="chunk_store_mb"):
        await store.put(OTHER, 0, bytes(101), "video/mp4")
    await store.put(OTHER, 0, bytes(100), "video/mp4")
    await store.delete(REQUEST)
    await store.put(OTHER, 1, bytes(900), "video/mp4")
    assert len(files(tmp_path)) == 2


async def test_a_failed_write_leaves_nothing(store: DiskChunkStore, tmp_path: Path) -> None:
    (tmp_path / REQUEST).write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        await store.put(REQUEST, 0, b"body", "video/mp4")
    (tmp_path / REQUEST).unlink()
    assert store.statistics().bytes == 0
    await store.put(REQUEST, 0, b"body", "video/mp4")


async def test_cancelled_puts_leave_nothing(store: DiskChunkStore, tmp_path: Path) -> None:
    for steps in range(6):
        putting = asyncio.create_task(store.put(REQUEST, 0, b"body", "video/mp4"))
        for _ in range(steps):
            await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert files(tmp_path) == [], f"cancelled after {steps} steps"
        assert store.statistics().bytes == 0


def test_sweep_takes_only_what_is_old_and_ours(tmp_path: Path) -> None:
    long_ago = time.time() - 10_000

    def folder(name: str, *contents: str, old: bool = True) -> Path:
        place = tmp_path / name
        place.mkdir()
        for each in contents:
            (place / each).write_text("x")
        if old:
            os.utime(place, (long_ago, long_ago))
        return place

    abandoned = folder(REQUEST, "chunk_0000.mp4", "chunk_0001.mp4.part")
    empty = folder("E" * 22)
    kept = [
        folder(OTHER, "chunk_0000.mp4", old=False),
        folder("holiday-pictures", "chunk_0000.mp4"),
        folder("F" * 22, "chunk_0000.mp4", "thesis.doc"),
    ]
    (tmp_path / ("G" * 22)).write_text("a file")
    sweep(tmp_path, older_than_s=5000)
    assert not abandoned.exists()
    assert not empty.exists()
    assert all(place.exists() for place in kept)
    assert (tmp_path / ("G" * 22)).exists()


def test_sweep_makes_the_store(tmp_path: Path) -> None:
    sweep(tmp_path / "a" / "b", older_than_s=1)
    assert (tmp_path / "a" / "b").is_dir()


async def test_what_has_been_watched_makes_room_oldest_first(tmp_path: Path) -> None:
    now_s = [0.0]
    store = DiskChunkStore(tmp_path, max_bytes=3_000_000, clock=lambda: now_s[0])
    for request_id in ("old", "newer", "running"):
        await store.put(request_id, 0, bytes(1_000_000), "video/mp4")
    store.finish("old")
    now_s[0] = 50.0
    store.finish("newer")
    with pytest.raises(StorageFull, match=r"\(3 MB\)"):  # both may still be watched
        await store.put("running", 1, bytes(1_000_000), "video/mp4")
    now_s[0] = 70.0
    await store.put("running", 1, bytes(1_000_000), "video/mp4")
    with pytest.raises(ChunkNotFound):
        store.get("old", "chunk_0000.mp4")
    assert files(tmp_path) == [
        "newer/chunk_0000.mp4",
        "running/chunk_0000.mp4",
        "running/chunk_0001.mp4",
    ]
    with pytest.raises(StorageFull):  # the newer is not old enough, and what runs never goes
        await store.put("running", 2, bytes(1_000_000), "video/mp4")
