"""The clock of the machine is set while somebody is being spoken to."""

import datetime
import re
from pathlib import Path

import pytest
from fakes import tone, wav
from servers import start_process

from musetalk_stream.access import Scope
from musetalk_stream.keys import add_key

# Replaces the clock of the processes that load it; theirs, unlike the machine's, may be set.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY_S = 86_400


@pytest.mark.skipif(LIBRARY is None, reason="no libfaketime here (apt-get install faketime)")
@pytest.mark.parametrize("jump_s", [2 * DAY_S, -2 * DAY_S], ids=["forward", "back"])
async def test_nobody_notices(
    tmp_path: Path, avatar_store: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """No token, session or chunk ends for it; speech goes on."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARY))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    _, key = add_key(tmp_path / "state", "test", frozenset({Scope.SESSIONS}))
    with start_process(tmp_path, avatar_store, "--capacity-fps", "100000") as process:
        monkeypatch.delenv("LD_PRELOAD")
        async with process.client() as server:
            headers = {"Authorization": f"Bearer {key}"}
            created = (await server.client.post("/sessions/create", headers=headers)).json()
            server.client.headers["Authorization"] = f"Bearer {created['token']}"
            session_id = created["session_id"]
            async with server.events(session_id) as events:
                await events.next()
                await server.upload(session_id, wav(tone(5.0)))
                heard = await events.until("chunk")
                clock.write_text(f"{jump_s:+d}")
                heard += await events.until("complete")
                await server.upload(session_id, wav(tone(0.5)), on_busy="queue")
                again = await events.until("complete")
            for spoken, seconds in ((heard, 5.0), (again, 0.5)):
                assert spoken[-1]["duration"] == pytest.approx(seconds, abs=0.05)
                assert len(await server.chunks(spoken)) == spoken[-1]["total_chunks"]
            answer = await server.client.post("/sessions/create", headers=headers)
            assert answer.status_code == 201
        assert process.stop()[0] == 0
        assert "Traceback" not in process.log
        days = [
            datetime.date.fromisoformat(day)
            for day in re.findall(r"^\d{4}-\d\d-\d\d(?= )", process.log, re.MULTILINE)
        ]
        assert (max(days) - min(days)).days in (2, 3), "the clock was not set"
