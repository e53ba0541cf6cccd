// The conversation of a browser: a random value in a cookie, with a seal that shows that it is ours.
// The runtime's session id is derived from it, and never leaves the server: the service does not check
// who owns a session, so whoever knew an id could talk in it.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SessionId } from "agentcore-client";
import { cookies } from "next/headers";

/** The prefix makes browsers insist on Secure, this host and no other, and the whole site. */
const COOKIE = "__Host-conversation";
export const COOKIE_OPTIONS = { httpOnly: true, secure: true, sameSite: "lax", path: "/" } as const;
const DAY = 86_400;

/** The runtime session of this request; one without a cookie of ours gets a new one. */
export async function sessionOf(user: string): Promise<SessionId> {
  const given = (await cookies()).get(COOKIE)?.value;
  const conversation = given === undefined ? undefined : opened(given);
  return SessionId.derive(secret(), user, conversation ?? (await renewSession()));
}

/** Begins a new conversation: at a login, and whenever the user wants one. */
export async function renewSession(): Promise<string> {
  const conversation = randomBytes(24).toString("base64url");
  const value = `${conversation}.${seal(conversation)}`;
  (await cookies()).set(COOKIE, value, { ...COOKIE_OPTIONS, maxAge: 30 * DAY });
  return conversation;
}

function opened(value: string): string | undefined {
  const [conversation = "", given = ""] = value.split(".");
  const [one, other] = [Buffer.from(given), Buffer.from(seal(conversation))];
  return one.length === other.length && timingSafeEqual(one, other) ? conversation : undefined;
}

function seal(conversation: string): string {
  return createHmac("sha256", secret()).update(`cookie ${conversation}`).digest("base64url");
}

function secret(): string {
  const { SESSION_SECRET } = process.env;
  if (SESSION_SECRET === undefined) throw new Error("SESSION_SECRET is not set");
  return SESSION_SECRET;
}
