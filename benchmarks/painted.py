"""From the start of an upload to the first speaking frame on the screen, in Chromium."""

import argparse
import asyncio
import base64

import httpx

from .browser import SPEAK, holds, player_page
from .server import babble, create, median_ms, running_server, wav

SHOWN = """() => new Promise((resolve) => {
  const talk = document.querySelector("musetalk-avatar").shadowRoot.getElementById("talk");
  new MutationObserver((_, observer) => {
    if (!talk.classList.contains("shown")) return;
    observer.disconnect();
    requestAnimationFrame((at) => resolve(at));
  }).observe(talk, { attributes: true, attributeFilter: ["class"] });
})"""


async def measure(count: int, seconds: float) -> None:
    sound = base64.b64encode(wav(babble(seconds))).decode()
    delays_s, chunk_to_shown_s = [], []
    with running_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            session_id = await create(client)
        async with player_page(server.url, session_id) as page:
            for _ in range(count + 1):
                shown = asyncio.ensure_future(page.evaluate(SHOWN))
                before = await page.evaluate(SPEAK, [f"/sessions/{session_id}/stream", sound])
                delays_s.append((await shown - before) / 1e3)
                starts = await page.evaluate("window.musetalkPlayer.starts")
                chunk_to_shown_s.append(starts[-1]["shown_ms"] / 1e3)
                await holds(page, "window.musetalkPlayer.state === 'idle'")
                await asyncio.sleep(0.5)
    # The first round warms server and browser up and is not counted.
    print(f"{seconds:g} s of wav, {count} utterances in one page, 512x512, 25 fps")
    print(f"upload to first speaking frame shown: {median_ms(delays_s[1:])}")
    print(f"of it, first chunk event to shown: {median_ms(chunk_to_shown_s[1:])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    asyncio.run(measure(args.utterances, args.seconds))


if __name__ == "__main__":
    main()
