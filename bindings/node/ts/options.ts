/*
 * The options, as callers see them, and the tables that check them: names, types, and the form in
 * which the native module takes them.
 */
import {
  boolean,
  bytes,
  type Check,
  group,
  headers,
  member,
  members,
  milliseconds,
  millisecondsOrNone,
  oneOf,
  pointInTimeOrNone,
  type Table,
  text,
  texts,
  wrongType,
} from "./check.js";
import { refused } from "./errors.js";
import { RuntimeArn, SessionId } from "./ids.js";
import { native, type Options } from "./native.js";

/** AWS credentials in the AWS SDK's shape. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** When they expire. A provider is asked again some minutes before; without it, every 15 minutes. */
  readonly expiration?: Date | undefined;
}

/** Gives AWS credentials, e.g. what the AWS SDK's `fromNodeProviderChain()` makes. */
export type CredentialsProvider = () => AwsCredentials | Promise<AwsCredentials>;
/** Gives a bearer token; asked at every attempt. */
export type TokenProvider = () => string | Promise<string>;

/** A `Uint8Array` goes as it is, a string as a JSON string, the rest as JSON. */
export type Payload = string | number | boolean | null | object;

/**
 * When a call is sent again. `"default"`: only where it certainly did not run. `"idempotent"`: for an
 * agent that may safely run twice, also after a reset and 500 to 504.
 */
export type Retry = "never" | "default" | "idempotent";

/** Which of an agent framework's shapes carries the text. `"auto"` finds out. */
export type TextFormat =
  | "auto"
  | "json_string"
  | "raw"
  | "strands"
  | "converse"
  | "ag_ui"
  | "text_object"
  | "none";

/** Time limits, in milliseconds. One that is not given is the client's, or the default. */
export interface Timeouts {
  /** Name look-up, TCP, proxy and TLS of one attempt. Default 5,000. */
  connect?: number | undefined;
  /** Credential or token look-up of one attempt. Default 10,000. */
  auth?: number | undefined;
  /**
   * From the request to the head of its answer. Default 930,000, just above the service's own 15
   * minutes, so that the service's answer wins.
   */
  firstByte?: number | undefined;
  /**
   * Silence while the answer arrives; counts only while a read waits. Default 900,000; `null` for no
   * limit.
   */
  idle?: number | null | undefined;
  /** The whole call: attempts, pauses and the answer. Default `null`, no limit. */
  total?: number | null | undefined;
  /** The same as a point in time, or in milliseconds since 1970. E.g. before a Lambda's time is up. */
  deadline?: Date | number | null | undefined;
}

/** Size limits, in bytes. Past them a call ends with an error that names the limit. */
export interface Limits {
  /** One event of a stream. Default 16 MiB. */
  event?: number | undefined;
  /** A whole answer. Default 100,000,000, which is the service's own limit. */
  answer?: number | undefined;
  /** A payload. Default 100,000,000, which is the service's own limit. */
  payload?: number | undefined;
}

/** Trace headers. OpenTelemetry's current span otherwise, if the program uses that. */
export interface TraceContext {
  /** W3C trace context, at most 128 characters. */
  traceparent?: string | undefined;
  /** W3C trace state, at most 512 characters. */
  tracestate?: string | undefined;
  /** W3C baggage, at most 8192 characters. */
  baggage?: string | undefined;
  /**
   * X-Ray's trace header. Never taken from the environment: with `Sampled=0` the runtime writes no
   * spans.
   */
  xAmznTraceId?: string | undefined;
}

/** Headers of the Model Context Protocol. */
export interface McpHeaders {
  /** `Mcp-Session-Id`: for MCP servers, this and not the runtime session routes the call. */
  sessionId?: string | undefined;
  /** `Mcp-Protocol-Version`. */
  protocolVersion?: string | undefined;
  /** `Mcp-Method`. */
  method?: string | undefined;
  /** `Mcp-Name`. */
  name?: string | undefined;
}

/** What a client and its sibling may differ in. */
export interface SiblingOptions {
  /**
   * The runtime endpoint's name, which points to a version. Default: `AGENT_RUNTIME_QUALIFIER`, else
   * the service takes `DEFAULT`.
   */
  qualifier?: string | undefined;
  /** The time limits of every call. */
  timeouts?: Timeouts | undefined;
  /** When calls are sent again. */
  retry?: Retry | undefined;
  /** Size limits. */
  limits?: Limits | undefined;
  /** Which of an agent framework's shapes carries the text; found out otherwise. */
  textFormat?: TextFormat | undefined;
}

/**
 * What a client is made of. An option beats the environment, with one exception:
 * `AGENTCORE_LOCAL_URL` (a local agent, called without credentials) overrides even an explicit ARN,
 * so that development needs no code change.
 */
