// What a browser is told of an error, and how a request's body is read.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { Writable } from "node:stream";
import { after, test } from "node:test";
import * as all from "agentcore-client";
import {
  AgentCoreClient,
  AgentError,
  ConnectError,
  errorResponse,
  InvalidInputError,
  publicError,
  readJson,
} from "agentcore-client";
import { streamHandler } from "agentcore-client/lambda";
import { clientOf, failure, localDataPlane, pause } from "./support.mjs";

const classes = new Map(Object.entries(all));
const plane = await localDataPlane();
const client = clientOf(plane);
const tokens = await localDataPlane({ bearer: true });

async function told(error, init) {
  const response = errorResponse(error, init);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  const text = await response.text();
  for (const secret of [plane.accessKey, "123456789012", "127.0.0.1", error.sessionId, "arn:"]) {
    if (secret !== undefined) assert.ok(!text.includes(secret), text);
  }
  return { status: response.status, response, ...JSON.parse(text).error };
}

test("what is told of an error is the same in every language", async () => {
  const file = new URL("../../../tests/vectors/public_errors.json", import.meta.url);
  const { errors } = JSON.parse(readFileSync(file, "utf8"));
  const camel = (name) => name?.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  for (const { error, status, body } of errors) {
    const { kind, service_code: serviceCode, field, retry_after: retryAfter, ...members } = error;
    const name = kind === "Timeout" ? "RequestTimeoutError" : `${kind}Error`;
    const made = new (classes.get(name))("arn:aws:a secret", {
      ...members,
      serviceCode,
      field: camel(field),
      ...(retryAfter === undefined ? {} : { retryAfter: retryAfter * 1000 }),
    });
    assert.equal(made.kind, kind);
    const told = publicError(made);
    assert.equal(told.status, status, JSON.stringify(error));
    assert.deepEqual(JSON.parse(told.body), body);
    assert.equal(told.message, body.error.message);
  }
});

test("the service's refusals", async () => {
  for (const [status, code, expected] of [
    [401, "UnauthorizedException", 401],
    [403, "AccessDeniedException", 403],
    [429, "ThrottlingException", 429],
  ]) {
    const headers = { "retry-after": "2" };
    await plane.addFault({ status, code, message: "arn:aws:secret", headers });
    const error = await failure(client.invoke("hi", { retry: "never" }));
    const { status: is, code: kind, serviceCode, response } = await told(error);
    assert.deepEqual([is, kind, serviceCode], [expected, "SERVICE", code]);
    if (status === 429) assert.equal(response.headers.get("retry-after"), "2");
  }
});

test("an expired token, and a runtime that takes the other kind", async () => {
  const { bearerToken: _, ...options } = tokens.clientOptions();
  const expired = await tokens.mintToken({ exp: 1 });
  const fixed = () => new AgentCoreClient({ ...options, bearerToken: expired });
  assert.throws(fixed, (error) => errorResponse(error).status === 401);
  // Nor is one sent that a provider gives, a backend's way to pass its callers' tokens on.
  const posts = await tokens.countPosts();
  const given = await failure(clientOf(tokens, { bearerToken: () => expired }).invoke("hi"));
  const asked = await told(given);
  assert.deepEqual([asked.status, asked.code, asked.field], [401, "CREDENTIALS", "bearer_token"]);
  assert.equal(given.field, "bearerToken");
  assert.equal(await tokens.countPosts(), posts);
  // One that the client cannot look into, and the service refuses.
  const late = await failure(clientOf(tokens, { bearerToken: "opaque" }).invoke("hi"));
  assert.equal((await told(late)).status, 401);
  const credentials = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "secret" };
  const signing = new AgentCoreClient({ ...options, credentials });
  const refused = await told(await failure(signing.invoke("hi")));
  signing.close();
  assert.deepEqual([refused.status, refused.delivery], [403, "rejected"]);
  assert.equal(refused.serviceCode, "AccessDeniedException");
});

