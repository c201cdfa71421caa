"""The player's plain functions, by themselves."""

from typing import Any

import pytest
import pytest_asyncio
from conftest import OpenPlayer
from player_driver import PlayerPage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PLAIN = "/player/session/none"  # of this origin, may load its modules, and does nothing


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Any, server_url: str) -> Any:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(server_url + PLAIN)
    yield page
    await context.close()


async def call(page: Any, module: str, function: str, *args: Any) -> Any:
    return await page.evaluate(
        """async ([module, name, args]) =>
            (await import(`/client/player/${module}.js`))[name](...args)""",
        [module, function, args],
    )


PLAYING = {
    "currentTime": 1.0,
    "still": 0.0,
    "paused": False,
    "seeking": False,
    "holding": False,
    "buffered": [[0, 5]],
    "drained": False,
    "nudges": 0,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {"act": "none"}, id="playing"),
        pytest.param({"still": 0.9}, {"act": "none"}, id="still, but not for long"),
        pytest.param({"still": 1.1}, {"act": "nudge", "to": 1.1}, id="stuck in a range"),
        pytest.param({"still": 1.1, "nudges": 3}, {"act": "recover"}, id="nudging did not help"),
        pytest.param({"still": 9, "paused": True}, {"act": "none"}, id="paused by somebody"),
        pytest.param({"still": 1.9, "seeking": True}, {"act": "none"}, id="seeking"),
        pytest.param(
            {"still": 2.1, "seeking": True}, {"act": "nudge", "to": 1.1}, id="a seek that got lost"
        ),
        pytest.param(
            {"still": 9, "seeking": True, "buffered": []}, {"act": "none"}, id="nothing to seek in"
        ),
        pytest.param(
            {"currentTime": 4.98, "still": 0.2, "buffered": [[0, 5], [5.4, 8]]},
            {"act": "jump", "to": 5.41},
            id="at a gap",
        ),
        pytest.param(
            {"currentTime": 4.98, "still": 0.2, "buffered": [[0, 5], [15, 18]]},
            {"act": "jump", "to": 15.01},
            id="at a gap as long as a skipped chunk",
        ),
        pytest.param(
            {"currentTime": 4.95, "still": 0.05, "buffered": [[0, 5], [5.4, 8]]},
            {"act": "none"},
            id="still playing up to the gap",
        ),
        pytest.param(
            {"currentTime": 0, "still": 0.2, "buffered": [[2, 8]]},
            {"act": "jump", "to": 2.01},
            id="the first chunk was skipped",
        ),
        pytest.param({"currentTime": 5, "still": 0.2}, {"act": "hold"}, id="run dry"),
        pytest.param(
            {"currentTime": 5, "still": 3, "holding": True, "paused": True},
            {"act": "none"},
            id="still dry",
        ),
        pytest.param(
            {"currentTime": 5, "holding": True, "paused": True, "buffered": [[0, 5.6]]},
            {"act": "resume"},
            id="half a second again",
        ),
        pytest.param(
            {"currentTime": 5, "holding": True, "buffered": [[0, 5.2]], "drained": True},
            {"act": "resume"},
            id="less, but it is the last",
        ),
        pytest.param(
            {"currentTime": 5, "holding": True, "paused": True, "drained": True},
            {"act": "finish"},
            id="run dry, and then that was the end",
        ),
        pytest.param(
            {"selfPaced": True, "still": 16, "paused": True},
            {"act": "none"},
            id="playing by itself, and paused by a call",
        ),
        pytest.param(
            {"selfPaced": True, "still": 16, "holding": True, "seeking": True},
            {"act": "recover"},
            id="playing by itself, and no more comes",
        ),
        pytest.param(
            {"currentTime": 4.95, "still": 0.4, "drained": True}, {"act": "finish"}, id="the end"
        ),
        pytest.param(
            {"currentTime": 4.95, "still": 0.1, "drained": True}, {"act": "none"}, id="nearly"
        ),
        pytest.param(
            {"currentTime": 3, "still": 0.4, "buffered": [], "drained": True},
            {"act": "finish"},
            id="taken away, and nothing comes back",
        ),
    ],
)
async def test_watchdog(page: Any, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    decision = await call(page, "watchdog", "decide", {**PLAYING, **changes})
    if "to" in expected:
        expected = {**expected, "to": pytest.approx(expected["to"])}
    assert decision == expected


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        ("cycleFrame", (7.96, 25, 200), 199),
        ("cycleFrame", (8.0, 25, 200), 0),
        ("cycleFrame", (0.0399, 25, 200), 1),
        ("seekTime", (10, 25), 0.42),
        ("framesAhead", (198, 3, 200), 5),
        ("framesAhead", (3, 198, 200), 195),
        ("holdSeconds", (198, 3, 25, 200), 0.2),
        ("holdSeconds", (3, 3, 25, 200), 0),
        ("holdSeconds", (4, 3, 25, 200), 0),  # past it
        ("holdSeconds", (0, 11, 25, 200), 0),  # further than is waited for
        ("speechFrame", (190, 0.8, 25, 25, 200), 10),
        ("speechFrame", (0, 2 / 15, 15, 25, 200), 3),
        ("speechFrame", (0, 1.0, 50, 25, 200), 25),
        ("frameAfter", (199, 0.05, 25, 200), 0),
        ("frameAfter", (1, -0.08, 25, 200), 199),
    ],
)
async def test_phase(page: Any, function: str, args: tuple[Any, ...], expected: float) -> None:
    assert await call(page, "phase", function, *args) == pytest.approx(expected)


