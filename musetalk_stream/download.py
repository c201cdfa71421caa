"""How an official file comes in: in pieces if the line breaks, and whole and checked in the end.

What arrives is kept as `NAME.part` and gets its name when size and hash are right, so a file that
is there is a file that may be used.
"""

import errno
import fcntl
import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from . import __version__
from .errors import SetupError, WeightsError
from .weights import HUB, OfficialFile, Progress, State, verify

ATTEMPTS = 4  # in a row that bring nothing

_BLOCK_BYTES = 2**20
_TIMEOUT_S = 30
_MARGIN_BYTES = 10**8  # left free on the disk


class _Broken(Exception):
    """The line broke or the server is busy: it may work the next time."""


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """The hub redirects to its storage; nobody may redirect from https to something weaker."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
            raise WeightsError(f"{req.full_url} redirects to another scheme: {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_source(source: str) -> str:
    """The address without a slash at its end. Raises SetupError."""
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SetupError(f"--source must begin with http(s)://, not be {source!r}")
    return source.rstrip("/")


def check_space(models_dir: Path, files: list[OfficialFile]) -> None:
    """Raises WeightsError if the disk can't take what of these files is still to come."""
    nearest = next(path for path in (models_dir, *models_dir.parents) if path.exists())
    wanted = sum(file.num_bytes - _size(_part(models_dir, file)) for file in files)
    free = shutil.disk_usage(nearest).free
    if free < wanted + _MARGIN_BYTES:
        raise WeightsError(
            f"{models_dir} has {free / 1e9:.2f} GB free, and {wanted / 1e9:.2f} GB are to come: "
            "make room, or choose another folder by --dir"
        )


def fetch(
    file: OfficialFile,
    models_dir: Path,
    source: str = HUB,
    progress: Progress | None = None,
    pause_s: float = 1.0,
) -> State:
    """Fetch a file, going on where an earlier try ended: OK, or UNKNOWN_HASH if there is none to
    compare with. `pause_s`: before the second try, doubled before each further one.

    Raises WeightsError. A part that can be continued stays; one that turned out wrong does not.
    """
    part = _part(models_dir, file)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            _lock(out, part)
            _fill(out, file, f"{source}/{file.url_path}", progress, pause_s)
            out.flush()
            state = verify(part, file, progress)
            if not state.is_good:
                part.unlink()
                raise WeightsError(
                    f"what came from {source}/{file.url_path} has the {state.value} and was removed"
                )
            part.replace(file.place(models_dir))
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            advice = "make room and run the same command again: it goes on from here"
            raise WeightsError(f"the disk of {part} is full; {advice}") from exc
        raise WeightsError(f"can't write {part}: {exc.strerror}") from exc
    return state


def _part(models_dir: Path, file: OfficialFile) -> Path:
    place = file.place(models_dir)
    return place.with_name(place.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _lock(out: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsError(f"{part} is being fetched by another command") from None


def _fill(
    out: BinaryIO, file: OfficialFile, url: str, progress: Progress | None, pause_s: float
) -> None:
    """Append until the file has all its bytes; tries again while that brings something."""
    furthest, fruitless = out.tell(), 0
    while out.tell() < file.num_bytes:
        try:
            _continue(out, file, url, progress)
        except _Broken as exc:
            fruitless = 0 if out.tell() > furthest else fruitless + 1
            furthest = max(furthest, out.tell())
            if fruitless == ATTEMPTS:
                raise WeightsError(
                    f"can't fetch {url}: {exc}; run the same command again to go on, choose a "
                    f"mirror by --source, or copy {file.path} from another machine"
                ) from exc
            time.sleep(pause_s * 2 ** max(fruitless - 1, 0))


def _continue(out: BinaryIO, file: OfficialFile, url: str, progress: Progress | None) -> None:
    """One request for the rest. Raises _Broken, or WeightsError if trying again is no use."""
    done = out.tell()
    with _open(url, done) as response:
        if done and response.status == http.client.OK:  # the server knows no ranges
            done = out.seek(0)
            out.truncate()
        total = done + int(response.headers.get("Content-Length") or file.num_bytes - done)
        if total != file.num_bytes:
            raise WeightsError(f"{url} has {total} bytes and should have {file.num_bytes}")
        while done < file.num_bytes:
            try:
                block = response.read(min(_BLOCK_BYTES, file.num_bytes - done))
            except (OSError, http.client.HTTPException) as exc:
                raise _Broken(_reason(exc)) from exc
            if not block:
                raise _Broken(f"the server broke off after {done} of {file.num_bytes} bytes")
            out.write(block)
            done += len(block)
            if progress:
                progress(done, file.num_bytes)


def _open(url: str, start: int) -> Any:
    """The response to a request for everything from byte `start`."""
    headers = {"User-Agent": f"musetalk-stream/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.build_opener(_SameScheme).open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == http.client.TOO_MANY_REQUESTS or exc.code >= 500:
            raise _Broken(f"the server answers {exc.code} {exc.reason}") from exc
        raise WeightsError(f"{url}: the server answers {exc.code} {exc.reason}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _Broken(_reason(exc)) from exc
    given = response.headers.get("Content-Range", "")
    if response.status == http.client.OK or given.startswith(f"bytes {start}-"):
        return response
    response.close()
    raise WeightsError(f"{url}: the server answers {response.status} {given} to bytes {start}-")


def _reason(exc: BaseException) -> str:
    """What a network error says, without the exceptions around it."""
    inner = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__
