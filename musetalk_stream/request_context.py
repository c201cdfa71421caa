"""On whose behalf something runs. Tasks inherit it, so an utterance's log lines and spans know the
request that brought its sound.

Ids of sessions and utterances are cut to eight characters: who has all of one has the session.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

_SHOWN = 8
# Visible, without what quotes or separates in logs; long enough for a UUID or a trace id.
_TAKEN = re.compile(r"[A-Za-z0-9._:+/=-]{1,64}")

request_id: ContextVar[str] = ContextVar("request_id", default="")
route: ContextVar[str] = ContextVar("route", default="")
session_id: ContextVar[str] = ContextVar("session_id", default="")
utterance_id: ContextVar[str] = ContextVar("utterance_id", default="")
# As it came (W3C Trace Context); empty where no trace goes on here.
traceparent: ContextVar[str] = ContextVar("traceparent", default="")

# Of a log line, in this order.
LOGGED = (request_id, session_id, utterance_id, route)


def mint_request_id() -> str:
    return secrets.token_hex(8)


def taken_request_id(said: str | None) -> str:
    """A client's X-Request-Id, or one of ours where it has none that can be taken."""
    return said if said and _TAKEN.fullmatch(said) else mint_request_id()


@contextmanager
def asked(asked_id: str, asked_route: str, trace: str = "") -> Iterator[None]:
    """A request is answered in the block."""
    new = ((request_id, asked_id), (route, asked_route), (session_id, ""), (utterance_id, ""),
           (traceparent, trace))  # fmt: skip
    before: list[tuple[ContextVar[str], Token[str]]] = [(var, var.set(v)) for var, v in new]
    try:
        yield
    finally:
        for var, token in before:
            var.reset(token)


def about_session(whole_id: str) -> None:
    """The rest of this request, or task, is about a session."""
    session_id.set(whole_id[:_SHOWN])


def about_utterance(whole_id: str) -> None:
    """Likewise, about an utterance."""
    utterance_id.set(whole_id[:_SHOWN])
