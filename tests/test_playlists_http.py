"""HLS lists over HTTP, of live, finished, stopped and failed utterances, as others read them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import httpx
import m3u8  # type: ignore[import-untyped]
import pytest
from fakes import NumberRenderer, buzz, silence, tone, wav
from media import needs_ffmpeg
from servers import Begin, Serve, Server

LIST_TYPE = "application/vnd.apple.mpegurl"


async def read(server: Server, address: str) -> tuple[m3u8.M3U8, httpx.Response]:
    answer = await server.client.get(address, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == LIST_TYPE
    return m3u8.loads(answer.text), answer


async def begin(server: Server, sound: bytes, **options: object) -> tuple[str, str]:
    """A session that speaks: its id, and that of the utterance."""
    session_id = await server.create(**options)
    answer = await server.upload(session_id, sound)
    assert answer.status_code == 202, answer.text
    return session_id, answer.json()["request_id"]


async def spoken(server: Server, sound: bytes, **options: object) -> tuple[str, str]:
    session_id, request_id = await begin(server, sound, **options)
    await server.until_state(session_id, "idle")
    return session_id, request_id


async def seen_by_ffprobe(address: str) -> dict[str, Any]:
    """Every frame decoded; nothing may be complained about. Players of growing lists begin near
    their ends unless they heed EXT-X-START, which FFmpeg does not by itself."""
    live = ["-live_start_index", "0"] if "m3u8" in address else []
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", "-v", "error", *live, "-count_frames", "-of", "json"),
        *("-show_entries", "stream=codec_type,nb_read_frames,width,start_time:format=duration"),
        address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    document = json.loads(out)
    streams = {each["codec_type"]: each for each in document["streams"]}
    return {
        "frames": int(streams["video"]["nb_read_frames"]),
        "aac_frames": int(streams["audio"]["nb_read_frames"]),
        "duration": float(document["format"].get("duration", 0)),
        "start": float(streams["video"]["start_time"]),
    }


@pytest.mark.parametrize(("fps", "playback_fps"), [(25, 25), (15, 15), (12, 30)])
async def test_a_finished_one(server: Server, fps: int, playback_fps: int) -> None:
    session_id, request_id = await spoken(
        server, wav(tone(5.0)), fps=fps, playback_fps=playback_fps
    )
    master, answer = await read(server, f"/sessions/{session_id}/master.m3u8")
    (variant,) = master.playlists
    assert variant.stream_info.resolution == (128, 128)
    assert variant.stream_info.frame_rate == playback_fps
    address = urljoin(str(answer.url), variant.uri)
    assert address == f"{server.url}/sessions/{session_id}/live.m3u8?request_id={request_id}"
    live, answer = await read(server, address)
    assert live.is_endlist
    assert "immutable" in answer.headers["Cache-Control"]
    assert abs(sum(each.duration for each in live.segments) - 5.0) < 1e-5
    assert all(round(each.duration) <= live.target_duration for each in live.segments)
    for segment in live.segments:
        size, _, start = segment.byterange.partition("@")
        wanted = f"bytes={start}-{int(start) + int(size) - 1}"
        part = await server.client.get(urljoin(address, segment.uri), headers={"Range": wanted})
        assert part.status_code == 206
        assert int(part.headers["Content-Range"].split("/")[1]) == int(start) + int(size)
        assert part.content[4:8] == b"moof"
        codecs = part.headers["Content-Type"].split('"')[1]
        assert codecs == variant.stream_info.codecs
    (init,) = live.segment_map
    size, _, start = init.byterange.partition("@")
    whole = await server.client.get(urljoin(address, init.uri))
    assert start == "0"
    assert whole.content[int(size) + 4 : int(size) + 8] == b"moof"


@needs_ffmpeg
@pytest.mark.parametrize("name", ["master.m3u8", "live.m3u8"])
async def test_ffprobe_plays_a_finished_one(server: Server, name: str) -> None:
    session_id, _request_id = await spoken(server, wav(tone(4.48)))
    assert await seen_by_ffprobe(f"{server.url}/sessions/{session_id}/{name}") == {
        "frames": 112, "aac_frames": 210, "duration": 4.48, "start": 0.0,
    }  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("name", ["master.m3u8", "live.m3u8"])
async def test_ffprobe_plays_one_that_grows(serve: Serve, name: str) -> None:
    server = await serve(NumberRenderer(delay_s=0.012))
    session_id, _request_id = await begin(server, wav(buzz(4.48)))
    heard = await seen_by_ffprobe(f"{server.url}/sessions/{session_id}/{name}")
    assert (heard["frames"], heard["aac_frames"], heard["start"]) == (112, 210, 0.0)
    live, _ = await read(server, f"/sessions/{session_id}/live.m3u8")
    assert live.is_endlist


async def sound_that_waits(*, until: asyncio.Event) -> AsyncIterator[bytes]:
    """Two seconds of sound, its second half when something has happened."""
    for _ in range(2):
        yield b"\x10\x20" * 24_000
        await until.wait()


async def test_a_list_grows_and_ends(server: Server) -> None:
    session_id = await server.create()
    more = asyncio.Event()
    sending = asyncio.create_task(
        server.client.post(
            f"/sessions/{session_id}/audio",
            content=sound_that_waits(until=more),
            headers={"Content-Type": "audio/L16;rate=24000"},
        )
    )
    async with server.events(session_id) as events:
        await events.until("chunk")
    live, answer = await read(server, f"/sessions/{session_id}/live.m3u8")
    assert answer.history[0].status_code == 307
    assert answer.history[0].headers["Cache-Control"] == "no-store"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert not live.is_endlist
    master, _ = await read(server, f"/sessions/{session_id}/master.m3u8")
    num_before = len(live.segments)

    address = str(answer.url)
    waiting = asyncio.create_task(read(server, f"{address}&_HLS_msn={num_before + 1}"))
    more.set()
    later, _ = await waiting
    assert len(later.segments) >= num_before + 2 or later.is_endlist
    assert later.dumps().startswith(live.dumps().rstrip("\n"))

    total = (await sending).json()["duration"]
    whole, _ = await read(server, f"{address}&_HLS_msn={len(later.segments)}")
    while not whole.is_endlist:
        whole, _ = await read(server, f"{address}&_HLS_msn={len(whole.segments)}")
    assert abs(sum(each.duration for each in whole.segments) - total) < 1e-5
    (promised,) = master.playlists
    (measured,) = (await read(server, f"/sessions/{session_id}/master.m3u8"))[0].playlists
    assert measured.stream_info.bandwidth <= promised.stream_info.bandwidth
    assert measured.stream_info.average_bandwidth <= measured.stream_info.bandwidth


async def test_a_redirect_keeps_what_was_asked(server: Server) -> None:
    session_id, request_id = await spoken(server, wav(tone(0.5)))
    answer = await server.client.get(f"/sessions/{session_id}/live.m3u8?_HLS_msn=0&token=a%26b")
    location = answer.headers["Location"]
    assert location == f"live.m3u8?_HLS_msn=0&token=a%26b&request_id={request_id}"
    answer = await server.client.get(f"/sessions/{session_id}/{location}")
    assert answer.status_code == 200


async def test_what_made_room_for_others_is_gone(begin: Begin) -> None:
    starting = await begin(NumberRenderer())
    await starting.readiness.settled()
    server = starting.server
    session_id, request_id = await spoken(server, wav(tone(0.5)))
    services = starting.readiness.services
    assert services is not None
    await services.store.delete(request_id)  # as it does when room is short
    addresses = [f"{name}.m3u8?request_id={request_id}" for name in ("live", "master")]
    for address in (*addresses, f"utterances/{request_id}.mp4"):
        answer = await server.client.get(f"/sessions/{session_id}/{address}")
        assert (answer.status_code, answer.json()["code"]) == (404, "chunk_not_found")


async def test_what_can_not_be_waited_for(server: Server) -> None:
    session_id, request_id = await spoken(server, wav(tone(0.5)))
    for number in ("7", "x", "-1"):
        answer = await server.client.get(
            f"/sessions/{session_id}/live.m3u8",
            params={"request_id": request_id, "_HLS_msn": number},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_an_interrupted_one_ends(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id, _request_id = await begin(server, wav(buzz(20.0)))
    live, answer = await read(server, f"/sessions/{session_id}/live.m3u8")
    assert not live.is_endlist
    waiting = asyncio.create_task(read(server, f"{answer.url}&_HLS_msn={len(live.segments) + 1}"))
    await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
    await waiting
    ended, _ = await read(server, str(answer.url))
    assert ended.is_endlist
    assert 0 < sum(each.duration for each in ended.segments) < 20
    for each in ended.segments:  # what was delivered stays valid
        part = await server.client.get(urljoin(str(answer.url), each.uri))
        assert part.status_code == 200


async def test_a_failed_one_ends(serve: Serve) -> None:
    server = await serve(NumberRenderer(fails_on=lambda _, frame: frame >= 40))
    session_id, _request_id = await spoken(server, wav(buzz(4.0)))
    live, _ = await read(server, f"/sessions/{session_id}/live.m3u8")
    assert live.is_endlist
    assert 0 < sum(each.duration for each in live.segments) <= 1.6


async def test_nothing_to_play(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id = await server.create()
    for name in ("live.m3u8", "master.m3u8"):
        answer = await server.client.get(f"/sessions/{session_id}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "utterance_not_found")
        answer = await server.client.get(f"/sessions/{session_id}/{name}?request_id=x")
        assert (answer.status_code, answer.json()["code"]) == (404, "utterance_not_found")
        answer = await server.client.get(f"/sessions/nobody/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    await server.upload(session_id, wav(buzz(20.0)))
    queued = await server.upload(session_id, wav(tone(1.0)), on_busy="queue")
    address = f"/sessions/{session_id}/master.m3u8?request_id={queued.json()['request_id']}"
    waiting = asyncio.create_task(server.client.get(address))
    await asyncio.sleep(0.05)
    await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_play")


async def test_who_waits_when_the_session_ends_is_told(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id, _request_id = await begin(server, wav(buzz(20.0)))
    live, answer = await read(server, f"/sessions/{session_id}/live.m3u8")
    address = f"{answer.url}&_HLS_msn={len(live.segments) + 1}"
    waiting = asyncio.create_task(server.client.get(address))
    await asyncio.sleep(0.05)
    await server.client.delete(f"/sessions/{session_id}")
    assert (await waiting).status_code in (200, 410)
    assert (await server.client.get(address)).status_code == 410


async def test_the_one_that_is_spoken_now(server: Server) -> None:
    """A session's list is of what was uploaded last, as soon as that is accepted."""
    session_id, first = await spoken(server, wav(tone(0.5)))
    answer = await server.upload(session_id, wav(tone(0.7)))
    second = answer.json()["request_id"]
    master, _ = await read(server, f"/sessions/{session_id}/master.m3u8")
    assert master.playlists[0].uri == f"live.m3u8?request_id={second}"
    live, _ = await read(server, f"/sessions/{session_id}/live.m3u8?request_id={first}")
    assert abs(sum(each.duration for each in live.segments) - 0.52) < 1e-5


async def test_lists_are_links_of_the_documents(server: Server) -> None:
    session_id, request_id = await spoken(server, wav(silence(0.5)))
    session = (await server.client.get(f"/sessions/{session_id}")).json()
    assert session["avatar"] == (await server.client.get("/avatars/tiny")).json()
    utterances = f"/sessions/{session_id}/utterances"
    utterance = (await server.client.get(f"{utterances}/{request_id}")).json()
    assert (await server.client.get(utterances)).json() == {"utterances": [utterance]}
    assert utterance["playlist_url"] == f"{session['hls_url']}?request_id={request_id}"
    for name in ("playlist_url", "recording_url", "captions_url"):
        assert (await server.client.get(utterance[name])).status_code == 200
        assert (await server.client.head(utterance[name])).status_code == 200


async def test_levels_come_with_chunks(server: Server) -> None:
    sound = wav(tone(1.0))
    heard = await server.speak(await server.create(), sound, trailing_silence=1)
    levels = [level for event in heard if event["event"] == "chunk" for level in event["levels"]]
    assert levels == [-9] * 25 + [-90] * 25
    for event in heard:
        if event["event"] == "chunk":
            assert len(event["levels"]) == round(event["duration"] * 25)
