"""What this machine has, what it lacks, and how to get it."""

import importlib
import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .config import Config, MuseTalkConfig
from .errors import FaceFinderMissing, NotReady, SetupError, WeightsError
from .exposure import require_closed_or_local
from .keys import read_keys
from .tracing import open_tracing
from .web.tls import certificate
from .weights import command, gigabytes, missing

_LIBRARIES = ("aiohttp", "av", "cv2", "jinja2", "numpy")
# Packages that all bring the module cv2, into the same folder.
_OPENCV = (
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-contrib-python",
)
_WITHOUT_WINDOWS = (
    "pip uninstall -y opencv-contrib-python opencv-python, then "
    "pip install --force-reinstall --no-deps opencv-python-headless; scripts/install does that"
)
_DESCRIPTORS_PER_CONNECTION = 3  # its own, and of the files and processes that work for it
_LOW_SPACE_BYTES = 2 * 10**9
_FEW = 5  # avatars that are named; a store may hold hundreds
_STARTS_WITHIN_S = 20.0
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
        *_decoding(config),
        *_opencv(),
        *_musetalk(config),
        *_avatars(config),
        *_preparation(config),
        _folder("avatars", config.storage.avatars_dir, "--avatars-dir"),
        _folder("chunks", config.storage.chunks_dir, "--chunks-dir"),
        _folder("state", config.storage.state_dir, "--state-dir"),
        *_asked_for(config),
        _exposure(config),
        _descriptors(config.http.max_connections),
        Finding(
            Verdict.OK, f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
        ),
    ]


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            module = importlib.import_module(name)
        except ImportError as exc:
            advice = "pip install -e . in the checkout"
            if "libGL" in str(exc):  # it opens windows, which we never do
                advice = _WITHOUT_WINDOWS
            yield Finding(Verdict.MISSING, f"{name}: {exc}", advice)
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


def _decoding(config: Config) -> Iterator[Finding]:
    """By starting what a server would."""
    try:
        from .decoding import DecodeProcesses
    except ImportError:
        return  # said already, with the libraries
    limits = config.upload
    processes = DecodeProcesses(memory_mb=limits.decode_memory_mb, cpu_s=limits.decode_cpu_s)
    what = "sound files are decoded in processes of their own"
    try:
        with processes.running():
            processes.wait_until_ready(_STARTS_WITHIN_S)
        yield Finding(Verdict.OK, what)
    except NotReady:
        advice = "allow this user more processes and memory; what was said above tells more"
        yield Finding(Verdict.MISSING, f"{what}, which can't be started", advice)


def _opencv() -> Iterator[Finding]:
    """We take the headless package and mediapipe takes another: of equal versions they agree."""
    found = {}
    for name in _OPENCV:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    if len(set(found.values())) > 1:
        named = ", ".join(f"{name} {number}" for name, number in found.items())
        first, *others = found
        yield Finding(
            Verdict.OPTIONAL,
            f"OpenCV is there in several versions, each in part: {named}",
            f"pip install --force-reinstall --no-deps {first}=={found[others[-1]]}",
        )


def _preparation(config: Config) -> Iterator[Finding]:
    """What only making new avatars needs."""
    try:
        from .prepare.faces import make_finder
        from .prepare.ffmpeg_process import ffmpeg_binary
    except ImportError:
        return  # said already, with the libraries
    choice = config.prepare.face_finder
    try:
        finder = make_finder(choice, config.musetalk.models_dir)
    except (FaceFinderMissing, WeightsError) as exc:
        lacking = Verdict.OPTIONAL if choice == "auto" else Verdict.MISSING
        yield Finding(lacking, f"only new avatars need it: {exc}")
    else:
        yield Finding(Verdict.OK, f"faces are found by {finder.name}")
        finder.close()
    try:
        binary = ffmpeg_binary()
        origin = "bundled" if "imageio_ffmpeg" in binary else "installed"
        yield Finding(Verdict.OK, f"ffmpeg, {origin}: {binary}")
    except SetupError as exc:
        yield Finding(Verdict.OPTIONAL, f"only new avatars need it: {exc}")


def _musetalk(config: Config) -> Iterator[Finding]:
    """What only the MuseTalk renderer needs."""
    chosen = config.engine.renderer == "musetalk"
    lacking = Verdict.MISSING if chosen else Verdict.OPTIONAL
    yield from _extras(lacking)
    yield from _device(config.musetalk.device, lacking)
    yield _weights(config.musetalk, lacking)


