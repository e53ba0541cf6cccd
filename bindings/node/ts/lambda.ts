/**
 * For AWS Lambda with response streaming: a function URL whose invoke mode is `RESPONSE_STREAM`.
 *
 * ```ts
 * import { AgentCoreClient, readJson } from "agentcore-client";
 * import { streamHandler } from "agentcore-client/lambda";
 *
 * const client = new AgentCoreClient();
 * export const handler = streamHandler(async (request, { timeouts }) => {
 *   const { prompt } = await readJson<{ prompt: string }>(request);
 *   return client.stream({ prompt }, { timeouts });
 * });
 * ```
 *
 * A browser that leaves is not noticed: the function runs on, and so does the agent, until the answer
 * ends or the function's time is up.
 *
 * @packageDocumentation
 */
import {
  AgentCoreError,
  AgentStream,
  errorResponse,
  type HeartbeatOptions,
  internals,
} from "./index.js";

const { check, heartbeatOf } = internals;

/** A function URL's event, payload format 2.0, as far as it is looked at. */
export interface FunctionUrlEvent {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly cookies?: readonly string[] | undefined;
  readonly body?: string | undefined;
  readonly isBase64Encoded: boolean;
  readonly requestContext: {
    readonly domainName: string;
    readonly http: { readonly method: string };
  };
}

/** The invocation's context, as far as it is looked at. */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

/** What a handler gets beside the request. */
export interface LambdaCall<
  Event extends FunctionUrlEvent = FunctionUrlEvent,
  Context extends LambdaContext = LambdaContext,
> {
  /** What the function URL was asked, as Lambda tells it. */
  readonly event: Event;
  /** Of this invocation. */
  readonly context: Context;
  /** Ends a call while there is time left to tell the browser so; for `client.stream`. */
  readonly timeouts: { readonly deadline: number };
  /** Aborts when Lambda no longer takes the answer; for `client.stream`. */
  readonly signal: AbortSignal;
}

/** How a handler answers. */
export interface StreamHandlerOptions extends HeartbeatOptions {
  /**
   * Milliseconds before the function's time is up at which a call ends, so that its end can still be
   * told. Default 1,000.
   */
  margin?: number | undefined;
}

/** What Lambda hands to a handler that streams. */
export interface LambdaResponseStream {
  write(chunk: Uint8Array | string): boolean;
  end(): unknown;
  once(event: "drain" | "close" | "error", listener: (error?: unknown) => void): unknown;
  removeListener(event: string, listener: (error?: unknown) => void): unknown;
  readonly destroyed?: boolean;
}

/** A handler as Lambda's Node.js run-time calls it. */
export type LambdaHandler<Event, Context> = (
  event: Event,
  responseStream: LambdaResponseStream,
  context: Context,
) => Promise<void>;

interface AwsLambda {
  streamifyResponse<Handler>(handler: Handler): Handler;
  HttpResponseStream: {
    from(stream: LambdaResponseStream, head: object): LambdaResponseStream;
  };
}

const MARGIN = 1_000;

/**
 * Makes a Lambda handler of a function from `Request` to an {@link AgentStream} or a `Response`. The
 * browser's reading speed reaches the agent; what fails before the answer becomes
 * {@link errorResponse}, what fails within a stream of events a last event named `error`; see
 * {@link AgentStream.toResponse}.
 *
 * @param answer - May throw a `Response`, too.
 */
export function streamHandler<
  Event extends FunctionUrlEvent = FunctionUrlEvent,
  Context extends LambdaContext = LambdaContext,
>(
  answer: (
    request: Request,
    call: LambdaCall<Event, Context>,
  ) => AgentStream | Response | Promise<AgentStream | Response>,
  options: StreamHandlerOptions = {},
): LambdaHandler<Event, Context> {
  const heartbeat = heartbeatOf(options.heartbeat);
  const margin = check.milliseconds("margin", options.margin ?? MARGIN);
  const handler: LambdaHandler<Event, Context> = async (event, responseStream, context) => {
    const left = new AbortController();
    responseStream.once("close", () => left.abort());
    const deadline = Date.now() + context.getRemainingTimeInMillis() - margin;
    const call = { event, context, timeouts: { deadline }, signal: left.signal };
    const response = await responseOf(() => answer(requestOf(event), call), heartbeat);
    await send(response, responseStream);
  };
  // Elsewhere, as in a test, it stays a function.
  return lambda()?.streamifyResponse(handler) ?? handler;
}

function lambda(): AwsLambda | undefined {
  return (globalThis as { awslambda?: AwsLambda }).awslambda;
}

function requestOf(event: FunctionUrlEvent): Request {
  const { requestContext, rawPath, rawQueryString, cookies, body, isBase64Encoded } = event;
  if (requestContext?.http === undefined) {
    throw new TypeError("the event is not a function URL's (payload format 2.0)");
  }
  const headers = new Headers();
  for (const [name, value] of Object.entries(event.headers)) {
    if (value !== undefined) headers.set(name, value);
  }
  if (cookies !== undefined && cookies.length > 0) headers.set("cookie", cookies.join("; "));
  const query = rawQueryString === "" ? "" : `?${rawQueryString}`;
  const { method } = requestContext.http;
  return new Request(new URL(rawPath + query, `https://${requestContext.domainName}`), {
    method,
    headers,
    ...(body === undefined || method === "GET" || method === "HEAD"
      ? {}
      : { body: Buffer.from(body, isBase64Encoded ? "base64" : "utf8") }),
  });
}

async function responseOf(
  answer: () => AgentStream | Response | Promise<AgentStream | Response>,
  heartbeat: number | undefined,
): Promise<Response> {
  try {
    const given = await answer();
    return given instanceof AgentStream ? given.toResponse({}, { heartbeat }) : given;
  } catch (error) {
    if (error instanceof Response) return error;
    const response = errorResponse(error);
    if (response.status >= 500) log(error);
    return response;
  }
}

/** To the function's log. An error of ours is one line there; its message names no secret. */
function log(error: unknown): void {
  if (error instanceof AgentCoreError) {
    console.error(`${error.name}: ${error.message} (delivery: ${error.delivery})`);
  } else {
    console.error(error);
  }
}

async function send(response: Response, responseStream: LambdaResponseStream): Promise<void> {
  const runtime = lambda();
  if (runtime === undefined) {
    throw new TypeError("there is no `awslambda`: this is not Lambda's Node.js run-time");
  }
  const headers = new Headers(response.headers);
  const cookies = headers.getSetCookie();
  headers.delete("set-cookie");
  const out = runtime.HttpResponseStream.from(responseStream, {
    statusCode: response.status,
    headers: Object.fromEntries(headers),
    ...(cookies.length === 0 ? {} : { cookies }),
  });
  // The head goes with the first write, and an answer may be empty, or silent for long.
  out.write("");
  try {
    for await (const chunk of response.body ?? []) {
      if (!out.write(chunk)) await room(out);
    }
  } catch (error) {
    // An answer that is not whole fails the invocation, unless it was Lambda that hung up.
    if (out.destroyed !== true) throw error;
    log(error);
  }
  out.end();
}

/** Waits until more can be written. */
function room(out: LambdaResponseStream): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown) => {
      out.removeListener("drain", drained);
      out.removeListener("close", closed);
      out.removeListener("error", settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    const drained = () => settle();
    const closed = () => settle(new Error("Lambda closed the response stream"));
    out.once("drain", drained);
    out.once("close", closed);
    out.once("error", settle);
    if (out.destroyed === true) closed();
  });
}
