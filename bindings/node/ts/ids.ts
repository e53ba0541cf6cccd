/*
 * Session ids and runtime ARNs: values whose rule has been checked, by the core.
 */
import { text, wrongType } from "./check.js";
import { orThrow } from "./errors.js";
import { type Arn, native } from "./native.js";

const TRUSTED = Symbol("trusted");

/**
 * A runtime session id that the service accepts. Where one is wanted, a plain string does as well and
 * is checked by the rule for new ones; `reply.sessionId` is a plain string.
 *
 * @example
 * ```ts
 * const sessionId = SessionId.derive(secret, tenant, user, conversation);
 * await client.invoke({ prompt: "Hi" }, { sessionId });
 * ```
 */
export class SessionId {
  readonly #id: string;

  /**
   * Checks a new id: 33 to 100 letters, digits, `-` and `_`, the first a letter or digit.
   *
   * @throws {@link InvalidInputError} for anything else.
   */
  constructor(id: string);
  /** @internal */
  constructor(id: string, trusted: typeof TRUSTED);
  constructor(id: string, trusted?: typeof TRUSTED) {
    this.#id = trusted === TRUSTED ? id : checked(id, "new");
  }

  /** A new random id (a UUID, 36 characters). */
  static generate(): SessionId {
    return new SessionId(native.generateSessionId(), TRUSTED);
  }

  /**
   * The id of a conversation, always the same for the same secret and parts.
   *
   * The service does not check who owns a session, so an id must not be guessable: it is an
   * HMAC-SHA256 of the parts (64 characters), the same in every language.
   *
   * @param secret - At least 16 bytes that only your backend knows; a string counts as UTF-8.
   * @param parts - E.g. tenant, user and conversation. `("ab", "c")` and `("a", "bc")` differ.
   */
  static derive(secret: string | Uint8Array, ...parts: string[]): SessionId {
    let key: Uint8Array;
    if (secret instanceof Uint8Array) key = secret;
    else if (typeof secret === "string") key = new TextEncoder().encode(text("secret", secret));
    else throw wrongType("secret", secret, "a string or a Uint8Array");
    return new SessionId(orThrow(native.deriveSessionId(key, every(parts))), TRUSTED);
  }

  /** The id of these parts, which whoever knows the parts can guess. */
  static deriveGuessable(...parts: string[]): SessionId {
    return new SessionId(orThrow(native.deriveGuessableSessionId(every(parts))), TRUSTED);
  }

  /** An id that is in use already: 33 to 256 visible ASCII characters. */
  static existing(id: string): SessionId {
    return new SessionId(checked(id, "existing"), TRUSTED);
  }

  /** An id for a local agent: 1 to 256 visible ASCII characters. */
  static local(id: string): SessionId {
    return new SessionId(checked(id, "local"), TRUSTED);
  }

  /** The id itself. */
  toString(): string {
    return this.#id;
  }

  /** The id itself. */
  toJSON(): string {
    return this.#id;
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `SessionId(${JSON.stringify(this.#id)})`;
  }
}

function checked(id: string, rule: string): string {
  return orThrow(native.checkSessionId(text("sessionId", id), rule));
}

function every(parts: unknown[], name = "parts"): string[] {
  return parts.map((part) => text(name, part));
}

/**
 * An IAM action on a runtime. Those with `ForUser` are for calls with a user id, besides the action of
 * the call itself.
 */
export type PolicyAction =
  | "InvokeAgentRuntime"
  | "InvokeAgentRuntimeForUser"
  | "InvokeAgentRuntimeWithWebSocketStream"
  | "InvokeAgentRuntimeWithWebSocketStreamForUser"
  | "InvokeAgentRuntimeCommand"
  | "InvokeAgentRuntimeCommandShell"
  | "InvokeAgentRuntimeProxy"
  | "StopRuntimeSession"
  | "GetAgentCard";

/** An IAM policy of one statement. */
export interface PolicyDocument {
  Version: "2012-10-17";
  Statement: [{ Effect: "Allow"; Action: string[]; Resource: string[] }];
}

/**
 * The ARN of an agent runtime or of its endpoint, taken apart:
 * `arn:{partition}:bedrock-agentcore:{region}:{account}:runtime/{id}`, optionally with
 * `/runtime-endpoint/{name}`.
 */
export class RuntimeArn {
  readonly #arn: string;
  /** E.g. `"aws"`. */
  readonly partition: string;
  /** E.g. `"us-west-2"`. */
  readonly region: string;
  /** Twelve digits. */
  readonly accountId: string;
  /** The runtime's id. */
  readonly agentId: string;
  /** The endpoint's name, for an endpoint ARN. */
  readonly qualifier: string | undefined;

  /** @throws {@link InvalidInputError} for anything else than such an ARN. */
  constructor(arn: string);
  /** @internal */
  constructor(arn: string, parts: Arn);
  constructor(arn: string, known?: Arn) {
    const parts = known ?? orThrow(native.parseRuntimeArn(text("runtimeArn", arn)));
    this.#arn = parts.arn;
    this.partition = parts.partition;
    this.region = parts.region;
    this.accountId = parts.accountId;
    this.agentId = parts.agentId;
    this.qualifier = parts.qualifier;
  }

  /** The ARN of an agent id in an account and a region. */
  static fromAgentId(agentId: string, accountId: string, region: string): RuntimeArn {
    const arn = orThrow(
      native.runtimeArnOfAgent(
        text("agentId", agentId),
        text("accountId", accountId),
        text("region", region),
      ),
    );
    return new RuntimeArn(arn.arn, arn);
  }

  /**
   * The IAM policy document that allows these actions on this runtime, and nothing else.
   *
   * The service checks an action on the runtime and on its endpoint, so both are named: the endpoint
   * of this ARN, or `DEFAULT`, which calls without a qualifier go to. The statement alone, as
   * infrastructure code takes it, is `policy.Statement[0]`. For a runtime with a JWT authorizer
   * identity policies mean nothing.
   *
   * @param actions - With the service's prefix or without; `InvokeAgentRuntime` if none is given.
   */
  invokePolicy(...actions: PolicyAction[]): PolicyDocument {
    return JSON.parse(orThrow(native.invokePolicy(this.#arn, every(actions, "actions"))));
  }

  /** The ARN itself. */
  toString(): string {
    return this.#arn;
  }

  /** The ARN itself. */
  toJSON(): string {
    return this.#arn;
  }

  /** @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `RuntimeArn(${JSON.stringify(this.#arn)})`;
  }
}