def _extras(lacking: Verdict) -> Iterator[Finding]:
    for name in ("torch", "safetensors"):
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as exc:  # OSError: one of its libraries can't be loaded
            advice = "pip install -e .[musetalk] in the checkout"
            yield Finding(lacking, f"{name} (only MuseTalk needs it): {exc}", advice)
        else:
            yield Finding(Verdict.OK, f"{name} {module.__version__}")


def _device(device: str, lacking: Verdict) -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return  # said already, with the libraries
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(num_gpus):
        gpu = torch.cuda.get_device_properties(index)
        yield Finding(Verdict.OK, f"cuda:{index} is {gpu.name}, {gpu.total_memory / 1e9:.0f} GB")
    if device != "cpu" and int(device.partition(":")[2] or 0) >= num_gpus:
        yield Finding(
            lacking,
            f"no GPU {device} that torch can use (only MuseTalk needs it)",
            "choose another by --device; --device cpu works without one, slower than real time",
        )


def _weights(config: MuseTalkConfig, lacking: Verdict) -> Finding:
    what = f"MuseTalk {config.musetalk_version} weights in {config.models_dir}"
    try:
        absent = missing(config.models_dir, config.musetalk_version)
    except WeightsError as exc:
        return Finding(lacking, f"{what}: {exc}", "choose another folder by --models-dir")
    if not absent:
        return Finding(Verdict.OK, what)
    return Finding(
        lacking,
        f"{what}: {', '.join(file.path for file in absent)} missing ({gigabytes(absent)})",
        command(config.models_dir, config.musetalk_version),
    )


def _avatars(config: Config) -> Iterator[Finding]:
    try:
        from .avatar import (  # needs numpy, which may be what is missing
            find_avatars,
            shipped_avatars,
        )
    except ImportError:
        return  # said already, with the libraries
    known = {*shipped_avatars(), *find_avatars(config.storage.avatars_dir)}
    if not known:
        yield Finding(Verdict.MISSING, "no avatar", "reinstall: the demo avatar ships with us")
        return
    first = sorted(known)[:_FEW]
    more = f" and {len(known) - len(first)} more" if len(known) > len(first) else ""
    yield Finding(Verdict.OK, f"avatars: {', '.join(first)}{more}")
    aliases = config.session.aliases()
    for name, avatar_id in {"--avatar": config.session.avatar, **aliases}.items():
        if avatar_id not in known and avatar_id not in aliases:
            advice = f"choose one of {', '.join(sorted(known))} for {name}"
            yield Finding(Verdict.MISSING, f"avatar {avatar_id}", advice)


def _exposure(config: Config) -> Finding:
    """Who may ask it, from where."""
    where = f"it listens on {config.http.host}"
    try:
        require_closed_or_local(config)
        has_keys = bool(read_keys(config.storage.state_dir))
    except SetupError as exc:
        return Finding(Verdict.MISSING, where, str(exc))
    if config.http.no_auth:
        advice = "fine where only those reach it who may: else leave out --no-auth, and add a key"
        return Finding(Verdict.OPTIONAL, f"{where}, for everybody, without API keys", advice)
    return Finding(Verdict.OK, f"{where}, {'with' if has_keys else 'without'} API keys")


def _descriptors(max_connections: int) -> Finding:
    """How many files and connections the system allows at once."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections * _DESCRIPTORS_PER_CONNECTION
    if most == resource.RLIM_INFINITY or most >= wanted:
        return Finding(Verdict.OK, f"{max_connections} connections at once are allowed")
    advice = f"raise the limit (ulimit -n, LimitNOFILE) to {wanted}, or lower --max-connections"
    return Finding(Verdict.OPTIONAL, f"{most} files and connections at once are allowed", advice)


def _asked_for(config: Config) -> Iterator[Finding]:
    """What only some settings need."""
    storage, http = config.storage, config.http
    if storage.recording_days:
        yield _folder("recordings", storage.recordings_dir, "--recordings-dir")
    if endpoint := config.engine.otlp_endpoint:
        yield _works(f"traces go to {endpoint}", lambda: open_tracing(endpoint).close())
    if http.tls_cert:
        yield _works(f"certificate {http.tls_cert}", lambda: certificate(http))


def _works(what: str, begin: Callable[[], object]) -> Finding:
    """begin: does what the server would begin with; raises SetupError"""
    try:
        begin()
    except SetupError as exc:
        return Finding(Verdict.MISSING, what, str(exc))
    return Finding(Verdict.OK, what)


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
