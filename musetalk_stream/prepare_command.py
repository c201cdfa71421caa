"""`musetalk-stream prepare`: from a picture, a video or an official folder to an avatar, here and
now."""

import hashlib
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from .avatar import ID_RULE, SHIPPED, Avatar, is_avatar_id, open_avatar
from .config import Config, default_of, settings
from .errors import (
    AvatarExists,
    AvatarProtected,
    InvalidParameter,
    MuseTalkStreamError,
    NoMediaFile,
    PreparationFailed,
    SetupError,
    UploadTooLarge,
)
from .prepare.files import put
from .prepare.progress import Estimate, Progress, Stage
from .prepare.request import Request
from .prepare.work import Work, disk_errors, sweep
from .renderers import DeviceLost, OutOfDeviceMemory
from .renderers.make import make_renderer
from .weights import program

_WORDS = {
    Stage.READING: "reading the file",
    Stage.LOOKING: "looking for the face",
    Stage.ANIMATING: "making it move",
    Stage.FOLLOWING: "following the face",
    Stage.ENCODING: "encoding",
    Stage.LATENTS: "preparing it for the renderer",
}
_BAR_WIDTH = 24
_LINE_EVERY_PERCENT = 10  # where there is no terminal


def run(
    config: Config, file: Path, idle: Path | None, request: Request, *, replace_old: bool
) -> int:
    """Make an avatar, or go on with making it. Raises MuseTalkStreamError; then nothing is left.

    idle  a second video, of the person at rest

    What is interrupted or killed stays, and goes on when the same command is given again.
    """
    _check_id(config, request.avatar_id)
    _check_files(config, file, idle)
    store = config.storage.avatars_dir
    work = Work(store, request)
    with disk_errors(work):
        store.mkdir(parents=True, exist_ok=True)
        sweep(store)
    line = _Line(Estimate(latents=config.engine.renderer != "builtin"))
    with _Interruption() as interruption:
        try:
            with disk_errors(work), work.held():
                _make_in_its_place(
                    work, config, file, idle, line, interruption, replace_old=replace_old
                )
        except (KeyboardInterrupt, Exception):
            if not interruption.signal:
                raise
            print("interrupted; to go on, give the same command again", file=sys.stderr)
            return 128 + interruption.signal
    return _tell_ready(config, open_avatar(work.place), line)


def _make_in_its_place(
    work: Work,
    config: Config,
    file: Path,
    idle: Path | None,
    line: "_Line",
    interruption: "_Interruption",
    *,
    replace_old: bool,
) -> None:
    """By the process that holds the work."""
    if _was_finished(work):
        work.discard()
        return
    _begin_or_go_on(work, config, file, idle, replace_old=replace_old)
    try:
        with line, disk_errors(work):
            _make(work, config, file, idle, line, interruption, replace_old=replace_old)
    except MuseTalkStreamError:
        if not interruption.signal:
            work.discard()
        raise
    except MemoryError:
        work.discard()
        raise PreparationFailed("it takes more memory than there is for it") from None


