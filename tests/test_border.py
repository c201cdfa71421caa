"""Between the socket and the handlers: who is believed, by which name, how often, how much."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fakes import NumberRenderer, tone, wav
from servers import Begin, Serve, Server
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from musetalk_stream.access import Scope
from musetalk_stream.config import load
from musetalk_stream.errors import SetupError
from musetalk_stream.keys import add_key
from musetalk_stream.web.context import CONFIG
from musetalk_stream.web.listen import Listener

PROXY: dict[str, object] = {"trusted_proxies": "127.0.0.1"}
OPEN: dict[str, object] = {**PROXY, "no_auth": True}  # to strangers, too
STRANGER = {"X-Forwarded-For": "203.0.113.9"}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


# --- proxies


@pytest.mark.parametrize("wrong", ["127.0.0.1/33", "proxy.example", "10.0.0.1/8"])
def test_proxies_that_can_be_none(wrong: str) -> None:
    with pytest.raises(SetupError, match="trusted_proxies must be addresses or networks"):
        load({"trusted_proxies": wrong}, environ={})


async def test_what_strangers_say_of_themselves_says_nothing(server: Server) -> None:
    claims = {"X-Forwarded-Prefix": "//evil", "X-Forwarded-Proto": "https"}
    answer = await server.client.post("/sessions/create", headers=claims)
    document = answer.json()
    assert document["player_full_url"] == server.url + document["player_url"]


# --- names


OWN_NAMES = ["localhost:8000", "app.localhost", "127.0.0.2", "[::1]:8000", "LOCALHOST."]
FOREIGN_NAMES = [
    "talk.example",  # public_url: whoever has put a proxy before it has let nobody in yet
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1",
]  # fmt: skip


async def test_a_server_without_keys_is_asked_by_its_own_name(serve: Serve) -> None:
    server = await serve(public_url="https://talk.example:8443/avatar")
    for host in OWN_NAMES:
        answer = await server.client.get("/avatars", headers={"Host": host})
        assert answer.status_code == 200, host
    for host in FOREIGN_NAMES:
        answer = await server.client.get("/avatars", headers={"Host": host})
        assert code(answer) == (403, "foreign_host"), host
        assert "keys add" in answer.json()["detail"]
        health = await server.client.get("/healthz", headers={"Host": host})
        assert health.status_code == 200, "whatever watches over it has a name of its own for it"


async def test_a_proxy_that_hides_the_name_is_found_out(server: Server) -> None:
    answer = await server.client.get("/avatars", headers={"X-Forwarded-Host": "talk.example"})
    assert code(answer) == (403, "foreign_host")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP"])
async def test_a_proxy_that_says_localhost_for_strangers_is_found_out(
    serve: Serve, header: str
) -> None:
    server = await serve(**PROXY)
    ask = partial(server.client.get, "/avatars")
    for stranger in ("203.0.113.9", "127.0.0.1, 203.0.113.9", "[2001:db8::1]:4711", "unknown"):
        answer = await ask(headers={header: stranger})
        assert code(answer) == (403, "foreign_host"), stranger
    for own in ("127.0.0.1", "::1", "127.0.0.1:4711"):
        assert (await ask(headers={header: own})).status_code == 200, own


async def test_any_name_where_keys_or_everybody_may(serve: Serve, tmp_path: Path) -> None:
    anybody = await serve(no_auth=True)
    assert (await anybody.client.get("/avatars", headers={"Host": "a.b"})).status_code == 200
    _, secret = add_key(tmp_path / "closed", "app", frozenset(Scope))
    closed = await serve(state_dir=tmp_path / "closed")
    headers = {"Host": "talk.example", **bearer(secret)}
    assert (await closed.client.get("/avatars", headers=headers)).status_code == 200


# --- rates


async def test_an_address_that_asks_too_often(serve: Serve) -> None:
    server = await serve(rate_per_address=0.01, **OPEN)  # one at once
    ask = server.client.get
    assert (await ask("/avatars", headers=STRANGER)).status_code == 200
    refused = await ask("/avatars", headers={**STRANGER, "Origin": "https://app.example"})
    assert code(refused) == (429, "rate_limited")
    assert 50 < int(refused.headers["Retry-After"]) <= 100
    assert refused.json()["retryable"]
    assert refused.headers["Access-Control-Allow-Origin"] == "*", "pages must be able to read it"
    other = {"X-Forwarded-For": "203.0.113.10"}
    assert (await ask("/avatars", headers=other)).status_code == 200
    assert (await ask("/avatars")).status_code == 200, "this machine's own are not limited"
    assert (await ask("/healthz", headers=STRANGER)).status_code == 200
    preflight = {"Access-Control-Request-Method": "POST", "Origin": "https://app.example"}
    asking_first = {**STRANGER, "Expect": "100-continue"}
    expecting = await server.client.post("/sessions/create", headers=asking_first)
    assert code(expecting) == (429, "rate_limited")
    asked = await server.client.options("/avatars", headers={**STRANGER, **preflight})
    assert asked.status_code == 204
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]


async def test_whose_address_it_is(serve: Serve) -> None:
    server = await serve(rate_per_address=0.01, **OPEN)  # one at once
    for said, status in (
        ("203.0.113.9", 200),
        ("198.51.100.1, 203.0.113.9", 429),  # what is on the left anybody may have written
        ("203.0.113.9, 127.0.0.1", 429),  # a proxy before the proxy
        ("::ffff:203.0.113.9", 429),
        ("203.0.113.9:4711", 429),
        ("203.0.113.9, nonsense", 200),  # then it is the proxy's own
        ("nothing at all", 429),
        ("2001:db8:1:2::1", 200),
        ("[2001:db8:1:2::9]:4711", 429),
        ("2001:db8:1:2:ffff::2", 429),  # who has one address has all of them up to the /64
    ):
        answer = await server.client.get("/avatars", headers={"X-Forwarded-For": said})
        assert answer.status_code == status, said


async def test_pages_with_all_their_files_come_through(serve: Serve) -> None:
    server = await serve(rate_per_address=1, **OPEN)
    for _ in range(60):
        answer = await server.client.get("/client/index.js", headers=STRANGER)
        assert answer.status_code == 200
    assert (await server.client.get("/", headers=STRANGER)).status_code == 200


async def test_keys_and_those_who_have_none(serve: Serve, tmp_path: Path) -> None:
    _, one = add_key(tmp_path / "keys", "one", frozenset(Scope))
    _, two = add_key(tmp_path / "keys", "two", frozenset(Scope))
    server = await serve(
        state_dir=tmp_path / "keys", rate_per_key=0.01, rate_per_address=0.01, **PROXY
    )
    ask = server.client.get
    answers = [await ask("/avatars", headers={**bearer(one), **STRANGER}) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 429]
    assert (await ask("/avatars", headers={**bearer(two), **STRANGER})).status_code == 200
    guesses = [await ask("/avatars", headers={**bearer("x"), **STRANGER}) for _ in range(2)]
    assert [code(each)[1] for each in guesses] == ["invalid_credentials", "rate_limited"]


async def test_a_proxy_that_nobody_has_named_is_told_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(no_auth=True)
    for _ in range(2):
        assert (await server.client.get("/avatars", headers=STRANGER)).status_code == 200
    told = [record for record in caplog.records if "trusted_proxies" in record.getMessage()]
    assert len(told) == 1


# --- uploads


async def test_uploads_within_an_hour(serve: Serve) -> None:
    sound = wav(tone(1 / 3))  # 32 kB
    server = await serve(upload_mb_per_hour=0.08, **OPEN)
    session_id = await server.create()
    address = f"/sessions/{session_id}/audio?on_busy=queue"
    headers = {**STRANGER, "Content-Type": "audio/wav"}
    for _ in range(2):
        said = await server.client.post(address, content=sound, headers=headers)
        assert said.status_code == 202, said.text
    whole = await server.client.post(address, content=sound, headers=headers)
    assert code(whole) == (429, "quota_exceeded")
    assert 600 < int(whole.headers["Retry-After"]) < 1000, "by then as much is there again"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(sound), 4000):
            yield sound[start : start + 4000]

    arriving = await server.client.post(address, content=pieces(), headers=headers)
    assert code(arriving) == (429, "quota_exceeded")
    form = {"audio_file": ("a.wav", sound, "audio/wav")}
    again = await server.client.post(f"/sessions/{session_id}/stream", files=form, headers=STRANGER)
    assert code(again) == (429, "quota_exceeded")
    picture = await server.client.post("/avatars", files={"file": bytes(50_000)}, headers=STRANGER)
    assert code(picture) == (429, "quota_exceeded")
    never = await server.client.post(address, content=bytes(90_000), headers=headers)
    assert not never.json()["retryable"]
    assert "Retry-After" not in never.headers
    around = b"nothing\r\n" * 10_000 + b"--X\r\n"

    async def preamble() -> AsyncIterator[bytes]:
        yield around

    headers["Content-Type"] = "multipart/form-data; boundary=X"
    void = await server.client.post(
        f"/sessions/{session_id}/stream", content=preamble(), headers=headers
    )
    assert code(void) == (429, "quota_exceeded")
    own = await server.client.post(address, content=sound, headers={"Content-Type": "audio/wav"})
    assert own.status_code == 202


async def test_sound_over_a_socket_counts(serve: Serve) -> None:
    server = await serve(upload_mb_per_hour=0.02, **OPEN)
    session_id = await server.create()
    address = f"{server.url.replace('http', 'ws')}/sessions/{session_id}/audio/ws?rate=16000"
    async with connect(address, additional_headers=STRANGER) as speaking:
        with suppress(ConnectionClosed):
            for _ in range(20):
                await speaking.send(bytes(3200))
        await speaking.wait_closed()
    assert (speaking.close_code, speaking.close_reason) == (1013, "quota_exceeded")


# --- users


async def test_sessions_of_one_user(serve: Serve) -> None:
    server = await serve(max_sessions_per_user=2)
    ids = [await server.create(user_id="anna") for _ in range(2)]
    refused = await server.client.post("/sessions/create", json={"user_id": "anna"})
    assert code(refused) == (429, "too_many_sessions_of_user")
    await server.create(user_id="ben")
    for _ in range(3):
        await server.create()  # nobody's
    await server.client.delete(f"/sessions/{ids[0]}")
    await server.create(user_id="anna")


async def test_users_of_two_keys_are_not_the_same(serve: Serve, tmp_path: Path) -> None:
    secrets = [add_key(tmp_path / "keys", name, frozenset(Scope))[1] for name in ("one", "two")]
    server = await serve(max_sessions_per_user=1, state_dir=tmp_path / "keys")
    made = [
        await server.client.post(
            "/sessions/create", json={"user_id": "anna"}, headers=bearer(secret)
        )
        for secret in [*secrets, secrets[0]]
    ]
    assert [each.status_code for each in made] == [201, 201, 429]


async def test_utterances_of_one_user(serve: Serve) -> None:
    """Over all sessions, however they race; what is interrupted makes room."""
    server = await serve(max_utterances_per_user=3)
    one, two = await server.create(user_id="anna"), await server.create(user_id="anna")
    sound = wav(tone(3.0))
    answers = await asyncio.gather(
        *(server.upload(each, sound, on_busy="queue") for each in (one, two, one, two, one))
    )
    assert sorted(each.status_code for each in answers) == [202, 202, 202, 429, 429]
    refused = next(each for each in answers if each.status_code == 429)
    assert code(refused)[1] == "too_many_utterances_of_user"
    other = await server.create(user_id="ben")
    assert (await server.upload(other, sound)).status_code == 202
    assert (await server.upload(one, sound, on_busy="replace")).status_code == 202
    assert code(await server.upload(one, sound, on_busy="reject"))[1] == "stream_active"


# --- connections


async def talk(server: Server, sent: bytes, within_s: float = 10) -> bytes:
    """All that comes back until the server ends the connection."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(within_s):
            return await reader.read()
    finally:
        writer.close()


