"""A player page as these tests see it, in whatever engine: opened, spoken to, and asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from drivers import Engine, Tab
from fakes import tone, wav
from servers import Json, Server
from wire import Wire

FPS = 25
SPOKEN_WITHIN_S = 40

# What an app around the page would be told, and what nobody caught.
WATCH = """
window.appMessages = [];
window.uncaught = [];
window.ReactNativeWebView = { postMessage: (text) => window.appMessages.push(JSON.parse(text)) };
addEventListener("error", ({ message }) => message && window.uncaught.push(message));
addEventListener("unhandledrejection", ({ reason }) => window.uncaught.push(String(reason)));
window.part = (id) =>
  (document.querySelector("musetalk-avatar")?.shadowRoot ?? document).getElementById(id);
"""

# What helps to understand a player that does not do what it should.
DESCRIBE = """() => {
  const { state, request_id, position, current_time, buffered, counters, errors } = musetalkPlayer;
  const { readyState, paused, seeking, muted, error } = part("talk");
  const talk = { readyState, paused, seeking, muted, error: error?.message };
  return { state, request_id, position, current_time, buffered, counters, errors, talk,
           hidden: document.hidden, appMessages };
}"""


def sound(seconds: float) -> bytes:
    return wav(tone(seconds, rate=16_000), 16_000)


class AvatarPage:
    """The player of a session of its own. What it says of itself is `window.musetalkPlayer`."""

    def __init__(
        self, engine_name: str, tab: Tab, wire: Wire, server: Server, session: Json
    ) -> None:
        self.engine_name = engine_name
        self.tab = tab
        self.wire = wire
        self.server = server
        self.session = session
        self.session_id: str = session["session_id"]

    @classmethod
    async def open(
        cls, engine: Engine, wire: Wire, server: Server, *, script: str = "", **settings: object
    ) -> "AvatarPage":
        """A page that begins with `script`, of a session with these settings."""
        answer = await server.client.post("/sessions/create", json=settings)
        assert answer.status_code == 201, answer.text
        session = answer.json()
        wire.inject(session["player_url"], WATCH + script)
        page = cls(engine.name, await engine.open(), wire, server, session)
        await page.load()
        return page

    async def load(self) -> None:
        """Open it, again if it was."""
        await self.tab.goto(self.wire.url + self.session["player_url"])
        await self.tab.until("() => window.musetalkPlayer")

    async def close(self) -> list[str]:
        """Close the page and its session; what nobody caught there."""
        uncaught: list[str] = await self.tab.evaluate("() => window.uncaught")
        await self.tab.close()
        await self.server.client.delete(f"/sessions/{self.session_id}")
        return uncaught

    # --- the app's side

    async def speak(self, seconds: float, on_busy: str = "queue") -> str:
        """Have it say a tone; the request id."""
        answer = await self.server.upload(self.session_id, sound(seconds), on_busy=on_busy)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    async def interrupt(self) -> Json:
        """The server's answer, which waits for what the player says was heard."""
        answer = await self.server.client.post(self.session["interrupt_url"], params={"wait": 5})
        assert answer.status_code == 200, answer.text
        said: Json = answer.json()
        return said

    async def utterance(self, request_id: str) -> Json:
        """What the server says of it."""
        answer = await self.server.client.get(f"{self.session['utterances_url']}/{request_id}")
        assert answer.status_code == 200, answer.text
        said: Json = answer.json()
        return said

    async def until_made(self, request_id: str) -> None:
        """Until the server has all of it."""

        async def is_made() -> bool:
            return bool((await self.utterance(request_id))["status"] == "complete")

        await self.server.until(is_made)

    # --- the viewer's side

    async def _until(self, function: str, *arguments: object, within_s: float) -> None:
        try:
            await self.tab.until(function, *arguments, within_s=within_s)
        except AssertionError as failure:
            failure.add_note(f"the player: {await self.tab.evaluate(DESCRIBE)}")
            raise

    async def read(self, name: str) -> Any:
        return await self.tab.evaluate("(name) => window.musetalkPlayer[name]", name)

    async def until(self, state: str, within_s: float = SPOKEN_WITHIN_S) -> None:
        is_so = "(state) => window.musetalkPlayer?.state === state"
        await self._until(is_so, state, within_s=within_s)

    async def until_heard(self, request_id: str, seconds: float = 0.01) -> None:
        """Until that utterance has been played up to `seconds`."""
        await self._until(
            """(id, seconds) => musetalkPlayer.state === "speaking"
                && musetalkPlayer.request_id === id && musetalkPlayer.position >= seconds""",
            *(request_id, seconds),
            within_s=SPOKEN_WITHIN_S,
        )

    async def until_spoken(self, count: int = 1, within_s: float = SPOKEN_WITHIN_S) -> None:
        """Until `count` utterances are over and the loop is back."""
        await self._until(
            """(count) => musetalkPlayer.counters.utterances >= count
                && musetalkPlayer.state === "idle" """,
            count,
            within_s=within_s,
        )

    async def cycle_length(self) -> int:
        """Of the avatar's motion, in frames."""
        answer = await self.server.client.get(f"/avatars/{self.session['avatar_id']}")
        return int(answer.json()["cycle_length"])

    async def messages(self, kind: str) -> list[Json]:
        """What the app was told of this kind."""
        told: list[Json] = await self.tab.evaluate("() => window.appMessages")
        return [message for message in told if message["type"] == kind]

    async def ended(self) -> dict[str, Json]:
        """What the app was told of the utterances that are over, by their ids."""
        return {each["request_id"]: each for each in await self.messages("speech_ended")}

    async def frames(self, request_id: str) -> list[int]:
        """The numbers of the speech frames that were painted, as they were painted."""
        return [
            round(frame["media_time"] * FPS)
            for frame in await self.read("frames")
            if frame["video"] == "talk" and frame["request_id"] == request_id
        ]

    async def appended(self, request_id: str) -> list[Json]:
        return [entry for entry in await self.read("appends") if entry["request_id"] == request_id]


