/*
 * What an answer says before its body, and a whole answer.
 */
import { notJson } from "./errors.js";
import { type Letter, NO_TEXT, TEXT_IN_BODY } from "./loop.js";
import { type Response as NativeResponse, native } from "./native.js";

/** How a stream ended. */
export type StreamEnd =
  | "complete"
  | "agent_error"
  | "truncated"
  | "idle_timeout"
  | "total_timeout"
  | "too_large"
  | "protocol_error"
  | "closed";

interface NativeHead {
  readonly sessionId: string;
  readonly status: number;
  headers(): string[];
}

/** What an answer says before its body. */
export abstract class Head {
  readonly #native: NativeHead;
  #headers: Readonly<Record<string, string>> | undefined;

  /** @internal */
  constructor(native: NativeHead) {
    this.#native = native;
  }

  /** The runtime session that answers. Keep it to go on in the same session. */
  get sessionId(): string {
    return this.#native.sessionId;
  }

  /** HTTP status of the answer. */
  get status(): number {
    return this.#native.status;
  }

  /**
   * All headers of the answer, names in lower case, the trace headers among them. The values of a
   * name that comes more than once are joined by commas.
   */
  get headers(): Readonly<Record<string, string>> {
    if (this.#headers === undefined) {
      const headers: Record<string, string> = Object.create(null);
      const pairs = this.#native.headers();
      for (let at = 0; at + 1 < pairs.length; at += 2) {
        const [name = "", value = ""] = pairs.slice(at, at + 2);
        headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
      }
      this.#headers = Object.freeze(headers);
    }
    return this.#headers;
  }

  /** Content type of the answer. */
  get contentType(): string | undefined {
    return this.headers["content-type"];
  }

  /** The service's request id. */
  get requestId(): string | undefined {
    return this.headers["x-amzn-requestid"];
  }

  /**
   * Where this one session can be reached directly, if the runtime opens ports for that. An `https`
   * URL or nothing; never send it credentials without looking at its host.
   */
  get sessionEndpointUrl(): string | undefined {
    const url = this.headers["x-amzn-bedrock-agentcore-runtime-session-endpoint-url"];
    return url?.startsWith("https://") ? url : undefined;
  }
}

/** A whole answer, wherever it is. */
interface Whole extends NativeHead {
  readonly length: number;
  /** A copy, which its owner may transfer. */
  bytes(): Uint8Array;
  /** The body for `JSON.parse`; `null` if it is no text. */
  json(): string | null;
  /** What the agent said. */
  said(): string | null;
}

/** A small answer, which came in the mail. */
class Posted implements Whole {
  readonly #letter: Letter;
  readonly #format: string | undefined;
  #head: string[] | undefined;

  constructor(letter: Letter, format: string | undefined) {
    this.#letter = letter;
    this.#format = format;
  }

  get status(): number {
    return this.#letter.status;
  }

  get length(): number {
    return this.#letter.body;
  }

  get sessionId(): string {
    return this.#lines()[0] ?? "";
  }

  headers(): string[] {
    return this.#lines().slice(1);
  }

  bytes(): Uint8Array {
    const { mail, at, head, body } = this.#letter;
    return mail.slice(at + head, at + head + body);
  }

  json(): string | null {
    return native.textOf(this.#body());
  }

  said(): string | null {
    const { mail, at, head, body, text } = this.#letter;
    if (text === NO_TEXT) return null;
    if (text === TEXT_IN_BODY) return native.textInJson(this.#body(), this.#format);
    const begin = at + head + body;
    return native.textOf(mail.subarray(begin, begin + text));
  }

  #body(): Uint8Array {
    const { mail, at, head, body } = this.#letter;
    return mail.subarray(at + head, at + head + body);
  }

  #lines(): string[] {
    const { mail, at, head } = this.#letter;
    this.#head ??= Buffer.from(mail.buffer, mail.byteOffset + at, head)
      .toString("latin1")
      .split("\n");
    return this.#head;
  }
}

/** Any other answer, which the native module keeps. */
class Kept implements Whole {
  readonly #response: NativeResponse;

  constructor(response: NativeResponse) {
    this.#response = response;
  }

  get sessionId(): string {
    return native.responseSessionId(this.#response);
  }

  get status(): number {
    return native.responseStatus(this.#response);
  }

  get length(): number {
    return native.responseBodyLength(this.#response);
  }

  headers(): string[] {
    return native.responseHeaders(this.#response);
  }

  bytes(): Uint8Array {
    return native.responseBody(this.#response);
  }

  json(): string | null {
    return native.responseBodyText(this.#response);
  }

  said(): string | null {
    return native.responseText(this.#response);
  }
}

/** A whole answer. A streamed one has been collected. */
export class InvokeResponse extends Head {
  readonly #whole: Whole;
  #bytes: Uint8Array | undefined;
  #text: string | null | undefined;

  private constructor(whole: Whole) {
    super(whole);
    this.#whole = whole;
  }

  /**
   * `format` is where a small answer of JSON has its text.
   *
   * @internal
   */
  static of(given: Letter | NativeResponse, format: string | undefined): InvokeResponse {
    return new InvokeResponse("mail" in given ? new Posted(given, format) : new Kept(given));
  }

  /**
   * What the agent said: a JSON string unquoted, the deltas of a stream joined, plain text as it is;
   * `undefined` where the answer carries no text, e.g. a JSON object of the agent's own shape.
   */
  get text(): string | undefined {
    if (this.#text === undefined) this.#text = this.#whole.said();
    return this.#text ?? undefined;
  }

  /** The raw body. */
  get bytes(): Uint8Array {
    this.#bytes ??= this.#whole.bytes();
    return this.#bytes;
  }

  /** How the answer ended: always `"complete"`, or there would have been an error. */
  get end(): StreamEnd {
    return "complete";
  }

  /**
   * The body as JSON. The type is yours to promise: nothing checks it.
   *
   * @throws {@link ProtocolError} where it is no JSON.
   */
  json<T = unknown>(): T {
    return parse(this.#whole.json(), "the answer") as T;
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return (
      `InvokeResponse(status=${this.status}, sessionId=${JSON.stringify(this.sessionId)},` +
      ` contentType=${JSON.stringify(this.contentType)}, body=<${this.#whole.length} bytes>)`
    );
  }
}

/** JSON, with a failure that says what it was about. */
export function parse(text: string | null, what: string): unknown {
  try {
    if (text === null) throw new SyntaxError("no text");
    return JSON.parse(text);
  } catch (error) {
    throw notJson(what, error);
  }
}
