import { errorResponse } from "agentcore-client";
import { ask, promptOf } from "@/lib/agent";

/** The agent's own events, as they come. Closing the tab ends the invocation. */
export async function POST(request: Request) {
  try {
    const stream = await ask(await promptOf(request), request.signal);
    return stream.toResponse({}, { heartbeat: 15_000 });
  } catch (error) {
    return errorResponse(error);
  }
}
