import assert from "node:assert/strict";
import { test } from "node:test";

import { COMMANDS } from "../../web/src/player/commands.js";
import { MESSAGES } from "../../web/src/player/bridge.js";
import { commandText } from "../src/commands.ts";
import { MESSAGE_FIELDS, parseMessage } from "../src/messages.ts";
import { OPTION_NAMES } from "../src/options.ts";

const said = (fields) =>
  JSON.stringify({ source: "musetalk-player", session_id: "3f2a", ...fields });

test("the messages are those of the player", () => {
  const own = Object.entries(MESSAGE_FIELDS).map(([type, fields]) => [type, Object.keys(fields)]);
  const sorted = (entries) =>
    Object.fromEntries(entries.map(([type, names]) => [type, [...names].sort()]));
  assert.deepEqual(sorted(own), sorted(Object.entries(MESSAGES)));
});

test("the commands and options are those of the player", () => {
  assert.deepEqual(Object.keys(COMMANDS).sort(), ["interrupt", "set"]);
  assert.deepEqual(COMMANDS.interrupt, []);
  assert.deepEqual([...COMMANDS.set].sort(), [...OPTION_NAMES, "token"].sort());
});

test("a message is read", () => {
  const message = parseMessage(said({ type: "state", state: "idle", request_id: null }), "3f2a");
  assert.equal(message.type, "state");
  assert.equal(message.state, "idle");
  assert.equal(message.request_id, null);
});

test("fields of later versions do no harm", () => {
  const text = said({ type: "sound", blocked: true, since: 12 });
  assert.equal(parseMessage(text, "3f2a").blocked, true);
});

const NONE = {
  "no JSON": "{",
  "no object": '"ready"',
  "nothing at all": "null",
  "a list": "[]",
  "of somebody else": said({ source: "analytics", type: "ready", avatar_id: "a" }),
  "of another session": said({ session_id: "77", type: "ready", avatar_id: "a" }),
  "of a type to come": said({ type: "applause" }),
  "of a type that every object has": said({ type: "toString" }),
  "without a type": said({}),
  "without a field": said({ type: "ready" }),
  "with a field of another kind": said({ type: "sound", blocked: "yes" }),
  "with null where nothing may be missing": said({ type: "retry", request_id: null }),
};
for (const [what, text] of Object.entries(NONE)) {
  test(`${what}: no message`, () => assert.equal(parseMessage(text, "3f2a"), null));
}

test("a command is what the player listens to", () => {
  assert.deepEqual(JSON.parse(commandText("set", { volume: 0.5, target: "evil" })), {
    target: "musetalk-player",
    type: "set",
    volume: 0.5,
  });
});
