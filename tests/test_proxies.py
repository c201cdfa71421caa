"""The configurations of docs/proxies, each in the real proxy: TLS, HTTP/2, below a path."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import httpx_sse
import pytest
from fakes import speech_like, tone, wav
from proxies import PROXIES, Proxy, caddy_of_compose, running
from servers import Events, ProcessServer, free_port, needed
from websockets.asyncio.client import connect

_RATE = 16_000


class Relay:
    """The way from the proxy to the server, which can be cut; it counts what is asked for."""

    def __init__(self, port: int, upstream: int) -> None:
        self._port = port
        self._upstream = upstream
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.asked: list[str] = []

    async def mend(self) -> None:
        self._listener = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """As if the server had been killed."""
        assert self._listener is not None
        self._listener.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, up_writer}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, up_writer, is_request=True))
                both.create_task(self._pump(up_reader, writer, is_request=False))
        except* ConnectionError:
            pass  # cut
        finally:
            writer.close()
            up_writer.close()
            self._writers -= {writer, up_writer}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        while data := await reader.read(65536):
            if is_request:
                found = re.findall(rb"^(?:GET|POST|HEAD) (\S+) HTTP/1", data, re.M)
                self.asked += [path.decode() for path in found]
            writer.write(data)
            await writer.drain()
        writer.close()  # neither of our sides goes on alone


class Proxied:
    """A server behind a proxy, as a client sees it."""

    def __init__(self, address: str, cafile: Path, relay: Relay, proxy: Proxy) -> None:
        self.address = address
        self.origin = address.removesuffix("/avatar")
        # One for WebSockets: they negotiate another version of HTTP.
        self.trust = ssl.create_default_context(cafile=cafile)
        self.relay = relay
        self.proxy = proxy
        self.folder = cafile.parent.parent  # of the proxy, with its logs
        self._cafile = cafile
        self.client = self.another_client()

    def another_client(self) -> httpx.AsyncClient:
        """One with connections of its own."""
        trust = ssl.create_default_context(cafile=self._cafile)
        return httpx.AsyncClient(base_url=self.origin, http2=True, verify=trust, timeout=20)

    def plain_addresses(self) -> list[str]:
        """Where HTTP leads to HTTPS."""
        listening = re.compile(r"(?:listen|bind) 127\.0\.0\.1:(\d+);?$", re.M)
        written = [
            each.read_text() for each in self.folder.iterdir() if each.suffix in {".conf", ".cfg"}
        ]
        return [f"http://127.0.0.1:{port}" for text in written for port in listening.findall(text)]

    async def until_through(self) -> None:
        """Until the proxy knows that its connections of the test before are gone."""
        async with asyncio.timeout(10):
            while True:
                with suppress(httpx.TransportError):
                    if (await self.client.get("/avatar/healthz")).status_code == 200:
                        return

    async def create(self, **options: object) -> dict[str, str]:
        answer = await self.client.post("/avatar/sessions/create", json=options)
        assert answer.status_code == 201, answer.text
        document: dict[str, str] = answer.json()
        return document

    @asynccontextmanager
    async def events(self, address: str, **headers: str) -> AsyncIterator[Events]:
        async with httpx_sse.aconnect_sse(self.client, "GET", address, headers=headers) as source:
            assert source.response.status_code == 200
            yield Events(source)


@dataclass(frozen=True)
class Front:
    """A proxy that runs, before whatever will listen on `upstream`."""

    proxy: Proxy
    address: str
    cafile: Path
    upstream: int


@pytest.fixture(scope="module", params=PROXIES.values(), ids=lambda proxy: proxy.name)
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    proxy: Proxy = request.param
    if not proxy.is_installed:
        pytest.skip(f"{proxy.name} is not installed (apt-get install {proxy.name})")
    folder, upstream = tmp_path_factory.mktemp(proxy.name), free_port()
    with running(proxy, folder, upstream) as address:
        yield Front(proxy, address, folder / "tls/cert.pem", upstream)


@pytest.fixture
async def proxied(front: Front, process_server: ProcessServer) -> AsyncIterator[Proxied]:
    relay = Relay(front.upstream, urlsplit(process_server.url).port or 0)
    await relay.mend()
    its = Proxied(front.address, front.cafile, relay, front.proxy)
    async with its.client:
        await its.until_through()
        yield its
    await relay.cut()


async def test_all_of_a_session(proxied: Proxied) -> None:
    """Over HTTP/2, by the addresses that the answers give: page, scripts, events, chunks."""
    session = await proxied.create()
    assert session["player_full_url"] == proxied.origin + session["player_url"]
    page = await proxied.client.get(session["player_url"])
    assert (page.status_code, page.http_version) == (200, "HTTP/2")
    for address in re.findall(r'(?:src|href)="(/[^"]*)"', page.text):
        found = await proxied.client.get(address)
        assert found.status_code == 200, address
        if address.endswith(".js"):
            assert "javascript" in found.headers["Content-Type"]

    async with proxied.events(session["events_url"]) as events:
        assert (await events.next())["event"] == "state", "it would be held back until the end"
        files = {"audio_file": wav(tone(1.0))}
        answer = await proxied.client.post(session["stream_url"], files=files)
        assert answer.status_code == 202
        assert answer.headers["Location"].startswith(session["utterances_url"])
        told = needed(await events.until_end())
    urls = [event["url"] for event in told if event["event"] == "chunk"]
    assert told[-1]["total_chunks"] == len(urls)
    await chunks_come_right(proxied, urls[0])

    playlist = await proxied.client.get(session["hls_url"])
    assert playlist.status_code == 200
    listed = [line for line in playlist.text.splitlines() if not line.startswith("#")]
    media = await proxied.client.get(str(playlist.url.join(listed[0])))
    assert media.status_code == 200
    init = re.search(r'EXT-X-MAP:URI="([^"]+)"', media.text)
    assert init
    assert (await proxied.client.get(str(media.url.join(init[1])))).status_code == 200


async def chunks_come_right(proxied: Proxied, url: str) -> None:
    by_key = await proxied.client.get(url, headers={"Authorization": "Bearer its-own"})
    assert by_key.status_code == 200
    whole = await proxied.client.get(url)
    assert whole.status_code == 200
    assert whole.headers["Content-Type"].startswith("video/mp4; codecs=")
    again = await proxied.client.get(url)
    assert again.content == whole.content
    for answer in (whole, again):  # from the server, and from the proxy's cache if it has one
        assert answer.headers["Cache-Control"] == "private, max-age=3600, immutable"
    asked = proxied.relay.asked.count(url.removeprefix("/avatar"))
    # What was asked for by a header is not for those who have none.
    assert asked == (2 if proxied.proxy.caches else 3)
    part = await proxied.client.get(url, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(whole.content)}"
    beyond = await proxied.client.get(url, headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    known = {"If-None-Match": whole.headers["ETag"]}
    assert (await proxied.client.get(url, headers=known)).status_code == 304


async def test_only_what_is_below_the_path_is_there(proxied: Proxied) -> None:
    redirected = await proxied.client.get("/avatar?avatar=tiny")
    assert redirected.status_code == 308
    assert redirected.url.join(redirected.headers["Location"]) == f"{proxied.address}/?avatar=tiny"
    for path in ("/", "/other", "/avatarx", "/sessions/stats"):
        assert (await proxied.client.get(path)).status_code == 404, path


OPERATORS = [
    ("GET", "/sessions/stats"),
    ("GET", "/sessions/%73tats"),
    ("HEAD", "/sessions/stats?x=/"),
    ("GET", "/metrics"),
    ("GET", "/recordings"),
    ("DELETE", "/recordings/unknown"),
    ("GET", "/jobs"),
    ("DELETE", "/jobs/unknown"),
    ("POST", "/avatars"),
    ("DELETE", "/avatars/unknown"),
    ("DELETE", "/%61vatars/unknown"),
]


async def test_what_is_for_operators_is_refused(proxied: Proxied) -> None:
    for method, path in OPERATORS:
        answer = await proxied.client.request(method, f"/avatar{path}")
        assert answer.status_code == 403, f"{method} {path}"
    for path in ("//sessions/stats", "/./sessions/stats", "/x/../sessions/stats", "/avatar/jobs"):
        answer = await proxied.client.get(f"/avatar{path}")
        assert answer.status_code in {403, 404}, path
    assert (await proxied.client.get("/avatar/avatars")).status_code == 200
    assert (await proxied.client.get("/avatar/avatars/demo/video")).status_code == 200


async def test_operators_come_from_networks_that_are_listed(
    front: Front, process_server: ProcessServer, tmp_path: Path
) -> None:
    port = urlsplit(process_server.url).port or 0
    with running(front.proxy, tmp_path, port, operators="127.0.0.0/8") as address:
        trust = ssl.create_default_context(cafile=tmp_path / "tls/cert.pem")
        async with httpx.AsyncClient(verify=trust) as client:
            for method, path in OPERATORS:
                answer = await client.request(method, address + path)
                assert answer.status_code in {200, 404, 422}, f"{method} {path}: {answer.text}"


async def test_who_leaves_is_gone(proxied: Proxied) -> None:
    """A session is held, and its share of the machine with it, as long as somebody listens."""
    session = await proxied.create()
    path = f"/avatar/sessions/{session['session_id']}"

    async def listeners() -> int:
        return int((await proxied.client.get(path)).json()["subscribers"])

    async with (
        proxied.another_client() as other,
        httpx_sse.aconnect_sse(other, "GET", session["events_url"]) as source,
    ):
        await Events(source).next()
        assert await listeners() == 1
    # By itself the server would find it out when it sends comments, one every 15 s.
    end_s = time.monotonic() + 8
    while await listeners():
        assert time.monotonic() < end_s


def test_the_proxy_has_nothing_to_say_against_its_configuration(front: Front) -> None:
    folder = front.cafile.parents[1]
    said = "".join(
        file.read_text() for file in (folder / "output", folder / "log") if file.exists()
    )
    assert not re.search(r"\[(?:warn|WARNING)\]", said), said


async def test_speech_is_spoken_while_it_is_uploaded(proxied: Proxied) -> None:
    session = await proxied.create()
    is_spoken = asyncio.Event()
    sound = (speech_like(4.0, _RATE) * 32767).astype("<i2").tobytes()

    async def pieces() -> AsyncIterator[bytes]:
        """The rest only when the first chunk has been announced."""
        half = len(sound) // 4 * 2
        for start in range(0, half, 3200):
            yield sound[start : min(start + 3200, half)]
        await is_spoken.wait()
        yield sound[half:]

    async with proxied.events(session["events_url"]) as events:
        await events.next()
        upload = asyncio.create_task(
            proxied.client.post(
                session["audio_url"],
                content=pieces(),
                headers={"Content-Type": f"audio/L16;rate={_RATE}"},
            )
        )
        chunk = (await events.until("chunk"))[-1]
        assert not upload.done()
        is_spoken.set()
        assert (await upload).status_code == 202
        complete = (await events.until_end())[-1]
    assert chunk["index"] == 0
    assert complete["sound_duration"] == pytest.approx(4.0, abs=0.01)


async def test_sound_over_a_websocket(proxied: Proxied) -> None:
    session = await proxied.create()
    address = proxied.origin.replace("https:", "wss:") + session["audio_socket_url"]
    sound = (tone(0.5, rate=_RATE) * 32767).astype("<i2").tobytes()
    async with connect(f"{address}?rate={_RATE}", ssl=proxied.trust) as socket:
        await socket.send(sound)
        assert json.loads(await socket.recv())["event"] == "accepted"
        await socket.send(json.dumps({"event": "end"}))
        ended = json.loads(await socket.recv())
    assert (ended["event"], ended["duration"]) == ("ended", pytest.approx(0.5, abs=0.05))


async def test_problems_pass_through(proxied: Proxied) -> None:
    for path, status, code in (
        ("/avatar/sessions/unknown", 404, "session_not_found"),
        ("/avatar/sessions/unknown/events", 404, "session_not_found"),
        ("/avatar/chunks/unknown/chunk_0000.mp4", 404, "chunk_not_found"),
        ("/avatar/nowhere", 404, "not_found"),
    ):
        answer = await proxied.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "/avatar/nowhere" in answer.json()["detail"]
    bad = await proxied.client.post("/avatar/sessions/create?fps=1000")
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_parameter")


async def test_their_logs_have_no_tokens(proxied: Proxied) -> None:
    """Of what is answered, and of what can't be."""
    path = "/avatar/avatars?token=sesame-7391"
    assert (await proxied.client.get(path)).status_code == 200
    for address in proxied.plain_addresses():
        assert (await proxied.client.get(address + path)).status_code == 308
    await proxied.relay.cut()
    assert (await proxied.client.get(path)).status_code in {502, 503, 504}
    await proxied.relay.mend()
    await proxied.until_through()
    written = [each for each in proxied.folder.rglob("*") if each.is_file()]
    logs = [each for each in written if b"/avatar/avatars" in each.read_bytes()]
    assert logs, "nothing is logged: then this shows nothing"
    assert not [each for each in written if b"sesame-7391" in each.read_bytes()]


