/*
 * What an agent sent, one at a time, and how a batch of it is cut into pieces.
 */
import { parse } from "./response.js";

/**
 * What an agent sent, one at a time: a server-sent event; or, of an answer in JSON, the one event with
 * the whole value; or, of another content type, a chunk as it came, text cut only between characters.
 */
export class AgentEvent {
  /** The raw data: a string, or bytes of a chunk that is no text. */
  readonly data: string | Uint8Array;
  /** What the agent said in this event; `undefined` where it carries no text. */
  readonly text: string | undefined;
  /** The event's name, for server-sent events that have one. */
  readonly event: string | undefined;
  /** The event's id, for server-sent events that have one. */
  readonly id: string | undefined;

  private constructor(
    data: string | Uint8Array,
    text: string | undefined,
    event: string | undefined,
    id: string | undefined,
  ) {
    this.data = data;
    this.text = text;
    this.event = event;
    this.id = id;
  }

  /** @internal */
  static of(
    data: string | Uint8Array,
    text: string | undefined,
    event: string | undefined,
    id: string | undefined,
  ): AgentEvent {
    return new AgentEvent(data, text, event, id);
  }

  /**
   * The data as JSON. The type is yours to promise: nothing checks it.
   *
   * @throws {@link ProtocolError} where it is no JSON.
   */
  json<T = unknown>(): T {
    return parse(typeof this.data === "string" ? this.data : null, "this event") as T;
  }
}

/** A batch's events at most, and the words that describe one; the native module's own numbers. */
const EVENTS = 256;
const WORDS = 4;
const BINARY = 2 ** 31;
const NONE = 2 ** 32 - 1;

/** Room for the description of a batch. One is enough: it is read before the next is written. */
export const words = new Uint32Array(1 + EVENTS * WORDS);

/** Cuts a batch's one string; `binary` gives the data that is no text. */
export function cut(joined: string, binary: () => Uint8Array): AgentEvent[] {
  const number = words[0] ?? 0;
  const events = new Array<AgentEvent>(number);
  let at = 0;
  const piece = (length: number): string | undefined => {
    if (length === NONE) return undefined;
    const text = joined.slice(at, at + length);
    at += length;
    return text;
  };
  let bytes: Uint8Array | undefined;
  let byteAt = 0;
  for (let index = 0; index < number; index++) {
    const word = 1 + index * WORDS;
    const length = words[word] ?? 0;
    let data: string | Uint8Array;
    if (length >= BINARY) {
      bytes ??= binary();
      data = bytes.slice(byteAt, byteAt + length - BINARY);
      byteAt += length - BINARY;
    } else {
      data = piece(length) ?? "";
    }
    const text = piece(words[word + 1] ?? NONE);
    const event = piece(words[word + 2] ?? NONE);
    events[index] = AgentEvent.of(data, text, event, piece(words[word + 3] ?? NONE));
  }
  return events;
}
