// The programs that we did not write: agents on both official SDKs, called by our client, and the
// AWS SDK for JavaScript as a client beside ours. Without them our client and our local data plane
// could agree with each other and both be wrong.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  BedrockAgentCoreClient,
  InvokeAgentRuntimeCommand,
  StopRuntimeSessionCommand,
} from "@aws-sdk/client-bedrock-agentcore";
import { fromEnv, fromNodeProviderChain } from "@aws-sdk/credential-providers";
import { AgentCoreClient, SessionId, ThrottlingException } from "agentcore-client";
import { all, clientOf, failure, localDataPlane } from "./support.mjs";

const fileOf = (path) => fileURLToPath(new URL(path, import.meta.url));
const SESSION = "interop-session-0123456789-0123456789";

/** Starts an agent that prints one JSON line when it is ready, and ends with its standard input. */
async function agent(program, script) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(AWS_|AGENT|PYTHON)|_PROXY$/i.test(name)),
  );
  const child = spawn(program, [script], { stdio: ["pipe", "pipe", "pipe"], env });
  const closed = new Promise((done) => child.once("close", done));
  after(async () => {
    child.stdin.end();
    await closed;
  });
  let complaint = "";
  child.stderr.on("data", (chunk) => (complaint += chunk));
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  assert.ok(value !== undefined, `${script} did not start: ${complaint}`);
  child.stdout.resume();
  return JSON.parse(value).url;
}

/** Our client of an agent: straight to its port, and through the local data plane. */
async function ways(url) {
  const plane = await localDataPlane({ agent: url });
  const straight = new AgentCoreClient({ localUrl: url });
  after(() => straight.close());
  return { straight, "behind the plane": clientOf(plane) };
}

// -- an agent on the TypeScript SDK -------------------------------------------------------------

const url = await agent(process.execPath, fileOf("./interop/agent.mjs"));
const both = await ways(url);

/** What the SDK itself sends, byte for byte. */
function raw(payload, accept) {
  return new Promise((done, failed) => {
    const headers = {
      "content-type": "application/json",
      "x-amzn-bedrock-agentcore-runtime-session-id": SESSION,
      ...(accept === undefined ? {} : { accept }),
    };
    const asked = request(`${url}/invocations`, { method: "POST", headers }, async (answer) => {
      const chunks = await all(answer);
      done({ status: answer.statusCode, body: Buffer.concat(chunks).toString() });
    });
    asked.on("error", failed);
    asked.end(JSON.stringify(payload));
  });
}

test("the TypeScript SDK still sends what these tests are about", async () => {
  const { body } = await raw({ case: "kinds" }, "text/event-stream");
  assert.match(body, /^data: one\ndata: {2}two\ndata: \ndata: four\n\ndata: \n\n/);
  assert.match(body, /\n\nid: 7\nevent: tool\ndata: \{"name":"look-up"\}\nretry: 10\n\n/);
  assert.match((await raw({ case: "heartbeats" }, "text/event-stream")).body, /^: heartbeat\n\n/);
  const failed = await raw({ case: "error_during" }, "text/event-stream");
  assert.match(failed.body, /\n\nevent: error\ndata: \{"error":"failed after two tokens"\}\n\n$/);
  for (const accept of [undefined, "*/*", "application/json"]) {
    assert.equal((await raw({ case: "stream" }, accept)).status, 406, accept);
  }
});

