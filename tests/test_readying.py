"""Avatars that the renderer is not prepared for: asked for, made ready meanwhile, then shown."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import NumberRenderer, make_avatar, tone, wav
from servers import Begin, Json, Serve, Server

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.errors import AvatarNotFound, AvatarNotPrepared, PreparationFailed
from musetalk_stream.readying import Readying


class Slowly(NumberRenderer):
    """Stays at 40 % of every preparation until it may go on; notes which run at once."""

    def __init__(self, *unprepared: str) -> None:
        super().__init__(unprepared=set(unprepared))
        self.may_finish = False
        self.fails_because = ""
        self.begun: list[str] = []
        self.at_work = 0
        self.most_at_work = 0

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        self.begun.append(avatar.id)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            while not self.may_finish:
                if self.fails_because:
                    raise ValueError(self.fails_because)
                yield 0.4
            yield from super().prepare(avatar)
        finally:
            self.at_work -= 1


async def refused(server: Server, avatar_id: str) -> str:
    answer = await server.client.post("/sessions/create", json={"avatar_id": avatar_id})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (409, "avatar_not_prepared")
    assert document["retryable"]
    assert int(answer.headers["Retry-After"]) > 0
    return str(document["detail"])


async def avatar(server: Server, avatar_id: str) -> Json:
    document: Json = (await server.client.get(f"/avatars/{avatar_id}")).json()
    return document


async def until_progress(server: Server, avatar_id: str, progress: float | None) -> None:
    async def is_so() -> bool:
        return (await avatar(server, avatar_id)).get("progress") == progress

    await server.until(is_so)


async def test_asking_prepares_and_the_same_request_then_succeeds(serve: Serve) -> None:
    renderer = Slowly("other")
    server = await serve(renderer)
    assert (await avatar(server, "tiny"))["prepared"] is True
    before = await avatar(server, "other")
    assert before["prepared"] is False
    assert "progress" not in before, "nobody has asked for it"

    assert "other is being prepared" in await refused(server, "other")
    await until_progress(server, "other", 0.4)
    assert "40 %" in await refused(server, "other")
    assert await avatar(server, "other") in (await server.client.get("/avatars")).json()["avatars"]
    session_id = await server.create(avatar_id="tiny")
    heard = await server.speak(session_id, wav(tone(1.0)))
    assert heard[-1]["event"] == "complete", "batches go between the steps"

    renderer.may_finish = True
    await until_progress(server, "other", None)
    assert (await avatar(server, "other"))["prepared"] is True
    heard = await server.speak(await server.create(avatar_id="other"), wav(tone(0.5)))
    assert heard[-1]["event"] == "complete"


async def test_one_at_a_time_and_each_once(serve: Serve) -> None:
    renderer = Slowly("other", "demo")
    server = await serve(renderer)
    for _ in range(3):
        await asyncio.gather(*(refused(server, avatar_id) for avatar_id in ("other", "demo")))
    renderer.may_finish = True
    for avatar_id in ("other", "demo"):
        await until_progress(server, avatar_id, None)
        assert (await avatar(server, avatar_id))["prepared"] is True
    assert sorted(renderer.begun) == ["demo", "other"]
    assert renderer.most_at_work == 1


async def test_a_failed_preparation_says_why_and_is_not_repeated_at_once(serve: Serve) -> None:
    renderer = Slowly("other")
    renderer.fails_because = "no face anywhere"
    server = await serve(renderer)
    await refused(server, "other")
    await until_progress(server, "other", None)
    for _ in range(3):
        told = await refused(server, "other")
        assert "could not be prepared" in told
        assert "no face anywhere" in told
    assert (await avatar(server, "other"))["prepared"] is False
    assert renderer.begun == ["other"]


class Minutes(NumberRenderer):
    """Takes a quarter of an hour by the clock it is given; fails at the end while it is told to."""

    def __init__(self) -> None:
        super().__init__(unprepared={"tiny", "other"})
        self.now_s = 1000.0
        self.fails = False

    def clock(self) -> float:
        return self.now_s

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        for share in super().prepare(avatar):
            self.now_s += 225.0
            if self.fails and share == 1:
                raise ValueError("no room")
            yield share


def refusal(readying: Readying, avatar: Avatar) -> AvatarNotPrepared:
    with pytest.raises(AvatarNotPrepared) as caught:
        readying.require(avatar)
    return caught.value


async def test_the_time_left_is_told(tmp_path: Path) -> None:
    renderer, one, other = Minutes(), make_avatar(tmp_path), make_avatar(tmp_path, "other")
    told: list[str] = []
    seen: list[tuple[int, str]] = []
    with Batcher(renderer, max_batch=1).running() as batcher:
        readying = Readying(batcher, renderer.clock)
        assert refusal(readying, other).retry_after_s == 3, "nobody knows yet"

        def progress(doing: str) -> None:
            told.append(doing)
            for error in (refusal(readying, one), refusal(readying, other)):
                seen.append((error.retry_after_s, error.detail))  # noqa: PERF401

        await readying.prepare(one, progress)
    assert [doing.removeprefix("preparing avatar tiny: ") for doing in told] == [
        "0 %",
        "25 %, about 11 min left",
        "50 %, about 8 min left",
        "75 %, about 4 min left",
        "100 %",
    ]
    ours, others = seen[2], seen[3]
    assert ours == (
        60, "avatar tiny is being prepared, 25 %, about 11 min left: try again in 60 s"
    )  # fmt: skip
    assert others == (60, "avatar other is being prepared, 0 %: try again in 60 s")


async def test_a_failed_preparation_is_tried_anew_after_a_while(tmp_path: Path) -> None:
    renderer, tiny = Minutes(), make_avatar(tmp_path)
    renderer.fails = True
    with Batcher(renderer, max_batch=1).running() as batcher:
        async with Readying(batcher, renderer.clock).running() as readying:

            async def ended() -> None:
                async with asyncio.timeout(5):
                    while "progress" in readying.describe(tiny):
                        await batcher.call(lambda renderer: None)

            refusal(readying, tiny)
            await ended()
            error = refusal(readying, tiny)
            assert (error.retry_after_s, "no room" in error.detail) == (60, True)
            renderer.now_s += 45.5
            error = refusal(readying, tiny)
            assert error.detail.endswith("is not tried anew yet: try again in 15 s")
            assert "progress" not in readying.describe(tiny)
            renderer.fails = False
            renderer.now_s += 14.5
            assert "is being prepared" in refusal(readying, tiny).detail
            await ended()
            readying.require(tiny)


async def test_a_failure_is_of_an_avatar_and_not_of_its_id(tmp_path: Path) -> None:
    renderer = Slowly("tiny")
    renderer.fails_because = "no room"
    old, new = make_avatar(tmp_path / "old"), make_avatar(tmp_path / "new")
    with Batcher(renderer, max_batch=1).running() as batcher:
        async with Readying(batcher).running() as readying:
            with pytest.raises(PreparationFailed, match="no room"):
                async for _ in readying.until_prepared(old):
                    pass
            assert "could not be prepared" in refusal(readying, old).detail
            assert "is being prepared, 0 %" in refusal(readying, new).detail


async def test_one_that_is_dropped_keeps_nobody_waiting(tmp_path: Path) -> None:
    renderer = Slowly("one", "two", "three")
    one, two, three = [make_avatar(tmp_path, name) for name in ("one", "two", "three")]
    with Batcher(renderer, max_batch=1).running() as batcher:
        async with Readying(batcher).running() as readying:
            waiting = readying.until_prepared(one)
            while await anext(waiting) < 0.4:
                pass
            refusal(readying, two)
            refusal(readying, three)
            readying.drop(two)
            readying.drop(one)
            with pytest.raises(AvatarNotFound, match="one has been deleted"):
                await anext(waiting)
            with pytest.raises(AvatarNotFound):
                readying.require(two)
            async with asyncio.timeout(5):
                while readying.describe(three).get("progress") != 0.4:
                    await batcher.call(lambda renderer: None)
            assert renderer.begun == ["one", "three"]
            assert renderer.at_work == 1, "what was done for it has ended"


async def test_an_avatar_that_does_not_exist_is_not_prepared(server: Server) -> None:
    answer = await server.client.post("/sessions/create", json={"avatar_id": "nobody"})
    assert answer.json()["code"] == "avatar_not_found"


async def test_a_device_lost_meanwhile_is_told_as_such(serve: Serve) -> None:
    renderer = Slowly("other")
    server = await serve(renderer)
    await refused(server, "other")
    await until_progress(server, "other", 0.4)
    session_id = await server.create(avatar_id="tiny")
    renderer.lost = "gone"
    assert (await server.speak(session_id, wav(tone(0.5))))[-1]["code"] == "renderer_lost"
    answer = await server.client.post("/sessions/create", json={"avatar_id": "other"})
    assert answer.json()["code"] == "renderer_lost"


async def test_preparation_ends_with_the_server(begin: Begin) -> None:
    starting = await begin(Slowly("other"))
    await starting.readiness.settled()
    await refused(starting.server, "other")
    await until_progress(starting.server, "other", 0.4)
    async with asyncio.timeout(5):
        await starting.runner.cleanup()
    assert "readying" not in [task.get_name() for task in asyncio.all_tasks()]
