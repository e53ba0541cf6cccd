// Plays a case: a data plane of its own, a real client, the calls in turn. What is seen is written
// down in the words of the files and judged elsewhere.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:net";
import * as api from "agentcore-client";
import { LocalDataPlane } from "agentcore-client/testing";
import { pause } from "../support.mjs";
import { CALL_OPTIONS, CLIENT_OPTIONS, MCP, planeOf, read, TRACE } from "./format.mjs";
import { ofKind, stopped } from "./judge.mjs";

const { AgentCoreClient, AgentCoreError, ClosedError, SessionId } = api;
/** How long something is awaited that shows a moment later. */
const SOON_MS = 10_000;
const OURS = /^(AWS_|AGENT_RUNTIME_|AGENTCORE_(?!LOCAL_BIN))|^(https?|all|no)_proxy$/i;

/** The case with its placeholders filled in, and what was seen. */
export async function play(one) {
  const options = planeOf(one);
  const plane = await LocalDataPlane.start({
    bearer: options.auth === "bearer",
    args: flags(options),
  });
  try {
    const filled = read(one, await words(plane));
    for (const fault of filled.faults ?? []) await plane.addFault(fault);
    const seen = { client_error: null, calls: [], journal: [] };
    await within(filled.client?.environment ?? {}, () => playCalls(plane, filled, seen));
    seen.journal = await journal(plane, filled.journal ?? {});
    return { filled, seen };
  } finally {
    await plane.close();
  }
}

/** What placeholders stand for. */
async function words(plane) {
  const unused = createServer();
  await new Promise((done) => unused.listen(0, "127.0.0.1", done));
  const { port } = unused.address();
  await new Promise((done) => unused.close(done));
  return {
    base_url: plane.baseUrl,
    runtime_arn: plane.runtimeArn,
    runtime_label: encodeURIComponent(plane.runtimeArn),
    address: new URL(plane.baseUrl).host,
    closed_url: `http://127.0.0.1:${port}`,
    session: randomUUID(),
    other_session: randomUUID(),
  };
}

/** Only these variables of those that a client reads. */
async function within(variables, act) {
  const before = { ...process.env };
  for (const name of Object.keys(before)) if (OURS.test(name)) delete process.env[name];
  Object.assign(process.env, variables);
  try {
    return await act();
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  }
}

// -- what the case asks for ----------------------------------------------------------------------

function flags(plane) {
  const args = plane.auth === "none" ? ["--no-auth"] : [];
  if (plane.container_paths) args.push("--container-paths");
  for (const [member, flag] of [
    ["runtime_arn", "--arn"],
    ["base_path", "--base-path"],
    ["clock_offset_s", "--clock-offset-s"],
    ["provisioning_ms", "--provisioning-ms"],
    ["qualifiers", "--qualifier"],
    ["allow_headers", "--allow-header"],
  ]) {
    for (const value of [plane[member] ?? []].flat()) args.push(flag, String(value));
  }
  if (plane.session_token !== undefined) {
    // They belong together on the command line.
    args.push("--access-key", "AKIDCONFORMANCE", "--secret-key", "conformance-secret");
    args.push("--session-token", plane.session_token);
  }
  return args;
}

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Of these members those that are given, in camel case. */
function pick(from, members, prefix = "") {
  return Object.fromEntries(
    Object.keys(members)
      .filter((name) => name in from)
      .map((name) => [camel(name.slice(prefix.length)), from[name]]),
  );
}

function timeouts(limits) {
  return Object.fromEntries(
    Object.entries(limits).map(([name, value]) =>
      name === "deadline_in_ms"
        ? ["deadline", Date.now() + value]
        : [camel(name.replace(/_ms$/, "")), value],
    ),
  );
}

/** What a client and its siblings both take. */
function overrides(options) {
  const given = pick(options, { qualifier: 1, retry: 1, text_format: 1, limits: 1 });
  if (options.timeouts !== undefined) given.timeouts = timeouts(options.timeouts);
  return given;
}

async function clientOptions(plane, options) {
  const given = {
    ...pick(options, CLIENT_OPTIONS),
    ...overrides(options),
    ...(await authorisation(plane, options)),
  };
  const arn = options.runtime_arn === undefined ? plane.runtimeArn : options.runtime_arn;
  if (arn !== null) given.runtimeArn = arn;
  const elsewhere = "invocation_url" in options || "local_url" in options;
  const url = options.endpoint_url ?? (elsewhere ? null : plane.baseUrl);
  if (url !== null && options.endpoint_url !== null) given.endpointUrl = url;
  return given;
}

