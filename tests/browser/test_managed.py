"""Speech in a ManagedMediaSource, which takes away what it likes: a stand-in for a phone's."""

from itertools import pairwise
from pathlib import Path

import pytest
from conftest import OpenPlayer
from player_driver import PlayerPage, tone

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MANAGED = (Path(__file__).parent / "managed_media_source.js").read_text()
CHUNK_S = 0.48


async def speak_and_evict(player: PlayerPage, at_s: float, evicted: str) -> str:
    """Two seconds of speech; `evicted` is taken away when all of it is there, at `at_s`."""
    request_id = await player.speak(tone(2))
    await holds(
        player.page,
        "(at) => musetalkPlayer.buffered.at(-1)?.[1] > 1.9 && musetalkPlayer.current_time >= at",
        arg=at_s,
        polling_ms=20,
    )
    await player.page.evaluate(f"managed.evict({evicted})")
    await player.until_spoken()
    return request_id


async def assert_played_whole(player: PlayerPage, request_id: str) -> None:
    assert (await player.utterance(request_id))["played_ms"] == pytest.approx(2000, abs=50)
    frames = await player.frames(request_id)
    assert frames[-1] >= 45
    # Nothing of three quarters of a second is left out, however few pictures a busy machine paints.
    assert max(later - earlier for earlier, later in pairwise(frames)) < 18
    counters = await player.read("counters")
    assert counters["recoveries"] == counters["skipped"] == counters["jumps"] == 0
    assert await player.page.evaluate("managed.made") <= 2  # and the one for what is said next


async def test_what_is_still_to_be_played_comes_again(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=MANAGED, settings={"chunk_duration": CHUNK_S})
    assert await player.read("source") == "mse"
    request_id = await speak_and_evict(player, 0.3, "1, 1.7")
    await assert_played_whole(player, request_id)
    assert (await player.read("counters"))["refills"] == 1
    # Each chunk where it was, and the speech in one piece again.
    appended = await player.appended(request_id)
    assert [entry["offset"] for entry in appended] == [0] * len(appended)
    indices = [entry["index"] for entry in appended]
    again = indices[len(set(indices)) :]
    assert again
    assert again == sorted(again)
    assert len(appended[-1]["buffered"]) == 1
    assert appended[-1]["buffered"][0][1] == pytest.approx(2, abs=0.04)


async def test_everything_is_taken_away_in_mid_speech(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=MANAGED, settings={"chunk_duration": CHUNK_S})
    request_id = await speak_and_evict(player, 0.6, "0, Infinity")
    await assert_played_whole(player, request_id)
    assert (await player.read("counters"))["refills"] >= 1


async def test_what_was_played_is_not_fetched_again(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=MANAGED, settings={"chunk_duration": CHUNK_S})
    request_id = await speak_and_evict(player, 1, "0, musetalkPlayer.current_time - 0.2")
    await assert_played_whole(player, request_id)
    counters = await player.read("counters")
    assert counters["refills"] == 0
    assert counters["appended"] == counters["chunks"]


async def test_a_source_that_ends_by_itself_is_made_again(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=MANAGED + "managed.breaks = 1;")
    request_id = await player.speak(tone(0.6))
    await player.until_spoken()
    (start,) = await player.read("starts")
    assert start["request_id"] == request_id
    assert (await player.utterance(request_id))["played_ms"] == pytest.approx(600, abs=50)
    assert (await player.read("counters"))["recoveries"] == 0
    assert await player.page.evaluate("managed.made") == 3


# Of an utterance of a minute, chunks of a second each: those fetched at once.
FETCH_AHEAD = """async (aheadS) => {
  const { Utterance } = await import("/client/player/utterance.js");
  const asked = [];
  const fetch = async (url) => (asked.push(url.pathname), new Uint8Array(1));
  const utterance = new Utterance("minute", {
    server: location.href, changed: { notify() {} }, counters: {}, loading: { aheadS, fetch },
  });
  for (let index = 0; index < 60; index += 1) {
    utterance.take({ event: "chunk", index, url: `/${index}`, start: index, duration: 1 });
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  return asked.length;
}"""

# What a source says of itself as what it holds grows; `managed` wants from 2 s down, up to 4 s.
AHEAD = """async () => {
  const { MseSource } = await import("/client/player/source.js");
  const video = document.createElement("video");
  const ahead = [];
  const source = new MseSource({ video, counters: {}, onRemoved() {} });
  ahead.push(source.aheadS);
  await source.opened();
  while (source.aheadS === ahead[0]) await new Promise((resolve) => setTimeout(resolve, 20));
  ahead.push(source.aheadS);
  managed.low = managed.high = 0;
  while (source.aheadS === ahead[1]) await new Promise((resolve) => setTimeout(resolve, 20));
  ahead.push(source.aheadS);
  source.close();
  return [ahead, video.disableRemotePlayback];
}"""


async def test_a_browser_that_wants_no_more_gets_less_ahead(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=MANAGED)
    ahead, is_remote_disabled = await player.page.evaluate(AHEAD)
    assert ahead == [10, 60, 10]
    assert is_remote_disabled
    assert await player.page.evaluate(FETCH_AHEAD, 10) == 11
    assert await player.page.evaluate(FETCH_AHEAD, 60) == 60
