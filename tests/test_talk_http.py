"""Interruptions, single utterances and the player's reports, over HTTP."""

import asyncio
import contextlib

import httpx
import pytest
from fakes import tone, wav
from servers import Json, Server
from talking import Held, pcm, send, until_arriving, until_status, utterances
from test_bad_input import WRONG_IDS, check_problem, check_usable


async def interrupt(server: Server, session_id: str, **query: object) -> Json:
    answer = await server.client.post(
        f"/sessions/{session_id}/interrupt",
        params={name: str(value) for name, value in query.items()},
    )
    assert answer.status_code == 200, answer.text
    document: Json = answer.json()
    return document


async def report(server: Server, session_id: str, **said: object) -> httpx.Response:
    return await server.client.post(f"/sessions/{session_id}/playback", json=said)


async def test_nothing_to_interrupt(server: Server) -> None:
    session_id = await server.create()
    nothing = {
        "interrupted": False, "epoch": 0, "request_ids": [], "request_id": None, "played_ms": None,
    }  # fmt: skip
    assert await interrupt(server, session_id) == nothing
    assert await interrupt(server, session_id, wait=0) == nothing
    events = (await server.client.get(f"/sessions/{session_id}")).json()["counters"]["events"]
    assert events == 0
    await check_usable(server, session_id)


@pytest.mark.parametrize("wait", ["-1", "11", "abc", "nan", ""])
async def test_bad_waits(server: Server, wait: str) -> None:
    session_id, body = await server.create(), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    answer = await server.client.post(f"/sessions/{session_id}/interrupt", params={"wait": wait})
    check_problem(answer, 400, "invalid_parameter", "wait", "0 to 10")
    body.let_go()
    assert (await sending).status_code == 202, "what is wrong interrupts nothing"


async def test_interrupting_what_nobody_watches(server: Server) -> None:
    """There is nobody to wait for."""
    session_id, body = await server.create(on_busy="queue"), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    first = await until_arriving(server, session_id)
    second = (await server.upload(session_id, wav(tone(0.3)))).json()["request_id"]
    assert await interrupt(server, session_id, wait=10) == {
        "interrupted": True, "epoch": 0, "request_ids": [first, second], "request_id": None,
        "played_ms": None,
    }  # fmt: skip
    body.let_go()
    with contextlib.suppress(httpx.TransportError):
        check_problem(await sending, 409, "utterance_ended")
    assert [its["status"] for its in await utterances(server, session_id)] == ["interrupted"] * 2
    assert await server.state(session_id) == "idle"
    assert (await interrupt(server, session_id))["interrupted"] is False
    await check_usable(server, session_id)


async def test_how_much_was_heard(server: Server) -> None:
    """The answer waits for the player; of several the longest counts."""
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        request_id = (await server.upload(session_id, wav(tone(2.0)))).json()["request_id"]
        await events.until("chunk")
        assert (await report(server, session_id, request_id=request_id, event="started",
                             ago_ms=5)).status_code == 204  # fmt: skip
        await events.until("playback_started")
        asking = asyncio.create_task(interrupt(server, session_id, wait=10))
        told = (await events.until("interrupted"))[-1]
        assert told == {"event": "interrupted", "epoch": 0, "request_ids": [request_id]}
        for played_ms in (240, 100):
            answer = await report(server, session_id, request_id=request_id, event="finished",
                                  played_ms=played_ms, interrupted=True)  # fmt: skip
            assert (answer.status_code, answer.content) == (204, b"")
        stopped = await asking
        finished = (await events.until("playback_finished"))[-1]
    assert (stopped["request_id"], stopped["played_ms"]) == (request_id, 240)
    assert finished == {
        "event": "playback_finished", "request_id": request_id, "played_ms": 240,
        "interrupted": True,
    }  # fmt: skip
    its = (await server.client.get(f"/sessions/{session_id}/utterances/{request_id}")).json()
    assert (its["status"], its["played_ms"]) == ("interrupted", 240)
    assert its["timings_ms"]["first_frame_painted"] is not None


