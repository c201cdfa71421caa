"""A server with API keys: who may do what, and that nobody else learns what there is."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx_sse
import pytest
import websockets
from fakes import NumberRenderer, tone, wav
from making import PHOTO
from servers import Begin, Json, Serve, Server
from talking import L16, Held, pcm
from yarl import URL

from musetalk_stream.access import Need, Right, Scope
from musetalk_stream.config import load
from musetalk_stream.keys import add_key, revoke_key
from musetalk_stream.tokens import ALL_RIGHTS, Claims, Tokens, token_secret
from musetalk_stream.web import webrtc
from musetalk_stream.web.access import NEEDS, Needs
from musetalk_stream.web.app import build_app
from musetalk_stream.web.routes import ROUTES, Route

SOUND = wav(tone(0.2))
ALL = frozenset(Scope)
_LOGGERS = ("musetalk_stream", "aiohttp", "asyncio")  # of the server; clients here say more
_SECRETS: list[str] = []  # that no log may have


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a stranger sends is an error of ours; and no log has a key or a token."""
    for name in _LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    ours = [record for record in caplog.get_records("call") if record.name.startswith(_LOGGERS)]
    said = "\n".join(record.getMessage() for record in ours)
    assert not [record for record in ours if record.levelno > logging.WARNING or record.exc_info]
    assert not [secret for secret in _SECRETS if secret in said]
    _SECRETS.clear()


class Keys:
    """API keys in the folder of a server, and tokens as it would make them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, *scopes: Scope) -> tuple[str, str]:
        """The id and the secret."""
        key, secret = add_key(self.folder, "test", frozenset(scopes) or ALL)
        _SECRETS.append(secret)
        return key.id, secret

    def token(
        self,
        key_id: str,
        session_id: str,
        rights: frozenset[Right] = ALL_RIGHTS,
        expires_s: int = 4_000_000_000,
    ) -> str:
        its = Tokens(token_secret(self.folder), lambda: 0.0)
        token = its.make(Claims(session_id, rights, expires_s, key_id))
        _SECRETS.append(token)
        return token


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "state")


def bearer(said: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {said}"}


async def create(server: Server, secret: str, **options: object) -> Json:
    answer = await server.client.post("/sessions/create", json=options, headers=bearer(secret))
    assert answer.status_code == 201, answer.text
    document: Json = answer.json()
    _SECRETS.append(document["token"])
    return document


async def speak(server: Server, created: Json) -> list[Json]:
    """By the addresses alone."""
    async with httpx_sse.aconnect_sse(server.client, "GET", created["events_url"]) as source:
        answer = await server.client.post(
            created["stream_url"], files={"audio_file": ("a.wav", SOUND, "audio/wav")}
        )
        assert answer.status_code == 202, answer.text
        events: list[Json] = []
        async for message in source.aiter_sse():
            events.append(json.loads(message.data))
            if events[-1]["event"] == "complete":
                return events
    raise AssertionError(events)


# --- the matrix

Names = dict[str, str]
GUARDED = [route for route in ROUTES if not route.need.is_public]


@dataclass(frozen=True)
class Wrong:
    """What a request comes with, and how it is refused. `said` in the address, or in a header."""

    kind: str
    status: int
    code: str
    said: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def path_of(route: Route, names: Names) -> str:
    path = route.path.replace(r"{name:chunk_\d{4,}\.mp4}", "chunk_0000.mp4")
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    return path


def lacking(need: Need) -> frozenset[Scope]:
    return ALL - need.scopes


def in_header(kind: str, status: int, code: str, said: str) -> Wrong:
    return Wrong(kind, status, code, headers=(("Authorization", f"Bearer {said}"),))


class Matrix:
    """Two keys with a session each, and everything that is wrong with a request for the first."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.mine_id, self.mine = keys.add(Scope.SESSIONS, Scope.AVATARS)
        self.other = keys.add(Scope.SESSIONS, Scope.AVATARS)[1]
        self._revoked_id, self._revoked = keys.add()
        revoke_key(keys.folder, self._revoked_id)
        others = {lacking(route.need) for route in GUARDED} - {frozenset()}
        self._by_scopes = {scopes: keys.add(*scopes)[1] for scopes in others}
        self.foreign = ""  # token of the other session

    def wrongs(self, route: Route, names: Names) -> Iterator[Wrong]:
        session_id, need = names["session_id"], route.need
        if scopes := lacking(need):
            secret = self._by_scopes[scopes]
            yield in_header("a key of another scope", 403, "forbidden", secret)
        if need.right is None:
            yield Wrong("a token", 403, "forbidden", self.keys.token(self.mine_id, session_id))
            return
        lesser = self.keys.token(self.mine_id, session_id, ALL_RIGHTS - {need.right})
        yield in_header("a token of lesser right", 403, "forbidden", lesser)
        if "/chunks/" in route.path:
            yield Wrong("another session's token", 404, "chunk_not_found", self.foreign)
            yield in_header("another's key", 404, "chunk_not_found", self.other)
            return
        yield Wrong("another session's token", 403, "forbidden", self.foreign)
        if "{session_id}" in route.path and route.handler is not webrtc.negotiation:
            yield in_header("another's key", 404, "session_not_found", self.other)

    def of_nobody(self, session_id: str) -> Iterator[Wrong]:
        """What is wrong everywhere."""
        claims = Claims(session_id, ALL_RIGHTS, 4_000_000_000, self.mine_id)
        unsigned = Tokens("a secret that somebody has made up.....", lambda: 0.0).make(claims)
        expired = self.keys.token(self.mine_id, session_id, expires_s=1)
        orphaned = self.keys.token(self._revoked_id, session_id)
        invalid = (401, "invalid_credentials")
        yield Wrong("nothing", 401, "unauthorized")
        yield Wrong("another scheme", 401, "unauthorized", headers=(("Authorization", "Basic eA"),))
        yield Wrong("garbage in the address", *invalid, "%00%ff")
        yield in_header("garbage", *invalid, "x")
        yield in_header("a wrong signature", *invalid, unsigned)
        yield Wrong("a wrong signature in the address", *invalid, unsigned)
        yield in_header("an expired token", 401, "token_expired", expired)
        yield in_header("a revoked key", *invalid, self._revoked)
        yield Wrong("a token of a revoked key", *invalid, orphaned)
        yield Wrong("a key in the address", *invalid, self.mine)


