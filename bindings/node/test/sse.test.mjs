// Answers on their way to a browser: whole events, heartbeats between them, the reason of a bad end.
import assert from "node:assert/strict";
import { subscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { InvalidInputError, internals } from "agentcore-client";
import { clientOf, failure, localDataPlane, pause, scriptedAgent } from "./support.mjs";

const { EventCutter, withHeartbeat } = internals;
const plane = await localDataPlane();
const client = clientOf(plane);
const BEAT = ": heartbeat\n\n";
const text = (chunk) => Buffer.from(chunk).toString();
const EVENTS = {
  "two events": "data: a\n\ndata: b\n\n",
  "carriage returns and line feeds": "data: a\r\n\r\nid: 1\r\ndata: b\r\n\r\n",
  "carriage returns": "data: a\r\rdata: b\r\r",
  "a comment and a long blank": ": x\n\n\n\ndata: ä\n\n",
};

test("events are cut behind blank lines, however they arrive", () => {
  for (const [name, stream] of Object.entries(EVENTS)) {
    const bytes = Buffer.from(stream);
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const cutter = new EventCutter();
        const given = [[0, first], [first, second], [second]]
          .map(([from, to]) => text(cutter.push(bytes.subarray(from, to))))
          .filter((piece) => piece !== "");
        assert.equal(given.join(""), stream, name);
        for (const piece of given) assert.match(piece, /(^|[\r\n])(\n|\r|\r\n)$/, name);
        assert.equal(cutter.rest().length, 0);
      }
    }
  }
});

test("an event without end is held back, a long one is not for ever", () => {
  const cutter = new EventCutter();
  assert.equal(text(cutter.push(Buffer.from("data: a\n\ndata: b\n"))), "data: a\n\n");
  assert.ok(cutter.atBorder);
  assert.equal(text(cutter.rest()), "data: b\n");
  const long = new EventCutter();
  long.push(Buffer.from("data: "));
  assert.equal(long.push(Buffer.alloc(65_536, "x")).length, 65_542);
  assert.ok(!long.atBorder);
  assert.equal(text(long.push(Buffer.from("\n"))), "\n");
  assert.ok(!long.atBorder);
  assert.equal(text(long.push(Buffer.from("\nda"))), "\n");
  assert.ok(long.atBorder);
});

test("a byte order mark does not end up behind a comment", () => {
  const cutter = new EventCutter();
  assert.equal(text(cutter.push(Buffer.from("\ufeffdata: a\n\n"))), "data: a\n\n");
});

test("a read that a heartbeat overtook loses nothing", async () => {
  let give;
  const next = withHeartbeat(() => new Promise((resolve) => (give = resolve)), 5);
  assert.equal(text(await next()), BEAT);
  assert.equal(text(await next()), BEAT);
  // It arrives while nobody asks.
  give(Buffer.from("one"));
  await pause(10);
  assert.equal(text(await next()), "one");
  const last = next();
  give(undefined);
  assert.equal(await last, undefined);
});

test("no heartbeat inside of an event", async () => {
  let give;
  let inside = true;
  const reading = () => new Promise((resolve) => (give = resolve));
  const next = withHeartbeat(reading, 5, () => !inside);
  const first = next();
  assert.equal(await Promise.race([first, pause(30)]), undefined);
  inside = false;
  assert.equal(text(await first), BEAT);
  give(undefined);
  assert.equal(await next(), undefined);
});

/** An agent that sends these chunks, the next one when it is told to. */
async function agentOf(contentType) {
  let response;
  let arrived;
  const asked = new Promise((done) => {
    arrived = done;
  });
  const agent = await scriptedAgent((answer) => {
    response = answer;
    answer.writeHead(200, { "content-type": contentType, "set-cookie": "a=b", "x-of-agent": "1" });
    answer.flushHeaders();
    arrived();
  });
  return { agent, asked, send: (chunk) => response.write(chunk), end: () => response.end() };
}

