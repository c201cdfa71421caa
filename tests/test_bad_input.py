"""Everything a client can get wrong: its own clear answer, nothing in the log, session usable."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fakes import silence, sound_file, speech_like, tone, video_file, wav
from servers import Json, Serve, Server

FORM = "multipart/form-data; boundary=X"
UPLOAD = {"Content-Type": FORM}


@pytest.fixture(autouse=True)
def clean_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A client's mistake is not the server's: nothing worse than INFO, no traceback."""
    caplog.set_level(logging.INFO)
    yield
    bad = [
        each
        for each in caplog.get_records("call")
        if (each.levelno > logging.INFO or each.exc_info)
        and not each.name.endswith("loop_watch")  # a busy machine is no mistake of ours, either
    ]
    assert not bad, [record.getMessage() for record in bad]


@pytest.fixture
async def serve(serve: Serve, caplog: pytest.LogCaptureFixture) -> Serve:
    """What a server logs before anybody asks it is not looked at: that another has its store."""

    async def start(*args: Any, **settings: object) -> Server:
        server = await serve(*args, **settings)
        caplog.clear()
        return server

    return start


def check_problem(answer: httpx.Response, status: int, code: str, *words: str) -> Json:
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        status, "application/problem+json; charset=utf-8",
    ), answer.text  # fmt: skip
    document: Json = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code", "retryable"}
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == "about:blank"
    assert isinstance(document["retryable"], bool)
    assert 0 < len(document["detail"]) < 500
    for word in words:
        assert word in document["detail"]
    assert answer.headers["Cache-Control"] == "no-store"
    return document


async def check_usable(server: Server, session_id: str) -> None:
    heard = await server.speak(session_id, wav(tone(0.2)))
    assert heard[-1]["event"] == "complete"


# --- options

BAD_OPTIONS = [
    ("fps", "0", "5 to 60"),
    ("fps", "4.9", "5 to 60"),
    ("fps", "61", "5 to 60"),
    ("fps", "abc", "5 to 60"),
    ("fps", "", "5 to 60"),
    ("fps", "NaN", "5 to 60"),
    ("fps", "inf", "5 to 60"),
    ("fps", "-inf", "5 to 60"),
    ("fps", "1e999", "5 to 60"),
    ("fps", "\u0661\u0662x", "5 to 60"),
    ("playback_fps", "24", "at least fps"),
    ("playback_fps", "61", "5 to 60"),
    ("chunk_duration", "-1", "0.2 to 10"),
    ("chunk_duration", "0.1", "0.2 to 10"),
    ("chunk_duration", "nan", "0.2 to 10"),
    ("batch_size", "0", "an integer from 1 to 64"),
    ("batch_size", "65", "an integer from 1 to 64"),
    ("batch_size", "1.5", "an integer from 1 to 64"),
    ("user_id", "x" * 129, "at most 128 characters"),
    ("avatar_id", "x" * 129, "at most 128 characters"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD_OPTIONS)
async def test_bad_options_in_the_query(server: Server, name: str, value: str, words: str) -> None:
    answer = await server.client.post("/sessions/create", params={name: value})
    check_problem(answer, 400, "invalid_parameter", name, words)


@pytest.mark.parametrize(
    "body",
    [
        *('{"fps": true}', '{"fps": null}', '{"fps": [25]}', '{"fps": NaN}', '{"fps": Infinity}'),
        *('{"fps": 1e999}', '{"fps": ' + "9" * 400 + "}", '{"fps": ' + "9" * 5000 + "}"),
        *('{"user_id": 5}', '{"avatar_id": ["demo"]}', '{"avatar_id": {}}', '{"batch_size": "x"}'),
        *("[]", "5", '"fps"', "null", "{", "fps=15", "\xff\xfe", "[" * 30_000, '{"a":' * 10_000),
    ],
    ids=lambda body: body[:24],
)
async def test_bad_bodies(server: Server, body: str) -> None:
    answer = await server.client.post("/sessions/create", content=body.encode("latin-1"))
    check_problem(answer, 400, "invalid_parameter")


async def test_a_huge_body(server: Server) -> None:
    answer = await server.client.post("/sessions/create", content=b" " * 100_000)
    check_problem(answer, 413, "upload_too_large")


@pytest.mark.parametrize(
    "avatar_id",
    ["nobody", "../demo", "demo/../demo", "demo/", ".", "..", "/etc/passwd", "tiny\x00", "ti ny",
     "дом", "tiny\n", "-", "%2e%2e", "TINY"],
)  # fmt: skip
async def test_unknown_avatars(server: Server, avatar_id: str) -> None:
    answer = await server.client.post("/sessions/create", json={"avatar_id": avatar_id})
    check_problem(answer, 404, "avatar_not_found", "demo, other, tiny")


@pytest.mark.parametrize("value", ["-0.1", "30.1", "abc", "nan", "", "1e-9999x"])
async def test_bad_trailing_silence(server: Server, value: str) -> None:
    session_id = await server.create()
    answer = await server.upload(session_id, wav(tone(0.1)), trailing_silence=value)
    check_problem(answer, 400, "invalid_parameter", "trailing_silence", "0 to 30")
    await check_usable(server, session_id)


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"avatar_frame": -1}', '{"avatar_frame": 1.5}',
                                  '{"avatar_frame": "x"}', '{"avatar_frame": 1e7}',
                                  '{"avatar_frame": null}'])  # fmt: skip