export interface ClientOptions extends SiblingOptions {
  /**
   * The ARN of the runtime, or of its endpoint (`…:runtime/{id}/runtime-endpoint/{name}`, whose name
   * then is the qualifier). Default: `AGENT_RUNTIME_ARN`.
   */
  runtimeArn?: string | RuntimeArn | undefined;
  /** In place of an ARN, together with `accountId` and a region. */
  agentId?: string | undefined;
  /** Twelve digits. */
  accountId?: string | undefined;
  /** The region, where no ARN gives it. One that contradicts the ARN is refused. */
  region?: string | undefined;
  /**
   * AWS credentials, or a function that gives them. Default: `AGENTCORE_BEARER_TOKEN` if it is set,
   * else the AWS default chain: environment, profiles and SSO, web identity, ECS, EC2.
   */
  credentials?: AwsCredentials | CredentialsProvider | undefined;
  /**
   * For a runtime with a JWT authorizer: a token, or a function that gives one and is asked at every
   * attempt.
   */
  bearerToken?: string | TokenProvider | undefined;
  /**
   * Another base URL; the operation's path stays behind it. For proxies, gateways and the local data
   * plane.
   */
  endpointUrl?: string | undefined;
  /**
   * The whole URL of the invocation, to which nothing is appended: a custom domain, with a bearer
   * token; or an AWS Lambda function URL, which is signed for Lambda.
   */
  invocationUrl?: string | undefined;
  /** A local agent container, e.g. `http://127.0.0.1:8080`, called unsigned. */
  localUrl?: string | undefined;
  /** Hosts besides loopback that may be called over plain http. */
  allowHttpHosts?: readonly string[] | undefined;
  /** Whether to use the FIPS endpoint. Default: `AWS_USE_FIPS_ENDPOINT`. */
  useFips?: boolean | undefined;
  /** Whether to use the dual-stack endpoint. Default: `AWS_USE_DUALSTACK_ENDPOINT`. */
  useDualstack?: boolean | undefined;
  /** A file of PEM certificates to trust in place of the system's. Default: `AWS_CA_BUNDLE`. */
  caBundle?: string | undefined;
  /**
   * An http proxy for https targets, `http://[user:password@]host:port`; an empty one switches the
   * environment's off. Default: `HTTPS_PROXY`, with `NO_PROXY`.
   */
  proxy?: string | undefined;
  /** Added to the `user-agent`, such as `my-service/1.2`. */
  userAgent?: string | undefined;
  /** Whether OpenTelemetry's current baggage is sent along, too. It often holds user data. */
  propagateBaggage?: boolean | undefined;
}

/** What a stop may be given besides its session. */
export interface StopOptions {
  /** Other time limits for this call. */
  timeouts?: Timeouts | undefined;
  /** Another retry policy for this call. */
  retry?: Retry | undefined;
  /**
   * Ends the call and closes its connection at once; the promise rejects with `signal.reason`. The
   * agent may go on: `stopSession` ends it.
   */
  signal?: AbortSignal | undefined;
}

/** What an invocation may be given besides its payload. */
export interface InvokeOptions extends StopOptions {
  /** The runtime session. Without one a new session is begun; the answer names it. */
  sessionId?: string | SessionId | undefined;
  /**
   * An opaque user id of 1 to 1024 characters, for the agent's outbound identity. Needs the IAM
   * action `InvokeAgentRuntimeForUser` as well.
   */
  userId?: string | undefined;
  /** Headers of your own; they reach the agent only if the runtime's allow-list names them. */
  headers?: Readonly<Record<string, string>> | Iterable<readonly [string, string]> | undefined;
  /** The payload's; `application/json` unless said otherwise. */
  contentType?: string | undefined;
  /** The content types wanted; `application/json, text/event-stream` unless said otherwise. */
  accept?: string | undefined;
  /** Trace headers in place of OpenTelemetry's current span. */
  trace?: TraceContext | undefined;
  /** Headers for MCP servers. */
  mcp?: McpHeaders | undefined;
  /** Another text format for this call. */
  textFormat?: TextFormat | undefined;
}

/** What a streamed invocation may be given besides. */
export interface StreamOptions extends InvokeOptions {
  /**
   * Whether closing the stream before its end also stops the session. Without it, an agent goes on
   * when nobody listens any more.
   */
  stopOnClose?: boolean | undefined;
}

/** Taken out before the native module sees the rest. */
const inJavaScript: Check = (_, value) => value;

function table(checks: Record<string, Check>): Table {
  return new Map(Object.entries(checks));
}

