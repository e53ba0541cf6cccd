// The Lambda example under AWS's own run-time for Node.js (aws-lambda-ric). The runtime API is served
// here, and so is what stands between it and a browser: the function URL.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { environmentOf, lastSeq, localDataPlane, program, residentBytes } from "./browser.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const plane = await localDataPlane();
const folder = mkdtempSync(join(tmpdir(), "agentcore-lambda-"));
after(() => rmSync(folder, { recursive: true }));
cpSync(here("../../examples/lambda-streaming/node"), folder, { recursive: true });
mkdirSync(join(folder, "node_modules"));
symlinkSync(here("../../bindings/node"), join(folder, "node_modules/agentcore-client"), "junction");
// The same helper, with what the example has no use for.
writeFileSync(
  join(folder, "more.mjs"),
  `import { AgentCoreClient, readJson } from "agentcore-client";
  import { streamHandler } from "agentcore-client/lambda";
  import { toUIMessageStreamResponse } from "agentcore-client/ai-sdk";
  const client = new AgentCoreClient();
  export const handler = streamHandler(async (request, { timeouts, signal }) => {
    const { also, ...payload } = await readJson(request);
    if (also === "throw") throw new Error("a secret of the program");
    if (also === "respond") {
      return new Response(new URL(request.url).search, {
        status: 202,
        headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-cookie", request.headers.get("cookie")]],
      });
    }
    const stream = await client.stream(payload, { timeouts, signal });
    return also === "ui" ? toUIMessageStreamResponse(stream) : stream;
  }, { heartbeat: 1_000 });`,
);

