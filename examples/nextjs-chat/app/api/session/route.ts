import { errorResponse } from "agentcore-client";
import { refuseOtherSites } from "@/lib/origin";
import { renewSession } from "@/lib/session";

/** A new conversation. */
export async function POST(request: Request) {
  try {
    refuseOtherSites(request);
    await renewSession();
    return new Response(null, { status: 204 });
  } catch (error) {
    return errorResponse(error);
  }
}
