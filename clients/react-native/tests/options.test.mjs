import assert from "node:assert/strict";
import { test } from "node:test";

import { OPTIONS, readOption } from "../../web/src/player/options.js";
import { changesBetween, queryOf, valuesOf } from "../src/options.ts";

test("what nobody chose is what the player takes for it", () => {
  const fallbacks = Object.entries(OPTIONS).map(([name, { fallback }]) => [name, fallback]);
  assert.deepEqual(valuesOf({}), Object.fromEntries(fallbacks));
});

test("the player reads what is said of an option", () => {
  const { crop, muted, volume } = valuesOf({ crop: [0.1, 0, 0.8, 1], muted: true, volume: 0.5 });
  assert.equal(readOption("crop", String(crop)), "0.1,0,0.8,1");
  assert.equal(readOption("muted", String(muted)), true);
  assert.equal(readOption("volume", String(volume)), 0.5);
});

test("options are the query of the page", () => {
  assert.equal(queryOf({}), "");
  assert.equal(
    queryOf({ volume: 0.5, captions: true, background: "#00ff00", crop: [0.1, 0, 0.8, 1] }),
    "volume=0.5&captions=true&background=%2300ff00&crop=0.1%2C0%2C0.8%2C1",
  );
});

test("what is as it is anyway is not said", () => {
  assert.equal(queryOf({ volume: 1, muted: false, fit: "auto", poster: undefined }), "");
  assert.equal(queryOf({ volume: null, muted: null, background: null, crop: null }), "");
});

test("only what changed is set, and what is gone goes back", () => {
  const before = { volume: 0.5, background: "transparent", crop: [0, 0, 1, 1] };
  assert.deepEqual(changesBetween(before, { ...before, crop: [0, 0, 1, 1] }), {});
  assert.deepEqual(changesBetween(before, { volume: 0, muted: true }), {
    volume: 0,
    muted: true,
    background: null,
    crop: null,
  });
});
