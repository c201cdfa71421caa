"""What an operator starts the server with names settings, files and commands that there are."""

import asyncio
import json
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import Server
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


def test_nothing_that_a_command_forgets_moves_the_site() -> None:
    """Each `docker compose` command reads DOMAIN anew, and containers follow it."""
    named = re.findall(r"\$\{?(\w+)(:?.?)", (ROOT / "compose.yaml").read_text())
    assert set(named) == {("DOMAIN", ":?")}, "none has a default"


def test_a_second_container_of_the_server_has_an_address() -> None:
    """`docker compose run` starts one beside it."""
    services = compose()["services"]
    given = [each for each in services if "ipv4_address" in str(services[each]["networks"])]
    assert given == ["caddy"]
    (pool,) = compose()["networks"]["inside"]["ipam"]["config"]
    proxy = ip_address(services["caddy"]["networks"]["inside"]["ipv4_address"])
    assert proxy in ip_network(pool["subnet"])
    assert proxy not in ip_network(pool["ip_range"])


def test_a_preparation_meets_its_own_limit_first() -> None:
    """Before that of the service, which counts the server, FFmpeg and, in a container, /tmp."""
    server = compose()["services"]["server"]
    (unit_gb,) = re.findall(r"^MemoryMax=(\d+)G$", UNIT.read_text(), re.MULTILINE)
    (unit_mb,) = re.findall(r"PREPARE_MEMORY_MB=(\d+)$", UNIT.read_text(), re.MULTILINE)
    compose_mb = server["environment"]["MUSETALK_STREAM_PREPARE_MEMORY_MB"]
    for limit_gb, prepare_mb in (
        (server["mem_limit"].removesuffix("g"), compose_mb),
        (unit_gb, unit_mb),
    ):
        assert 2 * int(prepare_mb) + 1000 <= int(limit_gb) * 1000


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_what_is_kept_is_not_committed() -> None:
    storage = Config().storage
    kept = [
        storage.state_dir,
        storage.chunks_dir,
        storage.recordings_dir,
        Config().musetalk.models_dir,
    ]
    secrets = [ROOT / each["file"] for each in compose()["secrets"].values()]
    paths = [str(path) for path in (*(each / "x" for each in kept), *secrets, ROOT / ".env")]
    run = subprocess.run(
        ["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == paths


def is_healthy(**variables: str) -> bool:
    """As the image asks, with the variables of its container."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    (check,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.MULTILINE)
    environ = {ENV_PREFIX + name: value for name, value in variables.items()}
    command = [sys.executable, *json.loads(check)[1:]]
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0


async def test_the_image_asks_its_server_how_it_is(server: Server) -> None:
    """With TLS: `test_tls.py`."""
    port = server.url.rpartition(":")[2]
    assert await asyncio.to_thread(is_healthy, PORT=port)
    assert not await asyncio.to_thread(is_healthy, PORT=port, TLS_CERT="cert.pem")


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
