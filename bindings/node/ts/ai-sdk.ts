/**
 * For `useChat` of Vercel's AI SDK, versions 5 to 7: an agent's answer in the AI SDK's UI message
 * stream protocol, version 1 (`x-vercel-ai-ui-message-stream: v1`).
 *
 * ```ts
 * import { toUIMessageStreamResponse } from "agentcore-client/ai-sdk";
 *
 * export async function POST(request: Request) {
 *   const { messages } = await request.json();
 *   const prompt = messages.at(-1).parts.map((part) => part.text ?? "").join("");
 *   const stream = await client.stream({ prompt }, { signal: request.signal });
 *   return toUIMessageStreamResponse(stream);
 * }
 * ```
 *
 * @packageDocumentation
 */
import {
  type AgentEvent,
  type AgentStream,
  type HeartbeatOptions,
  internals,
  publicError,
} from "./index.js";
import type { Next } from "./readable.js";

const { EVENT_STREAM, heartbeatOf, passingOn, readable, withDefaults, withHeartbeat } = internals;

/** A part of the protocol that this module makes; the AI SDK's `UIMessageChunk` has all of them. */
export type UIMessagePart =
  | { type: "start"; messageId?: string }
  | { type: "text-start"; id: string }
  | { type: "text-delta"; id: string; delta: string }
  | { type: "text-end"; id: string }
  | { type: `data-${string}`; id?: string; data: unknown; transient?: boolean }
  | { type: "error"; errorText: string }
  | { type: "finish" }
  | { type: "abort" };

/** How an answer becomes a UI message. */
export interface UIMessageStreamOptions {
  /** The message's id; the page makes one otherwise. */
  messageId?: string | undefined;
  /**
   * What an event becomes in place of its text: a data part, such as `{ type: "data-tool", data }`,
   * other text, or nothing.
   */
  toPart?:
    | ((
        event: AgentEvent,
      ) => Extract<UIMessagePart, { type: `data-${string}` }> | string | undefined)
    | undefined;
  /**
   * What the page is told of an error. Default: a sentence for its kind, without anything that names a
   * host, an account or a session.
   */
  onError?: ((error: unknown) => string) | undefined;
}

/** The same, as an answer to a browser. */
export interface UIMessageStreamResponseOptions
  extends UIMessageStreamOptions,
    HeartbeatOptions,
    ResponseInit {}

const TEXT_ID = "text";

/**
 * An answer as parts of a UI message, e.g. for `writer.merge` of `createUIMessageStream`. One that
 * fails ends with an `error` part, one that was closed on this side with `abort`; it never throws.
 *
 * @throws TypeError if the stream's bytes are being read already.
 */
export function toUIMessageStream(
  stream: AgentStream,
  options: UIMessageStreamOptions = {},
): ReadableStream<UIMessagePart> {
  return readable(parts(stream, options), () => stream.close());
}

/**
 * {@link toUIMessageStream} as a `Response` that `useChat` reads.
 *
 * @throws As {@link AgentStream.toResponse}.
 */
export function toUIMessageStreamResponse(
  stream: AgentStream,
  options: UIMessageStreamResponseOptions = {},
): Response {
  const { messageId, toPart, onError, heartbeat, headers: given, ...init } = options;
  const next = parts(stream, { messageId, toPart: toPart && writable(toPart), onError });
  const encoder = new TextEncoder();
  let done = false;
  const bytes: Next<Uint8Array> = async () => {
    if (done) return undefined;
    const part = await next();
    done = part === undefined;
    return encoder.encode(`data: ${done ? "[DONE]" : JSON.stringify(part)}\n\n`);
  };
  try {
    const every = heartbeatOf(heartbeat);
    const headers = withDefaults(given, {
      ...passingOn(EVENT_STREAM),
      "x-vercel-ai-ui-message-stream": "v1",
    });
    const body = readable(withHeartbeat(bytes, every), () => stream.close());
    return new Response(body, { ...init, headers });
  } catch (error) {
    void stream.close();
    throw error;
  }
}

/** What can't be written as JSON fails here, where a failure still becomes an `error` part. */
function writable(toPart: NonNullable<UIMessageStreamOptions["toPart"]>): typeof toPart {
  return (event) => {
    const part = toPart(event);
    if (typeof part === "object") JSON.stringify(part);
    return part;
  };
}

function parts(stream: AgentStream, options: UIMessageStreamOptions): Next<UIMessagePart> {
  const { messageId, toPart, onError } = options;
  const events = stream[Symbol.asyncIterator]();
  const ready: UIMessagePart[] = [
    { type: "start", ...(messageId === undefined ? {} : { messageId }) },
  ];
  let speaking = false;
  let over = false;
  const end = (...last: UIMessagePart[]) => {
    over = true;
    if (speaking) ready.push({ type: "text-end", id: TEXT_ID });
    ready.push(...last);
  };
  const take = (made: string | UIMessagePart | undefined) => {
    if (made === undefined || made === "") return;
    if (typeof made !== "string") {
      ready.push(made);
      return;
    }
    if (!speaking) ready.push({ type: "text-start", id: TEXT_ID });
    speaking = true;
    ready.push({ type: "text-delta", id: TEXT_ID, delta: made });
  };
  return async () => {
    while (ready.length === 0) {
      if (over) return undefined;
      try {
        const event = await events.next();
        if (event.done === true) end({ type: "finish" });
        else take(toPart === undefined ? event.value.text : toPart(event.value));
      } catch (error) {
        const wasClosed = stream.end === "closed";
        // What `toPart` throws leaves a stream that nobody reads; `onError` may throw, too.
        await stream.close();
        if (wasClosed) end({ type: "abort" });
        else end({ type: "error", errorText: onError?.(error) ?? publicError(error).message });
      }
    }
    return ready.shift();
  };
}
