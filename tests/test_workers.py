"""Encoder threads: earliest deadline first, and nothing kept alive."""

import asyncio
import gc
import threading
import weakref

import pytest

from musetalk_stream.workers import Workers


async def test_results_and_errors_come_back() -> None:
    with Workers(2, "encoder").running() as workers:
        assert await workers.run(lambda: 6 * 7, deadline_s=0) == 42
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 / 0, deadline_s=0)
        assert await workers.run(lambda: "still here", deadline_s=0) == "still here"


async def test_the_earliest_deadline_is_served_first() -> None:
    order: list[str] = []
    gate = threading.Event()
    with Workers(1, "encoder").running() as workers:
        blocker = asyncio.create_task(workers.run(lambda: gate.wait(5), deadline_s=0))
        await asyncio.sleep(0)
        tasks = []
        for name, deadline_s in (("late", 9), ("soon", 1), ("late too", 9), ("middle", 5)):
            call = workers.run(lambda name=name: order.append(name), deadline_s=deadline_s)  # type: ignore[misc]
            tasks.append(asyncio.create_task(call))
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(blocker, *tasks)
    assert order == ["soon", "middle", "late", "late too"]


async def test_cancelled_work_is_never_done() -> None:
    done: list[int] = []
    gate = threading.Event()
    with Workers(1, "encoder").running() as workers:
        blocker = asyncio.create_task(workers.run(lambda: gate.wait(5), deadline_s=0))
        waiting = asyncio.create_task(workers.run(lambda: done.append(1), deadline_s=1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        gate.set()
        await blocker
        await workers.run(lambda: None, deadline_s=2)
    assert done == []


async def test_what_was_worked_on_is_let_go_of() -> None:
    class Thing:
        def work(self) -> None: ...

    with Workers(2, "encoder").running() as workers:
        finished, cancelled = Thing(), Thing()
        watched = [weakref.ref(finished), weakref.ref(cancelled)]
        await workers.run(finished.work, deadline_s=0)
        gates = [threading.Event(), threading.Event()]
        blockers = [asyncio.create_task(workers.run(gate.wait, deadline_s=0)) for gate in gates]
        waiting = asyncio.create_task(workers.run(cancelled.work, deadline_s=1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        for gate in gates:
            gate.set()
        await asyncio.gather(*blockers, waiting, return_exceptions=True)
        # The cancelled order is met by a thread that then waits for the next.
        await asyncio.gather(*(workers.run(lambda: None, deadline_s=2) for _ in range(4)))
        del finished, cancelled, waiting
        gc.collect()
        assert [ref() for ref in watched] == [None, None]


async def test_nobody_is_told_of_the_error_of_what_was_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    has_begun, stopped = threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        assert stopped.wait(5)
        raise ValueError("it was stopped")

    with Workers(1, "encoder").running() as workers:
        working = asyncio.create_task(workers.run(work, deadline_s=0, stop=stopped.set))
        await asyncio.to_thread(has_begun.wait, 5)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    del working
    gc.collect()
    assert not caplog.records


async def test_threads_end_with_the_block() -> None:
    with Workers(3, "encoder").running() as workers:
        await workers.run(lambda: None, deadline_s=0)
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("encoder-") for name in names) == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("encoder-")]
