/**
 * Call agents on Amazon Bedrock AgentCore Runtime.
 *
 * ```ts
 * import { AgentCoreClient } from "agentcore-client";
 *
 * const client = new AgentCoreClient({
 *   runtimeArn: "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-abc123",
 * });
 * const stream = await client.stream({ prompt: "Hi" });
 * for await (const text of stream.textDeltas()) process.stdout.write(text);
 * ```
 *
 * What goes wrong is an {@link AgentCoreError}; its `delivery` says whether the agent may have run.
 *
 * @packageDocumentation
 */
import * as check from "./check.js";
import { fromNative, isFailure, orThrow } from "./errors.js";
import { emit } from "./log.js";
import { loop } from "./loop.js";
import { native } from "./native.js";
import { encode } from "./options.js";
import { readable } from "./readable.js";
import { EVENT_STREAM, heartbeatOf, withHeartbeat } from "./sse.js";
import { passingOn, withDefaults } from "./web.js";

export { AgentCoreClient } from "./client.js";
export {
  AccessDeniedException,
  AgentCoreError,
  AgentError,
  type Attempt,
  ClosedError,
  ConflictException,
  ConnectError,
  CredentialsError,
  type Delivery,
  type ErrorCode,
  type ErrorKind,
  type ErrorMembers,
  InternalError,
  InternalServerException,
  InvalidInputError,
  type Limit,
  ProtocolError,
  RequestTimeoutError,
  ResourceNotFoundException,
  RetryableConflictException,
  RuntimeClientError,
  ServiceError,
  ServiceQuotaExceededException,
  StreamInterruptedError,
  ThrottlingException,
  TooLargeError,
  UnauthorizedException,
  ValidationException,
} from "./errors.js";
export { AgentEvent } from "./event.js";
export { type PolicyAction, type PolicyDocument, RuntimeArn, SessionId } from "./ids.js";
export type {
  AwsCredentials,
  ClientOptions,
  CredentialsProvider,
  InvokeOptions,
  Limits,
  McpHeaders,
  Payload,
  Retry,
  SiblingOptions,
  StopOptions,
  StreamOptions,
  TextFormat,
  Timeouts,
  TokenProvider,
  TraceContext,
} from "./options.js";
export { InvokeResponse, type StreamEnd } from "./response.js";
export type { HeartbeatOptions } from "./sse.js";
export { AgentStream } from "./stream.js";
export { errorResponse, type PublicError, publicError, readJson } from "./web.js";

/** This package's version. */
export const version: string = native.version();

/**
 * What the other ways in share with this one, so that there is one copy of everything; and the tests.
 *
 * @internal
 */
export const internals = {
  EVENT_STREAM,
  check,
  emit,
  encode,
  fromNative,
  heartbeatOf,
  isFailure,
  loop,
  native,
  orThrow,
  passingOn,
  readable,
  withDefaults,
  withHeartbeat,
};
