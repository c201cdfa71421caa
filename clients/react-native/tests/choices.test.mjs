import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Choices } from "../src/choices.ts";

let choices;

/** What the app is told when the page says how loud it is. */
function heard(volume, muted) {
  const told = choices.heard({ type: "volume", volume, muted });
  return told && [told.volume, told.muted];
}

beforeEach(() => {
  choices = new Choices();
  choices.want({}, false);
  assert.equal(choices.load(), "");
  assert.equal(choices.changes(), null);
  choices.listens();
});

test("a page is told what changed when it listens, and once", () => {
  choices.load();
  choices.want({ captions: true }, false);
  assert.equal(choices.changes(), null);
  choices.listens();
  assert.deepEqual(choices.changes(), { captions: true });
  assert.equal(choices.changes(), null);
});

test("what we hush in the background is no choice of anybody", () => {
  choices.want({}, true);
  assert.deepEqual(choices.changes(), { muted: true });
  assert.equal(heard(1, true), null);
  choices.want({}, false);
  assert.deepEqual(choices.changes(), { muted: false });
  assert.equal(heard(1, false), null);
});

test("a page that is loaded in the background, or is still loading, is hushed", () => {
  choices.want({}, true);
  assert.equal(choices.load(), "muted=true");
  choices.want({}, false);
  assert.equal(choices.load(), "");
  choices.want({}, true);
  choices.listens();
  assert.deepEqual(choices.changes(), { muted: true });
});

test("who muted is still muted when the app is back", () => {
  choices.want({ muted: true }, false);
  assert.deepEqual(choices.changes(), { muted: true });
  assert.deepEqual(heard(1, true), [1, true]);
  for (const isHushed of [true, false]) {
    choices.want({ muted: true }, isHushed);
    assert.equal(choices.changes(), null);
  }
});

test("what the viewer chose is told, kept in the background, and said to the next page", () => {
  assert.deepEqual(heard(1, true), [1, true]);
  assert.deepEqual(heard(0.4, true), [0.4, true]);
  choices.want({ captions: true }, true);
  assert.deepEqual(choices.changes(), { captions: true });
  choices.want({ captions: true }, false);
  assert.equal(choices.changes(), null);
  assert.equal(choices.load(), "volume=0.4&muted=true&captions=true");
});

test("what the app says later counts more, and so does what it says again", () => {
  choices.want({ volume: 0.5 }, false);
  choices.changes();
  heard(0.5, false);
  assert.deepEqual(heard(0.8, true), [0.8, true]);
  choices.want({ volume: 0.3 }, false);
  assert.deepEqual(choices.changes(), { volume: 0.3 });
  assert.deepEqual(heard(0.3, true), [0.3, true]);
  choices.insist({ muted: false });
  assert.deepEqual(choices.changes(), { muted: false });
  assert.equal(choices.load(), "volume=0.3");
});

test("an app that keeps what it is told changes nothing by that", () => {
  assert.deepEqual(heard(1, true), [1, true]);
  choices.want({ volume: 1, muted: true }, false);
  assert.equal(choices.changes(), null);
  choices.want({ volume: 1, muted: true }, true);
  choices.want({ volume: 1, muted: true }, false);
  assert.equal(choices.changes(), null);
});

test("echoes that come late are not the viewer's", () => {
  for (const volume of [0.3, 0.4, 0.5]) {
    choices.want({ volume, muted: volume === 0.4 }, false);
    choices.changes();
  }
  // What is told is what is wanted by now, and not told twice.
  assert.deepEqual(heard(0.3, false), [0.5, false]);
  for (const [volume, muted] of [[0.4, false], [0.4, true], [0.5, true], [0.5, false]]) {
    assert.equal(heard(volume, muted), null);
  }
  assert.equal(choices.changes(), null);
  assert.deepEqual(heard(0.3, false), [0.3, false]);
});
