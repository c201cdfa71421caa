"""A renderer that is lost, hangs or does not load: another takes its place, sessions stay."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from fakes import NumberRenderer, make_avatar, numbers, tone, wav
from servers import Begin, Json, Serve

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.errors import RendererLost
from musetalk_stream.renderers import DeviceLost, FrameRequest, Mouths, Renderer
from musetalk_stream.supervisor import RendererState, Supervisor


class Mortal(NumberRenderer):
    """Dies in its next batch when it is told to; then does not load as often as it is told."""

    def __init__(self, *, load_failures: int = 0, delay_s: float = 0.0) -> None:
        super().__init__(delay_s=delay_s)
        self.load_failures = load_failures
        self.is_loaded = False
        self._dies = threading.Event()

    def die(self) -> None:
        self._dies.set()

    def load(self, progress: Callable[[str], None]) -> None:
        if self.is_loaded and self.load_failures:
            self.load_failures -= 1
            raise RuntimeError("no room on the device yet")
        self.is_loaded = True
        super().load(progress)

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        if self._dies.is_set():
            self._dies.clear()
            raise DeviceLost("fell off the bus")
        return super().render(batch)


class Hanging(NumberRenderer):
    """Does not come back from one batch, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.let_go = threading.Event()

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        if self.hangs:
            self.hangs = False
            self.let_go.wait(30)
        return super().render(batch)


async def test_a_lost_renderer_is_replaced_while_sessions_stay(serve: Serve) -> None:
    renderer = Mortal(load_failures=1, delay_s=0.01)  # at once, then after a second
    server = await serve(renderer)
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(20.0)))
        await events.until("chunk")
        renderer.die()
        heard = await events.until("error")
        assert (heard[-1]["code"], heard[-1]["retryable"]) == ("renderer_lost", True)

        told = await server.client.get("/readyz")
        assert (told.status_code, told.json()["status"]) == (503, "restarting")
        assert "fell off the bus" in told.json()["detail"]
        assert (await server.client.get("/healthz")).status_code == 200
        for refused in (
            await server.client.post("/sessions/create"),
            await server.upload(session_id, wav(tone(0.5))),
        ):
            assert (refused.status_code, refused.json()["code"]) == (503, "renderer_lost")
            assert int(refused.headers["Retry-After"]) > 0

        await server.until_ready()
        await server.upload(session_id, wav(tone(0.5)))
        assert (await events.until_end())[-1]["event"] == "complete", "on the same stream"


_REFUSED = ("renderer_lost", "queue_full")
_KILLS = 5  # with 20, nothing else is seen


async def test_killed_again_and_again_under_5_speaking_sessions(serve: Serve) -> None:
    """Every utterance has one end, no session is lost, and the next one is spoken."""
    renderer = Mortal(delay_s=0.002)
    server = await serve(renderer, max_sessions=8)
    ids = [await server.create() for _ in range(5)]
    ends: dict[str, list[Json]] = {}
    is_over = False

    async def follow(session_id: str) -> None:
        async with server.events(session_id) as events:
            while not (is_over and set(uploaded) <= set(ends)):
                event = await events.next()
                if event["event"] in ("complete", "error", "cancelled"):
                    ends.setdefault(event["request_id"], []).append(event)

    uploaded: list[str] = []

    async def speak(session_id: str) -> None:
        while not is_over:
            answer = await server.upload(session_id, wav(tone(3.0)), on_busy="queue")
            if answer.status_code == 202:
                uploaded.append(answer.json()["request_id"])
            else:
                assert answer.json()["code"] in _REFUSED, answer.text
            await asyncio.sleep(0.05)

    async def kill() -> None:
        nonlocal is_over
        for _ in range(_KILLS):
            rendered = len(renderer.batches)
            renderer.die()

            async def has_died_and_renders_again(before: int = rendered) -> bool:
                return len(renderer.batches) > before + 2

            await server.until(has_died_and_renders_again)
            await server.until_ready()
        is_over = True

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(each)) for each in ids]
        speakers = [group.create_task(speak(each)) for each in ids]
        await group.create_task(kill())
        await asyncio.wait(speakers)  # what is still sent would hear that it is replaced
        last = [await server.upload(each, wav(tone(0.3)), on_busy="replace") for each in ids]
        spoken = {answer.json()["request_id"] for answer in last}
        uploaded.extend(spoken)

        async def all_have_ended() -> bool:
            # Those that were interrupted are told of together, in one event.
            return spoken <= set(ends)

        await server.until(all_have_ended)
        for follower in followers:
            follower.cancel()
    assert all(len(each) == 1 for each in ends.values()), "one end each"
    assert all(ends[each][0]["event"] == "complete" for each in spoken)
    lost = [each for (each,) in ends.values() if each["event"] == "error"]
    assert {each["code"] for each in lost} == {"renderer_lost"}
    assert len(lost) >= _KILLS


