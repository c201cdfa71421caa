"""Server-sent events as bytes (WHATWG HTML §9.2.6 "Interpreting an event stream")."""

import json
from collections.abc import Mapping
from typing import Any

PING_S = 15.0  # the standard's advice for keeping proxies from closing a quiet stream
# A field of the first message rather than a message of its own: some clients (httpx-sse) take one
# without data for an event.
RETRY = b"retry: 1000\n"
# The comment is for proxies and foreign clients; script can't see comments, so the player's
# watchdog listens for the event.
PING = b': ping\ndata: {"event":"ping"}\n\n'

Event = Mapping[str, Any]


def encode_event(event: Event, event_id: int | None = None) -> bytes:
    """One unnamed message whose data is one line of JSON."""
    line = json.dumps(event, separators=(",", ":"), allow_nan=False)
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return head + b"data: " + line.encode() + b"\n\n"


def parse_event_id(text: str | None) -> int | None:
    """A client's Last-Event-ID; None when it has none or when it is not one of ours."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    return int(text)
