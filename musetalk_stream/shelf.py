"""Which avatars are there, and which of them are open?"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

from .avatar import Avatar, find_avatars, is_avatar_id, open_avatar
from .errors import AvatarNotFound, AvatarProtected, SetupError

log = logging.getLogger(__name__)


class AvatarShelf:
    """The avatars in a store by id: seen as they come and go, opened in milliseconds on demand.

    An opened avatar is shared while anybody holds it: nothing is ever mapped twice. Those that
    nobody holds stay open, too, as long as all that are open take at most `cache_bytes`; beyond
    that the one that was asked for longest ago is closed first.
    """

    def __init__(
        self,
        store: Path,
        aliases: dict[str, str] | None = None,
        *,
        cache_bytes: int = 1 << 32,
        protected: frozenset[str] = frozenset(),
    ) -> None:
        """
        aliases    ids by other names under which clients may ask for them
        protected  ids that can't be deleted
        """
        self._store = store
        self._aliases = aliases or {}
        self._cache_bytes = cache_bytes
        self._protected = protected
        self._open: WeakValueDictionary[str, Avatar] = WeakValueDictionary()
        self._versions: dict[str, _Version] = {}  # that have been opened, or tried to
        self._kept: OrderedDict[str, Avatar] = OrderedDict()  # asked for longest ago first

    def __repr__(self) -> str:
        return f"<AvatarShelf {self._store}, {len(self._open)} open>"

    def ids(self) -> list[str]:
        """Of the avatars that are ready."""
        return [name for name, folder in find_avatars(self._store).items() if _version(folder)]

    def all(self) -> Iterator[Avatar]:
        """Every avatar that can be opened, by id; asking for all keeps none of them open."""
        there = self.ids()
        for gone in self._versions.keys() - there:
            self.forget(gone)
        for avatar_id in there:
            if avatar := self._opened(avatar_id):
                yield avatar

    def resolve(self, name: str) -> str:
        """The id that is meant by an id or another name."""
        return name if self._is_ready(name) else self._aliases.get(name, name)

    def is_alias(self, name: str) -> bool:
        return name in self._aliases

    def is_protected(self, avatar_id: str) -> bool:
        return avatar_id in self._protected

    def get(self, name: str) -> Avatar:
        """An avatar by id or another name. Raises AvatarNotFound, naming those that there are."""
        avatar_id = self.resolve(name)
        self.require(avatar_id)
        avatar = self._opened(avatar_id)
        if avatar is None:
            raise AvatarNotFound(f"avatar {avatar_id} can't be opened; the server's log says why")
        self._kept[avatar_id] = avatar
        self._kept.move_to_end(avatar_id)
        self._close_unused()
        return avatar

    def opened(self, avatar_id: str) -> Avatar | None:
        """The avatar that is open under an id, if one is and nothing has taken its place."""
        version = _version(self._store / avatar_id)
        if version is None or version != self._versions.get(avatar_id):
            return None
        return self._open.get(avatar_id)

    def require(self, avatar_id: str) -> None:
        """Raises AvatarNotFound."""
        if not self._is_ready(avatar_id):
            known = ", ".join(self.ids()) or "none"
            raise AvatarNotFound(f"there is no avatar {avatar_id[:64]!r} here; there is: {known}")

    def deletable(self, avatar_id: str) -> Path:
        """The folder of an avatar that may be deleted, be it ready to be opened or not. Raises
        AvatarNotFound or AvatarProtected."""
        if not (is_avatar_id(avatar_id) and (self._store / avatar_id / "avatar.json").is_file()):
            self.require(avatar_id)
        if self.is_protected(avatar_id):
            raise AvatarProtected(
                f"avatar {avatar_id} is the default one or ships with the server: it stays"
            )
        return self._store / avatar_id

    def _is_ready(self, avatar_id: str) -> bool:
        return is_avatar_id(avatar_id) and _version(self._store / avatar_id) is not None

    def _opened(self, avatar_id: str) -> Avatar | None:
        """The avatar as it is on the disk now; None if it can't be opened, which is logged once."""
        folder = self._store / avatar_id
        version = _version(folder)
        if self._versions.get(avatar_id) != version:  # new, or made anew under the same id
            self.forget(avatar_id)
        if version is None:
            return None
        if avatar := self._open.get(avatar_id):
            return avatar
        is_known = avatar_id in self._versions
        self._versions[avatar_id] = version
        try:
            avatar = open_avatar(folder)
        except SetupError as exc:
            log.log(logging.DEBUG if is_known else logging.ERROR, "%s", exc)
            return None
        self._open[avatar_id] = avatar
        return avatar

    def forget(self, avatar_id: str) -> None:
        """Let go of an avatar that has been deleted: an open one keeps its place on the disk."""
        self._versions.pop(avatar_id, None)
        self._open.pop(avatar_id, None)
        self._kept.pop(avatar_id, None)

    def _close_unused(self) -> None:
        """Let go of the oldest until the rest fits. Those in use stay open by whoever uses them."""
        for avatar_id in list(self._kept)[:-1]:
            if sum(avatar.frames.nbytes for avatar in self._open.values()) <= self._cache_bytes:
                return
            del self._kept[avatar_id]


_Version = tuple[int, int]  # i-node and time of change of what says what an avatar is


def _version(folder: Path) -> _Version | None:
    """None if the avatar is not ready to be opened."""
    try:
        (folder / "derived" / "stamp.json").stat()
        found = (folder / "avatar.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
