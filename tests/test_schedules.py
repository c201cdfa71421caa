"""A hundred random conversations, 25 at a time on one server: what must be true of all of them.

A seed that failed is named with what was done to its session. SCHEDULES=17,42 runs just these.
"""

import asyncio
import gc
import logging
import math
import os
import threading
from collections import Counter
from typing import Any

import pytest
from fakes import NumberRenderer, tone, wav
from schedules import STALL_TIMEOUT_S, Page, Schedule, Sent
from servers import Serve, Server

Json = dict[str, Any]

_ASKED = os.environ.get("SCHEDULES")
GROUPS = (
    [[int(seed) for seed in _ASKED.split(",")]]
    if _ASKED
    else [list(range(first, first + 25)) for first in range(0, 100, 25)]
)
# Threads that work for everybody, of which a new server has not all yet.
_POOLS = 10
# What a sender may be told by a server that is well.
SENDERS_CODES = {
    "",
    "stream_active",
    "queue_full",
    "utterance_ended",
    "session_gone",
    "session_not_found",
    "unsupported_audio",
    "damaged_audio",
    "empty_audio",
    "upload_aborted",
    "upload_stalled",
}
# Events that show something of an utterance, so that they may not come once it is dead.
SHOWING = {"queued", "started", "first_frame", "chunk", "complete", "error"}


