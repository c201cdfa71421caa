"""The way in: where the server listens, how many connections there may be, and how long one may
take to say something."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from ..config import HttpConfig
from ..errors import BadRequest, TooManyConnections
from .headers import WITHOUT_REQUEST
from .peers import Address, is_proxy, network_name, parse_address
from .tls import Certificate

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# A phone that vanished never says so: the kernel gives up on bytes that nobody acknowledges, and
# asks now and then on connections over which nothing goes.
_GIVE_UP_S = 30
_KEEPALIVE_AFTER_S, _KEEPALIVE_EVERY_S, _KEEPALIVE_PROBES = 60, 10, 3
# For the head of the first request, and for a TLS handshake.
_FIRST_REQUEST_S = 20.0
_HANDSHAKE_S = 10.0
# For the head of another one, over a connection that is kept. Longer than proxies keep theirs
# (Caddy 2 min), so that none of them sends a request into a connection that is being closed.
_NEXT_REQUEST_S = 130.0
_BACKLOG = 512
# Beyond `max_connections`: these hear that there are too many, or how the server is.
_EXTRA_CONNECTIONS = 64
# Of all connections, what one address may have, which may be many phones.
_SHARE_OF_ADDRESS = 4
_HEALTH = ("/healthz", "/readyz")


def make_runner(app: web.Application) -> web.AppRunner:
    # Event streams must learn at once that their client has gone. Requests that still run when
    # the server stops get a second to end.
    return web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)


class ConnectionCounts:
    """Of all that listens for an application.

    num_open      that there are
    num_refused   beyond their number, so far
    num_not_http  times that what came was no HTTP
    """

    def __init__(self) -> None:
        self.num_open = 0
        self.num_refused = 0
        self.num_not_http = 0


CONNECTIONS: web.AppKey[ConnectionCounts] = web.AppKey("connections", ConnectionCounts)


class Listener(web.BaseSite):
    """Everything that listens, as one site of a runner.

    first_request_s  within which the head of a first request must come
    counts           of its connections
    """

    __slots__ = ("_certificate", "_following", "_http", "_of_address", "counts",
                 "first_request_s")  # fmt: skip

    def __init__(
        self,
        runner: web.AppRunner,
        http: HttpConfig,
        certificate: Certificate | None = None,
        *,
        first_request_s: float = _FIRST_REQUEST_S,
    ) -> None:
        super().__init__(runner)
        self.first_request_s = first_request_s
        self.counts = runner.app[CONNECTIONS]
        self._http = http
        self._certificate = certificate
        self._following: asyncio.Task[None] | None = None
        self._of_address: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Listener {self.name} {self.counts.num_open} connections>"

    @property
    def name(self) -> str:
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://{self._http.host}:{self._http.port}"

    async def start(self) -> None:
        """Raises OSError where the address can't be listened on."""
        await super().start()
        http, certificate = self._http, self._certificate
        server = await asyncio.get_running_loop().create_server(
            self._connection,
            http.host,
            http.port,
            ssl=certificate.context if certificate else None,
            ssl_handshake_timeout=_HANDSHAKE_S if certificate else None,
            backlog=_BACKLOG,
            start_serving=False,
        )
        self._server = server
        for listening in server.sockets:
            _give_up_on_silence(listening)
        await server.start_serving()
        if certificate:
            self._following = asyncio.create_task(certificate.follow(), name="certificate")

    async def stop(self) -> None:
        if self._following:
            self._following.cancel()
            await asyncio.wait([self._following])
        await super().stop()

    def _connection(self) -> "Connection":
        server = self._runner.server
        assert server is not None
        return Connection(self, server)

    # --- how many

    def entered(self, address: Address | None) -> tuple[str, bool]:
        """What its address counts as, and whether it is one too many."""
        name = "" if self._is_free(address) or address is None else network_name(address)
        self.counts.num_open += 1
        self._of_address[name] += 1
        most = self._http.max_connections
        is_extra = self.counts.num_open > most or (
            bool(name) and self._of_address[name] > most // _SHARE_OF_ADDRESS
        )
        self.counts.num_refused += is_extra
        return name, is_extra

    def left(self, name: str) -> None:
        self.counts.num_open -= 1
        self._of_address[name] -= 1
        if not self._of_address[name]:
            del self._of_address[name]

    @property
    def is_overrun(self) -> bool:
        return self.counts.num_open > self._http.max_connections + _EXTRA_CONNECTIONS

    def _is_free(self, address: Address | None) -> bool:
        """Proxies, and what runs on this machine, may have all of them."""
        return address is None or address.is_loopback or is_proxy(address, self._http)


class Connection(web.RequestHandler):
    """One connection.

    has_asked   the head of a first request has come
    is_extra    there are too many of them without it
    """

    __slots__ = ("_address_name", "_listener", "_until_first", "has_asked", "is_extra")

    def __init__(self, listener: Listener, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # which is how there is none
            keepalive_timeout=_NEXT_REQUEST_S,
            # What is compressed would be unpacked on the event loop, whatever the answer to it is.
            auto_decompress=False,
        )
        self.has_asked = False
        self.is_extra = False
        self._listener = listener
        self._address_name: str | None = None
        self._until_first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = parse_address(transport.get_extra_info("peername"))
        self._address_name, self.is_extra = self._listener.entered(address)
        if self._listener.is_overrun:
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._until_first = loop.call_later(self._listener.first_request_s, self._require_request)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._until_first:
            self._until_first.cancel()
        if self._address_name is not None:
            self._listener.left(self._address_name)
            self._address_name = None
        super().connection_lost(exc)

    def _require_request(self) -> None:
        if not self.has_asked:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP gets a problem document, too."""
        answer = super().handle_error(request, status, exc, message)
        if status != BadRequest.status:
            return answer
        self._listener.counts.num_not_http += 1
        detail = (message or BadRequest.title).partition("\n")[0].strip()[:200].rstrip(":")
        answer = web.json_response(
            {
                "type": "about:blank",
                "title": BadRequest.title,
                "status": status,
                "detail": f"this is not HTTP: {detail}",
                "code": BadRequest.code,
                "retryable": False,
            },
            status=status,
            headers={hdrs.CACHE_CONTROL: "no-store", **WITHOUT_REQUEST},
            content_type="application/problem+json",
        )
        answer.force_close()
        return answer


def count_connections(app: web.Application) -> None:
    """Who is one too many hears so, unless they ask how the server is."""
    app[CONNECTIONS] = ConnectionCounts()
    app.middlewares.append(_not_too_many)
    app.on_response_prepare.append(_end_what_is_extra)


@web.middleware
async def _not_too_many(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises TooManyConnections."""
    connection: Any = request.protocol
    if isinstance(connection, Connection):
        connection.has_asked = True
        if connection.is_extra and request.path not in _HEALTH:
            raise TooManyConnections("this server has as many connections as it takes: try later")
    return await handler(request)


async def _end_what_is_extra(request: web.Request, response: web.StreamResponse) -> None:
    if getattr(request.protocol, "is_extra", False):
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def _give_up_on_silence(listening: Any) -> None:
    """On Linux, connections have what the socket has from which they come."""
    options = {
        "TCP_KEEPIDLE": _KEEPALIVE_AFTER_S,
        "TCP_KEEPINTVL": _KEEPALIVE_EVERY_S,
        "TCP_KEEPCNT": _KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": _GIVE_UP_S * 1000,  # ms
    }
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
