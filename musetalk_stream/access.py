"""Who asks, and what may they do: scopes of API keys, rights of tokens."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What an API key is for. A key sees the sessions and jobs that it has made, and no others,
    unless it is for operators."""

    SESSIONS = "sessions"
    AVATARS = "avatars"
    OPS = "ops"


class Right(StrEnum):
    """What who holds a token may do with the one session that it is for."""

    VIEW = "view"  # see, hear, and say what a player shows
    INTERRUPT = "interrupt"
    SPEAK = "speak"  # send sound and captions, cancel utterances
    END = "end"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    key_id      of the API key that it has, or by which its token was made; empty on a server
                without keys
    scopes      of that key; none for who has a token
    session_id  that its token is for; None for who has none
    rights      of that token
    """

    key_id: str = ""
    scopes: frozenset[Scope] = frozenset()
    session_id: str | None = None
    rights: frozenset[Right] = frozenset()

    @property
    def is_operator(self) -> bool:
        return Scope.OPS in self.scopes


# Who asks a server that has no keys.
ANYBODY = Caller(scopes=frozenset(Scope))
