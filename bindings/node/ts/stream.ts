/*
 * An answer while it arrives. It is taken from the socket only when somebody reads, in batches of
 * what is there; whatever has been taken is handed over, in order, to those who asked, in order.
 */
import { ClosedError, fromNative, InternalError } from "./errors.js";
import { type AgentEvent, cut, words } from "./event.js";
import { loop } from "./loop.js";
import type { Failure, Stream } from "./native.js";
import { readable } from "./readable.js";
import { Head, type StreamEnd } from "./response.js";
import { offAbort, onAbort } from "./signal.js";
import {
  EVENT_STREAM,
  type Events,
  type HeartbeatOptions,
  heartbeatOf,
  isEventStream,
  passedOn,
} from "./sse.js";
import { passingOn, withDefaults } from "./web.js";

const CLOSED = "the stream was closed";
/** The ends at which it was this side that hung up on an agent which may go on. */
const HUNG_UP: ReadonlySet<StreamEnd | undefined> = new Set([
  "closed",
  "idle_timeout",
  "total_timeout",
  "too_large",
]);
const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Why nothing more can be read, though the answer did not end. */
interface Stopped {
  error(): unknown;
}
type Taken<T> = T | true | Failure | Stopped;

function isStopped(taken: unknown): taken is Stopped {
  return typeof taken === "object" && taken !== null && "error" in taken;
}

/** What all readers of a stream share. */
class Source implements Events {
  readonly native: Stream;
  readonly #token: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: (() => void) | undefined;
  #ready: AgentEvent[] = [];
  #readyAt = 0;
  /** Taken, and never handed over. */
  #dropped = 0;
  #mode: "events" | "bytes" | undefined;
  /** The last of those who wait for their turn, and its number. */
  #last: Promise<unknown> | undefined;
  #tickets = 0;
  #wake: (() => void) | undefined;
  #stopped: Stopped | undefined;
  #over = false;
  /** The last batch was there at once. */
  #eager = false;

