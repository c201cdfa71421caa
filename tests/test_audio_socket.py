"""Sound over a WebSocket: many utterances, words in between, and everything that can be wrong."""

import asyncio
import contextlib
import inspect
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fakes import NumberRenderer, tone, wav
from servers import Begin, Json, Serve, Server
from talking import RATE, Held, pcm, send, until_arriving, utterances
from test_bad_input import check_problem, check_usable
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

from musetalk_stream.web import audio_socket
from musetalk_stream.web.audio_socket import Word

PROTOCOL = Path(__file__).parents[1] / "docs/protocol.md"

START, END, CANCEL = (json.dumps({"event": word}) for word in ("start", "end", "cancel"))


class Socket:
    """What an agent does with its connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, *messages: bytes | str) -> None:
        for message in messages:
            await self.connection.send(message)

    async def hear(self) -> Json:
        async with asyncio.timeout(10):
            heard: Json = json.loads(await self.connection.recv())
            return heard

    async def utterance(self, sound: bytes) -> Json:
        """A whole one; what is said at its end."""
        await self.say(sound, END)
        accepted = await self.hear()
        assert accepted["event"] == "accepted", accepted
        ended = await self.hear()
        assert ended["request_id"] == accepted["request_id"]
        return ended

    async def until_closed(self) -> tuple[int, str]:
        """The code and the reason."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def opened(
    server: Server, session_id: str, *, origin: str | None = None, **query: object
) -> AsyncIterator[Socket]:
    address = server.url.replace("http", "ws", 1) + f"/sessions/{session_id}/audio/ws"
    query = {"rate": RATE, **query}
    headers = {} if origin is None else {"Origin": origin}
    async with connect(
        f"{address}?{urlencode(query)}", additional_headers=headers, compression=None
    ) as connection:
        yield Socket(connection)


async def refused(server: Server, session_id: str, *, origin: str | None = None,
                  **query: object) -> tuple[int, Json]:  # fmt: skip
    """The answer instead of a connection."""
    with pytest.raises(InvalidStatus) as caught:
        async with opened(server, session_id, origin=origin, **query):
            pass
    answer: Response = caught.value.response
    return answer.status_code, json.loads(answer.body or b"{}")


async def test_many_utterances_on_one_connection(server: Server) -> None:
    session_id = await server.create()
    async with (
        server.events(session_id) as events,
        opened(server, session_id, on_busy="queue") as socket,
    ):
        await events.next()
        said = [await socket.utterance(pcm(seconds)) for seconds in (0.4, 0.5, 0.6)]
        heard: list[Json] = []
        while sum(event["event"] == "complete" for event in heard) < 3:
            heard.append(await events.next())
    done = [event for event in heard if event["event"] == "complete"]
    assert [event["request_id"] for event in done] == [each["request_id"] for each in said]
    assert [each["event"] for each in said] == ["ended"] * 3
    assert [each["duration"] for each in said] == pytest.approx([0.4, 0.52, 0.6])
    assert [event["ended_early"] for event in done] == [None] * 3


