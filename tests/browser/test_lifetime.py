"""A page that has been open for long is as light as a new one."""

import pytest
from conftest import OpenPlayer
from player_driver import PlayerPage, tone
from playwright.async_api import CDPSession

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def weigh(player: PlayerPage, devtools: CDPSession) -> dict[str, float]:
    await devtools.send("HeapProfiler.collectGarbage")
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    wanted = {"JSHeapUsedSize", "Nodes", "JSEventListeners"}
    weight = {m["name"]: m["value"] for m in metrics if m["name"] in wanted}
    weight["videos"] = await player.page.evaluate(
        "part('talk').getRootNode().querySelectorAll('video').length"
    )
    weight["urls"] = await player.page.evaluate("window.objectUrls")
    return weight


COUNT_URLS = """
window.objectUrls = 0;
const { createObjectURL, revokeObjectURL } = URL;
const open = new Set();
URL.createObjectURL = (source) => {
  const url = createObjectURL.call(URL, source);
  open.add(url);
  window.objectUrls = open.size;
  return url;
};
URL.revokeObjectURL = (url) => {
  open.delete(url);
  window.objectUrls = open.size;
  revokeObjectURL.call(URL, url);
};
"""


async def test_ten_utterances_leave_nothing_behind(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=COUNT_URLS)
    devtools = await player.page.context.new_cdp_session(player.page)
    await devtools.send("Performance.enable")
    for count in (1, 2):  # the first ones compile and cache
        await player.speak(tone(0.4))
        await player.until_spoken(count)
    before = await weigh(player, devtools)
    for count in range(3, 13):
        await player.speak(tone(0.4))
        await player.until_spoken(count)
    after = await weigh(player, devtools)

    assert after["videos"] == before["videos"] == 2
    assert after["urls"] <= 1
    assert after["Nodes"] <= before["Nodes"] + 20
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 5
    # The bounded log of painted frames grows by some 300 entries here.
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + 300_000
    counters = await player.read("counters")
    assert counters["utterances"] == 12
    assert counters["recoveries"] == counters["skipped"] == 0


# Three elements, one after the other, each taken out of the page in mid-speech.
COME_AND_GO = """async () => {
  const { session, server } = document.querySelector("musetalk-avatar");
  const late = [];
  for (let i = 0; i < 3; i += 1) {
    const avatar = document.createElement("musetalk-avatar");
    avatar.server = server;
    avatar.session = session;
    document.body.append(avatar);
    while (avatar.debug?.state !== "speaking") await new Promise((go) => setTimeout(go, 20));
    avatar.remove();
    await null; // that it was not only moved
    for (const type of ["state", "speech_ended", "error", "connection"]) {
      avatar.addEventListener(type, () => late.push(type));
    }
    await new Promise((go) => setTimeout(go, 400));
  }
  return late;
}"""


async def test_an_element_that_leaves_the_page_says_nothing_any_more(
    open_player: OpenPlayer,
) -> None:
    player = await open_player(init_script=COUNT_URLS)
    urls = await player.page.evaluate("window.objectUrls")
    request_id = await player.speak(tone(6))
    await player.until_heard(request_id)
    assert await player.page.evaluate(COME_AND_GO) == []
    await player.until_spoken()
    # Nothing was said to the server of what those that left had heard, nor was anything stopped.
    assert (await player.utterance(request_id))["played_ms"] == 6000
    assert await player.page.evaluate("window.objectUrls") <= urls
