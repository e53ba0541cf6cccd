/*
 * How a JavaScript thread waits for native work. The native module only says what there is to poll,
 * and what small answers have come; resolving happens here, so that no foreign thread ever enters
 * JavaScript and no promise is made for what is there already.
 */
import { emit } from "./log.js";
import { native, type ReadyQueue } from "./native.js";

/** Longer than this no stream keeps the event loop for itself. */
const TURN_MS = 4;
/** The token of the log. */
const LOG = 0;

/** Words that describe a token, and what stands in place of a status; the native module's numbers. */
const WORDS = 5;
const POLL = 1;
/** In place of a text's length: there is none; or it is to be found in the body. */
export const NO_TEXT = 2 ** 32 - 2;
export const TEXT_IN_BODY = 2 ** 32 - 1;
/** Room for the description of so many tokens, and for small answers. What has no room comes later. */
const ENTRIES = 64;
const words = new Uint32Array(1 + ENTRIES * WORDS);
const mail = new Uint8Array(32_768);

/** A small answer: where its parts stand, one behind the other, in a batch's mail. */
export interface Letter {
  readonly mail: Uint8Array;
  readonly at: number;
  readonly status: number;
  readonly head: number;
  readonly body: number;
  /** Its length, {@link NO_TEXT} or {@link TEXT_IN_BODY}. */
  readonly text: number;
}

/** Who waits for a token. */
export interface Waiter {
  /** It is worth polling again. */
  wake(): void;
  /** The answer has come: there is nothing left to poll. */
  answered(letter: Letter): void;
}

class Loop {
  readonly queue: ReadyQueue;
  readonly #waiting = new Map<number, Waiter | (() => void)>();
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

  /**
   * Tells `waiter` when this token is worth polling again. Keeps the process alive until then. Only
   * what waits for a call may get an answer.
   */
  wait(token: number, waiter: Waiter | (() => void)): void {
    if (this.#waiting.size === 0) this.queue.hold();
    this.#waiting.set(token, waiter);
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
    let told: number;
    do {
      told = this.queue.drain(words, mail);
      this.#tell(told);
    } while (told === ENTRIES);
    if (this.#waiting.size === 0) this.queue.release();
  }

  #tell(told: number): void {
    const length = words[0] as number;
    // A copy for the whole batch: each answer for itself would cost more.
    const letters = length === 0 ? mail : mail.slice(0, length);
    let at = 0;
    for (let word = 1; word < 1 + told * WORDS; word += WORDS) {
      const token = words[word] as number;
      const status = words[word + 1] as number;
      const waiter = this.#waiting.get(token);
      if (status > POLL) {
        const head = words[word + 2] as number;
        const body = words[word + 3] as number;
        const text = words[word + 4] as number;
        const letter = { mail: letters, at, status, head, body, text };
        at += head + body + (text < NO_TEXT ? text : 0);
        if (waiter === undefined || typeof waiter === "function") continue;
        this.#waiting.delete(token);
        try {
          waiter.answered(letter);
        } catch (error) {
          this.#report(error);
        }
      } else if (waiter !== undefined) {
        this.#waiting.delete(token);
        try {
          if (typeof waiter === "function") waiter();
          else waiter.wake();
        } catch (error) {
          this.#report(error);
        }
      } else if (token === LOG) {
        this.#log();
      }
    }
  }

  /** One that throws, as somebody's own signal may, must not keep the others waiting. */
  #report(error: unknown): void {
    queueMicrotask(() => {
      throw error;
    });
  }

  #log(): void {
    const lines = this.queue.takeLines();
    for (let at = 0; at + 1 < lines.length; at += 2) emit(lines[at] ?? "", lines[at + 1] ?? "");
  }
}

/** This thread's: a worker loads this module anew. */
export const loop = new Loop();
