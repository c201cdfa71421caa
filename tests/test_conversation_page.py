"""The programs in docs/conversation.md run as they stand there."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

import pytest
from schedules import Page
from servers import ProcessServer

PAGE = Path(__file__).parents[1] / "docs/conversation.md"


def program(language: str) -> str:
    """The first block of code in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"there is no {language} in {PAGE.name}"
    return found[1]


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def watched(
    process_server: ProcessServer, *command: str, opened_after_s: float = 0
) -> list[str]:
    """What a program says that makes a session, which somebody watches; it must end well."""
    async with process_server.client() as server, running(*command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = (await process.stdout.readline()).decode()
        found = re.search(r"/player/session/(\S+)", first)
        assert found, first + (await process.stderr.read()).decode()
        await asyncio.sleep(opened_after_s)
        page = Page(server, found[1], plays=True)
        page.connect()
        out, err = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0, err.decode()
        await page.until_closed()
        await page.close()
        return out.decode().splitlines()


async def test_the_python_agent_waits_for_its_viewer(
    process_server: ProcessServer, tmp_path: Path
) -> None:
    path = tmp_path / "agent.py"
    path.write_text(program("python"))
    command = [sys.executable, str(path), process_server.url]
    said = await watched(process_server, *command, opened_after_s=3)
    heard, cut, unheard = (line.removeprefix("history: ") for line in said)
    assert heard == "Of course I can help you."
    assert re.fullmatch(r"First, .*… \(interrupted\)", cut), cut
    assert "can see" not in cut
    assert unheard == "(not heard)"


async def test_the_javascript_agent(process_server: ProcessServer, tmp_path: Path) -> None:
    node = which("node")
    if not node:
        pytest.skip("no node here (apt-get install nodejs)")
    path = tmp_path / "agent.mjs"
    path.write_text(program("js"))
    # Node 22 has WebSocket; 20 has it behind this flag, which 22 still knows.
    flag = "--experimental-websocket"
    said = await watched(process_server, node, flag, str(path), process_server.url)
    first, second = said_of(said, "said {"), said_of(said, "said instead {")
    assert "duration: 3" in first
    assert "duration: 1" in second


def said_of(lines: list[str], beginning: str) -> str:
    """What was printed from a line on."""
    text = "\n".join(lines)
    assert beginning in text, text
    return text.partition(beginning)[2].partition("}")[0]
