// The examples, as users run them; Express is played by a few lines.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { localDataPlane } from "./support.mjs";

const plane = await localDataPlane();
const tokens = await localDataPlane({ bearer: true });
const folder = mkdtempSync(join(tmpdir(), "agentcore-examples-"));
after(() => rmSync(folder, { recursive: true }));
cpSync(fileURLToPath(new URL("../../../examples/node", import.meta.url)), folder, {
  recursive: true,
});
mkdirSync(join(folder, "node_modules/express"), { recursive: true });
symlinkSync(
  fileURLToPath(new URL("..", import.meta.url)),
  join(folder, "node_modules/agentcore-client"),
  "junction",
);
writeFileSync(
  join(folder, "node_modules/express/package.json"),
  '{"name": "express", "main": "index.js"}',
);
writeFileSync(
  join(folder, "node_modules/express/index.js"),
  `const { createServer } = require("node:http");
  module.exports = () => {
    let handler;
    let refuse;
    return {
      use: (given) => { if (given?.length === 4) refuse = given; },
      post: (_, given) => { handler = given; },
      listen: (port, host, ready) => createServer(async (request, response) => {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        try {
          request.body = JSON.parse(Buffer.concat(chunks));
        } catch (error) {
          return refuse(Object.assign(error, { status: 400, type: "entity.parse.failed" }), request, response);
        }
        request.get = (name) => request.headers[name];
        response.set = (headers) => response.setHeaders(new Headers(headers));
        handler(request, response);
      }).listen(port, host, ready),
    };
  };
  module.exports.json = () => {};`,
);

const environment = (plane) => ({
  PATH: process.env.PATH,
  AGENT_RUNTIME_ARN: plane.runtimeArn,
  AWS_ENDPOINT_URL: plane.baseUrl,
  SESSION_SECRET: "sixteen bytes or more",
});
const withKeys = {
  ...environment(plane),
  AWS_ACCESS_KEY_ID: plane.accessKey,
  AWS_SECRET_ACCESS_KEY: plane.secretKey,
};

function start(args, env) {
  const child = spawn(process.execPath, args, { cwd: folder, env });
  child.said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      child.said += chunk;
    });
  }
  child.ended = new Promise((done) => child.once("close", done));
  return child;
}

async function run(args, env = withKeys) {
  const child = start(args, env);
  assert.equal(await child.ended, 0, child.said);
  return child.said.trim();
}

test("stream", async () => {
  assert.equal(await run(["stream.mjs", "What", "now?"]), "You said: What now?.");
  const nowhere = { ...withKeys, AWS_ENDPOINT_URL: "http://127.0.0.1:9" };
  const failed = start(["stream.mjs"], nowhere);
  assert.equal(await failed.ended, 1);
  assert.match(failed.said.trim(), /^stream\.mjs: .*127\.0\.0\.1.*$/);
});

test("what is not set is named in one line", async () => {
  const given = { TOKEN_URL: "http://127.0.0.1:9/", CLIENT_ID: "id", CLIENT_SECRET: "secret" };
  for (const [name, absent, says = absent] of [
    ["stream", "AGENT_RUNTIME_ARN"],
    ["resume", "AGENT_RUNTIME_ARN"],
    ["resume", "SESSION_SECRET", "secret: "],
    ["bearer", "AGENT_RUNTIME_ARN"],
    ["bearer", "TOKEN_URL"],
    ["fan-out", "AGENT_RUNTIME_ARN"],
  ]) {
    const { [absent]: _, ...env } = { ...withKeys, ...given };
    const child = start([`${name}.mjs`], env);
    assert.equal(await child.ended, 1, child.said);
    const said = child.said.trim();
    assert.ok(said.startsWith(`${name}.mjs: `) && said.includes(says), said);
    assert.ok(!said.includes("\n"), said);
  }
});

test("resume", async () => {
  assert.match(await run(["resume.mjs"]), /What is my name\?.*earlier: My name is Ada/s);
});

test("fan-out", async () => {
  const lines = (await run(["fan-out.mjs"])).split("\n");
  assert.equal(lines.length, 50);
  assert.equal(lines[49], "Question 50: You said: Question 50.");
});

test("bearer", async () => {
  let granted = 0;
  const server = createServer((_, response) => {
    granted += 1;
    response.end(JSON.stringify({ access_token: tokens.bearerToken, expires_in: 3600 }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  after(() => server.close());
  const said = await run(["bearer.mjs"], {
    ...environment(tokens),
    TOKEN_URL: `http://127.0.0.1:${server.address().port}/`,
    CLIENT_ID: "id",
    CLIENT_SECRET: "secret",
  });
  assert.equal(said, "You said: Hi.\nYou said: And again.");
  assert.equal(granted, 1);
});

test("express-sse", async () => {
  const child = start(["express-sse.mjs"], { ...withKeys, PORT: "0" });
  try {
    while (!child.said.includes("\n")) await new Promise((wake) => setTimeout(wake, 10));
    const url = child.said.trim();
    const ask = (prompt, options) =>
      fetch(`${url}/ask`, {
        method: "POST",
        headers: { "x-user": "ada" },
        body: JSON.stringify({ conversation: "1", prompt }),
        ...options,
      });
    const answer = await ask("Hi");
    assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
    const events = (await answer.text()).split("\n\n").filter((event) => event !== "");
    assert.equal(events.pop(), "event: end\ndata: {}");
    const said = events.map((event) => JSON.parse(event.replace("data: ", "")));
    assert.equal(said.join(""), "You said: Hi.");

    const posts = await plane.countPosts();
    const bad = await ask();
    assert.equal(bad.status, 400);
    assert.deepEqual((await bad.json()).error, {
      code: "INVALID_INPUT",
      message: "The request is not valid.",
      delivery: "not_sent",
      field: "prompt",
    });
    const broken = await ask("", { body: "{" });
    assert.deepEqual([broken.status, (await broken.json()).error.field], [400, "body"]);
    assert.equal(await plane.countPosts(), posts);
    await plane.addFault({ status: 403, code: "AccessDeniedException", message: "arn:secret" });
    const refused = await ask("Hi");
    assert.equal(refused.status, 403);
    assert.doesNotMatch(await refused.text(), /arn/);
    await plane.addFault({ resetAfterBytes: 14 });
    assert.match(
      await (await ask("Hi")).text(),
      /\n\nevent: error\ndata: {"error":{"code":"STREAM_INTERRUPTED",/,
    );

    const since = (await plane.journal()).at(-1).seq;
    await plane.addFault({ stallAfterBytes: 5 });
    const controller = new AbortController();
    const reading = ask("Hi", { signal: controller.signal }).then((slow) => slow.text());
    await plane.waitFor((entry) => entry.seq > since && entry.kind === "fault");
    await new Promise((wake) => setTimeout(wake, 50));
    controller.abort();
    await reading.catch(() => undefined);
    await plane.waitFor((entry) => entry.seq > since && entry.kind === "disconnect");
  } finally {
    child.kill();
    await child.ended;
  }
});
