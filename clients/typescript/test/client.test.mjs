// The client without a service: what it does when that is away, busy or restored. No test waits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Aftercall, Busy, Forbidden, isTemporary, NotFound, pauseAfter, Problem, ServiceFailed, TimedOut, Unreachable } from "../dist/index.js";

const CALL = {
  id: "call_1", sessionId: "12", telephonySessionId: "s-1", version: 4, stage: "final",
  updatedAt: "2026-03-10T18:09:22.480Z",
};

const ok = (body, headers = {}) => () => Response.json(body, { headers });
const problem = (status, kind, more = {}, headers = {}) => () =>
  Response.json({ type: `/problems/${kind}`, detail: "…", ...more }, { status, headers });
const refused = () => { throw new TypeError("fetch failed"); };
const page = (cursors, nextCursor) => ok({
  data: cursors.map((cursor) => ({ type: "call.final", cursor, callId: `call_${cursor}` })), nextCursor, hasMore: false,
});

function play(answers, options = {}) {
  const sent = [], pauses = [];
  const client = new Aftercall({
    url: "http://127.0.0.1:1/base/", key: "ak_test", ...options,
    fetch: async (address, init) => {
      const answer = answers.shift();
      assert.ok(answer, `an answer is lacking for ${address}`);
      sent.push({ ...init, url: new URL(address) });
      return answer();
    },
    sleep: async (milliseconds) => { pauses.push(milliseconds); },
  });
  return { client, sent, pauses, cursors: () => sent.map((one) => one.url.searchParams.get("cursor")) };
}

async function take(iterator, number) {
  const taken = [];
  for await (const item of iterator) {
    taken.push(item);
    if (taken.length === number) break;
  }
  return taken;
}

test("a request is repeated while that may help", async () => {
  const busy = problem(429, "too-many-requests", {}, { "Retry-After": "7" });
  const { client, pauses, sent } = play([refused, problem(503, "storage-unavailable"), busy, ok({ a: 1 })]);
  assert.deepEqual(await client.getMe(), { a: 1 });
  assert.equal(pauses.length, 3);
  assert.equal(pauses[2], 7000);
  assert.equal(sent[0].url.pathname, "/base/v1/me");
  assert.equal(sent[0].headers.Authorization, "Bearer ak_test");
});

test("after the last attempt the failure is thrown", async () => {
  const html = () => new Response("<html>Bad gateway</html>", { status: 502 });
  for (const [answer, error] of [[refused, Unreachable], [problem(503, "x"), ServiceFailed], [problem(429, "x"), Busy], [html, ServiceFailed]]) {
    await assert.rejects(play([answer, answer], { retries: 1 }).client.getMe(), error);
  }
});

test("why there was no response is said, and heard before each repetition", async () => {
  const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
  const away = () => { throw new TypeError("fetch failed", { cause }); };
  const heard = [];
  const onRetry = (error, pause) => heard.push([error, pause]);
  const { client, pauses } = play([away, problem(503, "x"), ...Array(8).fill(away), ok({ a: 1 })], { retries: Infinity, onRetry });
  assert.deepEqual(await client.getMe(), { a: 1 });
  assert.deepEqual(heard.map(([, pause]) => pause), pauses);
  assert.match(heard[0][0].message, /ECONNREFUSED 127\.0\.0\.1:1$/);
  assert.equal(heard[0][0].cause.cause, cause);
  assert.ok(heard.every(([error]) => isTemporary(error)));
  assert.ok(!isTemporary(new Error("another")));
  const following = play([away, page(["1"], "1")], { onRetry });
  await take(following.client.follow("0"), 1);
  const waiting = play([away, ok(CALL, { "Aftercall-Reached": "true" })], { onRetry });
  await waiting.client.waitFor("12", "final");
  assert.equal(heard.length, 12);
});

test("a body that breaks off is asked for again", async () => {
  const broken = () => new Response('{"a": ', { status: 200 });
  assert.deepEqual(await play([broken, ok({ a: 1 })]).client.getMe(), { a: 1 });
  await assert.rejects(play([broken], { retries: 0 }).client.getMe(), Unreachable);
});

test("a refusal is thrown at once", async () => {
  const { client } = play([problem(403, "forbidden", { requiredScope: "notes:write" })]);
  await assert.rejects(client.getMe(), (error) => error instanceof Forbidden && error.problem.requiredScope === "notes:write" && error.name === "Forbidden");
  await assert.rejects(play([problem(404, "not-found")]).client.getCall("x"), NotFound);
});

