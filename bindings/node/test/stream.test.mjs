// Streams: order, ends, closing, and the web's own streams made of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentEvent, ClosedError, ProtocolError } from "agentcore-client";
import { all, clientOf, failure, localDataPlane, pause, scriptedAgent } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);
const SSE = { "content-type": "text/event-stream" };

/** Waits until the data plane sees a disconnect after this. */
async function disconnectAfter(act) {
  const since = (await plane.journal()).at(-1)?.seq ?? 0;
  await act();
  return plane.waitFor((entry) => entry.seq > since && entry.kind === "disconnect");
}

test("events, text and the end", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 3 });
  assert.equal(stream.status, 200);
  assert.equal(stream.end, undefined);
  const events = await all(stream);
  assert.ok(events.every((event) => event instanceof AgentEvent));
  assert.deepEqual(
    events.map((event) => [event.data, event.text, event.event, event.id, event.json()]),
    [0, 1, 2].map((n) => [`"token${n} "`, `token${n} `, undefined, undefined, `token${n} `]),
  );
  assert.equal(stream.end, "complete");
  assert.equal(stream.eventsSeen, 3);
  assert.ok(stream.closed);
  assert.deepEqual(await all(stream), []);
});

test("text deltas", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 4 });
  assert.deepEqual(await all(stream.textDeltas()), ["token0 ", "token1 ", "token2 ", "token3 "]);
});

test("names, ids, other scripts and several lines", async () => {
  const chunks = [
    ": a comment\n\nevent: note\nid: 7\ndata: zwei\ndata: Zeilen 🐦 é\n\n",
    'data: "日本"\n\ndata: \n\n',
  ];
  const stream = await client.stream({ mode: "raw", chunks, content_type: "text/event-stream" });
  const events = await all(stream);
  assert.deepEqual(
    events.map(({ data, event, id }) => [data, event, id]),
    [
      ["zwei\nZeilen 🐦 é", "note", "7"],
      ['"日本"', undefined, undefined],
      ["", undefined, undefined],
    ],
  );
  assert.equal(events[1].text, "日本");
  assert.ok((await failure((async () => events[0].json())())) instanceof ProtocolError);
});

test("what arrived with others and was never handed over was not seen", async () => {
  const chunks = [Array.from({ length: 5 }, (_, number) => `data: ${number}\n\n`).join("")];
  const stream = await client.stream({ mode: "raw", chunks, content_type: "text/event-stream" });
  await stream[Symbol.asyncIterator]().next();
  assert.equal(stream.eventsSeen, 1);
  await stream.close();
  assert.equal(stream.eventsSeen, 1);
});

test("bytes that are no text", async () => {
  const agent = await scriptedAgent((response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    response.end(Buffer.from([0, 255, 1, 254]));
  });
  const events = await all(await agent.stream("hi"));
  assert.deepEqual(Buffer.concat(events.map((event) => event.data)), Buffer.from([0, 255, 1, 254]));
});

test("a hundred thousand events, in order, while others have their turn", async () => {
  const agent = await scriptedAgent((response) => {
    response.writeHead(200, SSE);
    let text = "";
    for (let n = 0; n < 100_000; n++) text += `data: "${n}"\n\n`;
    response.end(text);
  });
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  }, 1);
  let next = 0;
  for await (const text of (await agent.stream("hi")).textDeltas()) {
    assert.equal(text, String(next));
    next += 1;
  }
  clearInterval(timer);
  assert.equal(next, 100_000);
  assert.ok(turns > 3, `${turns} turns`);
});

test("lock-step: an event is handed over before the next one is sent", async () => {
  let response;
  const agent = await scriptedAgent((given) => {
    response = given;
    response.writeHead(200, SSE);
    response.write('data: "0"\n\n');
  });
  const stream = await agent.stream("hi");
  let next = 0;
  for await (const event of stream) {
    assert.equal(event.text, String(next));
    next += 1;
    if (next < 200) response.write(`data: "${next}"\n\n`);
    else response.end();
  }
  assert.equal(next, 200);
});

