"""Sessions over real HTTP: create, describe, speak, delete, expire."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from fakes import NumberRenderer, silence, sound_file, tone, wav
from servers import Serve, Server, needed

from musetalk_stream import __version__
from musetalk_stream.config import load
from musetalk_stream.web.app import build_app
from musetalk_stream.web.context import READINESS

ID = re.compile(r"[A-Za-z0-9_-]{22}")


async def test_create_by_query_as_the_guide_does(server: Server) -> None:
    answer = await server.client.post(
        "/sessions/create?avatar_id=test_avatar&user_id=user1&batch_size=2&fps=15&chunk_duration=2"
    )
    assert answer.status_code == 201
    document = answer.json()
    session_id = document["session_id"]
    assert ID.fullmatch(session_id)
    assert answer.headers["Location"] == f"/sessions/{session_id}"
    assert document == {
        "session_id": session_id,
        "player_url": f"/player/session/{session_id}",
        "player_full_url": f"{server.url}/player/session/{session_id}",
        "events_url": f"/sessions/{session_id}/events",
        "stream_url": f"/sessions/{session_id}/stream",
        "audio_url": f"/sessions/{session_id}/audio",
        "audio_socket_url": f"/sessions/{session_id}/audio/ws",
        "hls_url": f"/sessions/{session_id}/master.m3u8",
        "interrupt_url": f"/sessions/{session_id}/interrupt",
        "utterances_url": f"/sessions/{session_id}/utterances",
        "playback_url": f"/sessions/{session_id}/playback",
        "avatar_id": "demo",
        "avatar": (await server.client.get("/avatars/demo")).json(),
        "user_id": "user1",
        "config": {
            "fps": 15,
            "playback_fps": 15,
            "batch_size": 2,
            "chunk_duration": 2.0,
            "on_busy": "reject",
            "prebuffer": 0.2,
        },
        "expires_in_seconds": 900,
    }


async def test_create_by_json(server: Server) -> None:
    wanted = {"avatar_id": "other", "user_id": "Zoë 🦊", "fps": 12.5, "playback_fps": "25",
              "batch_size": 64, "chunk_duration": 0.2, "unknown": [1]}  # fmt: skip
    document = (await server.client.post("/sessions/create", json=wanted)).json()
    assert document["config"] == {
        "fps": 12.5, "playback_fps": 25, "batch_size": 64, "chunk_duration": 0.2,
        "on_busy": "reject", "prebuffer": 0.2,
    }  # fmt: skip
    assert (document["avatar_id"], document["user_id"]) == ("other", "Zoë 🦊")


async def test_body_wins_over_query(server: Server) -> None:
    answer = await server.client.post("/sessions/create?fps=15&batch_size=4", json={"fps": 30})
    config = answer.json()["config"]
    assert (config["fps"], config["batch_size"]) == (30, 4)


async def test_create_with_nothing_takes_the_defaults(server: Server) -> None:
    document = (await server.client.post("/sessions/create")).json()
    assert (document["avatar_id"], document["user_id"]) == ("tiny", None)
    assert document["config"]["fps"] == 25


async def test_ids_are_never_the_same(server: Server) -> None:
    assert len({await server.create() for _ in range(50)}) == 50


async def test_public_url_is_what_clients_are_told(serve: Serve) -> None:
    server = await serve(public_url="https://talk.example/")
    document = (await server.client.post("/sessions/create")).json()
    assert document["player_full_url"].startswith("https://talk.example/player/session/")


async def test_speaking(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        assert (await events.next())["event"] == "state"
        answer = await server.upload(session_id, wav(tone(3.0)), trailing_silence=0.5)
        assert answer.status_code == 202
        accepted = answer.json()
        told = await events.until_end()
    request_id = accepted["request_id"]
    assert ID.fullmatch(request_id)
    assert accepted == {
        "request_id": request_id, "session_id": session_id, "status": "speaking", "duration": 3.52,
        "epoch": 0,
    }  # fmt: skip
    assert [event["event"] for event in told[:4]] == ["queued", "started", "first_frame", "chunk"]
    assert told[0] == {"event": "queued", "request_id": request_id, "epoch": 0, "position": 0}
    assert told[2] == {"event": "first_frame", "request_id": request_id, "epoch": 0}
    started, *chunks, complete = needed(told)
    assert started == {
        "event": "started", "request_id": request_id, "epoch": 0, "duration": 3.52, "fps": 25,
        "mime": started["mime"], "avatar_frame": started["avatar_frame"],
        "follows": None, "prebuffer": 0.0,
    }  # fmt: skip
    assert re.fullmatch(r'video/mp4; codecs="avc1\.[0-9A-F]{6},mp4a\.40\.2"', started["mime"])
    assert 0 <= started["avatar_frame"] < 10
    for index, chunk in enumerate(chunks):
        assert chunk["event"] == "chunk"
        assert chunk["index"] == index
        assert chunk["url"] == f"/chunks/{request_id}/chunk_{index:04d}.mp4"
        assert chunk["mime"] == started["mime"]
        assert chunk["request_id"] == request_id
    assert chunks[0]["duration"] == 0.32, "the first chunk is one part"
    starts = [chunk["start"] for chunk in chunks]
    ends = [chunk["start"] + chunk["duration"] for chunk in chunks]
    assert starts == pytest.approx([0, *ends[:-1]])
    assert ends[-1] == pytest.approx(3.52)
    assert complete == {
        "event": "complete", "request_id": request_id, "epoch": 0, "total_chunks": len(chunks),
        "duration": 3.52, "sound_duration": 3.5,
        "avatar_frame": (started["avatar_frame"] + 88) % 10,
        "ended_early": None, "waited": 0.0,
    }  # fmt: skip
    first, last = chunks[0]["avatar_frames"][0], chunks[-1]["avatar_frames"][1]
    assert (first, (last + 1) % 10) == (started["avatar_frame"], complete["avatar_frame"])


async def test_the_curl_lines_of_the_guide(server: Server) -> None:
    """multipart by hand, as curl and a phone's FormData send it."""
    session_id = await server.create(fps=15)
    mp3 = sound_file(tone(1.0), "mp3")
    body = (
        b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--X\r\nContent-Disposition: form-data; name="audio_file"; filename="a.mpga"\r\n'
        b"Content-Type: audio/mpeg\r\n\r\n" + mp3 + b"\r\n--X--\r\n"
    )
    answer = await server.client.post(
        f"/sessions/{session_id}/stream?trailing_silence=1.5",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=X"},
    )
    assert answer.status_code == 202
    assert answer.json()["duration"] == pytest.approx(2.533, abs=0.07)


