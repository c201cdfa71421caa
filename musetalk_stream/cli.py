"""The command line: `musetalk-stream serve`, `keys`, `prepare`, `avatars`, `bench`, `doctor`, …"""

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from . import __version__
from .config import ENV_PREFIX, Config, HttpConfig, default_of, load, settings, webrtc_remarks
from .descriptors import raise_the_limit
from .doctor import Verdict, examine
from .errors import InvalidParameter, MuseTalkStreamError, SetupError
from .exposure import require_closed_or_local
from .logs import set_up_logging
from .weights import HUB, files_for

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"there is no {' '.join(unknown)}: see musetalk-stream {args.command} -h")
    flags = {
        spec.name: getattr(args, spec.name)
        for _, spec in settings()
        if getattr(args, spec.name, None) is not None
    }
    try:
        config = load(flags)
        status = _run(config, args)
        print(end="", flush=True)  # at exit, nobody would catch what it raises
        return status
    except SetupError as exc:
        print(f"musetalk-stream: {exc}", file=sys.stderr)
        return exc.exit_status
    except MuseTalkStreamError as exc:
        print(f"musetalk-stream: {exc.detail}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read what we say has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 130


def _run(config: Config, args: argparse.Namespace) -> int:
    if args.command == "doctor":
        return _doctor(config)
    if args.command == "weights":
        return _weights(config, args)
    if args.command == "bench":
        return _bench(config)
    if args.command == "prepare":
        return _prepare(config, args)
    if args.command == "avatars":
        return _avatars(config, args)
    if args.command == "keys":
        return _keys(config, args)
    if args.check:
        return _check(config)
    return asyncio.run(_serve(config))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="musetalk-stream", description="Speech audio in, a talking avatar out, over HTTP."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="start the server")
    serve.add_argument(
        "--check", action="store_true", help="print what is in force, and what stands in the way"
    )
    prepare = commands.add_parser("prepare", help="make an avatar of a picture or a video")
    _add_prepare_options(prepare)
    avatars = commands.add_parser("avatars", help="list the avatars, or delete one")
    avatars.add_argument("--delete", metavar="ID", help="the avatar that goes")
    _add_keys_commands(commands.add_parser("keys", help="make, list and revoke API keys"))
    doctor = commands.add_parser("doctor", help="say what is installed and what is missing")
    bench = commands.add_parser("bench", help="measure the renderer, and say what it holds")
    for command in (serve, prepare, avatars, doctor, bench):
        _add_settings(command)
    weights = commands.add_parser("weights", help="fetch and check the files of the MuseTalk model")
    weights.add_argument(
        "--dir", dest="models_dir", metavar="DIR", help="folder of the files (default models_dir)"
    )
    weights.add_argument(
        "--version", dest="musetalk_version", metavar="v15|v1", help="which MuseTalk"
    )
    weights.add_argument("--list", action="store_true", help="only look; no network")
    weights.add_argument(
        "--source",
        default=HUB,
        metavar="URL",
        help="the hub or a mirror of it (default %(default)s)",
    )
    return parser


def _add_keys_commands(keys: argparse.ArgumentParser) -> None:
    commands = keys.add_subparsers(dest="keys_command", required=True)
    add = commands.add_parser("add", help="make one; the first closes the server to all others")
    add.add_argument("--name", required=True, help="whose it is, as the list shows it")
    add.add_argument(
        "--scopes",
        required=True,
        metavar="sessions,avatars,ops,metrics",
        help="what it is for: sessions of its own; avatars, made and deleted; all that operators "
        "look at; figures for Prometheus, and nothing else",
    )
    listed = commands.add_parser("list", help="all of them, without their secrets")
    revoke = commands.add_parser("revoke", help="one counts no more, nor do its tokens")
    revoke.add_argument("id", metavar="ID", help="as the list shows it")
    for command in (add, listed, revoke):
        command.add_argument("--state-dir", metavar="DIR", help="that of the server")


