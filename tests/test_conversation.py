"""Utterances one after another: the queue, interruptions, and what viewers report."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fakes import TINY_FRAMES, TINY_SIZE, NumberRenderer, read_marker, tone, wav
from media import decoded
from servers import Events, Json, Serve, Server, needed
from talking import RATE, Held, pcm, send, until_arriving, until_status, utterances

from musetalk_stream.config import UploadConfig
from musetalk_stream.decoding import DecodeProcesses, Decoders
from musetalk_stream.listening import PcmFormat
from musetalk_stream.options import SpeechOptions
from musetalk_stream.speech import Speech
from musetalk_stream.workers import Workers

SHOWING = ("queued", "started", "first_frame", "chunk", "complete", "error")


async def say(server: Server, session_id: str, seconds: float = 1.0, **query: object) -> str:
    """Upload a tone; its request id."""
    answer = await server.upload(session_id, wav(tone(seconds)), **query)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


async def interrupt(server: Server, session_id: str, wait: float = 0) -> Json:
    answer = await server.client.post(f"/sessions/{session_id}/interrupt?wait={wait}")
    assert answer.status_code == 200, answer.text
    said: Json = answer.json()
    return said


async def report(server: Server, session_id: str, request_id: str, **what: object) -> None:
    answer = await server.client.post(
        f"/sessions/{session_id}/playback", json={"request_id": request_id, **what}
    )
    assert answer.status_code == 204, answer.text


async def utterance(server: Server, session_id: str, request_id: str) -> Json:
    answer = await server.client.get(f"/sessions/{session_id}/utterances/{request_id}")
    assert answer.status_code == 200, answer.text
    its: Json = answer.json()
    return its


async def all_events(server: Server, session_id: str) -> list[Json]:
    """What is told of a session from its beginning, up to now."""
    told = []
    async with server.events(session_id, last_event_id=0) as events:
        with contextlib.suppress(TimeoutError):
            while True:
                told.append(await events.next(within_s=0.3))
    return told


@pytest.fixture
async def slow(serve: Serve) -> Server:
    """A server that needs half of an utterance's time to make it."""
    return await serve(NumberRenderer(delay_s=0.02), max_queue=2)


# --- the queue


async def test_a_queue_is_spoken_in_order_and_without_gaps(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        ids = [await say(slow, session_id) for _ in range(3)]
        told = [*await events.until("complete"), *await events.until("complete"),
                *await events.until("complete")]  # fmt: skip
    assert [event["request_id"] for event in told if event["event"] == "complete"] == ids
    positions = {e["request_id"]: e["position"] for e in told if e["event"] == "queued"}
    assert [positions[request_id] for request_id in ids] == [0, 0, 1]
    started = [event for event in told if event["event"] == "started"]
    assert [event["follows"] for event in started] == [None, *ids[:2]]
    complete = [event for event in told if event["event"] == "complete"]
    for before, after in zip(complete, started[1:], strict=False):
        assert after["avatar_frame"] == before["avatar_frame"], "the body goes on as it was"
    chunks = [event["request_id"] for event in told if event["event"] == "chunk"]
    assert chunks == sorted(chunks, key=ids.index)


async def test_a_full_queue_refuses(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    ids = [await say(slow, session_id, 2.0) for _ in range(3)]
    refused = await slow.upload(session_id, wav(tone(0.5)))
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert refused.json()["retryable"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert [each["request_id"] for each in await utterances(slow, session_id)] == ids


async def test_the_order_is_that_of_the_requests(slow: Server) -> None:
    """A sender that is slow keeps its place before one that is quick."""
    session_id, body = await slow.create(on_busy="queue"), Held(pcm(0.2), pcm(0.5))
    async with slow.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(slow, session_id, body))
        first = await until_arriving(slow, session_id)
        second = await say(slow, session_id, 0.5)
        assert (await utterance(slow, session_id, second))["position"] == 1
        body.let_go()
        await sending
        told = [*await events.until("complete"), *await events.until("complete")]
    assert [e["request_id"] for e in told if e["event"] == "started"] == [first, second]


async def test_what_has_been_seen_is_not_followed(server: Server) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.5)))
    first = heard[0]["request_id"]
    await report(server, session_id, first, event="finished", played_ms=500, interrupted=False)
    assert (await server.speak(session_id, wav(tone(0.5))))[0]["follows"] is None


