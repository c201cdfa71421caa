"""The React Native package and the example app, as the compiler and node see them.

What they do is in tests/browser/test_react_native_page.py.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
EXAMPLE = CLIENTS / "example"
MODULES = CLIENTS / "node_modules"
PACKAGE = "@musetalk-stream/react-native"

pytestmark = pytest.mark.skipif(
    not MODULES.exists() or shutil.which("node") is None,
    reason="no npm packages here (npm ci in clients)",
)


def run(*command: str | Path, cwd: Path = CLIENTS) -> str:
    """What a command printed; if it fails, that is the failure."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compile_only(config: Path) -> None:
    run("node", MODULES / "typescript" / "bin" / "tsc", "--noEmit", "-p", config)


def test_what_messages_are_and_when_pages_are_loaded_again() -> None:
    printed = run("node", "tests/run.mjs", cwd=CLIENTS / "react-native")
    assert "\n# fail 0\n" in printed
    assert "\n# pass 0\n" not in printed


def test_the_package_is_whole_and_an_app_can_be_written_against_it(tmp_path: Path) -> None:
    modules = tmp_path / "node_modules"
    package = modules / PACKAGE
    package.mkdir(parents=True)
    for path in MODULES.iterdir():
        if path.name != PACKAGE.split("/")[0]:
            (modules / path.name).symlink_to(path)

    run("npm", "pack", "--silent", "--pack-destination", tmp_path, cwd=CLIENTS / "react-native")
    (packed,) = tmp_path.glob("*.tgz")
    run("tar", "-xzf", packed, "--strip-components=1", "-C", package)
    manifest = json.loads((package / "package.json").read_text())
    assert "dependencies" not in manifest
    assert all((package / path).is_file() for path in manifest["exports"]["."].values())
    names = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    sources = [path.name for path in (CLIENTS / "react-native" / "src").iterdir()]
    stems = [name.split(".")[0] for name in sources]
    built = {f"dist/{stem}.{ending}" for stem in stems for ending in ("js", "js.map", "d.ts")}
    others = {"package.json", "README.md", "LICENSE"}
    assert names == built | {f"src/{name}" for name in sources} | others

    # The example as its readers have it: a folder of their own, and the package in it.
    shutil.copytree(EXAMPLE / "src", tmp_path / "src")
    shutil.copytree(EXAMPLE / "assets", tmp_path / "assets")
    shutil.copy(EXAMPLE / "App.tsx", tmp_path)
    shutil.copy(CLIENTS / "react-native" / "tests" / "types.ts", tmp_path)
    readme = (package / "README.md").read_text()
    (tmp_path / "readme.tsx").write_text(readme.split("```tsx\n")[1].split("```")[0])
    settings = {"extends": str(EXAMPLE / "tsconfig.json"), "compilerOptions": {"paths": {}}}
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({**settings, "include": ["*.ts", "*.tsx", "src"]}))
    compile_only(config)


def test_the_phone_of_the_tests_keeps_the_promises_of_the_real_one() -> None:
    compile_only(EXAMPLE / "tests")
