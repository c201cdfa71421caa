"""Requests that are drawn from our own OpenAPI document, right ones and wrong ones, by
schemathesis; every answer must be one that the document tells of.

`scripts/fuzz schema` sends many of them; `test_openapi_fuzz.py` a few.
"""

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import openapi_spec_validator
import requests
import schemathesis
from fakes import make_avatar, tone, wav
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from servers import ProcessServer, start_process

from musetalk_stream.avatar import shipped_avatars
from musetalk_stream.config import EncoderConfig
from musetalk_stream.prepare import prepare_store

Json = dict[str, Any]

TIMEOUT_S = 60
# Of the errors that are the server's; none of the others may be told.
MAY_FAIL_WITH = {501, 503, 507}
# Opened and not asked by plain requests: test_audio_socket.py.
_SOCKET = "/sessions/{session_id}/audio/ws"
_SOUND = wav(tone(0.2))


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (160, 160), "grey").save(file, "PNG")
    return file.getvalue()


_FILES = st.one_of(
    st.sampled_from([_SOUND, _SOUND[:60], _SOUND[:44], bytes(3200), picture(), b""]),
    st.binary(max_size=200),
)
_NO_IDS = ("unknown", "ü" * 9, "a" * 2000, "\x00", " ", "'\"<script>", "%2e%2e%2fetc")
_WEBVTT = "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n"
_FLAGS = ("--avatar", "tiny", "--capacity-fps", "100000", "--max-sessions", "500",
          "--rate-per-key", "0", "--rate-per-address", "0", "--recording-days", "1")  # fmt: skip


@dataclass
class Run:
    """What was asked, and what was wrong with the answers."""

    mistakes: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    by_operation: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Run") -> "Run":
        return Run(
            self.mistakes + other.mistakes,
            self.statuses + other.statuses,
            self.by_operation + other.by_operation,
            self.succeeded + other.succeeded,
        )


# --- the document, as it is asked


def strict(document: Json) -> Json:
    """With the members that objects have, and no others: what the server tells must be told of."""
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith("Parameters") and "properties" in schema:
            schema["additionalProperties"] = False
    return document


