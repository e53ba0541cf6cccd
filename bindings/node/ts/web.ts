/*
 * Between a browser and an agent: what of an error a browser may know, and a request's body before
 * anything is invoked.
 */
import { bytes } from "./check.js";
import { AgentCoreError, type ErrorCode, InvalidInputError, TooLargeError } from "./errors.js";

/** What a browser is told of an error, as JSON: nothing that names a host, an account or a session. */
export interface ToldError {
  readonly error: {
    /** The {@link AgentCoreError}'s code; `"INTERNAL"` for every other error. */
    readonly code: ErrorCode;
    /** A sentence for people, the same for each code. */
    readonly message: string;
    /** Whether the agent may have run. */
    readonly delivery?: string;
    /** The service's exception name, such as `"ThrottlingException"`. */
    readonly serviceCode?: string;
    /** Milliseconds to wait before it is tried again. */
    readonly retryAfter?: number;
  };
}

const TOLD: Readonly<Record<ErrorCode, readonly [status: number, message: string]>> = {
  INVALID_INPUT: [400, "The request is not valid."],
  CREDENTIALS: [500, "The server may not call the agent."],
  CONNECT: [503, "The agent cannot be reached."],
  TIMEOUT: [504, "The agent took too long."],
  SERVICE: [502, "The agent's service refused the call or failed."],
  AGENT: [502, "The agent failed."],
  STREAM_INTERRUPTED: [502, "The answer broke off."],
  TOO_LARGE: [502, "The answer is too large."],
  PROTOCOL: [502, "The agent's answer makes no sense."],
  CLOSED: [503, "The server is shutting down."],
  INTERNAL: [500, "The server failed."],
};
const LOGIN = "Please log in again.";
/** The service's refusals that mean the same to a browser: bad input, not logged in, not allowed, busy. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: "The request is not valid.",
  401: LOGIN,
  403: "This is not allowed.",
  409: "The session is busy.",
  429: "There are too many requests.",
};
/** More than a page sends, less than what hurts. */
const BODY = 1_000_000;

/** The status and the words for an error. */
export function told(error: unknown): { status: number; body: ToldError } {
  if (!(error instanceof AgentCoreError)) {
    const [status, message] = TOLD.INTERNAL;
    return { status, body: { error: { code: "INTERNAL", message } } };
  }
  const { code, delivery, serviceCode, retryAfter } = error;
  let [status, message] = TOLD[code];
  if (error.field === "bearerToken") {
    // The user's own token, handed to a client as it is; or what should have been one.
    status = 401;
    message = LOGIN;
  } else if (code === "SERVICE" || code === "CREDENTIALS") {
    const refusal = REFUSALS[error.status ?? 0];
    if (error.status !== undefined && refusal !== undefined) {
      status = error.status;
      message = refusal;
    }
  } else if (code === "TOO_LARGE" && delivery === "not_sent") {
    status = 413;
    message = "The request is too large.";
  }
  const known = {
    ...(serviceCode === undefined || code !== "SERVICE" ? {} : { serviceCode }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  };
  return { status, body: { error: { code, message, delivery, ...known } } };
}

/**
 * An error as a `Response` for a browser: a fitting status, and `{ "error": { "code", "message", … } }`
 * as JSON. The code is stable; nothing in it names a host, an account or a session, and the error's own
 * message stays here, for your log. What is no {@link AgentCoreError} is a 500.
 *
 * @param init - Another status, or more headers; they win over those set here.
 */
export function errorResponse(error: unknown, init: ResponseInit = {}): Response {
  const { status, body } = told(error);
  const { retryAfter } = body.error;
  const headers = withDefaults(init.headers, {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(retryAfter !== undefined && { "retry-after": String(Math.ceil(retryAfter / 1000)) }),
  });
  return new Response(JSON.stringify(body), { status, ...init, headers });
}

/** The headers that were given, and those that were not. */
export function withDefaults(
  given: ResponseInit["headers"],
  defaults: Readonly<Record<string, string>>,
): Headers {
  const headers = new Headers(given);
  for (const [name, value] of Object.entries(defaults)) {
    if (!headers.has(name)) headers.set(name, value);
  }
  return headers;
}

/** What keeps browsers from guessing and proxies from holding events back. */
export function passingOn(contentType: string): Readonly<Record<string, string>> {
  return {
    "content-type": contentType,
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
  };
}

/**
 * A request's body as JSON, of so many bytes at most: no more than that is read. The type is yours to
 * promise: nothing checks it.
 *
 * @throws {@link InvalidInputError} where it is no JSON, {@link TooLargeError} past the limit; both
 * make a fitting {@link errorResponse}.
 */
export async function readJson<T = unknown>(
  request: Request,
  options: { limit?: number } = {},
): Promise<T> {
  const limit = bytes("limit", options.limit ?? BODY);
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of request.body ?? []) {
    length += piece.length;
    if (length > limit) {
      throw new TooLargeError(`body: more than ${limit} bytes`, { delivery: "not_sent" });
    }
    pieces.push(piece);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces))) as T;
  } catch {
    // Its message would quote the body.
    throw new InvalidInputError("body: not JSON; must be JSON in UTF-8", {
      delivery: "not_sent",
      field: "body",
    });
  }
}