class _Interruption:
    """Ctrl-C, or SIGTERM. Remembered, for a library that is being imported or called may make any
    other exception of it, or none."""

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> "_Interruption":
        self._before = {
            number: signal.signal(number, self._come) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def check(self) -> None:
        """Raises KeyboardInterrupt where it was swallowed."""
        if self.signal:
            raise KeyboardInterrupt

    def _come(self, number: int, _: object) -> None:
        self.signal = number
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _check_id(config: Config, avatar_id: str) -> None:
    if not is_avatar_id(avatar_id):
        raise InvalidParameter("id", ID_RULE)
    if avatar_id in SHIPPED:
        raise AvatarProtected(f"avatar {avatar_id} ships with us: choose another --id")
    if avatar_id in (aliases := config.session.aliases()):
        raise AvatarExists(
            f"{avatar_id} is another name of avatar {aliases[avatar_id]}: choose another --id"
        )


def _check_files(config: Config, file: Path, idle: Path | None) -> None:
    for path in (file, idle):
        if path and not path.exists():
            raise NoMediaFile(f"there is no {path}")
        if path and not path.is_dir():
            _check_size(path, config.prepare.max_avatar_mb)
    if idle and (idle.is_dir() or file.is_dir()):
        raise InvalidParameter("idle", "must be a video, and goes with a video")
    if file.is_dir():
        from .prepare.official import is_official

        if not is_official(file):
            raise NoMediaFile(f"{file} is a folder, and not that of an official MuseTalk avatar")


def _check_size(file: Path, max_mb: int) -> None:
    if not file.is_file():
        raise NoMediaFile(f"{file} is neither a file nor a folder")
    if (num_bytes := file.stat().st_size) > max_mb * 10**6:
        raise UploadTooLarge(
            f"{file} has {num_bytes / 1e6:.0f} MB; the limit is {max_mb} MB: send a part of it, or "
            "set another --max-avatar-mb"
        )


# --- the work folder


def _was_finished(work: Work) -> bool:
    """Whether a process was killed after its last step, before it could say so."""
    return work.kept() == work.request and not work.avatar.exists() and work.place.exists()


def _begin_or_go_on(
    work: Work, config: Config, file: Path, idle: Path | None, *, replace_old: bool
) -> None:
    """Raises AvatarExists."""
    kept, avatar_id = work.kept(), work.request.avatar_id
    if work.place.exists() and not replace_old:
        raise AvatarExists(
            f"there is an avatar {avatar_id} already: --replace makes it anew, "
            "--id makes another one"
        )
    if kept and kept.job_id:
        raise AvatarExists(
            f"avatar {avatar_id} is a server's job: start the server, which goes on with it, or "
            f"remove it by musetalk-stream avatars --delete {avatar_id}"
        )
    if work.folder.exists():
        same = _is_same(work.upload, file) and _is_same(work.idle_film, idle)
        if kept == work.request and work.avatar.is_dir() and same and _has_settings(work, config):
            print(f"going on with avatar {avatar_id}", file=sys.stderr)
            return
        work.discard()
    work.begin(replace=replace_old)
    put(work.settings, lambda path: path.write_text(_settings(config)))


def _has_settings(work: Work, config: Config) -> bool:
    """Whether what was begun is what these settings would make."""
    return work.settings.exists() and work.settings.read_text() == _settings(config)


def _settings(config: Config) -> str:
    made_by = config.prepare
    return json.dumps([made_by.avatar_side, made_by.avatar_fps, made_by.face_finder])


def _is_same(upload: Path, file: Path | None) -> bool:
    """Whether that is what was to be made an avatar before."""
    if file is None or not upload.exists():
        return file is None and not upload.exists()
    if file.is_dir():
        return upload.read_bytes() == _address(file)
    return _sha256(upload) == _sha256(file)


def _address(folder: Path) -> bytes:
    return bytes(folder.absolute())


def _sha256(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


# --- the making


def _make(
    work: Work,
    config: Config,
    file: Path,
    idle: Path | None,
    line: "_Line",
    interruption: "_Interruption",
    *,
    replace_old: bool,
) -> None:
    line.begin()
    from .prepare.official import import_official
    from .prepare.steps import run

    def tell(progress: Progress) -> None:
        interruption.check()
        line.tell(progress)

    if idle and not work.idle_film.exists():
        put(work.idle_film, partial(shutil.copyfile, idle))
    if not work.upload.exists():
        put(work.upload, partial(_bring, file))
    if file.is_dir():
        import_official(file, work, config, tell)
    else:
        run(work, config, tell)
    line.end()
    _tell_notes(work)
    work.finish(replace=replace_old)


def _bring(file: Path, to: Path) -> None:
    if file.is_dir():
        to.write_bytes(_address(file))
    else:
        shutil.copyfile(file, to)


def _tell_notes(work: Work) -> None:
    from .prepare.faces.look import read_look

    with suppress(FileNotFoundError):  # an imported avatar was never looked at
        for note in read_look(work.look.read_text()).notes:
            print(f"note: {note}", file=sys.stderr)


def _tell_ready(config: Config, avatar: Avatar, line: "_Line") -> int:
    made = avatar.manifest
    looks = f"{made.width} x {made.height}, {made.num_frames} frames at {float(made.fps):g}/s"
    if config.engine.renderer != "builtin":
        try:
            _prepare_for_renderer(config, avatar, line)
        except SetupError:
            print(
                f"avatar {made.id} is made: {looks}; it is not prepared for "
                f"--renderer {config.engine.renderer} yet, which the server will do",
                flush=True,
            )
            raise
    try_it = shlex.join(["--avatar", made.id, *_options(config)])
    print(f"avatar {made.id} is ready: {looks}; try it: {program()} serve {try_it}", flush=True)
    return 0


def _prepare_for_renderer(config: Config, avatar: Avatar, line: "_Line") -> None:
    """What the server would do before it shows the avatar. Raises SetupError."""
    renderer = make_renderer(config)
    try:
        renderer.load(lambda doing: None)
        with line:
            for share in renderer.prepare(avatar):
                line.tell(Progress(Stage.LATENTS, share))
    except (DeviceLost, OutOfDeviceMemory) as exc:
        raise SetupError(f"the device gave up: {exc}") from exc


def _options(config: Config) -> Iterator[str]:
    """Flags for a server that shows avatars as this command has made them."""
    for section, spec in settings():
        value = getattr(getattr(config, section), spec.name)
        is_shared = spec.name in ("avatars_dir", "renderer") or section == "musetalk"
        if is_shared and value != default_of(spec):
            yield from ("--" + spec.name.replace("_", "-"), str(value))


class _Line:
    """Progress: one line of a terminal that is painted over, else a line now and then."""

    def __init__(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self._is_terminal = sys.stderr.isatty()
        self._told: tuple[Stage, int] | None = None

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def tell(self, progress: Progress) -> None:
        self._estimate.update(progress)
        percent = self._estimate.percent
        step = 1 if self._is_terminal else _LINE_EVERY_PERCENT
        if self._told == (progress.stage, percent // step):
            return
        self._show(progress.stage, percent)

    def begin(self) -> None:
        """Before it is known what the file is."""
        self._show(Stage.READING, 0)

    def _show(self, stage: Stage, percent: int) -> None:
        step = 1 if self._is_terminal else _LINE_EVERY_PERCENT
        self._told = (stage, percent // step)
        words = f"{percent:3} %  {_WORDS[stage]}{self._left()}"
        if self._is_terminal:
            full = _BAR_WIDTH * percent // 100
            bar = "#" * full + "." * (_BAR_WIDTH - full)
            print(f"\r\033[K[{bar}] {words}", end="", file=sys.stderr, flush=True)
        else:
            print(words, file=sys.stderr, flush=True)

    def _left(self) -> str:
        left_s = self._estimate.seconds_left
        if left_s is None or left_s < 1:
            return ""
        if left_s >= 90:
            return f", about {left_s / 60:.0f} min left"
        return f", about {left_s:.0f} s left"

    def end(self) -> None:
        """Leaves a clean line to whoever prints next."""
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
