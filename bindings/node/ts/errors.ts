/*
 * The errors: one class for each kind, and one for each exception of the service. They are made
 * here, not in the native module, so that their stacks point at the caller.
 */
import type { Failure } from "./native.js";

/** What went wrong; the same words in every language. */
export type ErrorKind =
  | "InvalidInput"
  | "Credentials"
  | "Connect"
  | "Timeout"
  | "Service"
  | "Agent"
  | "StreamInterrupted"
  | "TooLarge"
  | "Protocol"
  | "Closed"
  | "Internal";

/** {@link ErrorKind} in upper snake case, as Node's own errors have it. */
export type ErrorCode =
  | "INVALID_INPUT"
  | "CREDENTIALS"
  | "CONNECT"
  | "TIMEOUT"
  | "SERVICE"
  | "AGENT"
  | "STREAM_INTERRUPTED"
  | "TOO_LARGE"
  | "PROTOCOL"
  | "CLOSED"
  | "INTERNAL";

/**
 * What is known about a failed call: `"not_sent"`, `"rejected"` (the service says that it did not
 * run), `"accepted"` (an answer began, or the agent itself failed) or `"unknown"` (it may have run:
 * don't send it again unless the agent is idempotent).
 */
export type Delivery = "not_sent" | "rejected" | "accepted" | "unknown";

/** A time limit's name. */
export type Limit = "connect" | "auth" | "first_byte" | "idle" | "total";

/** One try of a call that was tried again, or that failed in the end. */
export interface Attempt {
  /** What went wrong in this try. */
  readonly kind: ErrorKind;
  /** Whether this try may have reached the agent. */
  readonly delivery: Delivery;
  /** HTTP status, if there was an answer. */
  readonly status?: number;
  /** The service's exception name, if it gave one. */
  readonly serviceCode?: string;
  /** Milliseconds waited before the next try; absent for the last one. */
  readonly pause?: number;
}

/** What an {@link AgentCoreError} may know besides its message: its members of the same names. */
export interface ErrorMembers {
  delivery?: Delivery;
  status?: number;
  serviceCode?: string;
  requestId?: string;
  sessionId?: string;
  retryAfter?: number;
  attempts?: readonly Attempt[];
  field?: string;
  limit?: Limit;
  eventsSeen?: number;
  bytesSeen?: number;
  agentPayload?: string;
  cause?: unknown;
}

/**
 * Why a call failed, whether the agent may have run, and what to do next. The message is one line
 * that never holds a credential, a token or a body.
 */
export class AgentCoreError extends Error {
  /** What went wrong; the same word in every language. */
  readonly kind: ErrorKind;
  /** The kind in upper snake case, e.g. `"STREAM_INTERRUPTED"`. */
  readonly code: ErrorCode;
  /** Whether the agent may have run. */
  readonly delivery: Delivery;
  /** HTTP status of the answer, if there was one. */
  declare readonly status?: number;
  /** The service's exception name, such as `"ThrottlingException"`. */
  declare readonly serviceCode?: string;
  /** The service's request id; quote it to AWS support. */
  declare readonly requestId?: string;
  /** The runtime session of the call, to go on or to stop it. */
  declare readonly sessionId?: string;
  /** Milliseconds that the service asked to wait. */
  declare readonly retryAfter?: number;
  /** Every try of the call, the last one included. */
  readonly attempts: readonly Attempt[];
  /** The option that was refused; `bearerToken` also for a token of a provider's. */
  declare readonly field?: string;
  /** The time limit that passed. */
  declare readonly limit?: Limit;
  /** Events handed over before a stream broke. */
  readonly eventsSeen: number;
  /** Bytes of the answer received before it broke. */
  readonly bytesSeen: number;
  /** What the agent sent when it reported its failure. */
  declare readonly agentPayload?: string;

