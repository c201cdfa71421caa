"""Chunks and placeholder loops as files: ranges, validators, caching; and other origins."""

import json
from pathlib import Path

import httpx
import pytest
from fakes import tone, wav
from servers import Serve, Server, assert_part


@pytest.fixture(params=["chunk", "placeholder"])
async def url(request: pytest.FixtureRequest, server: Server) -> str:
    if request.param == "placeholder":
        return "/avatars/tiny/video"
    heard = await server.speak(await server.create(), wav(tone(1.0)))
    return str(heard[1]["url"])


async def test_whole(server: Server, url: str) -> None:
    answer = await server.client.get(url)
    assert answer.status_code == 200
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert int(answer.headers["Content-Length"]) == len(answer.content) > 1000
    assert answer.headers["ETag"].startswith('"')
    assert answer.content[4:8] == b"ftyp"
    assert "Content-Encoding" not in answer.headers


async def test_a_chunk_says_what_it_is(server: Server) -> None:
    heard = await server.speak(await server.create(), wav(tone(1.0)))
    answer = await server.client.get(heard[1]["url"])
    assert answer.headers["Content-Type"] == heard[1]["mime"]
    assert "immutable" in answer.headers["Cache-Control"]
    assert "private" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_placeholder_may_change_and_is_asked_for(server: Server) -> None:
    answer = await server.client.get("/avatars/tiny/video")
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=100-", 100, None),
     ("bytes=-7", -7, None), ("bytes=5-99999999", 5, None), ("bytes=-99999999", 0, None)],
)  # fmt: skip
async def test_ranges(server: Server, url: str, wanted: str, start: int, stop: int | None) -> None:
    await assert_part(server.client, url, wanted, start, stop)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-2", "bytes=x-y", "bytes=-0",
                                    "bytes=" + "9" * 5000 + "-", "bytes=--1"])  # fmt: skip
async def test_ranges_that_can_not_be(server: Server, url: str, wanted: str) -> None:
    whole = (await server.client.get(url)).content
    answer = await server.client.get(url, headers={"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store", "a browser must not keep a refusal"
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("wanted", ["items=0-1", "bytes=0-0,2-3", ""])
async def test_what_is_no_range_of_ours_is_ignored(server: Server, url: str, wanted: str) -> None:
    answer = await server.client.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, (await server.client.get(url)).content)


async def test_head_is_get_without_the_body(server: Server, url: str) -> None:
    whole = await server.client.get(url)
    head = await server.client.head(url, headers={"Range": "bytes=0-1"})  # of GET alone
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]


async def test_who_has_it_already_gets_nothing(server: Server, url: str) -> None:
    tag = (await server.client.get(url)).headers["ETag"]
    for header in (tag, f'"other", {tag}', "*"):
        answer = await server.client.get(url, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
    changed = await server.client.get(url, headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


async def test_a_range_of_another_version_is_the_whole(server: Server, url: str) -> None:
    whole = await server.client.get(url)
    modified = whole.headers["Last-Modified"]
    part = await server.client.get(url, headers={"Range": "bytes=0-9", "If-Range": modified})
    assert (part.status_code, part.content) == (206, whole.content[:10])
    tag = whole.headers["ETag"]
    part = await server.client.get(url, headers={"Range": "bytes=0-9", "If-Range": tag})
    assert (part.status_code, part.content) == (206, whole.content[:10])
    for other in ("Thu, 01 Jan 1970 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT", '"other"',
                  f"W/{tag}", "*"):  # fmt: skip
        for wanted in ("bytes=0-9", "bytes=7-4"):
            headers = {"Range": wanted, "If-Range": other}
            answer = await server.client.get(url, headers=headers)
            assert (answer.status_code, answer.content) == (200, whole.content)


async def test_a_wrong_precondition(server: Server, url: str) -> None:
    answer = await server.client.get(url)
    for name, value in (("If-Match", '"other"'), ("If-Match", f"W/{answer.headers['ETag']}"),
                        ("If-Match", '"*"'),
                        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")):  # fmt: skip
        refused = await server.client.get(url, headers={name: value})
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
        assert refused.headers["Cache-Control"] == "no-store"
    headers = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert (await server.client.get(url, headers=headers)).status_code == 304


# --- other origins

ORIGIN = {"Origin": "https://app.example"}


async def everything(server: Server, headers: dict[str, str]) -> list[httpx.Response]:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.2)))
    return [
        await server.client.request(method, path, headers=headers)
        for method, path in [
            ("GET", heard[1]["url"]), ("HEAD", heard[1]["url"]), ("GET", "/avatars/tiny/video"),
            ("POST", "/sessions/create"), ("GET", "/sessions/stats"), ("GET", "/avatars"),
            ("GET", "/sessions/nobody"), ("GET", "/nothing"), ("PUT", "/healthz"),
            ("POST", "/sessions/create?fps=0"), ("DELETE", f"/sessions/{session_id}"),
        ]
    ]  # fmt: skip


async def test_every_origin_may_call(server: Server) -> None:
    for answer in await everything(server, ORIGIN):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_no_origin_may_call(serve: Serve) -> None:
    server = await serve(cors_origins="")
    for answer in await everything(server, ORIGIN):
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_only_named_origins_may_call(serve: Serve) -> None:
    server = await serve(cors_origins="https://app.example, https://other.example")
    for answer in await everything(server, ORIGIN):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Origin" in answer.headers["Vary"]
    for answer in await everything(server, {"Origin": "https://evil.example"}):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"], "a cache must not mix the two"
    for answer in await everything(server, {}):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/sessions/create", "/sessions/x/stream", "/sessions/x",
                                  "/chunks/x/chunk_0000.mp4", "/sessions/x/events"])  # fmt: skip
async def test_preflight(server: Server, path: str) -> None:
    asking = {**ORIGIN, "Access-Control-Request-Method": "DELETE",
              "Access-Control-Request-Headers": "content-type"}  # fmt: skip
    answer = await server.client.options(path, headers=asking)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert all(name in allowed for name in ("Content-Type", "Last-Event-ID", "Range"))
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


async def test_preflight_of_an_origin_that_may_not(serve: Serve) -> None:
    server = await serve(cors_origins="https://other.example")
    asking = {**ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = await server.client.options("/sessions/create", headers=asking)
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_event_stream_is_for_other_origins_too(server: Server) -> None:
    session_id = await server.create()
    request = server.client.build_request("GET", f"/sessions/{session_id}/events", headers=ORIGIN)
    answer = await server.client.send(request, stream=True)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    await answer.aclose()


# --- files on disk


async def test_files_are_complete_when_announced(server: Server) -> None:
    session_id = await server.create()
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(4.0)))
        while (event := await events.next())["event"] != "complete":
            if event["event"] == "chunk":
                path = server.chunks_dir / event["url"].removeprefix("/chunks/")
                assert path.read_bytes()[4:8] == b"ftyp"
    assert not [name for name in server.files() if name.endswith(".part")]


async def test_a_manifest_matches_its_pictures(server: Server, avatar_store: Path) -> None:
    listed = json.loads((avatar_store / "tiny" / "avatar.json").read_text())
    assert (await server.client.get("/avatars/tiny")).json()["num_frames"] == listed["num_frames"]
    frames = (avatar_store / "tiny" / "derived" / "frames.i420").stat().st_size
    assert frames == 10 * 128 * 128 * 3 // 2
