"""`musetalk-stream avatars`: which avatars there are, and how to be rid of one."""

from collections.abc import Iterator
from pathlib import Path

from .avatar import SHIPPED, Manifest, find_avatars, is_avatar_id, read_manifest, shipped_avatars
from .config import Config
from .errors import AvatarNotFound, AvatarProtected, SetupError
from .prepare.work import throw_away

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


def delete(config: Config, avatar_id: str) -> str:
    """Remove an avatar; a server that shows it goes on until nobody looks. Raises AvatarNotFound or
    AvatarProtected."""
    default = config.session.aliases().get(config.session.avatar, config.session.avatar)
    if avatar_id in {default, *SHIPPED}:
        raise AvatarProtected(f"avatar {avatar_id} is the default one or ships with us: it stays")
    folder = config.storage.avatars_dir / avatar_id
    if not is_avatar_id(avatar_id) or not folder.is_dir():
        known = ", ".join(_folders(config)) or "none"
        raise AvatarNotFound(f"there is no avatar {avatar_id[:64]!r} here; there is: {known}")
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
        manifest.name,
        manifest.original_name or manifest.provenance,
    )
