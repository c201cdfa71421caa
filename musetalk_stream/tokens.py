"""What does a token say, and is it ours? Signed with a secret that outlives the server."""

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from .access import Caller, Right
from .clock import Clock
from .errors import InvalidCredentials, SetupError, TokenExpired
from .keys import make_private, write_private

ALL_RIGHTS = frozenset(Right)
WATCHING = frozenset({Right.VIEW, Right.INTERRUPT})  # what a player page is for
VIEWING = frozenset({Right.VIEW})

_FILE = "token_secret"
_SALT = "musetalk-stream session token 1"
# Checked first, as base64 is read in more than one form: tokens get into addresses and lists.
_FORM = re.compile(r"[A-Za-z0-9_.-]{1,512}")
# In a token, a letter each.
_LETTERS = {Right.VIEW: "v", Right.INTERRUPT: "i", Right.SPEAK: "s", Right.END: "e"}
_RIGHTS = {letter: right for right, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    expires_s  seconds since 1970
    key_id     of the API key by which it was made: it ends with that
    """

    session_id: str
    rights: frozenset[Right]
    expires_s: int
    key_id: str

    @property
    def caller(self) -> Caller:
        return Caller(
            self.key_id,
            session_id=self.session_id,
            rights=self.rights,
            expires_s=self.expires_s,
        )


class Tokens:
    """Makes tokens, and knows its own."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self.clock = clock
        self._serializer = URLSafeSerializer(
            secret,
            salt=_SALT,
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def __repr__(self) -> str:
        return "<Tokens>"

    def make(self, claims: Claims) -> str:
        letters = "".join(_LETTERS[right] for right in Right if right in claims.rights)
        return str(
            self._serializer.dumps([claims.session_id, letters, claims.expires_s, claims.key_id])
        )

    def read(self, token: str) -> Claims:
        """Raises InvalidCredentials, TokenExpired."""
        try:
            if not _FORM.fullmatch(token):
                raise BadData("signs that no token has")
            # The signature is looked at first: nothing that is not ours is decoded.
            session_id, letters, expires_s, key_id = self._serializer.loads(token)
        except (BadData, ValueError) as exc:
            raise InvalidCredentials(
                "this is no token of this server: ask for a new one where you got it"
            ) from exc
        if self.clock() >= expires_s:
            raise TokenExpired("this token has expired: ask for a new one where you got it")
        rights = frozenset(_RIGHTS[letter] for letter in letters)
        return Claims(session_id, rights, expires_s, key_id)


def token_secret(folder: Path) -> str:
    """The secret that signs tokens, made when it is first asked for. Whoever deletes its file ends
    all tokens at the next start. Raises SetupError."""
    path = folder / _FILE
    try:
        make_private(folder)
        try:
            secret = path.read_text().strip()
        except FileNotFoundError:
            secret = _make_secret(path)
    except (OSError, ValueError) as exc:
        raise SetupError(f"the secret of tokens can't be kept in {path}: {exc}") from exc
    if len(secret) < 32:
        raise SetupError(f"{path} is damaged: delete it, which ends all tokens that there are")
    return secret


def _make_secret(path: Path) -> str:
    """Of two servers that start at once, the first one's counts."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(fresh, secrets.token_urlsafe(32) + "\n")
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass  # the other's is read
    finally:
        fresh.unlink()
    return path.read_text().strip()
