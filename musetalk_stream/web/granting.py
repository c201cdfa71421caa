"""Tokens that who has an API key makes for others: for one session, some rights and a time."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..access import Right
from ..errors import InvalidParameter
from ..options import TOKEN_TTL
from .access import GATE, caller, in_rfc3339, with_token
from .context import CONFIG, session
from .parameters import parameters


async def create_token(request: web.Request) -> web.Response:
    """On a server without keys nobody needs one, and it is null."""
    its, gate = session(request), request.app[GATE]
    raw = await parameters(request)
    rights = _rights(raw)
    ttl_s = int(TOKEN_TTL.read(raw.get(TOKEN_TTL.name, request.app[CONFIG].http.token_ttl_s)))
    expires_s = gate.expires_s(ttl_s)
    token = gate.make(caller(request), its.id, rights, expires_s) if gate.is_closed else ""
    document = {
        "token": token or None,
        "rights": [right.value for right in Right if right in rights],
        "expires_at": in_rfc3339(expires_s) if token else None,
        "player_url": with_token(f"/player/session/{its.id}", token),
        "events_url": with_token(f"/sessions/{its.id}/events", token),
    }
    return web.json_response(document, status=201)


def _rights(raw: Mapping[str, Any]) -> frozenset[Right]:
    """A list, or with commas; without any, to look. Raises InvalidParameter."""
    said = raw.get("rights", [Right.VIEW])
    names = said.split(",") if isinstance(said, str) else said
    try:
        rights = frozenset(map(Right, names))
    except (ValueError, TypeError):
        rights = frozenset()
    if not rights:
        raise InvalidParameter("rights", f"must be a list of one or more of {', '.join(Right)}")
    return rights