async def test_every_route_with_every_wrong_credential(serve: Serve, keys: Keys) -> None:
    """Each is refused as it should be, and so that nobody learns whether there is what was asked
    for: the answer is the same where there is nothing."""
    matrix = Matrix(keys)
    server = await serve()
    session = await create(server, matrix.mine)
    chunk = next(e for e in await speak(server, session) if e["event"] == "chunk")
    matrix.foreign = (await create(server, matrix.other, avatar_id="other"))["token"]
    unknown = "B" * 22
    nowhere = dict.fromkeys(("session_id", "request_id", "job_id", "recording_id"), unknown)
    nowhere["avatar_id"] = "nobody"
    there = {
        **nowhere,
        "session_id": session["session_id"],
        "request_id": chunk["request_id"],
        "avatar_id": "tiny",
    }
    failed: list[str] = []
    async with aiohttp.ClientSession(server.url) as client:  # many requests, of little each

        async def told(route: Route, names: Names, wrong: Wrong) -> tuple[int, str, str]:
            address = path_of(route, names) + (f"?token={wrong.said}" if wrong.said else "")
            url = URL(server.url + address, encoded=True)
            async with client.request(route.method, url, headers=dict(wrong.headers)) as answer:
                is_problem = answer.content_type == "application/problem+json"
                document = await answer.json(content_type=None) if is_problem else {}
                assert (answer.status == 401) == ("WWW-Authenticate" in answer.headers)
                return answer.status, document.get("code", ""), document.get("detail", "")

        places = (there, nowhere)
        of_nobody = [[*matrix.of_nobody(names["session_id"])] for names in places]
        details: dict[str, str] = {}  # by what is wrong: the same everywhere

        async def look(route: Route, number: int) -> None:
            for kind, wrongs in enumerate(zip(*of_nobody, strict=True)):
                place = (number + kind) % 2  # by turns, as it is the same wherever it is said
                wrong = wrongs[place]
                answer = await told(route, places[place], wrong)
                detail = details.setdefault(wrong.kind, answer[2])
                if answer != (wrong.status, wrong.code, detail):
                    failed.append(f"{route.method} {route.path} with {wrong.kind}: {answer}")
            pairs = zip(matrix.wrongs(route, there), matrix.wrongs(route, nowhere), strict=True)
            for here, away in pairs:
                answers = [await told(route, there, here), await told(route, nowhere, away)]
                if answers[0] != answers[1] or answers[0][:2] != (here.status, here.code):
                    failed.append(f"{route.method} {route.path} with {here.kind}: {answers}")

        await asyncio.gather(*(look(route, number) for number, route in enumerate(GUARDED)))
    assert not failed, "\n".join(failed)
    # Nothing of all this has done anything.
    found = await server.client.get(f"/sessions/{there['session_id']}", headers=bearer(matrix.mine))
    assert found.json()["counters"]["utterances"] == 1


