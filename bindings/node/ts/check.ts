/*
 * Checks of what callers give, by name: a wrong type is a TypeError, a wrong value an
 * InvalidInputError, and a misspelt option is told the right spelling.
 */
import { refused } from "./errors.js";

/** Gives the value as the native module takes it, or throws. */
export type Check = (name: string, value: unknown) => unknown;
/** Options by name. */
export type Table = ReadonlyMap<string, Check>;

export function wrongType(name: string, value: unknown, wanted: string): TypeError {
  return new TypeError(`${name} must be ${wanted}, not ${shown(value)}`);
}

/** What it is, without saying what is in it. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object") return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "Object" && name !== ""
    ? `an instance of ${name}`
    : "an object";
}

export function text(name: string, value: unknown): string {
  if (typeof value !== "string") throw wrongType(name, value, "a string");
  if (!value.isWellFormed()) {
    throw refused(name, "text with a lone surrogate", "must be valid Unicode");
  }
  return value;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw wrongType(name, value, "a boolean");
  return value;
}

export function texts(name: string, value: unknown): string[] {
  const wanted = "an array of strings";
  if (!Array.isArray(value)) throw wrongType(name, value, wanted);
  return value.map((item: unknown) => {
    if (typeof item !== "string") throw wrongType(`${name}[…]`, item, "a string");
    return text(name, item);
  });
}

/** One of these words. */
export function oneOf(words: readonly string[]): Check {
  return (name, value) => {
    const given = text(name, value);
    if (!words.includes(given)) {
      const known = words.map((word) => JSON.stringify(word)).join(", ");
      throw refused(name, "an unknown word", `must be one of ${known}`);
    }
    return given;
  };
}

/** Milliseconds. */
export function milliseconds(name: string, value: unknown): number {
  if (typeof value !== "number") throw wrongType(name, value, "a number of milliseconds");
  if (!Number.isFinite(value)) {
    throw refused(name, "not a number of milliseconds", "must be more than zero");
  }
  if (value < 0) throw refused(name, "less than zero", "must be more than zero");
  return value;
}

/** Milliseconds; `null` or `Infinity` for no limit, which the native module takes as infinite. */
export function millisecondsOrNone(name: string, value: unknown): number {
  if (value === null || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  return milliseconds(name, value);
}

/** A point in time, as milliseconds since 1970. */
export function pointInTime(name: string, value: unknown): number {
  const at = value instanceof Date ? value.getTime() : value;
  if (typeof at !== "number") throw wrongType(name, value, "a Date or milliseconds since 1970");
  if (!Number.isFinite(at) || at < 0) {
    throw refused(name, "no point in time", "must be after 1970");
  }
  return at;
}

export function pointInTimeOrNone(name: string, value: unknown): number {
  return value === null ? Number.POSITIVE_INFINITY : pointInTime(name, value);
}

export function bytes(name: string, value: unknown): number {
  if (typeof value !== "number") throw wrongType(name, value, "a number of bytes");
  if (!Number.isSafeInteger(value) || value < 0) {
    throw refused(name, "not a whole number", "must be more than zero");
  }
  return value;
}

/** An object with members of its own. */
export function group(table: Table): Check {
  return (name, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw wrongType(name, value, "an object");
    }
    return members(table, value, `${name}.`) ?? {};
  };
}

/** Names and values in turn. */
export function headers(name: string, value: unknown): string[] {
  const wanted = "an object of strings, a Headers or an array of pairs";
  if (typeof value !== "object" || value === null) throw wrongType(name, value, wanted);
  const pairs =
    Symbol.iterator in value ? [...(value as Iterable<unknown>)] : Object.entries(value);
  return pairs.flatMap((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw wrongType(name, value, wanted);
    const key = text(name, pair[0]);
    if (typeof pair[1] !== "string") throw wrongType(`${name}[${key}]`, pair[1], "a string");
    return [key, text(`${name}[${key}]`, pair[1])];
  });
}

/** One of those that were given, checked; `undefined` counts as not given. */
export function member(table: Table, name: string, value: unknown, prefix = ""): unknown {
  const check = table.get(name);
  if (check === undefined) throw unknown(name, table, prefix);
  return value === undefined ? undefined : check(prefix + name, value);
}

/** What was given, checked; `undefined` where that is nothing. */
export function members(
  table: Table,
  given: object,
  prefix = "",
): Record<string, unknown> | undefined {
  let known: Record<string, unknown> | undefined;
  // Faster than its entries.
  for (const name of Object.keys(given)) {
    const checked = member(table, name, (given as Record<string, unknown>)[name], prefix);
    if (checked === undefined) continue;
    known ??= {};
    known[name] = checked;
  }
  return known;
}

function unknown(name: string, table: Table, prefix: string): TypeError {
  const nearest = [...table.keys()]
    .map((known) => ({ known, distance: distance(plain(name), plain(known)) }))
    .sort((one, other) => one.distance - other.distance)[0];
  const hint =
    nearest !== undefined && nearest.distance <= Math.max(2, name.length / 3)
      ? `did you mean ${prefix}${nearest.known}?`
      : `known are ${[...table.keys()].join(", ")}`;
  return new TypeError(`unknown option ${prefix}${name}; ${hint}`);
}

/** `session_id`, `SessionID` and `sessionId` are meant the same. */
function plain(name: string): string {
  return name.replaceAll(/[_-]/g, "").toLowerCase();
}

/** How many letters to add, drop or change. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 0; i < one.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const change = (row[j] ?? 0) + (one[i] === other[j] ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