async def test_an_utterance_is_spoken_while_it_arrives(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events, opened(server, session_id) as socket:
        await events.next()
        for _ in range(10):
            await socket.say(pcm(0.1))
        accepted = await socket.hear()
        assert accepted == {
            "event": "accepted", "request_id": accepted["request_id"], "epoch": 0,
        }  # fmt: skip
        begun = await events.until("chunk")
        assert {event["request_id"] for event in begun} == {accepted["request_id"]}
        await socket.say(pcm(0.2), END)
        ended = await socket.hear()
        assert ended == {
            "event": "ended", "request_id": accepted["request_id"],
            "duration": pytest.approx(1.2), "status": "speaking",
        }  # fmt: skip


async def test_other_forms_and_odd_pieces(server: Server) -> None:
    session_id = await server.create()
    query: Json = {"rate": 8000, "channels": 2, "endianness": "big-endian", "trailing_silence": 0.2}
    async with opened(server, session_id, **query) as socket:
        sound = pcm(0.4, rate=8000, channels=2, order=">")
        await socket.say(b"", sound[:3], b"", sound[3:1000], sound[1000:], END)
        assert (await socket.hear())["event"] == "accepted"
        ended = await socket.hear()
        assert ended["duration"] == pytest.approx(0.6)
        assert ended["status"] in ("speaking", "complete"), "nothing is before it"


async def test_words_without_sound(server: Server) -> None:
    """Each is answered, but for a start."""
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        await socket.say(START, END, b"", END, CANCEL)
        for _ in range(2):
            error = await socket.hear()
            assert (error["event"], error["code"], error["status"]) == ("error", "empty_audio", 422)
        assert await socket.hear() == {"event": "cancelled", "request_id": None}
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"


async def test_cancelling_what_arrives(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events, opened(server, session_id) as socket:
        await events.next()
        await socket.say(pcm(0.8))
        request_id = (await socket.hear())["request_id"]
        await events.until("chunk")
        await socket.say(CANCEL)
        assert await socket.hear() == {"event": "cancelled", "request_id": request_id}
        assert (await events.until("cancelled"))[-1]["request_id"] == request_id
        assert (await socket.utterance(pcm(0.3)))["request_id"] != request_id


async def test_cancelling_what_has_arrived(server: Server) -> None:
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        request_id = (await socket.utterance(pcm(0.3)))["request_id"]
        await socket.say(CANCEL)
        assert await socket.hear() == {"event": "cancelled", "request_id": request_id}


@pytest.mark.parametrize(
    "text",
    ["", "end", "[]", "5", "null", "{}", '{"event": "stop"}', '{"event": {}}', '{"event": "end"',
     "[" * 5000, "\x00"],
    ids=lambda text: text[:20],
)  # fmt: skip
@pytest.mark.parametrize("when", ["before", "within"])
async def test_text_that_is_no_word(server: Server, text: str, when: str) -> None:
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        if when == "within":
            await socket.say(pcm(0.4))
            request_id = (await socket.hear())["request_id"]
        await socket.say(text)
        error = await socket.hear()
        assert (error["event"], error["code"], error["retryable"]) == (
            "error",
            "bad_request",
            False,
        )
        assert '{"event": "end"}' in error["message"]
        assert await socket.until_closed() == (1003, "bad_request")
    if when == "within":
        assert error["request_id"] == request_id
        (its,) = await utterances(server, session_id)
        assert (its["ended_early"], its["arriving"]) == ("bad_request", False)
        await server.until_state(session_id, "idle")
    await check_usable(server, session_id)


async def test_messages_that_are_too_large(server: Server) -> None:
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        await socket.say(bytes((1 << 20) + 1))
        error = await socket.hear()
        assert (error["code"], error["status"]) == ("upload_too_large", 413)
        assert await socket.until_closed() == (1009, "upload_too_large")
    async with opened(server, session_id) as socket:
        with contextlib.suppress(ConnectionClosed):  # it is not read to its end
            await socket.say(bytes(5 << 20))
        assert (await socket.until_closed())[0] == 1009
    await check_usable(server, session_id)


async def test_an_utterance_that_stops_within_a_sample(server: Server) -> None:
    session_id = await server.create()
    async with opened(server, session_id, on_busy="queue") as socket:
        await socket.say(pcm(0.4)[:-1], END)
        request_id = (await socket.hear())["request_id"]
        error = await socket.hear()
        assert (error["code"], error["request_id"]) == ("damaged_audio", request_id)
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended", "that end was its own"
        await server.until_state(session_id, "idle")
    assert [its["ended_early"] for its in await utterances(server, session_id)] == [
        "damaged_audio", None,
    ]  # fmt: skip


async def test_a_busy_session(server: Server) -> None:
    """Said once; what follows of that utterance is passed over, and the connection stays."""
    session_id, body = await server.create(), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.1), pcm(0.1), pcm(0.1), END)
        error = await socket.hear()
        assert (error["code"], error["status"], error["retryable"]) == ("stream_active", 409, True)
        assert "request_id" not in error
        body.let_go()
        assert (await sending).status_code == 202
        await server.until_state(session_id, "idle")
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"


