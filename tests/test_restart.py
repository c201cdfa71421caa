"""A server that is stopped, or killed, and started again on the same folders."""

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from fakes import NumberRenderer, make_avatar_folder, speech_like, tone, wav
from servers import Begin, ProcessServer, Serve, Server, Starting, start_process
from talking import L16, pcm, send, until_status

Settings = dict[str, object]


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    """Of servers that follow one another."""
    return {"state_dir": tmp_path / "kept", "chunks_dir": tmp_path / "kept-chunks"}


async def ready(
    begin: Begin, settings: Settings, renderer: NumberRenderer | None = None
) -> Starting:
    starting = await begin(renderer or NumberRenderer(), **settings)
    await starting.readiness.settled()
    assert starting.readiness.failed is None, starting.readiness.failed
    return starting


async def stop(starting: Starting) -> None:
    await starting.server.hang_up()
    await starting.runner.cleanup()


def records(settings: Settings) -> list[Path]:
    return sorted(Path(str(settings["state_dir"])).glob("sessions/*"))


# --- stopped


async def test_a_session_goes_on(begin: Begin, kept: Settings) -> None:
    first = await ready(begin, kept)
    server = first.server
    options = {
        "fps": 12.5,
        "playback_fps": 25,
        "chunk_duration": 1,
        "user_id": "u",
        "on_busy": "queue",
    }
    session_id = await server.create(avatar_id="other", **options)
    heard = await server.speak(session_id, wav(tone(3.0)))
    request_id, chunks = heard[0]["request_id"], await server.chunks(heard)
    address = f"/sessions/{session_id}"
    paths = [
        f"{address}/utterances/{request_id}.mp4",
        f"{address}/live.m3u8?request_id={request_id}",
        f"{address}/master.m3u8?request_id={request_id}",
    ]
    before = [(await server.client.get(path)).raise_for_status().content for path in paths]
    document = (await server.client.get(address)).json()
    async with server.events(session_id) as events:
        await events.next()
        stopping = asyncio.create_task(first.runner.cleanup())
        rest = await events.rest()
        assert rest[-1] == {"event": "closed", "reason": "shutdown", "resumable": True}
        last_id = max(int(each) for each in events.ids if each)
    await stopping

    server = (await ready(begin, kept)).server
    again = (await server.client.get(address)).json()
    assert again["epoch"] == document["epoch"] + 1
    for name in ("config", "avatar_id", "user_id"):
        assert again[name] == document[name]
    assert (again["state"], again["counters"]["events"]) == ("idle", 0)
    assert await server.chunks(heard) == chunks
    assert [(await server.client.get(path)).content for path in paths] == before
    (utterance,) = (await server.client.get(f"{address}/utterances")).json()["utterances"]
    assert (utterance["status"], utterance["seconds"]) == ("complete", 3.0)
    assert utterance["chunks"] == heard[-1]["total_chunks"]
    async with server.events(session_id, last_event_id=last_id) as events:
        assert (await events.next())["event"] == "reset"
        assert (await events.next())["state"] == "idle"
        await server.upload(session_id, wav(tone(0.5)))
        spoken = await events.until("complete")
        assert all(int(each) > last_id for each in events.ids if each)
        assert {each["epoch"] for each in spoken if "epoch" in each} == {again["epoch"]}


