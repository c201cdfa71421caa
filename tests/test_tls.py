"""HTTPS without a proxy: what is spoken, who is refused, and a certificate that is renewed."""

import asyncio
import logging
import shutil
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from proxies import certificate
from servers import Command, launch
from test_deployment import is_healthy

from musetalk_stream.config import load
from musetalk_stream.errors import SetupError
from musetalk_stream.web.tls import Certificate

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    certificate(tmp_path / "tls")
    return tmp_path / "tls"


def test_both_or_none() -> None:
    with pytest.raises(SetupError, match="go together"):
        load({"tls_cert": "cert.pem"}, environ={})


@pytest.mark.parametrize("wrong", ["missing", "other", "nonsense", "encrypted"])
def test_files_that_can_not_be_used(files: Path, tmp_path: Path, wrong: str) -> None:
    key = tmp_path / "wrong.pem"
    if wrong == "other":
        certificate(tmp_path / "others")
        shutil.copy(tmp_path / "others/key.pem", key)
    elif wrong == "nonsense":
        key.write_text("nonsense")
    elif wrong == "encrypted":
        encrypt = ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", "key.pem", "-out"]
        subprocess.run([*encrypt, str(key)], check=True, capture_output=True, cwd=files)
    with pytest.raises(SetupError, match=r"can't be used: .+; they must be PEM files"):
        Certificate(files / "cert.pem", key)


def test_it_does_not_start_with_them(command: Command, tmp_path: Path) -> None:
    result = command(
        "serve", "--port", "0", "--state-dir", str(tmp_path), "--tls-cert", "no", "--tls-key", "no"
    )
    assert result.returncode == 1
    assert "tls_cert no and tls_key no can't be used" in result.stderr
    assert "Traceback" not in result.stderr


async def _serial(port: int, trust: ssl.SSLContext) -> str:
    """Of the certificate that a client is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    shown = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return str(shown["serialNumber"])


async def test_a_certificate_is_renewed_under_connections(
    files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    its = Certificate(files / "cert.pem", files / "key.pem")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=its.context)
    port = server.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cafile=files / "cert.pem")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        before = await _serial(port, trust)

        (files / "key.pem").write_text("half of a key")
        its.reload()
        its.reload()
        wrong = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert len(wrong) == 1, "told once"
        assert await _serial(port, trust) == before

        certificate(tmp_path / "new")
        for name in ("cert.pem", "key.pem"):
            (tmp_path / "new" / name).replace(files / name)
        its.reload()
        trust_new = ssl.create_default_context(cafile=files / "cert.pem")
        assert await _serial(port, trust_new) != before

        writer.write(b"still there\n")
        assert await reader.readline() == b"still there\n"
        writer.close()
    finally:
        server.close()


def test_a_server_that_speaks_https(files: Path, tmp_path: Path, avatar_store: Path) -> None:
    flags = ("--tls-cert", f"{files}/cert.pem", "--tls-key", f"{files}/key.pem")
    with launch(tmp_path, avatar_store, "--capacity-fps", "100000", *flags) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rpartition(" ")[2].rstrip("/")
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=files / "cert.pem")
        with httpx.Client(base_url=url, verify=trust) as client:
            created = client.post("/sessions/create").json()
            assert created["player_full_url"] == url + created["player_url"]
            nowhere = client.get("/", headers={"Host": "x:99999999"})
            assert (nowhere.status_code, nowhere.json()["code"]) == (400, "bad_request")
            page = client.get(created["player_url"])
            assert "wss://127.0.0.1:" in page.headers["Content-Security-Policy"]
            assert "Strict-Transport-Security" not in page.headers, "it is this machine's own name"
        parts = urlsplit(url)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{parts.netloc}/healthz")
        old = ssl.create_default_context(cafile=files / "cert.pem")
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError), httpx.Client(verify=old) as client:
            client.get(f"{url}/healthz")
        with httpx.Client(base_url=url, verify=trust) as client:
            assert client.get("/healthz").status_code == 200
        assert is_healthy(PORT=str(parts.port), TLS_CERT="cert.pem")
    assert "Traceback" not in (tmp_path / "log").read_text()