async def test_backoff_grows_to_fifteen_seconds_and_jitters(page: Any) -> None:
    middle = [await call(page, "events", "backoffMs", attempt, 0.5) for attempt in range(7)]
    assert middle == pytest.approx([1000, 2000, 4000, 8000, 15000, 15000, 15000])
    assert await call(page, "events", "backoffMs", 0, 0) == pytest.approx(800)
    assert await call(page, "events", "backoffMs", 0, 1) == pytest.approx(1200)


async def test_a_connection_that_never_answers_is_given_up(browser: Any, server_url: str) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(server_url + PLAIN)
    await page.clock.install()
    await page.route("**/never", lambda _: None)
    await page.evaluate(
        """async () => {
            const { EventConnection } = await import("/client/player/events.js");
            const nothing = () => {};
            window.connection = new EventConnection({ url: "/never", sessionUrl: "/never",
                onEvent: nothing, onConnected: nothing, onGone: nothing });
            window.connection.open();
        }"""
    )
    await page.clock.run_for(30_000)
    assert await page.evaluate("window.connection.reconnects") == 0
    await page.clock.run_for(15_000)
    assert await page.evaluate("window.connection.reconnects") == 1
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    assert await page.evaluate("window.connection.reconnects") == 2
    await context.close()


RESTARTS = """async (name) => {
  const { EventConnection } = await import("/client/player/events.js");
  const made = [], told = [];
  class Source {
    static CLOSED = 2;
    readyState = 0;
    constructor(url) { made.push(this); this.url = String(url); }
    close() { this.readyState = 2; }
  }
  const say = (source, event, lastEventId = "") =>
    source.onmessage({ data: JSON.stringify(event), lastEventId });
  const connection = new EventConnection({ url: "/events", sessionUrl: "/never",
    EventSource: Source, sign: (url) => `${url}#signed`, onEvent: ({ event }) => told.push(event),
    onConnected: (is) => told.push(is), onGone: ({ reason }) => told.push(reason) });
  window.restarts = { made, told, say };
  connection.open();
  made[0].onopen();
  say(made[0], { event: name }, "7");
  say(made[0], { event: "closed", reason: "shutdown", resumable: true });
}"""


@pytest.mark.parametrize("last", ["state", "complete"])
async def test_a_server_that_ends_and_comes_back_is_waited_for(
    browser: Any, server_url: str, last: str
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(server_url + PLAIN)
    await page.clock.install()
    await page.evaluate(RESTARTS, last)
    assert await page.evaluate("restarts.made[0].readyState") == 2
    await page.clock.run_for(700)
    assert await page.evaluate("restarts.made.length") == 1
    await page.clock.run_for(600)
    (second,) = await page.evaluate("restarts.made.slice(1).map(({ url }) => url)")
    assert second.endswith("/events?last_event_id=7#signed")
    await page.evaluate(
        """() => {
            const { made, say } = restarts;
            made[1].onopen();
            say(made[1], { event: "closed", reason: "shutdown", resumable: false });
        }"""
    )
    told = await page.evaluate("restarts.told")
    assert told == [True, last, "closed", False, True, "shutdown"]
    await page.clock.run_for(60_000)
    assert await page.evaluate("restarts.made.length") == 2
    await context.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("this is not a sound", "This is not a sound."),
        ("This is a sentence.", "This is a sentence."),
        ("fps: must be at most 60", "fps: must be at most 60."),
        ("", ""),
    ],
)
async def test_words_of_the_server_become_a_sentence(page: Any, text: str, expected: str) -> None:
    assert await call(page, "words", "sentence", text) == expected


@pytest.mark.parametrize(
    ("picture", "viewport", "expected"),
    [
        ((512, 512), (390, 844), "cover"),  # a phone: the sides go
        ((512, 512), (844, 390), "contain"),  # turned: the head would go
        ((512, 512), (600, 560), "cover"),
        ((1280, 720), (390, 844), "contain"),  # only a quarter of it would be left
        ((720, 1280), (390, 844), "cover"),
    ],
)
async def test_fit(
    page: Any, picture: tuple[int, int], viewport: tuple[int, int], expected: str
) -> None:
    sizes = [{"width": width, "height": height} for width, height in (picture, viewport)]
    assert await call(page, "backdrop", "fit", *sizes) == expected


