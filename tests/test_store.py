"""Chunks on disk: whole or not at all, and gone when they are deleted."""

import asyncio
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from musetalk_stream.errors import ChunkNotFound, StorageFull
from musetalk_stream.store import DiskChunkStore, StoreStatistics, chunk_name, shared

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
        if not putting.cancel():
            return  # it was done before
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert files(tmp_path) == [], f"cancelled after {steps} steps"
        assert store.statistics().bytes == 0


SESSION = "s" * 22


def folder(store: Path, name: str, *contents: str, session_id: str = "", old: bool = False) -> Path:
    """As a dead server left it; with a note if it is of a session."""
    place = store / name
    place.mkdir(parents=True)
    for each in contents:
        (place / each).write_text("x")
    if session_id:
        segments = [[each, 1] for each in contents if not each.endswith(".part")]
        note = {"session_id": session_id, "mime": "video/mp4", "segments": segments}
        (place / "utterance.json").write_text(json.dumps({"ended": True, "note": note}))
    if old:
        long_ago = time.time() - 10_000
        os.utime(place, (long_ago, long_ago))
    return place


def recover(store: DiskChunkStore, *, is_alone: bool) -> list[str]:
    found = store.recover({SESSION}, is_alone=is_alone, retention_s=5000)
    return [each.request_id for each in found]


@pytest.mark.parametrize("is_alone", [True, False])
def test_what_a_dead_server_left_is_served_again_or_removed(tmp_path: Path, is_alone: bool) -> None:
    kept = [
        folder(tmp_path, REQUEST, "chunk_0000.mp4", "chunk_0001.mp4.part", session_id=SESSION),
        folder(tmp_path, "holiday-pictures", "chunk_0000.mp4"),
        folder(tmp_path, "F" * 22, "chunk_0000.mp4", "thesis.doc"),
    ]
    gone = [
        folder(tmp_path, "D" * 22, "chunk_0000.mp4", session_id=SESSION, old=True),
        folder(tmp_path, "E" * 22, "chunk_0000.mp4", old=True),
    ]
    of_others = [
        folder(tmp_path, OTHER, "chunk_0000.mp4", session_id="t" * 22),
        folder(tmp_path, "H" * 22),
        folder(tmp_path, "I" * 22, "utterance.json.part"),
    ]
    (tmp_path / ("G" * 22)).write_text("a file")
    store = DiskChunkStore(tmp_path, max_bytes=1000)
    assert recover(store, is_alone=is_alone) == [REQUEST]
    assert all(place.exists() for place in kept)
    assert not any(place.exists() for place in gone)
    assert [place.exists() for place in of_others] == [not is_alone] * 3
    assert (tmp_path / ("G" * 22)).exists()
    assert store.get(REQUEST, "chunk_0000.mp4").mime == "video/mp4"
    assert store.statistics() == StoreStatistics(chunks=1, bytes=1), "the budget counts it"
    assert not (tmp_path / REQUEST / "chunk_0001.mp4.part").exists()


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", '{"ended": 1, "note": {}}', '{"ended": true, "note": []}', '{"note":{}}'],
)
def test_a_note_that_is_damaged_is_of_nobody(tmp_path: Path, note: str) -> None:
    (folder(tmp_path, REQUEST, "chunk_0000.mp4") / "utterance.json").write_text(note)
    assert recover(DiskChunkStore(tmp_path, max_bytes=1000), is_alone=True) == []
    assert files(tmp_path) == []


@pytest.mark.parametrize("body", [b"", b"\0" * 100, None])
@pytest.mark.parametrize("ended", [True, False])
def test_what_a_power_cut_has_torn_is_not_served(
    tmp_path: Path, body: bytes | None, ended: bool
) -> None:
    """None: it is not there."""
    store = DiskChunkStore(tmp_path, max_bytes=1000)
    torn = folder(tmp_path, REQUEST, "chunk_0000.mp4", session_id=SESSION)
    folder(tmp_path, OTHER, "chunk_0000.mp4", session_id=SESSION)
    if body is None:
        (torn / "chunk_0000.mp4").unlink()
    else:
        (torn / "chunk_0000.mp4").write_bytes(body)
    if not ended:
        note = {"ended": False, "note": {"session_id": SESSION, "epoch": 0}}
        (torn / "utterance.json").write_text(json.dumps(note))
    assert sorted(recover(store, is_alone=True)) == sorted([OTHER] + [REQUEST] * (not ended))
    with pytest.raises(ChunkNotFound):
        store.get(REQUEST, "chunk_0000.mp4")
    assert store.statistics() == StoreStatistics(chunks=1, bytes=1)
    assert torn.exists() is not ended


async def test_what_was_begun_and_what_was_finished(tmp_path: Path) -> None:
    store = DiskChunkStore(tmp_path, max_bytes=1000)
    for request_id in (REQUEST, OTHER):
        await store.begin(request_id, {"session_id": SESSION})
    note = {"session_id": SESSION, "mime": "", "segments": [], "more": 1}
    await store.finish(OTHER, note)
    again = DiskChunkStore(tmp_path, max_bytes=1000)
    found = again.recover({SESSION}, is_alone=True, retention_s=60)
    assert [(each.request_id, each.ended) for each in found] == [(REQUEST, False), (OTHER, True)]
    assert found[1].note == note


async def test_room_on_the_disk_stays_free(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    store = DiskChunkStore(tmp_path, max_bytes=1000, min_free_bytes=free + 10**9)
    with pytest.raises(StorageFull, match=r"min_free_mb"):
        await store.put(REQUEST, 0, b"body", "video/mp4")
    with pytest.raises(StorageFull, match=r"min_free_mb"):
        await store.begin(REQUEST, {})
    assert files(tmp_path) == []
    assert store.statistics().bytes == 0


def test_who_is_alone_with_a_store(tmp_path: Path) -> None:
    with shared(tmp_path / "a" / "b") as first, shared(tmp_path / "a" / "b") as second:
        assert (first, second) == (True, False)
    with shared(tmp_path / "a" / "b") as third:
        assert third, "the others have gone"


async def test_what_has_been_watched_makes_room_oldest_first(tmp_path: Path) -> None:
    now_s = [0.0]
    store = DiskChunkStore(tmp_path, max_bytes=3_000_000, clock=lambda: now_s[0])
    for request_id in ("old", "newer", "running"):
        await store.put(request_id, 0, bytes(1_000_000), "video/mp4")
    await store.finish("old", {})
    now_s[0] = 50.0
    await store.finish("newer", {})
    with pytest.raises(StorageFull, match=r"\(3 MB\)"):  # both may still be watched
        await store.put("running", 1, bytes(1_000_000), "video/mp4")
    now_s[0] = 70.0
    await store.put("running", 1, bytes(1_000_000), "video/mp4")
    with pytest.raises(ChunkNotFound):
        store.get("old", "chunk_0000.mp4")
    assert files(tmp_path) == [
        "newer/chunk_0000.mp4",
        "newer/utterance.json",
        "running/chunk_0000.mp4",
        "running/chunk_0001.mp4",
    ]
    with pytest.raises(StorageFull):  # the newer is not old enough, and what runs never goes
        await store.put("running", 2, bytes(1_000_000), "video/mp4")
