"""A file that is read while it is written: by a thread that waits, and is let go of."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from musetalk_stream.errors import UploadStalled, UtteranceEnded
from musetalk_stream.growing_file import GrowingFile
from musetalk_stream.listening import Beginning

T = TypeVar("T")


def on_thread(function: Callable[[], T]) -> "asyncio.Task[T]":
    return asyncio.create_task(asyncio.to_thread(function))


def everything(file: GrowingFile) -> bytes:
    found = b""
    while data := file.read(1 << 15):
        found += data
    return found


@pytest.mark.parametrize("total", [0, 10, 6 << 20])  # the last one lies on the disk
async def test_what_is_written_is_read(total: int) -> None:
    data = bytes(range(256)) * (total // 256 + 1)
    with GrowingFile() as file:
        reading = on_thread(lambda: everything(file))
        for place in range(0, total, 700_001):
            await file.write(data[place : min(place + 700_001, total)])
        file.finish()
        assert await reading == data[:total]
        assert (await file.whole()).read() == data[:total]
        assert file.size == total


async def test_a_reader_waits_for_a_byte_or_the_end() -> None:
    with GrowingFile() as file:
        reading = on_thread(lambda: file.read(100))
        await asyncio.sleep(0.02)
        assert not reading.done()
        assert not file.has_more()
        await file.write(b"abc")
        assert await reading == b"abc"
        reading = on_thread(lambda: file.read(100))
        file.abort(UploadStalled("nothing came"))
        assert await reading == b""
        assert file.has_more()  # the end is no reason to wait
        with pytest.raises(UploadStalled):
            await file.whole()


async def test_the_beginning_is_looked_at_without_being_read() -> None:
    with GrowingFile() as file:
        beginning = asyncio.create_task(file.beginning(4))
        await file.write(b"ab")
        await asyncio.sleep(0.01)
        assert not beginning.done()
        await file.write(b"cdef")
        assert await beginning == b"abcd"
        view = Beginning(file)
        assert (view.read(2), view.read(2)) == (b"ab", b"cd")
        view.seek(1)
        assert view.read(3) == b"bcd"
        assert file.read(100) == b"abcdef"
        file.finish()
        assert await file.beginning(100) == b"abcdef"
        assert view.read(100) == b"ef"


WAITING: dict[str, Callable[[GrowingFile], Awaitable[object]]] = {
    "for the beginning": lambda file: file.beginning(100),
    "for all of it": lambda file: file.whole(),
    "on a thread": lambda file: on_thread(lambda: file.read_at(0, 100)),
}


@pytest.mark.parametrize("who", WAITING)
async def test_who_waits_is_told_when_nobody_wants_it(who: str) -> None:
    with GrowingFile() as file:
        await file.write(b"ab")
        waiting = asyncio.ensure_future(WAITING[who](file))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        file.refuse(UtteranceEnded("interrupted"))
        with pytest.raises(UtteranceEnded, match="interrupted") as told:
            await waiting
        with pytest.raises(UtteranceEnded) as told_again:
            await file.write(b"more")
        assert told.value is not told_again.value, "each holds on to the frames that it left"


async def test_the_end_of_the_block_ends_who_reads() -> None:
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            file.read(1)
        except ValueError as exc:
            outcome.append(exc)

    with GrowingFile() as file:
        thread = threading.Thread(target=read)
        thread.start()
        await asyncio.sleep(0.01)
    await asyncio.to_thread(thread.join, 5)
    assert outcome