def test_every_route_says_who_may() -> None:
    """Nobody but these few is for everybody."""
    public = {route.path for route in ROUTES if route.need.is_public}
    assert public == {
        "/", "/player/selftest", "/healthz", "/readyz", "/openapi.json", "/docs",
        "/client/{filename:.+}", "/static/{filename:.+}",
    }  # fmt: skip
    assert {route.path for route in ROUTES if route.need.is_page_free} == {"/avatars"}


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    app = build_app(load({"state_dir": str(tmp_path)}, environ={}), NumberRenderer())
    routes = [route for route in app.router.routes() if route.method != "HEAD"]
    served = {(route.resource.canonical, route.method) for route in routes if route.resource}
    needs: Needs = app[NEEDS]
    assert served == set(needs)
    assert len(served) == len(ROUTES)


# --- what works


async def test_addresses_work_alone(serve: Serve, keys: Keys) -> None:
    """A backend has the key; nobody else needs more than the addresses that it gets."""
    _, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret)
    events = await speak(server, created)
    for event in events:
        if event["event"] == "chunk":
            assert "token=" in event["url"]
            assert (await server.client.get(event["url"])).status_code == 200
    for name in ("video_url", "poster_url"):
        answer = await server.client.get(created["avatar"][name])
        assert answer.status_code == 200
        assert "private" in answer.headers["Cache-Control"]
    page = await server.client.get(created["player_url"], headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]
    heard = await server.client.get(created["utterances_url"])
    for name in ("recording_url", "captions_url", "playlist_url"):
        answer = await server.client.get(heard.json()["utterances"][0][name])
        assert answer.status_code == 200, (name, answer.text)
    assert (await server.client.post(created["interrupt_url"])).status_code == 200


async def test_lists_of_hls_can_be_followed(serve: Serve, keys: Keys) -> None:
    """Players set no header for what a list names."""
    _, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret)
    await speak(server, created)
    base = f"/sessions/{created['session_id']}/"
    by_header = await server.client.get(f"{base}master.m3u8", headers=bearer(secret))
    by_address = await server.client.get(created["hls_url"])
    redirected = created["hls_url"].replace("master", "live")
    for master in (by_header.text, by_address.text):
        media = await server.client.get(base + master.splitlines()[-1])
        assert media.status_code == 200, media.text
        names = [line for line in media.text.splitlines() if not line.startswith("#")]
        names += [line.split('"')[1] for line in media.text.splitlines() if "EXT-X-MAP" in line]
        for name in names:
            assert (await server.client.get(base + name)).status_code == 200, name
    moved = await server.client.get(redirected)
    assert moved.status_code == 307
    assert (await server.client.get(base + moved.headers["Location"])).status_code == 200


