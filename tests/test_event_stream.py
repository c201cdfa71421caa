"""`GET /sessions/{id}/events`: order, ids, replay, joining late, many subscribers."""

import asyncio
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import httpx_sse
import pytest
from fakes import NumberRenderer, tone, wav
from servers import Json, ProcessServer, Serve, Server

from musetalk_stream import sessions
from musetalk_stream.events import MemoryEventLog
from musetalk_stream.web import event_stream

NODE = Path(__file__).parent / "node"


async def test_how_the_stream_is_sent(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        headers = events.response.headers
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert headers["Cache-Control"] == "no-cache, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in headers
        assert "Content-Encoding" not in headers
        state = await events.next()
        assert state == {
            "event": "state", "state": "idle", "request_id": None, "position": None, "epoch": 0,
            "recording": False,
        }  # fmt: skip
        assert events.ids == ["0"]
        assert events.retry_ms == 1000


async def test_retry_is_the_first_thing_sent(server: Server) -> None:
    session_id = await server.create()
    request = server.client.build_request("GET", f"/sessions/{session_id}/events")
    answer = await server.client.send(request, stream=True)
    raw = b""
    async for piece in answer.aiter_raw():
        raw += piece
        if b"\n\n" in raw:
            break
    assert raw.startswith(b"retry: 1000\n")
    await answer.aclose()


async def test_ids_grow_by_one(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        for _ in range(2):
            await server.upload(session_id, wav(tone(1.0)))
            await events.until("complete")
        assert events.ids == [str(number) for number in range(len(events.ids))]


async def test_who_is_cut_off_before_the_first_event_misses_none(server: Server) -> None:
    session_id = await server.create()
    before = await spoken(server, session_id)
    await server.client.post(f"/sessions/{session_id}/interrupt")  # what was, is seen no more
    async with server.events(session_id) as events:
        state = await events.next()
        (event_id,) = events.ids
    assert (state["request_id"], int(event_id)) == (None, len(before) + 1)
    await server.upload(session_id, wav(tone(2.0)))
    await server.until_state(session_id, "idle")
    async with server.events(session_id) as events:  # nobody has seen it, so all of it is told
        await events.next()
        assert events.ids == [event_id]
    async with server.events(session_id, last_event_id=int(event_id)) as events:
        missed = await events.until("complete")
    assert [event["event"] for event in missed[:2]] == ["queued", "started"]


async def test_the_stream_stays_open_across_utterances(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        assert (await events.next())["event"] == "state"
        for _ in range(4):
            accepted = (await server.upload(session_id, wav(tone(0.5)))).json()
            heard = await events.until("complete")
            assert {event["request_id"] for event in heard} == {accepted["request_id"]}
            assert [event["event"] for event in heard[:2]] == ["queued", "started"]


async def spoken(server: Server, session_id: str, seconds: float = 2.0) -> list[Json]:
    """An utterance: all its events."""
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(seconds)))
        return await events.until("complete")


async def test_replay_after_the_last_id(server: Server) -> None:
    session_id = await server.create()
    heard = await spoken(server, session_id)
    for after in range(len(heard)):
        async with server.events(session_id, last_event_id=after) as events:
            assert await events.until("complete") == heard[after:]
            assert events.ids == [str(k) for k in range(after + 1, len(heard) + 1)]


async def test_the_id_may_stand_in_the_query(server: Server) -> None:
    session_id = await server.create()
    heard = await spoken(server, session_id)
    address = f"/sessions/{session_id}/events?last_event_id=1"
    async with httpx_sse.aconnect_sse(server.client, "GET", address) as source:
        message = await anext(source.aiter_sse())
        assert (message.id, json.loads(message.data)) == ("2", heard[1])


async def test_the_header_is_newer_than_the_address(server: Server) -> None:
    """A client that reconnects by itself repeats the address and adds the header."""
    session_id = await server.create()
    heard = await spoken(server, session_id)
    address = f"/sessions/{session_id}/events?last_event_id=1"
    headers = {"Last-Event-ID": "2"}
    async with httpx_sse.aconnect_sse(server.client, "GET", address, headers=headers) as source:
        assert json.loads((await anext(source.aiter_sse())).data) == heard[2]


@pytest.mark.parametrize("last_event_id", ["", "x", "-1", "1.5", "٣"])
async def test_an_id_that_is_none_of_ours_is_no_id(server: Server, last_event_id: str) -> None:
    session_id = await server.create()
    address = f"/sessions/{session_id}/events"
    query = {"last_event_id": last_event_id}
    async with httpx_sse.aconnect_sse(server.client, "GET", address, params=query) as source:
        assert json.loads((await anext(source.aiter_sse())).data)["event"] == "state"


async def test_reset_when_the_id_is_unknown(server: Server) -> None:
    session_id = await server.create()
    heard = await spoken(server, session_id, 4.0)
    async with server.events(session_id, last_event_id=9999) as events:
        assert await events.next() == {"event": "reset"}
        state = await events.next()
        assert (state["event"], state["request_id"]) == ("state", heard[0]["request_id"])
        assert await events.until("complete") == heard


async def test_a_late_subscriber_joins_the_running_utterance(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.005))
    session_id = await server.create()
    async with server.events(session_id) as first:
        await first.next()
        await server.upload(session_id, wav(tone(20.0)))
        seen = await first.until("chunk")
        while seen[-1]["event"] != "chunk" or seen[-1]["start"] < 1:
            seen.append(await first.next())
        async with server.events(session_id) as late:
            state = await late.next()
            assert state["state"] == "speaking"
            assert state["request_id"] == seen[0]["request_id"]
            assert 0 <= state["position"] < 2, "what the first one has been able to see"
            assert [await late.next() for _ in seen] == seen