async def test_a_player_that_says_nothing_is_not_waited_for_longer(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        request_id = (await server.upload(session_id, wav(tone(2.0)))).json()["request_id"]
        await events.until("chunk")
        stopped = await interrupt(server, session_id, wait=0.1)
    assert (stopped["interrupted"], stopped["request_ids"], stopped["played_ms"]) == (
        True, [request_id], None,
    )  # fmt: skip


BAD_REPORTS: list[tuple[Json, str]] = [
    ({}, "request_id"),
    ({"request_id": 5, "event": "started"}, "request_id"),
    ({"request_id": ["x"], "event": "started"}, "request_id"),
    ({"request_id": "ID"}, "event"),
    ({"request_id": "ID", "event": "paused"}, "event"),
    ({"request_id": "ID", "event": {}}, "event"),
    ({"request_id": "ID", "event": "started", "ago_ms": -1}, "ago_ms"),
    ({"request_id": "ID", "event": "started", "ago_ms": 60_001}, "ago_ms"),
    ({"request_id": "ID", "event": "started", "first_frame_ms": -1}, "first_frame_ms"),
    ({"request_id": "ID", "event": "started", "first_frame_ms": None}, "first_frame_ms"),
    ({"request_id": "ID", "event": "stalled"}, "stalled_ms"),
    ({"request_id": "ID", "event": "stalled", "stalled_ms": 600_001}, "stalled_ms"),
    ({"request_id": "ID", "event": "stalled", "stalled_ms": "long"}, "stalled_ms"),
    ({"request_id": "ID", "event": "finished", "played_ms": "x"}, "played_ms"),
    ({"request_id": "ID", "event": "finished", "played_ms": 1.5}, "played_ms"),
    ({"request_id": "ID", "event": "finished", "played_ms": None}, "played_ms"),
    ({"request_id": "ID", "event": "finished", "interrupted": "perhaps"}, "interrupted"),
]


@pytest.mark.parametrize(("said", "word"), BAD_REPORTS)
async def test_bad_reports(server: Server, said: Json, word: str) -> None:
    session_id = await server.create()
    request_id = (await server.upload(session_id, wav(tone(0.3)))).json()["request_id"]
    said = {name: request_id if value == "ID" else value for name, value in said.items()}
    check_problem(await report(server, session_id, **said), 400, "invalid_parameter", word)
    (its,) = await utterances(server, session_id)
    assert its["played_ms"] is None


@pytest.mark.parametrize("body", ["", "[]", "{", "5"])
async def test_reports_that_are_none(server: Server, body: str) -> None:
    path = f"/sessions/{await server.create()}/playback"
    check_problem(await server.client.post(path, content=body), 400, "invalid_parameter")


@pytest.mark.parametrize("event", ["started", "finished"])
async def test_reports_of_what_was_never_said(server: Server, event: str) -> None:
    answer = await report(server, await server.create(), request_id="nobody", event=event)
    check_problem(answer, 404, "utterance_not_found")


@pytest.mark.parametrize("wrong", WRONG_IDS)
async def test_unknown_utterances(server: Server, wrong: str) -> None:
    session_id = await server.create()
    for method in ("GET", "HEAD", "DELETE"):
        answer = await server.client.request(method, f"/sessions/{session_id}/utterances/{wrong}")
        assert answer.status_code == 404
        if method != "HEAD":
            check_problem(answer, 404, "utterance_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/audio"), ("GET", "/audio/ws?rate=16000"), ("POST", "/interrupt"),
     ("GET", "/utterances"), ("GET", "/utterances/x"), ("DELETE", "/utterances/x"),
     ("POST", "/playback")],
)  # fmt: skip
async def test_sessions_that_are_not_there(server: Server, method: str, path: str) -> None:
    answer = await server.client.request(method, f"/sessions/nobody{path}")
    check_problem(answer, 404, "session_not_found")
    session_id = await server.create()
    await server.client.delete(f"/sessions/{session_id}")
    answer = await server.client.request(method, f"/sessions/{session_id}{path}")
    check_problem(answer, 410, "session_gone")


async def test_an_utterance_of_another_session(server: Server) -> None:
    mine, other = await server.create(), await server.create()
    request_id = (await server.upload(mine, wav(tone(0.3)))).json()["request_id"]
    for method in ("GET", "DELETE"):
        answer = await server.client.request(method, f"/sessions/{other}/utterances/{request_id}")
        check_problem(answer, 404, "utterance_not_found")
    await until_status(server, mine, "complete")