async def test_a_full_queue(serve: Serve) -> None:
    server = await serve(max_queue=1)
    session_id, body = await server.create(on_busy="queue"), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    async with opened(server, session_id) as socket:
        assert (await socket.utterance(pcm(0.3)))["status"] == "queued"
        await socket.say(pcm(0.3), END)
        error = await socket.hear()
        assert (error["code"], error["status"], error["retryable"]) == ("queue_full", 429, True)
        body.let_go()
        assert (await sending).status_code == 202


async def test_an_interruption_is_told_once(server: Server) -> None:
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.6))
        request_id = (await socket.hear())["request_id"]
        await until_arriving(server, session_id)
        answer = await server.client.post(f"/sessions/{session_id}/interrupt")
        assert answer.json()["request_ids"] == [request_id]
        error = await socket.hear()  # at once, though it is silent
        assert (error["code"], error["request_id"]) == ("utterance_ended", request_id)
        assert not error["retryable"]
        await socket.say(pcm(0.1), pcm(0.1), END)
        await socket.say(pcm(0.4), END)
        accepted = await socket.hear()
        assert (accepted["event"], accepted["epoch"]) == ("accepted", 1)


@pytest.mark.parametrize("word", [START, END, CANCEL])
async def test_after_an_interruption_the_next_utterance_begins(server: Server, word: str) -> None:
    """With a start, an agent need not know whether the one before was ended."""
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.6))
        request_id = (await socket.hear())["request_id"]
        await server.client.post(f"/sessions/{session_id}/interrupt")
        await socket.say(pcm(0.2), word)
        assert (await socket.hear())["code"] == "utterance_ended"
        if word is CANCEL:
            assert await socket.hear() == {"event": "cancelled", "request_id": request_id}
        ended = await socket.utterance(pcm(0.4))
        assert (ended["event"], ended["duration"]) == ("ended", 0.4)


async def test_a_start_within_an_utterance_ends_it(server: Server) -> None:
    session_id = await server.create(on_busy="queue")
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.4), START, pcm(0.6), END)
        heard = [await socket.hear() for _ in range(4)]
        assert [each["event"] for each in heard] == ["accepted", "ended"] * 2
        assert [each.get("duration") for each in heard] == [None, 0.4, None, 0.6]


async def test_a_refused_utterance_is_cancelled_and_no_other(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.1), CANCEL)
        assert (await socket.hear())["code"] == "stream_active"
        assert await socket.hear() == {"event": "cancelled", "request_id": None}
    body.let_go()
    assert (await sending).status_code == 202


async def test_an_open_connection_keeps_its_session(begin: Begin) -> None:
    starting = await begin(NumberRenderer())
    await starting.readiness.settled()
    assert starting.readiness.services
    session = starting.readiness.services.registry.get(await starting.server.create())
    later_s = time.monotonic() + 60
    assert session.is_idle_since(later_s)
    async with opened(starting.server, session.id) as socket:
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"
        await starting.server.until_state(session.id, "idle")
        assert not session.is_idle_since(later_s)
    await starting.server.until(lambda: asyncio.to_thread(session.is_idle_since, later_s))


async def test_a_mistake_of_ours_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ValueError("as nobody foresaw")

    monkeypatch.setattr("musetalk_stream.resample.Graph", fails)
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.3))
        assert (await socket.hear())["event"] == "accepted"
        error = await socket.hear()
        assert (error["code"], error["status"]) == ("internal_error", 500)
        assert await socket.until_closed() == (1011, "internal_error")
    monkeypatch.undo()
    await check_usable(server, session_id)