  constructor(message: string, members: ErrorMembers = {}) {
    const { cause, ...known } = members;
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kindOf(new.target);
    this.code = codeOf(this.kind);
    this.delivery = "unknown";
    this.attempts = [];
    this.eventsSeen = 0;
    this.bytesSeen = 0;
    for (const [name, value] of Object.entries(known)) {
      if (value !== undefined) Object.assign(this, { [name]: value });
    }
    // Long, and often somebody's words: there for those who ask, not for every log.
    if (this.agentPayload !== undefined) {
      Object.defineProperty(this, "agentPayload", { enumerable: false });
    }
  }
}

/** An option broke a rule; nothing was sent. `field` names it. */
export class InvalidInputError extends AgentCoreError {}
/** No credentials or token could be had, or the service refused them as such. */
export class CredentialsError extends AgentCoreError {}
/** No connection: name look-up, TCP, proxy or TLS. Nothing was sent. */
export class ConnectError extends AgentCoreError {}
/** A time limit passed; `limit` names it. */
export class RequestTimeoutError extends AgentCoreError {}
/** The service refused the call or failed. Its known exceptions have classes of their own. */
export class ServiceError extends AgentCoreError {}
/** The agent itself failed: before its answer, or with an error inside its stream. */
export class AgentError extends AgentCoreError {}
/** An answer began and broke off. `sessionId` and `eventsSeen` tell how to go on. */
export class StreamInterruptedError extends AgentCoreError {}
/** An event, an answer or a payload passed its size limit. */
export class TooLargeError extends AgentCoreError {}
/** The other side broke HTTP, or sent what was not asked for. */
export class ProtocolError extends AgentCoreError {}
/** The client or the stream was closed. */
export class ClosedError extends AgentCoreError {}
/** A bug in this library, or a system that is out of resources. */
export class InternalError extends AgentCoreError {}

/** The caller may not do this (403); the message names the IAM action and resources. */
export class AccessDeniedException extends ServiceError {}
/** The session is in a state that does not allow this (409). */
export class ConflictException extends ServiceError {}
/** The service failed (500). The agent may have run. */
export class InternalServerException extends ServiceError {}
/** No such runtime, endpoint or session (404). */
export class ResourceNotFoundException extends ServiceError {}
/** The session is being provisioned or changed (409); it was tried again in vain. */
export class RetryableConflictException extends ConflictException {}
/** A quota of the account is used up (402). */
export class ServiceQuotaExceededException extends ServiceError {}
/** Too many calls (429); `retryAfter` may say how long to wait. */
export class ThrottlingException extends ServiceError {}
/** The token was refused (401). */
export class UnauthorizedException extends ServiceError {}
/** The service refused the request's form (400). */
export class ValidationException extends ServiceError {}
/** The agent's container failed or refused the request (424). */
export class RuntimeClientError extends AgentError {}

type ErrorClass = new (message: string, members?: ErrorMembers) => AgentCoreError;

const BY_KIND: Readonly<Record<ErrorKind, ErrorClass>> = {
  InvalidInput: InvalidInputError,
  Credentials: CredentialsError,
  Connect: ConnectError,
  Timeout: RequestTimeoutError,
  Service: ServiceError,
  Agent: AgentError,
  StreamInterrupted: StreamInterruptedError,
  TooLarge: TooLargeError,
  Protocol: ProtocolError,
  Closed: ClosedError,
  Internal: InternalError,
};

const BY_SERVICE_CODE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>(
  Object.entries({
    AccessDeniedException,
    ConflictException,
    InternalServerException,
    ResourceNotFoundException,
    RetryableConflictException,
    RuntimeClientError,
    ServiceQuotaExceededException,
    ThrottlingException,
    UnauthorizedException,
    ValidationException,
  }),
);

// Written down, since tools that shorten names would change what `name` says.
const NAMES: Readonly<Record<string, ErrorClass>> = {
  AgentCoreError,
  InvalidInputError,
  CredentialsError,
  ConnectError,
  RequestTimeoutError,
  ServiceError,
  AgentError,
  StreamInterruptedError,
  TooLargeError,
  ProtocolError,
  ClosedError,
  InternalError,
  ...Object.fromEntries(BY_SERVICE_CODE),
};
for (const [name, of] of Object.entries(NAMES)) {
  Object.defineProperty(of.prototype, "name", { value: name, configurable: true, writable: true });
}

