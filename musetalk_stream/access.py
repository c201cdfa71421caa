"""Who asks, and may they: scopes of API keys, rights of tokens, and what a request needs."""

import math
from dataclasses import dataclass
from enum import StrEnum

from .errors import Forbidden


class Scope(StrEnum):
    """What an API key is for. A key sees the sessions and jobs that it has made, and no others,
    unless it is for operators."""

    SESSIONS = "sessions"
    AVATARS = "avatars"
    OPS = "ops"
    METRICS = "metrics"  # and nothing else: what measures keeps its key where others may read it


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
    expires_s   at which it ends, in seconds since 1970; a key does not
    """

    key_id: str = ""
    scopes: frozenset[Scope] = frozenset()
    session_id: str | None = None
    rights: frozenset[Right] = frozenset()
    expires_s: float = math.inf

    @property
    def is_operator(self) -> bool:
        return Scope.OPS in self.scopes

    def owns(self, owner: str) -> bool:
        """Whether what a key has made is there for who asks. To others it does not exist."""
        return self.is_operator or (bool(self.scopes) and self.key_id == owner)

    def sees(self, owner: str, session_id: str) -> bool:
        """Likewise, of a session."""
        return self.session_id == session_id or self.owns(owner)


# Who asks a server that has no keys.
ANYBODY = Caller(scopes=frozenset(Scope))
# Who has said nothing to a server that has keys.
NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Need:
    """What a request must come with on a server that has keys: a key that has one of `scopes`, or a
    token that has `right`. Neither: it is for everybody.

    is_page_free   who asks for HTML gets a page, without either
    of_any_session the path names no session; the handler looks at which one the token is for
    """

    scopes: frozenset[Scope] = frozenset()
    right: Right | None = None
    is_page_free: bool = False
    of_any_session: bool = False

    @property
    def is_public(self) -> bool:
        return not self.scopes

    def require(self, caller: Caller, session_id: str | None) -> None:
        """Raises Forbidden unless this suffices for a path, which names a session or none. What is
        said never tells whether that session exists."""
        if caller.session_id is None:
            if not self.scopes & caller.scopes:
                wanted = " or ".join(scope for scope in Scope if scope in self.scopes)
                raise Forbidden(f"this needs an API key with the scope {wanted}; yours has another")
        elif self.right is None:
            raise Forbidden("this needs an API key: a token is not enough")
        elif not (self.of_any_session or caller.session_id == session_id):
            raise Forbidden("this token is for another session")
        elif self.right not in caller.rights:
            raise Forbidden(f"this token lacks the right {self.right}")


_LOOKING = frozenset({Scope.SESSIONS, Scope.AVATARS, Scope.OPS})

PUBLIC = Need()
ANY_KEY = Need(_LOOKING)
AVATARS = Need(frozenset({Scope.AVATARS}))
SESSIONS = Need(frozenset({Scope.SESSIONS}))
# By who made their sessions: they are there when those have ended.
RECORDINGS = Need(frozenset({Scope.SESSIONS, Scope.OPS}))
OPS = Need(frozenset({Scope.OPS}))
METRICS = Need(frozenset({Scope.OPS, Scope.METRICS}))
# Jobs are made by who makes avatars, and operators look on.
JOBS = Need(frozenset({Scope.AVATARS, Scope.OPS}))
LOOKING_AT_AVATARS = Need(_LOOKING, is_page_free=True)
# Pictures of an avatar: of the session that a token is for.
PICTURES = Need(_LOOKING, Right.VIEW, of_any_session=True)
CHUNKS = Need(frozenset({Scope.SESSIONS, Scope.OPS}), Right.VIEW, of_any_session=True)
# Of a session, by who made it, by who has a token for it, or, to look and to end, by operators.
VIEW = Need(frozenset({Scope.SESSIONS, Scope.OPS}), Right.VIEW)
INTERRUPT = Need(frozenset({Scope.SESSIONS}), Right.INTERRUPT)
SPEAK = Need(frozenset({Scope.SESSIONS}), Right.SPEAK)
END = Need(frozenset({Scope.SESSIONS, Scope.OPS}), Right.END)
