"""The event log: the latest events, and followers at their own pace."""

import asyncio
from contextlib import aclosing

import pytest

from musetalk_stream.events import CAPACITY, LoggedEvent, MemoryEventLog, Missed


async def collect(log: MemoryEventLog, after: int = 0) -> list[int | None]:
    async with aclosing(log.follow(after)) as entries:
        return [entry.id async for entry in entries]


def publish(log: MemoryEventLog, count: int) -> None:
    for _ in range(count):
        log.publish({"event": "chunk", "index": log.last_id})


async def test_ids_grow_by_one_and_followers_read_in_order() -> None:
    log = MemoryEventLog()
    assert [log.publish({"event": "chunk"}) for _ in range(3)] == [1, 2, 3]
    log.close()
    assert await collect(log) == [1, 2, 3]
    assert await collect(log, after=2) == [3]
    assert await collect(log, after=3) == []


async def test_a_follower_waits_for_what_comes() -> None:
    log = MemoryEventLog()
    reading = asyncio.create_task(collect(log))
    for _ in range(5):
        publish(log, 2)
        await asyncio.sleep(0)
    log.close()
    assert await reading == list(range(1, 11))


async def test_many_followers_read_everything_at_their_own_pace() -> None:
    log = MemoryEventLog()

    async def slowly(pauses: int) -> list[int | None]:
        seen: list[int | None] = []
        async with aclosing(log.follow(0)) as entries:
            async for entry in entries:
                seen.append(entry.id)
                for _ in range(pauses):
                    await asyncio.sleep(0)
        return seen

    readers = [asyncio.create_task(slowly(pauses)) for pauses in (0, 1, 7, 30)]
    for _ in range(100):
        publish(log, 3)
        await asyncio.sleep(0)
    log.close()
    for reader in readers:
        assert await reader == list(range(1, 301))


async def test_who_falls_off_the_log_is_told() -> None:
    log = MemoryEventLog(capacity=4)
    publish(log, 10)
    assert log.first_id == 7
    with pytest.raises(Missed):
        await collect(log, after=5)
    log.close()
    assert await collect(log, after=6) == [7, 8, 9, 10]


async def test_a_slow_follower_is_told_when_it_is_overtaken() -> None:
    log = MemoryEventLog(capacity=4)
    publish(log, 2)
    async with aclosing(log.follow(0)) as entries:
        assert (await anext(entries)).id == 1
        publish(log, 10)
        assert (await anext(entries)).id == 2, "it was handed over with the first"
        with pytest.raises(Missed):
            await anext(entries)


async def test_an_id_from_the_future_is_not_ours() -> None:
    log = MemoryEventLog()
    with pytest.raises(Missed):
        await collect(log, after=1)


async def test_an_empty_log_begins_with_the_next_event() -> None:
    log = MemoryEventLog()
    assert log.first_id == 1
    log.close()
    assert await collect(log) == []


async def test_close_ends_those_who_wait() -> None:
    log = MemoryEventLog()
    readers = [asyncio.create_task(collect(log)) for _ in range(3)]
    await asyncio.sleep(0)
    log.close()
    assert await asyncio.gather(*readers) == [[], [], []]


async def test_cancelling_a_follower_leaves_the_others() -> None:
    log = MemoryEventLog()
    leaver, stayer = asyncio.create_task(collect(log)), asyncio.create_task(collect(log))
    await asyncio.sleep(0)
    leaver.cancel()
    publish(log, 1)
    log.close()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert await stayer == [1]


def test_memory_is_bounded() -> None:
    log = MemoryEventLog()
    publish(log, CAPACITY + 500)
    assert log.first_id == 501


async def test_what_is_withdrawn_is_not_told_and_takes_no_room() -> None:
    log = MemoryEventLog(capacity=3)
    publish(log, 2)
    for _ in range(10):
        log.withdraw(log.publish({"event": "captions"}))
    publish(log, 1)
    assert (log.first_id, log.last_id) == (1, 13)
    log.close()
    assert await collect(log) == [1, 2, 13]
    assert await collect(log, after=7) == [13]


async def test_a_follower_does_not_wait_for_what_was_withdrawn() -> None:
    log = MemoryEventLog()
    reading = asyncio.create_task(collect(log))
    log.withdraw(log.publish({"event": "captions"}))
    await asyncio.sleep(0)
    publish(log, 1)
    await asyncio.sleep(0)
    log.close()
    assert await reading == [2]


async def test_what_is_there_together_comes_together() -> None:
    log = MemoryEventLog()
    publish(log, 3)
    log.withdraw(2)
    async with aclosing(log.batches(0)) as batches:
        assert [entry.id for entry in await anext(batches)] == [1, 3]
        publish(log, 200)
        sizes = [len(await anext(batches)) for _ in range(4)]
    assert sum(sizes) == 200
    assert max(sizes) == 64, "who does not read keeps little"


async def test_who_has_waited_long_enough_is_told_of_nothing() -> None:
    log = MemoryEventLog()
    async with aclosing(log.batches(0, lambda: 0.01)) as batches:
        assert await anext(batches) == []
        assert await anext(batches) == []
        publish(log, 1)
        assert [entry.id for entry in await anext(batches)] == [1]


def test_an_event_is_encoded_once_for_all() -> None:
    entry = LoggedEvent(7, {"event": "x"})
    assert entry.wire() == b'id: 7\ndata: {"event":"x"}\n\n'
    assert entry.wire() is entry.wire()
