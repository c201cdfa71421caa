"""Real proxies with the configurations of docs/proxies: ports, certificates and folders are put in
their places, the rest is what engineers read."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port

DOCUMENTED = Path(__file__).parents[1] / "docs" / "proxies"
_STARTS_WITHIN_S = 15.0
_NOBODY = "192.0.2.0/24"  # whose networks may do what operators do
_PATH = f"{os.environ['PATH']}:/usr/sbin"  # where Debian has servers


@dataclass(frozen=True)
class Proxy:
    """How a documented configuration is run.

    prepare(folder, text, port, upstream)   writes what the program needs; the command
    """

    name: str
    file: str
    prepare: Callable[[Path, str, int, int], list[str]]
    caches: bool

    @property
    def is_installed(self) -> bool:
        return all(shutil.which(name, path=_PATH) for name in (self.name, "openssl"))


def certificate(folder: Path) -> Path:
    """One that the loopback address signed for itself. `cert.pem`, `key.pem`, `both.pem`."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    both = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder / "cert.pem"


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    for documented, here in pairs:
        assert documented in text, f"the documented configuration has no {documented!r}"
        text = text.replace(documented, here)
    return text


def _nginx(folder: Path, text: str, port: int, upstream: int) -> list[str]:
    site = _replaced(
        text,
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("    listen [::]:80;\n", ""),
        ("    listen [::]:443 ssl http2;\n", ""),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/talk.example/fullchain.pem", f"{folder}/tls/cert.pem"),
        ("/etc/ssl/talk.example/privkey.pem", f"{folder}/tls/key.pem"),
        ("/var/cache", str(folder)),  # which is there, as that one is
        ("/var/log/nginx/musetalk-stream.log", f"{folder}/access"),
        ("/var/log/nginx/musetalk-stream-errors.log", f"{folder}/errors"),
    )
    (folder / "site.conf").write_text(site)
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\ndaemon off;\nmaster_process off;\nerror_log {folder}/log;\n"
        "events {}\nhttp {\n"
        f"access_log {folder}/usual;\n"  # as Debian's, with queries
        f"include /etc/nginx/mime.types;\n{folders}include {folder}/site.conf;\n}}\n"
    )
    return ["nginx", "-e", f"{folder}/log", "-c", f"{folder}/nginx.conf"]


def _caddy(folder: Path, text: str, port: int, upstream: int) -> list[str]:
    options = "\n{\n\tadmin off\n\tauto_https disable_redirects\n"
    tls = f"\ttls {folder}/tls/cert.pem {folder}/tls/key.pem"
    own = f"https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n{tls}"
    text = _replaced(
        text,
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("talk.example {", own),
        ("\n{\n", options),
    )
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


def _haproxy(folder: Path, text: str, port: int, upstream: int) -> list[str]:
    text = _replaced(
        text,
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("bind :::80 v4v6", f"bind 127.0.0.1:{free_port()}"),
        ("bind :::443 v4v6", f"bind 127.0.0.1:{port}"),
        # Who runs tests need not be root, and may have no log.
        ("    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n", ""),
        ("log /dev/log local0", "log stdout format raw local0"),
        ("/etc/haproxy/talk.example.pem", f"{folder}/tls/both.pem"),
    )
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


PROXIES = {
    proxy.name: proxy
    for proxy in (
        Proxy("nginx", "nginx.conf", _nginx, caches=True),
        Proxy("caddy", "Caddyfile", _caddy, caches=False),
        Proxy("haproxy", "haproxy.cfg", _haproxy, caches=True),
    )
}


@contextmanager
def running(
    proxy: Proxy, folder: Path, upstream: int, *, operators: str = _NOBODY
) -> Iterator[str]:
    """The proxy before what listens on `upstream`, inside the block; the address of the mount."""
    folder.mkdir(exist_ok=True)
    certificate(folder / "tls")
    port = free_port()
    text = _replaced((DOCUMENTED / proxy.file).read_text(), (_NOBODY, operators))
    with _started(proxy.prepare(folder, text, port, upstream), folder, port):
        yield f"https://127.0.0.1:{port}/avatar"


@contextmanager
def caddy_of_compose(folder: Path, upstream: int) -> Iterator[str]:
    """Likewise, without TLS; its address."""
    port, documented = free_port(), DOCUMENTED.parent / "operations" / "Caddyfile"
    text = _replaced(
        documented.read_text(),
        ("server:8000", f"127.0.0.1:{upstream}"),
        ("{$DOMAIN}", f"http://127.0.0.1:{port}"),
        ("\n{\n", "\n{\n\tadmin off\n"),
    )
    (folder / "Caddyfile").write_text(text)
    command = ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]
    with _started(command, folder, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _started(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
            env={"PATH": _PATH, "HOME": str(folder)},
        )  # fmt: skip
    try:
        _await_port(process, port, folder / "output")
        yield
    finally:
        process.kill()  # to end gently, they would wait for their connections
        process.wait()


def _await_port(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    end_s = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen: {output.read_text()}")
