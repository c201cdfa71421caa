"""Caching, validation, ranges and negotiation, as redbot judges them."""

import asyncio
import json
import sys
from pathlib import Path

from fakes import tone, wav
from servers import ProcessServer

NOTES = Path(__file__).parent / "redbot_notes.py"
# What it warns of, and why that is as it should be.
ACCEPTED = {
    "CONTENT_TYPE_MISMATCH",  # its table of signatures takes fragmented MP4 for something else
    "LM_FUTURE",  # aiohttp rounds a file's time up: within its first second, it is ahead of Date
}


async def test_redbot_notes_nothing_bad(process_server: ProcessServer) -> None:
    async with process_server.client() as server:
        session_id = await server.create()
        told = await server.speak(session_id, wav(tone(1.0)))
        request_id = told[0]["request_id"]
        paths = [
            told[1]["url"], "/avatars/demo/video", "/avatars/demo/poster", "/avatars", "/",
            f"/sessions/{session_id}", f"/sessions/{session_id}/live.m3u8?request_id={request_id}",
            f"/sessions/{session_id}/master.m3u8?request_id={request_id}",
            f"/sessions/{session_id}/utterances/{request_id}.mp4",
            f"/player/session/{session_id}", "/static/base.css", "/client/element.js",
        ]  # fmt: skip
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, str(NOTES), *(server.url + path for path in paths)),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await program.communicate()
    assert program.returncode == 0
    noted = json.loads(printed)
    assert len(noted) == len(paths)
    for address, notes in noted.items():
        assert len(notes) >= 2, f"redbot did not look at {address}"
        wrong = {name for level, name in notes if level in {"bad", "warning"}}
        assert wrong <= ACCEPTED, address
