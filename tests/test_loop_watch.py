"""An event loop that stands still is noticed, and the log says where."""

import asyncio
import logging
import threading
import time

import pytest
from servers import Serve

from musetalk_stream.loop_watch import LoopWatch


async def test_a_stall_is_counted_and_its_place_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stand_still() -> None:
        time.sleep(0.6)

    with LoopWatch(stall_s=0.1).running() as watch:
        await asyncio.sleep(0.3)
        stand_still()
        async with asyncio.timeout(10):
            while watch.lags.sum < 0.2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert watch.stalls == len(told) >= 1, "once each"
    assert any("stand_still" in each for each in told)


async def test_a_loop_that_turns_is_not_suspected() -> None:
    with LoopWatch(stall_s=30).running() as watch:
        await asyncio.sleep(0.6)
        assert watch.stalls == 0
        assert watch.lags.count


async def test_it_ends_with_the_server(serve: Serve) -> None:
    await serve()
    assert "loop-watch" in [each.name for each in threading.enumerate()]


async def test_and_is_gone() -> None:
    with LoopWatch().running():
        pass
    async with asyncio.timeout(5):
        while "loop-watch" in [each.name for each in threading.enumerate()]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