function kindOf(of: unknown): ErrorKind {
  for (let at = of; typeof at === "function"; at = Object.getPrototypeOf(at)) {
    for (const [kind, known] of Object.entries(BY_KIND)) {
      if (known === at) return kind as ErrorKind;
    }
  }
  return "Internal";
}

function codeOf(kind: ErrorKind): ErrorCode {
  return kind.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() as ErrorCode;
}

/** The core writes names as Rust and Python have them. */
const CORE_NAMES =
  /\b(?:timeouts\.first_byte|(?:account|agent|session|user|trace|mcp_session|x_amzn_trace)_id|SessionId::\w+|RuntimeArn::\w+|allow_http_hosts?|bearer_token|ca_bundle|content_type|endpoint_url|invocation_url|local_url|mcp_method|mcp_name|mcp_protocol_version|runtime_arn|stop_on_close|stop_session|text_format|use_dualstack|use_fips|user_agent|with_options)\b/g;
const GROUPED: Readonly<Record<string, string>> = {
  traceparent: "trace.traceparent",
  tracestate: "trace.tracestate",
  baggage: "trace.baggage",
  x_amzn_trace_id: "trace.xAmznTraceId",
  mcp_session_id: "mcp.sessionId",
  mcp_protocol_version: "mcp.protocolVersion",
  mcp_method: "mcp.method",
  mcp_name: "mcp.name",
};

function camel(name: string): string {
  return (
    GROUPED[name] ??
    name.replace("::", ".").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
  );
}

/**
 * The error for what the core reports. Made in an async function that the caller awaits, its stack goes
 * on with the caller: V8 looks that up when it is needed, while taking a stack at the beginning of each
 * call, just in case, would cost a good part of a call.
 */
export function fromNative(failure: Failure): AgentCoreError {
  const { kind, message, cause: beneath, causedBy, field, ...members } = failure;
  const ofKind = BY_KIND[kind as ErrorKind] ?? InternalError;
  const ofCode = BY_SERVICE_CODE.get(failure.serviceCode ?? "");
  // A code is only believed where its class is one of the kind: an agent may say what it likes.
  const of = ofCode !== undefined && ofCode.prototype instanceof ofKind ? ofCode : ofKind;
  const told =
    field !== undefined && message.startsWith(`${field}:`)
      ? camel(field) + message.slice(field.length)
      : message;
  const error = new of(told.replace(CORE_NAMES, camel), {
    ...(members as ErrorMembers),
    ...(field === undefined ? {} : { field: camel(field) }),
    cause: causedBy ?? (beneath === undefined ? undefined : new Error(beneath)),
  });
  Error.captureStackTrace(error, fromNative);
  return error;
}

/** Gives what the native module gave, or throws what it reports. */
export function orThrow<T>(given: T | Failure): T {
  if (isFailure(given)) throw fromNative(given);
  return given;
}

export function isFailure(given: unknown): given is Failure {
  // The native module's own objects are of classes; only failures are plain.
  return typeof given === "object" && given !== null && Object.hasOwn(given, "delivery");
}

/** A refused option, in the core's own form: field, the value's shape, the rule. */
export function refused(field: string, shape: string, rule: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${shape}; ${rule}`, { delivery: "not_sent", field });
}

/** An answer or event that is not the JSON that was asked for. */
export function notJson(what: string, cause: unknown): ProtocolError {
  // The engine's own message quotes the text, which belongs to somebody.
  const at = /at position \d+/.exec(cause instanceof Error ? cause.message : "")?.[0];
  const where = at === undefined ? "" : `: it ceases to be JSON ${at}`;
  return new ProtocolError(`${what} is not the JSON that was asked for${where}`, {
    delivery: "accepted",
  });
}
