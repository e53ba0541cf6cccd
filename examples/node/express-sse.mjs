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
import { AgentCoreClient, AgentCoreError, SessionId } from "agentcore-client";
import express from "express";

const agent = new AgentCoreClient({ timeouts: { total: 300_000 } });
const app = express();
app.use(express.json());

app.post("/ask", async (request, response) => {
  const { conversation, prompt } = request.body;
  // What your authentication says, never the browser.
  const user = request.get("x-user");
  const sessionId = SessionId.derive(process.env.SESSION_SECRET, user, conversation);
  const left = new AbortController();
  response.once("close", () => left.abort());
  const write = async (text) => {
    // A slow browser makes the agent wait, not this process grow.
    if (!response.write(text)) await once(response, "drain", { signal: left.signal });
  };
  response.set({ "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" });
  try {
    const options = { sessionId, signal: left.signal, stopOnClose: true };
    const stream = await agent.stream({ prompt }, options);
    for await (const text of stream.textDeltas()) await write(`data: ${JSON.stringify(text)}\n\n`);
    response.end("event: end\ndata:\n\n");
  } catch (error) {
    if (left.signal.aborted) return;
    if (!(error instanceof AgentCoreError)) throw error;
    const told = { kind: error.kind, delivery: error.delivery };
    response.end(`event: error\ndata: ${JSON.stringify(told)}\n\n`);
  }
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${server.address().port}`),
);
