"""What an operator starts the server with names settings, files and commands that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_docs import subclasses

from musetalk_stream.config import ENV_PREFIX, Config, settings
from musetalk_stream.errors import MuseTalkStreamError
from musetalk_stream.web.problems import FRAMEWORK_CODES

ROOT = Path(__file__).parents[1]
OPERATIONS = ROOT / "docs/operations"
UNIT = OPERATIONS / "musetalk-stream.service"
SETTINGS = {spec.name for _, spec in settings()}


@pytest.mark.parametrize(
    "file", [ROOT / "Dockerfile", ROOT / "compose.yaml", UNIT, ROOT / "docs/operations.md"],
    ids=lambda file: file.name,
)  # fmt: skip
def test_settings_exist(file: Path) -> None:
    named = re.findall(rf"{ENV_PREFIX}([A-Z_]+)", file.read_text())
    assert {name.lower() for name in named} <= SETTINGS
    assert named or file.suffix == ".md"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def test_files_that_compose_mounts_exist() -> None:
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_file(), f"{name}: {source}"
            else:
                assert source in compose()["volumes"], f"{name}: {source}"


def test_only_the_proxy_of_compose_is_believed() -> None:
    services = compose()["services"]
    proxy = services["caddy"]["networks"]["inside"]["ipv4_address"]
    assert services["server"]["environment"]["MUSETALK_STREAM_TRUSTED_PROXIES"] == proxy
    assert "ports" not in services["server"], "the server is reached through the proxy alone"


def test_who_stops_the_server_waits_for_it_to_drain() -> None:
    drain_s = Config().engine.drain_s
    grace = compose()["services"]["server"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= drain_s + 10
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(stop_s) >= drain_s + 10


def test_what_the_image_is_built_from_is_let_in() -> None:
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert any(each == source or each.startswith(f"{source}/") for each in let_in), source


def test_configurations_can_be_read() -> None:
    for path in [*OPERATIONS.glob("*.yml"), ROOT / "compose.yaml"]:
        assert yaml.safe_load(path.read_text()), path.name
    for path in OPERATIONS.glob("*.json"):
        assert json.loads(path.read_text()), path.name


def test_prometheus_asks_with_the_key_that_compose_gives_it() -> None:
    scrape = yaml.safe_load((OPERATIONS / "prometheus.yml").read_text())["scrape_configs"][0]
    (secret,) = compose()["services"]["prometheus"]["secrets"]
    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert secret in compose()["secrets"]


def test_the_unit_is_understood(tmp_path: Path) -> None:
    """By systemd itself, where there is one; its program is another here."""
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("/opt/musetalk-stream/bin/musetalk-stream", "/bin/true")
    )
    try:
        run = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no systemd-analyze here")
    ours = [line for line in run.stderr.splitlines() if UNIT.name in line]
    assert not ours, "\n".join(ours)


def test_the_proxy_of_compose_is_understood(tmp_path: Path) -> None:
    config = ("--config", str(OPERATIONS / "Caddyfile"), "--adapter", "caddyfile")
    environment = {"DOMAIN": "localhost", "HOME": str(tmp_path), "PATH": "/usr/bin:/usr/sbin"}
    try:
        run = subprocess.run(
            ("caddy", "validate", *config),
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        pytest.skip("no caddy here")
    assert run.returncode == 0, run.stderr


def test_operations_has_every_error_code() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    _, _, section = text.partition("\n## Error codes\n")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    known = {kind.code for kind in subclasses(MuseTalkStreamError)} | set(FRAMEWORK_CODES.values())
    assert {code for code, _ in rows} == known
    assert len(rows) == len(known)
