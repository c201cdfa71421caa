"""What every answer tells a browser, whatever it is an answer to."""

import re
from urllib.parse import urlsplit

import httpx
import pytest
from fakes import tone, wav
from servers import Serve, Server, needed
from websockets.asyncio.client import connect

HTML = {"Accept": "text/html"}


def policy(answer: httpx.Response) -> dict[str, str]:
    """The directives of the one Content-Security-Policy that there is."""
    (said,) = answer.headers.get_list("Content-Security-Policy")
    found = [each.strip().partition(" ") for each in said.split(";")]
    assert len({name for name, _, _ in found}) == len(found), "one is said twice"
    return {name: value for name, _, value in found}


def check_every_answer(answer: httpx.Response) -> None:
    where = f"{answer.request.method} {answer.request.url} {answer.status_code}"
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"], where
    assert answer.headers.get_list("Referrer-Policy") == ["no-referrer"], where
    assert answer.headers["Cross-Origin-Resource-Policy"] in ("same-origin", "cross-origin"), where
    assert policy(answer)["default-src"] == "'none'", where
    assert "unsafe-eval" not in answer.headers["Content-Security-Policy"], where
    assert "Strict-Transport-Security" not in answer.headers, where
    assert answer.headers.get_list("Server") == ["musetalk-stream"], where


async def test_every_answer(server: Server) -> None:
    session_id = await server.create()
    events = await server.speak(session_id, wav(tone(0.5)))
    chunk = str(needed(events)[1]["url"])
    request_id = events[0]["request_id"]
    session = f"/sessions/{session_id}"
    tag = (await server.client.get(chunk)).headers["ETag"]
    asked: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", "/", HTML, 200),
        ("GET", "/avatars", HTML, 200),
        ("GET", "/avatars", {}, 200),
        ("GET", f"/player{session.replace('sessions', 'session')}", {}, 200),
        ("GET", "/player/session/unknown", HTML, 404),
        ("GET", "/player/selftest", {}, 200),
        ("GET", "/docs", HTML, 200),
        ("GET", session, {}, 200),
        ("HEAD", session, {}, 200),
        ("GET", "/sessions/unknown", {}, 404),
        ("GET", chunk, {}, 200),
        ("GET", chunk, {"Range": "bytes=0-9"}, 206),
        ("GET", chunk, {"Range": "bytes=99999999-"}, 416),
        ("GET", chunk, {"If-None-Match": tag}, 304),
        ("GET", f"{session}/utterances/{request_id}.mp4", {}, 200),
        ("GET", f"{session}/utterances/{request_id}/captions", {}, 200),
        ("GET", f"{session}/master.m3u8", {}, 200),
        ("GET", "/avatars/tiny/poster", {}, 200),
        ("GET", "/avatars/tiny/video", {}, 200),
        ("GET", "/client/index.js", {}, 200),
        ("GET", "/static/base.css", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("DELETE", "/", {}, 405),
        ("POST", "/sessions/create?fps=1000", {}, 400),
        ("POST", "/sessions/create", {"Expect": "miracles"}, 417),
        ("GET", "/avatars", {"Host": "evil.example"}, 403),
        ("GET", "/healthz", {}, 200),
        ("OPTIONS", "/avatars", {"Access-Control-Request-Method": "POST"}, 204),
        ("DELETE", session, {}, 204),
    ]
    for method, path, headers, status in asked:
        answer = await server.client.request(method, path, headers=headers)
        assert answer.status_code == status, f"{method} {path}"
        check_every_answer(answer)


