"""The folder in which one avatar is made, until it is renamed to its place or thrown away."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import AvatarExists
from .request import Request, read_request

log = logging.getLogger(__name__)

# Not a possible id, so nobody takes it for an avatar; in the store itself, so that a rename does.
PREPARING = ".preparing"


class Work:
    """`{store}/.preparing/{avatar_id}/`: the request, the upload, what has been made so far.

    Each step leaves its result by renaming, so a process that was killed left whole results or
    none, and the next one goes on after them.
    """

    def __init__(self, store: Path, request: Request) -> None:
        self.store = store
        self.request = request
        self.folder = store / PREPARING / request.avatar_id
        self.upload = self.folder / "upload"
        self.still = self.folder / "still.png"  # a picture, upright and scaled
        self.look = self.folder / "look.json"  # the face that was found, for approval
        self.picture = self.folder / "look.jpg"  # the picture in which it was
        self.approved = self.folder / "approved"  # there if somebody has said yes
        # Named by the id, as an avatar's folder must be.
        self.avatar = self.folder / request.avatar_id

    def __repr__(self) -> str:
        return f"<Work {self.request.avatar_id}>"

    def begin(self) -> None:
        """Make the folder. Raises AvatarExists if there is such an avatar, or one in the making."""
        if (self.store / self.request.avatar_id).exists():
            raise AvatarExists(
                f"there is an avatar {self.request.avatar_id} already: "
                "choose another id, or delete that one first"
            )
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir()
        except FileExistsError:
            raise AvatarExists(
                f"an avatar {self.request.avatar_id} is being made already: "
                "choose another id, or wait for that one"
            ) from None
        self.avatar.mkdir()
        self.keep(self.request)

    def keep(self, request: Request) -> None:
        """Write down what is asked for, as it is now."""
        self.request = request
        making = self.folder / "request.json.part"
        making.write_text(request.to_json())
        making.rename(self.folder / "request.json")

    @contextmanager
    def held(self) -> Iterator[None]:
        """No two processes work in a folder. The kernel lets go for who is killed. Raises
        AvatarExists."""
        with (self.folder / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AvatarExists(
                    f"avatar {self.request.avatar_id} is being made by another process"
                ) from None
            yield

    def finish(self) -> Path:
        """Put the avatar into its place, at once and whole. Raises AvatarExists."""
        place = self.store / self.request.avatar_id
        try:
            self.avatar.rename(place)
        except OSError as exc:
            if not place.exists():
                raise
            raise AvatarExists(f"there is an avatar {place.name} already") from exc
        self.discard()
        return place

    def discard(self) -> None:
        """Remove everything of this preparation."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # if it was the last


def unfinished(store: Path) -> list[Work]:
    """What was being made when processes ended, oldest first. Removes what can't go on."""
    found = []
    for folder in (store / PREPARING).glob("*/"):
        try:
            path = folder / "request.json"
            work = Work(store, read_request(path.read_text()))
            if work.folder != folder or not work.upload.is_file() or not work.avatar.is_dir():
                raise ValueError("it is not whole")
            found.append((path.stat().st_mtime, work))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            log.info("removing %s: %s", folder, exc)
            shutil.rmtree(folder, ignore_errors=True)
    return [work for _, work in sorted(found, key=lambda each: each[0])]
