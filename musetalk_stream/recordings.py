"""What was recorded by consent: one film per utterance, with the consent beside it, until its days
are over or it is deleted. Without consent nothing gets here."""

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clock import steady_clock
from .consent import Consent, read_consent
from .disk import PART, full_disk_told, require_free, write_whole
from .errors import (
    MuseTalkStreamError,
    NoRecording,
    RecordingNotFound,
    SetupError,
    StorageFull,
)
from .threads import to_its_end

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_DAY_S = 86400.0
# Of another server that shares the place: a film is this long, at most, without what is beside it.
_ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a chunk's file."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance, and what its people have agreed to.

    user_id      whose it is, to delete it by
    recorded_at  seconds since 1970
    """

    recording_id: str
    session_id: str
    request_id: str
    avatar_id: str
    owner: str
    user_id: str | None
    recorded_at: float
    duration_s: float
    mime: str
    consent: Consent


@dataclass(frozen=True, slots=True)
class _Film:
    """What is on the disk of a recording, or will be; the little beside it does not count."""

    recording: Recording
    num_bytes: int


class Recordings:
    """Bounded by their days, by a budget (`recordings_mb`) and by what the disk holds: where there
    is no room (`min_free_mb`), nothing more is recorded, which the log says, and nothing goes to
    make some. Known by heart, some 1 kB each."""

    def __init__(
        self,
        folder: Path,
        *,
        days: float,
        max_bytes: int,
        min_free_bytes: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """days: for which they are kept; 0: nothing is recorded
        max_bytes: of all films together"""
        self._folder = folder
        self._keep_s = days * _DAY_S
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._clock = clock or steady_clock()
        self._known: dict[str, _Film] = {}  # oldest first
        self._coming: dict[_Film, asyncio.Future[None]] = {}  # being written

    def __repr__(self) -> str:
        return f"<Recordings {len(self._known)} in {self._folder}>"

    @property
    def are_allowed(self) -> bool:
        return self._keep_s > 0

    def require_allowed(self) -> None:
        """Raises NoRecording."""
        if not self.are_allowed:
            raise NoRecording("this server records nothing: its operator sets recording_days")

    # --- keeping

    def load(self) -> None:
        """What is there already; what is damaged or left behind goes. Blocking. Raises
        SetupError."""
        try:
            if not self._folder.is_dir():
                return
            found = [_read(path) for path in self._folder.glob("*.json") if _NAME.match(path.stem)]
            known = sorted((f for f in found if f), key=lambda each: each.recording.recorded_at)
            self._known = {each.recording.recording_id: each for each in known}
            self._remove_left_behind()
        except OSError as exc:
            raise SetupError(
                f"recordings can't be kept in {self._folder}: {exc}; choose another place by "
                "--recordings-dir"
            ) from exc

    def _remove_left_behind(self) -> None:
        """By who was killed while it wrote, or deleted."""
        for path in self._folder.iterdir():
            stem = path.name.removesuffix(PART).rpartition(".")[0]
            is_ours = _NAME.match(stem) and stem not in self._known
            if is_ours and time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
                path.unlink(missing_ok=True)

    async def keep(
        self, recording: Recording, pieces: Sequence[Piece], is_agreed: Callable[[], bool]
    ) -> bool:
        """Whether it is kept, as it is if its people still agree once it is written; where it
        can't be, the log says why. Cancelled meanwhile it is not: what is interrupted is not kept.
        The pieces' files must stay meanwhile."""
        film = _Film(recording, sum(piece.size for piece in pieces))
        written = self._coming[film] = asyncio.get_running_loop().create_future()
        try:
            return await self._keep(film, pieces, is_agreed)
        finally:
            del self._coming[film]
            written.set_result(None)

    async def _keep(
        self, film: _Film, pieces: Sequence[Piece], is_agreed: Callable[[], bool]
    ) -> bool:
        kept = False
        try:
            self._require_room()
            await to_its_end(self._write, film.recording, pieces)
            kept = is_agreed()
        except (MuseTalkStreamError, OSError) as exc:
            log.error("utterance %s is not recorded: %s", film.recording.request_id[:8], exc)
        finally:
            if kept:
                self._known[film.recording.recording_id] = film
            else:
                await self._take_back(film)
        return kept

    def _require_room(self) -> None:
        """For what is coming. Raises StorageFull."""
        if sum(each.num_bytes for each in (*self._known.values(), *self._coming)) > self._max_bytes:
            raise StorageFull(
                f"recordings fill their {self._max_bytes // 10**6} MB: delete some that are no "
                "longer needed or raise recordings_mb"
            )

    def _write(self, recording: Recording, pieces: Sequence[Piece]) -> None:
        """Raises StorageFull, StorageFailed, OSError; then it may be there by halves."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_free(self._folder, self._min_free_bytes)
        film = self._film(recording.recording_id)
        partial = _partial(film)
        with full_disk_told():
            _join(pieces, partial)
            partial.replace(film)
            write_whole(_beside(film), json.dumps(_to_json(recording)).encode(), mode=0o600)

    async def _take_back(self, film: _Film) -> None:
        """What was written of it goes. Where it can't, it is listed: so it can be deleted still,
        and its days will be over."""
        recording = film.recording
        try:
            await to_its_end(self._remove, recording.recording_id)
        except OSError as exc:
            log.error("what is kept of utterance %s stays: %s", recording.request_id[:8], exc)
            self._known[recording.recording_id] = film

    def _film(self, recording_id: str) -> Path:
        return self._folder / f"{recording_id}.mp4"

    # --- looking

    def all(self) -> list[Recording]:
        """Newest first."""
        known = [film.recording for film in reversed(self._known.values())]
        return [each for each in known if not self._is_over(each)]

    def get(self, recording_id: str) -> Recording:
        """Raises RecordingNotFound."""
        found = self._known.get(recording_id)
        if found is None or self._is_over(found.recording):
            raise not_found()
        return found.recording

    def film(self, recording: Recording) -> Path:
        return self._film(recording.recording_id)

    def expires_at(self, recording: Recording) -> float:
        """Seconds since 1970."""
        return recording.recorded_at + self._keep_s

    def _is_over(self, recording: Recording) -> bool:
        return self.expires_at(recording) <= self._clock()

    # --- deleting

    async def all_written(self, user_id: str) -> None:
        """What is being recorded of a user has been, and can be deleted."""
        coming = [
            written for film, written in self._coming.items() if film.recording.user_id == user_id
        ]
        if coming:
            await asyncio.wait(coming)

    async def delete(self, recordings: Iterable[Recording]) -> None:
        """Raises OSError; then they are there still."""
        for each in list(recordings):
            await to_its_end(self._remove, each.recording_id)
            self._known.pop(each.recording_id, None)

    def _remove(self, recording_id: str) -> None:
        film = self._film(recording_id)
        # The film first: without it, what is beside it is swept up.
        for path in (film, _partial(film), _beside(film)):
            if path.exists():  # a disk that is read-only refuses also what is not there
                path.unlink(missing_ok=True)

    async def tidy(self) -> None:
        """Delete those whose days are over."""
        known = [film.recording for film in self._known.values()]
        over = [each for each in known if self._is_over(each)]
        try:
            await self.delete(over)
        except OSError as exc:
            log.error("recordings whose days are over can't be deleted: %s", exc)


def not_found() -> RecordingNotFound:
    return RecordingNotFound("there is no such recording, or its days are over")


def _beside(film: Path) -> Path:
    return film.with_suffix(".json")


def _partial(film: Path) -> Path:
    return film.with_name(film.name + PART)


def _join(pieces: Sequence[Piece], path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as film:
        for piece in pieces:
            with piece.path.open("rb") as chunk:
                chunk.seek(piece.start)
                film.write(chunk.read(piece.size))


def _to_json(recording: Recording) -> dict[str, Any]:
    names = ("session_id", "request_id", "avatar_id", "owner", "user_id", "recorded_at",
             "duration_s", "mime")  # fmt: skip
    document: dict[str, Any] = {name: getattr(recording, name) for name in names}
    return {**document, "consent": recording.consent.to_json()}


def _read(path: Path) -> _Film | None:
    """None, and gone, where what is beside a film can't be read, or the film is not there: nobody
    knows who has agreed to what."""
    film = path.with_suffix(".mp4")
    try:
        kept = json.loads(path.read_bytes())
        user_id = kept["user_id"]
        if not film.is_file():
            raise ValueError("there is no film")
        recording = Recording(
            recording_id=path.stem,
            session_id=str(kept["session_id"]),
            request_id=str(kept["request_id"]),
            avatar_id=str(kept["avatar_id"]),
            owner=str(kept["owner"]),
            user_id=None if user_id is None else str(user_id),
            recorded_at=float(kept["recorded_at"]),
            duration_s=float(kept["duration_s"]),
            mime=str(kept["mime"]),
            consent=read_consent(kept["consent"]),
        )
        return _Film(recording, film.stat().st_size)
    except (ValueError, KeyError, TypeError, MuseTalkStreamError) as exc:
        log.error("removing recording %s: %r", path.stem, exc)
        for each in (film, path):
            with contextlib.suppress(OSError):
                each.unlink(missing_ok=True)
        return None
