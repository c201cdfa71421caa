"""A server that is told to stop: what was begun comes to its end, and nothing new begins."""

import asyncio
import signal
import time
from pathlib import Path

from fakes import NumberRenderer, tone, wav
from servers import Begin, Json, Server, Starting, start_process
from talking import Held, send

from musetalk_stream.web.app import drain

L16 = "audio/L16;rate=16000"


async def fetch_all(server: Server, heard: list[Json]) -> bytes:
    """The utterance as one file, as a player puts it together."""
    chunks = await server.chunks(heard)
    assert all(chunk[4:8] == b"ftyp" for chunk in chunks)
    return b"".join(chunks)


async def test_of_a_process(avatar_store: Path, tmp_path: Path) -> None:
    """SIGTERM while somebody speaks, and others wait: no chunk is torn, all that were announced are
    fetched, and it ends as soon as that is so."""
    with start_process(tmp_path, avatar_store, "--capacity-fps", "100000") as process:
        async with process.client() as server:
            session_id = await server.create(avatar_id="tiny", on_busy="queue")
            async with server.events(session_id) as events:
                await events.next()
                first, second = [
                    (await server.upload(session_id, wav(tone(10.0)))).json()["request_id"]
                    for _ in range(2)
                ]
                heard = await events.until("chunk")
                process.process.send_signal(signal.SIGTERM)
                while (event := await events.next())["event"] != "closed":
                    heard.append(event)
                    if event["event"] == "chunk":
                        await server.chunks([event])
            assert event["reason"] == "shutdown"
            ends = [e for e in heard if e["event"] in ("complete", "error")]
            of = {e["request_id"]: (e["event"], e.get("code")) for e in ends}
            assert of == {first: ("complete", None), second: ("error", "shutting_down")}
            assert len(ends) == 2
            assert process.process.wait(timeout=30) == 0
    assert "Traceback" not in process.log


async def test_what_new_clients_are_told(begin: Begin) -> None:
    starting = await speaking(begin, NumberRenderer(delay_s=0.03), drain_s=2)
    server, session_id = starting.server, starting.session_id
    draining = asyncio.create_task(drain(starting.starting.runner.app))
    await until_status(server, "draining")
    assert (await server.client.get("/healthz")).status_code == 200
    picture = {"media_file": ("a.png", b"", "image/png")}
    for refused in (
        await server.client.post("/sessions/create"),
        await server.upload(session_id, wav(tone(0.5)), on_busy="queue"),
        await server.client.post("/avatars", files=picture),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        assert refused.json()["retryable"]
        assert int(refused.headers["Retry-After"]) > 0
    assert (await server.client.get(f"/sessions/{session_id}")).status_code == 200
    await draining
    assert await server.state(session_id) == "idle"


async def test_speech_that_takes_too_long_ends_with_the_reason(begin: Begin) -> None:
    starting = await speaking(begin, NumberRenderer(delay_s=0.03), drain_s=0.5)
    server = starting.server
    async with server.events(starting.session_id) as events:
        await drain(starting.starting.runner.app)
        assert (await events.until("error"))[-1]["code"] == "shutting_down"
    failed = (await server.client.get("/sessions/stats")).json()["engine"]["failed"]
    assert failed == 1
    told = (await server.client.get("/metrics")).text
    assert 'utterance_errors_total{code="shutting_down"} 1.0\n' in told


async def test_who_types_ctrl_c_and_watches_nothing_does_not_wait(begin: Begin) -> None:
    starting = await speaking(begin, NumberRenderer(delay_s=0.03))
    began = time.monotonic()
    await drain(starting.starting.runner.app, only_watched=True)
    assert time.monotonic() - began < 5, "of 60 s of speech that take twice as long"
    assert await starting.server.state(starting.session_id) == "idle"


async def test_sound_that_waits_is_refused_while_it_arrives(begin: Begin) -> None:
    starting = await speaking(begin, NumberRenderer(delay_s=0.03), drain_s=2)
    server, session_id = starting.server, starting.session_id
    body = Held(bytes(32_000))  # a second, and more to come
    sending = asyncio.create_task(send(server, session_id, body, L16, query={"on_busy": "queue"}))

    async def two_are_there() -> bool:
        document = (await server.client.get(f"/sessions/{session_id}/utterances")).json()
        return len(document["utterances"]) == 2

    await server.until(two_are_there)
    draining = asyncio.create_task(drain(starting.starting.runner.app))
    await until_status(server, "draining")
    body.let_go()
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
    assert answer.json()["retryable"], "nothing of it was spoken"
    await draining


async def test_sound_that_nobody_ends_is_spoken_as_far_as_it_came(begin: Begin) -> None:
    starting = await begin(NumberRenderer(), drain_s=6)
    await starting.readiness.settled()
    server = starting.server
    session_id = await server.create()
    body = Held(bytes(32_000))  # a second, and more to come
    async with server.events(session_id) as events:
        sending = asyncio.create_task(send(server, session_id, body, L16))
        await events.until("chunk")
        await drain(starting.runner.app)
        told = (await events.until("complete"))[-1]
    assert told["ended_early"] == "shutting_down"
    body.let_go()
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
    assert not answer.json()["retryable"], "its beginning would be heard twice"


async def test_who_fetches_comes_to_the_last_chunk(begin: Begin) -> None:
    """A viewer who is slower than the server is waited for, for a while."""
    starting = await speaking(begin, NumberRenderer(), seconds=6.0, max_lead_s=2)
    server = starting.server
    async with server.events(starting.session_id) as events:
        heard = await events.until("chunk")
        await server.chunks(heard)
        draining = asyncio.create_task(drain(starting.starting.runner.app))
        rest = await events.until("complete")
        assert not draining.done(), "its chunks are there, and not fetched"
        film = await fetch_all(server, heard + rest)
        await draining
    assert film.count(b"moof") == len([e for e in heard + rest if e["event"] == "chunk"])


class Speaking:
    def __init__(self, starting: Starting, session_id: str) -> None:
        self.starting = starting
        self.server = starting.server
        self.session_id = session_id


async def speaking(
    begin: Begin, renderer: NumberRenderer, *, seconds: float = 60.0, **settings: object
) -> Speaking:
    """A server in which one session speaks."""
    starting = await begin(renderer, **settings)
    await starting.readiness.settled()
    session_id = await starting.server.create()
    answer = await starting.server.upload(session_id, wav(tone(seconds)))
    assert answer.status_code == 202, answer.text

    async def has_a_chunk() -> bool:
        its = (await starting.server.client.get(f"/sessions/{session_id}")).json()["utterance"]
        return bool(its and its["chunks"])

    await starting.server.until(has_a_chunk)
    return Speaking(starting, session_id)


async def until_status(server: Server, status: str) -> None:
    async def is_so() -> bool:
        return bool((await server.client.get("/readyz")).json()["status"] == status)

    await server.until(is_so)
