"""How many sessions a server takes: what it was measured to make, or what it is told; and who holds
how much of that."""

import math
import time
from collections.abc import Sequence

import pytest
from fakes import NumberRenderer, tone, wav
from servers import Serve, Server

from musetalk_stream import sessions
from musetalk_stream.renderers import FrameRequest, Mouths
from musetalk_stream.renderers.builtin import BuiltinRenderer


async def refused(server: Server, **options: object) -> str:
    answer = await server.client.post("/sessions/create", json=options)
    assert answer.status_code == 429
    assert answer.json()["retryable"]
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["code"] == "capacity"
    return str(answer.json()["detail"])


async def engine(server: Server) -> dict[str, float]:
    figures: dict[str, float] = (await server.client.get("/sessions/stats")).json()["engine"]
    return figures


async def test_sessions_share_the_capacity_and_give_it_back(serve: Serve) -> None:
    server = await serve(capacity_fps=60)
    first, _ = await server.create(), await server.create()
    detail = await refused(server)
    assert all(number in detail for number in ("60", "50", "25"))
    small = await server.create(fps=10)
    figures = await engine(server)
    assert (figures["capacity_fps"], figures["reserved_fps"]) == (60, 60)
    await refused(server, fps=5)
    await server.client.delete(f"/sessions/{small}")
    await server.client.delete(f"/sessions/{first}")
    assert (await engine(server))["reserved_fps"] == 25
    await server.create(fps=30)


async def test_of_a_capacity_that_is_told_what_is_played_counts(serve: Serve) -> None:
    server = await serve(capacity_fps=60)
    await server.create(fps=10, playback_fps=40)
    await refused(server, fps=10, playback_fps=30)
    await server.create(fps=10)
    figures = await engine(server)
    assert (figures["reserved_lips_fps"], figures["reserved_fps"]) == (20, 50)


async def test_where_lips_are_slow_more_sessions_move_theirs_less_often(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02, batch_sizes=(1,)), capacity_fps=0)
    figures = await engine(server)
    assert figures["capacity_fps"] == figures["lips_capacity_fps"] <= 45
    assert figures["output_capacity_fps"] > 60
    fitting = math.floor((figures["lips_capacity_fps"] - 0.1) / 10)  # as told, it is rounded
    for _ in range(fitting):
        await server.create(fps=10, playback_fps=15)
    assert f"play {15 * fitting} with lips for {10 * fitting}," in await refused(server, fps=10)


async def test_expiry_gives_the_share_back(serve: Serve) -> None:
    server = await serve(capacity_fps=30, session_idle_s=1)
    await server.create()
    await refused(server)

    async def there_is_room() -> bool:
        return (await server.client.post("/sessions/create")).status_code == 201

    await server.until(there_is_room)


def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SHARE_GRACE_S", 0.0)


