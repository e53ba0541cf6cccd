// AbortSignal, as people know it from fetch.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { AgentCoreClient } from "agentcore-client";
import { all, clientOf, failure, localDataPlane } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);

const listeners = (signal) => getEventListeners(signal, "abort").length;

async function seenAfter(kind, act) {
  const since = (await plane.journal()).at(-1)?.seq ?? 0;
  await act();
  return plane.waitFor((entry) => entry.seq > since && entry.kind === kind);
}

test("already aborted: nothing is sent", async () => {
  const posts = await plane.countPosts();
  const reason = new Error("mine");
  const signal = AbortSignal.abort(reason);
  assert.equal(await failure(client.invoke("hi", { signal })), reason);
  assert.equal(await failure(client.stream("hi", { signal })), reason);
  assert.equal(await failure(client.stopSession("x".repeat(40), { signal })), reason);
  assert.equal(await plane.countPosts(), posts);
  assert.equal(
    (await failure(client.invoke("hi", { signal: AbortSignal.abort() }))).name,
    "AbortError",
  );
});

test("while a call waits for its answer", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  let handled = 0;
  signal.onabort = () => {
    handled += 1;
  };
  const seen = await seenAfter("disconnect", async () => {
    const call = client.invoke({ mode: "slow", delay_ms: 10_000 }, { signal });
    await plane.waitFor((entry) => entry.kind === "request");
    await new Promise((wake) => setTimeout(wake, 50));
    assert.equal(listeners(signal), 2);
    const reason = { any: "thing" };
    controller.abort(reason);
    assert.equal(await failure(call), reason);
  });
  assert.equal(seen.phase, "head");
  assert.equal(handled, 1);
});

test("while it connects", async () => {
  // A server that takes connections and says nothing, behind TLS that never comes.
  const server = createServer();
  const connected = new Promise((done) => server.once("connection", done));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  after(() => server.close());
  const own = new AgentCoreClient({
    ...plane.clientOptions(),
    endpointUrl: `https://127.0.0.1:${server.address().port}`,
  });
  const controller = new AbortController();
  const call = own.invoke("hi", { signal: controller.signal });
  const socket = await connected;
  const closed = new Promise((done) => socket.once("close", done));
  socket.on("error", () => {});
  socket.resume();
  controller.abort();
  assert.equal((await failure(call)).name, "AbortError");
  await closed;
  assert.equal(listeners(controller.signal), 0);
});

test("AbortSignal.timeout", async () => {
  const error = await failure(
    client.invoke({ mode: "slow", delay_ms: 10_000 }, { signal: AbortSignal.timeout(30) }),
  );
  assert.equal(error.name, "TimeoutError");
  assert.ok(error instanceof DOMException);
});

test("in the middle of a stream, while a read waits", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const stream = await client.stream({ mode: "silent" }, { signal });
  const iterator = stream[Symbol.asyncIterator]();
  const failed = failure(iterator.next());
  await seenAfter("disconnect", () => controller.abort("enough"));
  assert.equal(await failed, "enough");
  assert.equal(await failure(all(stream)), "enough");
  assert.equal(stream.end, "closed");
  assert.equal(listeners(signal), 0);
});

test("in the middle of a stream, from within its loop", async () => {
  const controller = new AbortController();
  const stream = await client.stream(
    { mode: "stream", tokens: 100, delay_ms: 3 },
    { signal: controller.signal },
  );
  let seen = 0;
  const reading = (async () => {
    for await (const _ of stream) {
      seen += 1;
      if (seen === 3) controller.abort();
    }
  })();
  assert.equal((await failure(reading)).name, "AbortError");
  assert.equal(seen, 3);
});

test("a ReadableStream fails with the reason", async () => {
  const controller = new AbortController();
  const stream = await client.stream({ mode: "silent" }, { signal: controller.signal });
  const reader = stream.toReadableStream().getReader();
  const failed = failure(reader.read());
  await seenAfter("disconnect", () => controller.abort("enough"));
  assert.equal(await failed, "enough");
});

test("an abort with stopOnClose stops the session", async () => {
  const controller = new AbortController();
  const options = { signal: controller.signal, stopOnClose: true };
  const stream = await client.stream({ mode: "silent" }, options);
  await seenAfter("disconnect", () => controller.abort());
  for (let tries = 0; tries < 100; tries++) {
    const sessions = await plane.sessions();
    if (!sessions.some(({ sessionId }) => sessionId === stream.sessionId)) return;
    await new Promise((wake) => setTimeout(wake, 10));
  }
  assert.fail("the session goes on");
});

test("listeners are removed when all is over", async () => {
  const { signal } = new AbortController();
  await client.invoke("hi", { signal });
  assert.equal(listeners(signal), 0);
  await failure(client.invoke({ mode: "error_before" }, { signal }));
  assert.equal(listeners(signal), 0);
  const stream = await client.stream({ mode: "stream", tokens: 2 }, { signal });
  assert.equal(listeners(signal), 1);
  await all(stream);
  assert.equal(listeners(signal), 0);
  const broken = await client.stream({ mode: "silent" }, { signal });
  await broken.close();
  assert.equal(listeners(signal), 0);
});

test("an abort after the end changes nothing", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const reply = await client.invoke("hi", { signal });
  const stream = await client.stream({ mode: "stream", tokens: 1 }, { signal });
  await all(stream);
  controller.abort();
  assert.equal(reply.status, 200);
  assert.equal(stream.end, "complete");
  assert.deepEqual(await all(stream), []);
});
