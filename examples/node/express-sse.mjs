// Relays an agent's answer to a browser as server-sent events.
//
//   npm install agentcore-client express
//   export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//   export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
//   node express-sse.mjs
//   curl -N http://127.0.0.1:3000/ask -H 'content-type: application/json' -H 'x-user: ada' \
//       -d '{"conversation": "1", "prompt": "Hi"}'
//
// A POST for `fetch`: a browser's `EventSource` would ask the agent again whenever its connection
// breaks. When the browser leaves, the connection to the agent is closed at once, and `stopOnClose`
// stops the agent's session, too.
import { once } from "node:events";
import {
  AgentCoreClient,
  InvalidInputError,
  publicError,
  SessionId,
  TooLargeError,
} from "agentcore-client";
import express from "express";

const agent = new AgentCoreClient({ timeouts: { total: 300_000 } });
const app = express();
app.use(express.json());

app.post("/ask", async (request, response) => {
  const left = new AbortController();
  response.once("close", () => left.abort());
  const write = async (text) => {
    // A slow browser makes the agent wait, not this process grow.
    if (!response.write(text)) await once(response, "drain", { signal: left.signal });
  };
  response.set({ "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" });
  try {
    const conversation = textIn(request.body, "conversation");
    const prompt = textIn(request.body, "prompt");
    // What your authentication says, never the browser.
    const user = request.get("x-user");
    const sessionId = SessionId.derive(process.env.SESSION_SECRET, user, conversation);
    const options = { sessionId, signal: left.signal, stopOnClose: true };
    const stream = await agent.stream({ prompt }, options);
    for await (const text of stream.textDeltas()) await write(`data: ${JSON.stringify(text)}\n\n`);
    response.end("event: end\ndata: {}\n\n");
  } catch (error) {
    if (left.signal.aborted) return;
    console.error(`${error}`); // it holds no secrets
    const { status, headers, body } = publicError(error);
    if (response.headersSent) response.end(`event: error\ndata: ${body}\n\n`);
    else response.writeHead(status, headers).end(body);
  }
});

// What `express.json()` refuses; Express itself would answer with a page, and a stack in it.
app.use((refused, _request, response, _next) => {
  const Kind = refused.status === 413 ? TooLargeError : InvalidInputError;
  const error = new Kind(`body: ${refused.type}`, { delivery: "not_sent", field: "body" });
  const { status, headers, body } = publicError(error);
  response.writeHead(status, headers).end(body);
});

function textIn(body, field) {
  const text = body?.[field];
  if (typeof text === "string" && text !== "") return text;
  throw new InvalidInputError(`${field}: absent; must be text`, { delivery: "not_sent", field });
}

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${server.address().port}`),
);
