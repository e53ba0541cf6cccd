// Whole answers, options that reach the agent, and what belongs to a client.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AgentCoreClient,
  ClosedError,
  ProtocolError,
  RuntimeArn,
  SessionId,
} from "agentcore-client";
import { clientOf, failure, localDataPlane, scriptedAgent } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);

test("a whole answer", async () => {
  const sessionId = SessionId.generate();
  const reply = await client.invoke({ mode: "json", value: { a: [1, "ä"] } }, { sessionId });
  assert.equal(reply.status, 200);
  assert.equal(reply.sessionId, String(sessionId));
  assert.equal(reply.contentType, "application/json");
  assert.deepEqual(reply.json(), { a: [1, "ä"] });
  assert.equal(reply.text, undefined);
  assert.equal(new TextDecoder().decode(reply.bytes), '{"a":[1,"ä"]}');
  assert.equal(reply.bytes, reply.bytes);
  assert.match(reply.requestId, /^[0-9a-f-]{36}$/);
  assert.equal(reply.headers["x-amzn-requestid"], reply.requestId);
  assert.equal(reply.sessionEndpointUrl, undefined);
  assert.equal(reply.end, "complete");
});

test("a streamed answer is collected", async () => {
  const reply = await client.invoke({ mode: "stream", tokens: 3 });
  assert.equal(reply.text, "token0 token1 token2 ");
  assert.match(reply.contentType, /^text\/event-stream/);
});

test("a session goes on", async () => {
  const first = await client.invoke({ prompt: "one" });
  const second = await client.invoke({ prompt: "two" }, { sessionId: first.sessionId });
  assert.match(second.text, /You said earlier: one/);
  await client.stopSession(first.sessionId);
  const third = await client.invoke({ prompt: "three" }, { sessionId: first.sessionId });
  assert.doesNotMatch(third.text, /earlier/);
});

test("payloads: JSON, text, bytes", async () => {
  const echo = async (payload, options) => {
    const agent = await scriptedAgent((response, body, request) => {
      response.end(JSON.stringify([body.toString("latin1"), request.headers["content-type"]]));
    });
    return (await agent.invoke(payload, options)).json();
  };
  assert.deepEqual(await echo({ a: 1 }), ['{"a":1}', "application/json"]);
  assert.deepEqual(await echo("hi"), ['"hi"', "application/json"]);
  assert.deepEqual(await echo(null), ["null", "application/json"]);
  assert.deepEqual(await echo([1, true]), ["[1,true]", "application/json"]);
  const options = { contentType: "application/octet-stream" };
  assert.deepEqual(await echo(Uint8Array.of(0, 255), options), ["\0\xff", options.contentType]);
  assert.deepEqual(await echo(Buffer.from("ab"), options), ["ab", options.contentType]);
  assert.deepEqual(await echo(Uint16Array.of(0x6162).buffer, options), ["ba", options.contentType]);
});

test("options reach the agent", async () => {
  const custom = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Colour";
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const options = {
    accept: "application/json",
    trace: { traceparent, tracestate: "a=b" },
    mcp: { sessionId: "mcp-1", protocolVersion: "2025-06-18" },
    timeouts: { total: 10_000, idle: null, deadline: new Date(Date.now() + 20_000) },
    retry: "never",
    textFormat: "none",
    signal: undefined,
  };
  for (const headers of [
    { [custom]: "blue" },
    new Headers({ [custom]: "blue" }),
    [[custom, "blue"]],
  ]) {
    const seen = (await client.invoke({ mode: "headers" }, { ...options, headers })).json();
    const flat = JSON.stringify(seen).toLowerCase();
    for (const part of [custom.toLowerCase(), "blue", traceparent, "a=b", "mcp-1", "2025-06-18"]) {
      assert.ok(flat.includes(part), `${part} in ${flat}`);
    }
  }
});

test("an answer that is no JSON", async () => {
  const reply = await client.invoke({ mode: "text", message: '{"secret": oops' });
  const error = await failure((async () => reply.json())());
  assert.ok(error instanceof ProtocolError);
  assert.doesNotMatch(error.message, /secret|oops/);
  assert.equal(reply.text, '{"secret": oops');
});

test("siblings share connections, and close together", async () => {
  const one = new AgentCoreClient(plane.clientOptions());
  const other = one.withOptions({ qualifier: "DEFAULT", timeouts: { connect: 1000 } });
  assert.equal(one.qualifier, undefined);
  assert.equal(other.qualifier, "DEFAULT");
  assert.ok(one.runtimeArn instanceof RuntimeArn);
  assert.equal(String(one.runtimeArn), plane.runtimeArn);
  await one.invoke("hi");
  const before = (await plane.journal()).at(-1).seq;
  await other.invoke("hi");
  const opened = (await plane.journal(before)).filter(
    (entry) => entry.kind === "connection_opened",
  );
  assert.deepEqual(opened, []);
  other.close();
  assert.ok(one.closed);
  const error = await failure(one.invoke("hi"));
  assert.ok(error instanceof ClosedError);
  assert.equal(error.delivery, "not_sent");
  assert.throws(() => one.withOptions({}), ClosedError);
  one.close();
});

test("closing a client closes its streams", async () => {
  const own = new AgentCoreClient(plane.clientOptions());
  const stream = await own.stream({ mode: "silent" });
  const failed = failure(stream[Symbol.asyncIterator]().next());
  const since = (await plane.journal()).at(-1).seq;
  own.close();
  assert.ok((await failed) instanceof ClosedError);
  await plane.waitFor((entry) => entry.seq > since && entry.kind === "disconnect");
  assert.equal(stream.end, "closed");
});

test("await using", async () => {
  const own = new AgentCoreClient(plane.clientOptions());
  await own[Symbol.asyncDispose]();
  assert.ok(own.closed);
});

test("many calls at a time, with one signal", async () => {
  const warnings = [];
  const warned = (warning) => warnings.push(warning);
  process.on("warning", warned);
  const { signal } = new AbortController();
  const calls = Array.from({ length: 64 }, (_, n) =>
    client.invoke({ prompt: `n${n}` }, { signal }),
  );
  const replies = await Promise.all(calls);
  assert.deepEqual(
    replies.map((reply) => reply.text),
    replies.map((_, n) => `You said: n${n}. `.trimEnd()),
  );
  await new Promise((turn) => setImmediate(turn));
  process.off("warning", warned);
  assert.deepEqual(warnings, []);
});