@pytest.mark.parametrize("container", ["mp3", "m4a", "aac", "ogg", "opus", "flac", "webm"])
async def test_every_container_is_spoken(server: Server, container: str) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, sound_file(tone(0.5), container))
    assert heard[-1]["event"] == "complete"


async def test_a_session_outlives_many_utterances(server: Server) -> None:
    session_id = await server.create()
    requests = set()
    for _ in range(5):
        heard = await server.speak(session_id, wav(tone(0.4)))
        assert [event["event"] for event in heard][-1] == "complete"
        requests.add(heard[0]["request_id"])
    assert len(requests) == 5
    document = (await server.client.get(f"/sessions/{session_id}")).json()
    assert document["counters"]["utterances"] == 5


async def test_describing_a_session(server: Server) -> None:
    session_id = await server.create(user_id="u", fps=15)
    address = f"/sessions/{session_id}"
    idle = (await server.client.get(address)).json()
    assert idle == {
        "session_id": session_id, "state": "idle", "epoch": 0, "avatar_id": "tiny", "user_id": "u",
        "avatar": (await server.client.get("/avatars/tiny")).json(),
        "hls_url": f"{address}/master.m3u8",
        "config": {"fps": 15, "playback_fps": 15, "batch_size": 2, "chunk_duration": 2.0,
                   "on_busy": "reject", "prebuffer": 0.2},
        "recording": False, "subscribers": 0, "utterance": None,
        "counters": {"utterances": 0, "events": 0},
    }  # fmt: skip
    await server.speak(session_id, wav(tone(1.0)))
    spoken = (await server.client.get(address)).json()
    assert spoken["utterance"]["frames"] == 15
    assert spoken["utterance"]["seconds"] == spoken["utterance"]["duration"] == 1.0


