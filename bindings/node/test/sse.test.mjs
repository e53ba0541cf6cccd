// Answers on their way to a browser: events, heartbeats between them, an end that tells its kind.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { AgentCoreClient, InvalidInputError, internals } from "agentcore-client";
import { clientOf, failure, localDataPlane, pause, scriptedAgent } from "./support.mjs";

const { withHeartbeat } = internals;
const plane = await localDataPlane();
const client = clientOf(plane);
const BEAT = ": heartbeat\n\n";
const text = (chunk) => Buffer.from(chunk).toString();
const END = "event: end\ndata: {}\n\n";

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

test("whatever its lines end with and however they arrive, events go out in one form", async () => {
  const given =
    "\ufeffretry: 10\r\n: a comment\r\ndata: a\r\ndata: b\r\n\r\nid: 7\revent: tool\rdata: ä\r\rdata:\n\n";
  const expected = `data: a\ndata: b\n\nevent: tool\nid: 7\ndata: ä\n\ndata: \n\n${END}`;
  const bytes = Buffer.from(given);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const { agent, asked, send, end } = await agentOf("text/event-stream");
    const answer = (await agent.stream("hi")).toResponse().text();
    await asked;
    for (let at = 0; at < bytes.length; at += size) {
      send(bytes.subarray(at, at + size));
      await pause(1);
    }
    end();
    assert.equal(await answer, expected, `${size} bytes at a time`);
  }
});

test("an event that never became whole is left out, as in every language", async () => {
  const { agent, send, end } = await agentOf("text/event-stream");
  const answer = (await agent.stream("hi")).toResponse().text();
  send("data: a\n\ndata: b\n");
  end();
  assert.equal(await answer, `data: a\n\n${END}`);
});

test("no heartbeat, unless it is asked for, nor an end in what is no stream of events", async () => {
  for (const [contentType, expected] of [
    ["text/event-stream", `data: one\n\n${END}`],
    ["text/plain", "data: one\n\n"],
  ]) {
    const { agent, send, end } = await agentOf(contentType);
    const answer = (await agent.stream("hi")).toResponse().text();
    await pause(30);
    send("data: one\n\n");
    end();
    assert.equal(await answer, expected);
  }
});

test("heartbeats while the agent is silent, around events and never within", async () => {
  const { agent, send, end } = await agentOf("text/event-stream");
  const json = await agentOf("application/json");
  // Nothing is ever put into what is no stream of events.
  const other = (await json.agent.stream("hi")).toResponse({}, { heartbeat: 1000 }).text();
  const stream = await agent.stream("hi");
  const reader = stream.toResponse({}, { heartbeat: 1000 }).body.getReader();
  const read = async () => text((await reader.read()).value);
  assert.equal(await read(), BEAT);
  send("data: on");
  assert.equal(await read(), BEAT);
  send("e\n\n");
  let got = await read();
  while (got === BEAT) got = await read();
  assert.equal(got, "data: one\n\n");
  // Cancelling between heartbeats closes at once.
  assert.equal(await read(), BEAT);
  await reader.cancel();
  assert.equal(stream.end, "closed");
  end();
  json.send('"one"\n\n');
  json.end();
  assert.equal(await other, '"one"\n\n');
});

test("a browser that leaves while the agent is silent closes at once", async () => {
  const stream = await client.stream({ mode: "silent" });
  const since = (await plane.journal()).at(-1).seq;
  const reader = stream.toResponse({}, { heartbeat: 1000 }).body.getReader();
  const reading = reader.read();
  await reader.cancel();
  assert.equal((await reading).done, true);
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
    assert.equal(await response.text(), expected.startsWith("text/event-stream") ? END : "");
  }
});

/** What a browser gets, and what the log is told of that. */
async function passedOn(stream) {
  const lines = [];
  const listen = (line) => lines.push(line.message);
  subscribe("agentcore-client:log", listen);
  const events = (await stream.toResponse().text()).split("\n\n");
  unsubscribe("agentcore-client:log", listen);
  assert.equal(events.pop(), "");
  return { events, lines };
}

/** The data of `event: error`. */
function errorIn(event) {
  assert.match(event, /^event: error\ndata: /);
  return JSON.parse(event.replace("event: error\ndata: ", "")).error;
}

test("a stream that breaks says so in a last event, in place of the end", async () => {
  await plane.addFault({ resetAfterBytes: 25 });
  const { events, lines } = await passedOn(await client.stream({ mode: "stream", tokens: 5 }));
  // The event that was cut in half is left out.
  assert.deepEqual(events.slice(0, -1), ['data: "token0 "']);
  assert.deepEqual(errorIn(events.at(-1)), {
    code: "STREAM_INTERRUPTED",
    message: "The answer broke off.",
    delivery: "accepted",
  });
  const line = lines.find((line) => line.startsWith("an answer that is passed on failed: "));
  assert.match(line, /StreamInterruptedError: /);
});

test("of an agent's failure the browser is told no more than that", async () => {
  const failing = await client.stream({ mode: "error", tokens: 1, message: "a secret" });
  const { events } = await passedOn(failing);
  assert.equal(events.length, 2);
  assert.equal(errorIn(events[1]).code, "AGENT");
  assert.ok(!events[1].includes("secret"));
  assert.equal(failing.end, "agent_error");
});

test("a client that is closed says so, a stream that is closed has no end to tell of", async () => {
  const own = new AgentCoreClient(plane.clientOptions());
  const answer = passedOn(await own.stream({ mode: "silent" }));
  own.close();
  assert.equal(errorIn((await answer).events[0]).code, "CLOSED");

  const stream = await client.stream({ mode: "silent" });
  const text = stream.toResponse().text();
  await stream.close();
  assert.equal((await failure(text)).code, "CLOSED");
});

test("what toResponse refuses leaves nothing open", async () => {
  const refusals = [0, 1, 999, 3_600_001, Number.NaN].map((heartbeat) => [
    InvalidInputError,
    {},
    { heartbeat },
  ]);
  refusals.push([TypeError, {}, { heartbeat: "15" }]);
  refusals.push([TypeError, { status: 204 }], [RangeError, { status: 99 }]);
  refusals.push([TypeError, { headers: { "not a name": "x" } }]);
  for (const [of, ...args] of refusals) {
    const stream = await client.stream({ mode: "silent" });
    assert.throws(() => stream.toResponse(...args), of, JSON.stringify(args));
    assert.equal(stream.end, "closed");
  }
  // What somebody else reads is theirs.
  const read = await client.stream({ mode: "stream", tokens: 1 });
  const texts = read.textDeltas();
  assert.throws(() => read.toResponse(), TypeError);
  assert.equal((await texts.next()).value, "token0 ");
});
