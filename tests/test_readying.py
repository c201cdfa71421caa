"""Avatars that the renderer is not prepared for: asked for, made ready meanwhile, then shown."""

import asyncio
from collections.abc import Iterator

from fakes import NumberRenderer, tone, wav
from servers import Begin, Json, Serve, Server

from musetalk_stream.avatar import Avatar


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


async def test_a_failed_preparation_says_why_and_is_tried_anew(serve: Serve) -> None:
    renderer = Slowly("other")
    renderer.fails_because = "no face anywhere"
    server = await serve(renderer)
    await refused(server, "other")
    await until_progress(server, "other", None)
    assert (await avatar(server, "other"))["prepared"] is False
    renderer.fails_because = ""
    renderer.may_finish = True
    assert "no face anywhere" in await refused(server, "other")
    await until_progress(server, "other", None)
    await server.create(avatar_id="other")


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