/** Serves the runtime API to a function, and calls it as a function URL does. */
async function lambda(handler) {
  const waiting = [];
  const queued = [];
  const calls = new Map();
  let number = 0;
  const hand = () => {
    while (waiting.length > 0 && queued.length > 0) {
      const { id, event, timeoutMs } = queued.shift();
      waiting
        .shift()
        .writeHead(200, {
          "lambda-runtime-aws-request-id": id,
          "lambda-runtime-deadline-ms": String(Date.now() + timeoutMs),
          "lambda-runtime-invoked-function-arn":
            "arn:aws:lambda:us-west-2:123456789012:function:ask",
          "content-type": "application/json",
        })
        .end(JSON.stringify(event));
    }
  };
  const server = createServer((request, response) => {
    const path = request.url.replace("/2018-06-01/runtime/", "");
    if (path === "invocation/next") {
      waiting.push(response);
      hand();
      return;
    }
    const [, id, what] = path.split("/");
    calls.get(id)?.(what, request, response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const runtime = program(
    process.execPath,
    ["--require", here("lambda-rapid.cjs"), here("node_modules/aws-lambda-ric/index.mjs")],
    {
      cwd: folder,
      env: {
        ...environmentOf(plane),
        SESSION_SECRET: "sixteen bytes or more",
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${server.address().port}`,
        AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1: "true",
        LAMBDA_TASK_ROOT: folder,
        _HANDLER: handler,
        AWS_LAMBDA_FUNCTION_NAME: "ask",
        AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
        AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/ask",
        AWS_LAMBDA_LOG_STREAM_NAME: "1",
      },
    },
  );
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  /** The answer as a caller of the URL gets it: head, then `chunks` as they come. */
  const call = (body, { timeoutMs = 60_000, ...more } = {}) =>
    new Promise((done, failed) => {
      const id = String(++number);
      const fail = (why) => failed(new Error(`${why}\n${runtime.said()}`));
      const timer = setTimeout(fail, 30_000, "no answer");
      runtime.child.once("close", () => fail("it ended"));
      calls.set(id, async (what, request, response) => {
        clearTimeout(timer);
        calls.delete(id);
        if (what !== "response") return fail(what);
        const answer = {
          mode: request.headers["lambda-runtime-function-response-mode"],
          chunks: [],
        };
        let raw = Buffer.alloc(0);
        answer.request = request;
        answer.ended = (async () => {
          for await (const chunk of request) {
            raw = Buffer.concat([raw, chunk]);
            const end = raw.indexOf("\0".repeat(8));
            if (answer.head === undefined) {
              if (end < 0) continue;
              answer.head = JSON.parse(raw.subarray(0, end));
              raw = raw.subarray(end + 8);
              done(answer);
            }
            if (raw.length > 0) answer.chunks.push(raw.toString());
            raw = Buffer.alloc(0);
          }
          answer.failed = request.trailers["lambda-runtime-function-error-type"];
          response.writeHead(202).end();
          return answer.chunks.join("");
        })();
        answer.ended.catch(() => undefined);
      });
      const text = typeof body === "string" ? body : JSON.stringify(body);
      queued.push({ id, timeoutMs, event: { ...eventOf(text), ...more } });
      hand();
    });
  return { call, runtime };
}

const eventOf = (text) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: "/ask",
  rawQueryString: "",
  headers: { "content-type": "application/json", host: "abc.lambda-url.us-west-2.on.aws" },
  requestContext: {
    domainName: "abc.lambda-url.us-west-2.on.aws",
    http: { method: "POST", path: "/ask", protocol: "HTTP/1.1", sourceIp: "203.0.113.1" },
    authorizer: { iam: { userId: "AIDAEXAMPLE", accountId: "123456789012" } },
    timeEpoch: 1_700_000_000_000,
  },
  body: Buffer.from(text).toString("base64"),
  isBase64Encoded: true,
});

const example = await lambda("index.handler");
const more = await lambda("more.handler");
const without = (text) => text.replaceAll(": heartbeat\n\n", "");

test("a prompt, its answer and its session", async () => {
  for (const said of ["You said: Hi.", "You said: Hi. You said earlier: Hi."]) {
    const answer = await example.call({ prompt: "Hi", conversation: "1" });
    assert.equal(answer.mode, "streaming");
    assert.deepEqual(answer.head, {
      statusCode: 200,
      headers: {
        "cache-control": "no-cache, no-transform",
        "content-type": "text/event-stream; charset=utf-8",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
      },
    });
    const events = (await answer.ended).split("\n\n").filter((event) => event !== "");
    assert.equal(events.pop(), "event: end\ndata: {}");
    const texts = events.map((event) => JSON.parse(event.replace("data: ", "")));
    assert.equal(texts.join(""), said);
  }
});

test("bad input invokes nothing and tells nothing", async () => {
  const since = await lastSeq(plane);
  for (const [body, status, code] of [
    ["no JSON", 400, "INVALID_INPUT"],
    ["{}", 400, "INVALID_INPUT"],
    [JSON.stringify({ prompt: "x".repeat(1_000_001) }), 413, "TOO_LARGE"],
  ]) {
    const answer = await example.call(body);
    assert.equal(answer.head.statusCode, status);
    assert.equal(answer.head.headers["content-type"], "application/json");
    assert.equal(JSON.parse(await answer.ended).error.code, code);
  }
  assert.equal(await lastSeq(plane), since);
});

test("what fails before the answer is a status, within it an event", async () => {
  await plane.addFault({ status: 403, code: "AccessDeniedException", message: "arn:aws:secret" });
  const refused = await more.call({});
  assert.equal(refused.head.statusCode, 403);
  assert.doesNotMatch(await refused.ended, /arn/);

  const program = await more.call({ also: "throw" });
  assert.equal(program.head.statusCode, 500);
  assert.doesNotMatch(await program.ended, /secret/);
  assert.match(more.runtime.said(), /a secret of the program/);

  await plane.addFault({ resetAfterBytes: 40 });
  const broken = await more.call({ mode: "stream", tokens: 9 });
  assert.match(await broken.ended, /token1 "\n\nevent: error\ndata: .*STREAM_INTERRUPTED.*\n\n$/);
  assert.equal(broken.failed, undefined);

  // JSON that is cut has no place for an event: the run-time is told.
  await plane.addFault({ truncateAfterBytes: 1000 });
  const cut = await more.call({ mode: "big", bytes: 100_000 });
  await cut.ended;
  assert.ok(cut.failed, "the invocation did not fail");
});

test("the head comes at once, then heartbeats, and an end before the function's time is up", async () => {
  const answer = await more.call({ mode: "silent" }, { timeoutMs: 4_500 });
  assert.equal(answer.head.statusCode, 200);
  const text = await answer.ended;
  assert.match(text, /^(: heartbeat\n\n)+event: error\ndata: .*"TIMEOUT".*\n\n$/);
  assert.ok(text.split(": heartbeat\n\n").length > 2, text);
});

test("tokens come one after another", async () => {
  const answer = await more.call({ mode: "stream", tokens: 5, delay_ms: 50 });
  await answer.ended;
  const tokens = answer.chunks.map(without).filter((chunk) => chunk !== "");
  assert.ok(tokens.length >= 3, JSON.stringify(tokens));
  const expected = [0, 1, 2, 3, 4].map((n) => `data: "token${n} "\n\n`);
  assert.equal(tokens.join(""), `${expected.join("")}event: end\ndata: {}\n\n`);
});

test("a slow reader makes the agent wait", async () => {
  const size = 64_000_000;
  const answer = await more.call({ mode: "big", bytes: size });
  answer.request.pause();
  await new Promise((wake) => setTimeout(wake, 500));
  assert.ok(residentBytes(more.runtime.child.pid) < 150_000_000);
  answer.request.resume();
  assert.equal((await answer.ended).length, size);
});

test("a Response of one's own, cookies and query both ways", async () => {
  const answer = await more.call(
    { also: "respond" },
    { rawQueryString: "a=%20b", cookies: ["x=1", "y=2"] },
  );
  assert.equal(answer.head.statusCode, 202);
  assert.deepEqual(answer.head.cookies, ["a=1", "b=2"]);
  assert.equal(answer.head.headers["x-cookie"], "x=1; y=2");
  assert.equal(await answer.ended, "?a=%20b");
  const ui = await more.call({ also: "ui", prompt: "Hi" });
  assert.equal(ui.head.headers["x-vercel-ai-ui-message-stream"], "v1");
  assert.match(await ui.ended, /"finish"}\n\ndata: \[DONE\]\n\n$/);
});
