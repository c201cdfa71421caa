"""The tree tests itself: imports point down, heavy libraries stay at home, importing is cheap."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "musetalk_stream"

# Top first; a module imports only from rows below its own, or from its own package.
LAYERS = [
    {"cli", "__main__", "doctor", "weights_command", "bench_command", "prepare_command",
     "avatars_command", "keys_command"},
    {"web"},
    {"registry", "users", "sessions", "conversation", "player_reports", "jobs"},
    {"utterance", "utterance_note", "turn", "turns", "frames", "engine", "supervisor", "speech",
     "decoding", "readying"},
    {"batcher", "store", "records", "recordings", "events", "stats", "workers",
     "loop_watch"},
    {"renderers", "prepare"},
    {"encode", "blend"},
    {"audio", "sound", "levels", "resample", "listening", "onset", "growing_file", "voice",
     "avatar", "shelf", "models", "weights", "download", "clock", "keys",
     "tokens", "exposure", "disk", "threads", "state_folder",
     "tracing"},
    {"timeline", "session_state", "schedule", "sse", "fmp4", "hls", "captions", "config", "errors",
     "options", "delivery", "viewing", "mp3", "wav", "rates", "consent", "access",
     "sandbox", "descriptors", "distribution", "laps", "request_context", "logs"},
]  # fmt: skip
# Rows in which modules may lean on each other, as long as they do not do so in a circle.
SIDEWAYS = {0, 2, 3, 5, 6, 7, 8}
# Who may import what is heavy or tied to one place.
OWNERS = {
    "av": {"resample", "listening", "decoding", "encode", "prepare", "doctor"},
    "cv2": {"renderers", "prepare"},
    "PIL": {"prepare"},
    "ffmpeg": {"prepare"},
    "imageio_ffmpeg": {"prepare", "doctor"},
    "mediapipe": {"prepare", "doctor"},
    "onnxruntime": {"prepare", "doctor"},
    "torch": {"models", "renderers", "doctor"},
    "safetensors": {"models", "renderers"},
    "webrtcvad": {"voice"},
    "itsdangerous": {"tokens"},
    "aiohttp": {"web", "cli"},
    "jinja2": {"web"},
    "argparse": {"cli"},
    "prometheus_client": {"web"},
    "opentelemetry": {"tracing"},
    "numpy": {"audio", "sound", "levels", "resample", "listening", "onset", "speech", "voice",
              "decoding",
              "avatar", "blend", "encode", "prepare", "renderers", "models"},
    "asyncio": {"tracing", "registry", "cli", "web", "sessions", "conversation", "turn",
                "player_reports",
                "utterance", "speech", "growing_file", "readying", "supervisor", "loop_watch",
                "batcher", "store", "events", "workers", "jobs",
                "threads", "records", "recordings"},
    "threading": {"sound", "growing_file", "speech", "batcher", "workers", "loop_watch", "prepare",
                  "renderers", "decoding"},
    "subprocess": {"prepare", "decoding"},
}  # fmt: skip
RANK = {module: row for row, modules in enumerate(LAYERS) for module in modules}
FILES = sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    """The module, or the subpackage, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """What a file imports, in functions, too: the unit or the library, and whether it is ours."""
    depth = len(path.relative_to(PACKAGE).parts)
    found: list[tuple[str, bool]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            name = (node.module or "").split(".")[0]
            if node.level == 0:
                found.append((name, False))
            elif node.level == depth:
                names = [name] if name else [alias.name for alias in node.names]
                found += [(each, True) for each in names]
    return found


def test_every_module_has_its_row() -> None:
    assert {unit(path) for path in FILES} - {"__init__"} == set(RANK)


def test_imports_point_down() -> None:
    wrong = []
    for path in FILES:
        me = unit(path)
        for name, ours in imports(path):
            if not ours or name == me or not {name, me} <= RANK.keys():
                continue
            if RANK[me] == RANK[name] and RANK[me] not in SIDEWAYS:
                wrong.append(f"{path}: {me} leans sideways on {name}")
            elif RANK[me] > RANK[name]:
                wrong.append(f"{path}: {me} imports {name}, which is above it")
    assert not wrong, "\n".join(wrong)


def test_nothing_runs_in_a_circle() -> None:
    uses: dict[str, set[str]] = {}
    for path in FILES:
        used = {name for name, ours in imports(path) if ours and name in RANK}
        uses.setdefault(unit(path), set()).update(used - {unit(path)})
    while uses:
        free = {module for module, needed in uses.items() if not needed & set(uses)}
        assert free, f"a circle among {sorted(uses)}"
        for module in free:
            del uses[module]


def test_libraries_stay_where_they_belong() -> None:
    wrong = [
        f"{path} imports {name}"
        for path in FILES
        for name, ours in imports(path)
        if not ours and name in OWNERS and unit(path) not in OWNERS[name]
    ]
    assert not wrong, "\n".join(wrong)


def test_only_one_module_reads_the_environment() -> None:
    readers = {unit(path) for path in FILES if re.search(r"os\.environ|getenv", path.read_text())}
    assert readers == {"config"}


def loaded_by(module: str) -> set[str]:
    """The libraries that importing a module loads."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["musetalk_stream", "musetalk_stream.cli"])
def test_importing_is_cheap(module: str) -> None:
    assert not loaded_by(module) & {"av", "cv2", "numpy", "aiohttp", "jinja2", "torch", "asyncio"
                                    if module == "musetalk_stream" else "av"}  # fmt: skip


def test_the_pure_row_is_pure() -> None:
    modules = ", ".join(f"musetalk_stream.{module}" for module in LAYERS[-1])
    assert not loaded_by(modules) & {"av", "cv2", "numpy", "aiohttp", "asyncio", "jinja2"}
