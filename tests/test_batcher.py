"""One render thread: batches by deadline, failures that stay with whom they belong to."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from fakes import NumberRenderer, make_avatar, read_marker

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.blend import MouthRegion
from musetalk_stream.errors import RenderFailed
from musetalk_stream.renderers import FrameRequest, Regions, Rendering


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return make_avatar(tmp_path_factory.mktemp("batcher"))


class Gate(NumberRenderer):
    """Holds every batch until it is opened, and notes who was in it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.open = threading.Event()
        self.entered = threading.Event()
        self.seen: list[list[int]] = []

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        self.seen.append([int(request.audio_window[0]) for request in batch])
        self.entered.set()
        self.open.wait(10)
        return super().submit(batch)


def frames(avatar: Avatar, *numbers: int) -> list[FrameRequest]:
    return [FrameRequest(avatar, 0, np.array([k, 1.0], np.float32)) for k in numbers]


def numbers(regions: Regions) -> list[int]:
    found = []
    for region in regions:
        assert isinstance(region, MouthRegion)
        luma = np.zeros((128, 128), np.uint8)
        height, width = region.luma.shape
        luma[region.y : region.y + height, region.x : region.x + width] = region.luma
        found.append(read_marker(luma))
    return found


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 5)


async def test_regions_come_back_in_order(avatar: Avatar) -> None:
    with Batcher(NumberRenderer(), max_batch=4).running() as batcher:
        regions = await batcher.render(frames(avatar, *range(10)), deadline_s=0, per_turn=3)
        assert numbers(regions) == list(range(10))
        figures = batcher.statistics()
    assert (figures.frames_rendered, figures.frames_waiting) == (10, 0)
    assert figures.batches == 3
    assert figures.mean_batch == pytest.approx(10 / 3)


async def test_many_callers_each_get_their_own(avatar: Avatar) -> None:
    with Batcher(NumberRenderer(), max_batch=7).running() as batcher:
        calls = [
            batcher.render(frames(avatar, *range(k, k + 9)), deadline_s=k % 5, per_turn=k % 3 + 1)
            for k in range(0, 900, 9)
        ]
        for k, regions in zip(range(0, 900, 9), await asyncio.gather(*calls), strict=True):
            assert numbers(regions) == list(range(k, k + 9))


async def test_the_earliest_deadline_is_served_first(avatar: Avatar, gate: Gate) -> None:
    with Batcher(gate, max_batch=2).running() as batcher:
        blocker = asyncio.create_task(batcher.render(frames(avatar, 0), deadline_s=0, per_turn=2))
        await entered(gate)
        later = asyncio.create_task(batcher.render(frames(avatar, 1, 2), deadline_s=9, per_turn=2))
        await asyncio.sleep(0)
        sooner = asyncio.create_task(batcher.render(frames(avatar, 3, 4), deadline_s=5, per_turn=2))
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(blocker, later, sooner)
    assert gate.seen == [[0], [3, 4], [1, 2]]


async def test_one_bad_frame_fails_one_caller(avatar: Avatar) -> None:
    renderer = NumberRenderer(fails_on=lambda avatar_id, frame: frame == 13)
    with Batcher(renderer, max_batch=16).running() as batcher:
        good, bad, other = await asyncio.gather(
            batcher.render(frames(avatar, 1, 2), deadline_s=0, per_turn=4),
            batcher.render(frames(avatar, 12, 13, 14), deadline_s=0, per_turn=4),
            batcher.render(frames(avatar, 3), deadline_s=0, per_turn=4),
            return_exceptions=True,
        )
        assert isinstance(bad, RenderFailed)
        assert "broken on purpose" in str(bad)
        assert not isinstance(good, BaseException)
        assert not isinstance(other, BaseException)
        assert numbers([*good, *other]) == [1, 2, 3]
        assert batcher.statistics().frames_waiting == 0


async def test_who_has_gone_is_not_rendered(avatar: Avatar, gate: Gate) -> None:
    with Batcher(gate, max_batch=2).running() as batcher:
        blocker = asyncio.create_task(batcher.render(frames(avatar, 0), deadline_s=0, per_turn=2))
        await entered(gate)
        leaver = asyncio.create_task(
            batcher.render(frames(avatar, *range(1, 9)), deadline_s=1, per_turn=2)
        )
        await asyncio.sleep(0)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        gate.open.set()
        await blocker
        assert numbers(await batcher.render(frames(avatar, 99), deadline_s=2, per_turn=2)) == [99]
    assert gate.seen == [[0], [99]]


async def test_calls_run_on_the_render_thread(avatar: Avatar) -> None:
    with Batcher(NumberRenderer(), max_batch=2).running() as batcher:
        name = await batcher.call(lambda renderer: threading.current_thread().name)
        assert name == "renderer"
        with pytest.raises(RenderFailed, match="division"):
            await batcher.call(lambda renderer: 1 / 0)
        assert await batcher.call(lambda renderer: renderer.name) == "number"


async def test_the_thread_ends_with_the_block(avatar: Avatar, gate: Gate) -> None:
    with Batcher(gate, max_batch=1).running() as batcher:
        waiting = asyncio.create_task(
            batcher.render(frames(avatar, 1, 2, 3), deadline_s=0, per_turn=1)
        )
        await entered(gate)
        gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await waiting
    assert "renderer" not in [thread.name for thread in threading.enumerate()]


async def test_an_idle_thread_uses_no_time(avatar: Avatar) -> None:
    with Batcher(NumberRenderer(), max_batch=2).running() as batcher:
        await batcher.render(frames(avatar, 1), deadline_s=0, per_turn=1)
        before = time.process_time()
        await asyncio.sleep(0.2)
        assert time.process_time() - before < 0.05