def _add_prepare_options(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument(
        "file", type=Path, help="a picture, a video, or the folder of an official MuseTalk avatar"
    )
    prepare.add_argument("--id", help="of the avatar (default: from the name of the file)")
    prepare.add_argument("--name", help="that people read (default: that of the file)")
    prepare.add_argument(
        "--face-box",
        metavar="X1,Y1,X2,Y2",
        help="where the face is, in pixels of the picture (--face-box=-5,… where it begins with a "
        "minus)",
    )
    prepare.add_argument("--face-point", metavar="X,Y", help="which of several faces")
    prepare.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE.json",
        help="68 points of the face in the first picture, in the order of iBUG 300-W",
    )
    prepare.add_argument(
        "--loop",
        default="auto",
        choices=("auto", "ping-pong", "forward"),
        help="how a video repeats (default auto: forward if it ends as it begins, else ping-pong)",
    )
    prepare.add_argument(
        "--idle",
        type=Path,
        metavar="FILE",
        help="a second video, shown in silence; the first is then shown in speech alone",
    )
    prepare.add_argument(
        "--replace", action="store_true", help="an avatar that has the same id already"
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.epilog = f"Each setting is also a variable: --max-sessions is {ENV_PREFIX}MAX_SESSIONS."
    groups = {}
    for section, spec in settings():
        if section not in groups:
            groups[section] = command.add_argument_group(section)
        text = spec.metadata["help"]
        flag = "--" + spec.name.replace("_", "-")
        if spec.type is bool:
            groups[section].add_argument(
                flag, dest=spec.name, action="store_const", const="true", help=text
            )
            continue
        if spec.default is not MISSING and spec.default != "":
            text += f" (default {spec.default})"
        groups[section].add_argument(
            flag,
            dest=spec.name,
            metavar="|".join(spec.metadata["choices"]) or spec.name.rpartition("_")[2].upper(),
            help=text.replace("%", "%%"),
        )


def _check(config: Config) -> int:
    for section, spec in settings():
        value = getattr(getattr(config, section), spec.name)
        mark = "" if value == default_of(spec) else "  (set)"
        print(f"{section}.{spec.name} = {value}{mark}")
    for sentence in webrtc_remarks():
        print(f"musetalk-stream: {sentence}", file=sys.stderr)
    exposed = _exposed(config)
    missing = [finding for finding in examine(config) if finding.verdict is Verdict.MISSING]
    for finding in missing:
        print(f"musetalk-stream: {finding.what}: {finding.advice}", file=sys.stderr)
    return int(bool(missing) or exposed)


def _exposed(config: Config) -> bool:
    """Whether `serve` would refuse to be reached from elsewhere; told, if so."""
    try:
        require_closed_or_local(config)
    except SetupError as exc:
        print(f"musetalk-stream: {exc}", file=sys.stderr)
        return True
    return False


def _doctor(config: Config) -> int:
    findings = examine(config)
    for finding in findings:
        print(f"{finding.verdict.value:8} {finding.what}")
        if finding.advice:
            print(f"{'':8} -> {finding.advice}")
    return max(finding.verdict.exit_status for finding in findings)


def _weights(config: Config, args: argparse.Namespace) -> int:
    from . import weights_command  # and with it an HTTP client that no other command needs

    folder, version = config.musetalk.models_dir, config.musetalk.musetalk_version
    files = files_for(version)
    return weights_command.run(files, folder, version, args.source, look_only=args.list)


def _bench(config: Config) -> int:
    from . import bench_command

    for line in bench_command.run(config):
        print(line, flush=True)
    return 0


def _prepare(config: Config, args: argparse.Namespace) -> int:
    from . import prepare_command
    from .prepare.request import (
        LONGEST_TEXT,
        Loop,
        Request,
        avatar_id_of,
        in_one_line,
        read_hint,
    )

    hints = {"face_box": args.face_box or "", "face_point": args.face_point or ""}
    if args.landmarks:
        hints["landmarks"] = _read_text(args.landmarks)
    if len(args.name or "") > LONGEST_TEXT:
        raise InvalidParameter("name", f"must be a string of at most {LONGEST_TEXT} characters")
    file = args.file.absolute()
    file_name = in_one_line(file.name)[-LONGEST_TEXT:]
    request = Request(
        avatar_id=avatar_id_of(file.name) if args.id is None else args.id,
        name=in_one_line(args.name or file.stem)[:LONGEST_TEXT] or file_name,
        file_name=file_name,
        job_id="",  # it is no server's
        loop=Loop(args.loop),
        hint=read_hint(hints),
    )
    idle = args.idle and args.idle.absolute()
    return prepare_command.run(config, file, idle, request, replace_old=args.replace)


def _read_text(path: Path) -> str:
    """Raises InvalidParameter."""
    try:
        return path.read_text()
    except FileNotFoundError:
        raise InvalidParameter("landmarks", f"there is no {path}") from None
    except (OSError, ValueError) as exc:
        raise InvalidParameter("landmarks", f"{path} can't be read: {exc}") from exc


def _avatars(config: Config, args: argparse.Namespace) -> int:
    from . import avatars_command

    if args.delete:
        print(avatars_command.delete(config, args.delete))
        return 0
    for line in avatars_command.listed(config):
        print(line)
    return 0


def _keys(config: Config, args: argparse.Namespace) -> int:
    from . import keys_command

    if args.keys_command == "add":
        lines = keys_command.add(config, args.name, args.scopes)
    elif args.keys_command == "revoke":
        lines = iter([keys_command.revoke(config, args.id)])
    else:
        lines = keys_command.listed(config)
    for line in lines:
        print(line)
    return 0


async def _serve(config: Config) -> int:
    # Imported here: `doctor` must be able to say that one of these can't be imported.
    from .renderers.make import make_renderer
    from .web.app import build_app, drain
    from .web.context import READINESS
    from .web.listen import Listener, make_runner
    from .web.tls import certificate

    set_up_logging(config.engine.log_level, config.engine.log_format)
    raise_the_limit()
    require_closed_or_local(config)
    for sentence in webrtc_remarks():
        log.warning("%s", sentence)
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopping, number)
    http, tls = config.http, certificate(config.http)
    if tls:
        loop.add_signal_handler(signal.SIGHUP, tls.reload)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        loop.add_signal_handler(signal.SIGHUP, _hang_up, stopping)
    app = build_app(config, make_renderer(config), lambda: make_renderer(config))
    runner = make_runner(app)
    await runner.setup()
    try:
        try:
            await Listener(runner, http, tls).start()
        except OSError as exc:
            address = _address(http, http.host, http.port)
            taken = exc.errno == errno.EADDRINUSE
            advice = "try --port 0" if taken else "choose another --host or --port"
            why = "it is taken" if taken else os.strerror(exc.errno or 0)
            raise SetupError(f"can't listen on {address}: {why}; {advice}") from exc
        settled = asyncio.ensure_future(app[READINESS].settled())
        await _first_of(stopping, settled)
        if app[READINESS].failed:
            raise SetupError(app[READINESS].failed)
        if settled.done():
            address = http.public_url or _address(http, *runner.addresses[0][:2])
            print(f"musetalk-stream {__version__} is ready: {address.rstrip('/')}/", flush=True)
        given_up = asyncio.ensure_future(app[READINESS].given_up())
        await _first_of(stopping, given_up)
        # Who types Ctrl-C and watches nothing does not want to wait.
        by_hand = stopping.done() and stopping.result() is signal.SIGINT
        await drain(app, only_watched=by_hand)
    finally:
        await runner.cleanup()
    if given_up.done():
        _end_at_once(os.EX_SOFTWARE)
    return 0


async def _first_of(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _stop(stopping: "asyncio.Future[signal.Signals]", number: signal.Signals) -> None:
    """The first signal stops in good order; the second does not wait for a slow device."""
    if stopping.done():
        os._exit(128 + number)
    log.info("stopping; once more to stop at once")
    stopping.set_result(number)


def _hang_up(stopping: "asyncio.Future[signal.Signals]") -> None:
    """The terminal has gone, which is said twice: by it and by the shell."""
    if not stopping.done():
        _stop(stopping, signal.SIGHUP)


def _end_at_once(status: int) -> None:
    """Without the last words of libraries, which may wait for a device that hangs."""
    logging.shutdown()
    print(end="", flush=True)
    os._exit(status)


def _address(http: HttpConfig, host: str, port: int) -> str:
    """An address to open on this machine: 0.0.0.0 and :: are places to listen, not to go to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if http.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
