import { errorResponse } from "agentcore-client";
import { toUIMessageStreamResponse } from "agentcore-client/ai-sdk";
import { ask, promptOf } from "@/lib/agent";

/** The same for `useChat` of the AI SDK. */
export async function POST(request: Request) {
  try {
    const stream = await ask(await promptOf(request), request.signal);
    return toUIMessageStreamResponse(stream, { heartbeat: 15_000 });
  } catch (error) {
    return errorResponse(error);
  }
}