async def test_what_failed_is_not_followed(serve: Serve) -> None:
    fails = True
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: fails and frame == 20))
    session_id = await server.create()
    assert (await server.speak(session_id, wav(tone(2.0))))[-1]["event"] == "error"
    fails = False
    assert (await server.speak(session_id, wav(tone(0.5))))[0]["follows"] is None


async def test_a_thousand_short_ones_are_not_made_hours_ahead(serve: Serve) -> None:
    server = await serve(max_lead_s=0.5, max_queue=20)
    session_id = await server.create(on_busy="queue")
    for _ in range(10):
        await say(server, session_id, 0.4)
    await asyncio.sleep(0.5)
    made = [each["seconds"] for each in await utterances(server, session_id)]
    assert sum(made) < 3, "what has been seen, twice the lead and one more"


async def test_seconds_that_wait_have_a_bound(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02), max_queue=20, max_audio_s=6)
    session_id = await server.create(on_busy="queue")
    ids = [await say(server, session_id, seconds) for seconds in (6.0, 3.0, 2.0)]
    for content in (wav(tone(1.5)), pcm(1.5)):  # 6.5 s would wait
        if content.startswith(b"RIFF"):
            refused = await server.upload(session_id, content)
        else:
            refused = await send(server, session_id, content)
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert (refused.json()["retryable"], refused.headers["Retry-After"]) == (True, "1")
    ids.append(await say(server, session_id, 0.5))
    assert [each["request_id"] for each in await utterances(server, session_id)] == ids


