// Compiled, never run: what we send is what the AI SDK's types say, and AWS's types fit our handler.

import type { AgentStream } from "agentcore-client";
import {
  toUIMessageStream,
  toUIMessageStreamResponse,
  type UIMessagePart,
} from "agentcore-client/ai-sdk";
import type { UIMessageChunk } from "ai";

export function use(stream: AgentStream, part: UIMessagePart): Response {
  const chunk: UIMessageChunk = part;
  const chunks: ReadableStream<UIMessageChunk> = toUIMessageStream(stream, {
    toPart: (event) => ({ type: "data-event", data: event.data }),
  });
  return toUIMessageStreamResponse(stream, {
    heartbeat: 15_000,
    headers: { a: `${chunk}${chunks}` },
  });
}