async def test_bad_positions(server: Server, body: str) -> None:
    session_id = await server.create()
    answer = await server.client.post(f"/sessions/{session_id}/position", content=body)
    check_problem(answer, 400, "invalid_parameter")


# --- names

WRONG_IDS = [
    "nobody", "A" * 22, "A" * 5000, "a-b_c", "-", "--", "....", "%2e%2e%2f%2e%2e", "%00", "%ff%fe",
    "ü", "%F0%9F%A6%8A", "a%2Fb", "a%20b", "null", "create%20", "'%20or%201=1",
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_IDS)
async def test_unknown_sessions(server: Server, wrong: str) -> None:
    for method, path in [
        ("GET", ""), ("DELETE", ""), ("POST", "/stream"), ("GET", "/events"), ("POST", "/position"),
    ]:  # fmt: skip
        answer = await server.client.request(method, f"/sessions/{wrong}{path}")
        check_problem(answer, 404, "session_not_found")
    answer = await server.client.get(f"/player/session/{wrong}")
    check_problem(answer, 404, "session_not_found")


@pytest.mark.parametrize("wrong", WRONG_IDS)
async def test_unknown_chunks_and_avatars(server: Server, wrong: str) -> None:
    answer = await server.client.get(f"/chunks/{wrong}/chunk_0000.mp4")
    check_problem(answer, 404, "chunk_not_found")
    for path in ("", "/video"):
        answer = await server.client.get(f"/avatars/{wrong}{path}")
        check_problem(answer, 404, "avatar_not_found")


