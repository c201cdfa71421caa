"""A tab behind another one paints nothing, but it speaks, and is in order when it comes back."""

from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from player_driver import tone
from tabs import running_tabs

from benchmarks.browser import ALOUD, CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here"),
]

RECORD = "window.ReactNativeWebView = { postMessage: (m) => (window.messages ??= []).push(m) };"


@pytest.mark.alone
async def test_hidden_and_shown_in_mid_speech_and_hidden_throughout(
    api: httpx.AsyncClient, tmp_path: Path
) -> None:
    session = (await api.post("/sessions/create")).json()

    async def speak(seconds: float) -> None:
        files = {"audio_file": ("speech.wav", tone(seconds), "audio/wav")}
        assert (await api.post(session["stream_url"], files=files)).status_code == 202

    async with running_tabs(CHROMIUM, [*FLAGS, ALOUD], tmp_path) as tabs:
        await tabs.open(session["player_full_url"])
        await tabs.until("window.musetalkPlayer?.state === 'idle'")
        await tabs.evaluate(RECORD)

        await speak(4)
        await tabs.until("musetalkPlayer.current_time > 0.5")
        await tabs.hide()
        await tabs.until("musetalkPlayer.current_time > 1.8")
        await tabs.show()
        await tabs.until("musetalkPlayer.counters.utterances === 1")
        await tabs.until("musetalkPlayer.state === 'idle'")
        frames = await tabs.evaluate(
            "musetalkPlayer.frames.filter((f) => f.video === 'talk').map((f) => f.media_time)"
        )
        assert frames == sorted(set(frames))
        assert frames[-1] >= 3.8
        assert max(b - a for a, b in pairwise(frames)) > 0.8  # was hidden

        await tabs.hide()
        await speak(1.2)
        await tabs.until("musetalkPlayer.counters.utterances === 2")
        whole = await tabs.evaluate("musetalkPlayer.counters")
        await speak(4)
        await tabs.until("musetalkPlayer.position > 0.3")
        answer = (await api.post(session["interrupt_url"], params={"wait": 5})).json()
        assert 300 <= answer["played_ms"] < 4000
        await tabs.until("musetalkPlayer.counters.utterances === 3")
        await tabs.show()
        await tabs.until("musetalkPlayer.state === 'idle'")
        await tabs.until(
            "!document.querySelector('musetalk-avatar').shadowRoot.getElementById('idle').paused"
        )
        counters = await tabs.evaluate("musetalkPlayer.counters")
        messages = await tabs.evaluate("messages.map((m) => JSON.parse(m).type)")
    assert whole["appended"] == whole["chunks"]
    assert counters["jumps"] == counters["skipped"] == counters["recoveries"] == 0
    speech = [kind for kind in messages if kind.startswith("speech")]
    assert speech == ["speech_started", "speech_ended"] * 3
    await api.delete(f"/sessions/{session['session_id']}")
