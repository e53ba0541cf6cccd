// Reads the cases that every language has to pass. Strictly: a member that is not known here is
// refused, since what a runner skips in silence is not tested. The members are explained in
// `tests/conformance/README.md`.
import { readdirSync, readFileSync } from "node:fs";

const FOLDER = new URL("../../../../tests/conformance/", import.meta.url);

/** A case is not written as the format wants it. */
export class FormatError extends Error {}

// A type's name; `of` words; [of items]; an object of members ("!": needed); `any` alternatives.
const words = (...known) => ({ known });
const either = (...schemas) => ({ schemas });
const object = (members) => ({ members });
const NULL = "null";

const TIMEOUTS = object({
  connect_ms: "number",
  auth_ms: "number",
  first_byte_ms: "number",
  idle_ms: either("number", NULL),
  total_ms: either("number", NULL),
  deadline_in_ms: "number",
});
const LIMITS = object({ event: "number", answer: "number", payload: "number" });
const RETRY = words("never", "default", "idempotent");
const OVERRIDES = {
  qualifier: "string",
  timeouts: TIMEOUTS,
  retry: RETRY,
  limits: LIMITS,
  text_format: "string",
};
const PLANE = object({
  auth: words("sigv4", "bearer", "none"),
  runtime_arn: "string",
  qualifiers: ["string"],
  session_token: "string",
  allow_headers: ["string"],
  base_path: "string",
  clock_offset_s: "number",
  provisioning_ms: "number",
  container_paths: "boolean",
});
/** Given to the client under these very names, in camel case. */
export const CLIENT_OPTIONS = {
  agent_id: "string",
  account_id: "string",
  region: "string",
  invocation_url: "string",
  local_url: "string",
  allow_http_hosts: ["string"],
  use_fips: "boolean",
  use_dualstack: "boolean",
  proxy: "string",
  user_agent: "string",
};
const CLIENT = object({
  ...CLIENT_OPTIONS,
  ...OVERRIDES,
  auth: words(
    "plane",
    "wrong_secret",
    "unknown_keys",
    "literal_token",
    "minted_token",
    "keys_and_token",
    "renewing_token",
    "failing_tokens",
    "slow_tokens",
    "failing_keys",
    "environment",
  ),
  token: "string",
  claims: "object",
  runtime_arn: either("string", NULL),
  endpoint_url: either("string", NULL),
  environment: "object",
});
/** Given to a call under these very names, in camel case and in their groups. */
export const CALL_OPTIONS = {
  user_id: "string",
  headers: "object",
  content_type: "string",
  accept: "string",
  text_format: "string",
  retry: RETRY,
};
export const TRACE = {
  x_amzn_trace_id: "string",
  traceparent: "string",
  tracestate: "string",
  baggage: "string",
};
export const MCP = {
  mcp_session_id: "string",
  mcp_protocol_version: "string",
  mcp_method: "string",
  mcp_name: "string",
};
const CALL = object({
  ...CALL_OPTIONS,
  ...TRACE,
  ...MCP,
  "verb!": words("invoke", "stream", "stop_session"),
  payload: either(
    object({ "json!": "any" }),
    object({ "text!": "string" }),
    object({ "base64!": "string" }),
    object({ "zeros!": "number" }),
  ),
  session_id: either("string", object({ "of_call!": "number" })),
  session_kind: words("strict", "existing", "local"),
  timeouts: TIMEOUTS,
  stop_on_close: "boolean",
  read: words("events", "text", "bytes"),
  pause_ms: "number",
  close_after: "number",
  with: object(OVERRIDES),
  "expect!": "object",
});
const CASE = object({
  "id!": "string",
  about: "string",
  plane: PLANE,
  // The data plane itself refuses a member that it does not know.
  faults: ["object"],
  client: CLIENT,
  client_refused: "object",
  calls: [CALL],
  journal: "object",
});
const FILE = object({ "about!": "string", "cases!": ["object"] });

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function check(value, schema, place) {
  if (schema === "any") return;
  if (typeof schema === "string") {
    const type = value === null ? NULL : Array.isArray(value) ? "array" : typeof value;
    if (type !== schema) throw new FormatError(`${place}: not of type ${schema}`);
  } else if (Array.isArray(schema)) {
    if (!Array.isArray(value)) throw new FormatError(`${place}: not a list`);
    for (const [n, item] of value.entries()) check(item, schema[0], `${place}[${n}]`);
  } else if (schema.known) {
    if (!schema.known.includes(value)) throw new FormatError(`${place}: an unknown word: ${value}`);
  } else if (schema.schemas) {
    const errors = [];
    for (const alternative of schema.schemas) {
      try {
        return check(value, alternative, place);
      } catch (error) {
        errors.push(error.message);
      }
    }
    throw new FormatError(errors.join("; or "));
  } else {
    if (!isObject(value)) throw new FormatError(`${place}: not an object`);
    const members = new Map(
      Object.entries(schema.members).map(([name, inner]) => [name.replace("!", ""), inner]),
    );
    for (const name of Object.keys(schema.members)) {
      if (name.endsWith("!") && !Object.hasOwn(value, name.slice(0, -1))) {
        throw new FormatError(`${place}: ${name.slice(0, -1)} is missing`);
      }
    }
    for (const [name, inner] of Object.entries(value)) {
      if (!members.has(name)) throw new FormatError(`${place}: an unknown member: ${name}`);
      check(inner, members.get(name), `${place}.${name}`);
    }
  }
}