async def test_what_was_said_with_a_key_is_not_said_again(begin: Begin, kept: Settings) -> None:
    first = await ready(begin, kept)
    session_id = await first.server.create()
    headers = {"Idempotency-Key": "hello"}
    answer = await send(first.server, session_id, pcm(0.5), L16, headers=headers)
    await until_status(first.server, session_id, "complete")
    await stop(first)
    server = (await ready(begin, kept)).server
    again = await send(server, session_id, pcm(0.5), L16, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["request_id"] == answer.json()["request_id"]


async def test_an_operator_may_have_all_of_it_forgotten(begin: Begin, kept: Settings) -> None:
    first = await ready(begin, {**kept, "forget_on_stop": "true"})
    session_id = await first.server.create()
    await first.server.speak(session_id, wav(tone(0.5)))
    async with first.server.events(session_id) as events:
        stopping = asyncio.create_task(first.runner.cleanup())
        assert (await events.rest())[-1] == {"event": "closed", "reason": "shutdown"}
    await stopping
    assert first.server.files() == []
    assert records(kept) == []
    second = await ready(begin, kept)
    assert (await second.server.client.get(f"/sessions/{session_id}")).status_code == 404


async def test_what_ended_does_not_come_back(begin: Begin, kept: Settings, tmp_path: Path) -> None:
    """Deleted, unused for too long, or without its avatar; and others go on."""
    store = tmp_path / "avatars"
    make_avatar_folder(store, "tiny")
    gone = make_avatar_folder(store, "gone")
    first = await ready(begin, {**kept, "avatars_dir": store})
    server = first.server
    deleted, unused, without, kept_one = [
        await server.create(avatar_id=name) for name in ("tiny", "tiny", "gone", "tiny")
    ]
    for session_id in (deleted, unused, without):
        await server.speak(session_id, wav(tone(0.3)))
    await server.client.delete(f"/sessions/{deleted}")
    await stop(first)
    long_ago = time.time() - 10_000
    os.utime(Path(str(kept["state_dir"]), "sessions", f"{unused}.json"), (long_ago, long_ago))
    gone.rename(tmp_path / "elsewhere")
    server = (await ready(begin, {**kept, "avatars_dir": store})).server
    for session_id in (deleted, unused, without):
        assert (await server.client.get(f"/sessions/{session_id}")).status_code == 404
    assert await server.state(kept_one) == "idle"
    assert server.files() == []
    assert [path.stem for path in records(kept)] == [kept_one]


async def test_a_damaged_record_costs_its_session(
    begin: Begin, kept: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    damages = ["", "{", "null", '{"format": 1}', '{"format": 99}', "\0" * 300]
    first = await ready(begin, kept)
    other, *lost = [await first.server.create() for _ in range(len(damages) + 1)]
    await first.server.speak(lost[0], wav(tone(0.3)))
    await stop(first)
    folder = Path(str(kept["state_dir"]), "sessions")
    for session_id, damage in zip(lost, damages, strict=True):
        (folder / f"{session_id}.json").write_text(damage)
        (folder / f"{session_id}.json.part").write_text("half of")
    (folder / "notes.txt").write_text("somebody's")
    server = (await ready(begin, kept)).server
    for session_id in lost:
        assert (await server.client.get(f"/sessions/{session_id}")).status_code == 404
    assert await server.state(other) == "idle"
    assert server.files() == []
    assert {path.name for path in records(kept)} == {
        f"{other}.json", "session.damaged", "notes.txt"
    }  # fmt: skip
    told = sum("can't be read" in each.getMessage() for each in caplog.records)
    assert told == len(damages)


async def test_down_time_is_not_idle_time(begin: Begin, kept: Settings) -> None:
    """A server that was away for long finds its sessions as they were when it was last there."""
    first = await ready(begin, {**kept, "session_idle_s": 60})
    used, unused = await first.server.create(), await first.server.create()
    await stop(first)
    folder, then = Path(str(kept["state_dir"]), "sessions"), time.time() - 10_000
    os.utime(folder / f"{used}.json", (then - 50, then - 50))
    os.utime(folder / f"{unused}.json", (then - 100, then - 100))
    os.utime(folder, (then, then))
    server = (await ready(begin, {**kept, "session_idle_s": 60})).server
    assert await server.state(used) == "idle"
    assert (await server.client.get(f"/sessions/{unused}")).status_code == 404
    (record,) = records(kept)
    unused_s = time.time() - record.stat().st_mtime
    assert unused_s < 45, "who comes back late is not taken for lost when it is killed again soon"


async def test_a_record_that_is_written_as_its_session_ends_ends_with_it(
    begin: Begin, kept: Settings, tmp_path: Path
) -> None:
    settings = {**kept, "recordings_dir": tmp_path / "recordings", "recording_days": 1}
    server = (await ready(begin, settings)).server
    consent = {"given_by": "Ada", "given_at": "2030-01-31T12:00:00Z", "purpose": "training"}
    for index in range(30):
        address = f"/sessions/{await server.create()}"
        giving = server.client.post(f"{address}/recording", json={"consent": consent})
        asked = asyncio.ensure_future(giving)
        for _ in range(10 * (index % 10)):  # from before it arrives to after it is written
            await asyncio.sleep(0)
        assert (await server.client.delete(address)).status_code == 204
        assert (await asked).status_code in (200, 404, 410)
        assert records(kept) == []


async def test_a_note_of_an_utterance_that_is_damaged_costs_its_lists(
    begin: Begin, kept: Settings
) -> None:
    first = await ready(begin, kept)
    session_id = await first.server.create()
    heard = await first.server.speak(session_id, wav(tone(0.3)))
    await stop(first)
    note = first.server.chunks_dir / heard[0]["request_id"] / "utterance.json"
    document = json.loads(note.read_bytes())
    document["note"]["segments"] = [["chunk_0000.mp4", "many"]]
    note.write_text(json.dumps(document))
    server = (await ready(begin, kept)).server
    assert await server.state(session_id) == "idle"
    assert (await server.client.get(f"/sessions/{session_id}/utterances")).json()[
        "utterances"
    ] == []


async def test_only_one_server_has_a_state_folder(begin: Begin, kept: Settings) -> None:
    await ready(begin, kept)
    second = await begin(NumberRenderer(), **kept)
    await second.readiness.settled()
    assert "--state-dir" in str(second.readiness.failed)


async def test_a_session_that_rests_takes_no_share(begin: Begin, kept: Settings) -> None:
    """One that speaks again takes it anew, or is told that there is none."""
    first = await ready(begin, {**kept, "capacity_fps": 25})
    resting = await first.server.create()
    await stop(first)
    server = (await ready(begin, {**kept, "capacity_fps": 25})).server
    newcomer = await server.create()
    refused = await server.upload(resting, wav(tone(0.3)))
    assert (refused.status_code, refused.json()["code"]) == (429, "capacity")
    await server.client.delete(f"/sessions/{newcomer}")
    assert (await server.speak(resting, wav(tone(0.3))))[-1]["event"] == "complete"


# --- no room


async def test_a_session_that_could_not_be_kept_is_not_created(
    begin: Begin, kept: Settings, small_disk: Path
) -> None:
    starting = await ready(begin, {**kept, "state_dir": small_disk / "state"})
    server, ballast = starting.server, small_disk / "ballast"
    with contextlib.suppress(OSError):
        ballast.write_bytes(bytes(500_000))
    refused = await server.client.post("/sessions/create")
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert "make room" in refused.json()["detail"]
    assert (await server.client.get("/sessions/stats")).json()["total_sessions"] == 0
    assert (await server.client.get("/readyz")).json()["status"] == "storage"
    ballast.unlink()
    await server.until_ready()
    await server.create()


async def test_room_stays_free_on_the_disk(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is sent here, from the first moment on, and the log says so once."""
    server = await serve(min_free_mb=10**9)
    readiness = await server.client.get("/readyz")
    assert (readiness.status_code, readiness.json()["status"]) == (503, "storage")
    assert "musetalk_stream_ready 0.0" in (await server.client.get("/metrics")).text
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    refused = await server.client.post("/sessions/create")
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert "min_free_mb" in refused.json()["detail"]
    after = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert after == told
    assert len([each for each in told if "can't be kept" in each]) == 2, "chunks and sessions"


# --- killed


async def test_killed_at_any_moment(avatar_store: Path, tmp_path: Path) -> None:
    """Five sessions speak, and something waits in each; what was announced stays as it was, and
    is whole. `scripts/bench soak --kills` does it more often."""
    chance = random.Random(7)
    sound = wav(speech_like(2.0))
    flags = ["--capacity-fps", "100000", "--avatar", "tiny"]
    with start_process(tmp_path, avatar_store, *flags) as running:
        async with running.client() as server:
            ids = [await server.create(on_busy="queue") for _ in range(5)]
            announced, accepted, last_ids = await speak_until_killed(
                server, running, ids, sound, chance
            )
        assert "Traceback" not in running.log
    with start_process(tmp_path, avatar_store, *flags) as running:
        async with running.client() as server:
            await check_kept(server, announced, accepted, last_ids)
            heard = await server.speak(ids[0], wav(tone(0.5)))
            assert heard[-1]["event"] == "complete"
            await assert_playable(server, next(iter(announced)), tmp_path)
            for session_id in ids:
                await server.client.delete(f"/sessions/{session_id}")
            assert server.files() == []
        assert not list((tmp_path / "state" / "sessions").iterdir())
        assert "Traceback" not in running.log


async def speak_until_killed(
    server: Server, running: ProcessServer, ids: list[str], sound: bytes, chance: random.Random
) -> tuple[dict[str, bytes], dict[str, set[str]], dict[str, int]]:
    """What was announced and fetched; by session what was accepted and not told complete; and the
    last event id of each."""
    fetched: dict[str, bytes] = {}
    accepted: dict[str, set[str]] = {each: set() for each in ids}
    last_ids: dict[str, int] = {}

    async def talk(session_id: str) -> None:
        with contextlib.suppress(httpx.TransportError):
            async with server.events(session_id) as events:
                await events.next()
                for _ in range(2):
                    answer = await server.upload(session_id, sound)
                    accepted[session_id].add(answer.json()["request_id"])
                while True:
                    event = await events.next()
                    last_ids[session_id] = int(events.ids[-1])
                    if event["event"] == "chunk":
                        fetched[event["url"]] = (await server.client.get(event["url"])).content
                    elif event["event"] == "complete":
                        accepted[session_id].discard(event["request_id"])

    async def kill() -> None:
        enough = chance.randint(1, 8)
        while len(fetched) < enough:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(chance.uniform(0, 0.1))
        running.process.kill()
        running.process.wait()

    await asyncio.gather(kill(), *map(talk, ids))
    return fetched, accepted, last_ids


async def check_kept(
    server: Server,
    announced: dict[str, bytes],
    accepted: dict[str, set[str]],
    last_ids: dict[str, int],
) -> None:
    """Chunks are what they were. Who reconnects is told of what was lost: once, and of nothing that
    was complete. It is counted, too."""
    num_lost = 0
    for url, body in announced.items():
        assert (await server.client.get(url)).content == body
    for session_id, request_ids in accepted.items():
        last_id = last_ids.get(session_id, 1)
        async with server.events(session_id, last_event_id=last_id) as events:
            assert (await events.next())["event"] == "reset"
            assert (await events.next())["state"] == "idle"
            answer = await server.upload(session_id, wav(tone(0.2)))
            told = []
            while (event := await events.next())["event"] != "complete":
                told.append(event)
        lost = [each for each in told if each["event"] == "error"]
        assert {each["code"] for each in lost} <= {"server_restarted"}
        assert all(each["retryable"] for each in lost)
        told_of = [each["request_id"] for each in lost]
        assert len(told_of) == len(set(told_of))
        assert request_ids <= set(told_of)
        assert answer.json()["request_id"] not in told_of
        num_lost += len(told_of)
    metrics = (await server.client.get("/metrics")).text
    counted = re.findall(r'utterance_errors_total{code="server_restarted"} (\d+)', metrics)
    assert int(*counted) == num_lost


async def assert_playable(server: Server, url: str, tmp_path: Path) -> None:
    file = tmp_path / "chunk.mp4"
    file.write_bytes((await server.client.get(url)).raise_for_status().content)
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0"]
    probe = await asyncio.to_thread(
        subprocess.run, [*command, str(file)], capture_output=True, text=True, check=True
    )
    assert (sorted(probe.stdout.split()), probe.stderr) == (["audio", "video"], "")