test("overlapping next() calls resolve in order", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 10, delay_ms: 2 });
  const iterator = stream[Symbol.asyncIterator]();
  const order = [];
  const calls = Array.from({ length: 13 }, (_, n) =>
    iterator.next().then((result) => {
      order.push(n);
      return result;
    }),
  );
  const results = await Promise.all(calls);
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.deepEqual(
    results.map((result) => result.value?.text),
    [...Array.from({ length: 10 }, (_, n) => `token${n} `), undefined, undefined, undefined],
  );
  assert.deepEqual(results.map((result) => result.done).slice(9), [false, true, true, true]);
});

test("an error goes to the first of those who wait, the end to the others", async () => {
  const stream = await client.stream({ mode: "error", tokens: 1 });
  const iterator = stream[Symbol.asyncIterator]();
  const [first, second, third] = await Promise.allSettled([
    iterator.next(),
    iterator.next(),
    iterator.next(),
  ]);
  assert.equal(first.value.value.text, "token0 ");
  assert.equal(second.reason.kind, "Agent");
  assert.deepEqual(third.value, { done: true, value: undefined });
  assert.equal(stream.end, "agent_error");
});

test("break closes the connection", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 1000, delay_ms: 5 });
  const seen = await disconnectAfter(async () => {
    for await (const event of stream) {
      assert.equal(event.text, "token0 ");
      break;
    }
  });
  assert.equal(seen.phase, "body");
  assert.equal(stream.end, "closed");
  assert.ok((await failure(all(stream))) instanceof ClosedError);
});

test("return() while a next() waits: both are told of the end, nothing is lost before", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 1000, delay_ms: 1 });
  const iterator = stream[Symbol.asyncIterator]();
  const seen = [];
  let waiting;
  for (let n = 0; n < 40; n++) {
    waiting = iterator.next().then((result) => {
      if (!result.done) seen.push(result.value.text);
      return result;
    });
    if (n < 39) await waiting;
  }
  const left = await iterator.return();
  assert.deepEqual(left, { done: true, value: undefined });
  await waiting;
  assert.deepEqual(
    seen,
    seen.map((_, n) => `token${n} `),
  );
  assert.ok(seen.length >= 39);
  assert.equal((await iterator.next()).done, true);
});

test("close() is at once, and tells whoever waits", async () => {
  const stream = await client.stream({ mode: "silent" });
  const failed = failure(stream[Symbol.asyncIterator]().next());
  await disconnectAfter(() => {
    const closing = stream.close();
    assert.equal(stream.end, "closed");
    return closing;
  });
  const error = await failed;
  assert.ok(error instanceof ClosedError);
  await stream.close();
});

test("a stream that nobody reads is closed when it is let go of", {
  skip: !globalThis.gc,
}, async () => {
  await disconnectAfter(async () => {
    await client.stream({ mode: "silent" });
    for (let n = 0; n < 5; n++) {
      await pause(10);
      globalThis.gc();
    }
  });
});

test("stopOnClose ends the session, but not after a complete answer", async () => {
  const stream = await client.stream({ mode: "silent" }, { stopOnClose: true });
  assert.ok((await plane.sessions()).some(({ sessionId }) => sessionId === stream.sessionId));
  await stream.close();
  assert.ok(!(await plane.sessions()).some(({ sessionId }) => sessionId === stream.sessionId));
  const whole = await client.stream({ mode: "stream", tokens: 1 }, { stopOnClose: true });
  await all(whole);
  await whole.close();
  assert.ok((await plane.sessions()).some(({ sessionId }) => sessionId === whole.sessionId));
});