async def test_queue_orders_deduplicates_and_bounds(page: Any) -> None:
    log = await page.evaluate(
        """async () => {
            const { ChunkQueue } = await import("/client/player/chunk-queue.js");
            const queue = new ChunkQueue();
            const chunk = (index) => ({ index, url: `/${index}`, start: index * 2, duration: 2 });
            const log = [];
            log.push([2, 0, 1, 1, 3].map((index) => queue.add(chunk(index))));
            const wanted = queue.takeWanted(60);
            log.push(wanted.map(({ index }) => index));
            const [zero, one, two] = wanted;
            queue.arrived(one, "1");
            log.push(queue.ready);
            queue.arrived(zero, "0");
            log.push(queue.ready.index);
            queue.markAppended(zero);
            log.push(queue.ready.index);
            queue.markAppended(one);
            queue.skip(two);
            log.push(queue.takeWanted(5).length, queue.takeWanted(6).map(({ index }) => index));
            queue.finish(5);
            log.push(queue.missing, queue.isDrained);
            return log;
        }"""
    )
    assert log == [[True, True, True, False, True], [0, 1, 2], None, 0, 1, 0, [3], None, False]


async def test_queue_starts_late_and_again(page: Any) -> None:
    log = await page.evaluate(
        """async () => {
            const { ChunkQueue } = await import("/client/player/chunk-queue.js");
            const queue = new ChunkQueue();
            queue.startFrom(3);
            for (const index of [0, 1, 2, 4]) {
                queue.add({ index, url: "", start: index * 2, duration: 2 });
            }
            const log = [queue.takeWanted(60).map(({ index }) => index)];
            queue.startFrom(5);
            for (const index of [1, 2]) {
                queue.arrived({ state: "fetching" }, "late");
            }
            log.push(queue.missing);
            queue.finish(5);
            return [...log, queue.isDrained];
        }"""
    )
    assert log[0] == [1, 2, 4]
    assert log[2] is False


LINEUP = """async (events) => {
  const { Lineup } = await import("/client/player/lineup.js");
  const { Utterance } = await import("/client/player/utterance.js");
  const changed = { notify() {}, wait() {} };
  const counters = { chunks: 0, duplicates: 0 };
  const made = [];
  const lineup = new Lineup((id, given) => {
    made.push(new Utterance(id, { ...given, changed, counters }));
    return made.at(-1);
  });
  for (const [act, event] of events) {
    if (act === "take") lineup.take(event);
    else if (act === "begin") lineup.begin();
    else lineup.end();
  }
  return {
    current: lineup.current?.requestId ?? null,
    follower: lineup.current && (lineup.followerOf(lineup.current)?.requestId ?? null),
    made: made.map(({ requestId, from, stoppedBy, signal, queue }) => [
      requestId, from, signal.aborted ? stoppedBy : queue.isFinished ? "finished" : "alive"]),
  };
}"""


def started(request_id: str, epoch: int = 0, follows: str | None = None) -> list[Any]:
    event = {"event": "started", "request_id": request_id, "epoch": epoch, "follows": follows}
    return ["take", {**event, "fps": 25, "mime": "video/mp4", "avatar_frame": 0, "prebuffer": 0}]


def interrupted(epoch: int) -> list[Any]:
    return ["take", {"event": "interrupted", "epoch": epoch, "request_ids": []}]


def state(request_id: str | None, epoch: int, position: float | None = None) -> list[Any]:
    event = {"event": "state", "state": "idle", "request_id": request_id, "epoch": epoch}
    return ["take", {**event, "position": position}]


BEGIN, END = ["begin", None], ["end", None]