async def test_stats(server: Server) -> None:
    session_id = await server.create()
    await server.create(avatar_id="other")
    await server.speak(session_id, wav(tone(1.0)))
    stats = (await server.client.get("/sessions/stats")).json()
    assert (stats["total_sessions"], stats["active_streams"]) == (2, 0)
    assert {each["avatar_id"] for each in stats["sessions"]} == {"tiny", "other"}
    engine = stats["engine"]
    assert engine["frames_rendered"] == 25
    assert engine["utterances"] == 1
    assert engine["failed"] == engine["cancelled"] == engine["frames_waiting"] == 0
    assert engine["first_chunk_p50_ms"] > 0
    assert engine["frames_per_second"] > 0
    assert stats["store"]["chunks"] == engine["chunks"] > 0
    assert stats["store"]["bytes"] > 1000


async def test_active_streams_are_counted(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id = await server.create()
    await server.upload(session_id, wav(tone(20.0)))
    stats = (await server.client.get("/sessions/stats")).json()
    assert stats["active_streams"] == 1
    assert stats["sessions"][0]["state"] == "speaking"


async def test_delete_forgets_everything_at_once(server: Server) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(1.0)))
    url = heard[1]["url"]
    assert (await server.client.get(url)).status_code == 200
    answer = await server.client.delete(f"/sessions/{session_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await server.client.get(url)).status_code == 404
    assert server.files() == []
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("POST", "/stream")):
        gone = await server.client.request(method, f"/sessions/{session_id}{path}")
        assert (gone.status_code, gone.json()["code"]) == (410, "session_gone")
        assert "deleted" in gone.json()["detail"]


async def test_delete_in_mid_speech_cancels_at_once(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01))
    session_id = await server.create()
    async with server.events(session_id) as first, server.events(session_id) as second:
        await server.upload(session_id, wav(tone(120.0)))
        await first.until("chunk")
        url = (await second.until("chunk"))[-1]["url"]
        began = time.monotonic()
        assert (await server.client.delete(f"/sessions/{session_id}")).status_code == 204
        for events in (first, second):
            rest = await events.rest()
            assert [event["event"] for event in rest if event["event"] != "chunk"] == [
                "cancelled", "closed",
            ]  # fmt: skip
            assert rest[-1]["reason"] == "deleted"
        assert time.monotonic() - began < 0.5
    assert (await server.client.get(url)).status_code == 404
    assert server.files() == []
    stats = (await server.client.get("/sessions/stats")).json()
    assert stats["engine"]["cancelled"] == 1
    assert stats["engine"]["frames_waiting"] == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("utterance")]


async def test_delete_while_an_upload_arrives(server: Server) -> None:
    session_id = await server.create()
    deleted = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        sound = wav(tone(0.5))
        yield b'--X\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\n'
        yield sound[:20_000]
        await server.until_state(session_id, "receiving")
        await server.client.delete(f"/sessions/{session_id}")
        deleted.set()
        yield sound[20_000:] + b"\r\n--X--\r\n"

    answer = await server.client.post(
        f"/sessions/{session_id}/stream",
        content=slowly(),
        headers={"Content-Type": "multipart/form-data; boundary=X"},
    )
    assert deleted.is_set()
    assert (answer.status_code, answer.json()["code"]) == (410, "session_gone")


async def test_a_second_upload_while_speaking_is_refused(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01))
    session_id = await server.create()
    assert (await server.upload(session_id, wav(tone(4.0)))).status_code == 202
    refused = await server.upload(session_id, wav(tone(1.0)))
    assert refused.status_code == 409
    assert refused.json()["code"] == "stream_active"
    assert refused.json()["retryable"] is True
    await server.until_state(session_id, "idle")
    assert (await server.upload(session_id, wav(tone(0.2)))).status_code == 202