async def raw(server: Server, request: str | bytes) -> bytes:
    """A request that no client library would send; the whole answer."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request if isinstance(request, bytes) else request.encode())
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "path",
    [
        *("/../etc/passwd", "/static/../../setup.cfg", "/static/%2e%2e/%2e%2e/setup.cfg"),
        *("/static/..%2f..%2fsetup.cfg", "/chunks/../chunks/x/chunk_0000.mp4", "/static/"),
        *("/chunks/%2e%2e/chunk_0000.mp4", "/sessions/../avatars/../nothing", "//evil.example/x"),
        *("/avatars/../../../etc/passwd/video", "/chunks/x/chunk_0000.mp4%00", "/static//etc"),
        *("/chunks/x/../../avatars/demo/avatar.json", "/sessions/%2e%2e/events", "/static/%00"),
    ],
)  # fmt: skip
async def test_no_path_leads_out(server: Server, path: str) -> None:
    answer = await raw(
        server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"403", b"404"), head
    assert b"root:" not in body
    assert b"musetalk-stream" not in body
    if head.split()[1] != b"400":  # the HTTP parser itself refuses some before we see them
        assert json.loads(body)["code"] in ("not_found", "session_not_found", "chunk_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("GET", "/chunks/x/evil.mp4"), ("GET", "/chunks/x/chunk_1.mp4"),
     ("GET", "/sessions/{x}"), ("GET", "/sessions"), ("GET", "/favicon.ico/x")],
)  # fmt: skip
async def test_what_is_not_there(server: Server, method: str, path: str) -> None:
    check_problem(await server.client.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/sessions/create", "DELETE, GET, HEAD, POST"),
        ("PUT", "/avatars", "GET, HEAD, POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("PATCH", "/sessions/x", "DELETE, GET, HEAD"),
        ("OPTIONS", "/readyz", "GET, HEAD"),
    ],
)
async def test_wrong_methods(server: Server, method: str, path: str, allowed: str) -> None:
    answer = await server.client.request(method, path)
    check_problem(answer, 405, "method_not_allowed", method, allowed)
    assert sorted(answer.headers["Allow"].split(",")) == allowed.split(", ")


# --- uploads


def form(sound: bytes, name: str = "audio_file", *, head: bytes = b"") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="a.mp3"\r\n'.encode()
    return b"--X\r\n" + disposition + head + b"\r\n" + sound + b"\r\n--X--\r\n"


BAD_SOUNDS = {
    "text": (b"this is not a sound, it is a sentence" * 20, 415, "unsupported_audio"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", 415, "unsupported_audio"),
    "concat": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "unsupported_audio"),
    "film without sound": (video_file(), 415, "unsupported_audio"),
    "no samples": (wav(silence(0)), 422, "empty_audio"),
    "empty": (b"", 422, "empty_audio"),
    "truncated mp3": (sound_file(speech_like(4.0), "mp3")[:20_000], 422, "damaged_audio"),
    "truncated flac": (sound_file(speech_like(4.0), "flac")[:60_000], 422, "damaged_audio"),
    "truncated m4a": (sound_file(speech_like(4.0), "m4a")[:9000], 415, "unsupported_audio"),
    "eleven minutes": (wav(silence(660, 8000), 8000), 413, "audio_too_long"),
}


@pytest.mark.parametrize("kind", BAD_SOUNDS)
async def test_bad_sounds(server: Server, kind: str) -> None:
    sound, status, code = BAD_SOUNDS[kind]
    session_id = await server.create()
    answer = await server.upload(session_id, sound)
    check_problem(answer, status, code)
    assert await server.state(session_id) == "idle"
    await check_usable(server, session_id)


BAD_FORMS: dict[str, tuple[bytes, str, int, str]] = {
    "wrong field": (form(wav(tone(0.1)), "file"), FORM, 422, "no_audio_file"),
    "empty form": (b"--X--\r\n", FORM, 422, "no_audio_file"),
    "no body": (b"", FORM, 400, "bad_request"),
    "not a form": (wav(tone(0.1)), "audio/wav", 422, "no_audio_file"),
    "no type": (wav(tone(0.1)), "", 422, "no_audio_file"),
    "urlencoded": (b"audio_file=x", "application/x-www-form-urlencoded", 422, "no_audio_file"),
    "no boundary": (form(b"x"), "multipart/form-data", 400, "bad_request"),
    "other boundary": (form(b"x"), "multipart/form-data; boundary=Y", 400, "bad_request"),
    "long boundary": (form(b"x"), f"{FORM}{'X' * 99}", 400, "bad_request"),
    "cut in its head": (b"--X\r\nContent-Disposition: form-da", FORM, 400, "bad_request"),
    "no colon": (form(b"x", head=b"nonsense\r\n"), FORM, 400, "bad_request"),
    "long line": (form(b"x", head=b"A: " + b"b" * 70_000 + b"\r\n"), FORM, 400, "bad_request"),
    "many lines": (form(b"x", head=b"A: b\r\n" * 3000), FORM, 400, "bad_request"),
    "nested": (
        b"--X\r\nContent-Type: multipart/mixed; boundary=Z\r\n\r\n"
        b"--Z\r\n\r\nx\r\n--Z--\r\n--X--\r\n",
        *(FORM, 422, "no_audio_file"),
    ),
    "many fields": (
        b"".join(form(b"x", f"f{k}")[:-7] + b"\r\n" for k in range(40)) + b"--X--\r\n",
        *(FORM, 422, "no_audio_file"),
    ),
}


@pytest.mark.parametrize("kind", BAD_FORMS)
async def test_bad_forms(server: Server, kind: str) -> None:
    body, content_type, status, code = BAD_FORMS[kind]
    session_id = await server.create()
    answer = await server.client.post(
        f"/sessions/{session_id}/stream", content=body, headers={"Content-Type": content_type}
    )
    check_problem(answer, status, code)
    assert await server.state(session_id) == "idle"
    await check_usable(server, session_id)


@pytest.mark.parametrize("shape", ["preamble", "epilogue", "no last boundary"])
async def test_forms_that_are_odd_but_whole(server: Server, shape: str) -> None:
    whole = form(wav(tone(0.2)))
    bodies = {
        "preamble": b"preamble\r\n" + whole,
        "epilogue": whole + b"epilogue",
        "no last boundary": whole[: -len(b"\r\n--X--\r\n")],
    }
    session_id = await server.create()
    answer = await server.client.post(
        f"/sessions/{session_id}/stream", content=bodies[shape], headers=UPLOAD
    )
    assert answer.status_code == 202, answer.text


async def test_101_megabytes_are_refused_early(server: Server) -> None:
    """By the announced length, before the body is read."""
    session_id = await server.create()
    head = (
        f"POST /sessions/{session_id}/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {101_000_000}\r\n\r\n"
    )
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head.encode())
    async with asyncio.timeout(2):
        answer = await reader.readuntil(b"\r\n\r\n")
        document = json.loads(await reader.readuntil(b"}"))
    writer.close()
    assert b" 413 " in answer
    assert document["code"] == "upload_too_large"
    assert "100 MB" in document["detail"]
    assert await server.state(session_id) == "idle"
    await check_usable(server, session_id)


async def test_an_unannounced_flood_is_cut_off(serve: Serve) -> None:
    """Chunked, so that only counting tells; a smaller limit does not change the path."""
    server = await serve(max_upload_mb=6)
    session_id = await server.create()
    spooled = num_spool_files()

    async def flood() -> AsyncIterator[bytes]:
        yield form(b"")[:-9]
        for _ in range(70):
            yield bytes(100_000)

    answer = await server.client.post(
        f"/sessions/{session_id}/stream", content=flood(), headers=UPLOAD
    )
    check_problem(answer, 413, "upload_too_large", "6 MB")
    assert num_spool_files() == spooled
    await check_usable(server, session_id)


async def test_a_large_upload_goes_over_the_disk(server: Server) -> None:
    session_id = await server.create(fps=5)
    answer = await server.upload(session_id, wav(tone(60.0)))
    assert (answer.status_code, answer.json()["duration"]) == (202, 60.0)


def num_spool_files() -> int:
    """Open files of ours that lie in the folder for temporary files; they have no name there."""
    places = Path("/proc/self/fd")
    targets = []
    for number in os.listdir(places):  # noqa: PTH208 - iterdir() fails on its own descriptor
        try:
            targets.append(os.readlink(places / number))  # noqa: PTH115 - "… (deleted)" is no path
        except OSError:
            continue
    return sum(target.startswith(tempfile.gettempdir()) and "(deleted)" in target
               and "memfd" not in target for target in targets)  # fmt: skip


@pytest.mark.parametrize("sent", [9000, 200_000, 6_000_000], ids=["beginning", "memory", "disk"])
@pytest.mark.parametrize("ending", ["closed", "reset"])
async def test_an_upload_that_breaks_off_leaves_nothing(
    server: Server, sent: int, ending: str
) -> None:
    session_id = await server.create()
    descriptors, spooled = len(os.listdir("/proc/self/fd")), num_spool_files()  # noqa: PTH208
    body = form(bytes(8_000_000))
    head = (
        f"POST /sessions/{session_id}/stream HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    parts = urlsplit(server.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head.encode() + body[:sent])
    await writer.drain()
    await server.until_state(session_id, "receiving")
    if ending == "reset":
        its_socket = writer.get_extra_info("socket")
        its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.close()
    await server.until_state(session_id, "idle")
    await check_usable(server, session_id)

    async def nothing_is_left() -> bool:
        now = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        return now <= descriptors and num_spool_files() == spooled

    await server.until(nothing_is_left)


async def test_an_upload_that_stalls_gives_its_session_back(serve: Serve) -> None:
    server = await serve(audio_stall_timeout_s=0.3)
    session_id = await server.create()
    enough = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield form(bytes(10_000))[:9000]
        await enough.wait()

    upload = asyncio.create_task(
        server.client.post(f"/sessions/{session_id}/stream", content=stalled(), headers=UPLOAD)
    )
    await server.until_state(session_id, "receiving")
    await server.until_state(session_id, "idle", within_s=2)
    enough.set()
    with contextlib.suppress(httpx.TransportError):  # it may hang up while we are still sending
        check_problem(await upload, 408, "upload_stalled")
    await check_usable(server, session_id)


@pytest.mark.parametrize("way", ["stream", "audio"])
async def test_a_body_that_is_compressed(server: Server, way: str) -> None:
    session_id = await server.create()
    kind = {"stream": UPLOAD["Content-Type"], "audio": "audio/wav"}[way]
    answer = await server.client.post(
        f"/sessions/{session_id}/{way}",
        content=form(bytes(10_000)),
        headers={"Content-Type": kind, "Content-Encoding": "gzip"},
    )
    check_problem(answer, 415, "unsupported_encoding")
    await check_usable(server, session_id)


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # somebody tries TLS
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /sessions/create HTTP/1.1\r\nHost: localhost\r\n"
        + CHUNKED
        + b"zz\r\nabc\r\n0\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:24]),
)
async def test_what_is_not_http(server: Server, request_bytes: bytes) -> None:
    answer = await raw(server, request_bytes)
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_client_that_hangs_up_while_its_sound_is_decoded(server: Server) -> None:
    session_id = await server.create()
    body = form(sound_file(tone(300.0), "flac"))
    head = (
        f"POST /sessions/{session_id}/stream HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    parts = urlsplit(server.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head.encode() + body)
    await writer.drain()
    await server.until_state(session_id, "receiving")
    writer.close()

    async def is_over() -> bool:
        return await server.state(session_id) in ("idle", "speaking")

    await server.until(is_over)
    await server.client.delete(f"/sessions/{session_id}")


async def test_what_is_expected(server: Server) -> None:
    for path in ("/sessions/create", "/avatars"):
        answer = await server.client.post(path, headers={"Expect": "miracles"})
        assert (answer.status_code, answer.json()["code"]) == (417, "expectation_failed")
        assert "100-continue" in answer.json()["detail"]
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /sessions/create HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert await reader.readline() == b"\r\n"
    writer.write(b"{}")
    assert b" 201 " in await reader.readline()
    writer.close()
