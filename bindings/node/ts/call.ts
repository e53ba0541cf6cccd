/*
 * One call: polled whenever it is worth it, its questions answered, its signal heeded.
 */
import { AsyncResource } from "node:async_hooks";
import type { Provider } from "./auth.js";
import { fromNative, isFailure } from "./errors.js";
import { loop } from "./loop.js";
import {
  type Failure,
  native,
  type Question,
  type ReadyQueue,
  type Response,
  type Stream,
} from "./native.js";
import { offAbort, onAbort } from "./signal.js";

type Outcome = Response | Stream | true;

/**
 * Sees a call through; what it failed with is for the caller to throw. When `signal` aborts, the call is let go of, which closes its connection
 * there and then, and the promise rejects with the signal's reason.
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
    const { queue } = loop;
    let cause: unknown;
    // Held, or a question that nobody ever answers would be collected, which counts as a refusal,
    // long before its time limit.
    const asked: Question[] = [];

    const abort = () => {
      loop.forget(token);
      queue.abort(token);
      reject(signal?.reason);
    };

    let again: () => void;
    const poll = () => {
      let outcome: ReturnType<ReadyQueue["poll"]>;
      try {
        outcome = queue.poll(token);
        while (outcome instanceof native.Question) {
          // The answer wakes the call; meanwhile its time limits are watched.
          asked.push(outcome);
          void provider?.answer(outcome, (error) => {
            cause = error;
          });
          outcome = queue.poll(token);
        }
      } catch (error) {
        if (signal !== undefined) offAbort(signal, abort);
        reject(error);
        return;
      }
      if (outcome === null) {
        loop.wait(token, again);
        return;
      }
      if (signal !== undefined) offAbort(signal, abort);
      if (cause !== undefined && isFailure(outcome) && outcome.kind === "Credentials") {
        outcome.causedBy = cause;
      }
      resolve(outcome as T | Failure);
    };

    // What wakes a call may be another one's doing: a provider that looks up whose request it is asked
    // for must find its own at every attempt.
    again = provider === undefined ? poll : AsyncResource.bind(poll);
    if (signal !== undefined) onAbort(signal, abort);
    // It has had its first turn. Only a provider may be needed already, and is asked from here, where
    // the caller's async context is.
    if (provider === undefined) loop.wait(token, poll);
    else again();
  });
}