async def test_of_two_uploads_at_once_one_is_spoken(server: Server) -> None:
    session_id = await server.create()
    answers = await asyncio.gather(*(server.upload(session_id, wav(tone(30.0))) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


async def test_sound_that_is_not_spoken_yet_has_a_bound(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02), sound_memory_mb=1, max_lead_s=1)
    first, second = await server.create(), await server.create()
    assert (await server.upload(first, wav(tone(3.0)))).status_code == 202
    for name in ("mp3", "m4a"):  # as it arrives, and whole
        refused = await server.upload(second, sound_file(tone(3.0), name))
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) > 0
    await server.until_state(first, "idle")
    assert (await server.upload(second, wav(tone(3.0)))).status_code == 202


async def test_sessions_do_not_hear_each_other(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.001))
    ids = [await server.create(fps=fps) for fps in (15, 25, 30, 60)]
    heard = await asyncio.gather(*(server.speak(each, wav(tone(2.0))) for each in ids))
    assert len({events[0]["request_id"] for events in heard}) == 4
    for fps, events in zip((15, 25, 30, 60), heard, strict=True):
        assert events[0]["fps"] == fps
        assert events[-1]["event"] == "complete"
        assert len({event["request_id"] for event in events}) == 1


async def test_too_many_sessions(serve: Serve) -> None:
    server = await serve(max_sessions=2)
    first = await server.create()
    await server.create()
    refused = await server.client.post("/sessions/create")
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_sessions"
    assert refused.json()["retryable"] is True
    assert int(refused.headers["Retry-After"]) >= 1
    await server.client.delete(f"/sessions/{first}")
    assert (await server.client.post("/sessions/create")).status_code == 201


async def test_an_idle_session_expires(serve: Serve) -> None:
    server = await serve(session_idle_s=1)
    session_id = await server.create()
    heard = await server.speak(session_id, wav(silence(0.2)))

    async def chunk_is_gone() -> bool:  # the address at once, the file soon after
        answer = await server.client.get(heard[1]["url"])
        return answer.status_code == 404 and server.files() == []

    await server.until(chunk_is_gone)
    gone = await server.client.get(f"/sessions/{session_id}")
    assert (gone.status_code, gone.json()["code"]) == (410, "session_gone")
    assert "expired" in gone.json()["detail"]


async def test_a_watched_session_does_not_expire(serve: Serve) -> None:
    server = await serve(session_idle_s=1)
    watched, lonely = await server.create(), await server.create()
    async with server.events(watched) as events:
        await events.next()

        async def one_is_left() -> bool:
            stats = (await server.client.get("/sessions/stats")).json()
            return bool(stats["total_sessions"] == 1)

        await server.until(one_is_left)
        assert (await server.client.get(f"/sessions/{lonely}")).status_code == 410
        assert (await server.client.get(f"/sessions/{watched}")).json()["subscribers"] == 1


async def test_chunks_go_when_their_time_is_up_and_the_session_stays(serve: Serve) -> None:
    server = await serve(chunk_retention_s=1)
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.5)))

    async def no_file_is_left() -> bool:
        return not server.files()

    await server.until(no_file_is_left)
    missing = await server.client.get(heard[1]["url"])
    assert (missing.status_code, missing.json()["code"]) == (404, "chunk_not_found")
    assert (await server.speak(session_id, wav(tone(0.5))))[-1]["event"] == "complete"


async def test_speech_begins_where_the_placeholder_is(server: Server) -> None:
    """The demo's cycle is long enough to tell."""
    session_id = await server.create(avatar_id="demo")
    length = (await server.client.get("/avatars/demo")).json()["cycle_length"]
    shown = length - 3
    answer = await server.client.post(f"/sessions/{session_id}/position",
                                      json={"avatar_frame": shown})  # fmt: skip
    assert (answer.status_code, answer.content) == (204, b"")
    heard = await server.speak(session_id, wav(silence(0.2)))
    ahead = (heard[0]["avatar_frame"] - shown) % length
    assert 2 <= ahead < 25, "a little ahead: what the first chunk takes to be seen"


