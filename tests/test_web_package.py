"""The npm package of the web library: its types are those of the code, it is small, and what is
packed is what is meant to be."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from musetalk_stream.options import PREBUFFER, SESSION_OPTIONS

ROOT = Path(__file__).parents[1]
WEB = ROOT / "clients/web"
TOOLS = ROOT / "clients/node_modules"
# Gzipped: each thing that is loaded at once, and all of a page whose avatar speaks.
MAX_BYTES = 15_000
MAX_SPEAKING_BYTES = 25_000

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and (TOOLS / ".bin/tsc").exists()),
    reason="no node, or no packages in clients (npm ci there)",
)


def run(*command: str, cwd: Path = WEB) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(program: str) -> Any:
    return json.loads(run("node", "--input-type=module", "-e", program))


def keys(of: str, names: Iterable[str]) -> str:
    """A line of TypeScript that compiles if a type has these members and no others."""
    wanted = " | ".join(f'"{name}"' for name in sorted(names)) or "never"
    return f"same<keyof ({of}), {wanted}>();"


def members_of_the_code() -> Iterator[str]:
    code = script("""
        import { Problem, Session } from "./src/api.js";
        import { MESSAGES } from "./src/player/bridge.js";
        import { OPTIONS } from "./src/player/options.js";
        const document = { session_id: "s", hls_url: "/h", avatar: {}, config: {} };
        const session = new Session({ server: "http://a/", document });
        const methods = Object.getOwnPropertyNames(Session.prototype);
        const problem = new Problem({ title: "t", detail: "d" });
        console.log(JSON.stringify({
          session: [...methods, ...Object.keys(session)].filter((name) => name !== "constructor"),
          problem: Object.keys(problem),
          messages: MESSAGES,
          options: Object.keys(OPTIONS),
        }));
    """)
    yield keys("web.Session", [*code["session"], "expiresInSeconds"])
    yield keys("web.Problem", [*code["problem"], "message", "stack", "cause"])
    yield keys("web.AvatarOptions", code["options"])
    yield keys("web.MessageFields", code["messages"])
    for name, fields in code["messages"].items():
        yield keys(f'web.MessageFields["{name}"]', fields)


def members_of_the_protocol() -> Iterator[str]:
    _, _, section = (ROOT / "docs/protocol.md").read_text().partition("\n## Events\n")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", section.partition("\n## ")[0], re.MULTILINE)
    events = {name: re.findall(r"`(\w+)`", fields.partition(":")[0]) for name, fields in rows}
    del events["ping"], events["job"]  # kept to ourselves; of another stream
    yield keys("web.EventFields", events)
    for name, fields in events.items():
        yield keys(f'web.EventFields["{name}"]', fields)
    options = [camel(option.name) for option in (*SESSION_OPTIONS, PREBUFFER)]
    yield keys("web.SessionOptions", {*options, "avatarId", "userId", "onBusy"})


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def test_types_are_those_of_the_code_and_an_app_compiles(tmp_path: Path) -> None:
    lines = [
        f'import type * as web from "{WEB}/types/index.js";',
        "type Same<A, B> = [A, B] extends [B, A] ? [] : [A, B];",
        "declare function same<A, B>(...difference: Same<A, B>): void;",
        *members_of_the_code(),
        *members_of_the_protocol(),
    ]
    (tmp_path / "members.ts").write_text("\n".join(lines))
    project = {
        "extends": str(WEB / "tsconfig.json"),
        "include": [str(WEB / "types"), str(WEB / "tests"), "members.ts"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(project))
    run(str(TOOLS / ".bin/tsc"), "-p", str(tmp_path))


def test_it_is_small_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    parts: dict[str, Any] = json.loads(run("node", "build.mjs"))
    sizes = {name: part["size"] for name, part in parts.items()}
    with capsys.disabled():
        sys.stdout.write(f"\n@musetalk-stream/web, bytes gzipped: {sizes}\n")
    assert {name: size for name, size in sizes.items() if size >= MAX_BYTES} == {}
    assert sizes["index"] + sizes["player"] < MAX_SPEAKING_BYTES

    pack = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"))[0]
    packed = {file["path"] for file in pack["files"]}
    built = {str(path.relative_to(WEB)) for path in (WEB / "dist").rglob("*.js")}
    types = {str(path.relative_to(WEB)) for path in (WEB / "types").rglob("*.d.ts")}
    assert packed == built | types | {"README.md", "package.json"}
    manifest = json.loads((WEB / "package.json").read_text())
    ways_in = [way for way in manifest["exports"].values() if isinstance(way, dict)]
    assert {path.removeprefix("./") for way in ways_in for path in way.values()} <= packed
    assert "dependencies" not in manifest

    # Where there is no page, what is built is imported, too.
    assert script("""
        import { Session } from "./dist/api.js";
        console.log(JSON.stringify(typeof Session));
    """) == "function"  # fmt: skip