@pytest.mark.skipif(not PROXIES["caddy"].is_installed, reason="caddy is not installed")
def test_the_proxy_of_compose_logs_no_tokens(tmp_path: Path) -> None:
    with caddy_of_compose(tmp_path, free_port()) as address:
        assert httpx.get(f"{address}/sessions/x/events?token=sesame-7391").status_code == 502
        assert httpx.get(f"{address}/metrics").status_code == 404
    said = (tmp_path / "output").read_text()
    assert "/sessions/x/events" in said
    assert "sesame-7391" not in said


async def test_who_asks_is_known(proxied: Proxied) -> None:
    """What a client says of its address is replaced, or stands before what the proxy says."""
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/elsewhere"}
    answer = await proxied.client.get("/avatar/avatars/demo", headers=claims)
    assert answer.json()["video_url"] == "/avatar/avatars/demo/video"


async def test_events_go_on_after_the_server_was_out_of_reach(proxied: Proxied) -> None:
    session = await proxied.create()
    async with proxied.events(session["events_url"]) as events:
        await events.next()
        await proxied.client.post(session["stream_url"], files={"audio_file": wav(tone(0.5))})
        seen = await events.until("started")
        last = events.ids[-1]
        await proxied.relay.cut()
        with suppress(httpx.TransportError):  # or the stream just ends
            await events.rest()
    lost = await proxied.client.get(session["events_url"])
    assert lost.status_code in {502, 503, 504}, "as long as nobody is there"
    await proxied.relay.mend()
    async with proxied.events(session["events_url"], **{"Last-Event-ID": last}) as events:
        told = await events.until_end()
    assert "started" not in {event["event"] for event in told}, "it was seen before"
    assert told[-1]["event"] == "complete"
    assert told[-1]["request_id"] == seen[-1]["request_id"]