test("stopOnClose ends the session where a limit ends the stream", async () => {
  const options = { stopOnClose: true, timeouts: { idle: 30 } };
  const stream = await client.stream({ mode: "silent" }, options);
  assert.equal((await failure(all(stream))).limit, "idle");
  const gone = async () =>
    !(await plane.sessions()).some(({ sessionId }) => sessionId === stream.sessionId);
  for (let tries = 0; tries < 200 && !(await gone()); tries++) await pause(10);
  assert.ok(await gone());
});

test("stopOnClose ends the session where the signal aborts as the head arrives", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  // Let go of by the call, and not yet heard by the stream.
  signal.removeEventListener = (...args) => {
    AbortSignal.prototype.removeEventListener.apply(signal, args);
    controller.abort();
  };
  const since = (await plane.journal()).at(-1)?.seq ?? 0;
  const begun = client.stream({ mode: "silent" }, { signal, stopOnClose: true });
  assert.equal((await failure(begun)).name, "AbortError");
  const isNew = (kind) => (entry) => entry.seq > since && entry.kind === kind;
  await plane.waitFor((entry) => isNew("request")(entry) && /stop/.test(entry.target));
  await plane.waitFor(isNew("disconnect"));
  const [asked, stopped] = (await plane.journal()).filter(isNew("request"));
  assert.equal(stopped.sessionId, asked.sessionId);
});

test("toReadableStream gives the raw bytes", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 3 });
  const text = await new Response(stream.toReadableStream()).text();
  assert.equal(text, 'data: "token0 "\n\ndata: "token1 "\n\ndata: "token2 "\n\n');
  assert.equal(stream.end, "complete");
  assert.throws(() => stream.toReadableStream(), TypeError);
  assert.throws(() => stream.textDeltas(), TypeError);
});

test("chunks can be transferred", async () => {
  const stream = await client.stream({ mode: "big", bytes: 300_000 });
  let length = 0;
  for await (const chunk of stream.toReadableStream()) {
    length += structuredClone(chunk, { transfer: [chunk.buffer] }).length;
  }
  assert.equal(length, 300_000);
});

test("cancelling a ReadableStream closes, also while a pull waits", async () => {
  for (const make of [(stream) => stream.toReadableStream(), (stream) => stream.toTextStream()]) {
    const stream = await client.stream({ mode: "silent" });
    const reader = make(stream).getReader();
    const waiting = reader.read();
    await pause(5);
    await disconnectAfter(() => reader.cancel());
    assert.deepEqual(await waiting, { done: true, value: undefined });
  }
});

test("a ReadableStream fails where the answer does", async () => {
  const stream = await client.stream({ mode: "error", tokens: 2 });
  const reader = stream.toTextStream().getReader();
  assert.equal((await reader.read()).value, "token0 ");
  assert.equal((await reader.read()).value, "token1 ");
  assert.equal((await failure(reader.read())).code, "AGENT");
});

test("toResponse", async () => {
  const response = (await client.stream({ mode: "stream", tokens: 1 })).toResponse();
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  assert.equal(await response.text(), 'data: "token0 "\n\nevent: end\ndata: {}\n\n');
  const stream = await client.stream({ mode: "json", value: 1 });
  const other = stream.toResponse({ status: 201, headers: { "cache-control": "no-store" } });
  assert.equal(other.status, 201);
  assert.equal(other.headers.get("cache-control"), "no-store");
  assert.equal(other.headers.get("content-type"), "application/json");
  assert.equal(await other.json(), 1);
});

test("back-pressure reaches the socket", async () => {
  let written = 0;
  const agent = await scriptedAgent((response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    const chunk = Buffer.alloc(1 << 16);
    const write = () => {
      while (written < 1 << 28) {
        written += chunk.length;
        if (!response.write(chunk)) return;
      }
      response.end();
    };
    response.on("drain", write);
    write();
  });
  const stream = await agent.stream("hi");
  const reader = stream.toReadableStream().getReader();
  await reader.read();
  await pause(100);
  const soFar = written;
  await pause(100);
  assert.equal(written, soFar);
  assert.ok(written < 1 << 25, `${written} bytes`);
  await reader.cancel();
});
