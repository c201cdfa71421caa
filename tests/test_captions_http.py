"""Captions over HTTP: with an upload, later, over a WebSocket; told as events and as WebVTT."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from fakes import NumberRenderer, buzz, sound_file, tone, wav
from servers import Serve, Server

CUES = [{"start": 0.0, "end": 0.5, "text": "Hello"}, {"start": 0.5, "end": 1.0, "text": "you & me"}]
WEBVTT = (
    "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nHello\n\n"
    "00:00:00.500 --> 00:00:01.000\nyou &amp; me\n"
)

NO_CHARACTER = "WEBVTT\n\n00:00.000 --> 00:01.000\n&#" + "9" * 5000 + ";"


async def upload(server: Server, session_id: str, captions: Any, *, after: bool) -> httpx.Response:
    """A form with captions before or after the sound."""
    sound = ("audio_file", ("speech.wav", wav(tone(1.0)), "audio/wav"))
    field = ("captions", (None, captions))
    files: Any = [sound, field] if after else [field, sound]
    return await server.client.post(f"/sessions/{session_id}/stream", files=files)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("form", ["json", "webvtt"])
async def test_with_the_upload(server: Server, form: str, after: bool) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        given = json.dumps(CUES) if form == "json" else WEBVTT
        answer = await upload(server, session_id, given, after=after)
        assert answer.status_code == 202, answer.text
        request_id = answer.json()["request_id"]
        told = [each for each in await events.until("complete") if each["event"] == "captions"]
    assert told == [{"event": "captions", "request_id": request_id, "epoch": 0, "cues": CUES}]
    answer = await server.client.get(f"/sessions/{session_id}/utterances/{request_id}/captions")
    assert answer.headers["Content-Type"] == "text/vtt; charset=utf-8"
    assert answer.text == WEBVTT
    async with server.events(session_id) as late:  # who comes late is told, too
        assert (await late.until("captions"))[-1]["cues"] == CUES


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("captions", "status", "code"),
    [("[{}]", 422, "invalid_captions"), ("[", 422, "invalid_captions"),
     ("[" * 50_000, 422, "invalid_captions"), (b"WEBVTT\n\n\xff", 422, "invalid_captions"),
     ("nothing", 422, "invalid_captions"), ("[" + " " * 64_000 + "]", 413, "captions_too_large"),
     (NO_CHARACTER, 422, "invalid_captions"),
     ("WEBVTT\n\n" + "x" * 200_000, 413, None)],
    ids=["cue", "json", "deep", "utf8", "text", "long", "character", "longer"],
)  # fmt: skip
async def test_wrong_ones_are_refused(
    server: Server, captions: Any, status: int, code: str | None, after: bool
) -> None:
    session_id = await server.create(on_busy="queue")
    answer = await upload(server, session_id, captions, after=after)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == (code or "captions_too_large")
    spoken = (await server.client.get(f"/sessions/{session_id}/utterances")).json()["utterances"]
    assert len(spoken) == after  # what came before them is
    assert ("don't send it again" in answer.json()["detail"]) == after
    assert (await upload(server, session_id, json.dumps(CUES), after=after)).status_code == 202


@pytest.mark.parametrize("kind", ["wav", "mp3"])
@pytest.mark.parametrize("captions", [json.dumps(CUES), "[{}]"], ids=["good", "wrong"])
async def test_long_after_the_sound(serve: Serve, kind: str, captions: str) -> None:
    """When all of the sound has been heard, and other fields have come for longer than the sound
    itself may be waited for."""
    server = await serve(audio_stall_timeout_s=1)
    session_id = await server.create()
    sound = wav(tone(1.0)) if kind == "wav" else sound_file(tone(1.0), "mp3")

    async def form() -> AsyncIterator[bytes]:
        name = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
        yield name % b"audio_file" + sound + b"\r\n" + name % b"transcript"
        for _ in range(6):
            await asyncio.sleep(0.2)
            yield b"x" * 4000
        yield b"\r\n" + name % b"captions" + captions.encode() + b"\r\n--b--\r\n"

    async with server.events(session_id) as events:
        answer = await server.client.post(
            f"/sessions/{session_id}/stream",
            content=form(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        told = await events.until("complete")
    assert told[-1]["ended_early"] is None
    if captions == "[{}]":
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_captions")
        assert answer.json()["retryable"] is False
    else:
        assert answer.status_code == 202, answer.text
        address = f"/sessions/{session_id}/utterances/{answer.json()['request_id']}/captions"
        assert (await server.client.get(address)).text == WEBVTT


async def test_of_several_the_last_ones_stand(server: Server) -> None:
    session_id = await server.create()
    files: Any = [("captions", (None, json.dumps(cues))) for cues in (CUES * 2, CUES)]
    files.append(("audio_file", ("speech.wav", wav(tone(0.2)), "audio/wav")))
    answer = await server.client.post(f"/sessions/{session_id}/stream", files=files)
    address = f"/sessions/{session_id}/utterances/{answer.json()['request_id']}/captions"
    assert (await server.client.get(address)).text == WEBVTT


async def test_later_and_again(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01))
    session_id = await server.create()
    request_id = (await server.upload(session_id, wav(buzz(3.0)))).json()["request_id"]
    address = f"/sessions/{session_id}/utterances/{request_id}/captions"
    assert (await server.client.get(address)).text == "WEBVTT\n"
    async with server.events(session_id) as events:
        answer = await server.client.put(address, json={"cues": CUES})
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await events.until("captions"))[-1]["cues"] == CUES
        vtt = {"Content-Type": "text/vtt"}
        text = "WEBVTT\n\n00:00.000 --> 00:00.500\nother"
        assert (await server.client.put(address, content=text, headers=vtt)).status_code == 204
        assert (await events.until("captions"))[-1]["cues"][0]["text"] == "other"
        assert (await server.client.put(address, json={"cues": []})).status_code == 204
        assert (await events.until("captions"))[-1]["cues"] == []
    assert (await server.client.head(address)).status_code == 200
    async with server.events(session_id, last_event_id=0) as late:  # only of the last ones
        told = [each for each in await late.until("complete") if each["event"] == "captions"]
    assert [each["cues"] for each in told] == [[]]


async def test_of_what_waits(serve: Serve) -> None:
    """They are told when the utterance is queued, and not if it never begins."""
    server = await serve(NumberRenderer(delay_s=0.01))
    session_id = await server.create()
    await server.upload(session_id, wav(buzz(10.0)))
    queued = await server.upload(session_id, wav(tone(1.0)), on_busy="queue")
    address = f"/sessions/{session_id}/utterances/{queued.json()['request_id']}/captions"
    await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
    assert (await server.client.put(address, json={"cues": CUES})).status_code == 204
    async with server.events(session_id, last_event_id=0) as events:
        await server.client.delete(f"/sessions/{session_id}")
        assert "captions" not in [each["event"] for each in await events.rest()]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [("", "application/json", 422, "invalid_captions"),
     ("[]", "application/json", 422, "invalid_captions"),
     ('{"cues": 5}', "application/json", 422, "invalid_captions"),
     (json.dumps({"cues": CUES}), "text/vtt", 422, "invalid_captions"),
     (NO_CHARACTER, "text/vtt", 422, "invalid_captions"),
     ('{"cues": [' + " " * 64_000 + "]}", "application/json", 413, "captions_too_large"),
     ("x" * 1_000_000, "text/vtt", 413, "captions_too_large")],
    ids=["empty", "list", "number", "kind", "character", "long", "longer"],
)  # fmt: skip
async def test_what_can_not_be_put(
    server: Server, body: str, kind: str, status: int, code: str
) -> None:
    session_id = await server.create()
    request_id = (await server.upload(session_id, wav(tone(0.2)))).json()["request_id"]
    address = f"/sessions/{session_id}/utterances/{request_id}/captions"
    answer = await server.client.put(address, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_of_nobody(server: Server) -> None:
    session_id = await server.create()
    for address in (f"/sessions/{session_id}/utterances/x/captions",
                    "/sessions/x/utterances/x/captions"):  # fmt: skip
        for answer in (
            await server.client.get(address),
            await server.client.put(address, json={"cues": CUES}),
        ):
            assert answer.status_code == 404


@pytest.mark.parametrize("word", ["event", "type"])
@pytest.mark.parametrize("when", ["before", "during"])
async def test_over_a_websocket(server: Server, word: str, when: str) -> None:
    session_id = await server.create()
    address = server.url.replace("http", "ws") + f"/sessions/{session_id}/audio/ws?rate=16000"
    captions = json.dumps({word: "captions", "cues": CUES})
    async with server.events(session_id) as events, websockets.connect(address) as socket:
        sound = b"\0\x10" * 16_000
        messages: list[str | bytes] = [captions, sound] if when == "before" else [sound, captions]
        for each in messages:
            await socket.send(each)
        await socket.send(json.dumps({word: "end"}))
        said = [json.loads(await socket.recv()) for _ in range(2)]
        assert [each["event"] for each in said] == ["accepted", "ended"]
        told = (await events.until("captions"))[-1]
        assert (told["request_id"], told["cues"]) == (said[0]["request_id"], CUES)
        # They are of one utterance, not of the next.
        await events.until("complete")
        await socket.send(sound)
        await socket.send(json.dumps({"event": "end"}))
        assert "captions" not in [each["event"] for each in await events.until("complete")]


async def test_wrong_ones_over_a_websocket_disturb_nothing(server: Server) -> None:
    session_id = await server.create()
    address = server.url.replace("http", "ws") + f"/sessions/{session_id}/audio/ws?rate=16000"
    async with websockets.connect(address) as socket:
        await socket.send(b"\0\x10" * 16_000)
        accepted = json.loads(await socket.recv())
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"cues": [{"start": 1}]}, "invalid_captions"), ({}, "invalid_captions"),
            ({"cues": [{"start": 0, "end": 1, "text": "x" * 900}] * 100}, "captions_too_large"),
        ]  # fmt: skip
        for captions, code in wrong:
            await socket.send(json.dumps({"event": "captions", **captions}))
            told = json.loads(await socket.recv())
            assert (told["event"], told["code"]) == ("error", code)
            assert told["request_id"] == accepted["request_id"]
        await socket.send(json.dumps({"event": "end"}))
        assert json.loads(await socket.recv())["event"] == "ended"


async def test_captions_of_a_refused_utterance_are_of_no_other(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id = await server.create()
    address = server.url.replace("http", "ws") + f"/sessions/{session_id}/audio/ws?rate=16000"

    async def captions_of(request_id: str) -> str:
        url = f"/sessions/{session_id}/utterances/{request_id}/captions"
        return (await server.client.get(url)).text

    async with websockets.connect(address) as socket:

        async def say(*messages: str | bytes) -> dict[str, Any]:
            for each in messages:
                await socket.send(each)
            return dict(json.loads(await socket.recv()))

        captions = json.dumps({"event": "captions", "cues": CUES})
        wrong = json.dumps({"event": "captions", "cues": [{"start": 0, "end": 1, "text": "no"}]})
        end, sound = json.dumps({"event": "end"}), b"\0\x10" * 64_000
        first = await say(captions, sound)
        assert (await say(end))["event"] == "ended"
        assert (await say(wrong, sound))["code"] == "stream_active"
        await socket.send(wrong)  # of what is passed over
        await socket.send(end)
        assert (await say(json.dumps({"event": "captions"})))["code"] == "invalid_captions"
        assert await captions_of(first["request_id"]) == WEBVTT
        await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
        second = await say(sound)
        assert await captions_of(second["request_id"]) == "WEBVTT\n"


async def test_other_origins_may_put(server: Server) -> None:
    asking = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    answer = await server.client.options("/sessions/x/utterances/y/captions", headers=asking)
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