OpenPage = Callable[..., Awaitable[AvatarPage]]


async def assert_played_whole(page: AvatarPage, request_id: str, *, seconds: float) -> None:
    """Every chunk went in once, in order, without a hole, and it was heard to its exact end; its
    pictures came in order. How many of them a busy machine paints is not for tests."""
    ended = (await page.ended())[request_id]
    assert ended["reason"] == "complete"
    assert ended["played_s"] == pytest.approx(seconds, abs=1.5 / FPS)
    appended = await page.appended(request_id)
    what_happened = (appended, await page.read("counters"), await page.read("errors"))
    assert [entry["index"] for entry in appended] == list(range(len(appended))), what_happened
    assert [len(entry["buffered"]) for entry in appended] == [1] * len(appended)
    end = appended[-1]["buffered"][0][1] - appended[-1]["offset"]
    assert end == pytest.approx(seconds, abs=1 / FPS)
    await assert_painted_in_order(page, request_id)
    assert (await page.utterance(request_id))["played_ms"] == pytest.approx(
        seconds * 1000, abs=1500 / FPS
    )


async def assert_painted_in_order(page: AvatarPage, request_id: str) -> None:
    """Chromium tells of each picture by its own time. Firefox and WebKitGTK, when they are late, as
    on a busy machine, tell of a single one now and then by the time of another."""
    frames = await page.frames(request_id)
    assert frames
    in_order = frames if page.engine_name == "chromium" else without_strays(frames)
    assert in_order == sorted(in_order), frames
    assert len(in_order) >= 0.8 * len(frames), frames


def without_strays(frames: list[int]) -> list[int]:
    """Without those that are alone out of order: what was before and what comes next is in order.
    The last one is none of them: played to the end, nothing begins again."""
    around = zip([-1, *frames], frames, frames[1:], strict=False)
    kept = [frame for before, frame, after in around if before <= frame <= after or before > after]
    return kept + frames[-1:]
