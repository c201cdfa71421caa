"""The web library where there is no page: in Node."""

import asyncio
import json
import re
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from fakes import tone, wav
from npm_packages import install_web, needs_packages
from schedules import Page
from servers import Json, ProcessServer, Serve

from musetalk_stream.access import Scope
from musetalk_stream.keys import add_key

CLIENTS = Path(__file__).parents[1] / "clients"
API = CLIENTS / "web/src/api.js"
README = CLIENTS / "web/README.md"
# Node 22 has WebSocket; 20 has it behind this flag, which 22 still knows.
WITH_SOCKETS = "--experimental-websocket"


async def node(*arguments: str) -> str:
    """What a program prints; it must end well."""
    found = which("node")
    if not found:
        pytest.skip("no node here (apt-get install nodejs)")
    process = await asyncio.create_subprocess_exec(
        *(found, "--no-warnings", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def run(tmp_path: Path, server: str, program: str, *flags: str) -> Json:
    """What a program finds that knows the library and `server`."""
    path = tmp_path / "program.mjs"
    path.write_text(f"""
        import {{ Problem, createSession, openSession }} from {json.dumps(API.as_uri())};
        const server = process.argv[2];
        const found = {{}};
        const failure = (promise) => promise.then(() => null, (error) => error);
        const second = new Int16Array(16000).fill(1000);
        {program}
        console.log(JSON.stringify(found));
    """)
    found: Json = json.loads(await node(*flags, str(path), server))
    return found


@needs_packages
async def test_the_program_of_the_readme(process_server: ProcessServer, tmp_path: Path) -> None:
    block = re.search(r"^```js\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert block, "there is no program in the README"
    program = tmp_path / "speak.mjs"
    program.write_text(block[1])
    await install_web(tmp_path)
    sound = tmp_path / "hello.wav"
    sound.write_bytes(wav(tone(0.4, rate=16_000), 16_000))
    running = asyncio.create_task(node(str(program), process_server.url, str(sound), str(sound)))
    async with process_server.client() as server:
        session_id = await _newest(server.client, running)
        page = Page(server, session_id, plays=True)  # somebody watches
        page.connect()
        printed = await running
        await page.until_closed()
        await page.close()
    assert printed.strip() == f"{process_server.url}/player/session/{session_id}"


async def _newest(client: Any, running: "asyncio.Task[str]") -> str:
    before = {
        each["session_id"] for each in (await client.get("/sessions/stats")).json()["sessions"]
    }
    while not running.done():
        sessions = (await client.get("/sessions/stats")).json()["sessions"]
        if new := [each for each in sessions if each["session_id"] not in before]:
            return str(new[-1]["session_id"])
        await asyncio.sleep(0.02)
    pytest.fail("no session was created: " + await running)


async def test_a_session_from_beginning_to_end(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        const session = await createSession({ server, batchSize: 4, onBusy: "queue" });
        const over = new AbortController();
        const events = [];
        const ids = [];
        const following = (async () => {
          for await (const { event, id } of session.events({ signal: over.signal })) {
            events.push(event);
            if (id) ids.push(Number(id));
          }
        })();
        found.config = session.config;
        found.video = session.avatar.videoUrl;
        const { status } = await session.streamAudio({ format: { rate: 16000 }, source: [second] });
        found.status = status;
        found.wire = session.document.config.batch_size;

        const again = await openSession({ server: new URL(server), sessionId: session.sessionId });
        found.same = again.playerUrl === session.playerUrl;
        const [first] = await again.utterances();
        await session.setCaptions(first.requestId, [{ start: 0, end: 1, text: "Hello" }]);
        found.captions = await (await fetch(first.captionsUrl)).text();
        await session.cancel(first.requestId);
        found.cancelled = (await session.utterance(first.requestId)).status;
        found.interrupted = (await session.interrupt({ waitMs: 0 })).interrupted;
        await session.close();
        await session.close(); // over already is as good
        await following;
        found.last = events.at(-1);
        found.named = ["started", "captions", "cancelled"].every((name) => events.includes(name));
        found.ordered = ids.every((id, i) => i === 0 || id > ids[i - 1]);
    """)  # fmt: skip
    assert found.pop("captions").startswith("WEBVTT")
    assert found.pop("config")["batchSize"] == 4
    assert found.pop("video") == f"{server.url}/avatars/tiny/video"
    assert found == {
        "status": "speaking",
        "wire": 4,
        "same": True,
        "cancelled": "cancelled",
        "interrupted": False,
        "last": "closed",
        "named": True,
        "ordered": True,
    }


async def test_events_go_on_after_the_last_one_that_was_read(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        const session = await createSession({ server });
        let first = null;
        for await (const event of session.events()) {
          if (event.event === "state") await session.sendAudio(await wav());
          if (event.event === "started") { first = event; break; }
        }
        for await (const event of session.events({ lastEventId: first.id })) {
          found.next = [event.event, Number(event.id) - Number(first.id)];
          break;
        }
        // A server that is gone is asked for again; one that has lost the session isn't.
        const connected = [];
        const following = (async () => {
          for await (const event of session.events({ onConnected: (is) => connected.push(is) })) {
            if (event.event === "state") await session.close();
            found.last = event;
          }
        })();
        await following;
        found.connected = connected[0];
        for await (const event of session.events()) found.over = event.reason;

        async function wav() {
          const { Buffer } = await import("node:buffer");
          const header = Buffer.alloc(44);
          header.write("RIFF"); header.writeUInt32LE(36 + second.byteLength, 4);
          header.write("WAVEfmt ", 8); header.writeUInt32LE(16, 16); header.writeUInt16LE(1, 20);
          header.writeUInt16LE(1, 22); header.writeUInt32LE(16000, 24);
          header.writeUInt32LE(32000, 28); header.writeUInt16LE(2, 32);
          header.writeUInt16LE(16, 34); header.write("data", 36);
          header.writeUInt32LE(second.byteLength, 40);
          return Buffer.concat([header, Buffer.from(second.buffer)]);
        }
    """)  # fmt: skip
    assert found["next"][1] == 1
    assert found["last"] == {"event": "closed", "reason": "deleted"}
    assert found["connected"] is True
    assert found["over"] == "gone"


@pytest.mark.parametrize("flags", [(), (WITH_SOCKETS,)], ids=["request", "websocket"])
async def test_streamed_sound(serve: Serve, tmp_path: Path, flags: tuple[str, ...]) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        const session = await createSession({ server });
        const format = { rate: 16000 };
        // Bytes cut anywhere; a view of others.
        const bytes = new Uint8Array(second.buffer);
        async function* pieces() {
          for (let at = 0; at < bytes.length; at += 3333) yield bytes.subarray(at, at + 3333);
        }
        const stream = new ReadableStream({
          start(controller) { controller.enqueue(second); controller.close(); },
        });
        const queued = { onBusy: "queue", format };
        found.durations = [
          await session.streamAudio({ ...queued, source: pieces(), trailingSilence: 0.5 }),
          await session.streamAudio({ ...queued, source: stream }),
        ].map(({ duration }) => duration);
        const refused = await failure(session.streamAudio({ format, source: [second] }));
        found.refused = [refused instanceof Problem, refused.code, refused.status];
        found.retryable = refused.retryable;
        await session.interrupt();

        async function* broken() { yield second; throw new RangeError("no more"); }
        found.broken = (await failure(session.streamAudio({ ...queued, source: broken() }))).name;
        const writer = await session.streamAudio(queued);
        found.transport = writer.transport;
        await writer.abort();
        found.stopped = (await failure(
          session.streamAudio({ ...queued, signal: AbortSignal.abort() }))).name;
        await session.close();
    """, *flags)  # fmt: skip
    assert found == {
        "durations": [1.52, 1.0],
        "refused": [True, "stream_active", 409],
        "retryable": True,
        "broken": "RangeError",
        "transport": "websocket" if flags else "request",
        "stopped": "AbortError",
    }


@pytest.mark.parametrize("flags", [(), (WITH_SOCKETS,)], ids=["request", "websocket"])
async def test_a_source_that_hangs_can_be_left(
    serve: Serve, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        const session = await createSession({ server });
        const format = { rate: 16000 };
        const over = new AbortController();
        const replacing = { format, onBusy: "replace" };
        const options = { ...replacing, signal: over.signal };
        async function* silent() {
          yield second;
          over.abort();
          await new Promise(() => {});
        }
        const stuck = { ...options, source: silent() };
        found.generator = (await failure(session.streamAudio(stuck))).name;

        const again = new AbortController();
        const source = new ReadableStream({
          pull: () => again.abort(),
          cancel: () => { found.isCancelled = true; },
        }, { highWaterMark: 0 });
        const stream = { ...options, source, signal: again.signal };
        found.stream = (await failure(session.streamAudio(stream))).name;

        // What the server says comes at once, too.
        const ended = async function* () {
          yield second;
          await session.close();
          await new Promise(() => {});
        };
        found.server = (await failure(session.streamAudio({ ...replacing, source: ended() }))).code;
    """, *flags)  # fmt: skip
    assert found == {
        "generator": "AbortError",
        "isCancelled": True,
        "stream": "AbortError",
        "server": "session_gone",
    }


async def test_the_reason_of_a_failed_stream_is_kept(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        let isAway = false;
        const flaky = (url, options) =>
          isAway ? Promise.reject(new TypeError("away")) : fetch(url, options);
        const session = await createSession({ server, fetch: flaky });
        async function* broken() {
          yield second;
          isAway = true;
          throw new RangeError("no more");
        }
        const format = { rate: 16000 };
        found.name = (await failure(session.streamAudio({ format, source: broken() }))).name;
        isAway = false;
        await session.close();
    """, WITH_SOCKETS)  # fmt: skip
    assert found == {"name": "RangeError"}


async def test_an_upload_that_is_over_takes_nothing(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        globalThis.location = new URL(server); // as in browsers: sent at its end
        const session = await createSession({ server });
        const contentType = "audio/L16;rate=16000";
        const upload = (signal) => session.streamAudio({ contentType, signal });
        const code = async (promise) => {
          const it = await failure(promise);
          return it.code ?? it;
        };
        const stopped = await upload();
        await stopped.abort();
        found.transport = stopped.transport;
        found.aborted = [await code(stopped.write(second)), await code(stopped.end()),
                         await code(stopped.accepted), await code(stopped.ended)];
        const over = new AbortController();
        const signalled = await upload(over.signal);
        over.abort("enough");
        found.signalled = [await code(signalled.write(second)), await code(signalled.ended)];

        // A buffer may be used again.
        const kept = await upload();
        const buffer = new Int16Array(16000).fill(1000);
        await kept.write(buffer);
        structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
        found.duration = (await kept.end()).duration;
        found.twice = await code(kept.end());
        await session.close();
    """)  # fmt: skip
    assert found == {
        "transport": "upload",
        "aborted": ["aborted"] * 4,
        "signalled": ["enough"] * 2,
        "duration": 1.0,
        "twice": "ended",
    }


async def test_events_can_be_left_while_none_comes(serve: Serve, tmp_path: Path) -> None:
    server = await serve()
    found = await run(tmp_path, server.url, """
        const session = await createSession({ server });
        const events = session.events();
        found.first = (await events.next()).value.event;
        const waiting = events.next();
        found.returned = (await events.return()).done;
        found.next = (await waiting).done;
        while ((await session.describe()).subscribers > 0);
        found.aborted = (await session.events({ signal: AbortSignal.abort() }).next()).done;
        await session.close();
    """)  # fmt: skip
    assert found == {"first": "state", "returned": True, "next": True, "aborted": True}


async def test_problems(serve: Serve, tmp_path: Path) -> None:
    server = await serve(max_sessions=1)
    found = await run(tmp_path, server.url, """
        const named = async (promise) => {
          const problem = await failure(promise);
          if (!(problem instanceof Problem && problem instanceof Error)) throw problem;
          return { ...problem };
        };
        found.range = await named(createSession({ server, fps: 1000 }));
        found.unknown = await named(openSession({ server, sessionId: "../x" }));
        const session = await createSession({ server });
        found.many = await named(createSession({ server }));
        found.empty = await named(session.sendAudio(new Uint8Array(0)));
        await session.close();
        found.gone = await named(session.describe());
        found.nobody = await named(createSession({ server: "http://127.0.0.1:9" }));
        const badGateway = { status: 502, headers: { "Retry-After": "7" } };
        const fetch = async () => new Response("<h1>Bad gateway</h1>", badGateway);
        found.proxy = await named(createSession({ server, fetch }));
        const login = async () => new Response("<h1>Sign in</h1>");
        found.login = await named(createSession({ server, fetch: login }));
        const cut = new ReadableStream({ start: (it) => it.error(new TypeError("cut off")) });
        found.cut = await named(createSession({ server, fetch: async () => new Response(cut) }));
        found.address = (await failure(createSession({ server: "avatar" }))).name;
        const signal = AbortSignal.abort();
        found.aborted = (await failure(createSession({ server, signal }))).name;
    """)  # fmt: skip
    detail = found["range"].pop("detail")
    assert "from 5 to 60" in detail
    assert found["range"] == {
        "name": "Problem",
        "title": "Invalid parameter.",
        "code": "invalid_parameter",
        "status": 400,
        "retryable": False,
        "retryAfterS": None,
    }
    codes = {name: problem["code"] for name, problem in found.items() if isinstance(problem, dict)}
    assert codes == {
        "range": "invalid_parameter",
        "unknown": "session_not_found",
        "many": "too_many_sessions",
        "empty": "empty_audio",
        "gone": "session_gone",
        "nobody": "unreachable",
        "proxy": "http_502",
        "login": "not_json",
        "cut": "unreachable",
    }
    assert found["many"]["retryAfterS"] >= 1
    assert (found["proxy"]["retryAfterS"], found["proxy"]["retryable"]) == (7, True)
    assert (found["address"], found["aborted"]) == ("TypeError", "AbortError")


async def test_keys_and_tokens(serve: Serve, tmp_path: Path) -> None:
    """Its own server has the key; what others get of it does what it is for, until it expires."""
    _, key = add_key(tmp_path / "state", "tests", frozenset({Scope.SESSIONS}))
    server = await serve()
    found = await run(
        tmp_path,
        server.url,
        """
        const key = process.argv[3];
        const codeOf = async (promise) => (await failure(promise))?.code;
        found.nobody = await codeOf(createSession({ server }));
        found.stranger = await codeOf(createSession({ server, key: "mts_0_0" }));

        const ours = await createSession({ server, key });
        const sound = { format: { rate: 16000 }, source: [second] };
        found.player = new URL(ours.playerUrl).searchParams.get("token") !== ours.token;
        const { sessionId } = ours;
        const shown = await ours.createToken({ rights: ["view"], ttl: 60 });
        found.rights = shown.rights;
        found.expires = Date.parse(shown.expiresAt) > Date.now();
        const viewer = await openSession({ server, sessionId, token: shown.token });
        found.viewer = await codeOf(viewer.sendAudio(new Uint8Array(44)));
        for await (const { event } of viewer.events()) {
          found.first = event;
          break;
        }
        viewer.token = "garbage";
        found.garbage = await codeOf(viewer.events().next());

        // Who has the key makes another where a header can't say who asks.
        ours.token = (await ours.createToken({ rights: ["speak"], ttl: 1 })).token;
        await new Promise((resolve) => setTimeout(resolve, 1200));
        const { status } = await ours.streamAudio(sound);
        found.spoken = status;
        await ours.close();
        """.replace("process.argv[3]", json.dumps(key)),
        WITH_SOCKETS,
    )
    assert found == {
        "nobody": "unauthorized",
        "stranger": "invalid_credentials",
        "player": True,
        "rights": ["view"],
        "expires": True,
        "viewer": "forbidden",
        "first": "state",
        "garbage": "invalid_credentials",
        "spoken": found["spoken"],
    }
    assert found["spoken"] in ("speaking", "complete", "queued")