async def test_cancelling_one_of_several(server: Server) -> None:
    """While it is still being sent, waits, or is over; the others go on."""
    session_id, body = await server.create(on_busy="queue"), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    first = await until_arriving(server, session_id)
    second, third = [
        (await server.upload(session_id, wav(tone(0.3)))).json()["request_id"] for _ in range(2)
    ]
    async with server.events(session_id) as events:
        for request_id in (second, first):
            path = f"/sessions/{session_id}/utterances/{request_id}"
            for _ in range(2):
                answer = await server.client.delete(path)
                assert (answer.status_code, answer.content) == (204, b"")
            assert (await server.client.get(path)).json()["status"] == "cancelled"
        heard = await events.until("complete")
    body.let_go()
    with contextlib.suppress(httpx.TransportError):
        check_problem(await sending, 409, "utterance_ended")
    assert heard[-1]["request_id"] == third
    cancelled = [event["request_id"] for event in heard if event["event"] == "cancelled"]
    assert cancelled == [second, first]


async def test_what_is_told_of_an_utterance(server: Server) -> None:
    session_id = await server.create()
    answer = await server.upload(session_id, wav(tone(1.0)))
    request_id = answer.json()["request_id"]
    assert answer.headers["Location"] == f"/sessions/{session_id}/utterances/{request_id}"
    await until_status(server, session_id, "complete")
    its = (await server.client.get(answer.headers["Location"])).json()
    timings = its.pop("timings_ms")
    assert {name for name in its if name.endswith("_url")} == {
        "captions_url", "playlist_url", "recording_url",
    }  # fmt: skip
    its = {name: value for name, value in its.items() if not name.endswith("_url")}
    assert its == {
        "request_id": request_id, "epoch": 0, "status": "complete", "arriving": False,
        "position": None, "duration": 1.0, "chunks": its["chunks"], "seconds": 1.0,
        "played_ms": None, "ended_early": None, "waited": 0,
    }  # fmt: skip
    assert timings["received"] == 0
    assert timings["first_frame_painted"] is None
    told = [timings[name] for name in ("received", "decoded", "first_batch", "first_chunk")]
    assert told == sorted(told)
    assert (await server.client.head(answer.headers["Location"])).status_code == 200


async def test_where_everything_of_a_session_is(server: Server) -> None:
    created = (await server.client.post("/sessions/create")).json()
    base = f"/sessions/{created['session_id']}"
    named = {name: created[f"{name}_url"] for name in
             ("audio", "audio_socket", "interrupt", "utterances", "playback")}  # fmt: skip
    assert named == {
        "audio": f"{base}/audio", "audio_socket": f"{base}/audio/ws",
        "interrupt": f"{base}/interrupt", "utterances": f"{base}/utterances",
        "playback": f"{base}/playback",
    }  # fmt: skip


async def test_what_clients_of_webrtc_servers_ask_for(server: Server) -> None:
    """Their prebuffer is ours; what has no effect is said."""
    asked = {"audio_prebuffer_seconds": "0.5", "audio_max_lead_seconds": 1}
    config = (await server.client.post("/sessions/create", json=asked)).json()["config"]
    assert (config["prebuffer"], config["ignored"]) == (0.5, ["audio_max_lead_seconds"])
    both = {"audio_prebuffer_seconds": 0.5, "prebuffer": 0.1}
    config = (await server.client.post("/sessions/create", json=both)).json()["config"]
    assert config["prebuffer"] == 0.1
    assert "ignored" not in config
    for name in ("audio_prebuffer_seconds", "audio_max_lead_seconds", "audio_max_lag_seconds"):
        for value in ("-1", "abc", "nan"):
            answer = await server.client.post("/sessions/create", params={name: value})
            check_problem(answer, 400, "invalid_parameter", name)


@pytest.mark.parametrize(("name", "value", "words"), [
    ("on_busy", "wait", "reject, queue, replace"), ("on_busy", "", "reject, queue, replace"),
    ("prebuffer", "2.1", "0 to 2"), ("prebuffer", "x", "0 to 2"),
])  # fmt: skip
async def test_bad_session_options(server: Server, name: str, value: str, words: str) -> None:
    answer = await server.client.post("/sessions/create", params={name: value})
    check_problem(answer, 400, "invalid_parameter", name, words)
