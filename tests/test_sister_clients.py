"""Apps that were written for WebRTC servers create sessions, open the player and speak here."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
from fakes import sound_file, tone
from media import needs_ffmpeg, probe
from servers import Serve, Server, needed

CLIENT = Path(__file__).parent / "node" / "sister-client.mjs"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture
async def sister(serve: Serve) -> Server:
    return await serve(avatar_aliases="test_avatar=tiny", trusted_proxies="127.0.0.1")


@needs_node
@needs_ffmpeg
async def test_the_integration_of_an_app_runs_unchanged(sister: Server, tmp_path: Path) -> None:
    sound = tmp_path / "tts.mp3"
    sound.write_bytes(sound_file(tone(1.0), "mp3"))
    client = await asyncio.create_subprocess_exec(
        *("node", str(CLIENT), sister.url, str(sound)), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await client.communicate()
    assert client.returncode == 0
    session = json.loads(printed)
    assert session["ice_servers"] == []
    assert (session["config"]["fps"], session["config"]["playback_fps"]) == (10, 15)

    page = await sister.client.get(session["player_url"])
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")

    async with sister.events(session["session_id"]) as events:
        told = needed(await events.until_end())
    assert told[-1]["event"] == "complete"
    recording = tmp_path / "recording.mp4"
    recording.write_bytes(b"".join(await sister.chunks(told)))
    [video] = probe(recording, "-select_streams", "v", "-count_frames", "-show_streams")["streams"]
    assert video["r_frame_rate"] == "15/1"
    assert int(video["nb_read_frames"]) == round(told[-1]["duration"] * 15)


async def test_below_a_path_what_they_append_leads_to_the_player(sister: Server) -> None:
    """`${BASE_URL}${player_url}` is what they open."""
    mounted = {"X-Forwarded-Prefix": "/avatar"}
    created = await sister.client.post("/webrtc/sessions/create", headers=mounted)
    session = created.json()
    assert f"{sister.url}/avatar{session['player_url']}" == session["player_full_url"]
    assert session["hls_url"].startswith("/avatar/")
    assert created.headers["Location"].startswith("/avatar/webrtc/")


async def test_both_roots_lead_to_the_same_session(sister: Server) -> None:
    created = await sister.client.post("/webrtc/sessions/create")
    session_id = created.json()["session_id"]
    mine, theirs = f"/sessions/{session_id}", f"/webrtc/sessions/{session_id}"
    assert created.headers["Location"] == theirs
    described = (await sister.client.get(theirs)).json()
    assert described["session_id"] == session_id
    assert described.keys() == (await sister.client.get(mine)).json().keys()
    assert (await sister.client.delete(theirs)).status_code == 204
    assert (await sister.client.get(mine)).status_code == 410


@pytest.mark.parametrize("path", ["offer", "ice"])
async def test_negotiation_is_answered_by_what_there_is_instead(
    sister: Server, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await sister.create()
    answer = await sister.client.post(
        f"/webrtc/sessions/{session_id}/{path}", json={"sdp": "v=0", "type": "offer"}
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (501, "webrtc_not_offered")
    assert not problem["retryable"]
    assert re.search(r"player_url .* hls_url", problem["detail"])
    assert not caplog.records, "a client that asks for what is not there is no mistake of ours"


async def test_an_unknown_session_is_what_their_clients_know(sister: Server) -> None:
    answer = await sister.client.post("/webrtc/sessions/unknown/stream", files={"audio_file": b"x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
