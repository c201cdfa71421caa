"""Many sessions later, nothing is left of them."""

import asyncio
import gc
import logging
import resource
import threading
from pathlib import Path

import pytest
from fakes import NumberRenderer, speech_like, tone, wav
from servers import ProcessServer, Serve, Server
from talking import Held, send, until_status

from musetalk_stream.conversation import Conversation
from musetalk_stream.sessions import Session
from musetalk_stream.sound import Sound

# What 200 lives may add to a process that has seen 40: fragments, while pools fill up.
TOLERATED_GROWTH_BYTES = 24 << 20


async def one_life(server: Server, sound: bytes, *, leave_early: bool) -> None:
    """Create, subscribe, speak, fetch, delete; or delete in mid-speech."""
    session_id = await server.create(avatar_id="tiny", fps=15)
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, sound)
        heard = await events.until("chunk" if leave_early else "complete")
        await server.chunks(heard)
        await server.client.delete(f"/sessions/{session_id}")
        if leave_early:
            assert (await events.rest())[-1]["event"] == "closed"


async def many_lives(server: Server, count: int) -> None:
    sound = wav(speech_like(0.8))
    for index in range(count):
        await one_life(server, sound, leave_early=index % 4 == 3)


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_in_this_process_nothing_stays(serve: Serve) -> None:
    server = await serve()
    await many_lives(server, 5)
    await server.hang_up()
    gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()), num_descriptors()
    threads = threading.active_count()
    await many_lives(server, 40)
    await server.hang_up()

    async def all_is_as_before() -> bool:
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()) <= tasks and num_descriptors() <= descriptors

    await server.until(all_is_as_before)
    assert threading.active_count() <= threads + 2, "pools may not have been full before"
    assert server.files() == []
    stats = (await server.client.get("/sessions/stats")).json()
    assert (stats["total_sessions"], stats["store"]) == (0, {"chunks": 0, "bytes": 0})
    gc.collect()
    ours = [each for each in map(type, gc.get_objects()) if str(each.__module__)[:8] == "musetalk"]
    kinds = [each.__name__ for each in ours]
    for kind in ("Session", "Utterance", "UtteranceEncoder", "MemoryEventLog", "Sound"):
        assert kinds.count(kind) <= 1, f"{kinds.count(kind)} of {kind} are still alive"


@pytest.mark.parametrize("how", ["deleted", "failed", "complete", "interrupted"])
async def test_sound_is_let_go_without_the_collector(serve: Serve, how: str) -> None:
    """Ten minutes of sound are 150 MB: they must not wait for a cycle to be found. Nor must a
    session, which has an avatar."""

    def fails_on(avatar_id: str, frame: int) -> bool:
        return how == "failed" and frame > 10

    server = await serve(NumberRenderer(delay_s=0.01, fails_on=fails_on))
    session_id = await server.create()
    logging.disable()  # pytest keeps records, and they the frames of a failure
    gc.collect()
    gc.disable()
    try:
        if how == "deleted":
            await server.upload(session_id, wav(tone(20.0)))
            await server.until_state(session_id, "speaking")
            await server.client.delete(f"/sessions/{session_id}")
        elif how == "interrupted":  # while it arrives
            body = Held(wav(tone(2.0)))
            sending = asyncio.create_task(send(server, session_id, body, "audio/wav"))
            await until_status(server, session_id, "speaking")
            await server.client.post(f"/sessions/{session_id}/interrupt")
            body.let_go()
            assert (await sending).json()["code"] == "utterance_ended"
        else:
            await server.speak(session_id, wav(tone(1.0)))

        gone = {Sound, Session, Conversation} if how == "deleted" else {Sound}

        async def are_gone() -> bool:
            return gone.isdisjoint(map(type, gc.get_objects()))

        await server.until(are_gone)
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


async def test_200_lives_of_a_real_server(process_server: ProcessServer) -> None:
    async with process_server.client() as server:
        await many_lives(server, 40)
        files = set(server.files())  # other tests share this server
        threads, descriptors = process_server.num_threads(), process_server.num_descriptors()
        resident = process_server.resident_bytes()
        await many_lives(server, 200)

        async def descriptors_are_back() -> bool:
            return process_server.num_descriptors() <= descriptors

        await server.until(descriptors_are_back)
        # Encoders of cancelled utterances, each with two threads, may wait for the collector.
        assert process_server.num_threads() <= threads + 32
        growth = process_server.resident_bytes() - resident
        assert growth < TOLERATED_GROWTH_BYTES, f"{growth / 2**20:.1f} MB"
        assert set(server.files()) <= files
    assert "Traceback" not in process_server.log
    assert "ERROR" not in process_server.log


async def test_many_sessions_at_once_do_not_exhaust_descriptors(server: Server) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ids = [await server.create() for _ in range(30)]
    before = num_descriptors()
    heard = await asyncio.gather(*(server.speak(each, wav(tone(0.4))) for each in ids))
    assert all(events[-1]["event"] == "complete" for events in heard)
    assert num_descriptors() - before < 200 < soft