async def test_rights_that_were_asked_for(serve: Serve, keys: Keys) -> None:
    _, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret)
    base = f"/sessions/{created['session_id']}"
    asked = await server.client.post(
        f"{base}/tokens", json={"rights": ["view", "speak"], "ttl": 60}, headers=bearer(secret)
    )
    assert asked.status_code == 201
    document = asked.json()
    assert document["rights"] == ["view", "speak"]
    token = document["token"]
    _SECRETS.append(token)
    got = await server.client.get(base, headers=bearer(token))
    assert got.json()["hls_url"].endswith(f"token={token}")  # the very one
    assert (await server.client.post(f"{base}/interrupt?token={token}")).status_code == 403
    assert (await server.client.delete(f"{base}?token={token}")).status_code == 403
    assert (await server.client.head(f"{base}?token={token}")).status_code == 200
    minted = await server.client.post(f"{base}/tokens", headers=bearer(token))
    assert minted.json()["code"] == "forbidden"
    assert (await server.client.get(document["player_url"])).status_code == 200


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"rights": []}, "rights"), ({"rights": ["root"]}, "rights"), ({"rights": 5}, "rights"),
        ({"rights": [["view"]]}, "rights"), ({"rights": None}, "rights"), ({"ttl": 0}, "ttl"),
        ({"ttl": 604_801}, "ttl"), ({"ttl": 1.5}, "ttl"), ({"ttl": "x"}, "ttl"),
    ],
)  # fmt: skip
async def test_tokens_that_are_not_made(server: Server, body: Json, name: str) -> None:
    session_id = await server.create()
    answer = await server.client.post(f"/sessions/{session_id}/tokens", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{name}: ")


async def test_an_open_server_has_no_tokens(server: Server) -> None:
    created = (await server.client.post("/sessions/create")).json()
    assert "token" not in json.dumps(created)
    asked = await server.client.post(f"/sessions/{created['session_id']}/tokens")
    assert (asked.status_code, asked.json()["token"]) == (201, None)
    assert "token" not in asked.json()["player_url"]
    ignored = await server.client.get(
        f"/sessions/{created['session_id']}?token=x", headers=bearer("y")
    )
    assert ignored.status_code == 200
    assert "token" not in ignored.text


async def test_two_keys_do_not_see_each_other(serve: Serve, keys: Keys) -> None:
    """Not even that a session has ended; operators see both."""
    one, other = (keys.add(Scope.SESSIONS)[1] for _ in range(2))
    ops = keys.add(Scope.OPS)[1]
    server = await serve()
    created = await create(server, one)
    base = f"/sessions/{created['session_id']}"

    async def ask(secret: str, method: str = "GET") -> tuple[int, str | None]:
        answer = await server.client.request(method, base, headers=bearer(secret))
        return answer.status_code, answer.json().get("code") if answer.content else None

    assert await ask(one) == (200, None)
    assert await ask(other) == (404, "session_not_found")
    assert await ask(other, "DELETE") == (404, "session_not_found")
    assert await ask(ops) == (200, None)
    stats = await server.client.get("/sessions/stats", headers=bearer(ops))
    assert stats.json()["total_sessions"] == 1
    assert await ask(ops, "DELETE") == (204, None)
    assert await ask(one) == (410, "session_gone")
    assert await ask(other) == (404, "session_not_found")


async def test_jobs_are_of_who_began_them(serve: Serve, keys: Keys, own_store: Path) -> None:
    one, other = keys.add(Scope.AVATARS)[1], keys.add(Scope.AVATARS)[1]
    ops = keys.add(Scope.OPS)[1]
    server = await serve(avatars_dir=own_store)
    sent = await server.client.post(
        "/avatars", files={"file": ("a.jpg", PHOTO, "image/jpeg")}, headers=bearer(one)
    )
    assert sent.status_code == 202, sent.text
    address = sent.headers["Location"]
    seen = {
        who: (
            (await server.client.get(address, headers=bearer(secret))).status_code,
            len((await server.client.get("/jobs", headers=bearer(secret))).json()["jobs"]),
        )
        for who, secret in (("one", one), ("other", other), ("ops", ops))
    }
    assert seen == {"one": (200, 1), "other": (404, 0), "ops": (200, 1)}
    assert (await server.client.delete(address, headers=bearer(other))).status_code == 404
    assert (await server.client.delete(address, headers=bearer(ops))).status_code == 403
    assert (await server.client.delete(address, headers=bearer(one))).status_code == 204


# --- before the body, and what lasts


@asynccontextmanager
async def connection(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


async def test_a_body_that_is_not_allowed_is_not_asked_for(serve: Serve, keys: Keys) -> None:
    one_id, one = keys.add(Scope.SESSIONS)
    other = keys.add(Scope.SESSIONS)[1]
    server = await serve()
    session_id = (await create(server, one))["session_id"]
    looking = keys.token(one_id, session_id, frozenset({Right.VIEW}))
    expected = {"": 401, "x": 401, looking: 403, other: 404, one: 100}
    for said, status in expected.items():
        async with connection(server) as (reader, writer):
            writer.write(
                f"POST /sessions/{session_id}/stream HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {said}\r\nExpect: 100-continue\r\n"
                "Content-Type: multipart/form-data; boundary=X\r\n"
                "Content-Length: 90000000\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split()[1] == str(status).encode(), (said, head)


async def test_a_websocket_asks_first(serve: Serve, keys: Keys) -> None:
    one_id, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret)
    address = f"{server.url.replace('http', 'ws')}/sessions/{created['session_id']}/audio/ws"
    looking = keys.token(one_id, created["session_id"], frozenset({Right.VIEW}))
    for token, status in (("", 401), ("x", 401), (looking, 403)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{address}?rate=16000&token={token}")
        assert refused.value.response.status_code == status
    asked = await server.client.post(
        f"/sessions/{created['session_id']}/tokens",
        json={"rights": ["speak"], "ttl": 1},
        headers=bearer(secret),
    )
    async with websockets.connect(f"{address}?rate=16000&token={asked.json()['token']}") as socket:
        async with asyncio.timeout(5):
            said = json.loads(await socket.recv())
            await socket.wait_closed()
    assert (said["code"], socket.close_code) == ("token_expired", 1008)


async def test_an_event_stream_ends_with_its_token(serve: Serve, keys: Keys) -> None:
    _, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret)
    asked = await server.client.post(
        f"/sessions/{created['session_id']}/tokens", json={"ttl": 1}, headers=bearer(secret)
    )
    url = asked.json()["events_url"]
    async with asyncio.timeout(5), server.client.stream("GET", url) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes():  # to its proper end
            pass
    again = await server.client.get(url)
    assert (again.status_code, again.json()["code"]) == (401, "token_expired")


async def test_what_lasts_ends_with_its_key(serve: Serve, keys: Keys) -> None:
    """A live upload, and a film that grows: what came until then is spoken."""
    key_id, secret = keys.add(Scope.SESSIONS)
    server = await serve()
    created = await create(server, secret, chunk_duration=0.5)
    base = f"/sessions/{created['session_id']}"
    ours = bearer(created["token"])
    body = Held(pcm(1.0), pcm(1.0))
    sending = asyncio.create_task(
        server.client.post(f"{base}/audio", content=body, headers={**ours, "Content-Type": L16})
    )
    async with httpx_sse.aconnect_sse(server.client, "GET", created["events_url"]) as source:
        async for message in source.aiter_sse():
            if (event := json.loads(message.data))["event"] == "chunk":
                break
    film = f"{base}/utterances/{event['request_id']}.mp4"
    async with server.client.stream("GET", film, headers=ours) as growing:
        assert growing.status_code == 200
        revoke_key(keys.folder, key_id)

        async def is_refused() -> bool:
            return (await server.client.get(base, headers=ours)).status_code == 401

        await server.until(is_refused, 5)
        body.let_go()
        answer = await sending
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
        assert "what came before is spoken" in answer.json()["detail"]
        with pytest.raises(httpx.RemoteProtocolError):
            await growing.aread()


async def test_lists_name_their_segments_as_before(serve: Serve, keys: Keys) -> None:
    """Also to who has no token, for whom one is made: a second later, it is the same."""
    _, secret = keys.add(Scope.SESSIONS)
    server = await serve(token_ttl_s=604_800)
    created = await create(server, secret)
    request_id = (await speak(server, created))[-1]["request_id"]
    address = f"/sessions/{created['session_id']}/live.m3u8?request_id={request_id}"
    before = await server.client.get(address, headers=bearer(secret))
    began_s = int(time.time())

    async def is_later() -> bool:
        return int(time.time()) > began_s

    await server.until(is_later)
    assert (await server.client.get(address, headers=bearer(secret))).text == before.text


async def test_what_measures_can_do_nothing_else(serve: Serve, keys: Keys) -> None:
    secret = keys.add(Scope.METRICS)[1]
    server = await serve()
    answer = await server.client.get("/metrics", headers=bearer(secret))
    assert answer.status_code == 200
    for path in ("/sessions/stats", "/avatars", "/avatars/tiny", "/jobs", "/recordings"):
        answer = await server.client.get(path, headers=bearer(secret))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


async def test_force_ends_only_what_is_ones_own(serve: Serve, keys: Keys, own_store: Path) -> None:
    app = keys.add(Scope.SESSIONS)[1]
    editor = keys.add(Scope.SESSIONS, Scope.AVATARS)[1]
    operator = keys.add(Scope.AVATARS, Scope.OPS)[1]
    server = await serve(avatars_dir=own_store)
    theirs = await create(server, app, avatar_id="other")
    mine = await create(server, editor, avatar_id="other")

    async def delete(secret: str, query: str = "") -> httpx.Response:
        return await server.client.delete(f"/avatars/other{query}", headers=bearer(secret))

    refused = await delete(editor)
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_in_use")
    assert "other: 1;" in refused.json()["detail"]  # of others' it is not said how many
    refused = await delete(editor, "?force=true")
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_in_use")
    for created in (theirs, mine):
        assert (await server.client.get(created["utterances_url"])).status_code == 200
    assert (await delete(operator, "?force=true")).status_code == 204
    assert (await server.client.get(theirs["utterances_url"])).status_code == 410


async def test_a_file_of_keys_that_is_damaged_closes_the_server(
    serve: Serve, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody gets in until it can be read; why is for the log, and not for strangers."""
    server = await serve()
    keys.folder.joinpath("keys.json").write_text("{")

    async def is_closed() -> bool:
        return (await server.client.get("/jobs")).status_code == 401

    await server.until(is_closed, 5)
    for said in ("x.y", f"mts_0123456789ab_{'A' * 43}"):
        answer = await server.client.get("/jobs", headers=bearer(said))
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert str(keys.folder) not in answer.text
    assert "damaged" in caplog.text
    caplog.clear()  # which is an error of ours, this time
    keys.folder.joinpath("keys.json").unlink()
    assert await is_closed()


async def test_a_running_server_notices_keys(serve: Serve, keys: Keys) -> None:
    """The first closes it; one that is revoked counts no more, nor do its tokens and streams."""
    server = await serve()
    assert (await server.client.post("/sessions/create")).status_code == 201
    key_id, secret = keys.add(Scope.SESSIONS)
    ops = keys.add()[1]

    async def is_closed() -> bool:
        return (await server.client.get("/jobs")).status_code == 401

    await server.until(is_closed, 5)
    created = await create(server, secret)
    async with httpx_sse.aconnect_sse(server.client, "GET", created["events_url"]) as source:
        messages = source.aiter_sse()
        assert json.loads((await anext(messages)).data)["event"] == "state"
        revoke_key(keys.folder, key_id)

        async def is_refused() -> bool:
            answer = await server.client.get(created["utterances_url"])
            return answer.status_code == 401

        await server.until(is_refused, 5)
        sent = await server.client.post(
            f"/sessions/{created['session_id']}/stream",
            files={"audio_file": ("a.wav", SOUND, "audio/wav")},
            headers=bearer(ops),
        )
        assert sent.status_code == 202, sent.text
        async with asyncio.timeout(10):
            assert [message async for message in messages] == []
    answer = await server.client.post("/sessions/create", headers=bearer(secret))
    assert answer.json()["code"] == "invalid_credentials"


async def test_tokens_outlive_the_server(begin: Begin, keys: Keys) -> None:
    _, secret = keys.add(Scope.SESSIONS)
    first = await begin(NumberRenderer(), state_dir=keys.folder)
    await first.readiness.settled()
    created = await create(first.server, secret)
    await first.runner.cleanup()
    second = await begin(NumberRenderer(), state_dir=keys.folder)
    await second.readiness.settled()
    answer = await second.server.client.get(created["utterances_url"])
    assert answer.status_code == 200, answer.text