  constructor(native: Stream, signal: AbortSignal | undefined) {
    this.native = native;
    this.#token = native.token;
    this.#signal = signal;
    if (signal !== undefined) {
      // A signal may live as long as the process; it must not keep what nobody reads any more.
      const weak = new WeakRef(this);
      this.#onAbort = () => weak.deref()?.abort();
      onAbort(signal, this.#onAbort);
      abandoned.register(this, { signal, listener: this.#onAbort }, this);
      if (signal.aborted) this.abort();
    }
  }

  /** This side ended it: it was closed, or its signal aborted. */
  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  /** Ended, in whatever way. */
  get isOver(): boolean {
    return this.#over || this.#stopped !== undefined;
  }

  get eventsSeen(): number {
    return this.native.eventsSeen - this.#dropped - (this.#ready.length - this.#readyAt);
  }

  abort(): void {
    const signal = this.#signal;
    this.stop({ error: () => signal?.reason });
    this.onHungUp?.();
  }

  /** Called when it ends in the middle, other than by being closed. */
  onHungUp: (() => void) | undefined;

  /** Closes the connection, before anything else happens. */
  stop(why: Stopped): void {
    if (this.isOver) return;
    this.#stopped = why;
    this.#dropped = this.#ready.length - this.#readyAt;
    this.#ready = [];
    this.#readyAt = 0;
    this.native.close();
    this.#wake?.();
    this.#release();
  }

  use(mode: "events" | "bytes"): void {
    if (this.#mode === undefined) this.#mode = mode;
    else if (this.#mode !== mode || mode === "bytes") {
      throw new TypeError(
        "the stream is being read already: take its events or its bytes, and the bytes once",
      );
    }
  }

  /** The next event that `pick` makes something of. Those who ask at a time are served in order. */
  next<T>(
    pick: (event: AgentEvent) => T | undefined,
    isDone: () => boolean,
  ): Promise<IteratorResult<T, undefined>> {
    if (this.#last === undefined) {
      const value = this.#shift(pick);
      if (value !== undefined) return Promise.resolve({ done: false, value });
    }
    this.#tickets += 1;
    this.#last = this.#nextSlowly(this.#tickets, this.#last, pick, isDone);
    return this.#last as Promise<IteratorResult<T, undefined>>;
  }

  // An async function whose promise has no other reaction than the caller's: only so does the stack
  // of an error thrown in here go on with who awaits it.
  async #nextSlowly<T>(
    ticket: number,
    before: Promise<unknown> | undefined,
    pick: (event: AgentEvent) => T | undefined,
    isDone: () => boolean,
  ): Promise<IteratorResult<T, undefined>> {
    try {
      if (before !== undefined) await before.catch(() => undefined);
      for (;;) {
        if (isDone()) return DONE;
        const value = this.#shift(pick);
        if (value !== undefined) return { done: false, value };
        if (this.#over) return DONE;
        const taken = await this.#fill<string>(() => this.native.takeEvents(words));
        if (typeof taken === "string") continue;
        if (taken === true || isDone()) return DONE;
        throw this.#errorOf(taken);
      }
    } finally {
      if (this.#tickets === ticket) this.#last = undefined;
    }
  }

  /** The next event, for a reader that is alone; `undefined` at the proper end. */
  async nextEvent(): Promise<AgentEvent | undefined> {
    const { value } = await this.next(
      (event) => event,
      () => false,
    );
    return value;
  }

  /** One that has been taken already. */
  readyEvent(): AgentEvent | undefined {
    return this.#shift((event) => event);
  }

  /** The next bytes that have arrived; `undefined` at the end. */
  async nextBytes(): Promise<Uint8Array | undefined> {
    if (this.#over) return undefined;
    const taken = await this.#fill<Uint8Array>(() => this.native.takeBytes());
    if (taken instanceof Uint8Array) return taken;
    if (taken === true) return undefined;
    throw this.#errorOf(taken);
  }

  #errorOf(taken: Failure | Stopped): unknown {
    return isStopped(taken) ? taken.error() : fromNative(taken);
  }

  #shift<T>(pick: (event: AgentEvent) => T | undefined): T | undefined {
    while (this.#readyAt < this.#ready.length) {
      const event = this.#ready[this.#readyAt++] as AgentEvent;
      const value = pick(event);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Waits for a batch. Never rejects. One at a time. */
  #fill<T extends string | Uint8Array>(
    take: () => T | true | Failure | null | undefined,
  ): Promise<Taken<T>> {
    return new Promise((resolve) => {
      const token = this.#token;
      const attempt = () => {
        this.#wake = undefined;
        if (this.#stopped !== undefined) {
          loop.forget(token);
          resolve(this.#stopped);
          return;
        }
        let taken: ReturnType<typeof take>;
        try {
          taken = take();
          if (typeof taken === "string") {
            this.#ready = cut(taken, () => this.native.takeBinary());
            this.#readyAt = 0;
          }
        } catch (error) {
          // An event that is longer than JavaScript's strings may be, or that finds no memory.
          const failed = this.#failed(error);
          this.stop(failed);
          resolve(failed);
          return;
        }
        if (taken === null || taken === undefined) {
          this.#eager = false;
          this.#wake = attempt;
          loop.wait(token, attempt);
          return;
        }
        resolve(taken);
        if (typeof taken !== "string" && !(taken instanceof Uint8Array)) {
          // An end is an end; a stream that its client closed says so to each who asks.
          this.#over = taken === true || taken.kind !== "Closed";
          if (taken !== true) this.onHungUp?.();
          this.#release();
        }
      };
      // A sender that is faster than its reader must not keep the event loop for itself.
      const eager = this.#eager;
      this.#eager = true;
      if (eager && loop.isTurnOver()) setImmediate(attempt);
      else attempt();
    });
  }

  /** What came can't be handed over, and nothing after it shall be. */
  #failed(cause: unknown): Stopped {
    const members = { delivery: "accepted", sessionId: this.native.sessionId, cause } as const;
    const error = new InternalError(`the answer can't be handed over: ${String(cause)}`, members);
    return { error: () => error };
  }

  #release(): void {
    if (this.#signal !== undefined && this.#onAbort !== undefined) {
      offAbort(this.#signal, this.#onAbort);
      abandoned.unregister(this);
    }
  }
}

/** The agent's word for its content, but nothing that a browser would run as a page of yours. */
function kindOf(contentType: string | undefined): string {
  if (isEventStream(contentType)) return EVENT_STREAM;
  const kind = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+/.exec(contentType ?? "")?.[0].toLowerCase();
  if (kind === undefined) return "application/octet-stream";
  if (/html|xml|script/.test(kind)) return "text/plain; charset=utf-8";
  const charset = /;\s*charset="?([\w-]+)/i.exec(contentType ?? "")?.[1] ?? "utf-8";
  return kind.startsWith("text/") ? `${kind}; charset=${charset}` : kind;
}

/** Signals that outlive a stream which nobody closed or read to its end. */
const abandoned = new FinalizationRegistry<{ signal: AbortSignal; listener: () => void }>(
  ({ signal, listener }) => offAbort(signal, listener),
);

/** Hands out events, or what is made of them, until somebody leaves. */
class Cursor<T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: Source;
  readonly #pick: (event: AgentEvent) => T | undefined;
  readonly #leave: () => Promise<void>;
  #left = false;

  constructor(
    source: Source,
    pick: (event: AgentEvent) => T | undefined,
    leave: () => Promise<void>,
  ) {
    source.use("events");
    this.#source = source;
    this.#pick = pick;
    this.#leave = leave;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#left) return Promise.resolve(DONE);
    return this.#source.next(this.#pick, () => this.#left);
  }

  /** What `break` calls: closes the connection at once; a `next` that waits is told of the end. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#left = true;
    await this.#leave();
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/**
 * An answer while it arrives: an async iterable of {@link AgentEvent}.
 *
 * Events are handed over as soon as they are complete. A stream that breaks throws: a loop that comes
 * to its end means that the answer ended properly. Leaving the loop early closes the connection at
 * once; that does not stop the agent, which {@link AgentCoreClient.stopSession} does.
 *
 * @example
 * ```ts
 * const stream = await client.stream({ prompt: "Hi" });
 * for await (const event of stream) process.stdout.write(event.text ?? "");
 * ```
 */
export class AgentStream extends Head implements AsyncIterable<AgentEvent> {
  readonly #source: Source;
  #stop: ((sessionId: string) => Promise<void>) | undefined;

  private constructor(
    native: Stream,
    signal: AbortSignal | undefined,
    stop: ((sessionId: string) => Promise<void>) | undefined,
  ) {
    super(native);
    this.#stop = stop;
    const source = new Source(native, signal);
    this.#source = source;
    if (stop !== undefined) {
      // Nobody calls `close` then, so nobody waits for the stop either.
      source.onHungUp = () => void this.close();
      // The signal may have aborted while the answer's head was on its way here.
      if (source.isOver) source.onHungUp();
    }
  }

  /** @internal */
  static of(
    native: Stream,
    signal: AbortSignal | undefined,
    stop: ((sessionId: string) => Promise<void>) | undefined,
  ): AgentStream {
    return new AgentStream(native, signal, stop);
  }

  /** How the stream ended; `undefined` while it goes on. */
  get end(): StreamEnd | undefined {
    return (this.#source.native.end as StreamEnd | null) ?? undefined;
  }

  /** Whether it has ended, in whatever way. */
  get closed(): boolean {
    return this.end !== undefined;
  }

  /** Events handed over so far. */
  get eventsSeen(): number {
    return this.#source.eventsSeen;
  }

  /** Several of them share the events; each event goes to whoever asks first. */
  [Symbol.asyncIterator](): AsyncIterableIterator<AgentEvent, undefined> {
    return new Cursor(
      this.#source,
      (event) => event,
      () => this.close(),
    );
  }

  /** What the agent says, as it says it, without the events that carry no text. */
  textDeltas(): AsyncIterableIterator<string, undefined> {
    return new Cursor(
      this.#source,
      (event) => event.text,
      () => this.close(),
    );
  }

  /**
   * The answer's raw bytes as they arrive, in place of events. Cancelling it closes the connection at
   * once, also while a read waits.
   *
   * @throws TypeError if its events are being read already.
   */
  toReadableStream(): ReadableStream<Uint8Array> {
    this.#source.use("bytes");
    return readable(
      () => this.#source.nextBytes(),
      () => this.close(),
    );
  }

  /** {@link textDeltas} as a stream of strings. */
  toTextStream(): ReadableStream<string> {
    const deltas = this.textDeltas();
    return readable(
      async () => (await deltas.next()).value,
      () => this.close(),
    );
  }

  /**
   * The answer as a `Response` to pass on, e.g. from a Next.js route handler. Nothing of the agent's
   * head goes with it but the kind of its content, and never the session id; there are headers that
   * keep proxies from holding events back.
   *
   * Of a stream of events, the events are passed on with their names, ids and data. Behind them stands
   * `event: end` after a proper end, or else `event: error` with the body of {@link publicError}: an
   * answer without either was cut on the way. An answer of another kind goes on as it came, and breaks
   * where the agent's breaks.
   *
   * @param init - Another status, or more headers; they win over those set here.
   * @throws TypeError if the stream is being read already, or for what `Response` does not take, such
   * as a status without a body; {@link InvalidInputError} for a heartbeat out of range. After these two
   * the stream is closed.
   */
  toResponse(init: ResponseInit = {}, options: HeartbeatOptions = {}): Response {
    const source = this.#source;
    source.use("bytes");
    const close = () => this.close();
    try {
      const heartbeat = heartbeatOf(options.heartbeat);
      const headers = withDefaults(init.headers, passingOn(kindOf(this.contentType)));
      const next = isEventStream(this.contentType)
        ? passedOn(source, heartbeat)
        : () => source.nextBytes();
      return new Response(readable(next, close), { ...init, headers });
    } catch (error) {
      // There is nobody who could read it any more.
      void this.close();
      throw error;
    }
  }

  /**
   * Closes the connection at once, before it returns. Reading goes on with {@link ClosedError}. The
   * promise waits for the stop that `stopOnClose` asks for.
   */
  async close(): Promise<void> {
    const { sessionId } = this;
    this.#source.stop({
      error: () => new ClosedError(CLOSED, { delivery: "accepted", sessionId }),
    });
    const stop = this.#stop;
    this.#stop = undefined;
    if (stop !== undefined && HUNG_UP.has(this.end)) await stop(this.sessionId);
  }

  /** What `await using` calls: {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `AgentStream(sessionId=${JSON.stringify(this.sessionId)}, end=${JSON.stringify(this.end)})`;
  }
}
