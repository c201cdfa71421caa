"""What engines do about memory: they have no more room, or take back what they were given."""

import pytest
from avatar_page import OpenPage, assert_painted_in_order
from drivers import Setting

pytest_plugins = ["engine_fixtures"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.engines,
    pytest.mark.asyncio(loop_scope="session"),
]

# The real thing, whose last instance and buffer are kept, and what they say.
KEEP = """
window.said = [];
const Real = window.ManagedMediaSource;
window.ManagedMediaSource = class extends Real {
  constructor() {
    super();
    window.managed = this;
    for (const name of ["startstreaming", "endstreaming"]) {
      this.addEventListener(name, () => window.said.push(name));
    }
  }
  addSourceBuffer(mime) {
    window.speechBuffer = super.addSourceBuffer(mime);
    speechBuffer.addEventListener("bufferedchange", ({ removedRanges }) => {
      if (removedRanges?.length > 0) window.said.push("removed");
    });
    return speechBuffer;
  }
};
"""


@pytest.mark.parametrize("kind", ["firefox"], indirect=True)
async def test_an_engine_without_room_is_asked_again(open_page: OpenPage) -> None:
    """Chromium first makes room by itself, and WebKitGTK can't be given less."""
    page = await open_page(setting=Setting.LITTLE_ROOM)
    request_id = await page.speak(7)
    await page.tab.until("() => musetalkPlayer.counters.quota_hits > 0")
    await page.until_made(request_id)
    num_chunks = (await page.utterance(request_id))["chunks"]
    await page.tab.until("(count) => musetalkPlayer.counters.appended === count", num_chunks)
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == list(range(num_chunks))
    await page.interrupt()
    await page.until("idle")
    await assert_painted_in_order(page, request_id)
    counters = await page.read("counters")
    assert counters["skipped"] == counters["jumps"] == counters["recoveries"] == 0


@pytest.mark.parametrize("kind", ["webkit-managed"], indirect=True)
async def test_what_a_managed_source_takes_back_comes_again(open_page: OpenPage) -> None:
    """It never says that it wants no more: that takes half a minute, and the server keeps ten
    seconds ahead of what is played."""
    page = await open_page(script=KEEP)
    assert await page.tab.evaluate("() => part('talk').disableRemotePlayback")
    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.3)
    assert await page.tab.evaluate("() => managed.streaming")
    # As it may at any time: there is no way to make it.
    await page.tab.until("""() => {
      if (musetalkPlayer.buffered[0][1] < 2 || speechBuffer.updating) return false;
      speechBuffer.remove(musetalkPlayer.current_time + 0.5, 99);
      return true;
    }""")
    await page.until_spoken()
    said = await page.tab.evaluate("() => said")
    assert said[0] == "startstreaming"
    assert "removed" in said
    ended = (await page.ended())[request_id]
    assert (ended["reason"], ended["played_s"]) == ("complete", pytest.approx(4, abs=0.06))
    counters = await page.read("counters")
    assert counters["refills"] == 1
    assert counters["recoveries"] == counters["jumps"] == counters["skipped"] == 0
    assert await page.messages("error") == []