async def test_what_stands_behind_a_cancelled_one_follows_the_one_before(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        first, second = await say(slow, session_id, 0.5), await say(slow, session_id, 5.0)
        while (await events.until("chunk"))[-1]["request_id"] != second:
            pass
        third = await say(slow, session_id, 0.3)
        await slow.client.delete(f"/sessions/{session_id}/utterances/{second}")
        told = await events.until("complete")
    started = next(event for event in told if event["event"] == "started")
    assert (started["request_id"], started["follows"]) == (third, first)


async def test_sound_that_arrives_does_not_wait_for_decoders(decoding: DecodeProcesses) -> None:
    """The files of others may take long."""
    workers, is_free = Workers(1, "decoder"), threading.Event()
    with workers.running():
        others = asyncio.create_task(workers.run(is_free.wait, deadline_s=0))
        try:
            speech = Speech(SpeechOptions(), UploadConfig(), Decoders(workers, decoding))
            async with asyncio.timeout(10):
                await speech.hear_pcm(pcm(0.5), PcmFormat(RATE, 1, big_endian=False))
            assert speech.sound is not None
            assert speech.sound.duration_s > 0.4
        finally:
            is_free.set()
            await others


async def test_replacing(slow: Server) -> None:
    session_id = await slow.create(on_busy="replace")
    async with slow.events(session_id) as events:
        await events.next()
        first = await say(slow, session_id, 5.0)
        await events.until("chunk")
        second = await say(slow, session_id, 0.5)
        told = await events.until("complete")
    interrupted = next(event for event in told if event["event"] == "interrupted")
    assert interrupted == {"event": "interrupted", "epoch": 0, "request_ids": [first]}
    after = told[told.index(interrupted) + 1 :]
    assert {event["request_id"] for event in after} == {second}
    assert {event["epoch"] for event in after} == {1}
    assert needed(after)[0]["follows"] is None
    states = [each["status"] for each in await utterances(slow, session_id)]
    assert states == ["interrupted", "complete"]


async def test_replacing_what_still_arrives(server: Server) -> None:
    session_id, body = await server.create(on_busy="replace"), Held(pcm(0.2), pcm(0.5))
    sending = asyncio.create_task(send(server, session_id, body))
    await until_arriving(server, session_id)
    await say(server, session_id, 0.5)
    body.let_go()
    refused = await sending
    assert (refused.status_code, refused.json()["code"]) == (409, "utterance_ended")


# --- interruptions


async def until_there_is(server: Server, session_id: str, events: Events, what: str) -> str:
    """An utterance in a certain state; its id."""
    if what == "queued":
        await say(server, session_id, 20.0)
        return await say(server, session_id, 2.0)
    request_id = await say(server, session_id, 20.0 if what == "speaking" else 1.0)
    await events.until("chunk" if what == "speaking" else "complete")
    return request_id


@pytest.mark.parametrize("what", ["queued", "speaking", "complete"])
@pytest.mark.parametrize("how", ["interrupted", "cancelled"])
async def test_stopping_in_every_state(slow: Server, what: str, how: str) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        request_id = await until_there_is(slow, session_id, events, what)
        if how == "interrupted":
            said = await interrupt(slow, session_id)
            assert said["interrupted"]
            assert said["request_ids"][-1] == request_id
        else:
            address = f"/sessions/{session_id}/utterances/{request_id}"
            assert (await slow.client.delete(address)).status_code == 204
            assert (await slow.client.delete(address)).status_code == 204, "no change"
        assert (await utterance(slow, session_id, request_id))["status"] == how
        await events.until(how)
        assert not (await interrupt(slow, session_id))["interrupted"] or how == "cancelled"
        next_id = await say(slow, session_id, 0.3)
        rest = await events.until("complete")
    assert not [e for e in rest if e["event"] in SHOWING and e["request_id"] == request_id]
    assert rest[-1]["request_id"] == next_id


@pytest.mark.parametrize("seconds", [0.2, 1.5])
async def test_stopping_what_still_arrives(server: Server, seconds: float) -> None:
    """Before and after it has begun to be spoken."""
    session_id, body = await server.create(), Held(pcm(seconds), pcm(0.5))
    sending = asyncio.create_task(send(server, session_id, body))
    request_id = await until_arriving(server, session_id)
    if seconds > 1:
        await until_status(server, session_id, "speaking")
    said = await interrupt(server, session_id)
    assert (said["interrupted"], said["request_ids"]) == (True, [request_id])
    assert await server.state(session_id) == "idle", "at once"
    body.let_go()
    assert (await sending).json()["code"] == "utterance_ended"
    its = await utterance(server, session_id, request_id)
    assert (its["status"], its["arriving"]) == ("interrupted", False)


async def test_nothing_to_interrupt(server: Server) -> None:
    session_id = await server.create()
    nothing = {"interrupted": False, "epoch": 0, "request_ids": [], "request_id": None,
               "played_ms": None}  # fmt: skip
    assert await interrupt(server, session_id, wait=1) == nothing
    heard = await server.speak(session_id, wav(tone(0.3)))
    request_id = heard[0]["request_id"]
    await report(server, session_id, request_id, event="finished", played_ms=300, interrupted=False)
    assert await interrupt(server, session_id, wait=1) == nothing
    assert not [e for e in await all_events(server, session_id) if e["event"] == "interrupted"]


async def test_what_nobody_has_watched_can_be_interrupted(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as agent:
        await agent.next()
        request_id = await say(server, session_id, 0.3)
        await agent.until("complete")
        await asyncio.sleep(0.6)  # more than it would take to be seen
        said = await interrupt(server, session_id, wait=1)
    assert (said["interrupted"], said["request_ids"]) == (True, [request_id])
    assert (said["request_id"], said["played_ms"]) == (None, None), "nobody heard it"
    assert (await utterance(server, session_id, request_id))["played_ms"] == 0


async def test_the_device_is_free_at_once(serve: Serve) -> None:
    renderer = NumberRenderer(delay_s=0.02)
    server = await serve(renderer)
    session_id = await server.create(batch_size=1)
    await say(server, session_id, 20.0)
    await until_status(server, session_id, "speaking")

    async def is_under_way() -> bool:
        return len(renderer.batches) > 3

    await server.until(is_under_way)
    await interrupt(server, session_id)
    begun = len(renderer.batches)
    await asyncio.sleep(0.3)
    assert len(renderer.batches) <= begun + 1, "one may have been on its way to the device"
    assert (await server.client.get("/sessions/stats")).json()["engine"]["frames_waiting"] == 0


async def test_dead_epochs_are_not_replayed(slow: Server) -> None:
    session_id = await slow.create(on_busy="replace")
    dead = await say(slow, session_id, 5.0)
    await until_status(slow, session_id, "speaking")
    alive = await say(slow, session_id, 4.0)
    await until_status(slow, session_id, "complete")
    told = await all_events(slow, session_id)
    assert told[0] == {"event": "interrupted", "epoch": 0, "request_ids": [dead]}
    assert {event["request_id"] for event in told[1:]} == {alive}
    async with slow.events(session_id) as events:  # a page that is opened now
        state = await events.next()
        assert (state["request_id"], state["epoch"]) == (alive, 1)
        assert {event["request_id"] for event in await events.until("complete")} == {alive}


async def test_cancelled_ones_are_not_replayed(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    first, second, third = [await say(slow, session_id, 0.5) for _ in range(3)]
    await slow.client.delete(f"/sessions/{session_id}/utterances/{second}")
    await until_status(slow, session_id, "complete")
    told = await all_events(slow, session_id)
    assert [e["event"] for e in told if e["request_id"] == second] == ["cancelled"]
    assert [e["request_id"] for e in told if e["event"] == "complete"] == [first, third]
    assert {e["epoch"] for e in told} == {0}


async def test_a_page_that_joins_a_queue_sees_what_is_on_the_screen(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        ids = [await say(slow, session_id, 2.0) for _ in range(3)]
        await events.until("chunk")
        await report(slow, session_id, ids[0], event="started", ago_ms=0)
        async with slow.events(session_id) as late:
            state = await late.next()
            assert (state["request_id"], state["state"]) == (ids[0], "speaking")
            told = [event for _ in ids for event in await late.until("complete")]
    assert [event["request_id"] for event in told if event["event"] == "started"] == ids


async def test_what_was_cancelled_stays_so_when_it_is_forgotten(server: Server) -> None:
    session_id = await server.create(on_busy="queue")
    gone = await say(server, session_id, 0.5)
    await until_status(server, session_id, "complete")
    await server.client.delete(f"/sessions/{session_id}/utterances/{gone}")
    for _ in range(20):
        request_id = await say(server, session_id, 0.1)
        await server.client.delete(f"/sessions/{session_id}/utterances/{request_id}")
    assert gone not in [each["request_id"] for each in await utterances(server, session_id)]
    told = [event for event in await all_events(server, session_id) if event["event"] in SHOWING]
    assert gone not in {event["request_id"] for event in told}


async def test_what_nobody_has_seen_yet_is_not_forgotten(serve: Serve) -> None:
    server = await serve(max_queue=30)
    session_id = await server.create(on_busy="queue")
    ids = [await say(server, session_id, 0.1) for _ in range(25)]
    await until_status(server, session_id, "complete")
    assert [each["request_id"] for each in await utterances(server, session_id)] == ids
    assert (await interrupt(server, session_id))["request_ids"] == ids


async def test_a_page_is_told_of_one_whose_sound_is_still_to_come(slow: Server) -> None:
    """Not of the one behind it as if that were on the screen."""
    sound = pcm(0.5)
    session_id, body = await slow.create(on_busy="queue"), Held(sound[:1], sound[1:])
    sending = asyncio.create_task(send(slow, session_id, body))

    async def is_admitted() -> bool:
        return bool(await utterances(slow, session_id))

    await slow.until(is_admitted)
    behind = await say(slow, session_id, 0.3)
    async with slow.events(session_id) as late:
        state = await late.next()
        assert (state["request_id"], state["position"]) == (None, None)
        body.let_go()
        first = (await sending).json()["request_id"]
        told = [*await late.until("complete"), *await late.until("complete")]
    assert [e["request_id"] for e in told if e["event"] == "started"] == [first, behind]


async def test_sessions_are_interrupted_alone(slow: Server) -> None:
    one, other = await slow.create(), await slow.create()
    speeches = [asyncio.create_task(slow.speak(each, wav(tone(1.0)))) for each in (one, other)]
    await until_status(slow, one, "speaking")
    assert (await interrupt(slow, one))["interrupted"]
    assert (await speeches[1])[-1]["event"] == "complete"
    speeches[0].cancel()


# --- what viewers report


async def test_reports_of_a_player(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        request_id = await say(server, session_id, 3.0)
        await events.until("complete")
        for _ in range(2):  # a second page
            await report(server, session_id, request_id, event="started", ago_ms=20)
        assert await events.next() == {"event": "playback_started", "request_id": request_id}
        waiting = asyncio.create_task(interrupt(server, session_id, wait=10))
        assert (await events.next())["event"] == "interrupted"
        for played_ms in (99_000, 1):
            await report(server, session_id, request_id, event="finished",
                         played_ms=played_ms, interrupted=True)  # fmt: skip
        assert await events.next() == {
            "event": "playback_finished", "request_id": request_id, "played_ms": 3000,
            "interrupted": True,
        }  # fmt: skip
        said = await waiting
        assert (said["request_id"], said["played_ms"]) == (request_id, 3000), "no more than made"
    its = await utterance(server, session_id, request_id)
    assert its["played_ms"] == 3000
    timings = its["timings_ms"]
    assert timings["received"] == 0
    order = ["received", "decoded", "first_batch", "first_chunk", "first_frame_painted"]
    assert [timings[name] for name in order] == sorted(timings.values())
    engine = (await server.client.get("/sessions/stats")).json()["engine"]
    assert engine["first_painted_p50_ms"] >= engine["first_chunk_p50_ms"] > 0


async def test_of_several_players_the_one_that_heard_most_counts(server: Server) -> None:
    """One may have failed, or been closed, while the other plays on."""
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        request_id = await say(server, session_id, 3.0)
        await events.until("complete")
        await report(server, session_id, request_id, event="started", ago_ms=0)
        for played_ms in (200, 100):
            await report(server, session_id, request_id, event="finished",
                         played_ms=played_ms, interrupted=True)  # fmt: skip
        waiting = asyncio.create_task(interrupt(server, session_id, wait=10))
        await events.until("interrupted")
        assert not waiting.done(), "the other is still to say it"
        await report(server, session_id, request_id, event="finished",
                     played_ms=700, interrupted=True)  # fmt: skip
        assert (await waiting)["played_ms"] == 700
    told = await all_events(server, session_id)
    assert [e["played_ms"] for e in told if e["event"] == "playback_finished"] == [200, 700]


async def test_a_player_that_is_late_can_be_interrupted(server: Server) -> None:
    """It has said that it began, and not that it is over."""
    session_id = await server.create(on_busy="queue")
    async with server.events(session_id) as player:
        await player.next()
        first, second = await say(server, session_id, 0.3), await say(server, session_id, 0.3)
        await player.until("complete")
        await server.chunks(await player.until("complete"))
        await report(server, session_id, first, event="started", ago_ms=0)
        await asyncio.sleep(0.8)  # both would have been seen
        said = await interrupt(server, session_id)
        assert (said["request_ids"], said["request_id"]) == ([first, second], first)


async def test_reports_before_anything_was_to_be_seen(server: Server) -> None:
    session_id, body = await server.create(), Held(pcm(0.1))
    sending = asyncio.create_task(send(server, session_id, body))
    request_id = await until_arriving(server, session_id)
    await report(server, session_id, request_id, event="finished", played_ms=0, interrupted=False)
    assert (await utterance(server, session_id, request_id))["played_ms"] is None
    await server.client.delete(f"/sessions/{session_id}/utterances/{request_id}")
    assert (await utterance(server, session_id, request_id))["played_ms"] == 0
    body.let_go()
    await sending


async def test_a_session_shows_the_one_that_speaks(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        ids = [await say(slow, session_id, 2.0), await say(slow, session_id, 0.3)]
        await events.until("chunk")
        shown = (await slow.client.get(f"/sessions/{session_id}")).json()["utterance"]
        assert (shown["request_id"], shown["duration"]) == (ids[0], 2.0)
        assert shown["timings_ms"]["first_chunk"] >= 0
        await events.until("complete")
        await events.until("complete")
        shown = (await slow.client.get(f"/sessions/{session_id}")).json()["utterance"]
        assert shown["request_id"] == ids[1]


async def test_a_player_that_says_nothing_is_not_waited_for_long(slow: Server) -> None:
    session_id = await slow.create()
    async with slow.events(session_id) as events:
        await events.next()
        request_id = await say(slow, session_id, 5.0)
        await events.until("chunk")
        await report(slow, session_id, request_id, event="started", ago_ms=0)
        said = await interrupt(slow, session_id, wait=0.2)
    assert (said["request_id"], said["played_ms"]) == (request_id, None)


@pytest.mark.parametrize("event", ["started", "finished"])
async def test_reports_about_nothing(server: Server, event: str) -> None:
    session_id = await server.create()
    answer = await server.client.post(
        f"/sessions/{session_id}/playback",
        json={"request_id": "nobody", "event": event, "played_ms": 1, "ago_ms": 1,
              "interrupted": False},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (404, "utterance_not_found")


async def test_after_an_interruption_the_body_goes_on_where_it_was_cut(server: Server) -> None:
    session_id = await server.create(avatar_id="demo")
    length = (await server.client.get("/avatars/demo")).json()["cycle_length"]
    async with server.events(session_id) as events:
        await events.next()
        request_id = await say(server, session_id, 5.0)
        told = await events.until("chunk")
        await report(server, session_id, request_id, event="started", ago_ms=2000)
        await interrupt(server, session_id)
    started = next(event for event in told if event["event"] == "started")
    shown = started["avatar_frame"] + 1  # of the first chunk, whose end had been seen by then
    again = (await server.speak(session_id, wav(tone(0.3))))[0]["avatar_frame"]
    assert 0 <= (again - shown) % length < 100


# --- endings


async def test_closing_ends_a_queue(slow: Server) -> None:
    session_id = await slow.create(on_busy="queue")
    async with slow.events(session_id) as events:
        await events.next()
        ids = [await say(slow, session_id, 5.0) for _ in range(3)]
        assert (await slow.client.delete(f"/sessions/{session_id}")).status_code == 204
        rest = await events.rest()
    assert [e["request_id"] for e in rest if e["event"] == "cancelled"] == ids
    assert rest[-1]["event"] == "closed"
    assert slow.files() == []
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("utterance")]


async def test_a_lost_renderer_ends_a_queue(serve: Serve) -> None:
    renderer = NumberRenderer(delay_s=0.02)
    server = await serve(renderer, max_queue=2)
    session_id = await server.create(on_busy="queue")
    async with server.events(session_id) as events:
        await events.next()
        ids = [await say(server, session_id, 5.0) for _ in range(3)]
        await events.until("chunk")
        renderer.lost = "unspecified launch failure"
        errors = [(await events.until("error"))[-1] for _ in ids]
    assert [(e["request_id"], e["code"], e["retryable"]) for e in errors] == [
        (request_id, "renderer_lost", True) for request_id in ids
    ]
    refused = await server.upload(session_id, wav(tone(0.5)))
    assert (refused.status_code, refused.json()["code"]) == (503, "renderer_lost")
    assert await server.state(session_id) == "idle"


async def test_unknown_utterances(server: Server) -> None:
    session_id, other = await server.create(), await server.create()
    elsewhere = await say(server, other, 0.3)
    for request_id in ("nobody", elsewhere):
        address = f"/sessions/{session_id}/utterances/{request_id}"
        for method in ("GET", "DELETE"):
            answer = await server.client.request(method, address)
            assert (answer.status_code, answer.json()["code"]) == (404, "utterance_not_found")


async def test_only_the_latest_are_remembered(server: Server) -> None:
    session_id = await server.create(on_busy="replace")
    ids = [await say(server, session_id, 0.1) for _ in range(30)]
    known = [each["request_id"] for each in await utterances(server, session_id)]
    assert known == ids[-len(known) :]
    assert 10 < len(known) < 20


# --- sound that does not come


async def test_a_pause_of_the_sender_is_a_pause(server: Server) -> None:
    """The mouth is closed, the body moves on, and sound goes on when it comes."""
    session_id, body = await server.create(), Held(pcm(1.0), pcm(1.0))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        told = await events.until("chunk")
        while sum(e["duration"] for e in told if e["event"] == "chunk") < 1.6:
            told.append(await events.next())
        body.let_go()
        assert (await sending).status_code == 202
        told += await events.until("complete")
    complete = told[-1]
    assert complete["ended_early"] is None
    assert complete["waited"] > 0.3
    assert complete["duration"] == pytest.approx(2.0 + complete["waited"], abs=0.05)
    pictures, sound = decoded(await server.chunks(told))
    assert len(pictures) == round(complete["duration"] * 25)
    middle = range(28, 36)  # 1.12 to 1.44 s
    for frame in middle:
        assert read_marker(pictures[frame]) == 0xFFFF or not is_marked(pictures[frame]), frame
    moving = [int(np.abs(pictures[k].astype(int) - pictures[k + 1]).mean() * 100) for k in middle]
    assert min(moving) > 50, "the bar of the avatar moves on"
    assert np.abs(sound[53_000:69_000]).max() < 0.01
    assert np.abs(sound[:44_000]).max() > 0.4
    assert np.abs(sound[-40_000:]).max() > 0.4
    start = next(event for event in told if event["event"] == "started")["avatar_frame"]
    assert complete["avatar_frame"] == (start + len(pictures)) % TINY_FRAMES


def is_marked(picture: npt.NDArray[np.uint8]) -> bool:
    """Whether a mouth was painted: its cells are black and white, where the face is grey."""
    cells = picture[88:104, 32:96]
    return bool((cells < 30).any() and (cells > 220).any() and TINY_SIZE == 128)


async def test_a_sender_that_stalls_ends_its_utterance(serve: Serve) -> None:
    server = await serve(audio_stall_timeout_s=0.5)
    session_id, body = await server.create(on_busy="queue"), Held(pcm(1.0))
    async with server.events(session_id) as events:
        await events.next()
        sending = asyncio.create_task(send(server, session_id, body))
        await until_arriving(server, session_id)
        behind = await say(server, session_id, 0.3)
        complete = (await events.until("complete"))[-1]
        assert complete["ended_early"] == "upload_stalled"
        assert complete["duration"] >= 1.0
        assert (await events.until("complete"))[-1]["request_id"] == behind
    body.let_go()
    with contextlib.suppress(httpx.TransportError):  # it was answered before all of it was sent
        refused = await sending
        assert (refused.status_code, refused.json()["code"]) == (408, "upload_stalled")


async def test_what_comes_at_once_or_slowly_is_the_same(server: Server) -> None:
    """Streaming equals streaming: the frames do not depend on how fast the sound came."""

    async def spoken(size: int, wait_s: float) -> list[int]:
        session_id = await server.create(fps=15)
        data = pcm(1.2)

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(data), size):
                yield data[start : start + size]
                await asyncio.sleep(wait_s)

        async with server.events(session_id) as events:
            await events.next()
            assert (await send(server, session_id, body())).status_code == 202
            told = await events.until("complete")
        assert told[-1]["waited"] == 0
        pictures, _ = decoded(await server.chunks(told))
        return [read_marker(picture) for picture in pictures]

    assert await spoken(len(pcm(1.2)), 0) == await spoken(3200, 0.02) == list(range(18))
