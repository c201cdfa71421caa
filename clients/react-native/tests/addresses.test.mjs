import assert from "node:assert/strict";
import { test } from "node:test";

import { isOfServer, playerAddress, sessionAddress } from "../src/addresses.ts";

test("a page's address, of what the server answered or of an id alone", () => {
  const session = { session_id: "3f2a" };
  assert.equal(playerAddress("https://a.example", session), "https://a.example/player/session/3f2a");
  assert.equal(
    playerAddress("https://a.example/", "3f2a", "muted=true"),
    "https://a.example/player/session/3f2a?muted=true",
  );
});

test("a server may be mounted at a path", () => {
  const session = { session_id: "3f2a" };
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

for (const server of [
  "",
  "a.example",
  "file:///a",
  "https://",
  "https://me@a.example",
  "https://a:b",
  "https://a/?b",
  "https://a/my avatar",
]) {
  test(`"${server}" is no address of a server`, () => {
    assert.throws(() => playerAddress(server, "3f2a"), TypeError);
  });
}

for (const server of ["https://bücher.example", "https://a.example/ü"]) {
  test(`how "${server}" is written is said`, () => {
    assert.throws(() => playerAddress(server, "3f2a"), /xn--… in a host and %C3%BC in a path/);
  });
}

for (const [server, page] of [
  ["https://a.example:443", "https://a.example/player/session/3f2a"],
  ["http://192.168.1.5:80/", "http://192.168.1.5/player/session/3f2a"],
  ["http://[::1]:8000", "http://[::1]:8000/player/session/3f2a"],
  ["HTTPS://A.Example/My%20Avatar", "https://a.example/My%20Avatar/player/session/3f2a"],
]) {
  test(`the page of ${server} is its own, as a WebView writes it`, () => {
    assert.equal(playerAddress(server, "3f2a"), page);
    assert.equal(isOfServer(server, page), true);
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
    "https://a.example:80/avatar/",
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
