import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { createSession, deleteSession, interrupt } from "../src/session-api.ts";

const requests = [];
const answers = [];
let http, server;

/** The server's next answer. `more`: `headers` of it; `isStalled`: its body never ends. */
function answer(status, body, type = "application/json", more = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  answers.push({ status, body: text, type, ...more });
}

before(async () => {
  http = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { authorization } = request.headers;
    requests.push({ method: request.method, path: request.url, authorization, body });
    const next = answers.shift();
    http.emit("taken");
    if (!next) return; // never answered
    response.writeHead(next.status, { "Content-Type": next.type, ...next.headers });
    if (next.isStalled) response.write("{");
    else response.end(next.status === 204 ? undefined : next.body);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  server = `http://127.0.0.1:${http.address().port}/avatar`;
});

after(() => {
  http.closeAllConnections();
  http.close();
});

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail("it should have failed");
}

test("a session is asked for with what is wanted of it", async () => {
  answer(201, { session_id: "3f2a" });
  const session = await createSession(server, { avatar_id: "anna", fps: 15 });
  assert.equal(session.session_id, "3f2a");
  const { method, path, body } = requests.pop();
  assert.equal(`${method} ${path}`, "POST /avatar/sessions/create");
  assert.deepEqual(JSON.parse(body), { avatar_id: "anna", fps: 15 });
});

test("who asks is said by the token of the session, or as the app says", async () => {
  const session = { session_id: "3f2a", token: "its own" };
  for (const [ref, options, said] of [
    ["3f2a", {}, undefined],
    [session, {}, "Bearer its own"],
    [session, { authorization: "Bearer another" }, "Bearer another"],
  ]) {
    answer(200, { interrupted: false });
    await interrupt(server, ref, options);
    assert.equal(requests.pop().authorization, said);
  }
  answer(201, session);
  await createSession(server, {}, { authorization: "Bearer mts_key" });
  assert.equal(requests.pop().authorization, "Bearer mts_key");
});

test("a refusal is told in the server's words", async () => {
  const words = { title: "Too many sessions", detail: "8 sessions are there", retryable: true };
  const document = { ...words, code: "too_many_sessions", status: 429 };
  const headers = { "Retry-After": "7" };
  answer(429, document, "application/problem+json", { headers });
  const problem = await failure(createSession(server));
  assert.equal(problem.name, "Problem");
  assert.equal(problem.message, "8 sessions are there");
  assert.equal(problem.code, "too_many_sessions");
  assert.equal(problem.status, 429);
  assert.equal(problem.retryable, true);
  assert.equal(problem.retryAfterS, 7);
});

for (const [status, body, type, isRetryable] of [
  [502, "<h1>Bad gateway</h1>", "text/html", true],
  [502, '"busy"', "application/json", true],
  [429, "null", "application/json", true],
  [403, "", "text/plain", false],
]) {
  test(`what a proxy says (${status} ${body}) is told by its status`, async () => {
    answer(status, body, type);
    const problem = await failure(interrupt(server, "3f2a"));
    assert.equal(problem.code, `http_${status}`);
    assert.equal(problem.retryable, isRetryable);
  });
}

for (const body of ["<h1>Sign in</h1>", ""]) {
  test(`what is no answer of the server (${body}) is told`, async () => {
    answer(200, body, "text/html");
    const problem = await failure(createSession(server));
    assert.equal(problem.name, "Problem");
    assert.equal(problem.code, "not_json");
    assert.equal(problem.retryAfterS, null);
    assert.match(problem.detail, /^Something else answered/);
  });
}

test("a server that takes too long is told so, also where its answer has begun", async (t) => {
  for (const isStalled of [false, true]) {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const taken = new Promise((resolve) => http.once("taken", resolve));
    if (isStalled) answer(200, "", "application/json", { isStalled });
    const asked = failure(createSession(server));
    await taken;
    t.mock.timers.tick(20_000);
    const problem = await asked;
    t.mock.timers.reset();
    assert.equal(problem.code, "unreachable");
    assert.match(problem.detail, /can't be reached: it took longer than 20 seconds\.$/);
  }
});

test("a server that is not there is told", async () => {
  const problem = await failure(createSession("http://127.0.0.1:1"));
  assert.equal(problem.name, "Problem");
  assert.equal(problem.code, "unreachable");
  assert.equal(problem.status, 0);
  assert.match(problem.detail, /http:\/\/127\.0\.0\.1:1 can't be reached/);
});

test("a session that is over already need not be deleted", async () => {
  answer(204, "");
  answer(404, {});
  answer(410, {});
  for (let time = 0; time < 3; time++) await deleteSession(server, { session_id: "3f2a" });
  assert.equal(requests.pop().path, "/avatar/sessions/3f2a");
  answer(500, {});
  assert.equal((await failure(deleteSession(server, "3f2a"))).status, 500);
});

test("a request can be given up", async () => {
  const giveUp = new AbortController();
  const asked = failure(interrupt(server, "3f2a", { signal: giveUp.signal }));
  giveUp.abort();
  assert.equal((await asked).name, "AbortError");
  const half = new AbortController();
  answer(200, "", "application/json", { isStalled: true });
  http.once("taken", () => setTimeout(() => half.abort(), 20));
  const stalled = failure(interrupt(server, "3f2a", { signal: half.signal }));
  assert.equal((await stalled).name, "AbortError");
  const late = failure(interrupt(server, "3f2a", { signal: giveUp.signal }));
  assert.equal((await late).name, "AbortError");
});
