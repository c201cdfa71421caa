"""Which sessions are open, on disk: a server that is started again goes on with them.

One small file per session, in `state_dir/sessions`. Files rather than a database: they are written
one at a time and never searched, a damaged one costs one session, and a full disk spoils no other.
They are not forced to the disk: they outlive the process, and mostly the machine's power.
"""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .consent import Consent, read_consent
from .disk import PART, Room, write_whole
from .errors import MuseTalkStreamError, SetupError, StorageFull
from .options import SessionOptions, session_options
from .threads import to_its_end

log = logging.getLogger(__name__)

_NAME = re.compile(r"([A-Za-z0-9_-]{22})\.json\Z")
_DAMAGED = ".damaged"  # the end of the name of one that could not be read; the latest is kept
_FORMAT = 1
# What is on disk is this much ahead of a session's epoch, so that interruptions need no disk: who
# goes on with it begins above every epoch that clients have seen.
EPOCHS_AHEAD = 1000


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What is kept of a session.

    owner       the API key's id; empty: of nobody
    created_at  seconds since 1970
    used_at     likewise, coarsely: when it was last in use
    epoch       from which on this run counts
    runs        how many servers have had it
    consent     to be recorded, if that was given
    """

    session_id: str
    avatar_id: str
    options: SessionOptions
    user_id: str | None
    owner: str
    created_at: float
    used_at: float
    epoch: int = 0
    runs: int = 1
    consent: Consent | None = None


class SessionRecords:
    """The records of one server, which is the only one with this folder (`state_folder.held`).

    Instants are wall time: they are compared over the end of processes.

    room  where they are kept
    """

    def __init__(self, state_dir: Path, *, min_free_bytes: int = 0) -> None:
        self._folder = state_dir / "sessions"
        self.room = Room(self._folder, "sessions", min_free_bytes=min_free_bytes)

    def __repr__(self) -> str:
        return f"<SessionRecords {self._folder}>"

    def load(self) -> list[SessionRecord]:
        """Those that the last server left, for this one to take over. While no server was there
        they did not age: nobody could use them. Blocking. Raises SetupError."""
        with self._setting_up():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            down_s = max(0.0, time.time() - self._folder.stat().st_mtime)
            found = [self._read(path) for path in sorted(self._folder.iterdir())]
        return [
            replace(known, runs=known.runs + 1, used_at=known.used_at + down_s)
            for known in found
            if known is not None
        ]

    def take_over(self, records: Sequence[SessionRecord]) -> None:
        """Before anybody is told anything in them. Blocking. Raises SetupError."""
        with self._setting_up():
            for record in records:
                self._write(record)

    @contextmanager
    def _setting_up(self) -> Iterator[None]:
        try:
            yield
        except (OSError, MuseTalkStreamError) as exc:
            raise SetupError(
                f"open sessions can't be kept in {self._folder}: {exc}; make room, or choose "
                "another place by --state-dir"
            ) from exc

    def _read(self, path: Path) -> SessionRecord | None:
        match = _NAME.match(path.name)
        if match is None:
            if path.name.endswith(PART):  # of who was killed while writing it
                path.unlink()
            return None
        try:
            return _read(path, match[1])
        except (ValueError, KeyError, TypeError, MuseTalkStreamError) as exc:
            log.error("a session is lost, as its record can't be read: %s: %r", path, exc)
            path.replace(self._folder / f"session{_DAMAGED}")
            return None

    async def write(self, record: SessionRecord) -> None:
        """Raises StorageFull, OSError."""
        await to_its_end(self._write, record)

    async def rest(self, records: Sequence[SessionRecord]) -> None:
        """No more happens in them until the next server."""
        await to_its_end(self._rest, records)

    def _rest(self, records: Sequence[SessionRecord]) -> None:
        try:
            for record in records:
                self._write(record, epochs_ahead=1)
        except (StorageFull, OSError) as exc:  # what was written before does as well
            log.warning("sessions are kept as they were a while ago: %s", exc)

    def _write(self, record: SessionRecord, epochs_ahead: int = EPOCHS_AHEAD) -> None:
        path = self._path(record.session_id)
        with self.room.taking("no session can be kept; make room and try again"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, json.dumps(_to_json(record, epochs_ahead)).encode(), mode=0o600)
            os.utime(path, (record.used_at, record.used_at))

    async def used(self, session_ids: Sequence[str]) -> None:
        """They are in use now, and the server is there."""
        await to_its_end(self._touch, session_ids, time.time())

    def _touch(self, session_ids: Sequence[str], now: float) -> None:
        for session_id in session_ids:
            with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
                os.utime(self._path(session_id), (now, now))
        with contextlib.suppress(OSError):  # housekeeping finds that, too
            os.utime(self._folder, (now, now))

    async def remove(self, session_ids: Sequence[str]) -> None:
        """They have ended; that they were there already, or never, is no error."""
        await to_its_end(self._remove, session_ids)

    def _remove(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            try:
                self._path(session_id).unlink(missing_ok=True)
            except OSError as exc:  # a disk that is read-only: what else it does is told elsewhere
                log.error(
                    "session %s has ended and may come back: %s", session_id[:8], exc.strerror
                )

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.json"


def _to_json(record: SessionRecord, epochs_ahead: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "avatar_id": record.avatar_id,
        "options": record.options.to_json(),
        "user_id": record.user_id,
        "owner": record.owner,
        "created_at": record.created_at,
        "epoch": record.epoch + epochs_ahead,
        "runs": record.runs,
        "consent": record.consent and record.consent.to_json(),
    }


def _read(path: Path, session_id: str) -> SessionRecord:
    """Raises ValueError, KeyError, TypeError, InvalidParameter where it is damaged."""
    kept = json.loads(path.read_bytes())
    if not isinstance(kept, dict) or kept["format"] != _FORMAT:
        raise ValueError("it is of another format")
    options = dict(kept["options"])
    ignored = tuple(str(name) for name in options.pop("ignored", ()))
    user_id, consent = kept["user_id"], kept["consent"]
    return SessionRecord(
        session_id,
        avatar_id=str(kept["avatar_id"]),
        options=replace(session_options(options), ignored=ignored),
        user_id=None if user_id is None else str(user_id),
        owner=str(kept["owner"]),
        created_at=float(kept["created_at"]),
        used_at=path.stat().st_mtime,
        epoch=int(kept["epoch"]),
        runs=int(kept["runs"]),
        consent=None if consent is None else read_consent(consent),
    )
