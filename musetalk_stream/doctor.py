"""What this machine has, what it lacks, and how to get it."""

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .config import Config, bundled

_LIBRARIES = ("aiohttp", "av", "cv2", "jinja2", "numpy")
_LOW_SPACE_BYTES = 2 * 10**9
_NO_SPACE_BYTES = 10**8  # less than one prepared avatar


class Verdict(Enum):
    OK = "ok"
    OPTIONAL = "optional"  # something is missing that only some features need
    MISSING = "MISSING"

    @property
    def exit_status(self) -> int:
        return int(self is Verdict.MISSING)


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str
    advice: str = ""


def examine(config: Config) -> list[Finding]:
    """Look at everything that serving needs, and change nothing."""
    return [
        Finding(Verdict.OK, f"Python {platform.python_version()}"),
        *_libraries(),
        *_encoders(),
        _torch(),
        *_avatars(config),
        _folder("avatars", config.storage.avatars_dir, "--avatars-dir"),
        _folder("chunks", config.storage.chunks_dir, "--chunks-dir"),
        Finding(
            Verdict.OK, f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
        ),
    ]


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            module = importlib.import_module(name)
        except ImportError as exc:
            yield Finding(Verdict.MISSING, f"{name}: {exc}", "pip install -e . in the checkout")
        else:
            yield Finding(Verdict.OK, f"{name} {getattr(module, '__version__', '')}".strip())


def _encoders() -> Iterator[Finding]:
    try:
        import av.codec
    except ImportError:
        return  # said already, with the libraries
    for name in ("libx264", "aac"):
        if name in av.codec.codecs_available:
            yield Finding(Verdict.OK, f"encoder {name}")
        else:
            yield Finding(
                Verdict.MISSING,
                f"encoder {name}",
                "this PyAV was built without it: pip install --force-reinstall 'av<19'",
            )


def _torch() -> Finding:
    try:
        return Finding(Verdict.OK, f"torch {importlib.metadata.version('torch')}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            Verdict.OPTIONAL, "torch is not installed (the built-in renderer does not need it)"
        )


def _avatars(config: Config) -> Iterator[Finding]:
    try:
        from .avatar import find_avatars  # needs numpy, which may be what is missing
    except ImportError:
        return  # said already, with the libraries
    known = {*find_avatars(bundled("avatars")), *find_avatars(config.storage.avatars_dir)}
    if not known:
        yield Finding(Verdict.MISSING, "no avatar", "reinstall: the demo avatar ships with us")
        return
    yield Finding(Verdict.OK, f"avatars: {', '.join(sorted(known))}")
    aliases = config.session.aliases()
    for name, avatar_id in {"--avatar": config.session.avatar, **aliases}.items():
        if avatar_id not in known and avatar_id not in aliases:
            advice = f"choose one of {', '.join(sorted(known))} for {name}"
            yield Finding(Verdict.MISSING, f"avatar {avatar_id}", advice)


def _folder(name: str, folder: Path, flag: str) -> Finding:
    nearest = next(path for path in (folder, *folder.parents) if _exists(path))
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        advice = f"choose another folder by {flag}"
        return Finding(Verdict.MISSING, f"{name} folder {folder} can't be written", advice)
    free = shutil.disk_usage(nearest).free
    what = f"{name} folder {folder}, {free / 1e9:.1f} GB free"
    if free < _LOW_SPACE_BYTES:
        verdict = Verdict.MISSING if free < _NO_SPACE_BYTES else Verdict.OPTIONAL
        return Finding(verdict, what, f"make room, or choose another folder by {flag}")
    return Finding(Verdict.OK, what)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # inside a folder that we may not enter: its parent will tell
        return False