def _with_files(document: Json) -> Json:
    """What has no schema is a file."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if body := operation.get("requestBody"):
                body["content"] = dict(_files_of(body["content"]))
    return document


def _files_of(content: Json) -> Iterator[tuple[str, Json]]:
    for kind, media in content.items():
        schema = media["schema"]
        members = schema.get("properties", {})
        for name, its in members.items():
            if "type" not in its and "enum" not in its:
                members[name] = {"type": "string", "format": "binary"}
        media = {"schema": schema or {"type": "string", "format": "binary"}}
        yield kind.replace("audio/*", "audio/wav"), media


def _register() -> None:
    """What schemathesis does not know of: files, and how they are sent."""
    for kind in ("audio/wav", "audio/L16", "video/webm", "video/mp4", "application/ogg",
                 "application/octet-stream", "audio/L16;rate=24000;channels=1"):  # fmt: skip
        schemathesis.openapi.media_type(kind, _FILES)
    schemathesis.openapi.media_type("text/vtt", st.sampled_from([_WEBVTT.encode(), b"no", b""]))


# --- a run


def run(
    server: ProcessServer,
    key: str,
    num_examples: int,
    seed: int,
    tell: Callable[[str], object] = lambda line: None,
) -> Run:
    """So many examples of each operation, fewer where there are not so many; of more than one, half
    are wrong on purpose, where anything can be. `tell` hears how far it is and what was wrong."""
    _register()
    found = Run()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=server.url, headers=headers, timeout=TIMEOUT_S) as client:
        document = strict(client.get("/openapi.json").json())
        ids = {name: [*its, *its, *_NO_IDS] for name, its in _known(client).items()}
        its = schemathesis.openapi.from_dict(_with_files(document))
        its.config.update(base_url=server.url, request_timeout=TIMEOUT_S)
        operations = [each.ok() for each in its.get_all_operations() if isinstance(each, Ok)]
        operations = [each for each in operations if each.path != _SOCKET]
        # What ends sessions comes last.
        operations.sort(key=lambda each: each.method.upper() == "DELETE")
        for operation in operations:
            named = {name: st.sampled_from(ids[name]) for name in _names(operation.path)}
            modes = [GenerationMode.POSITIVE]
            # What is in the path is drawn here: of strings none is wrong by its form.
            if num_examples > 1 and (operation.query or operation.headers or operation.body):
                modes.append(GenerationMode.NEGATIVE)
            num_before = len(found.mistakes)
            for mode in modes:
                cases = operation.as_strategy(mode, path_parameters=dict.fromkeys(named, "x"))
                _ask_all(
                    cases,
                    st.fixed_dictionaries(named),
                    found,
                    headers,
                    num_examples // len(modes),
                    seed,
                )
            total = sum(found.statuses.values())
            tell(f"{total:6} {operation.method.upper()} {operation.path}")
            for mistake, count in Counter(found.mistakes[num_before:]).most_common(5):
                tell(f"WRONG ({count}) {mistake}")
    return found


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _ask_all(
    cases: st.SearchStrategy[Case[Any]],
    named: st.SearchStrategy[dict[str, str]],
    found: Run,
    headers: Mapping[str, str],
    num_examples: int,
    seed: int,
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=num_examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=cases, ids=named)
    def ask(case: Case[Any], ids: dict[str, str]) -> None:
        case.path_parameters.update(ids)
        _ask(case, found, headers)

    with suppress(hypothesis.errors.Unsatisfiable):  # nothing about it can be wrong
        ask()


def _ask(case: Case[Any], found: Run, headers: Mapping[str, str]) -> None:
    operation = f"{case.method.upper()} {case.operation.path}"
    asked = case.as_transport_kwargs(base_url=case.operation.base_url)
    asked["headers"] = {**asked.get("headers", {}), **headers}
    asked.pop("cookies", None)
    try:
        answer = requests.request(**asked, stream=True, timeout=TIMEOUT_S, allow_redirects=False)
    except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
        return  # it can't be sent
    except requests.RequestException as exc:
        found.mistakes.append(f"{operation} {asked}: {exc!r}"[:600])
        return
    with answer:
        found.by_operation[operation] += 1
        found.statuses[answer.status_code] += 1
        found.succeeded[operation] += answer.ok
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            next(answer.iter_content(1), b"")
            return  # it has no end
        _ = answer.content
    try:
        case.validate_response(answer, checks=_CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            found.mistakes.append(f"{operation}: {failure} {answer.text[:200]!r}")
    if answer.status_code >= 500 and answer.status_code not in MAY_FAIL_WITH:
        found.mistakes.append(f"{operation}: {answer.status_code} {answer.text[:200]!r}")


schemathesis.checks.load_all_checks()
# Classes are among them, which the library's types leave out.
_CHECKS: list[Any] = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]


def _known(client: httpx.Client) -> dict[str, list[str]]:
    """Sessions that have spoken, and what there is besides."""
    sessions, said = [], []
    for number in range(6):
        created = client.post("/sessions/create", json={"on_busy": "queue", "user_id": str(number)})
        sessions.append(created.raise_for_status().json()["session_id"])
        uploaded = client.post(f"/sessions/{sessions[-1]}/stream", files={"audio_file": _SOUND})
        said.append(uploaded.raise_for_status().json()["request_id"])
    return {
        "session_id": sessions,
        "request_id": said,
        "avatar_id": ["tiny", "other", "demo"],
        "name": ["chunk_0000.mp4", "chunk_0000.mp4", "chunk_9999.mp4"],
        "job_id": [],
        "recording_id": [],
        "filename": ["base.css", "player.css", "element.js"],
    }


# --- servers


@contextmanager
def serving(folder: Path, store: Path, *, closed: bool) -> Iterator[tuple[ProcessServer, str]]:
    """A server, and an API key that may do everything; empty on an open one."""
    key = _key(folder) if closed else ""
    with start_process(folder, store, *_FLAGS, "--recordings-dir", str(folder / "kept")) as server:
        yield server, key


def _key(folder: Path) -> str:
    command = [
        *(sys.executable, "-m", "musetalk_stream", "keys", "add", "--name", "fuzz"),
        *("--scopes", "sessions,avatars,ops", "--state-dir", str(folder / "state")),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return next(word for word in made.stdout.split() if word.startswith("mts_"))


def _require_valid(url: str) -> None:
    openapi_spec_validator.validate(httpx.get(f"{url}/openapi.json").json())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="of each operation and server")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    found, traces = Run(), 0
    for closed in (True, False):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            store = folder / "avatars"
            store.mkdir()
            make_avatar(store, "tiny")
            make_avatar(store, "other")
            prepare_store(store, shipped_avatars(), EncoderConfig())
            with serving(folder, store, closed=closed) as (server, key):
                if closed:
                    _require_valid(server.url)
                found += run(server, key, args.examples, args.seed, _say)
                assert httpx.get(f"{server.url}/healthz").status_code == 200
            traces += server.log.count("Traceback")
            if "Traceback" in server.log:
                _say(server.log[-5000:])
    total = sum(found.statuses.values())
    told = ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items()))
    _say(f"{total} examples of {len(found.by_operation)} operations; {told}")
    never = sorted(name for name in found.by_operation if not found.succeeded[name])
    _say(f"never answered by a 2xx: {', '.join(never)}")
    if found.mistakes or traces:
        raise SystemExit(f"{len(found.mistakes)} wrong answers, {traces} tracebacks")


if __name__ == "__main__":
    main()