test("heartbeats while the agent is silent, around events and never within", async () => {
  const { agent, send, end } = await agentOf("text/event-stream");
  const stream = await agent.stream("hi");
  const reader = stream.toResponse({}, { heartbeat: 5 }).body.getReader();
  const read = async () => text((await reader.read()).value);
  assert.equal(await read(), BEAT);
  send("data: on");
  for (let beats = 0; beats < 3; beats++) assert.equal(await read(), BEAT);
  send("e\n\n");
  let got = await read();
  while (got === BEAT) got = await read();
  assert.equal(got, "data: one\n\n");
  end();
  do got = await reader.read();
  while (!got.done && text(got.value) === BEAT);
  assert.ok(got.done);
});

test("no heartbeat, unless it is asked for, nor in what is no stream of events", async () => {
  for (const [contentType, options] of [
    ["text/event-stream", undefined],
    ["application/json", { heartbeat: 1 }],
  ]) {
    const { agent, send, end } = await agentOf(contentType);
    const answer = (await agent.stream("hi")).toResponse({}, options).text();
    await pause(30);
    send('"one"\n\n');
    end();
    assert.equal(await answer, '"one"\n\n');
  }
});

test("cancelling while heartbeats go out closes at once", async () => {
  const stream = await client.stream({ mode: "silent" });
  const since = (await plane.journal()).at(-1).seq;
  const reader = stream.toResponse({}, { heartbeat: 5 }).body.getReader();
  await reader.read();
  await reader.cancel();
  await plane.waitFor((entry) => entry.seq > since && entry.kind === "disconnect");
  assert.equal(stream.end, "closed");
});

test("nothing of the agent's head is passed on but the kind of its content", async () => {
  for (const [given, expected] of [
    ["text/event-stream", "text/event-stream; charset=utf-8"],
    ["Text/Event-Stream;x=y", "text/event-stream; charset=utf-8"],
    ["application/json; charset=utf-8", "application/json"],
    ["text/markdown", "text/markdown; charset=utf-8"],
    ["text/csv; charset=iso-8859-1", "text/csv; charset=iso-8859-1"],
    ["text/html", "text/plain; charset=utf-8"],
    ["image/svg+xml", "text/plain; charset=utf-8"],
    ["what is this", "application/octet-stream"],
  ]) {
    const { agent, end } = await agentOf(given);
    const stream = await agent.stream("hi");
    end();
    const response = stream.toResponse();
    assert.deepEqual(Object.fromEntries(response.headers), {
      "cache-control": "no-cache, no-transform",
      "content-type": expected,
      "x-accel-buffering": "no",
      "x-content-type-options": "nosniff",
    });
    assert.equal(await response.text(), "");
  }
});

test("a stream that breaks says so in a last event, and then breaks, too", async () => {
  await plane.addFault({ resetAfterBytes: 25 });
  const lines = [];
  subscribe("agentcore-client:log", (line) => lines.push(line.message));
  const response = (await client.stream({ mode: "stream", tokens: 5 })).toResponse();
  const reader = response.body.getReader();
  let got = "";
  const error = await failure(
    (async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        got += text(value);
      }
    })(),
  );
  assert.equal(error.code, "STREAM_INTERRUPTED");
  assert.ok(lines.includes(`an answer that is passed on failed: ${error}`));
  const events = got.split("\n\n");
  // The event that was cut in half is left out.
  assert.equal(events[0], 'data: "token0 "');
  assert.match(events[1], /^event: error\ndata: /);
  assert.deepEqual(JSON.parse(events[1].replace("event: error\ndata: ", "")), {
    error: {
      code: "STREAM_INTERRUPTED",
      message: "The answer broke off.",
      delivery: "accepted",
    },
  });
  assert.deepEqual(events.slice(2), [""]);
});

test("the option is checked", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 1 });
  for (const heartbeat of [0, -1, Number.NaN, 2 ** 31]) {
    assert.throws(() => stream.toResponse({}, { heartbeat }), InvalidInputError);
  }
  assert.throws(() => stream.toResponse({}, { heartbeat: "15" }), TypeError);
  assert.equal(await stream.toResponse().text(), 'data: "token0 "\n\n');
});