async def test_a_renderer_that_hangs_is_given_up(serve: Serve) -> None:
    renderer = Hanging()
    server = await serve(renderer, render_stall_s=0.4)
    session_id = await server.create()
    try:
        renderer.hangs = True
        heard = await server.speak(session_id, wav(tone(1.0)))
        assert heard[-1]["code"] == "renderer_lost"
        assert "0.4 s" in heard[-1]["message"]
        await server.until_ready()
        heard = await server.speak(session_id, wav(tone(1.0)))
        assert heard[-1]["event"] == "complete", "beside a thread that still hangs"
        renderer.let_go.set()

        async def its_thread_has_ended() -> bool:
            return [each.name for each in threading.enumerate()].count("renderer") == 1

        await server.until(its_thread_has_ended)
        heard = await server.speak(session_id, wav(tone(1.0)))
        assert heard[-1]["event"] == "complete", "what came back too late changes nothing"
    finally:
        renderer.let_go.set()


async def test_a_device_that_stays_lost_is_given_up_at_once(begin: Begin) -> None:
    renderer = NumberRenderer()
    starting = await begin(renderer)
    await starting.readiness.settled()
    server = starting.server
    session_id = await server.create()
    before = await server.speak(session_id, wav(tone(0.5)))
    renderer.lost = "unspecified launch failure"
    assert (await server.speak(session_id, wav(tone(0.5))))[-1]["code"] == "renderer_lost"
    async with asyncio.timeout(20):
        await starting.readiness.given_up()
    for path in ("/readyz", "/healthz"):
        answer = await server.client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, "failed")
        assert "unspecified launch failure" in answer.json()["detail"]
    assert all(chunk[4:8] == b"ftyp" for chunk in await server.chunks(before)), "still served"


# --- without a server


async def nothing_more(batcher: Batcher) -> None:
    pass


@asynccontextmanager
async def watched(
    supervisor: Supervisor, get_ready: Callable[[Batcher], Awaitable[None]] = nothing_more
) -> AsyncIterator[list[str]]:
    """What was said when it gave up. `get_ready`: of one that is loaded."""
    said: list[str] = []

    async def load(batcher: Batcher) -> None:
        await batcher.load(lambda doing: None)
        await get_ready(batcher)

    with supervisor.running():
        await load(supervisor.batcher)
        async with supervisor.watching(load, said.append):
            yield said


@pytest.fixture
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return make_avatar(tmp_path_factory.mktemp("avatar"))


def request(avatar: Avatar, number: int = 7) -> FrameRequest:
    return FrameRequest(avatar, 0, (number, 1.0))


async def lose(supervisor: Supervisor, renderer: Mortal, avatar: Avatar) -> None:
    renderer.die()
    with pytest.raises(RendererLost):
        await supervisor.batcher.render([request(avatar)], deadline_s=0, per_turn=1)


async def until_state(supervisor: Supervisor, state: RendererState) -> None:
    async with asyncio.timeout(20):
        while supervisor.state is not state:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_it_is_given_up_after_so_many_failures_in_a_row(avatar: Avatar) -> None:
    renderer = Mortal(load_failures=100)
    supervisor = Supervisor(renderer, lambda: renderer, max_batch=4, pauses_s=[0, 0.01, 0.02])
    async with watched(supervisor) as said:
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.GIVEN_UP)
        await asyncio.sleep(0)
        assert (supervisor.restarts, supervisor.failures) == (0, 3)
        assert renderer.load_failures == 97
        assert len(said) == 1
        assert "no room on the device yet" in said[0]


