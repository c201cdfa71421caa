"""Which API keys are there? A file of their hashes, which commands change and a server follows."""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .access import Scope
from .errors import SetupError

PREFIX = "mts_"  # by which scanners of secrets, and people, know one

_FILE = "keys.json"
_LOCK = "keys.lock"
_VERSION = 1
_MAX_KEYS = 10_000
_LONGEST_NAME = 80
_KEY = re.compile(rf"{PREFIX}(?P<id>[0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. Of the secret itself only a hash: a fast one is enough, as nobody can
    guess 256 random bits; slow ones are for passwords.

    created, revoked  seconds since 1970; revoked is None as long as it counts
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    sha256: str
    created: int
    revoked: int | None = None

    def matches(self, secret: str) -> bool:
        """In a time that does not tell how much of it is right."""
        return hmac.compare_digest(self.sha256, _hash(secret))


def id_of(secret: str) -> str | None:
    """Of the key that this would be; None if it has not the form of one."""
    match = _KEY.fullmatch(secret)
    return match["id"] if match else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- the file


def read_keys(folder: Path) -> dict[str, ApiKey]:
    """By id, oldest first; those that are revoked, too. Raises SetupError."""
    path = folder / _FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise SetupError(f"the API keys in {path} can't be read: {exc}") from exc
    try:
        document = json.loads(text)
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']!r}")
        keys = [_key(raw) for raw in document["keys"]]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise SetupError(
            f"{path} is damaged ({exc!r:.100}): put a copy of it back, or move it away and make "
            "new API keys by musetalk-stream keys add"
        ) from exc
    return {key.id: key for key in keys}


def _key(raw: dict[str, Any]) -> ApiKey:
    """Raises what a document raises that is none of ours."""
    if not re.fullmatch(r"[0-9a-f]{12}", raw["id"]) or not re.fullmatch(
        r"[0-9a-f]{64}", raw["sha256"]
    ):
        raise ValueError("a key without an id or a hash")
    return ApiKey(
        id=raw["id"],
        name=str(raw["name"]),
        scopes=frozenset(map(Scope, raw["scopes"])),
        sha256=raw["sha256"],
        created=int(raw["created"]),
        revoked=None if raw["revoked"] is None else int(raw["revoked"]),
    )


def add_key(folder: Path, name: str, scopes: frozenset[Scope]) -> tuple[ApiKey, str]:
    """A new key, and the secret that is kept nowhere. Raises SetupError."""
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        raise SetupError(f"a key's name must be 1 to {_LONGEST_NAME} characters that can be seen")
    if not scopes:
        raise SetupError(f"a key needs a scope, one or more of {', '.join(Scope)}")
    key_id = secrets.token_hex(6)
    secret = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    key = ApiKey(key_id, name, scopes, _hash(secret), created=int(time.time()))
    with _changing(folder) as keys:
        if len(keys) >= _MAX_KEYS:
            raise SetupError(f"there are {len(keys)} API keys already, as many as there may be")
        keys[key_id] = key
    return key, secret


def revoke_key(folder: Path, key_id: str) -> ApiKey:
    """It stays in the list, and counts no more. Raises SetupError."""
    with _changing(folder) as keys:
        if key_id not in keys:
            raise SetupError(f"there is no API key {key_id[:64]!r}: see musetalk-stream keys list")
        key = keys[key_id]
        if key.revoked is None:
            keys[key_id] = replace(key, revoked=int(time.time()))
        return keys[key_id]


@contextmanager
def _changing(folder: Path) -> Iterator[dict[str, ApiKey]]:
    """All keys, to be changed inside the block; commands wait for each other. Raises SetupError."""
    try:
        make_private(folder)
        with os.fdopen(os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = read_keys(folder)
            yield keys
            documents = [asdict(key) | {"scopes": sorted(key.scopes)} for key in keys.values()]
            text = json.dumps({"version": _VERSION, "keys": documents}, indent=1)
            write_private(folder / _FILE, text + "\n")
    except OSError as exc:
        raise SetupError(f"API keys can't be kept in {folder}: {exc}") from exc


def make_private(folder: Path) -> None:
    """A folder into which not everybody can write; nobody else can look into one that is made. One
    that is there stays as it is: others may need it. Raises SetupError, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & stat.S_IWOTH:
        raise SetupError(f"everybody can write into {folder}: choose a folder of its own")


def write_private(path: Path, text: str) -> None:
    """A file that nobody else can read, all of it or none, and there to stay, also when the power
    fails. Raises OSError."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """What its files are called reaches the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- a server's view of it


class KeyRing:
    """The keys as a server knows them: in memory, so that no request looks at the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, ...] | None = None  # of the file that was read
        self._keys: dict[str, ApiKey] = {}
        self.is_closed = False  # there was a file of keys once: from then on never open again

    def __repr__(self) -> str:
        return f"<KeyRing {len(self._keys)} keys>"

    def look(self) -> bool:
        """Read the file if it is another one than before; whether it was. Blocking. Raises
        SetupError, and then keeps what it knew: no key, if that was its first one."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        # A file that has gone takes its keys along, and leaves the server closed.
        self._keys = read_keys(self._folder)
        self._seen = seen
        return True

    def _stamp(self) -> tuple[int, ...] | None:
        """What tells one version of the file from the next; None if there is none. Else, and where
        that can't be known, the server is closed, whatever is in it."""
        try:
            found = (self._folder / _FILE).stat()
        except FileNotFoundError:
            return None
        except OSError as exc:
            self.is_closed = True
            raise SetupError(f"the API keys in {self._folder} can't be read: {exc}") from exc
        self.is_closed = True
        return found.st_ino, found.st_mtime_ns, found.st_size

    def find(self, secret: str) -> ApiKey | None:
        """The key that this is the secret of, if it counts."""
        key = self._keys.get(id_of(secret) or "")
        return key if key and key.revoked is None and key.matches(secret) else None

    def counts(self, key_id: str) -> bool:
        """Whether there is such a key, which has not been revoked."""
        key = self._keys.get(key_id)
        return key is not None and key.revoked is None