@pytest.mark.parametrize("meanwhile", ["pings", "empty messages"])
async def test_what_is_no_sound_is_a_stall(serve: Serve, meanwhile: str) -> None:
    server = await serve(audio_stall_timeout_s=0.3)
    async with opened(server, await server.create()) as socket:

        async def chatter() -> None:
            while True:
                if meanwhile == "pings":
                    await socket.connection.ping()
                else:
                    await socket.say(b"")
                await asyncio.sleep(0.05)

        await socket.say(pcm(0.6))
        chattering = asyncio.create_task(chatter())
        assert (await socket.hear())["event"] == "accepted"
        assert (await socket.hear())["code"] == "upload_stalled"
        chattering.cancel()
        await asyncio.wait([chattering])


async def test_an_agent_that_stalls(serve: Serve) -> None:
    server = await serve(audio_stall_timeout_s=0.3)
    session_id = await server.create()
    async with server.events(session_id) as events, opened(server, session_id) as socket:
        await events.next()
        await socket.say(pcm(0.6))
        request_id = (await socket.hear())["request_id"]
        error = await socket.hear()
        assert (error["code"], error["request_id"]) == ("upload_stalled", request_id)
        assert not error["retryable"], "it would be heard twice"
        assert "send it again" not in error["message"]
        ended = (await events.until_end())[-1]
        assert (ended["event"], ended["ended_early"]) == ("complete", "upload_stalled")
        await socket.say(pcm(0.3), END)  # of which nothing is spoken
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"


async def test_an_agent_that_is_silent_between_utterances(serve: Serve) -> None:
    server = await serve(audio_stall_timeout_s=0.1)
    async with opened(server, await server.create()) as socket:
        await asyncio.sleep(0.2)
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"


@pytest.mark.parametrize("way", ["closes", "vanishes"])
async def test_an_agent_that_leaves_within_an_utterance(server: Server, way: str) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        async with opened(server, session_id) as socket:
            await socket.say(pcm(1.0))
            await socket.hear()
            await events.until("chunk")
            if way == "vanishes":
                socket.connection.transport.abort()
            else:
                await socket.connection.close()
            ended = (await events.until_end())[-1]
    assert (ended["event"], ended["ended_early"]) == ("complete", "upload_aborted")
    assert ended["duration"] == pytest.approx(1.0)
    await check_usable(server, session_id)


@pytest.mark.parametrize("when", ["between", "within"])
async def test_a_session_that_ends(server: Server, when: str) -> None:
    session_id = await server.create()
    async with opened(server, session_id) as socket:
        if when == "within":
            await socket.say(pcm(0.6))
            await socket.hear()
        await server.client.delete(f"/sessions/{session_id}")
        assert await socket.until_closed() == (1001, "the session has ended")


async def test_a_server_that_stops(begin: Begin) -> None:
    starting = await begin(NumberRenderer())
    await starting.readiness.settled()
    server = starting.server
    async with opened(server, await server.create()) as socket:
        await socket.say(pcm(0.6))
        await socket.hear()
        await server.hang_up()
        async with asyncio.timeout(5):
            await starting.runner.cleanup()
        assert await socket.until_closed() == (1001, "the session has ended")


async def test_one_connection_does_not_disturb_another(server: Server) -> None:
    session_id = await server.create(on_busy="queue")
    async with opened(server, session_id) as one, opened(server, session_id) as other:
        await one.say(pcm(0.4))
        first = await one.hear()
        second = await other.utterance(pcm(0.3))
        await one.say(END)
        assert (await one.hear())["request_id"] == first["request_id"] != second["request_id"]


