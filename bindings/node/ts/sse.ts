/*
 * An answer's events on their way to a browser: heartbeats between them, and an end that tells its
 * kind. What a browser gets is the same in every language.
 */
import { milliseconds } from "./check.js";
import { refused } from "./errors.js";
import type { AgentEvent } from "./event.js";
import { emit } from "./log.js";
import type { Next } from "./readable.js";
import { publicError } from "./web.js";

/** How a stream of server-sent events is passed on. */
export interface HeartbeatOptions {
  /**
   * Milliseconds of silence, from 1,000 (a second) to 3,600,000 (an hour), after which a comment
   * (`: heartbeat`) is sent, and again after as many. Proxies cut connections that are quiet for long,
   * often after 30 or 60 seconds; 15,000 keeps most of them. Readers of server-sent events skip
   * comments. Default: none are sent. An answer that is no stream of events never gets one.
   */
  heartbeat?: number | undefined;
}

export const EVENT_STREAM = "text/event-stream; charset=utf-8";
/** A comment, and the blank line that some proxies wait for. */
const HEARTBEAT = ": heartbeat\n\n";
const END = "event: end\ndata: {}\n\n";
const LEAST = 1_000;
const LONGEST = 3_600_000;
/** Of events that are there already, so many characters go out together. */
const TOGETHER = 65_536;

/** The option, checked. */
export function heartbeatOf(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const ms = milliseconds("heartbeat", value);
  if (!(ms >= LEAST && ms <= LONGEST)) {
    throw refused("heartbeat", `${ms} ms`, "needs 1,000 to 3,600,000 milliseconds");
  }
  return ms;
}

export function isEventStream(contentType: string | undefined): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(contentType ?? "");
}

/** Puts comments where `next` is silent for `every` milliseconds while somebody waits. */
export function withHeartbeat(next: Next<Uint8Array>, every: number | undefined): Next<Uint8Array> {
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
        waiting += 1;
        resolve(encoder.encode(HEARTBEAT));
      };
      timer = setTimeout(beat, every);
      pending ??= begin();
      pending.then(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error)),
      );
    });
}

/** Where events come from. */
export interface Events {
  /** The next one; `undefined` at the proper end. */
  nextEvent(): Promise<AgentEvent | undefined>;
  /** One that is there already. */
  readyEvent(): AgentEvent | undefined;
  /** Whether it was this side that ended it. */
  readonly isStopped: boolean;
}

/**
 * Events as bytes for a browser: with their names, ids and data, behind them `event: end` after a
 * proper end, or else `event: error`. It fails only where this side ended it, and nobody is to take
 * what was passed on for a whole answer.
 */
export function passedOn(events: Events, heartbeat: number | undefined): Next<Uint8Array> {
  let over = false;
  const last = (frame: string) => {
    over = true;
    return encoder.encode(frame);
  };
  const frames: Next<Uint8Array> = async () => {
    if (over) return undefined;
    try {
      const event = await events.nextEvent();
      if (event === undefined) return last(END);
      let frame = frameOf(event);
      while (frame.length < TOGETHER) {
        const more = events.readyEvent();
        if (more === undefined) break;
        frame += frameOf(more);
      }
      return encoder.encode(frame);
    } catch (error) {
      if (events.isStopped) throw error;
      emit("WARN", `an answer that is passed on failed: ${String(error)}`);
      return last(`event: error\ndata: ${publicError(error).body}\n\n`);
    }
  };
  return withHeartbeat(frames, heartbeat);
}

const encoder = new TextEncoder();

function frameOf({ event, id, data }: AgentEvent): string {
  // A server-sent event's data is text.
  return `${lines("event", event)}${lines("id", id)}${lines("data", data as string)}\n`;
}

/** The field once for each line of its value, whatever ends a line there. */
function lines(name: string, value: string | undefined): string {
  if (value === undefined) return "";
  if (!/[\r\n]/.test(value)) return `${name}: ${value}\n`;
  return value
    .split(/\r\n|\r|\n/)
    .map((line) => `${name}: ${line}\n`)
    .join("");
}
