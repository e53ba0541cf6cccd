/*
 * The client: options in, calls out.
 */
import { authOf, type Provider } from "./auth.js";
import { finish } from "./call.js";
import { AgentCoreError, orThrow } from "./errors.js";
import type { SessionId } from "./ids.js";
import { RuntimeArn } from "./ids.js";
import { emit } from "./log.js";
import { type Letter, loop } from "./loop.js";
import {
  type Client as NativeClient,
  type Response as NativeResponse,
  type Stream as NativeStream,
  native,
} from "./native.js";
import {
  type ClientOptions,
  encode,
  type Given,
  type InvokeOptions,
  ofClient,
  ofInvoke,
  ofSibling,
  ofStop,
  ofStream,
  type Payload,
  type SiblingOptions,
  type StopOptions,
  type StreamOptions,
  session,
} from "./options.js";
import { InvokeResponse } from "./response.js";
import { AgentStream } from "./stream.js";
import { withCurrentTrace } from "./trace.js";

/** What a client consists of, for a sibling to share, and for what is built on a client. */
export class Parts {
  /** What the native module's functions take. */
  readonly id: number;

  constructor(
    readonly native: NativeClient,
    readonly provider: Provider | undefined,
    readonly propagateBaggage: boolean,
    readonly textFormat: string | undefined,
  ) {
    this.id = native.id;
  }
}

/**
 * Calls one agent runtime. Nothing is looked up or connected before the first call.
 *
 * @example
 * ```ts
 * const client = new AgentCoreClient({ runtimeArn: "arn:aws:bedrock-agentcore:…" });
 * const reply = await client.invoke({ prompt: "Hi" });
 * console.log(reply.text);
 * ```
 */
export class AgentCoreClient {
  readonly #parts: Parts;

  /** @internal */
  static partsOf(client: AgentCoreClient): Parts {
    return client.#parts;
  }

  /**
   * @param options - All optional where the environment says enough, e.g. `AGENT_RUNTIME_ARN`.
   * @throws {@link InvalidInputError} if an option breaks a rule, `TypeError` if it is of the wrong
   * type or unknown; both name it.
   */
  constructor(options?: ClientOptions);
  /** @internal */
  constructor(parts: Parts);
  constructor(options: ClientOptions | Parts = {}) {
    if (options instanceof Parts) {
      this.#parts = options;
      return;
    }
    const { credentials, bearerToken, propagateBaggage, ...rest } = ofClient(options);
    const { auth, provider } = authOf(credentials, bearerToken);
    const opened = orThrow(native.openClient(loop.queue, auth, rest));
    const format = rest["textFormat"] as string | undefined;
    this.#parts = new Parts(opened, provider, propagateBaggage === true, format);
  }

  /** The runtime that is called; `undefined` for a local agent or a whole invocation URL. */
  get runtimeArn(): RuntimeArn | undefined {
    const arn = this.#parts.native.runtimeArn;
    return arn === null ? undefined : new RuntimeArn(arn);
  }

  /** The endpoint name that is called; `undefined` stands for the service's `DEFAULT`. */
  get qualifier(): string | undefined {
    return this.#parts.native.qualifier ?? undefined;
  }

  /** Whether {@link close} has been called. */
  get closed(): boolean {
    return this.#parts.native.closed;
  }

  /**
   * Asks the agent and waits for the whole answer. A streamed answer is collected.
   *
   * @param payload - A `Uint8Array` goes as it is, a string as a JSON string, the rest as JSON.
   * @throws {@link AgentCoreError} of every kind; an error that the agent reports inside its stream
   * is one, too. `delivery` says whether the agent may have run.
   */
  async invoke(payload: Payload, options?: InvokeOptions): Promise<InvokeResponse> {
    const { session, signal, contentType, rest } = this.#invocation(ofInvoke(options));
    const { id, provider, textFormat } = this.#parts;
    const body = encode(payload);
    const done = await finish<Letter | NativeResponse>(
      (token) =>
        native.startInvoke(
          id,
          token,
          body,
          session?.id,
          session?.checked === true,
          contentType,
          rest,
        ),
      provider,
      signal,
    );
    const format = rest?.["textFormat"] as string | undefined;
    return InvokeResponse.of(orThrow(done), format ?? textFormat);
  }

  /**
   * Asks the agent and gives its answer as it arrives, from its head on. The signal, if there is one,
   * holds for the stream as well.
   *
   * @param payload - As for {@link invoke}.
   * @throws {@link AgentCoreError} as {@link invoke}; what goes wrong after the head comes out of
   * the stream.
   */
  async stream(payload: Payload, options?: StreamOptions): Promise<AgentStream> {
    const { session, signal, stopOnClose, contentType, rest } = this.#invocation(ofStream(options));
    const body = encode(payload);
    const done = await finish<NativeStream>(
      (token) =>
        native.startStream(
          this.#parts.id,
          token,
          body,
          session?.id,
          session?.checked === true,
          contentType,
          rest,
        ),
      this.#parts.provider,
      signal,
    );
    const stop = stopOnClose ? (id: string) => this.#stopQuietly(id) : undefined;
    const stream = AgentStream.of(orThrow(done), signal, stop);
    if (signal?.aborted === true) throw signal.reason;
    return stream;
  }

  /**
   * Ends a session: its agent stops and its memory goes. The id stays valid, starting afresh.
   *
   * @throws {@link ResourceNotFoundException} if no such session runs, or no longer.
   * @throws {@link AgentCoreError} as {@link invoke}.
   */
  async stopSession(sessionId: string | SessionId, options?: StopOptions): Promise<void> {
    const { id, checked } = session("sessionId", sessionId);
    await this.#stop(id, checked, ofStop(options));
  }

  /**
   * A sibling with other options on the same connections and credentials. Closing one of them closes
   * them all.
   */
  withOptions(options: SiblingOptions): AgentCoreClient {
    const { native, provider, propagateBaggage, textFormat } = this.#parts;
    const given = ofSibling(options);
    const sibling = orThrow(native.sibling(given));
    const format = (given["textFormat"] as string | undefined) ?? textFormat;
    return new AgentCoreClient(new Parts(sibling, provider, propagateBaggage, format));
  }

  /**
   * Closes idle connections and open streams, at once; also those of siblings. Calls under way
   * finish; new ones fail with {@link ClosedError}.
   */
  close(): void {
    this.#parts.native.close();
  }

  /** What `await using` calls: {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #invocation(given: Given): Given {
    this.#parts.provider?.refuseRecursion();
    given.rest = withCurrentTrace(given.rest, this.#parts.propagateBaggage);
    return given;
  }

  async #stop(id: string, checked: boolean, given: Given): Promise<void> {
    this.#parts.provider?.refuseRecursion();
    const done = await finish<true>(
      (token) => native.startStopSession(this.#parts.id, token, id, checked, given.rest),
      this.#parts.provider,
      given.signal,
    );
    orThrow(done);
  }

  /** The stop behind a stream that was closed: whoever closes it must not fail over that. */
  async #stopQuietly(id: string): Promise<void> {
    try {
      await this.#stop(id, true, ofStop(undefined));
    } catch (error) {
      if (!(error instanceof AgentCoreError)) throw error;
      emit("WARN", `could not stop the session: ${error.message}`);
    }
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    if (this.closed) return "AgentCoreClient(closed)";
    const { runtimeArn, qualifier } = this.#parts.native;
    return `AgentCoreClient(${JSON.stringify(runtimeArn)}, qualifier=${JSON.stringify(qualifier)})`;
  }
}
