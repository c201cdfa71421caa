"""Who sends a request, and may they? API keys come in a header, tokens in that or in the address.

What a route needs is declared in the table of `routes`, and looked at here: before the handler,
and before the body is asked for (`Expect`).
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import hdrs, web

from ..access import ANYBODY, NOBODY, Caller, Need, Right
from ..clock import steady_clock
from ..config import Config
from ..errors import InvalidCredentials, NotReady, SetupError, TokenExpired, Unauthorized
from ..keys import PREFIX, KeyRing
from ..tokens import ALL_RIGHTS, VIEWING, WATCHING, Claims, Tokens, token_secret

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# By path and method, as the table of routes has them.
Needs = Mapping[tuple[str, str], Need]

TOKEN = "token"  # of the query

_LOOK_EVERY_S = 1.0  # at the file of keys

_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
# What who asked with a token has said; or what was made for who asked with a key.
_TOKEN_OF_ADDRESSES: web.RequestKey[tuple[str, float]] = web.RequestKey("token", tuple)


@dataclass(frozen=True, slots=True)
class Granted:
    """Tokens for the addresses of a new session; empty on a server without keys.

    full      may do everything
    watching  see, and interrupt
    viewing   see
    """

    full: str = ""
    watching: str = ""
    viewing: str = ""
    expires_s: int = 0


class Gate:
    """What a server knows of keys and tokens. Without any key it is open; from the first on it
    stays closed, whatever becomes of the file."""

    def __init__(self, config: Config) -> None:
        """Raises SetupError."""
        self._folder: Path = config.storage.state_dir
        self._ttl_s = config.http.token_ttl_s
        self._ring = KeyRing(self._folder)
        self._clock = steady_clock()
        self._tokens: Tokens | None = None  # from the first key on
        self.is_closed = False
        self.look()

    def __repr__(self) -> str:
        return f"<Gate {'closed' if self.is_closed else 'open'} {self._ring!r}>"

    def look(self) -> None:
        """At the file of keys, if it has changed. Blocking. Raises SetupError, and then goes on
        with what it knew."""
        try:
            if self._ring.look() and self.is_closed:
                log.info("the API keys have changed")
            if self._ring.is_closed and self._tokens is None:
                self._tokens = Tokens(token_secret(self._folder), self._clock)
        finally:
            # Last, as who is asked for a key from then on gets tokens; and whatever has gone wrong.
            if self._ring.is_closed and not self.is_closed:
                self.is_closed = True
                log.info("API keys are asked for")

    async def follow(self) -> None:
        """What commands change counts a moment later."""
        told = ""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await asyncio.to_thread(self.look)
            except SetupError as exc:
                if str(exc) != told:
                    log.error("%s; the keys known so far count", exc)
                told = str(exc)
            else:
                told = ""

    def caller_of(self, said: str, *, in_address: bool) -> Caller:
        """Raises InvalidCredentials, TokenExpired; NotReady where neither can be known."""
        tokens = self._its_tokens()
        if said.startswith(PREFIX):
            if in_address:
                raise InvalidCredentials(
                    "an API key must not be in an address, where others see it: revoke this one, "
                    "and send keys as Authorization: Bearer"
                )
            if (key := self._ring.find(said)) is None:
                raise InvalidCredentials("this API key is not one of this server, or was revoked")
            return Caller(key.id, key.scopes)
        claims = tokens.read(said)
        if not self._ring.counts(claims.key_id):
            raise InvalidCredentials("the API key by which this token was made was revoked")
        return claims.caller

    def seconds_left(self, caller: Caller) -> float:
        """For which who asked may still do so; 0 if no longer."""
        if caller.key_id and not self._ring.counts(caller.key_id):
            return 0.0
        return max(0.0, caller.expires_s - self._clock())

    def require_still(self, caller: Caller) -> None:
        """Raises TokenExpired, InvalidCredentials."""
        if caller.key_id and not self._ring.counts(caller.key_id):
            raise InvalidCredentials("the API key of this request was revoked")
        if not self.seconds_left(caller):
            raise TokenExpired("this token has expired: ask for a new one where you got it")

    def make(
        self, caller: Caller, session_id: str, rights: frozenset[Right], expires_s: int
    ) -> str:
        return self._its_tokens().make(Claims(session_id, rights, expires_s, caller.key_id))

    def expires_s(self, ttl_s: int) -> int:
        """Of a token that is made now, in seconds since 1970: it lasts no less than it was told."""
        return math.ceil(self._clock()) + ttl_s

    def grant(self, caller: Caller, session_id: str) -> Granted:
        """For who has just created a session."""
        if not self.is_closed:
            return Granted()
        expires_s = self.expires_s(self._ttl_s)
        full, watching, viewing = (
            self.make(caller, session_id, rights, expires_s)
            for rights in (ALL_RIGHTS, WATCHING, VIEWING)
        )
        return Granted(full, watching, viewing, expires_s)

    def make_viewing(self, caller: Caller, session_id: str) -> tuple[str, float]:
        """A token for addresses, and when it should be replaced by another. It is the same for a
        while: a list that is loaded again must name its segments as before (RFC 8216 §6.2.1)."""
        step_s = max(1, self._ttl_s // 4)
        expires_s = self.expires_s(self._ttl_s) // step_s * step_s
        return self.make(caller, session_id, VIEWING, expires_s), expires_s - self._ttl_s / 2

    def is_fresh(self, until_s: float) -> bool:
        return self._clock() < until_s

    def _its_tokens(self) -> Tokens:
        """Raises NotReady."""
        if self._tokens is None:
            raise NotReady("keys and tokens can't be looked up now: the server's log says why")
        return self._tokens


GATE: web.AppKey[Gate] = web.AppKey("gate", Gate)
NEEDS: web.AppKey[Needs] = web.AppKey("needs", dict)


def guard(app: web.Application, gate: Gate, needs: Needs) -> None:
    """Every request is looked at, from here on."""
    app[GATE], app[NEEDS] = gate, needs
    app.middlewares.append(_only_who_may)
    app.on_response_prepare.append(_keep_private)

    async def following(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(gate.follow(), name="keys")
        yield
        task.cancel()
        await asyncio.wait([task])

    app.cleanup_ctx.append(following)


def is_closed(request: web.Request) -> bool:
    """Whether this server asks for keys."""
    return request.app[GATE].is_closed


def caller(request: web.Request) -> Caller:
    asking: Caller = request.get(_CALLER, NOBODY)
    return asking


def seconds_left(request: web.Request) -> float:
    """For which who asked may still do so: what lasts, as an event stream does, ends with that."""
    return request.app[GATE].seconds_left(caller(request)) if is_closed(request) else math.inf


def require_still(request: web.Request) -> None:
    """Who was let in may have to leave: asked again while a request lasts. Raises TokenExpired,
    InvalidCredentials."""
    if is_closed(request):
        request.app[GATE].require_still(caller(request))


def authorize(request: web.Request) -> None:
    """Find out who asks. Raises Unauthorized, Forbidden."""
    if _CALLER not in request:
        request[_CALLER] = _require_caller(request)


def _require_caller(request: web.Request) -> Caller:
    gate = request.app[GATE]
    if not gate.is_closed:
        return ANYBODY
    need = _need(request)
    if need is None or need.is_public or (need.is_page_free and wants_page(request)):
        return NOBODY
    said, in_address = _said(request)
    if not said:
        raise Unauthorized(
            f"this server asks who you are: send an API key as Authorization: Bearer {PREFIX}…, or "
            "use an address that has a token, as the answer to POST /sessions/create gives them"
        )
    asking = gate.caller_of(said, in_address=in_address)
    need.require(asking, request.match_info.get("session_id"))
    if asking.session_id is not None:
        request[_TOKEN_OF_ADDRESSES] = said, math.inf
    return asking


def _need(request: web.Request) -> Need | None:
    """None where there is no such path, or not with this method. A route that is not in the table
    is a mistake of ours, and raises KeyError."""
    if request.match_info.http_exception is not None:
        return None
    resource = request.match_info.route.resource
    assert resource is not None
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    return request.app[NEEDS][resource.canonical, method]


def wants_page(request: web.Request) -> bool:
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


def _said(request: web.Request) -> tuple[str, bool]:
    """A key or a token, and whether it is in the address. A proxy that has a password of its own
    passes it on by another scheme, which is not for us."""
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip(), False
    return request.query.get(TOKEN, ""), True


def token_of_addresses(request: web.Request) -> str:
    """What addresses in an answer about a session carry, so that they work alone: the token of who
    asked with one; a new one, to look, for who asked with a key. Empty if they need none."""
    gate, session_id = request.app[GATE], request.match_info.get("session_id")
    if session_id is None or not gate.is_closed:
        return ""
    made: tuple[str, float] = request.get(_TOKEN_OF_ADDRESSES, ("", 0.0))
    if not gate.is_fresh(made[1]):
        made = request[_TOKEN_OF_ADDRESSES] = gate.make_viewing(caller(request), session_id)
    return made[0]


def granted(request: web.Request, session_id: str) -> Granted:
    """For who has just created a session."""
    return request.app[GATE].grant(caller(request), session_id)


def with_token(address: str, token: str) -> str:
    """Unless it has one, or is to have none."""
    if not token or f"{TOKEN}=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}{TOKEN}={token}"


def in_rfc3339(instant_s: float) -> str:
    return datetime.fromtimestamp(instant_s, UTC).isoformat().replace("+00:00", "Z")


@web.middleware
async def _only_who_may(request: web.Request, handler: Handler) -> web.StreamResponse:
    authorize(request)
    return await handler(request)


async def _keep_private(request: web.Request, response: web.StreamResponse) -> None:
    """What only some may see, no cache that others share may keep."""
    if caller(request) in (ANYBODY, NOBODY):
        return
    said = response.headers.get(hdrs.CACHE_CONTROL, "")
    if "no-store" not in said and "private" not in said:
        response.headers[hdrs.CACHE_CONTROL] = f"private, {said}" if said else "private"