async def test_what_nobody_has_watched_waits_for_its_first_viewer(server: Server) -> None:
    session_id = await server.create()
    accepted = (await server.upload(session_id, wav(tone(1.0)))).json()
    await server.until_state(session_id, "idle")
    async with server.events(session_id) as events:
        state = await events.next()
        assert state["request_id"] == accepted["request_id"]
        assert (state["state"], state["position"]) == ("idle", 0.0)
        assert (await events.until("complete"))[0]["event"] == "queued"


async def test_who_reads_events_alone_is_no_viewer(server: Server) -> None:
    """An agent follows a session before anybody has its page open."""
    session_id = await server.create()
    async with server.events(session_id) as agent:
        await agent.next()
        await server.upload(session_id, wav(tone(0.2)))
        told = await agent.until("complete")
        urls = [event["url"] for event in told if event["event"] == "chunk"]
        assert (await server.client.head(urls[0])).status_code == 200
        await asyncio.sleep(0.5)  # more than it would take to be seen
        async with server.events(session_id) as late:
            state = await late.next()
            assert (state["request_id"], state["position"]) == (told[0]["request_id"], 0.0)
        await server.chunks(told)

        async def has_been_seen() -> bool:
            async with server.events(session_id) as events:
                return bool((await events.next())["position"] is None)

        await server.until(has_been_seen)


async def test_position_moves_with_time_and_ends(server: Server) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(1.0)))
    await server.chunks(heard)
    positions = []

    async def it_is_over() -> bool:
        async with server.events(session_id) as events:
            state = await events.next()
        positions.append(state["position"])
        assert (state["request_id"] is None) == (state["position"] is None)
        return state["position"] is None

    await server.until(it_is_over)
    assert positions[0] is not None
    assert positions[:-1] == sorted(positions[:-1])
    assert max(positions[:-1]) < heard[-1]["duration"]
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(0.2)))
        assert (await events.next())["request_id"] != heard[0]["request_id"], "it is not replayed"


async def test_who_comes_late_joins_what_is_on_the_screen(server: Server) -> None:
    """Generation is ahead: the second utterance is made while viewers still see the first."""
    session_id = await server.create()
    first = await spoken(server, session_id, 3.0)
    async with server.events(session_id, last_event_id=len(first)) as events:
        await server.upload(session_id, wav(tone(3.0)))
        second = await events.until("complete")
    async with server.events(session_id) as events:
        state = await events.next()
        assert state["request_id"] == first[0]["request_id"]
        assert 0 <= state["position"] < 3
        assert await events.until("complete") == first
        assert await events.until("complete") == second


async def test_a_failed_utterance_is_seen_to_its_end_only(serve: Serve) -> None:
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: frame == 12))
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(20.0)))
    assert [event["event"] for event in heard] == ["started", "chunk", "error"]
    await server.chunks(heard)

    async def it_is_over() -> bool:
        async with server.events(session_id) as events:
            return bool((await events.next())["position"] is None)

    await server.until(it_is_over, within_s=3)