async def test_a_batch_that_is_rendered_ends_a_row_of_failures(avatar: Avatar) -> None:
    renderer = Mortal()
    supervisor = Supervisor(renderer, lambda: renderer, max_batch=4, pauses_s=[0, 0])
    async with watched(supervisor) as said:
        for round in range(6):  # more than the pauses allow in a row
            mouths = await supervisor.batcher.render(
                [request(avatar, round)], deadline_s=0, per_turn=1
            )
            assert numbers(mouths) == [round]
            await lose(supervisor, renderer, avatar)
            await until_state(supervisor, RendererState.UP)
        assert supervisor.restarts == 6
        assert supervisor.batcher.statistics().batches == 6, "counts go on"
        assert not said


async def test_without_one_it_does_not(avatar: Avatar) -> None:
    renderer = Mortal()
    supervisor = Supervisor(renderer, lambda: renderer, max_batch=4, pauses_s=[0, 0])
    async with watched(supervisor) as said:
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.UP)
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.UP)
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.GIVEN_UP)
        await asyncio.sleep(0)
        assert said


async def test_a_second_that_hangs_says_that_it_is_no_accident(avatar: Avatar) -> None:
    renderer = Hanging()
    supervisor = Supervisor(
        renderer, lambda: renderer, max_batch=4, stall_s=0.1, pauses_s=[0, 0, 0, 0]
    )
    try:
        async with watched(supervisor) as said:
            for state in (RendererState.UP, RendererState.GIVEN_UP):
                renderer.hangs = True
                with pytest.raises(RendererLost, match=r"0\.1 s"):
                    await supervisor.batcher.render([request(avatar)], deadline_s=0, per_turn=1)
                await until_state(supervisor, state)
            await asyncio.sleep(0)
            assert supervisor.hangs == 2
            assert "hang" in said[0]
    finally:
        renderer.let_go.set()


async def test_threads_that_end_late_do_not_hang(avatar: Avatar) -> None:
    renderer, dawdling = Mortal(), list[asyncio.Task[None]]()
    supervisor = Supervisor(renderer, lambda: renderer, max_batch=4, pauses_s=[0, 0, 0])

    async def fail_twice(batcher: Batcher) -> None:
        if batcher is supervisor.batcher or len(dawdling) == 2:
            return
        has_begun = threading.Event()

        def dawdle(renderer: Renderer) -> None:
            has_begun.set()
            time.sleep(0.8)  # less than what hangs

        dawdling.append(asyncio.create_task(batcher.call(dawdle)))
        await asyncio.to_thread(has_begun.wait)
        raise RuntimeError("not yet")

    async with watched(supervisor, fail_twice) as said:
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.UP)
        assert (supervisor.restarts, supervisor.hangs) == (1, 0)
        assert not said
    for each in dawdling:
        with pytest.raises(RendererLost, match="get ready"):
            await each


async def test_what_was_measured_holds_for_the_next(avatar: Avatar) -> None:
    renderer = Mortal()
    supervisor = Supervisor(renderer, lambda: renderer, max_batch=4, capacity_fps=123)
    async with watched(supervisor):
        await lose(supervisor, renderer, avatar)
        await until_state(supervisor, RendererState.UP)
        assert supervisor.batcher.capacity.output == 123
        assert supervisor.batcher.statistics().max_batch == 4


async def test_the_lost_one_is_let_go_before_the_next_is_made(avatar: Avatar) -> None:
    """Two may not fit on one device."""
    alive = 0

    class Large(Mortal):
        def __init__(self) -> None:
            super().__init__()
            nonlocal alive
            assert not alive, "the one before it still holds its memory"
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    supervisor = Supervisor(Large(), Large, max_batch=4)
    async with watched(supervisor) as said:
        first = supervisor.batcher

        def die(renderer: object) -> None:
            raise DeviceLost("fell off the bus")

        with pytest.raises(RendererLost):
            await first.call(die)
        await until_state(supervisor, RendererState.UP)
        assert (supervisor.restarts, alive) == (1, 1)
        assert not said
