import { renewSession } from "@/lib/session";

/** A new conversation. */
export async function POST() {
  await renewSession();
  return new Response(null, { status: 204 });
}