const TIMEOUTS = table({
  connect: milliseconds,
  auth: milliseconds,
  firstByte: milliseconds,
  idle: millisecondsOrNone,
  total: millisecondsOrNone,
  deadline: pointInTimeOrNone,
});
const COMMON = {
  timeouts: group(TIMEOUTS),
  retry: oneOf(["never", "default", "idempotent"]),
};
const FORMAT = oneOf(native.textFormats());
const SIBLING = {
  ...COMMON,
  qualifier: text,
  limits: group(table({ event: bytes, answer: bytes, payload: bytes })),
  textFormat: FORMAT,
};
const SIBLING_TABLE = table(SIBLING);
const CLIENT_TABLE = table({
  runtimeArn: (name, value) => text(name, value instanceof RuntimeArn ? value.toString() : value),
  agentId: text,
  accountId: text,
  region: text,
  credentials: inJavaScript,
  bearerToken: inJavaScript,
  endpointUrl: text,
  invocationUrl: text,
  localUrl: text,
  allowHttpHosts: texts,
  ...SIBLING,
  useFips: boolean,
  useDualstack: boolean,
  caBundle: text,
  proxy: text,
  userAgent: text,
  propagateBaggage: boolean,
});
const STOP = { ...COMMON, signal: abortSignal };
const STOP_TABLE = table(STOP);
const INVOKE = {
  sessionId: session,
  userId: text,
  headers,
  contentType: text,
  accept: text,
  trace: group(table({ traceparent: text, tracestate: text, baggage: text, xAmznTraceId: text })),
  mcp: group(table({ sessionId: text, protocolVersion: text, method: text, name: text })),
  textFormat: FORMAT,
  ...STOP,
};
const INVOKE_TABLE = table(INVOKE);
const STREAM_TABLE = table({ ...INVOKE, stopOnClose: boolean });

function abortSignal(name: string, value: unknown): AbortSignal {
  const signal = value as AbortSignal | null;
  // One from another realm or a polyfill will do.
  if (
    typeof signal !== "object" ||
    signal === null ||
    typeof signal.aborted !== "boolean" ||
    typeof signal.addEventListener !== "function" ||
    typeof signal.removeEventListener !== "function"
  ) {
    throw wrongType(name, value, "an AbortSignal");
  }
  return signal;
}

/** The content type of a payload that has no other. */
const JSON_TYPE = "application/json";

/** The id, and whether its rule was checked when it was made. */
export interface Session {
  id: string;
  checked: boolean;
}

export function session(name: string, value: unknown): Session {
  if (value instanceof SessionId) return { id: value.toString(), checked: true };
  if (typeof value !== "string") throw wrongType(name, value, "a string or a SessionId");
  return { id: text(name, value), checked: false };
}

/** What a call is given, taken apart. */
export interface Given {
  session: Session | undefined;
  signal: AbortSignal | undefined;
  stopOnClose: boolean;
  contentType: string | undefined;
  /** For the native module. */
  rest: Options | undefined;
}

function ofCall(checks: Table, options: unknown): Given {
  const given: Given = {
    session: undefined,
    signal: undefined,
    stopOnClose: false,
    contentType: undefined,
    rest: undefined,
  };
  if (options === undefined) return given;
  const asked = object(options);
  for (const name of Object.keys(asked)) {
    const value = asked[name];
    const checked = member(checks, name, value);
    if (checked === undefined) continue;
    switch (name) {
      case "sessionId":
        given.session = checked as Session;
        break;
      case "signal":
        given.signal = checked as AbortSignal;
        break;
      case "stopOnClose":
        given.stopOnClose = checked === true;
        break;
      case "contentType":
        // What goes without saying costs nothing.
        if (checked !== JSON_TYPE) given.contentType = checked as string;
        break;
      default:
        given.rest ??= {};
        given.rest[name] = checked;
    }
  }
  return given;
}

function object(options: unknown): Record<string, unknown> {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw wrongType("options", options, "an object");
  }
  return options as Record<string, unknown>;
}

export function ofInvoke(options: unknown): Given {
  return ofCall(INVOKE_TABLE, options);
}

export function ofStream(options: unknown): Given {
  return ofCall(STREAM_TABLE, options);
}

export function ofStop(options: unknown): Given {
  return ofCall(STOP_TABLE, options);
}

export function ofSibling(options: unknown): Options {
  return members(SIBLING_TABLE, object(options)) ?? {};
}

export function ofClient(options: unknown): Options {
  const given = members(CLIENT_TABLE, object(options)) ?? {};
  if (given["agentId"] !== undefined && given["accountId"] === undefined) {
    throw refused("accountId", "absent", "is needed with agentId");
  }
  if (given["accountId"] !== undefined && given["agentId"] === undefined) {
    throw refused("agentId", "absent", "is needed with accountId");
  }
  return given;
}

/** A payload as the core takes it: bytes as they are, the rest as JSON. */
export function encode(payload: unknown): string | Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  // As JSON these would be an object of numbers, or an empty one.
  if (ArrayBuffer.isView(payload)) {
    return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
  }
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload);
  let json: string | undefined;
  try {
    json = JSON.stringify(payload);
  } catch (error) {
    // A BigInt or a circle; or what a toJSON of the caller's throws.
    throw error instanceof TypeError
      ? new TypeError(`payload can't be written as JSON: ${error.message.split("\n", 1)[0]}`)
      : error;
  }
  if (json === undefined) throw wrongType("payload", payload, "something that JSON can write");
  return json;
}