async function authorisation(plane, options) {
  const auth = options.auth ?? "plane";
  const unknown = { accessKeyId: "AKIDUNKNOWN", secretAccessKey: "secret" };
  const fails = async () => {
    throw new Error("the vault is sealed");
  };
  let tokens = 0;
  const made = {
    plane: () => {
      const { credentials, bearerToken } = plane.clientOptions();
      return { credentials, bearerToken };
    },
    wrong_secret: () => {
      const { credentials } = plane.clientOptions();
      return { credentials: { ...credentials, secretAccessKey: "another" } };
    },
    unknown_keys: () => ({ credentials: unknown }),
    literal_token: () => ({ bearerToken: options.token }),
    minted_token: async () => ({ bearerToken: await plane.mintToken(options.claims) }),
    keys_and_token: () => ({ credentials: unknown, bearerToken: "t" }),
    renewing_token: () => ({
      bearerToken: () => {
        tokens += 1;
        return tokens === 1 ? "stale" : plane.mintToken();
      },
    }),
    failing_tokens: () => ({ bearerToken: fails }),
    failing_keys: () => ({ credentials: fails }),
    slow_tokens: () => ({ bearerToken: () => pause(2000).then(() => "late") }),
    environment: () => ({}),
  }[auth];
  return made();
}

function callOptions(call, sessionId) {
  const given = pick(call, CALL_OPTIONS);
  const trace = pick(call, TRACE);
  const mcp = pick(call, MCP, "mcp_");
  if (Object.keys(trace).length > 0) given.trace = trace;
  if (Object.keys(mcp).length > 0) given.mcp = mcp;
  if (call.timeouts !== undefined) given.timeouts = timeouts(call.timeouts);
  if (call.stop_on_close) given.stopOnClose = true;
  return sessionId === null || call.verb === "stop_session" ? given : { ...given, sessionId };
}

function payloadOf(call) {
  const [[form, value]] = Object.entries(call.payload);
  if (form === "base64") return Buffer.from(value, "base64");
  return form === "zeros" ? new Uint8Array(value) : value;
}

function sessionOf(call, given) {
  if (given === null) return null;
  const make = { existing: SessionId.existing, local: SessionId.local }[call.session_kind];
  return make === undefined ? given : make.call(SessionId, given);
}

// -- the calls -----------------------------------------------------------------------------------

async function playCalls(plane, one, seen) {
  let client;
  try {
    client = new AgentCoreClient(await clientOptions(plane, one.client ?? {}));
  } catch (error) {
    seen.client_error = failureOf(error);
    return;
  }
  for (const call of one.calls ?? []) {
    const named = call.session_id ?? null;
    const given =
      typeof named === "object" ? (seen.calls[named?.of_call]?.answer.session_id ?? null) : named;
    const own = { answer: null, error: null, given };
    const started = performance.now();
    try {
      await playCall(client, call, own);
    } catch (error) {
      own.error = failureOf(error);
    }
    own.elapsed_ms = Math.round(performance.now() - started);
    seen.calls.push(own);
  }
  client.close();
}

async function playCall(root, call, own) {
  const client = call.with === undefined ? root : root.withOptions(overrides(call.with));
  const session = sessionOf(call, own.given);
  const options = callOptions(call, session);
  if (call.verb === "stop_session") {
    await client.stopSession(session, options);
    own.answer = {};
  } else if (call.verb === "invoke") {
    own.answer = whole(await client.invoke(payloadOf(call), options));
  } else {
    const stream = await client.stream(payloadOf(call), options);
    const answer = headOf(stream);
    own.answer = answer;
    assert.ok(stream.end === undefined && !stream.closed, "a stream begins without an end");
    try {
      await readStream(stream, call, answer);
    } finally {
      answer.events_seen = stream.eventsSeen;
      answer.end = stream.end ?? null;
      await stream.close();
    }
  }
}

