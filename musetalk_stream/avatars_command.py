"""`musetalk-stream avatars`: which avatars there are, and how to be rid of one."""

from collections.abc import Iterator
from pathlib import Path

from .avatar import SHIPPED, Manifest, find_avatars, is_avatar_id, read_manifest, shipped_avatars
from .config import Config
from .errors import AvatarExists, AvatarNotFound, AvatarProtected, SetupError
from .prepare.request import Request
from .prepare.work import PREPARING, Work, throw_away

_WIDEST = 32  # columns of text; more of it is cut off
_HEAD = ("id", "size", "frames", "seconds", "disk MB", "name", "made from")


def listed(config: Config) -> Iterator[str]:
    """A table of the avatars that a server with this configuration has."""
    rows: list[tuple[str, ...]] = [_HEAD]
    broken = []
    for folder in _folders(config).values():
        try:
            rows.append(_row(folder, read_manifest(folder)))
        except SetupError as exc:
            broken.append(str(exc))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from broken
    for work in _unfinished(config.storage.avatars_dir):
        yield f"unfinished: {work.request.avatar_id} ({_who_goes_on(work)})"


def _who_goes_on(work: Work) -> str:
    if work.is_held_by_others():
        return "is being made now"
    if work.request.job_id:
        return "a server's job, which goes on when one is started"
    return f"of {work.request.file_name}; musetalk-stream prepare goes on, --delete removes it"


def _unfinished(store: Path) -> Iterator[Work]:
    """What is, or was, being made, whoever began it."""
    for folder in sorted((store / PREPARING).glob("*/")):
        if is_avatar_id(folder.name):
            yield _work_of(store, folder.name)


def _work_of(store: Path, avatar_id: str) -> Work:
    """The preparation of that id, or an empty one."""
    nothing = Request(avatar_id, name="", file_name="a file", job_id="")
    kept = Work(store, nothing).kept()
    return Work(store, kept if kept and kept.avatar_id == avatar_id else nothing)


def delete(config: Config, avatar_id: str) -> str:
    """Remove an avatar, and what is left of making one of that id. A server that shows it goes on
    until nobody looks. Raises AvatarNotFound, AvatarProtected, AvatarExists if it is being made, or
    SetupError if it can't be removed."""
    try:
        return _delete(config, avatar_id)
    except OSError as exc:
        raise SetupError(f"avatar {avatar_id[:64]!r} can't be deleted: {exc}") from exc


def _delete(config: Config, avatar_id: str) -> str:
    default = config.session.aliases().get(config.session.avatar, config.session.avatar)
    if avatar_id in {default, *SHIPPED}:
        raise AvatarProtected(f"avatar {avatar_id} is the default one or ships with us: it stays")
    store = config.storage.avatars_dir
    known = ", ".join(_folders(config)) or "none"
    absent = AvatarNotFound(f"there is no avatar {avatar_id[:64]!r} here; there is: {known}")
    if not is_avatar_id(avatar_id):
        raise absent
    folder, work = store / avatar_id, _work_of(store, avatar_id)
    if not (folder.is_dir() or work.folder.is_dir()):
        raise absent
    if work.is_held_by_others():
        raise AvatarExists(f"avatar {avatar_id} is being made by another process: end that first")
    work.discard()
    if not folder.is_dir():
        return f"the unfinished avatar {avatar_id} is deleted"
    throw_away(folder)
    return f"avatar {avatar_id} is deleted"


def _folders(config: Config) -> dict[str, Path]:
    """By id: those that ship, until a server has copied them, and those of the store."""
    found = shipped_avatars() | find_avatars(config.storage.avatars_dir)
    return dict(sorted(found.items()))


def _row(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return (
        manifest.id,
        f"{manifest.width}x{manifest.height}",
        str(manifest.num_frames),
        f"{float(manifest.cycle_length / manifest.fps):.1f}",
        f"{num_bytes / 1e6:.1f}",
        _short(manifest.name),
        _short(manifest.original_name or manifest.provenance),
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
