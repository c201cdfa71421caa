"""A weight file's server on loopback, which can break off, stall, refuse and lie."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from musetalk_stream.weights import OfficialFile

CONTENT = hashlib.sha256(b"weights").digest() * 100_000  # 3.2 MB
FILE = OfficialFile(
    "unet",
    "net/unet.pth",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
    "lab/net/resolve/0123/unet.pth",
    safetensors="unet.safetensors",
)


class Hub:
    """Serves `content` under every path; each request takes the next answer of `script` ("whole"
    when there is none): "break", "stall", "another range", "no length", a status, or "to URL"."""

    def __init__(self) -> None:
        self.url = ""
        self.content = CONTENT
        self.num_bytes = len(CONTENT)  # that it says it has
        self.knows_ranges = True
        self.script: list[str] = []
        self.ranges: list[str | None] = []  # of the requests so far
        self.stalled = threading.Event()
        self.released = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):  # the client has hung up
                    hub._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                self.released.set()
                server.shutdown()
                thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.ranges.append(request.headers["Range"])
        how = self.script.pop(0) if self.script else "whole"
        if how.isdigit():
            request.send_error(int(how))
        elif how.startswith("to "):
            request.send_response(302)
            request.send_header("Location", how.removeprefix("to "))
            request.end_headers()
        else:
            self._send(request, how)

    def _send(self, request: BaseHTTPRequestHandler, how: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers["Range"] or "")
        start = int(asked[1]) if asked and self.knows_ranges else 0
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            said = 0 if how == "another range" else start
            request.send_header(
                "Content-Range", f"bytes {said}-{self.num_bytes - 1}/{self.num_bytes}"
            )
        if how != "no length":
            request.send_header("Content-Length", str(self.num_bytes - start))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if how == "break" else body)
        if how == "stall":
            self.stalled.set()
            self.released.wait()