async def test_every_subscriber_sees_everything(server: Server) -> None:
    session_id = await server.create()

    async def watch(ready: asyncio.Semaphore) -> list[Json]:
        async with server.events(session_id) as events:
            await events.next()
            ready.release()
            return await events.until("complete")

    ready = asyncio.Semaphore(0)
    watchers = [asyncio.create_task(watch(ready)) for _ in range(5)]
    for _ in watchers:
        await ready.acquire()
    document = (await server.client.get(f"/sessions/{session_id}")).json()
    assert document["subscribers"] == 5
    await server.upload(session_id, wav(tone(2.0)))
    first, *others = await asyncio.gather(*watchers)
    assert all(other == first for other in others)


async def test_many_events_to_many_reach_all_in_order(server: Server) -> None:
    """A thousand of them; `scripts/bench fanout` sends five thousand per second."""
    session_id = await server.create()
    request_id = (await spoken(server, session_id, 1.0))[0]["request_id"]
    report = {"request_id": request_id, "event": "finished"}

    async def heard(ready: asyncio.Semaphore) -> list[int]:
        async with server.events(session_id) as events:
            await events.next()
            ready.release()
            told: list[int] = []
            while not told or told[-1] < 100:
                event = await events.next()
                if event["event"] == "playback_finished":
                    told.append(event["played_ms"])
            return told

    ready = asyncio.Semaphore(0)
    subscribers = [asyncio.create_task(heard(ready)) for _ in range(10)]
    for _ in subscribers:
        await ready.acquire()
    for played_ms in range(1, 101):
        told = {**report, "played_ms": played_ms}
        await server.client.post(f"/sessions/{session_id}/playback", json=told)
    assert await asyncio.gather(*subscribers) == [list(range(1, 101))] * 10


async def test_a_subscriber_that_leaves_cancels_nothing(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.005))
    session_id = await server.create()
    async with server.events(session_id) as stayer:
        await stayer.next()
        async with server.events(session_id) as leaver:
            await leaver.next()
            await server.upload(session_id, wav(tone(4.0)))
            await leaver.until("chunk")

        async def one_is_left() -> bool:
            document = (await server.client.get(f"/sessions/{session_id}")).json()
            return bool(document["subscribers"] == 1)

        await server.until(one_is_left, within_s=1)
        assert (await stayer.until("complete"))[-1]["event"] == "complete"


async def test_generation_goes_on_with_no_subscriber_at_all(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(3.0)))
    await server.until_state(session_id, "idle")
    stats = (await server.client.get("/sessions/stats")).json()
    assert stats["engine"]["frames_rendered"] == 75


async def test_a_reader_that_does_not_read_holds_up_nobody(server: Server) -> None:
    session_id = await server.create()
    request = server.client.build_request("GET", f"/sessions/{session_id}/events")
    sleeper = await server.client.send(request, stream=True)
    for _ in range(3):
        heard = await server.speak(session_id, wav(tone(1.0)))
        assert heard[-1]["event"] == "complete"
    await sleeper.aclose()


