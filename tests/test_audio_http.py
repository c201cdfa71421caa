"""Sound in the body of a request, spoken while it arrives; and all that can be wrong with it."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fakes import NumberRenderer, sound_file, speech_like, tone, wav
from media import decoded
from servers import Json, Serve, Server
from talking import L16, RATE, Held, Raw, cut, pcm, send, until_arriving, until_status, utterances
from test_bad_input import FORM, check_problem, check_usable, form

PROTOCOL = Path(__file__).parents[1] / "docs/protocol.md"


async def spoken(server: Server, session_id: str, content: bytes, kind: str) -> list[Json]:
    """Send, and follow to the end."""
    async with server.events(session_id) as events:
        await events.next()
        answer = await send(server, session_id, cut(content, 3201), kind)
        assert answer.status_code == 202, answer.text
        return await events.until_end()


async def test_speech_starts_while_its_sound_arrives(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(1.0), pcm(0.5))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        begun = await events.until("chunk")
        assert not sending.done()
        started = next(event for event in begun if event["event"] == "started")
        assert (started["duration"], started["prebuffer"], started["follows"]) == (None, 0.2, None)
        (its,) = await utterances(server, session_id)
        assert (its["status"], its["arriving"], its["duration"]) == ("speaking", True, None)
        body.let_go()
        answer, ended = await sending, await events.until_end()
    assert answer.status_code == 202
    request_id = started["request_id"]
    assert answer.json() == {
        "request_id": request_id, "session_id": session_id, "status": "speaking",
        "duration": answer.json()["duration"], "epoch": 0,
    }  # fmt: skip
    assert ended[-1]["event"] == "complete"
    assert ended[-1]["ended_early"] is None
    assert answer.headers["Location"] == f"/sessions/{session_id}/utterances/{request_id}"
    its = (await server.client.get(answer.headers["Location"])).json()
    assert (its["status"], its["arriving"], its["ended_early"]) == ("complete", False, None)


@pytest.mark.parametrize(
    ("kind", "sound"),
    [
        ("audio/L16;rate=16000", pcm(1.0)),
        ("audio/l16; channels=2; RATE=24000", pcm(1.0, rate=24_000, channels=2)),
        ('audio/pcm;rate="8000";endianness=big-endian', pcm(1.0, rate=8000, order=">")),
        ("audio/L16;rate=44100;channels=8", pcm(1.0, rate=44_100, channels=8)),
    ],
)
async def test_forms_of_raw_sound(server: Server, kind: str, sound: bytes) -> None:
    heard = await spoken(server, await server.create(), sound, kind)
    assert heard[-1]["duration"] == 1.0
    _, said = decoded(await server.chunks(heard))
    spectrum = np.abs(np.fft.rfft(said[: 48_000 - 48_000 % 2048]))
    pitch = np.argmax(spectrum) * 48_000 / (48_000 - 48_000 % 2048)
    assert pitch == pytest.approx(441, abs=3), "in another order of bytes this is noise"


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_pieces_may_be_cut_anywhere(server: Server, size: int) -> None:
    session_id = await server.create()
    answer = await send(server, session_id, cut(pcm(0.3), size))
    assert (answer.status_code, answer.json()["duration"]) == (202, 0.32)


WRONG_KINDS = [
    ("audio/L16", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=3999", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=192001", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=16000.5", 400, "invalid_parameter", "rate", "an integer"),
    ("audio/L16;rate=abc", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=-16000", 400, "invalid_parameter", "rate", "4000 to 192000"),
    ("audio/L16;rate=16000;channels=0", 400, "invalid_parameter", "channels", "1 to 8"),
    ("audio/L16;rate=16000;channels=9", 400, "invalid_parameter", "channels", "1 to 8"),
    ("audio/L16;rate=16000;channels=two", 400, "invalid_parameter", "channels", "1 to 8"),
    ("audio/pcm;rate=16000;endianness=middle", 400, "invalid_parameter", "endianness", "big"),
    ("text/plain", 415, "unsupported_audio", "text/plain", "audio/L16"),
    ("application/json", 415, "unsupported_audio", "application/json", "audio/L16"),
    ("application/x-www-form-urlencoded", 415, "unsupported_audio", "audio/L16", "audio/"),
    (FORM, 415, "unsupported_audio", "/stream", "body"),
    ("video/quicktime", 415, "unsupported_audio", "video/quicktime", "audio/L16"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "status", "code", "word", "other"), WRONG_KINDS, ids=[row[0] for row in WRONG_KINDS]
)
async def test_wrong_kinds(
    server: Server, kind: str, status: int, code: str, word: str, other: str
) -> None:
    session_id = await server.create()
    answer = await send(server, session_id, pcm(0.2), kind)
    check_problem(answer, status, code, word, other)
    assert await utterances(server, session_id) == []
    await check_usable(server, session_id)


@pytest.mark.parametrize(
    ("name", "value"),
    [("on_busy", "shout"), ("prebuffer", "3"), ("trailing_silence", "-1"),
     ("trim_leading_silence", "maybe")],
)  # fmt: skip
async def test_wrong_options(server: Server, name: str, value: str) -> None:
    session_id = await server.create()
    answer = await send(server, session_id, pcm(0.2), query={name: value})
    check_problem(answer, 400, "invalid_parameter", name)
    answer = await server.upload(session_id, wav(tone(0.2)), **{name: value})
    check_problem(answer, 400, "invalid_parameter", name)


@pytest.mark.parametrize("kind", [L16, "audio/wav", "application/octet-stream"])
async def test_an_empty_body(server: Server, kind: str) -> None:
    session_id = await server.create()
    check_problem(await send(server, session_id, b"", kind), 422, "empty_audio")
    assert (await utterances(server, session_id), await server.state(session_id)) == ([], "idle")


async def test_a_body_that_is_less_than_a_sample(server: Server) -> None:
    session_id = await server.create()
    check_problem(await send(server, session_id, b"x"), 422, "damaged_audio")
    assert (await utterances(server, session_id), await server.state(session_id)) == ([], "idle")


async def test_a_body_that_stops_within_a_sample(server: Server) -> None:
    """What came before is spoken; both are told."""
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        answer = await send(server, session_id, cut(pcm(0.6)[:-1], 999))
        check_problem(answer, 422, "damaged_audio", "within an audio sample")
        ended = (await events.until_end())[-1]
    assert (ended["event"], ended["ended_early"]) == ("complete", "damaged_audio")
    assert ended["duration"] == pytest.approx(0.6)
    await check_usable(server, session_id)


async def test_a_body_that_is_too_long(serve: Serve) -> None:
    server = await serve(max_audio_s=1)
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        with contextlib.suppress(httpx.TransportError):  # it may hang up while we are sending
            answer = await send(server, session_id, cut(pcm(1.5), 3200))
            check_problem(answer, 413, "audio_too_long", "1 s")
        ended = (await events.until_end())[-1]
    assert (ended["event"], ended["ended_early"], ended["duration"]) == (
        "complete", "audio_too_long", 1.0,
    )  # fmt: skip


# --- clients that stop, leave, or are in a hurry


async def test_a_sender_that_stalls(serve: Serve) -> None:
    server = await serve(audio_stall_timeout_s=0.3)
    session_id, body = await server.create(), Held(pcm(0.6))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        ended = (await events.until_end())[-1]
        assert (ended["event"], ended["ended_early"]) == ("complete", "upload_stalled")
        body.let_go()
        with contextlib.suppress(httpx.TransportError):
            told = check_problem(await sending, 408, "upload_stalled", "0.3 s", "is spoken")
            assert not told["retryable"], "it would be heard twice"
            assert "send it again" not in told["detail"]
    await check_usable(server, session_id)


@pytest.mark.parametrize("way", ["raw samples", "a file"])
@pytest.mark.parametrize("end", ["interrupted", "cancelled"])
async def test_a_sender_that_pauses_is_told_at_once(server: Server, way: str, end: str) -> None:
    session_id = await server.create()
    sound = wav(speech_like(1.0, RATE), RATE, data_size=2 * RATE * 5)
    kind, body = {"raw samples": (L16, pcm(1.0)), "a file": ("audio/wav", sound)}[way]
    raw = await Raw.post(server, f"/sessions/{session_id}/audio", kind, body)
    request_id = await until_arriving(server, session_id)
    if end == "interrupted":
        await server.client.post(f"/sessions/{session_id}/interrupt")
    else:
        await server.client.delete(f"/sessions/{session_id}/utterances/{request_id}")
    async with asyncio.timeout(5):  # and not after audio_stall_timeout_s
        assert b" 409 " in await raw.reader.readline()
    raw.leave()


async def test_who_still_sends_is_told_why_nothing_more_is_spoken(serve: Serve) -> None:
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: frame >= 10))
    session_id = await server.create()
    raw = await Raw.post(server, f"/sessions/{session_id}/audio", L16, pcm(1.5))
    async with asyncio.timeout(5):
        assert b" 500 " in await raw.reader.readline()
        await raw.reader.readuntil(b'"code": "render_failed"')
    raw.leave()


async def test_a_sender_that_dribbles(serve: Serve) -> None:
    """A sample now and then is no stall, but it is not waited for without an end either."""
    server = await serve(max_audio_s=1)
    session_id, is_over = await server.create(), asyncio.Event()

    async def dribble() -> AsyncIterator[bytes]:
        yield pcm(0.6)
        while not is_over.is_set():
            await asyncio.sleep(0.1)
            yield bytes(2)

    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, dribble()))
        ended = (await events.until_end())[-1]
        assert (ended["event"], ended["ended_early"]) == ("complete", "upload_stalled")
        assert ended["waited"] > 1
        is_over.set()
        with contextlib.suppress(httpx.TransportError):
            check_problem(await sending, 408, "upload_stalled", "1 s of silence")


@pytest.mark.parametrize("kind", [L16, "audio/wav"])
async def test_a_sender_that_sends_nothing(serve: Serve, kind: str) -> None:
    server = await serve(audio_stall_timeout_s=0.2)
    session_id = await server.create()
    raw = await Raw.post(server, f"/sessions/{session_id}/audio", kind, b"\0")
    assert b" 408 " in await raw.reader.readline()
    assert (await utterances(server, session_id), await server.state(session_id)) == ([], "idle")
    raw.leave()


@pytest.mark.parametrize("way", ["raw samples", "a file", "a form"])
async def test_a_sender_that_leaves(server: Server, way: str) -> None:
    """What came is spoken, and the utterance says why there is no more of it."""
    session_id = await server.create()
    sound = wav(speech_like(1.0, RATE), RATE, data_size=2 * RATE * 5)
    path, kind, body = {
        "raw samples": ("audio", L16, pcm(1.0)),
        "a file": ("audio", "audio/wav", sound),
        "a form": ("stream", FORM, form(sound).removesuffix(b"\r\n--X--\r\n")),
    }[way]
    async with server.events(session_id) as events:
        await events.next()
        raw = await Raw.post(server, f"/sessions/{session_id}/{path}", kind, body)
        await until_arriving(server, session_id)
        raw.leave()
        ended = (await events.until_end())[-1]
    assert (ended["event"], ended["ended_early"]) == ("complete", "upload_aborted")
    assert 0.5 < ended["duration"] < 1.3
    await check_usable(server, session_id)


async def test_a_sender_that_leaves_before_anything_can_be_spoken(server: Server) -> None:
    session_id = await server.create()
    raw = await Raw.post(server, f"/sessions/{session_id}/audio", L16, b"\0")
    await server.until_state(session_id, "receiving")
    raw.leave()
    await server.until_state(session_id, "idle")
    assert await utterances(server, session_id) == []


async def test_a_sender_in_a_hurry_is_held_back(server: Server) -> None:
    """A minute of sound as fast as it goes: what is spoken, some ten seconds more, and what the
    kernel keeps for us."""
    session_id, rate, channels = await server.create(fps=5), 192_000, 4
    second = pcm(1.0, rate=rate, channels=channels)
    sent_s = 0

    async def minute() -> AsyncIterator[bytes]:
        nonlocal sent_s
        for _ in range(60):
            yield second
            sent_s += 1

    sending = asyncio.create_task(
        send(server, session_id, minute(), f"audio/L16;rate={rate};channels={channels}")
    )
    before_s = -1
    while before_s < sent_s or not sent_s:
        before_s = sent_s
        await asyncio.sleep(0.3)
    assert not sending.done()
    assert sent_s < 40
    stopped = (await server.client.post(f"/sessions/{session_id}/interrupt")).json()
    assert stopped["interrupted"]
    with contextlib.suppress(httpx.TransportError):
        check_problem(await sending, 409, "utterance_ended")


# --- files that arrive slowly


@pytest.mark.parametrize("container", ["wav", "mp3", "aac", "ogg", "flac", "webm"])
@pytest.mark.parametrize("way", ["audio", "stream"])
async def test_files_are_spoken_while_they_arrive(server: Server, way: str, container: str) -> None:
    session_id = await server.create()
    sound = sound_file(speech_like(3.0), container)
    half = len(sound) * 2 // 3
    whole = form(sound) if way == "stream" else sound
    body = Held(whole[:half], whole[half:])
    kind = FORM if way == "stream" else "application/octet-stream"
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(
            server.client.post(
                f"/sessions/{session_id}/{way}", content=body, headers={"Content-Type": kind}
            )
        )
        begun = await events.until("chunk")
        assert not sending.done()
        assert begun[1]["duration"] is None
        body.let_go()
        answer, ended = await sending, await events.until_end()
    assert answer.status_code == 202, answer.text
    assert ended[-1]["ended_early"] is None
    assert ended[-1]["duration"] == pytest.approx(3.0, abs=0.1)


async def test_a_file_that_can_only_be_read_whole_waits_for_its_end(server: Server) -> None:
    session_id, sound = await server.create(), sound_file(tone(1.0), "m4a")
    body = Held(sound[:-100], sound[-100:])
    sending = asyncio.create_task(send(server, session_id, body, "audio/mp4"))
    await asyncio.sleep(0.3)
    assert await server.state(session_id) == "receiving"
    body.let_go()
    answer = await sending
    assert (answer.status_code, answer.json()["duration"]) == (202, pytest.approx(1.0, abs=0.1))


async def test_a_slow_file_that_is_no_sound(server: Server) -> None:
    session_id = await server.create()
    body = Held(b"this is not a sound, it is a sentence" * 20, b"and so on" * 50)
    sending = asyncio.create_task(send(server, session_id, body, "audio/mpeg"))
    await asyncio.sleep(0.3)
    body.let_go()
    check_problem(await sending, 415, "unsupported_audio")
    assert (await utterances(server, session_id), await server.state(session_id)) == ([], "idle")


async def test_a_slow_file_that_is_too_large(serve: Serve) -> None:
    server = await serve(max_upload_mb=1, max_lead_s=20)
    session_id = await server.create(fps=5)
    sound = wav(tone(20.0))
    async with server.events(session_id) as events:
        await events.next()
        with contextlib.suppress(httpx.TransportError):
            answer = await send(server, session_id, cut(sound, 100_000, 0.03), "audio/wav")
            check_problem(answer, 413, "upload_too_large")
        ended = (await events.until_end())[-1]
    assert (ended["event"], ended["ended_early"]) == ("complete", "upload_too_large")


async def test_a_file_of_too_much_announced(serve: Serve) -> None:
    server = await serve(max_upload_mb=1)
    session_id = await server.create()
    answer = await send(server, session_id, wav(tone(12.0)), "audio/wav")
    check_problem(answer, 413, "upload_too_large", "1 MB")


# --- what is already there


async def test_two_at_once_are_refused(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    check_problem(await send(server, session_id, pcm(0.3)), 409, "stream_active", "on_busy=queue")
    answer = await server.upload(session_id, wav(tone(0.3)))
    check_problem(answer, 409, "stream_active", "on_busy=queue")
    body.let_go()
    assert (await sending).status_code == 202


async def test_two_at_once_are_queued(serve: Serve) -> None:
    server = await serve(max_queue=1)
    session_id, body = await server.create(on_busy="queue"), Held(pcm(0.6))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        first = await until_arriving(server, session_id)
        queued = await server.upload(session_id, wav(tone(0.3)))
        assert (queued.status_code, queued.json()["status"]) == (202, "queued")
        full = await send(server, session_id, pcm(0.3))
        check_problem(full, 429, "queue_full", "wait")
        assert int(full.headers["Retry-After"]) >= 1
        body.let_go()
        assert (await sending).status_code == 202
        heard = [*await events.until("complete"), *await events.until("complete")]
    done = [event["request_id"] for event in heard if event["event"] == "complete"]
    assert done == [first, queued.json()["request_id"]]


async def test_two_at_once_and_the_first_is_replaced(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(0.6))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        first = await until_arriving(server, session_id)
        answer = await send(server, session_id, pcm(0.3), query={"on_busy": "replace"})
        assert (answer.status_code, answer.json()["epoch"]) == (202, 1)
        ended = await events.until("complete")
    body.let_go()
    with contextlib.suppress(httpx.TransportError):
        check_problem(await sending, 409, "utterance_ended")
    interrupted = next(event for event in ended if event["event"] == "interrupted")
    assert interrupted == {"event": "interrupted", "epoch": 0, "request_ids": [first]}
    assert ended[-1]["request_id"] == answer.json()["request_id"]


async def test_what_can_not_be_taken_interrupts_nothing(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(0.6))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    for kind, status in [("audio/L16", 400), ("text/plain", 415)]:
        answer = await send(server, session_id, pcm(0.3), kind, query={"on_busy": "replace"})
        assert answer.status_code == status
    path = f"/sessions/{session_id}/stream?on_busy=replace"
    answer = await server.client.post(path, content=b"x", headers={"Content-Type": "text/plain"})
    check_problem(answer, 422, "no_audio_file")
    for files, code in [({"other": b"x"}, "no_audio_file"), ({"audio_file": b""}, "empty_audio")]:
        check_problem(await server.client.post(path, files=files), 422, code)
    for kind in (L16, "audio/wav"):
        answer = await send(server, session_id, b"", kind, query={"on_busy": "replace"})
        check_problem(answer, 422, "empty_audio")
    body.let_go()
    assert (await sending).status_code == 202


# --- requests that are sent again


@pytest.mark.parametrize("way", ["audio", "stream"])
async def test_a_request_that_is_sent_again_is_not_spoken_again(server: Server, way: str) -> None:
    session_id, key = (
        await server.create(on_busy="queue"),
        {"Idempotency-Key": "sentence-1"},
    )

    async def say() -> httpx.Response:
        if way == "audio":
            return await send(server, session_id, pcm(0.4), headers=key)
        return await server.client.post(
            f"/sessions/{session_id}/stream", headers=key,
            files={"audio_file": ("a.wav", wav(tone(0.4)), "audio/wav")},
        )  # fmt: skip

    first = await say()
    await until_status(server, session_id, "complete")
    again = await say()
    assert (first.status_code, again.status_code) == (202, 202)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    same = ("request_id", "session_id", "duration", "epoch")
    assert [again.json()[name] for name in same] == [first.json()[name] for name in same]
    assert len(await utterances(server, session_id)) == 1


async def test_a_request_that_is_sent_again_too_early(server: Server) -> None:
    session_id, key, body = (
        await server.create(on_busy="queue"),
        {"Idempotency-Key": "1"},
        Held(pcm(0.6)),
    )
    sending = asyncio.create_task(send(server, session_id, body, headers=key))
    await until_arriving(server, session_id)
    answer = await send(server, session_id, pcm(0.6), headers=key)
    check_problem(answer, 409, "stream_active", "Idempotency-Key")
    body.let_go()
    assert (await sending).status_code == 202


async def test_a_request_that_is_sent_again_is_told_the_same(server: Server) -> None:
    session_id, key = await server.create(), {"Idempotency-Key": "odd"}
    first = await send(server, session_id, pcm(0.6)[:-1], headers=key)
    again = await send(server, session_id, pcm(0.6)[:-1], headers=key)
    told = check_problem(first, 422, "damaged_audio", "what came before is spoken")
    assert check_problem(again, 422, "damaged_audio") == told
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await utterances(server, session_id)) == 1


async def test_an_interrupted_request_that_is_sent_again_stays_interrupted(server: Server) -> None:
    session_id, key = await server.create(), {"Idempotency-Key": "1"}
    raw = asyncio.create_task(send(server, session_id, Held(pcm(0.6)), headers=key))
    await until_arriving(server, session_id)
    await server.client.post(f"/sessions/{session_id}/interrupt")
    again = await send(server, session_id, pcm(0.6), headers=key)
    check_problem(again, 409, "utterance_ended", "interrupted")
    assert again.headers["Idempotency-Replayed"] == "true"
    raw.cancel()


async def test_a_request_that_was_lost_on_its_way_is_spoken_when_it_is_sent_again(
    server: Server,
) -> None:
    session_id, key = await server.create(on_busy="queue"), {"Idempotency-Key": "1"}
    sending = asyncio.create_task(send(server, session_id, Held(pcm(0.6)), headers=key))
    await until_arriving(server, session_id)
    sending.cancel()
    await until_status(server, session_id, "complete")
    again = await send(server, session_id, pcm(0.8), headers=key)
    assert (again.status_code, again.json()["duration"]) == (202, 0.8)
    assert "Idempotency-Replayed" not in again.headers
    again = await send(server, session_id, pcm(0.8), headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [its["ended_early"] for its in await utterances(server, session_id)] == [
        "upload_aborted", None,
    ]  # fmt: skip


async def test_the_key_of_what_was_refused_is_free(server: Server) -> None:
    session_id, key = await server.create(), {"Idempotency-Key": "~!"}
    assert (await send(server, session_id, b"", headers=key)).status_code == 422
    answer = await send(server, session_id, pcm(0.3), headers=key)
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (202, False)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "s\u00e4tze", "a\tb"])
async def test_keys_that_are_none(server: Server, key: str) -> None:
    session_id = await server.create()
    for way in ("audio", "stream"):
        answer = await server.client.post(
            f"/sessions/{session_id}/{way}",
            headers=[(b"Idempotency-Key", key.encode()), (b"Content-Type", L16.encode())],
        )
        check_problem(answer, 400, "invalid_parameter", "Idempotency-Key", "1 to 255")
    answer = await server.client.post(
        f"/sessions/{session_id}/audio",
        headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    )
    check_problem(answer, 400, "invalid_parameter", "Idempotency-Key")


async def test_browsers_may_send_keys(server: Server) -> None:
    answer = await server.client.options(
        "/sessions/x/stream",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "idempotency-key"},
    )  # fmt: skip
    assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    assert "Idempotency-Replayed" in answer.headers["Access-Control-Expose-Headers"]


async def test_the_curl_line_of_the_protocol(server: Server, tmp_path: Path) -> None:
    """As it is printed, with our address in it, and a TTS of one sentence."""
    (line,) = re.findall(r"^curl .*$", PROTOCOL.read_text(), re.MULTILINE)
    session_id = await server.create()
    (tmp_path / "tts.pcm").write_bytes(pcm(0.5, rate=24_000))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"cat tts.pcm | {line.replace('http://localhost:8000', server.url)}"),
        cwd=tmp_path, env={"SESSION": session_id, "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert b'"status": "speaking"' in out, out
    (its,) = await utterances(server, session_id)
    assert its["duration"] == pytest.approx(0.52)