async def test_who_is_watched_keeps_a_share_and_who_is_left_does_not(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(capacity_fps=60)
    left, watched = await server.create(), await server.create()
    await refused(server)
    async with server.events(watched) as events:
        await events.next()
        no_grace(monkeypatch)
        assert await server.state(left) == "idle", "it stays"
        await server.create(fps=35)
        await refused(server, fps=36)

    async def there_is_room_for_all() -> bool:
        return (await server.client.post("/sessions/create?fps=60")).status_code == 201

    await server.until(there_is_room_for_all)


async def test_speech_keeps_a_share_until_it_has_been_seen(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(capacity_fps=60)
    session_id = await server.create()
    no_grace(monkeypatch)
    heard = await server.speak(session_id, wav(tone(2.0)))
    assert heard[-1]["event"] == "complete"
    await server.chunks(heard)

    async def is_alone() -> bool:
        document = (await server.client.get(f"/sessions/{session_id}")).json()
        return document["state"] == "idle" and not document["subscribers"]

    await server.until(is_alone)
    await refused(server, fps=36)

    async def has_been_seen() -> bool:
        return (await engine(server))["reserved_fps"] == 0

    await server.until(has_been_seen)


async def test_an_upload_takes_a_share_anew(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve(capacity_fps=60)
    waiting = await server.create(fps=35)
    no_grace(monkeypatch)
    other = await server.create(fps=30)
    async with server.events(other) as events:
        await events.next()
        assert (await server.upload(other, wav(tone(1.0)))).status_code == 202
        answer = await server.upload(waiting, wav(tone(1.0)))
        assert (answer.status_code, answer.json()["code"]) == (429, "capacity")
        assert answer.headers["Retry-After"] == "5"
        assert await server.state(waiting) == "idle", "it may try again"
        await server.client.delete(f"/sessions/{other}")
    assert (await server.speak(waiting, wav(tone(3.0))))[-1]["event"] == "complete"
    assert (await engine(server))["reserved_fps"] == 35


async def test_a_full_server_prepares_nothing(serve: Serve) -> None:
    renderer = NumberRenderer(unprepared={"other"})
    server = await serve(renderer, capacity_fps=30)
    await server.create()
    answer = await server.client.post("/sessions/create", json={"avatar_id": "other"})
    assert (answer.status_code, answer.json()["code"]) == (429, "capacity")
    document = (await server.client.get("/avatars/other")).json()
    assert document["prepared"] is False
    assert "progress" not in document


async def test_a_machine_too_slow_for_one_session_takes_one(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(NumberRenderer(delay_s=0.1, batch_sizes=(1,)), capacity_fps=0)
    assert any("will stall" in each.getMessage() for each in caplog.records)
    session_id = await server.create()
    await refused(server, fps=5)
    await server.client.delete(f"/sessions/{session_id}")
    await server.create()


async def test_a_fast_machine_does_not_complain(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    await serve(capacity_fps=0)
    assert not any("stall" in each.getMessage() for each in caplog.records)


async def test_capacity_is_measured(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.004, batch_sizes=(1, 2)), capacity_fps=0)
    figures = await engine(server)
    by_batch = (await server.client.get("/sessions/stats")).json()["engine"][
        "frames_per_second_by_batch"
    ]
    assert set(by_batch) == {"1", "2"}
    assert figures["capacity_fps"] == pytest.approx(0.9 * max(by_batch.values()), abs=0.2)
    fitting = math.floor(figures["capacity_fps"] / 25)
    for _ in range(max(1, fitting)):
        await server.create()
    await refused(server)


async def test_lips_that_the_encoders_move_have_no_limit_of_their_own(serve: Serve) -> None:
    server = await serve(BuiltinRenderer(), capacity_fps=0)
    figures = (await server.client.get("/sessions/stats")).json()["engine"]
    assert figures["frames_per_second_by_batch"] == {}
    assert figures["lips_capacity_fps"] is None
    assert figures["capacity_fps"] == figures["output_capacity_fps"] > 0
    for _ in range(max(1, math.floor(figures["capacity_fps"] / 60))):
        await server.create(fps=60)
    assert " and lips for" not in await refused(server, fps=60)


async def test_less_memory_is_less_capacity(serve: Serve) -> None:
    class LikesCompany(NumberRenderer):
        """A batch takes as long as a single frame."""

        def render(self, batch: Sequence[FrameRequest]) -> Mouths:
            time.sleep(0.02)
            return super().render(batch)

    renderer = LikesCompany()
    server = await serve(renderer, capacity_fps=0)
    before = await engine(server)
    assert before["max_batch"] == 16
    session_id = await server.create(batch_size=64, fps=60)
    renderer.fits = 4
    assert (await server.speak(session_id, wav(tone(2.0))))[-1]["event"] == "complete"
    after = (await server.client.get("/sessions/stats")).json()["engine"]
    assert after["max_batch"] <= 4
    usable = after["frames_per_second_by_batch"][str(after["max_batch"])]
    assert after["capacity_fps"] == pytest.approx(0.9 * usable, abs=0.2)
    assert after["capacity_fps"] < before["capacity_fps"]