@pytest.fixture
async def forgetful(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server whose logs hold five events, as if an utterance were very long."""
    forgets = partial(MemoryEventLog, capacity=5)
    monkeypatch.setattr(sessions, "MemoryEventLog", forgets)
    return server


async def test_joining_what_has_outgrown_its_log(forgetful: Server) -> None:
    session_id = await forgetful.create(chunk_duration=0.2)
    await forgetful.upload(session_id, wav(tone(5.0)))
    await forgetful.until_state(session_id, "idle")
    async with forgetful.events(session_id) as events:
        assert (await events.next())["event"] == "state"
        heard = await events.until("complete")
        assert [event["event"] for event in heard] == ["chunk"] * 4 + ["complete"]
        assert events.ids[1:] == [
            str(k) for k in range(int(events.ids[1]), int(events.ids[-1]) + 1)
        ]


@pytest.mark.parametrize("last_event_id", [0, 1])
async def test_coming_back_too_late_is_a_reset(forgetful: Server, last_event_id: int) -> None:
    session_id = await forgetful.create(chunk_duration=0.2)
    await forgetful.upload(session_id, wav(tone(5.0)))
    await forgetful.until_state(session_id, "idle")
    async with forgetful.events(session_id, last_event_id=last_event_id) as events:
        assert await events.next() == {"event": "reset"}
        state = await events.next()
        assert (state["event"], "resumed" in state) == ("state", False)
        assert len(await events.until("complete")) == 5


async def test_one_session_does_not_take_all_connections(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MOST_SUBSCRIBERS", 2)
    session_id, other = await server.create(), await server.create()
    async with server.events(session_id) as first, server.events(session_id) as second:
        await first.next()
        await second.next()
        refused = await server.client.get(f"/sessions/{session_id}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert int(refused.headers["Retry-After"]) > 0
        async with server.events(other) as events:
            assert (await events.next())["event"] == "state"


async def test_closed_is_the_last_word(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        await server.client.delete(f"/sessions/{session_id}")
        assert await events.rest() == [{"event": "closed", "reason": "deleted"}]


async def test_a_quiet_stream_is_kept_awake(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a comment for proxies and an event for script, neither of which disturbs the log."""
    monkeypatch.setattr(event_stream, "PING_S", 0.05)
    session_id = await server.create()
    request = server.client.build_request("GET", f"/sessions/{session_id}/events")
    answer = await server.client.send(request, stream=True)
    raw = b""
    async for piece in answer.aiter_raw():
        raw += piece
        if raw.count(b'data: {"event":"ping"}\n\n') == 3:
            break
    await answer.aclose()
    assert raw.count(b"\n: ping\n") == 3
    assert raw.count(b"id:") == 1, "that of state"


async def test_head_of_the_stream_does_not_hang(server: Server) -> None:
    session_id = await server.create()
    answer = await server.client.head(f"/sessions/{session_id}/events", timeout=3)
    assert answer.status_code == 405
    assert (await server.client.get(f"/sessions/{session_id}")).json()["subscribers"] == 0


# --- other people's clients


async def test_httpx_sse_reads_an_utterance_through_a_reconnect(server: Server) -> None:
    """As its documentation does it: remember id and retry, come back with Last-Event-ID."""
    session_id = await server.create(chunk_duration=0.5)
    address = f"/sessions/{session_id}/events"
    await server.upload(session_id, wav(tone(5.0)))
    heard: list[Json] = []
    last_id, connections = "", 0
    while not heard or heard[-1]["event"] != "complete":
        connections += 1
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with httpx_sse.aconnect_sse(server.client, "GET", address, headers=headers) as source:
            taken = 0
            async for message in source.aiter_sse():
                heard.append(message.json())
                last_id = message.id
                taken += 1
                if taken == 2 or heard[-1]["event"] == "complete":
                    break
    assert connections >= 3
    chunks = [event["index"] for event in heard if event["event"] == "chunk"]
    assert chunks == list(range(heard[-1]["total_chunks"]))


needs_eventsource = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules/eventsource").is_dir(),
    reason="npm eventsource is not installed (npm ci in tests/node)",
)


@needs_eventsource
@pytest.mark.parametrize("break_after", [0, 3])
async def test_npm_eventsource_reads_an_utterance(
    process_server: ProcessServer, break_after: int
) -> None:
    async with process_server.client() as server:
        session_id = await server.create(chunk_duration=0.5)
        process = await asyncio.create_subprocess_exec(
            *("node", str(NODE / "follow-events.mjs")),
            *(f"{server.url}/sessions/{session_id}/events", str(break_after)),
            stdout=subprocess.PIPE,
        )

        async def is_there() -> bool:
            document = (await server.client.get(f"/sessions/{session_id}")).json()
            return bool(document["subscribers"])

        await server.until(is_there)
        await server.upload(session_id, wav(tone(5.0)))
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        heard = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, heard
    assert heard[0]["event"] == "state"
    assert heard[-1]["connections"] == (2 if break_after else 1)
    logged = [event for event in heard if event["event"] != "state"]
    assert [event["id"] for event in logged] == [str(k) for k in range(1, len(logged) + 1)]
    chunks = [event for event in logged if event["event"] == "chunk"]
    assert [chunk["index"] for chunk in chunks] == list(range(logged[-1]["total_chunks"]))
    assert all(re.fullmatch(r"/chunks/[\w-]{22}/chunk_\d{4}\.mp4", c["url"]) for c in chunks)
