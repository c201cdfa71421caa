"""What is documented exists, and what exists is documented."""

import ast
import os
import re
from pathlib import Path

import pytest
from fakes import NumberRenderer

from musetalk_stream import __version__, errors
from musetalk_stream.config import ENV_PREFIX, Config, default_of, settings
from musetalk_stream.errors import MuseTalkStreamError
from musetalk_stream.options import PREBUFFER, SESSION_OPTIONS, TRAILING_SILENCE, Option
from musetalk_stream.web.app import build_app
from musetalk_stream.web.problems import FRAMEWORK_CODES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    path = DOCS / name
    assert path.is_file(), f"docs/{name} is missing"
    return path.read_text()


def first_cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the table under a heading, as lists of cells."""
    _, _, rest = text.partition(f"\n## {heading}\n")
    assert rest, f"there is no section {heading}"
    section = re.split(r"\n##+ ", rest)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_routes() -> None:
    app = build_app(Config(), NumberRenderer())
    actual = set()
    for route in app.router.routes():
        if route.method == "HEAD":
            continue
        resource = route.resource
        assert resource is not None
        actual.add(f"{route.method} {resource.canonical}")
    documented = {cells[0].strip("`") for cells in first_cells(page("protocol.md"), "Routes")}
    assert documented == actual


def published_events() -> set[str]:
    """Every `"event": "…"` in the package's own code."""
    names = {"ping"}  # which is written as bytes
    for path in (ROOT / "musetalk_stream").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if (isinstance(key, ast.Constant) and key.value == "event"
                            and isinstance(value, ast.Constant)):  # fmt: skip
                        names.add(str(value.value))
    return names


def test_events() -> None:
    documented = {cells[0].strip("`") for cells in first_cells(page("protocol.md"), "Events")}
    assert documented == published_events()


def subclasses(kind: type[MuseTalkStreamError]) -> set[type[MuseTalkStreamError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_error_codes() -> None:
    actual = {(kind.code, kind.status) for kind in subclasses(MuseTalkStreamError)
              if kind.__module__ == errors.__name__}  # fmt: skip
    actual |= {(code, status) for status, code in FRAMEWORK_CODES.items() if status != 403}
    rows = [cells for cells in first_cells(page("protocol.md"), "Errors") if len(cells) == 3]
    documented = {(cells[0].strip("`"), int(cells[1])) for cells in rows}
    assert documented == actual


@pytest.mark.parametrize(
    "option", [*SESSION_OPTIONS, TRAILING_SILENCE, PREBUFFER], ids=lambda o: o.name
)
def test_options(option: Option) -> None:
    text = page("protocol.md")
    line = next(line for line in text.splitlines() if f"`{option.name}`" in line)
    assert f"{option.maximum:g}" in line


def test_settings() -> None:
    text = page("configuration.md")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|", text, re.MULTILINE))
    assert set(rows) == {spec.name for _, spec in settings()}
    assert ENV_PREFIX in text
    for _, spec in settings():
        default = default_of(spec)
        if isinstance(default, (int, float)) and spec.name != "encode_threads":
            shown = str(default) if isinstance(default, bool) else f"{default:g}"
            assert shown in rows[spec.name], spec.name


def test_modules() -> None:
    """docs/architecture.md has a line for every module."""
    text = page("architecture.md")
    for path in (ROOT / "musetalk_stream").rglob("*.py"):
        module = str(path.relative_to(ROOT / "musetalk_stream")).removesuffix(".py")
        if module.endswith("__init__"):
            continue
        folder = module.rpartition("/")[0] + "/"
        assert f"`{module}`" in text or f"`{folder}`" in text, module


def anchors(path: Path) -> set[str]:
    """Of the headings of a page: lower case, spaces as dashes, other signs left out."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        links = re.findall(r"\]\((?!https?:|mailto:)([^)#]*)#?([^)]*)\)", path.read_text())
        for target, anchor in links:
            led_to = path.parent / target if target else path
            assert led_to.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in anchors(led_to), f"{path.name}: {target}#{anchor}"


def test_the_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for name in ("scripts/serve", "scripts/test"):
        assert name in text
        assert os.access(ROOT / name, os.X_OK), f"{name} can't be run"


def test_curl_lines_name_routes_that_exist() -> None:
    app = build_app(Config(), NumberRenderer())
    known = [re.sub(r"\{[^}]+\}", "[^/]+", route.resource.canonical)
             for route in app.router.routes() if route.resource]  # fmt: skip
    text = (ROOT / "README.md").read_text()
    addresses = re.findall(r"localhost:8000(/[^\s\"'?]*)", text)
    for address in addresses:
        assert any(re.fullmatch(pattern, address) for pattern in known), address
    assert text.count("curl ") >= 5


def test_changelog_knows_this_version() -> None:
    assert __version__ in (ROOT / "CHANGELOG.md").read_text()
    assert f"version = {__version__}" in (ROOT / "setup.cfg").read_text()
