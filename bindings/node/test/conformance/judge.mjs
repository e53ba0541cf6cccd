// Compares what a case expects with what was seen. It does no IO, so that the expectations can be
// changed one by one and judged again: each change has to be noticed.
import { inspect, isDeepStrictEqual } from "node:util";

const ANSWER = new Set([
  "status",
  "content_type",
  "session_endpoint_url",
  "text",
  "json",
  "body",
  "body_bytes",
  "deltas",
  "events_seen",
  "end",
]);
// What an expected error does not mention, an error must not have.
const OPTIONAL = {
  status: null,
  service_code: null,
  limit: null,
  field: null,
  retry_after_ms: null,
  agent_payload: null,
  events_seen: 0,
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Everything that is not as expected; nothing where the case passes. */
export function judge(one, seen) {
  const judging = new Judging();
  const refused = one.client_refused;
  const error = seen.client_error;
  if (refused !== undefined && error) judging.refused("client_refused", refused, error);
  else if (refused !== undefined) judging.note("client_refused", "the client was made");
  else if (error) judging.note("client", `it was refused: ${inspect(error)}`);
  if (!error) {
    for (const [n, call] of (one.calls ?? []).entries()) {
      if (n < seen.calls.length) {
        judging.call(`calls[${n}]`, call.expect, seen.calls.slice(0, n + 1));
      } else judging.note(`calls[${n}]`, "it was not made");
    }
  }
  if (one.journal !== undefined) judging.journal(one.journal, seen.journal);
  else if (refused !== undefined) judging.journal({ posts: 0 }, seen.journal);
  else judging.note("journal", "a case with calls has to say what was sent");
  return judging.notes;
}

class Judging {
  notes = [];

  note(place, what) {
    this.notes.push(`${place}: ${what.slice(0, 2000)}`);
  }

  equal(place, expected, seen) {
    if (!isDeepStrictEqual(expected ?? null, seen ?? null)) {
      this.note(place, `expected ${inspect(expected)}, saw ${inspect(seen)}`);
    }
  }

  isObject(place, value) {
    if (!isObject(value)) this.note(place, `not an object: ${inspect(value)}`);
    return isObject(value);
  }

  /** The last of `calls` is the one that is judged. */
  call(place, expected, calls) {
    if (!this.isObject(place, expected)) return;
    const before = calls.slice(0, -1);
    const seen = calls.at(-1);
    const { answer, error } = seen;
    for (const [name, value] of Object.entries(expected)) {
      const at = `${place}.${name}`;
      if (name === "answer" && answer) {
        this.answer(at, value, answer, seen, before);
        if (!error && "end" in answer && !("end" in Object(value))) {
          this.equal(`${at}.end`, "complete", answer.end);
        }
      } else if (name === "error" && error) this.error(at, value, error, seen);
      else if (name === "refused" && error) this.refused(at, value, error);
      else if (["answer", "error", "refused"].includes(name)) {
        this.note(at, `there was none; error: ${inspect(error)}`);
      } else if (name === "within_ms") {
        if (!(seen.elapsed_ms < value)) this.note(at, `it took ${seen.elapsed_ms} ms`);
      } else this.note(at, "an unknown member");
    }
    if ("error" in expected && "refused" in expected) {
      this.note(place, "error and refused exclude each other");
    }
    if (error && !("error" in expected) && !("refused" in expected)) {
      this.note(place, `failed: ${inspect(error)}`);
    }
    if (answer && !("answer" in expected)) this.note(place, `answered: ${inspect(answer)}`);
  }

  answer(place, expected, seen, call, before) {
    if (!this.isObject(place, expected)) return;
    for (const [name, value] of Object.entries(expected)) {
      const at = `${place}.${name}`;
      if (name === "session") this.session(at, value, seen.session_id, call, before);
      else if (name === "headers") this.headers(at, value, seen.headers ?? {});
      else if (name === "events") this.events(at, value, seen.events);
      else if (name === "request_id") this.equal(at, value, seen.request_id != null);
      else if (ANSWER.has(name)) this.equal(at, value, seen[name]);
      else this.note(at, "an unknown member");
    }
  }

  session(place, expected, seen, call, before) {
    const earlier = before.map((one) => one.answer?.session_id);
    const fits = {
      given: () => call.given != null && seen === call.given,
      new: () => call.given == null && seen?.length === 36 && !earlier.includes(seen),
      same: () => earlier.length > 0 && seen === earlier.at(-1),
    }[expected];
    if (fits?.() !== true) this.note(place, `expected ${inspect(expected)}, saw ${inspect(seen)}`);
  }

  /** Events are compared whole: a name, an id or a text that nobody expected is wrong. */
  events(place, expected, seen) {
    if (!Array.isArray(expected) || !Array.isArray(seen)) {
      this.note(place, `expected ${inspect(expected)}, saw ${inspect(seen)}`);
      return;
    }
    this.equal(`${place}.length`, expected.length, seen.length);
    for (let n = 0; n < Math.min(expected.length, seen.length); n++) {
      const at = `${place}[${n}]`;
      if (!this.isObject(at, expected[n])) continue;
      const { event, id, text, ...rest } = expected[n];
      for (const [name, value] of Object.entries({ event, id, text })) {
        this.equal(`${at}.${name}`, value, seen[n][name]);
      }
      for (const [name, value] of Object.entries(rest)) {
        if (name === "data" || name === "json") this.equal(`${at}.${name}`, value, seen[n][name]);
        else this.note(`${at}.${name}`, "an unknown member");
      }
      if (!("data" in rest) && !("json" in rest)) this.note(at, "needs data or json");
    }
  }

  /** A string: the value; null: no such header; `{"contains": …}`: part of the value. */
  headers(place, expected, seen) {
    if (!this.isObject(place, expected)) return;
    for (const [name, value] of Object.entries(expected)) {
      const found = seen[name.toLowerCase()];
      if (isObject(value)) {
        const part = value.contains;
        const fits = typeof part === "string" && (found ?? "").includes(part);
        if (!fits || Object.keys(value).length !== 1) {
          this.note(`${place}.${name}`, `expected ${inspect(value)}, saw ${inspect(found)}`);
        }
      } else this.equal(`${place}.${name}`, value, found);
    }
  }

  error(place, expected, seen, call) {
    if (!this.isObject(place, expected)) return;
    for (const name of ["kind", "delivery"]) {
      this.equal(`${place}.${name}`, expected[name], seen[name]);
    }
    for (const [name, absent] of Object.entries(OPTIONAL)) {
      this.equal(`${place}.${name}`, expected[name] ?? absent, seen[name]);
    }
    // Every error tells where to go on.
    if (call.given != null) this.equal(`${place}.session_id`, call.given, seen.session_id);
    for (const [name, value] of Object.entries(expected)) {
      const at = `${place}.${name}`;
      if (name === "kind" || name === "delivery" || name in OPTIONAL) continue;
      if (name === "attempts" || name === "bytes_seen") this.equal(at, value, seen[name]);
      else if (name === "request_id") this.equal(at, value, seen.request_id != null);
      else if (name === "says" || name === "hides") this.words(at, name, value, seen.message);
      else this.note(at, "an unknown member");
    }
  }

  /** A refused argument: the field and the shape of what was given, then the rule. */
  refused(place, expected, seen) {
    if (!this.isObject(place, expected)) return;
    this.equal(`${place}.kind`, "InvalidInput", seen.kind);
    this.equal(`${place}.delivery`, "not_sent", seen.delivery);
    this.equal(`${place}.attempts`, 0, seen.attempts);
    this.equal(`${place}.field`, expected.field, seen.field);
    if (!seen.message.startsWith(`${seen.field}: `) || !seen.message.includes("; ")) {
      this.note(place, `not \`field: shape; rule\`: ${seen.message}`);
    }
    for (const [name, value] of Object.entries(expected)) {
      const at = `${place}.${name}`;
      if (name === "says" || name === "hides") this.words(at, name, value, seen.message);
      else if (name !== "field") this.note(at, "an unknown member");
    }
  }

  words(place, name, words, message) {
    if (!Array.isArray(words)) {
      this.note(place, "not a list");
      return;
    }
    for (const word of words) {
      const said = typeof word === "string" && message.includes(word);
      if (said !== (name === "says")) this.note(place, `${inspect(word)} in: ${message}`);
    }
  }

  journal(expected, entries) {
    if (!this.isObject("journal", expected)) return;
    const sent = requestsOf(entries);
    const count = (path) => sent.filter(({ target }) => target.split("?")[0].endsWith(path)).length;
    this.equal("journal.posts", expected.posts, count("/invocations"));
    this.equal("journal.stops", expected.stops ?? 0, count("/stopruntimesession"));
    for (const [name, value] of Object.entries(expected)) {
      const at = `journal.${name}`;
      if (name === "requests") this.requests(at, value, sent);
      else if (name === "connections") {
        this.equal(at, value, new Set(sent.map((entry) => entry.connection)).size);
      } else if (name === "auth") this.equal(at, value, ofKind(entries, "auth").map(authOf));
      else if (name === "disconnects") {
        this.equal(
          at,
          value,
          ofKind(entries, "disconnect").map((entry) => entry.phase),
        );
      } else if (name === "stopped") this.equal(at, value, stopped(entries));
      else if (name !== "posts" && name !== "stops") this.note(at, "an unknown member");
    }
  }

  requests(place, expected, seen) {
    if (!Array.isArray(expected)) {
      this.note(place, "not a list");
      return;
    }
    this.equal(`${place}.length`, expected.length, seen.length);
    for (let n = 0; n < Math.min(expected.length, seen.length); n++) {
      const at = `${place}[${n}]`;
      const request = seen[n];
      if (!this.isObject(at, expected[n])) continue;
      for (const [name, value] of Object.entries(expected[n])) {
        const part = `${at}.${name}`;
        if (name === "method" || name === "target") this.equal(part, value, request[name]);
        else if (name === "body_bytes") this.equal(part, value, request.bodyBytes);
        else if (name === "body") this.equal(part, value, request.bodyText);
        else if (name === "json") this.equal(part, value, jsonOf(request.bodyText));
        else if (name === "headers") this.headers(part, value, headersOf(request.headers));
        else this.note(part, "an unknown member");
      }
    }
  }
}

/** The journal's entries of one kind. */
export function ofKind(entries, kind) {
  return entries.filter((entry) => entry.kind === kind);
}

/** The requests of operations; the runner's own ones to the control plane are left out. */
function requestsOf(entries) {
  return ofKind(entries, "request").filter((entry) => !entry.target.startsWith("/_local/"));
}

/** How many sessions were stopped. */
export function stopped(entries) {
  return ofKind(entries, "session").filter((entry) => entry.state === "stopped").length;
}

function authOf({ claim, code }) {
  return code === undefined || code === null ? claim : `${claim}: ${code}`;
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Names in lower case; values of a name that came twice joined: they equal nothing then. */
function headersOf(pairs) {
  const found = {};
  for (const [given, value] of pairs) {
    const name = given.toLowerCase();
    found[name] = name in found ? `${found[name]}\n${value}` : value;
  }
  return found;
}

// -- every expectation, changed ------------------------------------------------------------------

const STRICT = new Set(["kind", "delivery", ...Object.keys(OPTIONAL)]);

/** The place of a change, and the case with that one expectation changed; all of them. */
export function* changes(one) {
  for (const part of ["client_refused", "journal"]) {
    if (one[part] === undefined) continue;
    for (const [place, changed] of changed_(one[part])) {
      yield [`${part}${place}`, { ...one, [part]: changed }];
    }
  }
  for (const [n, call] of (one.calls ?? []).entries()) {
    for (const [place, expect] of changed_(call.expect)) {
      yield [`calls[${n}]${place}`, { ...one, calls: one.calls.with(n, { ...call, expect }) }];
    }
  }
}

function* changed_(value) {
  if (isObject(value)) {
    const strict = "kind" in value || "field" in value;
    for (const [name, member] of Object.entries(value)) {
      if (name === "within_ms") yield [`.${name}`, { ...value, [name]: 0 }];
      else if (name === "session" && typeof member === "string") {
        yield [`.${name}`, { ...value, [name]: member === "new" ? "given" : "new" }];
        // Every message contains nothing at all.
      } else if (name === "hides") yield [`.${name}`, { ...value, [name]: [""] }];
      else {
        for (const [place, changed] of changed_(member)) {
          yield [`.${name}${place}`, { ...value, [name]: changed }];
        }
        if (strict && STRICT.has(name) && member !== null && member !== 0) {
          const { [name]: _, ...rest } = value;
          yield [`.${name} left out`, rest];
        }
      }
    }
  } else if (Array.isArray(value)) {
    for (const [n, item] of value.entries()) {
      for (const [place, changed] of changed_(item))
        yield [`[${n}]${place}`, value.with(n, changed)];
    }
    yield [" longer", [...value, "one more than there is"]];
  } else if (typeof value === "string") yield ["", `${value} changed`];
  else if (typeof value === "boolean") yield ["", !value];
  else if (value === null) yield ["", "not null"];
  // Past 2^53 the next number is the same one.
  else yield ["", value + 1 === value ? -value : value + 1];
}