async function readStream(stream, call, answer) {
  if (call.read === "text") {
    answer.deltas = [];
    for await (const delta of stream.textDeltas()) answer.deltas.push(delta);
    return;
  }
  if (call.read === "bytes") {
    const chunks = [];
    try {
      for await (const chunk of stream.toReadableStream()) chunks.push(chunk);
    } finally {
      const body = Buffer.concat(chunks);
      Object.assign(answer, { body: decoded(body), body_bytes: body.length });
    }
    return;
  }
  answer.events = [];
  const events = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      if (call.close_after === answer.events.length) {
        await stream.close();
        // Whoever reads what he has closed is told so: a loop that ends means a proper end.
        await assert.rejects(events.next(), ClosedError);
        return;
      }
      if (call.pause_ms) await pause(call.pause_ms);
      const { done, value } = await events.next();
      if (done) break;
      answer.events.push(eventOf(value));
    }
  } finally {
    const texts = answer.events.map(({ text }) => text).filter((text) => text !== null);
    answer.text = texts.length > 0 ? texts.join("") : null;
    if (stream.end !== "closed") {
      assert.equal((await events.next()).done, true, "after its end a stream stays ended");
    }
  }
}

// -- what was seen -------------------------------------------------------------------------------

function headOf(answer) {
  return {
    status: answer.status,
    content_type: answer.contentType ?? null,
    request_id: answer.requestId ?? null,
    session_id: answer.sessionId,
    session_endpoint_url: answer.sessionEndpointUrl ?? null,
    headers: answer.headers,
  };
}

function whole(answer) {
  return {
    ...headOf(answer),
    text: answer.text ?? null,
    json: jsonOf(answer),
    body: decoded(answer.bytes),
    body_bytes: answer.bytes.length,
    end: answer.end,
  };
}

function eventOf(event) {
  return {
    event: event.event ?? null,
    id: event.id ?? null,
    data: typeof event.data === "string" ? event.data : null,
    text: event.text ?? null,
    json: jsonOf(event),
  };
}

function jsonOf(answer) {
  try {
    return answer.json();
  } catch (error) {
    assert.equal(error.code, "PROTOCOL");
    return "no JSON";
  }
}

function decoded(body) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return null;
  }
}

const CLASSES = {
  InvalidInput: "InvalidInputError",
  Credentials: "CredentialsError",
  Connect: "ConnectError",
  Timeout: "RequestTimeoutError",
  Service: "ServiceError",
  Agent: "AgentError",
  StreamInterrupted: "StreamInterruptedError",
  TooLarge: "TooLargeError",
  Protocol: "ProtocolError",
  Closed: "ClosedError",
  Internal: "InternalError",
};
const byName = new Map(Object.entries(api));

/** `trace.traceparent` is `traceparent` elsewhere, `mcp.name` `mcp_name`, `sessionId` `session_id`. */
function shared(name) {
  const plain = name.replace(/^trace\./, "").replace(/^mcp\./, "mcp.");
  return plain.replace(/^mcp\./, "mcp_").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The message with the names of options as the other languages have them. */
function sharedWords(message, field) {
  const told =
    field !== undefined && message.startsWith(`${field}:`)
      ? shared(field) + message.slice(field.length)
      : message;
  return told.replace(/\b[a-z]+(?:\.[a-z]+)?[A-Z][A-Za-z]*\b/g, (name) =>
    /^(https?|[a-z]+Exception)/.test(name) ? name : shared(name),
  );
}

/** An error in the words of the files; its class has to go with its kind. */
function failureOf(error) {
  if (!(error instanceof AgentCoreError)) throw error;
  assert.ok(error instanceof byName.get(CLASSES[error.kind]), `${error.name}, ${error.kind}`);
  const own = byName.get(error.serviceCode);
  if (own !== undefined && ["Service", "Agent"].includes(error.kind)) {
    assert.ok(error instanceof own, `${error.name}, ${error.serviceCode}`);
  }
  return {
    kind: error.kind,
    delivery: error.delivery,
    status: error.status ?? null,
    service_code: error.serviceCode ?? null,
    request_id: error.requestId ?? null,
    session_id: error.sessionId ?? null,
    limit: error.limit ?? null,
    field: error.field === undefined ? null : shared(error.field),
    retry_after_ms: error.retryAfter === undefined ? null : Math.round(error.retryAfter),
    attempts: error.attempts.length,
    events_seen: error.eventsSeen,
    bytes_seen: error.bytesSeen,
    agent_payload: error.agentPayload ?? null,
    message: sharedWords(error.message, error.field),
  };
}

/** The journal, once it holds what is awaited: that a client left shows a moment later. */
async function journal(plane, expected) {
  const until = performance.now() + SOON_MS;
  for (;;) {
    const entries = await plane.journal();
    const left = ofKind(entries, "disconnect").length >= (expected.disconnects?.length ?? 0);
    if (left && stopped(entries) >= (expected.stopped ?? 0)) return entries;
    if (performance.now() > until) return entries;
    await pause(10);
  }
}
