"""The folder in which one avatar is made, until it is renamed to its place or thrown away."""

import errno
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import AvatarExists, PreparationFailed, StorageFull
from .request import Request, read_request

log = logging.getLogger(__name__)

# Not possible ids, so nobody takes them for avatars; in the store itself, so that a rename does.
PREPARING = ".preparing"
DELETED = ".deleted-"

# Beside works: the name of a folder for an upload that arrives begins so.
RECEIVING = ".receiving-"
_ABANDONED_AFTER_S = 7 * 24 * 3600.0
_LOCK_TRIES, _LOCK_AGAIN_S = 5, 0.01  # who only looks whether it is held has it for a moment
_LOOK_EVERY_S = 0.1


class Work:
    """`{store}/.preparing/{avatar_id}/`: the request, the upload, what has been made so far.

    Each step leaves its result by renaming, so a process that was killed left whole results or
    none, and the next one goes on after them.
    """

    def __init__(self, store: Path, request: Request) -> None:
        self.store = store
        self.request = request
        self.place = store / request.avatar_id  # of the finished avatar
        self.folder = store / PREPARING / request.avatar_id
        # Beside it, so that it is held while it is made and removed. No possible id, either.
        self.lock = _lock_of(self.folder)
        # None of these names is a possible id: the avatar's own folder stands among them.
        self.upload = self.folder / "upload.bin"
        self.idle_film = self.folder / "idle.bin"  # of the person at rest, if one was uploaded, too
        self.idle_frames = self.folder / "idle_frames.txt"  # how many pictures that has
        self.settings = self.folder / "settings.json"  # those that were in force when it began
        self.plan = self.folder / "plan.json"  # what the upload is, and will be
        self.still = self.folder / "still.png"  # a picture, upright and scaled
        self.look = self.folder / "look.json"  # the face that was found, for approval
        self.picture = self.folder / "look.jpg"  # the picture in which it was
        self.approved = self.folder / "approved.flag"  # there if somebody has said yes
        self.followed = self.folder / "followed.npy"  # the face in each picture, before smoothing
        # Named by the id, as an avatar's folder must be.
        self.avatar = self.folder / request.avatar_id
        self.manifest = self.avatar / "avatar.json"
        self.source = self.avatar / "source.mp4"
        self.planes = self.avatar / "derived" / "frames.i420"
        self.landmarks = self.avatar / "landmarks.npy"
        self._holding = False

    def __repr__(self) -> str:
        return f"<Work {self.request.avatar_id}>"

    @property
    def num_idle_frames(self) -> int:
        """Pictures of the film at rest, which are the first of all; 0 without one."""
        return int(self.idle_frames.read_text()) if self.idle_frames.exists() else 0

    def begin(self, *, replace: bool = False) -> None:
        """Make the folder. Raises AvatarExists if there is such an avatar, unless it is to be
        replaced, or one in the making."""
        if self.place.exists() and not replace:
            raise AvatarExists(
                f"there is an avatar {self.request.avatar_id} already: "
                "choose another id, or delete that one first"
            )
        with self._held_anyway():
            try:
                self.folder.mkdir()
            except FileExistsError:
                raise AvatarExists(self.why_it_is_there()) from None
            self.avatar.mkdir()
            self.keep(self.request)

    def why_it_is_there(self) -> str:
        """For who wants to begin and finds the folder there."""
        avatar_id, kept = self.request.avatar_id, self.kept()
        if kept and not kept.job_id:
            return (
                f"an avatar {avatar_id} was begun by `musetalk-stream prepare` and is not "
                "finished: choose another id, go on by the same command, or remove it by "
                f"`musetalk-stream avatars --delete {avatar_id}`"
            )
        return (
            f"an avatar {avatar_id} is being made already: choose another id, or wait for that one"
        )

    def kept(self) -> Request | None:
        """What is asked for in the folder that is there; None if that can't be read."""
        try:
            return read_request((self.folder / "request.json").read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, request: Request) -> None:
        """Write down what is asked for, as it is now."""
        self.request = request
        making = self.folder / "request.json.part"
        making.write_text(request.to_json())
        making.rename(self.folder / "request.json")

    @contextmanager
    def held(self, patience_s: float = 0.0) -> Iterator[None]:
        """No two processes work in a folder, nor begin or remove it at once. The kernel lets go for
        who is killed. Raises AvatarExists if somebody else still does after `patience_s`."""
        deadline_s = time.monotonic() + patience_s
        while (lock := _locked(self.lock)) is None and time.monotonic() < deadline_s:
            time.sleep(_LOOK_EVERY_S)
        if lock is None:
            raise AvatarExists(f"avatar {self.request.avatar_id} is being made by another process")
        with lock:
            self._holding = True
            try:
                yield
            finally:
                self._holding = False
                _remove_lock(self.lock)

    @contextmanager
    def _held_anyway(self) -> Iterator[None]:
        """By this process already, or now."""
        if self._holding:
            yield
            return
        with self.held():
            yield

    def is_held_by_others(self) -> bool:
        return not self._holding and _is_held(self.folder)

    def finish(self, *, replace: bool = False) -> Path:
        """Put the avatar into its place, at once and whole. Raises AvatarExists.

        One that is replaced is only removed when the new one is there.
        """
        old = _name_of_deleted(self.place)
        if replace:
            with suppress(FileNotFoundError):
                self.place.rename(old)
        try:
            self.avatar.rename(self.place)
        except OSError as exc:
            with suppress(OSError):  # there was none, or somebody else's has come meanwhile
                old.rename(self.place)
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise AvatarExists(f"there is an avatar {self.place.name} already") from exc
        shutil.rmtree(old, ignore_errors=True)
        self.discard()
        return self.place

    def discard(self) -> None:
        """Remove everything of this preparation, unless another process is at it."""
        if not self.folder.exists():
            return
        try:
            with self._held_anyway(), suppress(FileNotFoundError):
                throw_away(self.folder)
        except AvatarExists:
            log.warning("%r is left alone: another process is at it", self)


