/*
 * What an answer says before its body, and a whole answer.
 */
import { notJson } from "./errors.js";
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

/** What a whole answer says before its body. */
class ResponseHead implements NativeHead {
  constructor(readonly response: NativeResponse) {}

  get sessionId(): string {
    return native.responseSessionId(this.response);
  }

  get status(): number {
    return native.responseStatus(this.response);
  }

  headers(): string[] {
    return native.responseHeaders(this.response);
  }
}

/** A whole answer. A streamed one has been collected. */
export class InvokeResponse extends Head {
  readonly #response: NativeResponse;
  #bytes: Uint8Array | undefined;
  #text: string | null | undefined;

  private constructor(response: NativeResponse) {
    super(new ResponseHead(response));
    this.#response = response;
  }

  /** @internal */
  static of(response: NativeResponse): InvokeResponse {
    return new InvokeResponse(response);
  }

  /**
   * What the agent said: a JSON string unquoted, the deltas of a stream joined, plain text as it is;
   * `undefined` where the answer carries no text, e.g. a JSON object of the agent's own shape.
   */
  get text(): string | undefined {
    this.#text ??= native.responseText(this.#response);
    return this.#text ?? undefined;
  }

  /** The raw body. */
  get bytes(): Uint8Array {
    this.#bytes ??= native.responseBody(this.#response);
    return this.#bytes;
  }

  /** How the answer ended: always `"complete"`, or there would have been an error. */
  get end(): StreamEnd {
    return native.responseEnd(this.#response) as StreamEnd;
  }

  /**
   * The body as JSON. The type is yours to promise: nothing checks it.
   *
   * @throws {@link ProtocolError} where it is no JSON.
   */
  json<T = unknown>(): T {
    return parse(native.responseBodyText(this.#response), "the answer") as T;
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return (
      `InvokeResponse(status=${this.status}, sessionId=${JSON.stringify(this.sessionId)},` +
      ` contentType=${JSON.stringify(this.contentType)}, body=<${native.responseBodyLength(this.#response)} bytes>)`
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