/** Every case of every file, by id; placeholders are not filled in yet. */
export function load() {
  const cases = new Map();
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  for (const file of files.sort()) {
    if (file === "names.json") continue;
    const content = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
    check(content, FILE, file);
    for (const one of content.cases) {
      const name = `${file.replace(".json", "")}/${one.id}`;
      if (cases.has(name)) throw new FormatError(`${name} is there twice`);
      cases.set(name, one);
    }
  }
  return cases;
}

/** What data plane the case wants; read first, since placeholders are known only once it runs. */
export function planeOf(one) {
  const plane = one.plane ?? {};
  check(plane, PLANE, "plane");
  return plane;
}

/** The case with its placeholders filled in, checked. */
export function read(one, known) {
  const filled = fill(one, known);
  check(filled, CASE, String(one.id));
  for (const call of filled.calls ?? []) {
    const wanted = call.verb === "stop_session" ? "session_id" : "payload";
    if (!Object.hasOwn(call, wanted)) {
      throw new FormatError(`${filled.id}: a ${call.verb} needs ${wanted}`);
    }
  }
  return filled;
}

/** `${name}` within a string, and `{"repeat": "x", "times": 3}` in place of a long one. */
function fill(value, known) {
  if (typeof value === "string") {
    return value.replace(/\$\{(.*?)\}/g, (placeholder, name) => {
      if (!Object.hasOwn(known, name)) throw new FormatError(`unknown: ${placeholder}`);
      return known[name];
    });
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, known));
  if (!isObject(value)) return value;
  const names = Object.keys(value).sort().join();
  if (names === "repeat,times" && typeof value.repeat === "string") {
    return value.repeat.repeat(value.times);
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, fill(inner, known)]),
  );
}

/** The cases that are known to fail, with the reason: `id: reason`, one a line. */
export function expectedFailures() {
  const text = readFileSync(new URL("expected-failures/node.txt", FOLDER), "utf8");
  return new Map(
    text
      .split("\n")
      .filter((line) => line.trim() !== "" && !line.startsWith("#"))
      .map((line) => {
        const [, name, reason] = /^(\S+): (.*\S)/.exec(line) ?? [];
        if (reason === undefined) throw new FormatError(`no reason: ${line}`);
        return [name, reason];
      }),
  );
}
