// The relay: as a function behind the local gateway, over real sockets; and by itself.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { AgentCoreClient } from "agentcore-client";
import { Refused, WebSocketRelay } from "agentcore-client/apigateway";
import { LocalDataPlane } from "agentcore-client/testing";

const here = fileURLToPath(new URL(".", import.meta.url));
const bootstrap = join(here, "../../../examples/lambda-websocket/local/bootstrap.mjs");
const SECRET = "correct horse battery staple";

/** A client of the frame protocol. */
class Socket {
  #frames = [];
  #wake = () => {};

  static async open(plane) {
    const socket = new Socket();
    socket.socket = new WebSocket(`${plane.baseUrl.replace("http", "ws")}/local`);
    socket.socket.onmessage = ({ data }) => {
      socket.#frames.push(JSON.parse(data));
      socket.#wake();
    };
    await new Promise((resolve, reject) => {
      socket.socket.onopen = resolve;
      socket.socket.onerror = ({ error }) => reject(error);
    });
    return socket;
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async frame() {
    while (this.#frames.length === 0) {
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#frames.shift();
  }

  /** All frames of the answer, but heartbeats. */
  async ask(message) {
    this.send(message);
    const frames = [];
    for (;;) {
      const frame = await this.frame();
      if (frame.type !== "heartbeat") frames.push(frame);
      if (["end", "error", "continue"].includes(frame.type)) return frames;
    }
  }

  close() {
    this.socket.close();
  }
}

const start = (...more) =>
  LocalDataPlane.start({
    args: [
      ...["--handler", `"${process.execPath}" "${bootstrap}"`],
      ...["--handler-env", `LAMBDA_TASK_ROOT=${join(here, "relay")}`],
      ...more,
    ],
  });

const said = (frames) => frames.map((frame) => frame.text ?? "").join("");
const tokens = (count) => Array.from({ length: count }, (_, at) => `token${at} `).join("");

describe("behind the local gateway", () => {
  let plane;
  before(async () => {
    plane = await start("--concurrency", "4", "--route", "other");
  });
  after(() => plane?.close());

  test("sockets get every token once and in order", async () => {
    const one = async () => {
      const socket = await Socket.open(plane);
      const frames = await socket.ask({
        ask: { mode: "stream", tokens: 20, delay_ms: 5 },
        id: "m",
      });
      assert.deepEqual(
        frames.map(({ seq, id }) => [seq, id]),
        frames.map((_, at) => [at, "m"]),
      );
      assert.equal(frames.at(-1).state, "complete");
      assert.equal(said(frames), tokens(20));
      socket.close();
    };
    const before = await plane.countPosts();
    await Promise.all(Array.from({ length: 20 }, one));
    assert.equal((await plane.countPosts()) - before, 20);
  });

  test("what is wrong is said, and hooks may refuse", async () => {
    const socket = await Socket.open(plane);
    const error = async (message) => {
      const { code, message: text } = (await socket.ask(message)).at(-1);
      return [code, text];
    };
    assert.deepEqual(await error({ refuse: 1 }), ["refused", "not today"]);
    assert.deepEqual(await error({ fail: 1 }), ["internal", "the relay failed"]);
    const before = await plane.countPosts();
    for (const unfit of [
      { prompt: "a", conversation: 1 },
      { prompt: "a", sessionId: "short" },
      { action: "other" },
    ]) {
      assert.equal((await error(unfit))[0], "invalid_message");
    }
    socket.socket.send("no JSON");
    assert.equal((await socket.frame()).message, "the message is not JSON");
    socket.socket.send(new Uint8Array([0xff]));
    assert.equal((await socket.frame()).code, "invalid_message");
    assert.equal(await plane.countPosts(), before);
    socket.send({ type: "ping" });
    assert.deepEqual(await socket.frame(), { type: "pong" });
    socket.close();
  });

  test("a socket's conversation goes on", async () => {
    const socket = await Socket.open(plane);
    await socket.ask({ prompt: "my name is Ada", conversation: "1" });
    const again = await socket.ask({ prompt: "who am I?", conversation: "1" });
    assert.match(said(again), /Ada/);
    const other = await socket.ask({ prompt: "who am I?", conversation: "2" });
    assert.doesNotMatch(said(other), /Ada/);
    socket.close();
  });

  test("nobody gets into another's session", async () => {
    const [mine, other] = [await Socket.open(plane), await Socket.open(plane)];
    const [{ resume }] = await mine.ask({ prompt: "my name is Ada", conversation: "1" });
    assert.doesNotMatch(said(await other.ask({ prompt: "me?", conversation: "1" })), /Ada/);
    const fresh = await other.ask({ prompt: "and I?", resume });
    assert.equal(fresh[0].resumed, false);
    assert.doesNotMatch(said(fresh), /Ada/);
    const resumed = await mine.ask({ prompt: "and I?", resume });
    assert.equal(resumed[0].resumed, true);
    assert.match(said(resumed), /Ada/);
    for (const socket of [mine, other]) socket.close();
  });
});

test("a claim stops the second delivery of an event, in whichever process", async () => {
  const claims = mkdtempSync(join(tmpdir(), "agentcore-claims-"));
  const plane = await start("--handler-env", `CLAIMS=${claims}`);
  const socket = await Socket.open(plane);
  socket.send({ ask: { mode: "stream", tokens: 100, delay_ms: 20 } });
  while ((await socket.frame()).type !== "delta");
  // The process that answers is busy.
  for (let n = 0; n < 2; n++) await plane.redeliver();
  const { requestId } = await plane.waitFor(({ trigger }) => trigger === "event");
  const outcomes = [];
  await plane.waitFor(
    (entry) =>
      entry.kind === "function_ended" &&
      entry.requestId === requestId &&
      outcomes.push(entry.outcome) === 3,
    { timeoutMs: 30_000 },
  );
  assert.deepEqual(outcomes, ["ok", "ok", "ok"]);
  assert.equal(await plane.countPosts(), 1);
  assert.equal(readdirSync(claims).length, 1);
  socket.close();
  await plane.close();
  rmSync(claims, { recursive: true });
});

describe("by itself", () => {
  const client = () =>
    new AgentCoreClient({
      runtimeArn: "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789",
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
      // Nobody listens there.
      endpointUrl: "http://127.0.0.1:9",
    });
  const relay = (options) =>
    new WebSocketRelay(client(), {
      secret: SECRET,
      endpointUrl: "http://127.0.0.1:9",
      ...options,
    });
  const event = (context, more) => ({
    requestContext: {
      routeKey: "$connect",
      apiId: "a",
      stage: "s",
      connectionId: "c=",
      ...context,
    },
    headers: { Origin: "https://a.example" },
    ...more,
  });
  // Nothing waits for the socket that is not there.
  const withLeft = (left) => ({ getRemainingTimeInMillis: () => left });
  const context = withLeft(2000);

  test("options are checked by name", () => {
    for (const [field, options] of Object.entries({
      secret: { secret: "short" },
      heartbeat: { heartbeat: 0 },
      allowedOrigins: { allowedOrigins: ["a.example"] },
      secondStage: { secondStage: "sometimes" },
      endpointUrl: { endpointUrl: "ftp://a" },
      claimsTable: { claimsTable: "a table" },
    })) {
      assert.throws(() => relay(options), { field });
    }
    for (const options of [{ payload: 1 }, { secret: 1 }, { claim: "" }, { noSuch: 1 }]) {
      assert.throws(() => relay(options), TypeError);
    }
    assert.throws(() => new WebSocketRelay({}), TypeError);
    assert.ok(relay({ secret: new TextEncoder().encode(SECRET) }));
  });

  test("a handshake needs no network", async () => {
    const ours = relay({ allowedOrigins: ["https://a.example"], subprotocols: ["chat"] });
    assert.deepEqual(await ours.handle(event()), { statusCode: 200 });
    const headers = { Origin: "https://a.example", "Sec-WebSocket-Protocol": "x, chat" };
    const taken = await ours.handle(event({}, { headers }));
    assert.deepEqual(taken.headers, { "Sec-WebSocket-Protocol": "chat" });
    const { statusCode } = await relay({ allowedOrigins: [] }).handle(event());
    assert.equal(statusCode, 403);
  });

  test("what is wrong with an event is a 4xx", async () => {
    const good = { routeKey: "$default" };
    for (const [status, context, body] of [
      [400, { ...good, connectionId: "" }, "{}"],
      [400, { ...good, routeKey: undefined }, "{}"],
      [404, { ...good, routeKey: "other" }, "{}"],
      [400, good, undefined],
      [400, good, "hello"],
      [400, good, "{}"],
      [400, good, '{"prompt":""}'],
      [400, good, '{"prompt":"a","sessionId":"short"}'],
    ]) {
      const given = event(context, body === undefined ? {} : { body });
      const { statusCode, body: told } = await relay().handle(given, withLeft(500));
      assert.equal(statusCode, status, body);
      assert.equal(JSON.parse(told).code, "invalid_message");
    }
    const encoded = event(good, { body: "//79", isBase64Encoded: true });
    assert.equal((await relay().handle(encoded, withLeft(500))).statusCode, 400);
  });

  test("it never rejects", async () => {
    const circle = {};
    circle.self = circle;
    for (const strange of [undefined, null, 1, [], {}, { requestContext: 1 }]) {
      assert.equal((await relay().handle(strange)).statusCode, 400);
    }
    assert.deepEqual(await relay().handle(circle), { statusCode: 500 });
    const closed = client();
    const ours = new WebSocketRelay(closed, { secret: SECRET });
    closed.close();
    assert.deepEqual(await ours.handle(event()), { statusCode: 500 });
  });

  test("hooks are given what they need", async () => {
    const body = { a: [1, 2.5, true, null, "é"], conversation: "c1" };
    const message = event({ routeKey: "$default" }, { body: JSON.stringify(body) });
    const seen = [];
    const ours = relay({
      principal: async (given) => given.requestContext.stage,
      payload(...given) {
        seen.push(given);
        throw new Refused("no");
      },
    });
    const response = await ours.handle(message, context);
    assert.equal(response.statusCode, 400);
    assert.deepEqual(JSON.parse(response.body), { code: "refused", message: "no" });
    const [[given, about]] = seen;
    assert.deepEqual(given, body);
    assert.deepEqual([about.principal, about.conversation, about.connectionId], ["s", "c1", "c="]);
    assert.equal((await relay({ principal: () => null }).handle(message, context)).statusCode, 401);
    const failing = relay({ payload: () => Promise.reject(new Error("hunter2")) });
    const { statusCode, body: told } = await failing.handle(message, context);
    assert.equal(statusCode, 500);
    assert.doesNotMatch(told, /hunter2/);
  });
});