test("the agent's failures, and what is no error of ours", async () => {
  await client.invoke({ mode: "json" });
  const before = await failure(client.invoke({ mode: "error_before", message: "secret" }));
  assert.ok(before instanceof AgentError);
  assert.deepEqual([(await told(before)).status, (await told(before)).code], [502, "AGENT"]);
  assert.deepEqual((await told(new ConnectError("127.0.0.1"))).status, 503);
  const other = await told(new Error("a secret"));
  assert.deepEqual(
    { code: other.code, status: other.status, delivery: other.delivery },
    { code: "INTERNAL", status: 500, delivery: "unknown" },
  );
  assert.equal((await told(new Error("x"), { status: 418 })).status, 418);
  assert.equal((await told(new Error("x"), { status: undefined })).status, 500);
});

test("Lambda: the option is checked when the function starts", () => {
  for (const margin of [-1, Number.NaN]) {
    assert.throws(() => streamHandler(() => undefined, { margin }), InvalidInputError);
  }
  assert.throws(() => streamHandler(() => undefined, { margin: "1s" }), TypeError);
  streamHandler(() => undefined, { margin: 0 });
});

test("Lambda: hanging up ends the call, an answer that breaks off fails the invocation", async (t) => {
  t.mock.method(console, "error", () => undefined);
  globalThis.awslambda = {
    streamifyResponse: (handler) => handler,
    HttpResponseStream: { from: (stream) => stream },
  };
  after(() => {
    delete globalThis.awslambda;
  });
  const http = { method: "POST" };
  const asked = {
    rawPath: "/",
    rawQueryString: "",
    headers: {},
    isBase64Encoded: false,
    requestContext: { domainName: "abc.lambda-url.us-west-2.on.aws", http },
  };
  const context = { getRemainingTimeInMillis: () => 60_000 };
  const out = () => new Writable({ write: (_chunk, _encoding, done) => done() });

  const since = (await plane.journal()).at(-1)?.seq ?? 0;
  const isNew = (kind) => (entry) => entry.seq > since && entry.kind === kind;
  const endless = { mode: "stream", tokens: 100_000, delay_ms: 5 };
  const relay = streamHandler((_, { signal }) => client.stream(endless, { signal }));
  const taken = out();
  const relaying = relay(asked, taken, context);
  await plane.waitFor(isNew("request"));
  await pause(50);
  taken.destroy();
  await relaying;
  await plane.waitFor(isNew("disconnect"));

  const breaks = new ReadableStream({ start: (controller) => controller.error(new Error("torn")) });
  const headers = { "content-type": "text/event-stream" };
  const broken = streamHandler(() => new Response(breaks, { headers }));
  await assert.rejects(broken(asked, out(), context), /torn/);
});

test("the log is told what the browser is not", () => {
  const lines = [];
  const listen = (line) => lines.push(line);
  subscribe("agentcore-client:log", listen);
  errorResponse(new ConnectError("no connection to 127.0.0.1"));
  unsubscribe("agentcore-client:log", listen);
  assert.deepEqual(lines, [
    { level: "WARN", message: "answered with 503: ConnectError: no connection to 127.0.0.1" },
  ]);
});

test("a body is read as JSON, up to a limit", async () => {
  const request = (body) => new Request("http://x/", { method: "POST", body });
  assert.deepEqual(await readJson(request('{"a": "ä"}')), { a: "ä" });
  for (const body of ["", "no JSON", '{"a": ', Buffer.from([0x22, 0xff, 0x22])]) {
    const error = await failure(readJson(request(body)));
    assert.deepEqual([error.code, error.field], ["INVALID_INPUT", "body"]);
    assert.equal((await told(error)).status, 400);
  }
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(Buffer.alloc(1000, "1"));
    },
  });
  const big = new Request("http://x/", { method: "POST", body: endless, duplex: "half" });
  const error = await failure(readJson(big, { limit: 10_000 }));
  assert.equal((await told(error)).status, 413);
  assert.ok(pulled < 20, `${pulled} thousand bytes were taken`);
  assert.deepEqual(await readJson(request("1"), { limit: 1 }), 1);
});
