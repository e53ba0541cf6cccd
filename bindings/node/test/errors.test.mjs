// Errors of every kind: classes, members, and stacks that point at the caller.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as api from "agentcore-client";
import { all, clientOf, failure, localDataPlane } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);
const once = client.withOptions({ retry: "never" });
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

const byName = new Map(Object.entries(api));
const SERVICE = [
  [400, "ValidationException", "Service", "rejected"],
  [401, "UnauthorizedException", "Service", "rejected"],
  [402, "ServiceQuotaExceededException", "Service", "rejected"],
  [403, "AccessDeniedException", "Service", "rejected"],
  [404, "ResourceNotFoundException", "Service", "rejected"],
  [409, "ConflictException", "Service", "rejected"],
  [409, "RetryableConflictException", "Service", "rejected"],
  [424, "RuntimeClientError", "Agent", "accepted"],
  [429, "ThrottlingException", "Service", "rejected"],
  [500, "InternalServerException", "Service", "unknown"],
];

for (const [status, code, kind, delivery] of SERVICE) {
  test(`the service says ${code}`, async () => {
    await plane.addFault({ status, code, message: "no" });
    const error = await failure(once.invoke("hi"));
    assert.equal(error.constructor, byName.get(code));
    assert.equal(error.name, code);
    assert.ok(error instanceof api.AgentCoreError && error instanceof Error);
    assert.equal(error.kind, kind);
    assert.equal(error.code, kind.toUpperCase());
    assert.deepEqual([error.status, error.serviceCode, error.delivery], [status, code, delivery]);
    assert.match(error.requestId, /./);
    assert.match(error.sessionId, /^[0-9a-f-]{36}$/);
    assert.equal(error.attempts.length, 1);
    assert.equal(error.attempts[0].kind, kind);
    assert.ok(Object.hasOwn(error, "stack") && error.stack.startsWith(`${code}: ${error.message}`));
  });
}

test("kinds, codes and names are those of every language", () => {
  const names = read("../../../tests/conformance/names.json");
  const classes = Object.values(api).filter(
    (value) => typeof value === "function" && value.prototype instanceof api.AgentCoreError,
  );
  const seen = new Map(classes.map((of) => new of("x")).map((error) => [error.kind, error.code]));
  assert.deepEqual(
    [...seen].sort(),
    names.error_kinds.map(({ kind, code }) => [kind, code]).sort(),
  );
  for (const of of classes) {
    assert.equal(new of("x").name, of.name);
    assert.equal(byName.get(of.name), of);
  }
});

test("a 429 says how long to wait, in milliseconds", async () => {
  await plane.addFault({
    status: 429,
    code: "ThrottlingException",
    headers: { "retry-after": "2" },
  });
  assert.equal((await failure(once.invoke("hi"))).retryAfter, 2000);
});

test("attempts are listed", async () => {
  await plane.clearJournal();
  await plane.addFault({
    status: 429,
    code: "ThrottlingException",
    repeat: 9,
    headers: { "x-amz-retry-after": "1" },
  });
  const error = await failure(client.invoke("hi"));
  await plane.clearFaults();
  assert.ok(error instanceof api.ThrottlingException);
  assert.equal(error.attempts.length, 4);
  assert.equal(await plane.countPosts(), 4);
  assert.ok(error.attempts.slice(0, 3).every(({ pause }) => pause >= 1));
  assert.equal(error.attempts[3].pause, undefined);
});

test("the agent failed inside its stream", async () => {
  const stream = await client.stream({ mode: "error", tokens: 2, message: "out of ink" });
  const error = await failure(all(stream));
  assert.equal(error.constructor, api.AgentError);
  assert.equal(error.eventsSeen, 2);
  assert.match(error.agentPayload, /out of ink/);
  assert.ok(!Object.keys(error).includes("agentPayload"));
  assert.equal(stream.end, "agent_error");
});

test("a stream breaks off", async () => {
  await plane.addFault({ resetAfterBytes: 40 });
  const stream = await client.stream({ mode: "stream", tokens: 10 });
  const error = await failure(all(stream));
  assert.ok(error instanceof api.StreamInterruptedError);
  assert.equal(error.code, "STREAM_INTERRUPTED");
  assert.equal(error.delivery, "accepted");
  assert.equal(error.sessionId, stream.sessionId);
  assert.equal(error.eventsSeen, stream.eventsSeen);
  assert.equal(error.bytesSeen, 40);
  assert.equal(stream.end, "truncated");
});