@contextmanager
def disk_errors(work: Work) -> Iterator[None]:
    """What the disk does to us, in the words of those who can do something about it."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"the disk is full: make room in {work.store} and try again") from exc
        raise PreparationFailed(
            f"avatar {work.request.avatar_id} can't be made in {work.store}: {exc}"
        ) from exc


def open_work(folder: Path) -> Work:
    """The work that a folder is of. Raises PreparationFailed."""
    try:
        work = Work(folder.parent.parent, read_request((folder / "request.json").read_text()))
        if work.folder != folder or not work.avatar.is_dir():
            raise ValueError("it is not whole")
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise PreparationFailed(f"{folder} is nothing to go on with: {exc!r}") from exc
    return work


def unfinished(store: Path) -> list[Work]:
    """The jobs that were being done when processes ended, oldest first. Removes what can't go on.

    Leaves alone what another process works on, and what was begun by hand (it has no job): whoever
    began that goes on with it.
    """
    found = []
    for folder in (store / PREPARING).glob("*/"):
        if _is_held(folder):
            continue
        try:
            work = open_work(folder)
            if not work.request.job_id:
                continue
            if not work.upload.is_file():
                raise PreparationFailed(f"{work.upload} is missing")
            found.append(((folder / "request.json").stat().st_mtime, work))
        except (OSError, PreparationFailed) as exc:
            log.info("removing %s: %s", folder, exc)
            shutil.rmtree(folder, ignore_errors=True)
    return [work for _, work in sorted(found, key=lambda each: each[0])]


def anybody_at_work(store: Path) -> bool:
    """Whether some process works in a folder of the store."""
    return any(_is_held(folder) for folder in (store / PREPARING).glob("*/"))


def throw_away(folder: Path) -> None:
    """Remove a folder of a store, all at once for everybody else: renamed first, and what a killed
    process leaves of it is swept up by the next server. Raises FileNotFoundError."""
    gone = _name_of_deleted(folder)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _name_of_deleted(folder: Path) -> Path:
    store = folder.parent if folder.parent.name != PREPARING else folder.parent.parent
    return store / f"{DELETED}{folder.name}-{uuid.uuid4().hex[:8]}"


def sweep(store: Path) -> None:
    """Remove what was being deleted, and the preparations that nobody has gone on with for long."""
    for gone in store.glob(f"{DELETED}*"):
        shutil.rmtree(gone, ignore_errors=True)
    for folder in (store / PREPARING).glob("*/"):
        with suppress(FileNotFoundError):  # who else sweeps, or goes on with it
            age_s = time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if age_s > _ABANDONED_AFTER_S and (held := _locked(_lock_of(folder))):
                log.info("removing %s: nobody has gone on with it", folder)
                with held:
                    throw_away(folder)
                    _remove_lock(_lock_of(folder))
    for lock in (store / PREPARING).glob("*.lock"):
        if not lock.with_suffix("").exists() and (held := _locked(lock)):  # of who was killed
            with held:
                _remove_lock(lock)


def forget_uploads(store: Path) -> None:
    """Remove what a server that was killed had of uploads that were still arriving. Raises
    OSError; for who is the only server of a store."""
    for folder in (store / PREPARING).glob(f"{RECEIVING}*/"):
        shutil.rmtree(folder)
        log.info("removed %s: its sender was cut off", folder)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _is_held(folder: Path) -> bool:
    """Whether a process works in it."""
    try:
        with _lock_of(folder).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _locked(path: Path) -> IO[bytes] | None:
    """The file, which is this process's until it is closed; None if it is another's."""
    for _ in range(_LOCK_TRIES):
        with suppress(FileNotFoundError, FileExistsError):  # the folder goes with the last in it
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("wb")
            if _is_ours(lock, path):
                return lock
            lock.close()
        time.sleep(_LOCK_AGAIN_S)
    return None


def _is_ours(lock: IO[bytes], path: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it may have removed it; the next one is another file.
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove_lock(path: Path) -> None:
    """By who holds it; and the folder, if it was the last in it."""
    with suppress(FileNotFoundError):
        path.unlink()
    with suppress(OSError):
        path.parent.rmdir()
