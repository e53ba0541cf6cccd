/*
 * How a JavaScript thread waits for native work. The native module only says that there is
 * something to poll; polling and resolving happen here, so that no foreign thread ever enters
 * JavaScript and no promise is made for what is there already.
 */
import { emit } from "./log.js";
import { native, type ReadyQueue } from "./native.js";

/** Longer than this no stream keeps the event loop for itself. */
const TURN_MS = 4;
/** The token of the log. */
const LOG = 0;

class Loop {
  readonly queue: ReadyQueue;
  readonly #waiting = new Map<number, () => void>();
  #last = LOG;
  #turnBegan = 0;

  constructor() {
    const { bun, deno } = process.versions;
    // Others have functions of libuv, too, which don't do what they should.
    const isNode = bun === undefined && deno === undefined;
    this.queue = new native.ReadyQueue(() => this.#wake(), isNode);
  }

  /** A new token, for a call and the stream that may come of it. */
  token(): number {
    // After four thousand million calls it begins again; none of the first is left by then.
    this.#last = this.#last === 2 ** 32 - 1 ? LOG + 1 : this.#last + 1;
    return this.#last;
  }

  /** Calls `wake` when this token is worth polling again. Keeps the process alive until then. */
  wait(token: number, wake: () => void): void {
    if (this.#waiting.size === 0) this.queue.hold();
    this.#waiting.set(token, wake);
  }

  /** Nobody waits for this token any more. */
  forget(token: number): void {
    if (this.#waiting.delete(token) && this.#waiting.size === 0) this.queue.release();
  }

  /** Whether those who are always ready should let others have their turn. */
  isTurnOver(): boolean {
    const now = performance.now();
    if (this.#turnBegan === 0) {
      this.#turnBegan = now;
      setImmediate(() => {
        this.#turnBegan = 0;
      });
    }
    return now - this.#turnBegan > TURN_MS;
  }

  #wake(): void {
    for (const token of this.queue.drain()) {
      if (token === LOG) {
        this.#log();
        continue;
      }
      const wake = this.#waiting.get(token);
      if (wake !== undefined) {
        this.#waiting.delete(token);
        wake();
      }
    }
    if (this.#waiting.size === 0) this.queue.release();
  }

  #log(): void {
    const lines = this.queue.takeLines();
    for (let at = 0; at + 1 < lines.length; at += 2) emit(lines[at] ?? "", lines[at + 1] ?? "");
  }
}

/** This thread's: a worker loads this module anew. */
export const loop = new Loop();