@pytest.mark.parametrize("seeds", GROUPS, ids=lambda seeds: f"from-{seeds[0]}")
async def test_random_conversations(
    serve: Serve, seeds: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(
        NumberRenderer(delay_s=0.002), max_queue=2, audio_stall_timeout_s=STALL_TIMEOUT_S
    )
    # What the first utterance of a server starts is not what a conversation leaves.
    await server.speak(await server.create(), wav(tone(0.4)))
    await _delete_all(server)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()

    schedules = [Schedule(server, seed) for seed in seeds]
    outcomes = await asyncio.gather(*(each.run() for each in schedules), return_exceptions=True)
    for schedule, outcome in zip(schedules, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise AssertionError(str(schedule)) from outcome
        try:
            _check(schedule)
        except AssertionError as exc:
            raise AssertionError(f"{schedule}\n{_heard(schedule)}") from exc

    if not _ASKED:
        _check_enough_was_seen(schedules)
    await _check_nothing_is_left(server, tasks, threads)
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not loud, [record.getMessage() for record in loud]


async def _delete_all(server: Server) -> None:
    stats = (await server.client.get("/sessions/stats")).json()
    for session in stats["sessions"]:
        await server.client.delete(f"/sessions/{session['session_id']}")
    await server.hang_up()


def _heard(schedule: Schedule) -> str:
    """What the page that saw everything was told."""
    return "\n".join(
        f"  {event_id:3} {event['event']:17} {str(event.get('request_id') or '')[:4]:4} "
        f"{ {k: v for k, v in event.items() if k in _TOLD} }"
        for event_id, event in schedule.all_pages[0].events
    )


_TOLD = ("epoch", "index", "follows", "request_ids", "ended_early", "code")


def _check_enough_was_seen(schedules: list[Schedule]) -> None:
    """What never happens is never wrong. Whether anything is played to its end before its session
    goes depends on how busy the machine is."""
    seen = Counter(event["event"] for each in schedules for _, event in each.all_pages[0].events)
    for name in ("chunk", "complete", "interrupted"):
        assert seen[name], f"there was no {name} in {len(schedules)} schedules"


# --- one session


def _check(schedule: Schedule) -> None:
    witness = schedule.all_pages[0]
    for page in schedule.all_pages:
        before = _before(page, witness)
        for state in page.states[:1]:
            assert state["request_id"] not in before - _stopped(witness), "it was told too little"
        _check_page(page, before)
    _check_agreement(schedule.all_pages)
    assert witness.has_closed
    _check_endings(schedule, witness)
    _check_order(schedule, witness)
    assert set(schedule.statuses) <= {"idle", "receiving", "speaking"}
    for sent in schedule.sent:
        assert sent.code in SENDERS_CODES, sent
        assert sent.status < 500, sent


def _before(page: Page, witness: Page) -> set[str]:
    """The utterances that began before this page was there. One that joins is told of everything
    since those that are still to be seen came, and meanwhile others may have ended."""
    if not page.events:
        return set()
    first_id, _ = page.events[0]
    began = [(event_id, event) for event_id, event in witness.events if event["event"] == "started"]
    return {event["request_id"] for event_id, event in began if event_id < first_id}


def _check_page(page: Page, before: set[str]) -> None:
    """In the order in which this page was told: nothing twice, nothing out of turn, and nothing
    of what is dead. Of those before it, players show nothing."""
    ids = [event_id for event_id, _ in page.events]
    assert ids == sorted(set(ids)), "an event came twice or out of order"
    assert not page.of("reset")
    dead_epoch = -1
    over: set[str] = set()
    chunks = Counter[str]()
    seconds = Counter[str]()
    started: set[str] = set()
    for _, event in page.events:
        name, request_id = event["event"], event.get("request_id")
        if request_id in before:
            continue
        if name in SHOWING:
            assert event["epoch"] > dead_epoch, f"{event} of a dead epoch"
            assert request_id not in over, f"{event} of an utterance that is over"
        match name:
            case "interrupted":
                assert event["epoch"] > dead_epoch
                dead_epoch = event["epoch"]
                over.update(event["request_ids"])
            case "started":
                assert request_id not in started, f"{request_id} started twice"
                started.add(str(request_id))
            case "chunk":
                assert request_id in started, f"{event} before its started"
                assert event["index"] == chunks[str(request_id)], f"{event} is out of order"
                assert event["start"] == pytest.approx(seconds[str(request_id)]), "a hole"
                chunks[str(request_id)] += 1
                seconds[str(request_id)] += event["duration"]
            case "complete":
                assert event["total_chunks"] == chunks[str(request_id)]
                assert event["duration"] == pytest.approx(seconds[str(request_id)])
                over.add(str(request_id))
            case "error" | "cancelled":
                over.add(str(request_id))


def _check_agreement(pages: list[Page]) -> None:
    """Every page is told the same, but for what was dead when it would have been told."""
    everything: dict[int, Json] = {}
    for page in pages:
        for event_id, event in page.events:
            assert everything.setdefault(event_id, event) == event
    doomed = _stopped(pages[0])
    for page in pages:
        seen = {event_id for event_id, _ in page.events}
        if not seen:
            continue
        for event_id in set(range(min(seen), max(seen))) - seen:
            missed = everything.get(event_id)
            if missed is None:  # dead before anybody was told
                assert doomed
            else:
                assert missed["event"] in SHOWING, f"{missed} was not told"
                assert missed["request_id"] in doomed, f"{missed} was not told"


def _stopped(page: Page) -> set[str]:
    """The utterances that were interrupted or cancelled."""
    stopped = {event["request_id"] for event in page.of("cancelled")}
    for event in page.of("interrupted"):
        stopped.update(event["request_ids"])
    return stopped


def _check_endings(schedule: Schedule, witness: Page) -> None:
    """Every utterance ends once. What is complete may still be interrupted or cancelled while
    viewers have not seen all of it."""
    endings: dict[str, list[str]] = {event["request_id"]: [] for event in witness.of("queued")}
    for _, event in witness.events:
        match event["event"]:
            case "interrupted":
                for request_id in event["request_ids"]:
                    endings.setdefault(request_id, []).append("interrupted")
            case "complete" | "error" | "cancelled":
                endings.setdefault(event["request_id"], []).append(event["event"])
    possible = (["complete"], ["interrupted"], ["cancelled"], ["complete", "interrupted"],
                ["complete", "cancelled"])  # fmt: skip
    for request_id, ended in endings.items():
        assert ended in possible, f"{request_id} ended as {ended}"
    complete = {event["request_id"]: event for event in witness.of("complete")}
    for sent in schedule.sent:
        if sent.status == 202:
            assert sent.request_id in endings, f"{sent} was taken, and nobody was told"
            if sent.sound_s is not None and sent.request_id in complete:
                _check_length(sent, complete[sent.request_id], schedule.fps)


def _check_length(sent: Sent, complete: Json, fps: float) -> None:
    """What was sent is spoken, no more and no less, but for what had to be waited for."""
    assert complete["ended_early"] is None
    assert sent.sound_s is not None
    frames = (sent.sound_s + complete["waited"]) * fps
    assert complete["duration"] * fps == pytest.approx(math.ceil(frames - 1e-6)), sent


def _check_order(schedule: Schedule, witness: Page) -> None:
    """Turns are spoken in the order in which they were admitted, and epochs only grow."""
    admitted = [each["request_id"] for each in schedule.utterances]
    for name in ("started", "chunk", "complete"):
        spoken = [event["request_id"] for event in witness.of(name)]
        places = [admitted.index(each) for each in spoken if each in admitted]
        assert places == sorted(places), f"{name} events are not in the order of admission"
        epochs = [event["epoch"] for event in witness.of(name)]
        assert epochs == sorted(epochs)
    for each in schedule.utterances:
        assert not each["arriving"]
        assert each["status"] in ("complete", "interrupted", "cancelled"), each


# --- the whole server


async def _check_nothing_is_left(server: Server, tasks: int, threads: int) -> None:
    await server.hang_up()
    stats = (await server.client.get("/sessions/stats")).json()
    assert (stats["total_sessions"], stats["active_streams"]) == (0, 0)
    assert stats["store"] == {"chunks": 0, "bytes": 0}
    assert stats["engine"]["frames_waiting"] == 0
    assert server.files() == []
    await server.hang_up()

    async def nothing_runs() -> bool:
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads + _POOLS

    try:
        await server.until(nothing_runs)
    except TimeoutError:
        names = sorted(task.get_name() for task in asyncio.all_tasks())
        names += sorted(thread.name for thread in threading.enumerate())
        raise AssertionError(f"{tasks} tasks and {threads} threads became {names}") from None
    gc.collect()
    ours = [each for each in map(type, gc.get_objects()) if str(each.__module__)[:8] == "musetalk"]
    kinds = Counter(each.__name__ for each in ours)
    for kind in ("Utterance", "Speech", "Turn", "UtteranceEncoder", "Sound"):
        assert kinds[kind] == 0, f"{kinds[kind]} of {kind} are still alive"
    # The last one that was looked at is a local variable of who looks.
    assert kinds["Session"] <= 1, f"{kinds['Session']} sessions are still alive"