for (const [way, client] of Object.entries(both)) {
  test(`TypeScript agent, ${way}: whole answers`, async () => {
    const reply = await client.invoke({ case: "json", prompt: "Grüße" }, { sessionId: SESSION });
    assert.deepEqual(reply.json(), { prompt: "Grüße", sessionId: SESSION });
    assert.equal(reply.text, undefined);
    // The SDK says that this is JSON; it is not. It is what the agent said.
    const text = await client.invoke({ case: "text", prompt: "hi" });
    assert.equal(text.text, 'You said "hi".\nGrüße 🙂');
    const nothing = await client.invoke({ case: "nothing" });
    assert.deepEqual([nothing.status, nothing.bytes.length], [200, 0]);
  });

  test(`TypeScript agent, ${way}: raw lines, names and ids`, async () => {
    const stream = await client.stream({ case: "kinds" });
    const events = await all(stream);
    assert.equal(stream.contentType, "text/event-stream");
    assert.equal(stream.end, "complete");
    assert.deepEqual(
      events.map(({ data }) => data),
      ["one\n two\n\nfour", "", '{"answer":42}', '{"name":"look-up"}', "3", "null", "bytes"],
    );
    assert.equal(events[0].text, "one\n two\n\nfour");
    assert.deepEqual(events[2].json(), { answer: 42 });
    assert.deepEqual([events[3].event, events[3].id], ["tool", "7"]);
  });

  test(`TypeScript agent, ${way}: tokens as they come, and collected`, async () => {
    const stream = await client.stream({ case: "stream", pause: 100 });
    const began = performance.now();
    const moments = [];
    let said = "";
    for await (const text of stream.textDeltas()) {
      said += text;
      moments.push(performance.now() - began);
    }
    assert.equal(said, "Grüße, 世界 🙂end.");
    assert.ok(moments.at(-1) - moments[0] >= 300, `${moments}`);
    const reply = await client.invoke({ case: "stream" });
    assert.equal(reply.text, said);
  });

  test(`TypeScript agent, ${way}: heartbeats are no events, and keep a stream alive`, async () => {
    const stream = await client.stream({ case: "heartbeats" }, { timeouts: { idle: 90 } });
    assert.deepEqual(
      (await all(stream)).map(({ data }) => data),
      ["late", "later"],
    );
  });

  test(`TypeScript agent, ${way}: it fails before and during its answer`, async () => {
    // The SDK answers with an empty body where the caller would have taken a stream. What it says
    // otherwise is passed on by an agent of one's own, and kept back by the service.
    for (const [accept, said] of [
      [undefined, undefined],
      [
        "application/json",
        way === "straight" ? '{"error":"the tool failed on purpose"}' : undefined,
      ],
    ]) {
      const error = await failure(client.invoke({ case: "error" }, { accept }));
      assert.equal(error.status, way === "straight" ? 500 : 424);
      assert.deepEqual([error.code, error.delivery], ["AGENT", "accepted"]);
      assert.equal(error.agentPayload, said);
    }

    const stream = await client.stream({ case: "error_during" });
    const seen = [];
    const during = await failure(
      (async () => {
        for await (const { text } of stream) seen.push(text);
      })(),
    );
    assert.deepEqual(seen, ["one", "two"]);
    assert.deepEqual([during.code, during.delivery, during.status], ["AGENT", "accepted", 200]);
    assert.match(during.agentPayload, /failed after two tokens/);
    assert.equal(stream.end, "agent_error");
    assert.equal((await failure(client.invoke({ case: "error_during" }))).code, "AGENT");
  });

  test(`TypeScript agent, ${way}: 406 for an accept of one's own that names no stream`, async () => {
    const options = { accept: "application/json" };
    const error = await failure(client.invoke({ case: "stream" }, options));
    assert.equal(error.status, way === "straight" ? 406 : 424);
    assert.equal((await client.invoke({ case: "stream" })).status, 200);
  });

  test(`TypeScript agent, ${way}: it is told when its caller leaves`, async () => {
    const count = async () => (await client.invoke({ case: "left" })).json();
    const before = await count();
    for await (const _ of await client.stream({ case: "endless" })) break;
    const limit = performance.now() + 5000;
    while ((await count()) === before) assert.ok(performance.now() < limit, "it was not told");
  });
}

test("TypeScript agent: a prefixed header reaches it, nothing is sent twice", async () => {
  const header = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant";
  for (const client of Object.values(both)) {
    const reply = await client.invoke({ case: "headers" }, { headers: { [header]: "a b" } });
    assert.deepEqual(reply.json(), { [header.toLowerCase()]: "a b" });
  }
  // Twice on either way, and once as raw bytes.
  const calls = (await both.straight.invoke({ case: "calls" })).json();
  assert.deepEqual([calls.error, calls.error_during], [4, 5]);
});

// -- an agent on the Python SDK -----------------------------------------------------------------

