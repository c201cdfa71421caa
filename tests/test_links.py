"""Every address that the server gives begins with the path under which a proxy mounts it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx_sse
import pytest
from fakes import tone, wav
from servers import Events, Json, Serve, Server

MOUNTED = {"X-Forwarded-Prefix": "/talk/avatar"}
PROXY = "127.0.0.1"  # which is what these tests are


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(trusted_proxies=PROXY, no_auth=True)  # by whatever name


def addresses(document: Any) -> Iterator[str]:
    """Every string in a document that looks like one of our addresses."""
    if isinstance(document, dict):
        for value in document.values():
            yield from addresses(value)
    elif isinstance(document, list):
        for value in document:
            yield from addresses(value)
    elif isinstance(document, str) and document.startswith("/"):
        yield document


async def test_every_address_of_an_answer_begins_with_the_prefix(server: Server) -> None:
    created = await server.client.post("/sessions/create", headers=MOUNTED)
    document = created.json()
    session_id = document["session_id"]
    assert created.headers["Location"] == f"/talk/avatar/sessions/{session_id}"
    assert document["player_full_url"] == f"{server.url}/talk/avatar/player/session/{session_id}"
    for path in (
        f"/sessions/{session_id}",
        "/sessions/stats",
        "/avatars",
        "/avatars/tiny",
        "/jobs",
    ):
        answer = await server.client.get(path, headers=MOUNTED)
        plain = await server.client.get(path)
        told = list(addresses(answer.json()))
        assert told == [f"/talk/avatar{each}" for each in addresses(plain.json())], path
    assert len(list(addresses(document))) >= 8
    assert all(each.startswith("/talk/avatar/") for each in addresses(document))


async def test_what_is_no_address_stays(server: Server) -> None:
    wanted = {"user_id": "/home/anna"}
    answer = await server.client.post("/sessions/create", json=wanted, headers=MOUNTED)
    assert answer.json()["user_id"] == "/home/anna"


async def test_an_upload_says_where_its_utterance_is(server: Server) -> None:
    session_id = await server.create()
    answer = await server.client.post(
        f"/sessions/{session_id}/stream",
        files={"audio_file": wav(tone(0.3))},
        headers=MOUNTED,
    )
    request_id = answer.json()["request_id"]
    where = f"/sessions/{session_id}/utterances/{request_id}"
    assert answer.headers["Location"] == f"/talk/avatar{where}"


async def test_each_subscriber_has_the_addresses_of_its_own_way(server: Server) -> None:
    session_id = await server.create()
    path = f"/sessions/{session_id}/events"
    async with (
        server.events(session_id) as direct,
        httpx_sse.aconnect_sse(server.client, "GET", path, headers=MOUNTED) as source,
    ):
        mounted = Events(source)
        await direct.next()
        await mounted.next()
        await server.upload(session_id, wav(tone(0.5)))
        near, far = await direct.until_end(), await mounted.until_end()
    assert urls(far) == [f"/talk/avatar{url}" for url in urls(near)]
    assert urls(near)


def urls(events: list[Json]) -> list[str]:
    return [event["url"] for event in events if event["event"] == "chunk"]


async def test_a_problem_says_the_path_that_the_client_asked_for(server: Server) -> None:
    answer = await server.client.get("/nowhere", headers=MOUNTED)
    assert "/talk/avatar/nowhere" in answer.json()["detail"]


@pytest.mark.parametrize("prefix", ["", "/", "/a", "/a/", "/a.b/c_d-e~f", "/" + "x" * 255])
async def test_prefixes(server: Server, prefix: str) -> None:
    answer = await server.client.get("/avatars/tiny", headers={"X-Forwarded-Prefix": prefix})
    assert answer.json()["video_url"] == prefix.removesuffix("/") + "/avatars/tiny/video"


@pytest.mark.parametrize(
    "prefix",
    ["a", "//evil.example", "/a//b", "/..", "/a/../b", "/./", "/a b", "/a?b", "/a%2Fb", "/<script>",
     "https://evil.example", "/a, /b", "/" + "x" * 256],
)  # fmt: skip
async def test_what_can_be_no_prefix_is_told(server: Server, prefix: str) -> None:
    answer = await server.client.get("/avatars/tiny", headers={"X-Forwarded-Prefix": prefix})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["detail"].startswith("X-Forwarded-Prefix: must be a path such as /avatar")


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"X-Forwarded-Proto": "https"}, "https://inside.example"),
        ({"X-Forwarded-Proto": "https, http"}, "https://inside.example"),
        ({"X-Forwarded-Proto": "gopher"}, "http://inside.example"),
        ({"X-Forwarded-Host": "talk.example:8443"}, "http://talk.example:8443"),
        ({"X-Forwarded-Host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
        ({"X-Forwarded-Host": "talk.example, inside.example"}, "http://talk.example"),
        ({"X-Forwarded-Host": "evil.example/path"}, "http://inside.example"),
        ({"X-Forwarded-Host": "evil.example:65536"}, "http://inside.example"),
    ],
)
async def test_scheme_and_host_are_those_that_the_client_sees(
    server: Server, headers: dict[str, str], origin: str
) -> None:
    answer = await server.client.post(
        "/sessions/create", headers={"Host": "inside.example", **headers}
    )
    assert answer.json()["player_full_url"].startswith(f"{origin}/player/session/")


@pytest.mark.parametrize("host", ["evil@x", "[::1", "a b", 'x"><script>', "x" * 254, "x:65536", ""])
async def test_what_can_be_no_host_is_told(server: Server, host: str) -> None:
    answer = await server.client.post("/sessions/create", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["detail"].startswith("Host: ")
    assert not (await server.client.get("/sessions/stats")).json()["sessions"]


async def test_two_proxies_that_say_a_prefix_each(server: Server) -> None:
    said = [("X-Forwarded-Prefix", "/outer"), ("X-Forwarded-Prefix", "/avatar")]
    answer = await server.client.get("/avatars", headers=said)
    assert answer.status_code == 400
    assert "once" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("public_url", "begins"),
    [
        ("https://talk.example", "https://talk.example/talk/avatar/player/"),
        ("https://talk.example/elsewhere/", "https://talk.example/elsewhere/player/"),
    ],
)
async def test_public_url_with_a_path_is_all_of_it(
    serve: Serve, public_url: str, begins: str
) -> None:
    server = await serve(public_url=public_url, trusted_proxies=PROXY)
    answer = await server.client.post("/sessions/create", headers=MOUNTED)
    assert answer.json()["player_full_url"].startswith(begins)


async def test_answers_with_addresses_are_kept_by_nobody(server: Server) -> None:
    for path in ("/sessions/stats", "/avatars", "/avatars/tiny", "/jobs", "/healthz"):
        answer = await server.client.get(path)
        assert answer.headers["Cache-Control"] == "no-store", path


HTML = {**MOUNTED, "Accept": "text/html"}


async def test_pages_lead_to_what_is_below_the_prefix(server: Server) -> None:
    session_id = await server.create()
    paths = ("/", "/avatars", f"/player/session/{session_id}", "/player/session/unknown")
    for path in paths:
        page = (await server.client.get(path, headers=HTML)).text
        linked = re.findall(r'\b(?:src|href|action|poster)="(/[^"]*)"', page)
        assert len(linked) >= 3, path
        for address in linked:
            assert address.startswith("/talk/avatar/"), f"{path}: {address}"
            here = address.removeprefix("/talk/avatar")
            assert (await server.client.get(here)).status_code == 200, address
        config = re.search(r'<script id="config"[^>]*>(.*?)</script>', page)
        told = list(addresses(json.loads(config[1]))) if config else []
        assert all(each.startswith("/talk/avatar/") for each in told), path


async def test_a_page_for_what_is_refused_before_all_else(server: Server) -> None:
    page = await server.client.get("/avatars", headers={**HTML, "Expect": "the unexpected"})
    assert page.status_code == 417
    linked = re.findall(r'(?:src|href)="(/[^"]*)"', page.text)
    assert linked
    assert all(address.startswith("/talk/avatar/") for address in linked)
    wrong = {**HTML, "X-Forwarded-Prefix": "//evil", "Expect": "the unexpected"}
    assert "//evil" not in (await server.client.get("/avatars", headers=wrong)).text


async def test_a_module_is_at_one_address(server: Server) -> None:
    assert (await server.client.get("/client/index.js")).status_code == 200
    assert (await server.client.get("/client/index.js/")).status_code == 404
