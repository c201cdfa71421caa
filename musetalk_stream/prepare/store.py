"""The folder of a server's avatars: shipped ones come in, what killed processes left goes."""

import logging
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from ..avatar import find_avatars
from ..config import EncoderConfig
from ..errors import SetupError
from .derive import derive
from .work import sweep

log = logging.getLogger(__name__)

_ABANDONED_AFTER_S = 3600.0
_SHIPPED = ("avatar.json", "landmarks.npy", "source.mp4")


def prepare_store(
    store: Path,
    shipped: Mapping[str, Path],
    settings: EncoderConfig,
    needed: Collection[str] = (),
) -> dict[str, Path]:
    """Make every avatar of a store ready to open; the folders by id.

    Shipped avatars that the store lacks, or has in another version, are copied into it. SetupError
    names a shipped avatar, or one of the `needed`, that can't be made ready and why; others are
    left out.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        sweep(store)
        for avatar_id, folder in shipped.items():
            _install(folder, store / avatar_id)
        needed = {*needed, *shipped}
        avatars = find_avatars(store)
        return {
            avatar_id: folder
            for avatar_id, folder in avatars.items()
            if _make_ready(folder, settings, needed=avatar_id in needed)
        }
    except OSError as exc:
        raise SetupError(
            f"avatars can't be prepared in {store}: {exc}; choose another place by --avatars-dir"
        ) from exc


def _make_ready(folder: Path, settings: EncoderConfig, *, needed: bool) -> bool:
    """Whether it is; one user's broken avatar must not keep all others from being shown."""
    try:
        _remove_abandoned(folder)
        derive(folder, settings)
    except (SetupError, OSError) as exc:
        if needed:
            raise
        log.error("avatar %s is left out: %s", folder.name, exc)
        return False
    return True


def _remove_abandoned(folder: Path) -> None:
    """What a server that was killed while preparing has left; a living one writes every few
    seconds, be it here or, in a `.part`, a renderer."""
    for making in (*folder.glob("derived.*"), *folder.glob("derived/*.part")):
        with suppress(FileNotFoundError):  # another server sweeps, too, or has just finished
            if time.time() - making.stat().st_mtime < _ABANDONED_AFTER_S:
                continue
            if making.is_dir():
                shutil.rmtree(making, ignore_errors=True)
            else:
                making.unlink()


def _install(shipped: Path, folder: Path) -> None:
    if folder.resolve() == shipped.resolve():
        return
    name = "avatar.json"
    if (folder / name).is_file() and (folder / name).read_text() == (shipped / name).read_text():
        return
    folder.mkdir(exist_ok=True)
    for name in reversed(_SHIPPED):  # the manifest last: it says that the rest is there
        shutil.copyfile(shipped / name, folder / name)
    log.info("installed avatar %s in %s", folder.name, folder)