async def test_a_sender_in_a_hurry_is_held_back(server: Server) -> None:
    """Then an interruption ends it at once, whatever is still on its way."""
    session_id, rate, channels = await server.create(fps=5), 192_000, 4
    second = pcm(1.0, rate=rate, channels=channels)
    sent_s = 0.0
    async with opened(server, session_id, rate=rate, channels=channels) as socket:

        async def minute() -> None:
            nonlocal sent_s
            while sent_s < 60:
                await socket.say(second[: len(second) // 2])
                sent_s += 0.5
            await socket.say(END)

        sending = asyncio.create_task(minute())
        await socket.hear()
        before_s = -1.0
        while before_s < sent_s:
            before_s = sent_s
            await asyncio.sleep(0.3)
        assert not sending.done()
        assert sent_s < 45
        assert (await server.client.post(f"/sessions/{session_id}/interrupt")).json()["interrupted"]
        assert (await socket.hear())["code"] == "utterance_ended"
        await sending
        assert (await socket.utterance(second[: len(second) // 2]))["event"] == "ended"


# --- before there is a connection


@pytest.mark.parametrize(
    ("query", "words"),
    [({"rate": ""}, "rate"), ({"rate": 10}, "4000 to 192000"), ({"channels": 9}, "1 to 8"),
     ({"endianness": "x"}, "little-endian"), ({"on_busy": "x"}, "reject, queue, replace"),
     ({"prebuffer": 9}, "0 to 2")],
)  # fmt: skip
async def test_bad_queries(server: Server, query: Json, words: str) -> None:
    status, problem = await refused(server, await server.create(), **query)
    assert (status, problem["code"]) == (400, "invalid_parameter")
    assert words in problem["detail"]


async def test_unknown_sessions(server: Server) -> None:
    assert (await refused(server, "nobody"))[0] == 404
    session_id = await server.create()
    await server.client.delete(f"/sessions/{session_id}")
    assert (await refused(server, session_id))[0] == 410


async def test_without_an_upgrade(server: Server) -> None:
    session_id = await server.create()
    path = f"/sessions/{session_id}/audio/ws"
    answer = await server.client.get(f"{path}?rate=16000")
    check_problem(answer, 426, "upgrade_required", "WebSocket")
    assert answer.headers["Upgrade"] == "websocket"
    check_problem(await server.client.get(path), 400, "invalid_parameter", "rate")
    check_problem(await server.client.post(path), 405, "method_not_allowed")
    half = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "1"}
    answer = await server.client.get(f"{path}?rate=16000", headers=half)
    check_problem(answer, 400, "bad_request")


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        ("*", "https://app.example", True),
        ("https://app.example", "https://app.example", True),
        ("https://app.example", "https://evil.example", False),
        ("", "https://evil.example", False),
        ("", "null", False),
        ("", None, True),
        ("", "same", True),
    ],
)
async def test_origins(serve: Serve, allowed: str, origin: str | None, may: bool) -> None:
    """A browser asks nobody before it connects; it only says from where."""
    server = await serve(cors_origins=allowed)
    session_id = await server.create()
    if origin == "same":
        origin = server.url
    if not may:
        status, problem = await refused(server, session_id, origin=origin)
        assert (status, problem["code"]) == (403, "foreign_origin")
        return
    async with opened(server, session_id, origin=origin) as socket:
        assert (await socket.utterance(pcm(0.3)))["event"] == "ended"


async def test_uploads_and_the_socket_share_one_queue(server: Server) -> None:
    session_id = await server.create(on_busy="queue")
    async with opened(server, session_id) as socket:
        await socket.say(pcm(0.4))
        first = (await socket.hear())["request_id"]
        answer = await server.upload(session_id, wav(tone(0.3)))
        assert answer.json()["status"] == "queued"
        await socket.say(END)
        await server.until_state(session_id, "idle")
    spoken = [its["request_id"] for its in await utterances(server, session_id)]
    assert spoken == [first, answer.json()["request_id"]]


def test_its_words_are_documented() -> None:
    section = PROTOCOL.read_text().partition("/audio/ws`\n")[2].partition("\n### ")[0]
    for word in Word:
        assert json.dumps({"event": word.value}) in section
    said = re.findall(r'_say\(\s*"(\w+)"', inspect.getsource(audio_socket))
    assert len(said) >= 4
    for name in said:
        assert f"| `{name}` |" in section, name
