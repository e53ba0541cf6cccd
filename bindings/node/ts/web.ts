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

/** The part of an error that is meant for whoever called the backend; see {@link publicError}. */
export interface PublicError {
  /** The HTTP status to answer with. */
  readonly status: number;
  /** The headers of the answer: its type, and `retry-after` where the service gave one. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON: `code` and `delivery`, where they apply `service_code`, `field` and `retry_after`. */
  readonly body: string;
}

const STATUS: Readonly<Partial<Record<ErrorKind, number>>> = {
  InvalidInput: 400,
  Credentials: 500,
  Timeout: 504,
  Closed: 503,
  Internal: 500,
};
const STATUS_OF_SERVICE: Readonly<Record<number, number>> = {
  401: 401,
  402: 503,
  409: 409,
  429: 503,
  503: 503,
};
/** More than a page sends, less than what hurts. */
const BODY = 1_000_000;

function statusOf(error: AgentCoreError): number {
  // A caller's token that was passed on and has expired.
  if (error.kind === "InvalidInput" && error.field === "bearerToken") return 401;
  if (error.kind === "TooLarge" && error.delivery === "not_sent") return 413;
  if (error.kind === "Service") return STATUS_OF_SERVICE[error.status ?? 0] ?? 502;
  return STATUS[error.kind] ?? 502;
}

/**
 * What may be told of an error to somebody outside, such as a browser; the same in every language.
 * Message, session and request id stay inside: they are for the log. What is the backend's own or the
 * runtime's fault is a 5xx, only what its caller can change is a 4xx. What is no
 * {@link AgentCoreError} is an internal one.
 */
export function publicError(error: unknown): PublicError {
  const known = error instanceof AgentCoreError ? error : new InternalError("not one of ours");
  const { kind, code, delivery, serviceCode, field } = known;
  const seconds = known.retryAfter === undefined ? undefined : Math.ceil(known.retryAfter / 1000);
  const body = JSON.stringify({
    code,
    delivery,
    // An agent may put whatever it likes there.
    service_code: kind === "Service" ? serviceCode : undefined,
    field: field?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    retry_after: seconds,
  });
  const headers = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(seconds !== undefined && { "retry-after": String(seconds) }),
  };
  return { status: statusOf(known), headers, body };
}

/**
 * {@link publicError} as a `Response`.
 *
 * @param init - Another status, or more headers; they win over those set here.
 */
export function errorResponse(error: unknown, init: ResponseInit = {}): Response {
  const { status, headers, body } = publicError(error);
  return new Response(body, { status, ...init, headers: withDefaults(init.headers, headers) });
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
