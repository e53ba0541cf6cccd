import { errorResponse } from "agentcore-client";
import { logIn, logOut } from "@/lib/login";
import { renewSession } from "@/lib/session";

export async function POST(request: Request) {
  try {
    await logIn(request);
    // Whoever knew the session before the login must not know it after.
    await renewSession();
    return new Response(null, { status: 204 });
  } catch (error) {
    return errorResponse(error);
  }
}

export async function DELETE(request: Request) {
  try {
    await logOut(request);
    await renewSession();
    return new Response(null, { status: 204 });
  } catch (error) {
    return errorResponse(error);
  }
}