RESUMED = ["take", {**state(None, 256)[1], "resumed": True}]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [started("a"), started("b"), BEGIN, interrupted(0), started("c", 1)],
            [["a", 0, "interrupted"], ["b", 0, "interrupted"], ["c", 0, "alive"]],
            id="an interruption ends what there is and not what comes",
        ),
        pytest.param(
            [interrupted(1), started("a", 0), started("b", 1), started("c", 2)],
            [["c", 0, "alive"]],
            id="announced after its epoch is over",
        ),
        pytest.param(
            [interrupted(3), interrupted(1), started("a", 2)], [], id="interruptions in disorder"
        ),
        pytest.param(
            [started("a", 0), BEGIN, state("b", 1, 0.5), started("a", 0)],
            [["a", 0, "interrupted"], ["b", 0.5, "alive"]],
            id="an interruption that was missed",
        ),
        pytest.param(
            [started("a"), BEGIN, started("b"), state("a", 0, 2), started("a"), started("b")],
            [["a", 0, "alive"], ["b", 0, "alive"]],
            id="a connection opened anew in a queue",
        ),
        pytest.param(
            [started("a"), BEGIN, state(None, 0)], [["a", 0, "finished"]], id="a server that forgot"
        ),
        pytest.param(
            [started("a"), BEGIN, RESUMED, started("b", 0), started("c", 256)],
            [["a", 0, "finished"], ["c", 0, "alive"]],
            id="a server that was started anew",
        ),
        pytest.param(
            [started("a"), BEGIN, RESUMED, interrupted(256)],
            [["a", 0, "interrupted"]],
            id="an interruption of what a server said that was started anew since",
        ),
        pytest.param(
            [started("a"), BEGIN, END, started("a")], [["a", 0, "alive"]], id="over is over"
        ),
        pytest.param(
            [state("b", 0, 0.5), started("a"), started("b"), started("c", 0, "b")],
            [["b", 0.5, "alive"], ["c", 0, "alive"]],
            id="a late joiner is told of what was seen before, too",
        ),
        pytest.param(
            [state("b", 0, 0.5), started("a"), interrupted(0), started("c", 1)],
            [["b", 0.5, "interrupted"], ["c", 0, "alive"]],
            id="an interruption while joining",
        ),
        pytest.param(
            [state(None, 0), started("a"), started("b")],
            [["a", 0, "alive"], ["b", 0, "alive"]],
            id="nobody has seen anything yet",
        ),
        pytest.param(
            [["take", {"event": "cancelled", "request_id": "a", "epoch": 0}], started("b")],
            [["b", 0, "alive"]],
            id="cancelled and never heard of",
        ),
    ],
)
async def test_lineup(page: Any, events: list[Any], expected: list[Any]) -> None:
    assert (await page.evaluate(LINEUP, events))["made"] == expected


async def test_lineup_knows_what_is_to_follow(page: Any) -> None:
    behind = [started("a"), BEGIN, started("b", follows="a"), started("c", follows="b")]
    assert (await page.evaluate(LINEUP, behind))["follower"] == "b"
    cancelled = ["take", {"event": "cancelled", "request_id": "b", "epoch": 0}]
    assert (await page.evaluate(LINEUP, [*behind, cancelled]))["follower"] is None
    apart = [started("a"), BEGIN, started("b", follows=None)]
    assert (await page.evaluate(LINEUP, apart))["follower"] is None


async def test_run_places_utterances_behind_one_another(page: Any) -> None:
    log = await page.evaluate(
        """async () => {
            const { Run } = await import("/client/player/run.js");
            const make = ([name, appendedEnd, soundEnd = appendedEnd]) =>
                ({ name, soundEnd, queue: { appendedEnd } });
            const [a, b, c, d] = [["a", 2.04, 2], ["b", 0.6], ["c", 0], ["d", 1]].map(make);
            const run = new Run(a);
            run.add(b);
            run.add(c);
            const log = [run.end, run.ahead.map(({ name }) => name)];
            log.push([1.99, 1.9985, 2.59, 9].map((time) => run.placeAt(time).utterance.name));
            log.push(run.moveTo(1).length, run.moveTo(2.1).map(({ name }) => name));
            log.push(run.current.utterance.name, run.current.offset);
            log.push(run.drop(a).length); // heard already
            log.push(run.drop(c).length, run.has(c));
            log.push(run.takeCut(), run.takeCut(), run.last.utterance.name);
            run.add(d);
            log.push(run.moveTo(3).map(({ name }) => name), run.end);
            log.push([a, b, d].map((each) => run.has(each))); // what was left is forgotten
            log.push(run.placeAt(2.59).utterance.name, run.current.utterance.name);
            return log;
        }"""
    )
    assert log == [
        *(2.6, ["b", "c"], ["a", "b", "b", "c"], 0, ["b"], "b", 2),
        *(0, 1, False, 2.6, None, "b", ["d"], pytest.approx(3.6)),
        *([False, True, True], "b", "d"),
    ]


async def test_a_player_alone_has_no_errors_in_the_console(open_player: OpenPlayer) -> None:
    messages: list[str] = []
    player: PlayerPage = await open_player()
    player.page.on("console", lambda message: messages.append(message.text))
    await player.page.reload()
    await player.until("idle")
    assert messages == []


async def test_every_module_of_the_player_is_fetched_at_once(open_player: OpenPlayer) -> None:
    player = await open_player()
    loaded, preloaded = await player.page.evaluate(
        """() => [
            performance.getEntriesByType("resource").map(({ name }) => name)
                .filter((name) => name.endsWith(".js") && !name.endsWith("/player-page.js")),
            [...document.querySelectorAll("link[rel=modulepreload]")].map(({ href }) => href),
        ]"""
    )
    assert sorted(set(loaded)) == sorted(preloaded)