async def test_the_next_utterance_goes_on_where_the_last_ended(server: Server) -> None:
    session_id = await server.create(avatar_id="demo")
    length = (await server.client.get("/avatars/demo")).json()["cycle_length"]
    first = await server.speak(session_id, wav(tone(3.0)))
    second = await server.speak(session_id, wav(tone(0.2)))
    assert 0 <= (second[0]["avatar_frame"] - first[-1]["avatar_frame"]) % length < 25


@pytest.mark.parametrize("accept", ["text/html,*/*", "*/*"])
async def test_health(server: Server, accept: str) -> None:
    headers = {"Accept": accept}
    alive = await server.client.get("/healthz", headers=headers)
    ready = await server.client.get("/readyz", headers=headers)
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_avatars(server: Server) -> None:
    listed = (await server.client.get("/avatars")).json()["avatars"]
    assert [each["id"] for each in listed] == ["demo", "other", "tiny"]
    tiny = (await server.client.get("/avatars/tiny")).json()
    assert tiny in listed
    assert tiny == {
        "id": "tiny", "name": "Tiny", "width": 128, "height": 128, "fps": 25, "num_frames": 10,
        "idle_frames": 10,
        "cycle": "forward", "cycle_length": 10, "video_url": "/avatars/tiny/video",
        "poster_url": "/avatars/tiny/poster",
        "provenance": "made by the tests", "licence": "MIT",
        "prepared": True, "protected": True,
    }  # fmt: skip
    other = (await server.client.get("/avatars/other")).json()
    assert (other["cycle"], other["num_frames"], other["cycle_length"]) == ("ping-pong", 7, 12)


async def test_pages(server: Server) -> None:
    session_id = await server.create()
    start = await server.client.get("/")
    player = await server.client.get(f"/player/session/{session_id}")
    for page in (start, player):
        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
    assert __version__ in start.text
    assert f'"session_id": "{session_id}"' in player.text


async def test_pages_bring_nothing_from_elsewhere(server: Server) -> None:
    session_id = await server.create()
    for path in ("/", f"/player/session/{session_id}", "/player/session/nobody"):
        page = await server.client.get(path, headers={"Accept": "text/html"})
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert re.match(r"/(?!/)|#|data:|https://github\.com/|\.", address), address
        for address in re.findall(r'(?:src|href)="(/(?:static|client)/[^"]+)"', page.text):
            asset = await server.client.get(address)
            assert asset.status_code == 200, address


async def test_a_page_tells_a_person_what_is_wrong(server: Server) -> None:
    page = await server.client.get("/player/session/nobody", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")
    assert "session_not_found" in page.text
    document = await server.client.get("/player/session/nobody")
    assert document.headers["Content-Type"].startswith("application/problem+json")


async def test_hostile_names_do_not_break_out_of_a_page(server: Server) -> None:
    nasty = "</script><script>alert(1)</script>"
    answer = await server.client.get(f"/player/session/{nasty}", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert nasty not in answer.text
    session_id = await server.create(user_id=nasty)
    page = await server.client.get(f"/player/session/{session_id}")
    assert nasty not in page.text


async def test_not_ready_yet(avatar_store: Path, tmp_path: Path) -> None:
    """Before its avatars are prepared the server says so, and what it is doing."""
    flags = {"avatars_dir": str(avatar_store), "chunks_dir": str(tmp_path), "avatar": "tiny"}
    app = build_app(load(flags, environ={}), NumberRenderer())
    app.on_startup.clear()
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"status": "starting", "detail": "preparing its avatars"}
        refused = await client.post("/sessions/create")
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert refused.headers["Retry-After"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        app[READINESS].fail("no disk")
        assert (await client.get("/readyz")).json() == {"status": "failed", "detail": "no disk"}
    await runner.cleanup()
