"""The npm package of the web library: its types are those of the code, it is small, and what is
packed is what is meant to be."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import tone, wav
from npm_packages import CLIENTS, TOOLS, install_web, needs_packages, run
from servers import Json, Serve

from musetalk_stream.options import PREBUFFER, SESSION_OPTIONS

PROTOCOL = Path(__file__).parents[1] / "docs/protocol.md"
WEB = CLIENTS / "web"
# Gzipped: each thing that is loaded at once, and all of a page whose avatar speaks
# (docs/decisions/0005-devices.md, "What the web package weighs").
MAX_BYTES = 15_000
MAX_SPEAKING_BYTES = 27_000
DEFINITION = 'customElements.define("musetalk-avatar"'

pytestmark = needs_packages


async def script(program: str, *arguments: str, cwd: Path = WEB) -> Any:
    flags = ("--no-warnings", "--input-type=module", "-e", program)
    return json.loads(await run("node", *flags, *arguments, cwd=cwd))


def keys(of: str, names: Iterable[str]) -> str:
    """A line of TypeScript that compiles if a type has these members and no others."""
    wanted = " | ".join(f'"{name}"' for name in sorted(names)) or "never"
    return f"same<keyof ({of}), {wanted}>();"


async def documents(serve: Serve) -> dict[str, Json]:
    """What a server answers."""
    server = await serve()
    created = (await server.client.post("/sessions/create")).json()
    url = f"/sessions/{created['session_id']}"
    sent = (await server.upload(created["session_id"], wav(tone(0.4, rate=16_000), 16_000))).json()
    return {
        "created": created,
        "found": (await server.client.get(url)).json(),
        "spoken": sent,
        "utterance": (await server.client.get(f"{url}/utterances/{sent['request_id']}")).json(),
        "interruption": (await server.client.post(f"{url}/interrupt?wait=0")).json(),
    }


def members_of_the_answers(answers: dict[str, Json]) -> Iterator[str]:
    def camels(names: Iterable[str]) -> list[str]:
        return [camel(name) for name in names]

    yield keys("web.SessionConfig", [*camels(answers["created"]["config"]), "ignored"])
    yield keys("web.Avatar", camels(answers["created"]["avatar"]))
    yield keys("web.Utterance", camels(answers["utterance"]))
    yield keys("web.Timings", camels(answers["utterance"]["timings_ms"]))
    yield keys("web.Interruption", camels(answers["interruption"]))


async def members_of_the_code(answers: dict[str, Json]) -> list[str]:
    code = await script(
        """
        import { Problem, Session } from "./src/api.js";
        import { MESSAGES } from "./src/player/bridge.js";
        import { OPTIONS } from "./src/player/options.js";
        const methods = Object.getOwnPropertyNames(Session.prototype);
        const sessions = JSON.parse(process.argv[1]).map(
          (document) => new Session({ server: "http://a/", document }));
        const problem = new Problem({ title: "t", detail: "d" });
        console.log(JSON.stringify({
          sessions: sessions.map((its) => [...methods, ...Object.keys(its)]),
          hidden: methods.filter((name) => sessions.some((its) => Object.hasOwn(its, name))),
          problem: Object.keys(problem),
          messages: MESSAGES,
          options: Object.keys(OPTIONS),
        }));
        """,
        json.dumps([answers["created"], answers["found"]]),
    )
    assert code["hidden"] == [], "a field of the document hides a method"
    lines = [
        *(keys("web.Session", {*its} - {"constructor"}) for its in code["sessions"]),
        keys("web.Problem", [*code["problem"], "message", "stack", "cause"]),
        keys("web.AvatarOptions", code["options"]),
        keys("web.MessageFields", code["messages"]),
    ]
    for name, fields in code["messages"].items():
        lines.append(keys(f'web.MessageFields["{name}"]', fields))
    return lines


def members_of_the_protocol() -> Iterator[str]:
    _, _, section = PROTOCOL.read_text().partition("\n## Events\n")
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


async def test_types_are_those_of_the_code_and_an_app_compiles(
    serve: Serve, tmp_path: Path
) -> None:
    answers = await documents(serve)
    lines = [
        f'import type * as web from "{WEB}/types/index.js";',
        "type Same<A, B> = [A, B] extends [B, A] ? [] : [A, B];",
        "declare function same<A, B>(...difference: Same<A, B>): void;",
        *await members_of_the_code(answers),
        *members_of_the_answers(answers),
        *members_of_the_protocol(),
    ]
    (tmp_path / "members.ts").write_text("\n".join(lines))
    project = {
        "extends": str(WEB / "tsconfig.json"),
        "include": [str(WEB / "types"), str(WEB / "tests"), "members.ts"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(project))
    await run(str(TOOLS / ".bin/tsc"), "-p", str(tmp_path), cwd=WEB)


# Safari 15, Chrome 94 and Firefox 93 don't have them, and esbuild only translates syntax.
NEWER = re.compile(
    r"hasOwn\(|\.at\(|\.findLast|\.to(?:Sorted|Reversed|Spliced)\(|structuredClone"
    r"|\.throwIfAborted|AbortSignal\.|withResolvers|[gG]roupBy\(|fromAsync"
)


def test_it_calls_what_its_browsers_have() -> None:
    sources = list((WEB / "src").rglob("*.js"))
    assert len(sources) > 50
    found = {path.name: NEWER.findall(path.read_text()) for path in sources}
    assert {name: calls for name, calls in found.items() if calls} == {}


async def test_it_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    parts: dict[str, Any] = json.loads(await run("node", "build.mjs", cwd=WEB))
    sizes = {name: part["size"] for name, part in parts.items()}
    with capsys.disabled():
        sys.stdout.write(f"\n@musetalk-stream/web, bytes gzipped: {sizes}\n")
    assert {name: size for name, size in sizes.items() if size >= MAX_BYTES} == {}
    assert sizes["index"] + sizes["player"] < MAX_SPEAKING_BYTES


async def test_what_is_packed_is_what_a_bundler_needs(tmp_path: Path) -> None:
    package = await install_web(tmp_path)
    packed = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    types = {str(path.relative_to(WEB)) for path in (WEB / "types").rglob("*.d.ts")}
    rest = {path for path in packed if not path.startswith("dist/")}
    assert rest == types | {"README.md", "LICENSE", "package.json"}
    manifest = json.loads((package / "package.json").read_text())
    ways_in = [way for way in manifest["exports"].values() if isinstance(way, dict)]
    assert {path.removeprefix("./") for way in ways_in for path in way.values()} <= packed
    assert "dependencies" not in manifest

    programs = {
        "all": 'import "@musetalk-stream/web";',
        "functions": 'import { createSession } from "@musetalk-stream/web"; createSession({});',
        "element": 'import "@musetalk-stream/web/element";',
        "api": 'import { createSession } from "@musetalk-stream/web/api"; createSession({});',
    }
    for name, program in programs.items():
        (tmp_path / f"{name}.mjs").write_text(program)
    flags = ("--bundle", "--minify", "--format=esm", "--outdir=out", "--log-level=warning")
    entries = [f"{name}.mjs" for name in programs]
    await run(str(TOOLS / ".bin/esbuild"), *entries, *flags, cwd=tmp_path)
    bundled = {name: (tmp_path / f"out/{name}.js").read_text() for name in programs}
    assert {name for name, text in bundled.items() if DEFINITION in text} == {*programs} - {"api"}
    # What belongs to a page may be imported where there is none, as servers that render pages do.
    assert await script(
        """
        import { MuseTalkAvatar, Session } from "@musetalk-stream/web";
        console.log(JSON.stringify([typeof MuseTalkAvatar, typeof Session]));
        """,
        cwd=tmp_path,
    ) == ["function", "function"]  # fmt: skip