async def test_who_takes_too_long_to_ask(begin: Begin) -> None:
    starting = await begin(NumberRenderer())
    http = starting.runner.app[CONFIG].http
    listener = Listener(starting.runner, http, first_request_s=0.2)
    await listener.start()
    host, port = starting.runner.addresses[-1][:2]
    slow = Server(f"http://{host}:{port}", starting.server.chunks_dir)
    try:
        for sent in (b"", b"GET /healthz HTTP/1.1\r\nHost: lo"):
            assert await talk(slow, sent) == b""
        asked = asyncio.create_task(talk(slow, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        await asyncio.wait([asked], timeout=0.6)
        assert not asked.done(), "who has asked once may ask again"
        asked.cancel()
    finally:
        await slow.client.aclose()


async def test_one_connection_too_many(serve: Serve) -> None:
    server = await serve(max_connections=16)
    parts = urlsplit(server.url)
    held = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(16)]
    try:
        head = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        refused = await talk(server, head % b"/avatars")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b'"too_many_connections"' in refused
        assert b"Connection: close" in refused
        assert (await talk(server, head % b"/healthz")).startswith(b"HTTP/1.1 200 ")
    finally:
        for _, writer in held:
            writer.close()
    for _ in range(100):
        if (await server.client.get("/avatars")).status_code == 200:
            return
        await server.hang_up()
    raise AssertionError("connections that have ended are counted")


async def test_what_is_not_http_is_told(server: Server) -> None:
    for sent in (b"GET / HTTP/1.1\r\nA: " + b"b" * 20_000 + b"\r\n\r\n", b"hello\r\n\r\n"):
        answer = await talk(server, sent)
        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert b"application/problem+json" in answer
        assert b'"code": "bad_request"' in answer
        assert b"nosniff" in answer


async def test_nothing_is_unpacked(serve: Serve, tmp_path: Path) -> None:
    """Whatever is answered: what says that it is compressed, and is not, hurts nobody."""
    add_key(tmp_path / "keys", "app", frozenset(Scope))
    server = await serve(state_dir=tmp_path / "keys")
    packed = b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnothing"
    for path, status in ((b"/healthz", b"405"), (b"/sessions/create", b"401")):
        asked = b"POST %s HTTP/1.1\r\nHost: localhost\r\n" % path + packed
        after = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answers = re.findall(rb"HTTP/1.1 (\d+)", await talk(server, asked + after))
        assert answers == [status, b"200"], path


async def test_connections_end_with_phones_that_vanish(begin: Begin) -> None:
    """The kernel knows how long to wait, on every connection."""
    starting = await begin(NumberRenderer())
    assert (await starting.server.client.get("/healthz")).status_code == 200
    assert starting.runner.server is not None
    connections = starting.runner.server.connections
    assert connections
    for connection in connections:
        assert connection.transport is not None
        its = connection.transport.get_extra_info("socket")
        assert its.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert its.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
