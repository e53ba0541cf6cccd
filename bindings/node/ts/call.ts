/*
 * One call: polled whenever it is worth it, its questions answered, its signal heeded.
 */
import { AsyncResource } from "node:async_hooks";
import type { Provider } from "./auth.js";
import { fromNative, isFailure } from "./errors.js";
import { type Letter, loop, type Waiter } from "./loop.js";
import { type Failure, native, type Question, type Response, type Stream } from "./native.js";
import { offAbort, onAbort } from "./signal.js";

type Outcome = Letter | Response | Stream | true;

/**
 * Sees a call through; what it failed with is for the caller to throw. When `signal` aborts, the call
 * is let go of, which closes its connection there and then, and the promise rejects with the signal's
 * reason.
 */
export function finish<T extends Outcome>(
  start: (token: number) => Failure | null,
  provider: Provider | undefined,
  signal: AbortSignal | undefined,
): Promise<T | Failure> {
  return new Promise<T | Failure>((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const token = loop.token();
    const failed = start(token);
    if (failed !== null) {
      // The caller is still on the stack.
      reject(fromNative(failed));
      return;
    }
    new Call(token, resolve as (outcome: Outcome | Failure) => void, reject, provider, signal);
  });
}

/** One that is under way. */
class Call implements Waiter {
  readonly #token: number;
  readonly #resolve: (outcome: Outcome | Failure) => void;
  readonly #reject: (error: unknown) => void;
  readonly #provider: Provider | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: (() => void) | undefined;
  readonly #callers: AsyncResource | undefined;
  #cause: unknown;
  /** Held, or a question that nobody ever answers would be collected, which counts as a refusal,
   * long before its time limit. */
  #asked: Question[] | undefined;

  constructor(
    token: number,
    resolve: (outcome: Outcome | Failure) => void,
    reject: (error: unknown) => void,
    provider: Provider | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#token = token;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#provider = provider;
    this.#signal = signal;
    if (signal !== undefined) {
      this.#onAbort = () => this.#abort();
      onAbort(signal, this.#onAbort);
    }
    // It has had its first turn.
    if (provider === undefined) {
      loop.wait(token, this);
      return;
    }
    // A provider may be needed already, and is asked from here. What wakes a call may be another one's
    // doing: a provider that looks up whose request it is asked for must find its own at every attempt.
    this.#callers = new AsyncResource("AgentCoreCall");
    this.#poll();
  }

  wake(): void {
    if (this.#callers === undefined) this.#poll();
    else this.#callers.runInAsyncScope(() => this.#poll());
  }

  answered(letter: Letter): void {
    this.#resolve(letter);
    this.#end();
  }

  #poll(): void {
    const { queue } = loop;
    let outcome: ReturnType<typeof queue.poll>;
    try {
      outcome = queue.poll(this.#token);
      while (outcome instanceof native.Question) {
        // The answer wakes the call; meanwhile its time limits are watched.
        this.#asked ??= [];
        this.#asked.push(outcome);
        void this.#provider?.answer(outcome, (error) => {
          this.#cause = error;
        });
        outcome = queue.poll(this.#token);
      }
    } catch (error) {
      this.#reject(error);
      this.#end();
      return;
    }
    if (outcome === null) {
      loop.wait(this.#token, this);
      return;
    }
    if (this.#cause !== undefined && isFailure(outcome) && outcome.kind === "Credentials") {
      outcome.causedBy = this.#cause;
    }
    this.#resolve(outcome);
    this.#end();
  }

  #abort(): void {
    loop.forget(this.#token);
    loop.queue.abort(this.#token);
    this.#reject(this.#signal?.reason);
  }

  /** Last, since the signal may be one of somebody's own making. */
  #end(): void {
    if (this.#signal !== undefined && this.#onAbort !== undefined) {
      offAbort(this.#signal, this.#onAbort);
    }
  }
}
