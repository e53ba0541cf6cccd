/*
 * An answer's bytes on their way to a browser: whole server-sent events only, so that a comment of
 * ours never gets into one, and the reason of a bad end as an event of its own. All that passes an
 * answer on shares it.
 */
import { milliseconds } from "./check.js";
import { refused } from "./errors.js";
import { emit } from "./log.js";
import type { Next } from "./readable.js";
import { publicError } from "./web.js";

/** How a stream of server-sent events is passed on. */
export interface HeartbeatOptions {
  /**
   * Milliseconds of silence after which a comment (`: heartbeat`) is sent, and again after as
   * many. Proxies cut connections that are quiet for long, often after 30 or 60 seconds; 15,000 keeps
   * most of them. Readers of server-sent events skip comments. Default: none are sent. An answer that
   * is no stream of events never gets one.
   */
  heartbeat?: number | undefined;
}

export const EVENT_STREAM = "text/event-stream; charset=utf-8";
/** The same in every language: a comment, and the blank line that some proxies wait for. */
const BEAT = new TextEncoder().encode(": heartbeat\n\n");
/** A longer event is handed over in pieces, and nothing of ours before its end. */
const HELD_AT_MOST = 65_536;
/** From the last event to the break. Whoever misses the event still sees the break. */
const HEAD_START_MS = 200;
/** The longest that a timer takes. */
const LONGEST = 2 ** 31 - 1;
const LF = 10;
const CR = 13;

/** The option, checked. */
export function heartbeatOf(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const ms = milliseconds("heartbeat", value);
  if (ms < 1 || ms > LONGEST) {
    throw refused("heartbeat", "out of range", `must be from 1 to ${LONGEST} milliseconds`);
  }
  return ms;
}

export function isEventStream(contentType: string | undefined): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(contentType ?? "");
}

/**
 * Puts comments where `next` is silent for `every` milliseconds while somebody waits. `mayBeat` says
 * whether what was handed over ends where a comment may stand.
 */
export function withHeartbeat(
  next: Next<Uint8Array>,
  every: number | undefined,
  mayBeat: () => boolean = () => true,
): Next<Uint8Array> {
  if (every === undefined) return next;
  // A read that a comment overtook; its outcome is for who asks next.
  let pending: Promise<Uint8Array | undefined> | undefined;
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;
  const quiet = () => clearTimeout(timer);
  const begin = () => {
    const reading = next();
    // Also when nobody asks any more: no timer stays, and no rejection goes unhandled.
    reading.then(quiet, quiet);
    return reading;
  };
  return () =>
    new Promise((resolve, reject) => {
      const ticket = ++waiting;
      const settle = (give: () => void) => {
        if (waiting !== ticket) return;
        quiet();
        pending = undefined;
        give();
      };
      const beat = () => {
        if (!mayBeat()) {
          timer = setTimeout(beat, every);
          return;
        }
        waiting += 1;
        resolve(BEAT.slice());
      };
      timer = setTimeout(beat, every);
      pending ??= begin();
      pending.then(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error)),
      );
    });
}

/** Cuts bytes of an event stream behind the last blank line, however they were split. */
export class EventCutter {
  #held: Uint8Array[] = [];
  #length = 0;
  #emptyLine = true;
  #afterCr = false;
  #begun = false;
  #inside = false;

  /** Whether what was handed over ends with a whole event. */
  get atBorder(): boolean {
    return !this.#inside;
  }

  /** What can be handed over now, which may be nothing. */
  push(given: Uint8Array): Uint8Array {
    const chunk = this.#begun ? given : withoutMark(given);
    this.#begun = true;
    let border = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === LF && this.#afterCr) {
        // The other half of a line's end.
        if (border === at) border = at + 1;
        this.#afterCr = false;
      } else if (byte === LF || byte === CR) {
        if (this.#emptyLine) border = at + 1;
        this.#emptyLine = true;
        this.#afterCr = byte === CR;
      } else {
        this.#emptyLine = false;
        this.#afterCr = false;
      }
    }
    if (border > 0) {
      const whole = this.#take(chunk.subarray(0, border));
      this.#inside = false;
      if (border < chunk.length) this.#hold(chunk.subarray(border));
      return whole;
    }
    this.#hold(chunk);
    if (this.#inside || this.#length > HELD_AT_MOST) {
      this.#inside = true;
      return this.rest();
    }
    return EMPTY;
  }

  /** What was held back: the beginning of an event. */
  rest(): Uint8Array {
    return this.#take(EMPTY);
  }

  #hold(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#held.push(chunk);
    this.#length += chunk.length;
  }

  #take(last: Uint8Array): Uint8Array {
    if (this.#length === 0) return last;
    const whole = new Uint8Array(this.#length + last.length);
    let at = 0;
    for (const piece of [...this.#held, last]) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#held = [];
    this.#length = 0;
    return whole;
  }
}

const EMPTY = new Uint8Array(0);

/** Without the byte order mark, which counts only where nothing stands before it. */
function withoutMark(chunk: Uint8Array): Uint8Array {
  return chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf ? chunk.subarray(3) : chunk;
}

/**
 * The bytes of an event stream, cut into whole events, with comments where they are silent. One that
 * breaks says so in a last event, named `error`, before it fails; an event that never became whole is
 * left out. `isClosed` tells an end that the reader made.
 */
export function wholeEvents(
  next: Next<Uint8Array>,
  heartbeat: number | undefined,
  isClosed: () => boolean,
): Next<Uint8Array> {
  const cutter = new EventCutter();
  let failed: { error: unknown } | undefined;
  const cut: Next<Uint8Array> = async () => {
    for (;;) {
      if (failed !== undefined) {
        // A server that is told of the failure hangs up at once, and a browser whose connection breaks
        // forgets what it has not handed out yet. So the event gets a head start.
        await new Promise((wake) => setTimeout(wake, HEAD_START_MS));
        throw failed.error;
      }
      let chunk: Uint8Array | undefined;
      try {
        chunk = await next();
      } catch (error) {
        if (isClosed() || !cutter.atBorder) throw error;
        failed = { error };
        emit("WARN", `an answer that is passed on failed: ${String(error)}`);
        return errorEvent(error);
      }
      const whole = chunk === undefined ? cutter.rest() : cutter.push(chunk);
      if (whole.length > 0) return whole;
      if (chunk === undefined) return undefined;
    }
  };
  return withHeartbeat(cut, heartbeat, () => cutter.atBorder && failed === undefined);
}

/** An error as an event for a browser. */
export function errorEvent(error: unknown): Uint8Array {
  return new TextEncoder().encode(`event: error\ndata: ${publicError(error).body}\n\n`);
}