test("pauses grow, are spread, and end somewhere", () => {
  assert.deepEqual([1, 2, 3].map((attempt) => pauseAfter(attempt, undefined, 1)), [500, 1000, 2000]);
  assert.equal(pauseAfter(3, undefined, 0), 1000);
  assert.equal(pauseAfter(1000, undefined, 1), 30000);
  assert.equal(pauseAfter(1, new Response("", { headers: { "Retry-After": "999999" } }), 1), 300000);
  assert.equal(pauseAfter(1, new Response("", { headers: { "Retry-After": "soon" } }), 1), 500);
});

test("a list is read to its end, with its filters", async () => {
  const { client, sent } = play([ok({ data: [1, 2], nextCursor: "c" }), ok({ data: [3], nextCursor: null })]);
  assert.deepEqual(await take(client.listCalls({ main: true, stage: ["final", "absent"] })), [1, 2, 3]);
  assert.deepEqual(sent.map((one) => one.url.search), ["?main=true&stage=final&stage=absent", "?main=true&stage=final&stage=absent&cursor=c"]);
});

test("names are encoded, and a note has a key of its own", async () => {
  const { client, sent } = play([refused, ok({})]);
  await client.addNote("s-1/../x", { text: "a" });
  assert.equal(sent[0].url.pathname, "/base/v1/calls/s-1%2F..%2Fx/notes");
  assert.ok(sent[0].headers["Idempotency-Key"]);
  assert.equal(sent[0].headers["Idempotency-Key"], sent[1].headers["Idempotency-Key"]);
});

test("following goes on after whatever passes", async () => {
  const answers = [
    page(["1", "2"], "2"), refused, refused, problem(429, "x", {}, { "Retry-After": "3" }), problem(503, "x"),
    page([], "5"), page(["6"], "6"),
  ];
  const { client, cursors } = play(answers, { retries: 0 });
  const changes = await take(client.follow("0", { types: ["call.final"] }), 3);
  assert.deepEqual(changes.map((change) => change.cursor), ["1", "2", "6"]);
  assert.deepEqual(cursors(), ["0", "2", "2", "2", "2", "2", "5"]);
});

test("a revoked key ends following", async () => {
  await assert.rejects(take(play([problem(401, "unauthenticated")]).client.follow("0"), 1), Problem);
});

test("an expired cursor gives each call, then goes on; only the last one has the new cursor", async () => {
  const answers = [
    problem(410, "cursor-expired", { startFrom: "90" }),
    ok({ data: [CALL, { ...CALL, id: "call_2" }], nextCursor: "p" }), refused,
    ok({ data: [{ ...CALL, id: "call_3" }], nextCursor: null }), page(["91"], "91"),
  ];
  const { client, cursors } = play(answers);
  const changes = await take(client.follow("7"), 4);
  assert.deepEqual(changes.map((one) => [one.type, one.callId, one.cursor]), [
    ["resync", "call_1", "7"], ["resync", "call_2", "7"], ["resync", "call_3", "90"], ["call.final", "call_91", "91"],
  ]);
  assert.equal(cursors().at(-1), "90");
});

test("a restored database is read from where it says, also during a resync", async () => {
  const restored = problem(410, "history-changed", { startFrom: "0" });
  const { client, cursors } = play([problem(410, "cursor-expired", { startFrom: "90" }), restored, restored, page(["1"], "1")]);
  assert.equal((await take(client.follow("7"), 1))[0].cursor, "1");
  assert.equal(cursors().at(-1), "0");
});

test("a call is returned once it has reached the stage", async () => {
  const reached = (stage, value) => ok({ ...CALL, stage }, { "Aftercall-Reached": value });
  const answers = [problem(404, "not-found"), refused, reached("ended", "false"), reached("final", "true")];
  assert.equal((await play(answers).client.waitFor("12", "final")).stage, "final");
  assert.equal((await play([reached("absent", "false")]).client.waitFor("12", "final")).stage, "absent");
  await assert.rejects(play([reached("live", "false")]).client.waitFor("12", "final", 0), TimedOut);
  await assert.rejects(play([problem(410, "call-erased")]).client.waitFor("12", "final"), Problem);
});

test("a signal ends what waits", async () => {
  const controller = new AbortController();
  const client = new Aftercall({ url: "http://127.0.0.1:1", key: "k", signal: controller.signal, fetch: async () => {
    controller.abort();
    throw new TypeError("fetch failed");
  } });
  await assert.rejects(client.follow().next(), { name: "AbortError" });
});