test("limits", async () => {
  const late = once.withOptions({ timeouts: { firstByte: 50 } });
  const error = await failure(late.invoke({ mode: "slow", delay_ms: 5_000 }));
  assert.ok(error instanceof api.RequestTimeoutError);
  assert.deepEqual([error.limit, error.delivery], ["first_byte", "unknown"]);
  assert.match(error.message, /stopSession.*timeouts\.firstByte/);

  const silent = await client.stream({ mode: "silent" }, { timeouts: { idle: 50 } });
  assert.equal((await failure(all(silent))).limit, "idle");
  assert.equal(silent.end, "idle_timeout");

  const deadline = Date.now() + 60;
  const whole = client.invoke({ mode: "slow", delay_ms: 5_000 }, { timeouts: { deadline } });
  assert.equal((await failure(whole)).limit, "total");
  const passed = client.invoke("hi", { timeouts: { deadline: new Date(1000) } });
  assert.equal((await failure(passed)).delivery, "not_sent");
});

test("too large", async () => {
  const small = client.withOptions({ limits: { answer: 100, payload: 50, event: 20 } });
  const answer = await failure(small.invoke({ mode: "big", bytes: 1000 }));
  assert.ok(answer instanceof api.TooLargeError);
  const payload = await failure(small.invoke("x".repeat(100)));
  assert.deepEqual([payload.field, payload.delivery], ["payload", "not_sent"]);
  const chunks = [`data: "${"y".repeat(100)}"\n\n`];
  const event = client.withOptions({ limits: { event: 20 } });
  const big = await event.stream({ mode: "raw", chunks, content_type: "text/event-stream" });
  assert.equal((await failure(all(big))).code, "TOO_LARGE");
  assert.equal(big.end, "too_large");
});

test("protocol", async () => {
  await plane.addFault({ redirect: "http://127.0.0.1:1/" });
  const error = await failure(client.invoke("hi"));
  assert.ok(error instanceof api.ProtocolError);
});

test("nobody listens", async () => {
  const nowhere = clientOf(plane, { endpointUrl: "http://127.0.0.1:9", retry: "never" });
  const error = await failure(nowhere.invoke("hi"));
  assert.ok(error instanceof api.ConnectError);
  assert.equal(error.delivery, "not_sent");
  assert.match(error.cause.message, /refused/i);
});

const addon = readdirSync(new URL("..", import.meta.url)).find((file) => file.endsWith(".node"));
const native = createRequire(import.meta.url)(`../${addon}`);

test("a bug in the core", async () => {
  const queue = new native.ReadyQueue(() => undefined, true);
  const opened = native.openClient(queue, undefined, { localUrl: "http://127.0.0.1:9" });
  const { kind, message } = opened.startPanic(1);
  assert.equal(kind, "Internal");
  assert.match(message, /a bug of our own making/);
});

test("what can't be handed over, such as an event longer than any string, fails its stream", async (t) => {
  const stream = await client.stream({ mode: "stream", tokens: 3, delay_ms: 50 });
  const events = stream[Symbol.asyncIterator]();
  assert.equal((await events.next()).value.text, "token0 ");
  // It waits, so that its failure comes where nobody's code is on the stack.
  const read = events.next();
  t.mock.method(native.Stream.prototype, "takeEvents", () => {
    throw new Error("no room for it");
  });
  const error = await failure(read);
  assert.ok(error instanceof api.InternalError, error);
  assert.equal(error.cause.message, "no room for it");
  assert.deepEqual([error.delivery, error.sessionId], ["accepted", stream.sessionId]);
  assert.equal(stream.end, "closed");
  assert.equal(await failure(events.next()), error);
});

test("stacks point at the caller", async () => {
  await plane.addFault({ status: 404, code: "ResourceNotFoundException", repeat: 5 });
  async function itWasMe(act) {
    await act();
  }
  const calls = [
    () => once.invoke("hi"),
    () => once.stream("hi"),
    () => once.stopSession(api.SessionId.generate()),
    () => once.invoke("hi", { userId: 7 }),
    () => once.invoke("hi", { sessionId: "short" }),
    () => Promise.all([once.invoke("hi")]),
    async () => {
      const later = once.invoke("hi");
      await null;
      return await later;
    },
    async () => all(await once.stream({ mode: "error" })),
  ];
  for (const call of calls) {
    const error = await failure(itWasMe(call));
    assert.match(error.stack, /errors\.test\.mjs/, error.stack);
    assert.match(error.stack, /itWasMe/, error.stack);
  }
  await plane.clearFaults();
  // Where nobody awaits, only what is known at once can be told from where the call was made.
  await plane.addFault({ status: 404, code: "ResourceNotFoundException" });
  const stack = await new Promise((done) => once.invoke("hi").catch((error) => done(error.stack)));
  assert.match(stack, /at AgentCoreClient\.invoke/);
});

test("no secret in what is shown", async () => {
  const { inspect } = await import("node:util");
  const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "s3cr3t-key", sessionToken: "t0ken" };
  const own = clientOf(plane, { credentials: keys });
  const error = await failure(own.invoke("private words"));
  for (const shown of [
    inspect(own, { depth: 9, showHidden: true }),
    inspect(error, { depth: 9 }),
  ]) {
    assert.doesNotMatch(shown, /s3cr3t-key|t0ken|private words/);
  }
});
