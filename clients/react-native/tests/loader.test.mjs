import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Loader } from "../src/loader.ts";

let log, loader;

/** What has happened since the last time that this was asked. */
const happened = () => log.splice(0);

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  log = [];
  loader = new Loader({
    onLoad: () => log.push("load"),
    onUnload: () => log.push("unload"),
    onError: ({ code, status, will_retry }) => log.push(`${code} ${status} ${will_retry}`),
  });
  loader.reload();
  assert.deepEqual(happened(), ["unload", "load"]);
});

function show() {
  loader.heard();
  loader.ready();
}

/** How many milliseconds pass until the page is loaded; null if it isn't within a minute. */
function msUntilLoad() {
  for (let ms = 0; ms <= 60_000; ms += 500) {
    mock.timers.tick(ms === 0 ? 0 : 500);
    if (happened().includes("load")) return ms;
  }
  return null;
}

test("a page that was lost is loaded at once", () => {
  show();
  loader.lost();
  assert.deepEqual(happened(), ["unload", "page_lost null true"]);
  mock.timers.tick(0);
  assert.deepEqual(happened(), ["load"]);
});

test("one that is lost again and again is given up, until it is asked for", () => {
  const waits = [];
  for (let time = 0; time < 6; time++) {
    show();
    loader.lost();
    waits.push(msUntilLoad());
  }
  assert.deepEqual(waits, [0, 1000, 2000, 4000, 8000, null]);
  loader.reload();
  assert.deepEqual(happened(), ["unload", "load"]);
  show();
  loader.lost();
  assert.deepEqual(happened(), ["unload", "page_lost null true"]);
});

test("one that was well for a while is not lost in a row", () => {
  for (let time = 0; time < 8; time++) {
    show();
    mock.timers.tick(30_000);
    loader.lost();
    mock.timers.tick(0);
    assert.deepEqual(happened(), ["unload", "page_lost null true", "load"]);
  }
});

test("a server that can't be reached is tried on and on, ever later", () => {
  const waits = [];
  for (let time = 0; time < 7; time++) {
    loader.unreachable("offline");
    assert.deepEqual(happened(), ["unload", "unreachable null true"]);
    waits.push(msUntilLoad());
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  show();
  loader.unreachable("offline");
  happened();
  mock.timers.tick(1000);
  assert.deepEqual(happened(), ["load"]);
});

for (const status of [429, 500, 502, 503, 504]) {
  test(`${status} passes`, () => {
    loader.refused(status);
    assert.deepEqual(happened(), ["unload", `http_error ${status} true`]);
    mock.timers.tick(1000);
    assert.deepEqual(happened(), ["load"]);
  });
}

for (const [status, code] of [
  [400, "http_error"],
  [403, "not_allowed"],
  [404, "session_not_found"],
  [410, "session_gone"],
]) {
  test(`${status} stays, and so does the page that says so`, () => {
    loader.refused(status);
    assert.deepEqual(happened(), [`${code} ${status} false`]);
    mock.timers.tick(120_000);
    assert.deepEqual(happened(), []);
  });
}

test("a page that says nothing is no player, and another one is tried", () => {
  mock.timers.tick(30_000);
  assert.deepEqual(happened(), ["unload", "no_player null true"]);
  mock.timers.tick(1000);
  assert.deepEqual(happened(), ["load"]);
  loader.heard();
  mock.timers.tick(60_000);
  assert.deepEqual(happened(), []);
});

test("in the background nothing is loaded; before the user it is, at once", () => {
  show();
  loader.setForeground(false);
  loader.lost();
  mock.timers.tick(60_000);
  assert.deepEqual(happened(), ["unload", "page_lost null true"]);
  loader.setForeground(true);
  assert.deepEqual(happened(), ["load"]);
  loader.setForeground(false);
  loader.setForeground(true);
  assert.deepEqual(happened(), [], "a page that is there is not loaded again");
});

test("what begins in the background is loaded when the app is before its user", () => {
  loader.stop();
  loader.setForeground(false);
  loader.reload();
  mock.timers.tick(60_000);
  assert.deepEqual(happened(), ["unload"]);
  loader.setForeground(true);
  assert.deepEqual(happened(), ["load"]);
});

test("who comes back does not wait for the rest of the time", () => {
  for (let time = 0; time < 5; time++) loader.unreachable("offline");
  happened();
  loader.setForeground(false);
  loader.setForeground(true);
  assert.deepEqual(happened(), ["load"]);
});

test("after the end of the session nothing is loaded", () => {
  show();
  loader.over();
  loader.lost();
  mock.timers.tick(60_000);
  loader.setForeground(true);
  assert.deepEqual(happened(), ["unload", "page_lost null false"]);
});

test("a view that is gone loads nothing", () => {
  loader.unreachable("offline");
  loader.stop();
  happened();
  mock.timers.tick(60_000);
  loader.setForeground(true);
  assert.deepEqual(happened(), []);
});

test("one that is not let in waits for another token", () => {
  assert.equal(loader.admitted(), false);
  loader.refused(401);
  assert.deepEqual(happened(), ["not_allowed 401 false"]);
  assert.equal(msUntilLoad(), null);
  assert.equal(loader.admitted(), true);
  assert.deepEqual(happened(), ["unload", "load"]);
  show();
  assert.equal(loader.admitted(), false); // the page is told instead
  assert.deepEqual(happened(), []);
});
