"""npm packages of the clients, as an app gets them."""

import asyncio
import shutil
import tarfile
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
TOOLS = CLIENTS / "node_modules"

needs_packages = pytest.mark.skipif(
    not (shutil.which("npm") and (TOOLS / ".bin/tsc").exists()),
    reason="no npm, or no packages in clients (npm ci there)",
)


async def run(*command: str, cwd: Path) -> str:
    """What a program prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out + err).decode()
    return out.decode()


async def install_web(app: Path) -> Path:
    """Build and pack the web library, away from the checkout; where `app` has it then."""
    source = app / "source"  # its own: others build at the same time
    shutil.copytree(CLIENTS / "web", source / "web", ignore=shutil.ignore_patterns("dist"))
    (source / "node_modules").symlink_to(TOOLS)
    pack = ("npm", "pack", "--silent", "--pack-destination", str(app))
    tarball = app / (await run(*pack, cwd=source / "web")).split()[-1]
    shutil.rmtree(source)
    installed = app / "node_modules/@musetalk-stream"
    with tarfile.open(tarball) as packed:
        packed.extractall(installed, filter="data")
    return (installed / "package").rename(installed / "web")
