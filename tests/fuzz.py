"""Requests at random, most of them wrong: every route, method and parameter of the server's own
tables, ids that are, were and never will be, and what headers and bodies may claim.

`scripts/fuzz` runs many of them; `test_fuzz.py` the same few each time.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from fakes import NumberRenderer, make_avatar, tone, wav
from servers import start_process

from musetalk_stream import errors
from musetalk_stream.avatar import shipped_avatars
from musetalk_stream.config import Config, EncoderConfig
from musetalk_stream.errors import MuseTalkStreamError
from musetalk_stream.options import PREBUFFER, SESSION_OPTIONS, TRAILING_SILENCE
from musetalk_stream.prepare import prepare_store
from musetalk_stream.web.app import build_app
from musetalk_stream.web.problems import FRAMEWORK_CODES

_NEW_SESSION_EVERY = 40  # requests; one of them will have deleted it
# Paths of files, of which parts may be asked for.
_FILES = re.compile(r"/(chunks|static|client)/|/(video|poster)$|\.mp4$")
# Of the errors that are the server's; what clients do can't be answered by any other.
_SERVER_ERRORS = {501, 503, 507}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
_IDS = ("unknown", "..", "%2e%2e%2fetc", "a" * 3000, "ü", "%00", "'\"<script>", "-", " ", "0",
        "chunk_0000.mp4", "{session_id}", "%F0%9F%A6%8A")  # fmt: skip
_NUMBERS = ("0", "1", "25", "-1", "1e309", "nan", "1e-9", "٣", "2.5", "", "99999999999999999999")
_WORDS = ("true", "false", "yes", "queue", "replace", "reject", "tiny", "other", "\x00", "ü" * 200)
_HEADERS: dict[str, tuple[str, ...]] = {
    "Range": ("bytes=0-0", "bytes=4-7", "bytes=-5", "bytes=10-", "bytes=99999999-", "bytes=7-4",
              "bytes=0-1,4-5", "bytes=", "items=0-1", "bytes=a-b", "bytes=-0"),
    "If-None-Match": ("*", '"x"', 'W/"x"', "x", ""),
    "If-Match": ("*", '"x"', ""),
    "If-Modified-Since": ("Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT", "soon"),
    "If-Unmodified-Since": ("Sat, 01 Jan 2000 00:00:00 GMT", "never"),
    "If-Range": ('"x"', "Sat, 01 Jan 2000 00:00:00 GMT"),
    "X-Forwarded-Prefix": ("/talk", "/a/b/", "//evil", "/../x", "x", "/" + "y" * 300, "/%2e"),
    "X-Forwarded-Proto": ("https", "javascript", ""),
    "X-Forwarded-Host": ("talk.example", "a b", "x" * 400, "[::1]:1"),
    "Accept": ("text/html", "application/json", "*/*", "audio/ogg;q=x", "text/vtt"),
    "Content-Type": ("application/json", "text/plain", "audio/L16;rate=16000", "audio/L16",
                     "audio/L16;rate=x", "audio/wav", "multipart/form-data", "text/vtt",
                     "multipart/form-data; boundary=X", "application/json; charset=ebcdic", ";"),
    "Origin": ("https://evil.example", "null", "http://[", "https://" + "x" * 300),
    "Access-Control-Request-Method": ("POST", "BREW"),
    "Last-Event-ID": ("0", "5", "99999999999999999999", "x", "-1"),
    "Idempotency-Key": ("same", "x" * 256, "a b", "ключ"),
    "Expect": ("100-continue", "the unexpected"),
    "Upgrade": ("websocket", "h2c"),
    "Host": ("evil.example", "x" * 300),
}  # fmt: skip
_BODIES: tuple[bytes, ...] = (
    b"", b"{}", b"[]", b"null", b'{"fps": 1e400}', b"{" * 2000, b'{"fps": true}', b"\xff\xfe", b"{",
    b'{"request_id": "x", "event": "started", "ago_ms": -1}', b'{"event": "finished"}',
    b'{"avatar_frame": 3}', b'{"avatar_frame": [3]}', b'{"avatar_id": {"a": 1}}',
    b'{"cues": [{"start": 0, "end": 1, "text": "hello"}]}', b'{"cues": [{"start": 2, "end": 1}]}',
    b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
    b"WEBVTT\n\n00:00.000 --> 00:01.000\n&#" + b"9" * 5000 + b";", b"--X--\r\n", b"a" * 70_000,
    b'--X\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\nno\r\n--X--',
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="../../a"\r\n\r\nno\r\n--X--',
    wav(tone(0.2)), wav(tone(0.2))[:50],
)  # fmt: skip
# What is right, by the last word of the route; REQUEST is the utterance that was last begun.
_RIGHT: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "stream": (
        (b"multipart/form-data; boundary=X",
         b'--X\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\n'
         + wav(tone(0.2)) + b"\r\n--X--\r\n"),
    ),
    "audio": ((b"audio/wav", wav(tone(0.2))), (b"audio/L16;rate=16000", bytes(6400))),
    "playback": (
        (b"application/json", b'{"request_id": "REQUEST", "event": "started", "ago_ms": 0}'),
    ),
    "position": ((b"application/json", b'{"avatar_frame": 3}'),),
    "captions": (
        (b"application/json", b'{"cues": [{"start": 0, "end": 1, "text": "hello"}]}'),
        (b"text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n"),
    ),
}  # fmt: skip
_LINK = re.compile(rb'\b(?:src|href)="(/[^"]*)"')
_URL_MEMBER = re.compile(r'"(?:url|\w+_url)": "([^"]*)"')


@dataclass(frozen=True)
class Asked:
    method: str
    url: str
    headers: dict[str, bytes]
    body: bytes
    route: str

    def encoded(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value) for name, value in self.headers.items()]

    def __str__(self) -> str:
        shown = {name: value[:80] for name, value in self.headers.items()}
        return f"{self.method} {self.url[:200]} {shown} {self.body[:80]!r}"


@dataclass
class Fuzz:
    """A run against a server. What was wrong is in `mistakes`."""

    client: httpx.Client
    seed: int
    mistakes: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)  # by route: with a 2xx

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._routes = _routes()
        self._taking = [  # what is sent to them; most of what is drawn for them is wrong
            (method, path)
            for method, path in self._routes
            if method in {"POST", "PUT"} and path.rpartition("/")[2] in {*_RIGHT, "interrupt"}
        ]
        self._ids: dict[str, list[str]] = {}

    def run(self, num_requests: int) -> None:
        for count in range(num_requests):
            if count % _NEW_SESSION_EVERY == 0:
                self._speak()
            asked = self._any_request()
            try:
                self._ask(asked)
            except httpx.TransportError as exc:
                self.mistakes.append(f"{asked}: {exc!r}")

    # --- what is asked

    def _speak(self) -> None:
        """A session that has said something: ids for what follows."""
        for session_id in self._ids.get("session_id", [])[-1:]:
            self.client.delete(f"/sessions/{session_id}")
        session = self.client.post("/sessions/create", json={"on_busy": "replace"})
        if session.status_code != 201:  # enough of them are there
            return
        session_id = session.json()["session_id"]
        said = self.client.post(
            f"/sessions/{session_id}/stream", files={"audio_file": wav(tone(0.3))}
        )
        request_id = said.json()["request_id"]
        for name, known in (("session_id", session_id), ("request_id", request_id)):
            self._ids.setdefault(name, []).append(known)
        self._ids["avatar_id"] = ["tiny", "other", "demo"]
        self._ids["name"] = ["chunk_99999.mp4", "chunk_0001.mp4", "chunk_0000.mp4"]
        self._ids["filename"] = ["base.css", "player.css", "../avatars.html", "element.js"]

    def _any_request(self) -> Asked:
        choose = self._random
        method, path = choose.choice(self._routes)
        if choose.random() < 0.1:
            return self._right_request(method, path)
        if choose.random() < 0.15:
            return self._right_request(*choose.choice(self._taking))
        if choose.random() < 0.15:
            method = choose.choice(_METHODS)
        url = re.sub(r"{(\w+)}", lambda match: self._id(match[1]), path)
        if choose.random() < 0.5:
            url += "?" + urlencode(self._query())
        headers = {
            name: choose.choice(_HEADERS[name]).encode()
            for name in choose.sample(sorted(_HEADERS), choose.choice((0, 0, 1, 1, 2, 4)))
        }
        if _FILES.search(path) and choose.random() < 0.5:
            headers["Range"] = choose.choice(_HEADERS["Range"]).encode()
        has_body = method in {"POST", "PUT", "PATCH"} or choose.random() < 0.05
        body = choose.choice(_BODIES) if has_body else b""
        return Asked(method, url, headers, body, f"{method} {path}")

    def _right_request(self, method: str, path: str) -> Asked:
        known = {name: ids[-1] for name, ids in self._ids.items()}
        url = re.sub(r"{(\w+)}", lambda match: known.get(match[1], "unknown"), path)
        headers, body = {"X-Forwarded-Prefix": b"/talk"}, b""
        if right := _RIGHT.get(path.rpartition("/")[2]):
            headers["Content-Type"], body = self._random.choice(right)
        body = body.replace(b"REQUEST", known["request_id"].encode())
        if _FILES.search(path):
            headers["Range"] = b"bytes=4-7"
        return Asked(method, url, headers, body, f"{method} {path}")

    def _id(self, name: str) -> str:
        known = self._ids.get(name, [])
        if known and self._random.random() < 0.8:
            return known[-1] if self._random.random() < 0.7 else self._random.choice(known)
        return self._random.choice(_IDS)

    def _query(self) -> list[tuple[str, str]]:
        names = [option.name for option in (*SESSION_OPTIONS, TRAILING_SILENCE, PREBUFFER)]
        names += ["on_busy", "avatar_id", "user_id", "rate", "channels", "endianness", "wait",
                  "force", "request_id", "last_event_id", "trim_leading_silence", "loop",
                  "face_box", "approve", "_HLS_msn", "", "x"]  # fmt: skip
        values = (*_NUMBERS, *_WORDS, *self._ids.get("request_id", [])[-1:])
        wanted = self._random.sample(names, self._random.choice((1, 1, 2, 3)))
        return [(name, self._random.choice(values)) for name in wanted]

    # --- what is answered

    def _ask(self, asked: Asked) -> None:
        request = self.client.build_request(
            asked.method,
            asked.url,
            headers=httpx.Headers(asked.encoded()),
            content=asked.body or None,
        )
        answer = self.client.send(request, stream=True)
        try:
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                content = next(answer.iter_raw(), b"")
            else:
                content = answer.read()
        finally:
            answer.close()
        self.statuses[answer.status_code] += 1
        self.succeeded[asked.route] += answer.is_success
        if answer.status_code == 410 and self._ids["session_id"][-1] in asked.url:
            self._speak()
        try:
            self._look(asked, answer, content)
        except (AssertionError, ValueError, KeyError) as exc:
            wrong = f"{asked}: {answer.status_code} {content[:200]!r}: {type(exc).__name__} {exc}"
            self.mistakes.append(wrong)

    def _look(self, asked: Asked, answer: httpx.Response, content: bytes) -> None:
        status, headers = answer.status_code, answer.headers
        assert status < 500 or status in _SERVER_ERRORS
        if asked.method == "HEAD" or status in {101, 204, 304}:
            assert not content, "a body where there can be none"
        elif status == 417 and content.startswith(b"Unknown Expect"):
            pass  # of what is no route, the framework's own words
        elif status >= 400:
            _look_at_problem(asked, answer, content)
        elif headers.get("Content-Type", "").startswith("application/json"):
            assert headers["Cache-Control"]
            json.loads(content)
            _look_at_addresses(asked, headers, content)
        elif headers.get("Content-Type", "").startswith(("text/html", "text/event-stream")):
            _look_at_addresses(asked, headers, content)
        if status == 405:
            assert headers["Allow"]
        if status in {429, 503}:
            assert int(headers["Retry-After"]) >= 1
        if status == 416:
            assert re.fullmatch(r"bytes \*/\d+", headers["Content-Range"])
        if status in {200, 206} and "Accept-Ranges" in headers:
            assert headers["ETag"]
            assert headers["Cache-Control"]
        if status == 206:
            self._look_at_part(asked, headers, content)

    def _look_at_part(self, asked: Asked, headers: httpx.Headers, content: bytes) -> None:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers["Content-Range"])
        assert match
        first, last, total = map(int, match.groups())
        assert int(headers["Content-Length"]) == last - first + 1
        whole = self.client.get(asked.url).content
        assert len(whole) == total
        assert asked.method == "HEAD" or content == whole[first : last + 1]


def _look_at_problem(asked: Asked, answer: httpx.Response, content: bytes) -> None:
    if b"text/html" in asked.headers.get("Accept", b""):
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"<h1>" in content
        return
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
    problem: dict[str, Any] = json.loads(content)
    assert {"type", "title", "status", "detail", "code", "retryable"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["code"] in _CODES
    assert problem["detail"]


def _look_at_addresses(asked: Asked, headers: httpx.Headers, content: bytes) -> None:
    prefix = asked.headers.get("X-Forwarded-Prefix", b"").decode().removesuffix("/")
    ours = [url for url in _URL_MEMBER.findall(content.decode()) if url.startswith("/")]
    if asked.url.startswith("/webrtc/"):  # whose clients append it
        ours = [url for url in ours if not url.startswith("/player/")]
    ours += [url.decode() for url in _LINK.findall(content)]
    if location := headers.get("Location"):
        ours.append(location)
    for url in ours:
        assert url.startswith(f"{prefix}/"), f"{url} does not begin with {prefix}"


def _kinds(kind: type[MuseTalkStreamError]) -> set[type[MuseTalkStreamError]]:
    return {kind}.union(*(_kinds(each) for each in kind.__subclasses__()))


_CODES = {kind.code for kind in _kinds(MuseTalkStreamError) if kind.__module__ == errors.__name__}
_CODES |= set(FRAMEWORK_CODES.values())


def _routes() -> list[tuple[str, str]]:
    """As the server has them."""
    found = []
    for route in build_app(Config(), NumberRenderer()).router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        found.append((route.method, path))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "avatars"
        store.mkdir()
        make_avatar(store, "tiny")
        make_avatar(store, "other")
        prepare_store(store, shipped_avatars(), EncoderConfig())
        with (
            start_process(
                Path(folder), store, "--avatar", "tiny", "--capacity-fps", "100000",
                "--trusted-proxies", "127.0.0.1",
            ) as server,
            httpx.Client(base_url=server.url, timeout=30) as client,
        ):  # fmt: skip
            fuzz = Fuzz(client, args.seed)
            fuzz.run(args.requests)
            alive = client.get("/healthz").status_code == 200
        log = server.log
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(fuzz.statuses.items()))
    sys.stdout.write(f"{args.requests} requests of seed {args.seed}; {statuses}\n")
    routes = (f"{method} {path}" for method, path in _routes())
    never = sorted(route for route in routes if not fuzz.succeeded[route])
    sys.stdout.write(f"never answered by a 2xx: {', '.join(never)}\n")
    traces = log.count("Traceback")
    for mistake in fuzz.mistakes[:20]:
        sys.stdout.write(f"WRONG {mistake}\n")
    if fuzz.mistakes or traces or not alive:
        sys.stdout.write(log[-5000:])
        raise SystemExit(f"{len(fuzz.mistakes)} wrong answers, {traces} tracebacks")


if __name__ == "__main__":
    main()
