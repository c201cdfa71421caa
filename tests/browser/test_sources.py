"""Ways of playing where there is no MediaSource, by themselves."""

import base64
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenPlayer
from media import probe
from player_driver import tone

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A list that is never answered; and one for which the browser first wants a gesture.
UNANSWERED = """async ({ isRefused, patienceMs }) => {
  const { HlsSource } = await import("/client/player/hls-source.js");
  const video = document.createElement("video");
  let isLoadable = !isRefused;
  video.play = async () => {
    if (!isLoadable) throw new DOMException("a gesture is wanted", "NotAllowedError");
  };
  let refusals = 0;
  const source = new HlsSource({
    video, patienceMs, listUrl: () => "/never", onRefused: () => (refusals += 1),
  });
  source.start({ requestId: "any", position: 0 });
  const { signal } = new AbortController();
  let said = null;
  const appending = source.append({ start: 0, duration: 1 }, 0, signal);
  const told = appending.catch(({ message }) => (said = message));
  if (isRefused) {
    await new Promise((go) => setTimeout(go, patienceMs * 2));
    if (said !== null) return "it was given up before it was allowed";
    isLoadable = true;
  }
  await told;
  source.close();
  return [said, refusals];
}"""


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_list_that_is_never_answered_is_given_up(
    open_player: OpenPlayer, is_refused: bool
) -> None:
    player = await open_player()
    await player.page.route("**/never", lambda _: None)
    given = {"isRefused": is_refused, "patienceMs": 800}
    said = await player.page.evaluate(UNANSWERED, given)
    assert said == ["The list was not answered.", int(is_refused)]


# The second chunk of some speech, as it came and as it is played by itself; and what becomes of it
# there: tapped at its end, and when it was said that nothing more comes.
AS_FILM = """async (url) => {
  const { ChunkSource } = await import("/client/player/chunk-source.js");
  const { rebased } = await import("/client/player/rebase.js");
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const video = document.createElement("video");
  video.muted = true;
  const source = new ChunkSource({ video });
  let isOver = false;
  source.addEventListener("ended", () => (isOver = true));
  source.start({ position: 0 });
  await source.append({ bytes, start: 0, duration: 0.5 }, 0);
  await source.play();
  while (!source.ended) await new Promise((go) => setTimeout(go, 20));
  const wasOver = isOver;
  await source.play();
  const before = { time: source.currentTime, takesMore: source.takesMore, wasOver };
  source.end();
  const after = { time: source.currentTime, takesMore: source.takesMore };
  source.close();
  const text = (bytes) => btoa(String.fromCharCode(...bytes));
  return { before, after, films: [text(bytes), text(rebased(bytes))] };
}"""


async def test_a_chunk_as_a_film_of_its_own(open_player: OpenPlayer, tmp_path: Path) -> None:
    player = await open_player(settings={"chunk_duration": 0.5, "playback_fps": 30})
    await player.speak(tone(1.2))
    await player.until_spoken()
    url = await player.page.evaluate(
        """() => performance.getEntriesByType("resource").map(({ name }) => name)
            .find((name) => name.includes("chunk_0001"))"""
    )
    seen = await player.page.evaluate(AS_FILM, url)
    assert seen["before"] == {"time": 0.5, "takesMore": True, "wasOver": False}
    assert seen["after"] == {"time": 0.5, "takesMore": False}

    def starts(name: str, film: str) -> dict[str, float]:
        path = tmp_path / name
        path.write_bytes(base64.b64decode(film))
        return starts_of(path)

    as_it_came, alone = starmap(starts, zip(("came.mp4", "alone.mp4"), seen["films"], strict=True))
    assert min(as_it_came.values()) > 0.2
    assert min(alone.values()) == 0
    apart = [each["audio"] - each["video"] for each in (as_it_came, alone)]
    assert apart[1] == pytest.approx(apart[0], abs=0.0001)
    assert abs(apart[0]) > 0.001  # so that it shows


def starts_of(path: Path) -> dict[str, float]:
    """When each kind of track begins (s)."""
    said: Any = probe(path, "-show_entries", "stream=codec_type,start_time")
    return {each["codec_type"]: float(each["start_time"]) for each in said["streams"]}
