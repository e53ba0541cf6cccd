/*
 * Between a browser and an agent: what of an error a browser may know, and a request's body before
 * anything is invoked.
 */
import { bytes } from "./check.js";
import {
  AgentCoreError,
  type ErrorKind,
  InternalError,
  InvalidInputError,
  TooLargeError,
} from "./errors.js";
import { emit } from "./log.js";

/** The part of an error that is meant for whoever called the backend; see {@link publicError}. */
export interface PublicError {
  /** The HTTP status to answer with. */
  readonly status: number;
  /** The headers of the answer: its type, and `retry-after` where the service gave one. */
  readonly headers: Readonly<Record<string, string>>;
  /** A sentence for people, which is also in the body. */
  readonly message: string;
  /**
   * JSON: `{ "error": … }` with `code`, `message` and `delivery`, where they apply `serviceCode`, `field`
   * and `retryAfter` in milliseconds.
   */
  readonly body: string;
}

const TOLD: Readonly<Record<ErrorKind, readonly [status: number, message: string]>> = {
  InvalidInput: [400, "The request is not valid."],
  Credentials: [500, "The server may not call the agent."],
  Connect: [503, "The agent cannot be reached."],
  Timeout: [504, "The agent took too long."],
  Service: [502, "The agent's service refused the call or failed."],
  Agent: [502, "The agent failed."],
  StreamInterrupted: [502, "The answer broke off."],
  TooLarge: [502, "The answer is too large."],
  Protocol: [502, "The agent's answer makes no sense."],
  Closed: [503, "The server is shutting down."],
  Internal: [500, "The server failed."],
};
const LOGIN = "Please log in again.";
/** The service's refusals that mean the same to the backend's own caller. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: "The request is not valid.",
  401: LOGIN,
  403: "This is not allowed.",
  409: "The session is busy.",
  429: "There are too many requests.",
};
/** More than a page sends, less than what hurts. */
const BODY = 1_000_000;

function told(error: AgentCoreError): readonly [status: number, message: string] {
  const { kind, status = 0 } = error;
  // A caller's token that was passed on and has expired, or is none.
  if (error.field === "bearerToken") return [401, LOGIN];
  const refusal = REFUSALS[status];
  if (refusal !== undefined && (kind === "Service" || kind === "Credentials")) {
    return [status, refusal];
  }
  if (kind === "TooLarge" && error.delivery === "not_sent") {
    return [413, "The request is too large."];
  }
  return TOLD[kind];
}

/**
 * What may be told of an error to somebody outside, such as a browser; the same in every language. The
 * error's own message, session and request id stay inside: they are for the log. What is no
 * {@link AgentCoreError} is an internal one.
 */
export function publicError(error: unknown): PublicError {
  const known = error instanceof AgentCoreError ? error : new InternalError("not one of ours");
  const { kind, code, delivery, serviceCode, field, retryAfter } = known;
  const [status, message] = told(known);
  const body = JSON.stringify({
    error: {
      code,
      message,
      delivery,
      // An agent may put whatever it likes there.
      serviceCode: kind === "Service" ? serviceCode : undefined,
      field: field?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      retryAfter,
    },
  });
  const headers = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(retryAfter !== undefined && { "retry-after": String(Math.ceil(retryAfter / 1000)) }),
  };
  return { status, headers, body, message };
}

/**
 * {@link publicError} as a `Response`. The log is told in full.
 *
 * @param init - Another status, or more headers; they win over those set here.
 */
export function errorResponse(error: unknown, init: ResponseInit = {}): Response {
  const { status, headers, body } = publicError(error);
  emit(status < 500 ? "INFO" : "WARN", `answered with ${status}: ${String(error)}`);
  return new Response(body, {
    ...init,
    status: init.status ?? status,
    headers: withDefaults(init.headers, headers),
  });
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
      throw new TooLargeError(`body: more than ${limit} bytes; raise limit if that is expected`, {
        delivery: "not_sent",
        field: "body",
      });
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