async def test_answers_that_go_on(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        check_every_answer(events.response)
    address = f"{server.url.replace('http', 'ws')}/sessions/{session_id}/audio/ws?rate=16000"
    async with connect(address) as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_pages_may_load(server: Server) -> None:
    """Nothing in line, nothing from elsewhere but posters, and the styles and scripts they name
    are our own."""
    session_id = await server.create()
    host = urlsplit(server.url).netloc
    player = f"/player/session/{session_id}"
    for path in ("/", "/avatars", "/player/selftest", "/docs", player, "/player/session/unknown"):
        page = await server.client.get(path, headers=HTML)
        said = policy(page)
        assert said["script-src"] == "'self'", path
        assert said["style-src"] == "'self' blob:", path
        assert said["base-uri"] == "'none'", path
        assert said["connect-src"] == f"'self' ws://{host}", path
        assert ("*" in said["img-src"].split()) == path.startswith("/player/session"), path
        assert "microphone=(self)" in page.headers["Permissions-Policy"]
        scripts = re.findall(r"<script\b([^>]*)>(.*?)</script>", page.text, re.S)
        assert scripts or path == "/docs", path
        for attributes, text in scripts:
            assert 'type="application/json"' in attributes or not text.strip(), path
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page.text), path


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("*", None),  # which leaves out no scheme
        ("", "'self'"),
        ("https://app.example, capacitor://localhost",
         "'self' https://app.example capacitor://localhost"),
    ],
)  # fmt: skip
async def test_who_may_frame_the_player(serve: Serve, setting: str, said: str | None) -> None:
    server = await serve(frame_ancestors=setting)
    session_id = await server.create()
    player = await server.client.get(f"/player/session/{session_id}")
    assert policy(player).get("frame-ancestors") == said
    gone = await server.client.get("/player/session/unknown", headers=HTML)
    assert policy(gone).get("frame-ancestors") == said, "an app shows this page in the same place"
    assert "Cross-Origin-Opener-Policy" not in player.headers, "an app may open a window of it"
    for path in ("/", "/avatars", "/player/selftest", "/healthz"):
        page = await server.client.get(path, headers=HTML)
        assert policy(page)["frame-ancestors"] == "'none'", path


LISTED, OTHER = "https://app.example", "https://evil.example"


@pytest.mark.parametrize(
    ("origins", "taken"),
    [  # by whom: the poster, a document
        ("*", {None: ("cross-origin", "cross-origin")}),
        ("", {LISTED: ("same-origin", "same-origin")}),
        (LISTED, {
            None: ("cross-origin", "same-origin"),  # of a tag nobody knows whose page it is in
            LISTED: ("cross-origin", "cross-origin"),
            OTHER: ("cross-origin", "same-origin"),
        }),
    ],
)  # fmt: skip
async def test_who_may_take_it(
    serve: Serve, origins: str, taken: dict[str | None, tuple[str, str]]
) -> None:
    server = await serve(cors_origins=origins)
    for asking, wanted in taken.items():
        headers = {"Origin": asking} if asking else {}
        for path, policy in zip(("/avatars/tiny/poster", "/avatars"), wanted, strict=True):
            answer = await server.client.get(path, headers=headers)
            assert answer.headers.get_list("Cross-Origin-Resource-Policy") == [policy], path


@pytest.mark.parametrize("host", [b"x:99999999", b"[::1]:abc", b"\xff\xfe", b"a;script-src *"])
async def test_what_can_be_no_host_gets_into_no_header(serve: Serve, host: bytes) -> None:
    server = await serve(trusted_proxies="127.0.0.1", no_auth=True)
    page, proxy = {b"Accept": b"text/html"}, {b"X-Forwarded-Host": b"a;script-src *"}
    for asked in ({}, page, {**page, **proxy, b"Host": b"localhost"}):
        headers = {b"Host": host, b"X-Forwarded-Proto": b"https", **asked}
        answer = await server.client.get("/", headers=headers)
        assert answer.status_code == (400 if headers[b"Host"] == host else 200), asked
        assert "script-src *" not in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers


async def test_https_is_asked_for_again_where_it_was_spoken(serve: Serve) -> None:
    server = await serve(trusted_proxies="127.0.0.1", no_auth=True)
    secure = {"Host": "talk.example", "X-Forwarded-Proto": "https"}
    answer = await server.client.get("/healthz", headers=secure)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    local = await server.client.get("/healthz", headers={**secure, "Host": "localhost"})
    assert "Strict-Transport-Security" not in local.headers, "it would count for every port"
