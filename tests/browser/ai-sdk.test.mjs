// The AI SDK's own client reads what `agentcore-client/ai-sdk` sends.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  createUIMessageStream,
  DefaultChatTransport,
  readUIMessageStream,
  UI_MESSAGE_STREAM_HEADERS,
} from "ai";
import { toUIMessageStream, toUIMessageStreamResponse } from "../../bindings/node/dist/ai-sdk.mjs";
import { AgentCoreClient } from "../../bindings/node/dist/index.mjs";
import { lastSeq, localDataPlane } from "./browser.mjs";

const plane = await localDataPlane();
const client = new AgentCoreClient(plane.clientOptions());
after(() => client.close());

/** What `useChat` does with an answer: the chunks, and the message as it grows. */
async function chat(response) {
  const transport = new DefaultChatTransport({ fetch: async () => response });
  const [forChunks, forMessage] = (
    await transport.sendMessages({ chatId: "1", messages: [], trigger: "submit-message" })
  ).tee();
  const chunks = [];
  const errors = [];
  const lengths = new Set();
  let message;
  await Promise.all([
    (async () => {
      for await (const chunk of forChunks) chunks.push(chunk);
    })(),
    (async () => {
      const onError = (error) => errors.push(error.message);
      for await (message of readUIMessageStream({ stream: forMessage, onError })) {
        lengths.add(text(message).length);
      }
    })(),
  ]);
  return { chunks, types: chunks.map(({ type }) => type), errors, lengths, message };
}

const text = (message) =>
  message.parts
    .filter(({ type }) => type === "text")
    .map((part) => part.text)
    .join("");

test("the headers are the AI SDK's, and ours", async () => {
  const response = toUIMessageStreamResponse(await client.stream("hi"), {
    headers: { "x-more": "1" },
  });
  for (const name of ["content-type", "cache-control", "x-vercel-ai-ui-message-stream"]) {
    assert.ok(response.headers.get(name).startsWith(UI_MESSAGE_STREAM_HEADERS[name]), name);
  }
  assert.equal(response.headers.get("x-more"), "1");
  assert.equal(response.headers.get("set-cookie"), null);
  await response.body.cancel();
});

test("an answer becomes a message that grows", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 4, delay_ms: 20 });
  const { types, lengths, errors, message } = await chat(
    toUIMessageStreamResponse(stream, { messageId: "m1" }),
  );
  assert.deepEqual(types, [
    "start",
    "text-start",
    ...Array(4).fill("text-delta"),
    "text-end",
    "finish",
  ]);
  assert.deepEqual(errors, []);
  assert.equal(message.id, "m1");
  assert.equal(text(message), "token0 token1 token2 token3 ");
  assert.ok(lengths.size >= 3);
});

test("heartbeats are skipped", async () => {
  const raw = await toUIMessageStreamResponse(
    await client.stream({ mode: "stream", tokens: 2, delay_ms: 1_500 }),
    { heartbeat: 1_000 },
  ).text();
  assert.match(raw, /\n\n: heartbeat\n\n/);
  assert.match(raw, /data: \[DONE\]\n\n$/);
  const { message, errors } = await chat(new Response(raw));
  assert.equal(text(message), "token0 token1 ");
  assert.deepEqual(errors, []);
});

test("a whole JSON answer, and one without any text", async () => {
  const said = await chat(
    toUIMessageStreamResponse(await client.stream({ mode: "text", message: "Hi" })),
  );
  assert.equal(text(said.message), "Hi");
  const silent = await chat(toUIMessageStreamResponse(await client.stream({ mode: "empty" })));
  assert.deepEqual(silent.types, ["start", "finish"]);
});

test("an error of the agent, and an answer that is cut", async () => {
  const failed = await chat(
    toUIMessageStreamResponse(
      await client.stream({ mode: "error", tokens: 2, message: "a secret" }),
    ),
  );
  assert.deepEqual(failed.types.slice(-2), ["text-end", "error"]);
  assert.deepEqual(failed.errors, ["The agent failed."]);
  assert.equal(text(failed.message), "token0 token1 ");
  assert.ok(!JSON.stringify(failed.chunks).includes("secret"));

  await plane.addFault({ truncateAfterBytes: 40 });
  const stream = await client.stream({ mode: "stream", tokens: 9 });
  const cut = await chat(
    toUIMessageStreamResponse(stream, { onError: (error) => `cut: ${error.code}` }),
  );
  assert.deepEqual(cut.errors, ["cut: STREAM_INTERRUPTED"]);
});

test("what was closed on this side is aborted", async () => {
  const stream = await client.stream({ mode: "silent" });
  const answer = chat(toUIMessageStreamResponse(stream));
  setTimeout(() => stream.close(), 20);
  const { types, errors } = await answer;
  assert.deepEqual(types, ["start", "abort"]);
  assert.deepEqual(errors, []);
});

test("what is refused leaves nothing open", async () => {
  for (const options of [{ heartbeat: 999 }, { heartbeat: "1s" }, { status: 204 }]) {
    const stream = await client.stream({ mode: "silent" });
    assert.throws(() => toUIMessageStreamResponse(stream, options));
    assert.equal(stream.end, "closed");
  }
});

test("a page that leaves closes the connection", async () => {
  const since = await lastSeq(plane);
  const response = toUIMessageStreamResponse(await client.stream({ mode: "silent" }), {
    heartbeat: 1_000,
  });
  const reader = response.body.getReader();
  await reader.read();
  await reader.read();
  await reader.cancel();
  await plane.waitFor(({ seq, kind }) => seq > since && kind === "disconnect");
});

test("events become parts of one's own", async () => {
  const stream = await client.stream({ mode: "stream", tokens: 3 });
  const toPart = (event) =>
    event.text === "token1 " ? { type: "data-tool", data: { name: "search" } } : event.text;
  const { message } = await chat(toUIMessageStreamResponse(stream, { toPart }));
  assert.deepEqual(
    message.parts.map((part) => part.data ?? part.text),
    ["token0 token2 ", { name: "search" }],
  );
  const broken = await client.stream({ mode: "stream", tokens: 3 });
  const thrown = await chat(
    toUIMessageStreamResponse(broken, {
      toPart: () => {
        throw new Error("a secret");
      },
    }),
  );
  assert.deepEqual(thrown.errors, ["The server failed."]);
  assert.equal(broken.closed, true);
});

test("a part that is no JSON is an error, and leaves no connection open", async () => {
  const data = {};
  data.itself = data;
  const stream = await client.stream({ mode: "stream", tokens: 3 });
  const toPart = () => ({ type: "data-tool", data });
  const { errors } = await chat(toUIMessageStreamResponse(stream, { toPart }));
  assert.deepEqual(errors, ["The server failed."]);
  assert.equal(stream.closed, true);
});

test("an onError that throws leaves no connection open", async () => {
  const fails = () => {
    throw new Error("a secret");
  };
  const stream = await client.stream({ mode: "stream", tokens: 3 });
  const response = toUIMessageStreamResponse(stream, { toPart: fails, onError: fails });
  await assert.rejects(response.text());
  assert.equal(stream.closed, true);
});

test("its parts go into a stream of the AI SDK's", async () => {
  const answer = await client.stream({ mode: "stream", tokens: 2 });
  const stream = createUIMessageStream({
    execute: ({ writer }) => writer.merge(toUIMessageStream(answer)),
  });
  let message;
  for await (message of readUIMessageStream({ stream }));
  assert.equal(text(message), "token0 token1 ");
});