const python =
  process.env.AGENTCORE_INTEROP_PYTHON ?? fileOf("../../../tests/interop/.venv/bin/python");

test("Python agent: whole answers, tokens, its failures", async () => {
  assert.ok(existsSync(python), `no Python with the official SDK at ${python}: make interop-env`);
  const both = await ways(await agent(python, fileOf("../../../tests/interop/agents/agent.py")));
  for (const [way, client] of Object.entries(both)) {
    const sessionId = SessionId.generate();
    const reply = await client.invoke({ case: "json", prompt: "Grüße" }, { sessionId });
    const expected = { case: "json", prompt: "Grüße", session_id: `${sessionId}` };
    assert.deepEqual(reply.json(), expected, way);
    assert.equal(
      (await client.invoke({ case: "text", prompt: 1 })).text.split("\n")[1],
      "Grüße 🙂",
    );

    const stream = await client.stream({ case: "stream" });
    const texts = await all(stream.textDeltas());
    assert.equal(texts.join(""), 'Grüße, 世界 🙂 "quoted"\nend.', way);
    assert.equal(stream.contentType, "text/event-stream; charset=utf-8");

    const failing = await client.stream({ case: "stream_error_during" });
    const error = await failure(all(failing));
    assert.deepEqual([error.code, error.delivery, error.eventsSeen], ["AGENT", "accepted", 2], way);
    assert.match(error.agentPayload, /failed after two tokens/);
    const before = await failure(client.invoke({ case: "error" }));
    assert.equal(before.status, way === "straight" ? 500 : 424);
  }
});

// -- the AWS SDK as a client --------------------------------------------------------------------

const plane = await localDataPlane();
const ours = clientOf(plane);

function awsClient(more = {}) {
  const client = new BedrockAgentCoreClient({
    ...plane.awsSdkOptions(),
    maxAttempts: 1,
    ...more,
  });
  after(() => client.destroy());
  return client;
}
const aws = awsClient();

/** The AWS SDK's call that is the counterpart of `client.invoke(payload, { sessionId })`. */
const command = (payload, more) =>
  new InvokeAgentRuntimeCommand({
    agentRuntimeArn: plane.runtimeArn,
    payload: new TextEncoder().encode(JSON.stringify(payload)),
    contentType: "application/json",
    accept: "application/json, text/event-stream",
    runtimeSessionId: SESSION,
    ...more,
  });

test("AWS SDK: the same request, the same answer", async () => {
  const payload = { mode: "json", value: { said: "Grüße 🙂" } };
  await plane.clearJournal();
  const theirs = await aws.send(command(payload, { runtimeUserId: "ada" }));
  const body = await theirs.response.transformToString();
  const reply = await ours.invoke(payload, { sessionId: SESSION, userId: "ada" });
  assert.deepEqual(JSON.parse(body), payload.value);
  assert.equal(Buffer.from(reply.bytes).toString(), body);
  assert.equal(reply.status, theirs.statusCode);
  assert.equal(reply.contentType, theirs.contentType);
  assert.equal(reply.sessionId, theirs.runtimeSessionId);
  assert.ok(reply.requestId !== undefined && theirs.$metadata.requestId !== undefined);

  const requests = (await plane.journal()).filter(({ kind }) => kind === "request");
  assert.equal(requests.length, 2);
  const told = requests.map((entry) => [
    entry.method,
    entry.target,
    ...["content-type", "accept", "content-length", ...PASSED].map((name) => headerOf(entry, name)),
  ]);
  assert.deepEqual(told[1], told[0]);
});

const PASSED = [
  "x-amzn-bedrock-agentcore-runtime-session-id",
  "x-amzn-bedrock-agentcore-runtime-user-id",
];
const headerOf = (entry, name) =>
  entry.headers.find(([given]) => given.toLowerCase() === name)?.[1];

test("AWS SDK: the same stream", async () => {
  const payload = { mode: "typescript", tokens: 4, delay_ms: 2 };
  const theirs = await aws.send(command(payload));
  const read = Buffer.concat(await all(theirs.response)).toString();
  const stream = await ours.stream(payload, { sessionId: SESSION });
  const own = Buffer.concat(await all(stream.toReadableStream())).toString();
  assert.equal(own, read);
  assert.equal(stream.contentType, theirs.contentType);
  const events = await all(await ours.stream(payload, { sessionId: SESSION }));
  assert.equal(events.length, read.split("\n\n").filter((part) => /^data:/m.test(part)).length);
});

