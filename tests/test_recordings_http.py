"""An utterance as one file: the same bytes while it grows and afterwards, and never a torn one."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from fakes import NumberRenderer, buzz, tone, wav
from media import complaints, needs_ffmpeg, num_packets, probe
from servers import Serve, Server, assert_part

from musetalk_stream import fmp4


async def begin(server: Server, sound: bytes, **options: object) -> tuple[str, str]:
    """A session that speaks: its id, and the address of the recording."""
    session_id = await server.create(**options)
    answer = await server.upload(session_id, sound)
    assert answer.status_code == 202, answer.text
    return session_id, f"/sessions/{session_id}/utterances/{answer.json()['request_id']}.mp4"


@pytest.fixture
async def url(server: Server) -> str:
    session_id, address = await begin(server, wav(tone(4.48)))
    await server.until_state(session_id, "idle")
    return address


async def test_whole(server: Server, url: str) -> None:
    answer = await server.client.get(url)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"].startswith('video/mp4; codecs="avc1.')
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Disposition" not in answer.headers
    head = await server.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control", "Accept-Ranges"):
        assert head.headers[name] == answer.headers[name]


async def test_download(server: Server, url: str) -> None:
    answer = await server.client.head(f"{url}?download=true")
    name = url.rpartition("/")[2]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    answer = await server.client.get(f"{url}?download=yes")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@needs_ffmpeg
async def test_it_is_the_chunks_with_one_head(server: Server, tmp_path: Path) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(4.48)))
    chunks = await server.chunks(heard)
    request_id = heard[0]["request_id"]
    body = (await server.client.get(f"/sessions/{session_id}/utterances/{request_id}.mp4")).content
    assert body == chunks[0] + b"".join(fmp4.split(chunk)[1] for chunk in chunks[1:])
    path = tmp_path / "recording.mp4"
    path.write_bytes(body)
    assert complaints(path) == []
    assert (num_packets(path, "v"), num_packets(path, "a")) == (112, 210)
    assert float(probe(path, "-show_format")["format"]["duration"]) == 4.48


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, None), ("bytes=-7", -7, None),
     ("bytes=5-99999999", 5, None), ("bytes=-99999999", 0, None), ("bytes=5000-40000", 5000, 40001),
     ("bytes=1000-1000000", 1000, 1_000_001)],
)  # fmt: skip
async def test_ranges(server: Server, url: str, wanted: str, start: int, stop: int | None) -> None:
    await assert_part(server.client, url, wanted, start, stop)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-2", "bytes=x-y", "bytes=-0"])
async def test_ranges_that_can_not_be(server: Server, url: str, wanted: str) -> None:
    size = len((await server.client.get(url)).content)
    answer = await server.client.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_validators(server: Server, url: str) -> None:
    tag = (await server.client.get(url)).headers["ETag"]
    for header in (tag, f'"other", {tag}', "*", f"W/{tag}"):
        answer = await server.client.get(url, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    for same, status in ((tag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-9", "If-Range": same}
        assert (await server.client.get(url, headers=headers)).status_code == status
    for match, status in ((tag, 200), ("*", 200), ('"other"', 412), (f"W/{tag}", 412),
                          ('"*"', 412)):  # fmt: skip
        assert (await server.client.get(url, headers={"If-Match": match})).status_code == status


async def test_it_grows(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01))
    _session_id, url = await begin(server, wav(buzz(3.2)))
    head = await server.client.head(url)
    assert head.status_code == 200
    assert "Content-Length" not in head.headers
    both = await asyncio.gather(
        server.client.get(url), server.client.get(url, headers={"Range": "bytes=0-9"})
    )
    whole = await server.client.get(url)
    for growing in both:
        assert growing.status_code == 200
        assert growing.headers["Transfer-Encoding"] == "chunked"
        assert growing.headers["Cache-Control"] == "no-store"
        assert "ETag" not in growing.headers
        assert growing.content == whole.content
    assert "Transfer-Encoding" not in whole.headers


async def test_who_can_not_tell_an_end_waits_for_it(serve: Serve) -> None:
    """A client of HTTP/1.0 gets a length, so that it knows."""
    server = await serve(NumberRenderer(delay_s=0.01))
    _session_id, url = await begin(server, wav(buzz(2.0)))
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {url} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == (await server.client.get(url)).content


async def test_a_failed_one_is_never_taken_for_whole(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01, fails_on=lambda _, frame: frame >= 40))
    session_id, url = await begin(server, wav(buzz(4.0)))
    received = b""

    async def receive() -> None:
        nonlocal received
        async with server.client.stream("GET", url) as answer:
            assert answer.status_code == 200
            async for data in answer.aiter_bytes():
                received += data

    with pytest.raises(httpx.RemoteProtocolError):
        await receive()
    assert received[4:8] == b"ftyp"
    for status in ("failed", "interrupted"):
        answer = await server.client.get(url)
        assert (answer.status_code, answer.json()["code"]) == (404, "nothing_to_play")
        document = (await server.client.get(url.removesuffix(".mp4"))).json()
        assert document["status"] == status
        await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
    assert (await server.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
async def test_a_stopped_one_ends_properly(serve: Serve, how: str) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id, url = await begin(server, wav(buzz(20.0)))
    growing = asyncio.create_task(server.client.get(url))
    async with server.events(session_id) as events:
        await events.until("chunk")
        await events.until("chunk")
    if how == "interrupt":
        await server.client.post(f"/sessions/{session_id}/interrupt", json={"wait": 0})
    else:
        await server.client.delete(url.removesuffix(".mp4"))
    body = (await growing).content
    whole = await server.client.get(url)
    assert whole.status_code == 200
    assert whole.content == body
    assert int(whole.headers["Content-Length"]) == len(body)


async def test_it_ends_with_its_session(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.02))
    session_id, url = await begin(server, wav(buzz(20.0)))
    async with server.client.stream("GET", url) as answer, asyncio.timeout(5):
        received = answer.aiter_bytes()
        await anext(received)
        await server.client.delete(f"/sessions/{session_id}")
        with contextlib.suppress(httpx.RemoteProtocolError):  # what it had not sent yet is gone
            async for _ in received:
                pass
    assert (await server.client.get(url)).status_code == 410
    assert server.files() == []


async def test_who_fetches_it_is_a_viewer_who_may_leave(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.01))
    session_id, url = await begin(server, wav(buzz(3.0)))
    async with server.client.stream("GET", url) as answer:
        await anext(answer.aiter_bytes())
    await server.hang_up()
    await server.until_state(session_id, "idle")
    utterance = (await server.client.get(url.removesuffix(".mp4"))).json()
    assert utterance["status"] == "complete"


async def test_what_is_gone(serve: Serve) -> None:
    server = await serve(chunk_retention_s=1)
    _session_id, url = await begin(server, wav(tone(0.5)))

    async def is_gone() -> bool:
        return (await server.client.get(url)).status_code == 404

    await server.until(is_gone)
    assert (await server.client.get(url)).json()["code"] == "utterance_not_found"
