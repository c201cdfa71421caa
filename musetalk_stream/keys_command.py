"""`musetalk-stream keys`: API keys are made, listed and revoked."""

from collections.abc import Iterator
from datetime import UTC, datetime

from .access import Scope
from .config import Config
from .errors import SetupError
from .keys import ApiKey, add_key, read_keys, revoke_key

_HEAD = ("id", "scopes", "made", "revoked", "name")


def add(config: Config, name: str, scopes: str) -> Iterator[str]:
    """Tells the key, this once. Raises SetupError."""
    key, secret = add_key(config.storage.state_dir, name, _scopes(scopes))
    yield secret
    yield ""
    yield f"The key {key.id} ({name}) may do: {_listed(key)}. It is not shown again."
    yield "Keep it on servers: pages and apps get the player_url or the token of one session."
    yield f"  curl -X POST -H 'Authorization: Bearer {secret[:8]}…' http://…/sessions/create"
    yield f"A server that keeps its state in {config.storage.state_dir} asks for keys from now on."


def listed(config: Config) -> Iterator[str]:
    """A table, oldest first. Raises SetupError."""
    keys = read_keys(config.storage.state_dir).values()
    rows = [_HEAD, *map(_row, keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if not keys:
        yield "none: the server is open to everybody who reaches it"


def revoke(config: Config, key_id: str) -> str:
    """Raises SetupError."""
    key = revoke_key(config.storage.state_dir, key_id)
    return f"the key {key.id} ({key.name}) counts no more, nor do the tokens made by it"


def _scopes(said: str) -> frozenset[Scope]:
    """Raises SetupError."""
    try:
        return frozenset(Scope(name.strip()) for name in said.split(",") if name.strip())
    except ValueError:
        raise SetupError(f"scopes must be of {', '.join(Scope)}, not {said[:60]!r}") from None


def _row(key: ApiKey) -> tuple[str, ...]:
    revoked = "" if key.revoked is None else _day(key.revoked)
    return key.id, _listed(key), _day(key.created), revoked, key.name


def _listed(key: ApiKey) -> str:
    return ",".join(scope for scope in Scope if scope in key.scopes)


def _day(instant_s: int) -> str:
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%d")
