// How a process ends: cleanly, with streams open and calls let go of, in workers, too; and that it
// stays alive as long as somebody waits.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { localDataPlane } from "./support.mjs";

const plane = await localDataPlane();
const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const head = `
const { AgentCoreClient } = require(${JSON.stringify(dist)});
const client = new AgentCoreClient(${JSON.stringify(plane.clientOptions())});
process.on("unhandledRejection", (error) => { console.log("unhandled", error); process.exitCode = 7; });
`;

async function run(body, flags = []) {
  const child = spawn(process.execPath, [...flags, "-e", head + body], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
  const killed = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [code, signal] = await new Promise((done) => child.once("close", (...how) => done(how)));
  clearTimeout(killed);
  assert.deepEqual(
    { code, signal, said: said.includes("unhandled") },
    { code: 0, signal: null, said: false },
    said,
  );
  return said.trim();
}

const OPEN = `
const streams = await Promise.all(Array.from({ length: 20 }, () =>
  client.stream({ mode: "stream", tokens: 1000, delay_ms: 5 })));
`;

test("open streams that nobody reads keep nobody", async () => {
  assert.equal(await run(`(async () => { ${OPEN} console.log("end"); })();`), "end");
});

test("process.exit() with reads under way", async () => {
  const body = `(async () => { ${OPEN}
    for (const stream of streams) (async () => { for await (const _ of stream); })();
    setTimeout(() => { console.log("end"); process.exit(0); }, 60); })();`;
  assert.equal(await run(body), "end");
});

test("process.exit() with calls under way", async () => {
  const body = `for (let n = 0; n < 20; n++) client.invoke({ mode: "slow", delay_ms: 9000 });
    setTimeout(() => process.exit(0), 60);`;
  await run(body);
});

test("a call keeps the process alive until its answer", async () => {
  const body = `client.invoke({ mode: "slow", delay_ms: 200 }).then((reply) => console.log(reply.status));`;
  assert.equal(await run(body), "200");
});

test("a read keeps the process alive until the end", async () => {
  const body = `client.stream({ mode: "stream", tokens: 5, delay_ms: 30 }).then(async (stream) => {
    let n = 0; for await (const _ of stream) n += 1; console.log(n); });`;
  assert.equal(await run(body), "5");
});

test("an abandoned read, then the end", async () => {
  const body = `(async () => { const signal = AbortSignal.timeout(50);
    const stream = await client.stream({ mode: "silent" }, { signal });
    try { for await (const _ of stream); } catch (error) { console.log(error.name); } })();`;
  assert.equal(await run(body), "TimeoutError");
});

test("worker threads, ended with streams open, beside the main thread", async () => {
  const worker = `
    const { AgentCoreClient } = require(${JSON.stringify(dist)});
    const client = new AgentCoreClient(${JSON.stringify(plane.clientOptions())});
    const { parentPort, workerData } = require("node:worker_threads");
    (async () => {
      const reply = await client.invoke({ prompt: "hi" });
      const stream = await client.stream({ mode: "stream", tokens: 1000, delay_ms: 2 });
      let n = 0;
      (async () => { try { for await (const _ of stream) n += 1; } catch {} })();
      setTimeout(() => { parentPort.postMessage(n > 0 && reply.status);
        if (workerData.exit) process.exit(0); }, 60);
    })();`;
  const body = `
    const { Worker } = require("node:worker_threads");
    (async () => {
      const own = await client.stream({ mode: "stream", tokens: 100, delay_ms: 5 });
      let seen = 0;
      const reading = (async () => { for await (const _ of own) seen += 1; })();
      const workers = Array.from({ length: 4 }, (_, n) => {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true, workerData: { exit: n % 2 } });
        const ended = new Promise((done) => worker.once("exit", done));
        const told = new Promise((done) => worker.once("message", done));
        return told.then(async (status) => { await worker.terminate(); await ended; return status; });
      });
      console.log(JSON.stringify(await Promise.all(workers)));
      await reading;
      console.log(seen);
    })();`;
  assert.equal(await run(body), "[200,200,200,200]\n100");
});

test("a forgotten rejection is the program's own, with its stack", async () => {
  const body = `process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", (error) => console.log(error.name, error.stack.includes("mine")));
    function mine() { client.invoke("hi", { sessionId: "short" }); } mine();`;
  assert.equal(await run(body), "InvalidInputError true");
});

test("log lines", async () => {
  const body = `
    const lines = [];
    require("node:diagnostics_channel").subscribe("agentcore-client:log", (line) => lines.push(line));
    process.env.AGENTCORE_LOCAL_URL = "http://127.0.0.1:9";
    new AgentCoreClient({ runtimeArn: "${plane.runtimeArn}" }).invoke("hi").catch(() => {
      setTimeout(() => console.log(lines.some(({ level, message }) =>
        level === "WARN" && message.includes("AGENTCORE_LOCAL_URL"))), 20);
    });`;
  assert.equal(await run(body), "true");
});

test("a signal that throws keeps no call waiting, neither its own nor another", async () => {
  const said = await run(`
    process.on("uncaughtException", (error) => console.log("uncaught", error.message));
    const signals = Array.from({ length: 6 }, () => new AbortController().signal);
    signals[0].removeEventListener = () => { throw new Error("a polyfill's"); };
    const held = [];
    const server = require("node:http").createServer((request, response) => {
      held.push(response);
      // All at once, so that they come across together.
      if (held.length === signals.length) for (const each of held) each.end('"ok"');
    });
    server.listen(0, "127.0.0.1", async () => {
      const localUrl = "http://127.0.0.1:" + server.address().port;
      const agent = new AgentCoreClient({ localUrl });
      const all = await Promise.all(signals.map((signal) => agent.invoke("hi", { signal })));
      console.log(all.length);
      agent.close();
      server.close();
    });
  `);
  assert.deepEqual(said.split("\n").sort(), ["6", "uncaught a polyfill's"]);
});
