/*
 * One listener for each signal, whatever waits for it: a program that gives one signal to many calls
 * is no leak, and Node would warn of one from the eleventh listener on.
 */

interface Hub {
  readonly waiting: Set<() => void>;
  readonly listener: () => void;
}

const hubs = new WeakMap<AbortSignal, Hub>();

/** Calls this when the signal aborts. */
export function onAbort(signal: AbortSignal, call: () => void): void {
  let hub = hubs.get(signal);
  if (hub === undefined) {
    const waiting = new Set<() => void>();
    const listener = () => {
      hubs.delete(signal);
      for (const call of waiting) call();
    };
    hub = { waiting, listener };
    hubs.set(signal, hub);
    signal.addEventListener("abort", listener, { once: true });
  }
  hub.waiting.add(call);
}

/** Takes that back. The last one takes the listener along. */
export function offAbort(signal: AbortSignal, call: () => void): void {
  const hub = hubs.get(signal);
  if (hub?.waiting.delete(call) === true && hub.waiting.size === 0) {
    hubs.delete(signal);
    signal.removeEventListener("abort", hub.listener);
  }
}