test("AWS SDK: the same refusals", async () => {
  const throttled = { status: 429, code: "ThrottlingException", message: "slow down", repeat: 2 };
  await plane.addFault(throttled);
  const theirs = await failure(aws.send(command("hi")));
  const own = await failure(ours.invoke("hi", { retry: "never" }));
  assert.ok(own instanceof ThrottlingException);
  assert.deepEqual([theirs.name, theirs.$metadata.httpStatusCode], [own.serviceCode, own.status]);
  assert.equal(theirs.message, "slow down");
  assert.match(own.message, /slow down/);
  assert.equal(own.delivery, "rejected");

  const { credentials } = plane.awsSdkOptions();
  for (const wrong of [
    { ...credentials, secretAccessKey: "not-the-secret" },
    { ...credentials, accessKeyId: "AKIDUNKNOWN" },
  ]) {
    const theirs = await failure(awsClient({ credentials: wrong }).send(command("hi")));
    const own = await failure(clientOf(plane, { credentials: wrong }).invoke("hi"));
    assert.equal(theirs.$metadata.httpStatusCode, 403);
    assert.deepEqual([own.status, own.serviceCode, own.delivery], [403, theirs.name, "rejected"]);
  }
});

test("AWS SDK: a stop ends what the other one began", async () => {
  const sessionId = SessionId.generate();
  await ours.invoke("hi", { sessionId });
  const stop = () =>
    new StopRuntimeSessionCommand({
      agentRuntimeArn: plane.runtimeArn,
      runtimeSessionId: `${sessionId}`,
    });
  assert.equal((await aws.send(stop())).statusCode, 200);
  const [theirs, own] = [
    await failure(aws.send(stop())),
    await failure(ours.stopSession(sessionId)),
  ];
  assert.equal(theirs.name, "ResourceNotFoundException");
  assert.deepEqual([own.serviceCode, own.status], [theirs.name, theirs.$metadata.httpStatusCode]);
});

test("our client takes the AWS SDK's credential providers as they are", async () => {
  const { credentials } = plane.awsSdkOptions();
  const folder = mkdtempSync(join(tmpdir(), "agentcore-keys-"));
  const file = join(folder, "credentials");
  const keys = `aws_access_key_id = ${credentials.accessKeyId}
aws_secret_access_key = ${credentials.secretAccessKey}
${credentials.sessionToken === undefined ? "" : `aws_session_token = ${credentials.sessionToken}`}`;
  writeFileSync(file, `[interop]\n${keys}\n`);
  const variables = {
    AWS_SHARED_CREDENTIALS_FILE: file,
    AWS_CONFIG_FILE: join(folder, "none"),
    AWS_EC2_METADATA_DISABLED: "true",
  };
  Object.assign(process.env, variables);
  try {
    const fromFile = clientOf(plane, {
      credentials: fromNodeProviderChain({ profile: "interop" }),
    });
    assert.equal((await fromFile.invoke("hi")).status, 200);
    const none = clientOf(plane, { credentials: fromEnv(), retry: "never" });
    const error = await failure(none.invoke("hi"));
    assert.equal(error.code, "CREDENTIALS");
    assert.equal(error.cause.name, "CredentialsProviderError");

    process.env.AWS_ACCESS_KEY_ID = credentials.accessKeyId;
    process.env.AWS_SECRET_ACCESS_KEY = credentials.secretAccessKey;
    for (const provider of [fromEnv(), fromNodeProviderChain()]) {
      const client = clientOf(plane, { credentials: provider });
      assert.equal((await client.invoke("hi")).status, 200);
      assert.equal(
        await (await client.stream("hi"))
          .textDeltas()
          .next()
          .then((r) => r.done),
        false,
      );
    }
  } finally {
    const more = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    for (const name of [...Object.keys(variables), ...more]) delete process.env[name];
    rmSync(folder, { recursive: true });
  }
});
