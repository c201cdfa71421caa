"""One render thread: batches by deadline, failures that stay with whom they belong to."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from fakes import NumberRenderer, make_avatar, numbers

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.config import EncoderConfig
from musetalk_stream.errors import RendererLost, RenderFailed
from musetalk_stream.renderers import DeviceLost, FrameRequest, Mouths, Rendering
from musetalk_stream.schedule import ENCODER_SHARE


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


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 5)


async def test_mouths_come_back_in_order(avatar: Avatar) -> None:
    with Batcher(NumberRenderer(), max_batch=4).running() as batcher:
        mouths = await batcher.render(frames(avatar, *range(10)), deadline_s=0, per_turn=3)
        assert numbers(mouths) == list(range(10))
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
        for k, mouths in zip(range(0, 900, 9), await asyncio.gather(*calls), strict=True):
            assert numbers(mouths) == list(range(k, k + 9))


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


# --- in flight


class Watched(NumberRenderer):
    """Works later, notes what happens to each batch, and holds it there until it is opened."""

    def __init__(self, **options: object) -> None:
        super().__init__(works_later=True, **options)  # type: ignore[arg-type]
        self.open = threading.Event()
        self.waited_for = threading.Event()
        self.log: list[tuple[str, list[int]]] = []

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        self.log.append(("submit", [int(request.audio_window[0]) for request in batch]))
        return super().submit(batch)

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        self.log.append(("wait", [int(request.audio_window[0]) for request in batch]))
        self.waited_for.set()
        self.open.wait(10)
        return super().render(batch)


async def test_the_next_batch_is_submitted_before_the_last_is_waited_for(avatar: Avatar) -> None:
    renderer = Watched()
    renderer.open.set()
    with Batcher(renderer, max_batch=2).running() as batcher:
        mouths = await batcher.render(frames(avatar, *range(8)), deadline_s=0, per_turn=2)
        assert numbers(mouths) == list(range(8))
        assert batcher.statistics().in_flight == 0
    assert renderer.log == [
        ("submit", [0, 1]),
        ("submit", [2, 3]),
        ("wait", [0, 1]),
        ("submit", [4, 5]),
        ("wait", [2, 3]),
        ("submit", [6, 7]),
        ("wait", [4, 5]),
        ("wait", [6, 7]),
    ]


async def test_spare_calls_wait_until_the_device_has_work(avatar: Avatar) -> None:
    renderer = Watched()
    with Batcher(renderer, max_batch=2).running() as batcher:
        speech = asyncio.create_task(
            batcher.render(frames(avatar, *range(8)), deadline_s=0, per_turn=2)
        )
        assert await asyncio.to_thread(renderer.waited_for.wait, 5)
        spare = [
            batcher.call(lambda _: renderer.log.append(("spare", [])), spare=True) for _ in range(3)
        ]
        ordinary = batcher.call(lambda _: renderer.log.append(("call", [])))
        waiting = asyncio.gather(speech, *spare, ordinary)
        await asyncio.sleep(0)
        renderer.open.set()
        await waiting
    # One between two batches, while the device has two; the ordinary call before all of it.
    assert [what if what != "submit" else f"submit {batch[0]}" for what, batch in renderer.log] == [
        *("submit 0", "submit 2", "wait", "call"),
        *("submit 4", "spare", "wait"),
        *("submit 6", "spare", "wait"),
        *("spare", "wait"),
    ]


async def test_a_spare_call_goes_between_batches_that_are_done_at_once(
    avatar: Avatar, gate: Gate
) -> None:
    log = gate.seen
    with Batcher(gate, max_batch=2).running() as batcher:
        speech = asyncio.create_task(
            batcher.render(frames(avatar, *range(8)), deadline_s=0, per_turn=2)
        )
        await entered(gate)
        spare = [batcher.call(lambda _: log.append([-1]), spare=True) for _ in range(5)]
        waiting = asyncio.gather(speech, *spare)
        await asyncio.sleep(0)
        gate.open.set()
        await waiting
    # One after each batch; what is left when no frame waits any more, at once.
    assert log == [[0, 1], [-1], [2, 3], [-1], [4, 5], [-1], [6, 7], [-1], [-1]]


async def test_what_is_done_at_once_is_handed_out_before_the_next_batch(avatar: Avatar) -> None:
    done_before: list[bool] = []

    class Noting(NumberRenderer):
        def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
            done_before.append(batcher.statistics().in_flight == 0)
            return super().submit(batch)

    with Batcher(Noting(), max_batch=2).running() as batcher:
        await batcher.render(frames(avatar, *range(8)), deadline_s=0, per_turn=2)
    assert done_before == [True] * 4


async def test_an_early_deadline_waits_for_no_more_than_what_is_in_flight(avatar: Avatar) -> None:
    renderer = Watched()
    with Batcher(renderer, max_batch=2).running() as batcher:
        late = asyncio.create_task(
            batcher.render(frames(avatar, *range(8)), deadline_s=9, per_turn=2)
        )
        assert await asyncio.to_thread(renderer.waited_for.wait, 5)
        assert batcher.statistics().in_flight == 2
        soon = asyncio.create_task(batcher.render(frames(avatar, 90, 91), deadline_s=1, per_turn=2))
        await asyncio.sleep(0)
        renderer.open.set()
        assert numbers(await soon) == [90, 91]
        assert numbers(await late) == list(range(8))
    submitted = [batch for what, batch in renderer.log if what == "submit"]
    assert submitted == [[0, 1], [2, 3], [90, 91], [4, 5], [6, 7]]


async def test_who_leaves_frees_the_renderer_within_what_is_in_flight(avatar: Avatar) -> None:
    renderer = Watched()
    with Batcher(renderer, max_batch=2).running() as batcher:
        leaver = asyncio.create_task(
            batcher.render(frames(avatar, *range(100)), deadline_s=0, per_turn=2)
        )
        assert await asyncio.to_thread(renderer.waited_for.wait, 5)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        renderer.open.set()
        assert numbers(await batcher.render(frames(avatar, 200), deadline_s=9, per_turn=2)) == [200]
        assert batcher.statistics().frames_waiting == 0
    submitted = [batch for what, batch in renderer.log if what == "submit"]
    assert submitted == [[0, 1], [2, 3], [200]]


@pytest.mark.parametrize("works_later", [False, True])
async def test_a_poisoned_frame_among_eight(avatar: Avatar, works_later: bool) -> None:
    renderer = NumberRenderer(works_later=works_later, fails_on=lambda _, frame: frame == 313)
    with Batcher(renderer, max_batch=16).running() as batcher:
        parts = [range(100 * k + 10, 100 * k + 18) for k in range(8)]
        outcomes = await asyncio.gather(
            *(batcher.render(frames(avatar, *part), deadline_s=0, per_turn=2) for part in parts),
            return_exceptions=True,
        )
        for part, outcome in zip(parts, outcomes, strict=True):
            if 313 in part:
                assert isinstance(outcome, RenderFailed)
            else:
                assert not isinstance(outcome, BaseException)
                assert numbers(outcome) == list(part)
        assert batcher.statistics().frames_waiting == 0


# --- memory


@pytest.mark.parametrize("works_later", [False, True])
@pytest.mark.parametrize("fits", [1, 3, 7])
async def test_batches_that_do_not_fit_are_halved(
    avatar: Avatar, works_later: bool, fits: int, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = NumberRenderer(works_later=works_later, fits=fits)
    with Batcher(renderer, max_batch=16).running() as batcher:
        mouths = await batcher.render(frames(avatar, *range(48)), deadline_s=0, per_turn=64)
        assert numbers(mouths) == list(range(48)), "all arrive, in order"
        largest = batcher.statistics().max_batch
        assert largest == {1: 1, 3: 2, 7: 4}[fits]
        del renderer.batches[:]
        await batcher.render(frames(avatar, *range(16)), deadline_s=0, per_turn=64)
    assert set(renderer.batches) == {largest}
    told = [each for each in caplog.records if "does not fit" in each.getMessage()]
    assert len(told) == 1, "once per reduction"


async def test_a_frame_that_does_not_fit_fails_only_its_own(avatar: Avatar) -> None:
    renderer = NumberRenderer(fits=0)
    with Batcher(renderer, max_batch=4).running() as batcher:
        with pytest.raises(RenderFailed, match="room for 0"):
            await batcher.render(frames(avatar, *range(5)), deadline_s=0, per_turn=4)
        renderer.fits = 4
        assert numbers(await batcher.render(frames(avatar, 7), deadline_s=0, per_turn=1)) == [7]
        assert batcher.statistics().max_batch == 4, "its size was not the cause"


@pytest.mark.parametrize(
    ("tries", "limit"),
    [(1, 8), (2, 8), (4, 8), (5, 16), (30, 16)],
    ids=["16", "16, 8", "16, 8, 4, 2", "a single frame", "all single frames"],
)
async def test_memory_that_is_short_for_a_moment(avatar: Avatar, tries: int, limit: int) -> None:
    class Short(NumberRenderer):
        """Nothing fits, so many times; then everything does."""

        def render(self, batch: Sequence[FrameRequest]) -> Mouths:
            self.fits = 0 if len(self.batches) <= tries else 1000
            return super().render(batch)

    with Batcher(Short(), max_batch=16).running() as batcher:
        rendering = batcher.render(frames(avatar, *range(16)), deadline_s=0, per_turn=64)
        if tries < 5:
            assert numbers(await rendering) == list(range(16))
        else:
            with pytest.raises(RenderFailed, match="room for 0"):
                await rendering
        assert batcher.statistics().max_batch == limit


async def test_batches_have_sizes_that_are_well_filled(avatar: Avatar) -> None:
    renderer = NumberRenderer()
    with Batcher(renderer, max_batch=16).running() as batcher:
        await batcher.render(frames(avatar, *range(9)), deadline_s=0, per_turn=64)
        assert renderer.batches == [8, 1]
        assert batcher.statistics().batch_fill == 1


async def test_figures(avatar: Avatar) -> None:
    told: list[str] = []
    with Batcher(NumberRenderer(), max_batch=16).running() as batcher:
        before = batcher.statistics()
        assert (before.batches, before.batch_fill, before.capacity_fps) == (0, 0, 0)
        await batcher.render(frames(avatar, *range(12)), deadline_s=0, per_turn=64)
        assert batcher.statistics().batch_fill == 12 / 16
        await batcher.measure(avatar, EncoderConfig(), 2, told.append)
        figures = batcher.statistics()
    assert list(figures.frames_per_second_by_batch) == [1, 2, 4, 8, 16]
    fastest = max(figures.frames_per_second_by_batch.values())
    assert figures.frames_per_second_by_batch[figures.max_batch] == fastest
    assert figures.encoder_frames_per_second > 0
    expected = min(0.9 * fastest, ENCODER_SHARE * figures.encoder_frames_per_second)
    assert figures.capacity_fps == pytest.approx(expected, abs=0.2)
    assert told[-1] == "measuring the encoders"


# --- loss


async def test_a_lost_device_fails_all_who_wait_and_all_who_come(avatar: Avatar) -> None:
    renderer = Watched()
    with Batcher(renderer, max_batch=2).running() as batcher:
        waiting = [
            asyncio.create_task(batcher.render(frames(avatar, *range(9)), deadline_s=k, per_turn=2))
            for k in range(3)
        ]
        assert await asyncio.to_thread(renderer.waited_for.wait, 5)
        called = asyncio.create_task(batcher.call(lambda its: its.name))
        await asyncio.sleep(0)
        renderer.lost = "an illegal memory access"
        renderer.open.set()
        async with asyncio.timeout(5):
            for outcome in await asyncio.gather(*waiting, called, return_exceptions=True):
                assert isinstance(outcome, RendererLost)
                assert "an illegal memory access" in outcome.detail
        with pytest.raises(RendererLost):
            await batcher.render(frames(avatar, 1), deadline_s=0, per_turn=1)
        with pytest.raises(RendererLost):
            await batcher.call(lambda its: its.name)
        assert batcher.lost
        assert "an illegal memory access" in batcher.lost


async def test_a_call_can_lose_the_device_too(avatar: Avatar) -> None:
    def lose(renderer: object) -> None:
        raise DeviceLost("gone")

    with Batcher(NumberRenderer(), max_batch=2).running() as batcher:
        with pytest.raises(RendererLost, match="gone"):
            await batcher.call(lose)
        with pytest.raises(RendererLost, match="gone"):
            await batcher.render(frames(avatar, 1), deadline_s=0, per_turn=1)
