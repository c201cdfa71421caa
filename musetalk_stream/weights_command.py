"""`musetalk-stream weights`: looks at the model's files, fetches the missing, says what is next."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .download import check_source, check_space, fetch
from .errors import WeightsError
from .weights import OfficialFile, Progress, State, command, examine, program


def run(
    files: list[OfficialFile], models_dir: Path, version: str, source: str, *, look_only: bool
) -> int:
    """Fetch (or only look at) the files of a version: 0 if every needed one is good, else 1."""
    source = check_source(source)
    states = {}
    for file in files:
        with _line(f"checking {file.path}") as progress:
            states[file.path] = examine(models_dir, file, progress)
    problem = ""
    if not look_only:
        try:
            problem = _fetch_missing(files, states, models_dir, source)
        except KeyboardInterrupt:
            again = command(models_dir, version)
            print(f"interrupted; what has come is kept, to go on: {again}", file=sys.stderr)
            return 130
    print(f"MuseTalk {version} in {models_dir}")
    for file in files:
        name = f"{file.path} (optional)" if file.optional else file.path
        print(f"  {states[file.path].value:12}  {file.num_bytes:>13,}  {name}")
    if problem:
        print(f"musetalk-stream: {problem}", file=sys.stderr)
    print(_next_step(files, states, models_dir, version))
    return int(any(not states[file.path].is_good for file in files if not file.optional))


def _fetch_missing(
    files: list[OfficialFile], states: dict[str, State], models_dir: Path, source: str
) -> str:
    """Fetch what is missing up to the first failure, and say what that was. A file that is there
    is never replaced: it may be somebody's own."""
    absent = [file for file in files if states[file.path] is State.MISSING]
    try:
        check_space(models_dir, absent)
        for file in absent:
            print(f"fetching {file.path}, {file.num_bytes:,} bytes, from {source}", flush=True)
            with _line(f"fetching {file.path}") as progress:
                states[file.path] = fetch(file, models_dir, source, progress)
    except WeightsError as exc:
        return str(exc)
    return ""


@contextmanager
def _line(doing: str) -> Iterator[Progress | None]:
    """Progress in one line of the terminal, if there is one; gone when it is over."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(done: int, total: int) -> None:
        print(f"\r\033[K{doing}: {done / total:.1%}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _next_step(
    files: list[OfficialFile], states: dict[str, State], models_dir: Path, version: str
) -> str:
    needed = [file for file in files if not file.optional]
    absent = [file for file in needed if states[file.path] is State.MISSING]
    if absent:
        again = command(models_dir, version)
        return f"{len(absent)} of {len(needed)} needed files are missing; to get them: {again}"
    wrong = [file.path for file in needed if not states[file.path].is_good]
    if wrong:
        return (
            f"not the official files: {', '.join(wrong)}; if they are not your own, remove them "
            f"and run {command(models_dir, version)}"
        )
    options = f"--models-dir {shlex.quote(str(models_dir))} --musetalk-version {version}"
    return f"all needed files are good: {program()} serve --renderer musetalk {options}"
