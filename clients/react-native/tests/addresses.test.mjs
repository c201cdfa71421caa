import assert from "node:assert/strict";
import { test } from "node:test";

import { isOfServer, playerAddress, sessionAddress } from "../src/addresses.ts";

test("a page's address, of what the server answered or of an id alone", () => {
  const session = { session_id: "3f2a", player_url: "/player/session/3f2a" };
  assert.equal(playerAddress("https://a.example", session), "https://a.example/player/session/3f2a");
  assert.equal(
    playerAddress("https://a.example/", "3f2a", "muted=true"),
    "https://a.example/player/session/3f2a?muted=true",
  );
});

test("a server that is mounted at a path names its own paths with it", () => {
  const session = { session_id: "3f2a", player_url: "/avatar/player/session/3f2a" };
  const address = "https://a.example/avatar/player/session/3f2a";
  assert.equal(playerAddress("https://a.example/avatar", session), address);
  assert.equal(playerAddress("https://a.example/avatar/", "3f2a"), address);
  assert.equal(
    sessionAddress("https://a.example/avatar", session, "/interrupt"),
    "https://a.example/avatar/sessions/3f2a/interrupt",
  );
});

test("an id never leaves its place in a path", () => {
  assert.equal(
    sessionAddress("https://a.example", "../avatars?x"),
    "https://a.example/sessions/..%2Favatars%3Fx",
  );
});

for (const server of ["", "a.example", "file:///a", "https://", "https://me@a.example", "https://a/?b"]) {
  test(`"${server}" is no address of a server`, () => {
    assert.throws(() => playerAddress(server, "3f2a"), TypeError);
  });
}

test("only what the server has is its own", () => {
  const server = "https://a.example/avatar";
  const own = ["https://a.example/avatar", "https://A.example/avatar/player/session/1?volume=1#x"];
  const foreign = [
    "https://a.example/",
    "https://a.example/avatars",
    "https://a.example/avatar/../admin",
    "https://a.example/avatar/%2e%2E/admin",
    "http://a.example/avatar/",
    "https://a.example:8443/avatar/",
    "https://a.example.evil.example/avatar/",
    "https://a.example@evil.example/avatar/",
    "about:blank",
    "intent://a.example/avatar/#Intent;end",
    "javascript:alert(1)",
    "tel:112",
  ];
  for (const url of own) assert.equal(isOfServer(server, url), true, url);
  for (const url of foreign) assert.equal(isOfServer(server, url), false, url);
});
