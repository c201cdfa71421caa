"""Where sound needs a gesture, the face speaks muted and asks for one."""

import pytest
from conftest import OpenPlayer
from player_driver import tone
from playwright.async_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

# Evaluating anything in the page counts as a gesture, so the page reports by itself.
REPORT = """
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => {
      const { event, avatar_frame } = JSON.parse(data);
      if (event === "complete") console.log(JSON.stringify({ type: event, avatar_frame }));
    });
  }
};
window.ReactNativeWebView = { postMessage: (message) => console.log(message) };
document.addEventListener("DOMContentLoaded", () => {
  const talk = part('talk');
  const tap = part('tap');
  new MutationObserver(() => {
    console.log(JSON.stringify({ type: "tap", hidden: tap.hidden, muted: talk.muted }));
  }).observe(tap, { attributeFilter: ["hidden"] });
});
"""


async def test_blocked_sound_is_restored_by_a_tap(
    open_player: OpenPlayer, strict_browser: Browser
) -> None:
    messages: list[dict[str, object]] = []

    player = await open_player(
        in_browser=strict_browser, init_script=REPORT, on_report=messages.append, wait=False
    )

    async def heard(**wanted: object) -> dict[str, object]:
        def matches(message: dict[str, object]) -> bool:
            return wanted.items() <= message.items()

        while not any(matches(message) for message in messages):
            await player.page.wait_for_event("console", timeout=10_000)
        return next(message for message in messages if matches(message))

    await heard(type="state", state="idle")
    await player.speak(tone(4))
    await heard(type="sound", blocked=True)
    assert (await heard(type="tap", hidden=False))["muted"] is True
    assert (await heard(type="speech_started"))["muted"] is True
    assert (await player.interrupt())["interrupted"]
    assert (await heard(type="speech_ended"))["reason"] == "interrupted"
    await heard(type="state", state="idle")

    messages.clear()
    await player.speak(tone(4))
    assert (await heard(type="speech_started"))["muted"] is True
    await player.page.mouse.click(200, 200)
    assert (await heard(type="tap", hidden=True))["muted"] is False
    await heard(type="sound", blocked=False)
    video = await player.page.evaluate(
        """() => { const talk = part('talk');
                   return { muted: talk.muted, paused: talk.paused }; }"""
    )
    assert video == {"muted": False, "paused": False}

    ended = await heard(type="speech_ended")
    assert ended["reason"] == "complete"
    frames = await player.frames(str(ended["request_id"]))
    assert frames == sorted(set(frames))
    assert frames[-1] >= 85

    # The loop was got ready where speech ended, below it.
    resume_frame = int(str((await heard(type="complete"))["avatar_frame"]))
    loop = [round(f["media_time"] * 25) for f in (await player.read("frames"))[-30:]
            if f["video"] == "idle"]  # fmt: skip
    assert resume_frame in loop

    # One tap is enough: the next utterance is heard without another.
    messages.clear()
    await player.speak(tone(0.6))
    assert (await heard(type="speech_started"))["muted"] is False
