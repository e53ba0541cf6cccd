/**
 * The Lambda function behind an API Gateway WebSocket API, as a whole.
 *
 * ```ts
 * import { AgentCoreClient } from "agentcore-client";
 * import { WebSocketRelay } from "agentcore-client/apigateway";
 *
 * const relay = new WebSocketRelay(new AgentCoreClient(), { secret: process.env.AGENTCORE_RELAY_SECRET });
 * export const handler = relay.handle;
 * ```
 *
 * A message `{"prompt": "Hi", "conversation": "c1"}` comes in, the agent is asked, and its answer goes
 * out to the socket while it arrives, as JSON frames: `start`, `delta`, `end`, or `error`. The Rust
 * module `agentcore_client::apigateway` describes all of them, and how the relay behaves. Its log is
 * that of the client: set `NODE_DEBUG=agentcore-client` to see it.
 *
 * @packageDocumentation
 */
import { AsyncResource } from "node:async_hooks";
import type { Check, Table } from "./check.js";
import { AgentCoreClient, internals, type Payload } from "./index.js";
import type { HookQuestion, PendingRelay, Question } from "./native.js";

const { check, emit, encode, fromNative, isFailure, loop, native, orThrow } = internals;
const { boolean, members, milliseconds, oneOf, text, texts, wrongType } = check;

/** A message on its way to the agent. */
export interface RelayMessage {
  /** The socket. */
  readonly connectionId: string;
  /** Who sent it, where the relay knows that. */
  readonly principal: string | undefined;
  /** The conversation that the client named. */
  readonly conversation: string | undefined;
  /** The runtime session that will answer. */
  readonly sessionId: string;
}

/** The event as Lambda hands it over. */
export type RelayEvent = Readonly<Record<string, unknown>>;

/** Lambda's context, as far as it is looked at. */
export interface RelayContext {
  getRemainingTimeInMillis?(): number;
  readonly invokedFunctionArn?: string | undefined;
}

/** What the gateway is answered. */
export interface RelayResponse {
  statusCode: number;
  headers?: Record<string, string>;
  body?: string;
}

/** What a relay may be given. Times in milliseconds. */
export interface RelayOptions {
  /**
   * What sessions, tokens and second-stage events are sealed with: at least 16 random bytes, the same
   * in every copy of the function. Default: `AGENTCORE_RELAY_SECRET`.
   */
  secret?: string | Uint8Array | undefined;
  /**
   * The origins whose pages may connect, such as `https://chat.example.com`; others get 403, and so
   * does who sends none. Without this, every page may.
   */
  allowedOrigins?: readonly string[] | undefined;
  /** The subprotocols that are taken up when a client offers one. */
  subprotocols?: readonly string[] | undefined;
  /** The route keys whose messages go to the agent. Default: `$default` alone. */
  routes?: readonly string[] | undefined;
  /**
   * Who sends a message: the name of a member of what the API's authorizer said, such as
   * `"principalId"`, or a function that finds it in the event; a message without one is refused. It
   * must tell users apart, since who has the same principal can name the same conversations. By
   * default nobody is known, and a connection has conversations of its own.
   */
  principal?:
    | string
    | ((event: RelayEvent) => string | null | undefined | Promise<string | null | undefined>)
    | undefined;
  /** Makes the agent's payload of a message. Default: `{"prompt": …}`. */
  payload?: ((body: unknown, message: RelayMessage) => Payload | Promise<Payload>) | undefined;
  /**
   * A DynamoDB table, of the relay's region, that keeps a second-stage event from being answered
   * twice, whichever copy of the function it comes to: its key is `nonce`, a text, and `expires` may
   * be its time to live. The function needs `dynamodb:PutItem` on it. Without it, or a `claim`, a rare
   * duplicate is possible.
   */
  claimsTable?: string | undefined;
  /**
   * In place of a table: says whether a second-stage event comes for the first time, by its number:
   * `true` once for all copies of the function.
   */
  claim?: ((nonce: string) => boolean | Promise<boolean>) | undefined;
  /** `"json"` for frames, or `"text"` for the agent's text alone. */
  format?: "json" | "text" | undefined;
  /** What `"text"` ends with when the answer is complete. */
  endMarker?: string | undefined;
  /** Whether events without text are passed on, too, such as those of tools. */
  forwardEvents?: boolean | undefined;
  /**
   * How long the relay may be silent; a client that has left is noticed this soon. Default 5,000.
   */
  heartbeat?: number | undefined;
  /**
   * How long before the function's time is up an answer is cut, to end it properly. Default 5,000, and
   * at most half of the time that there is.
   */
  margin?: number | undefined;
  /**
   * Whether a second, asynchronous invocation of the function relays the answer, since API Gateway
   * waits no longer than 29 seconds: `"auto"` (in Lambda), `"always"` or `"never"`.
   */
  secondStage?: "auto" | "always" | "never" | undefined;
  /** How long a `resume` token is good. Default 8 hours. */
  resumeLifetime?: number | undefined;
  /**
   * Whether who holds a `resume` token of somebody unknown may go on with it. Otherwise such tokens
   * are tied to their connection.
   */
  anyoneResumes?: boolean | undefined;
  /**
   * Whether clients may name runtime sessions, as `sessionId`; ids that the service would refuse are
   * derived into good ones. Whoever guesses an id is in its session.
   */
  trustClientSessionIds?: boolean | undefined;
  /** The API's region. Default: `AWS_REGION`, else the runtime's. */
  region?: string | undefined;
  /**
   * Where `/@connections` is, such as `https://ws.example.com/chat` for a custom domain; the stage is
   * not added.
   */
  endpointUrl?: string | undefined;
}

/** Thrown by a hook for a message that is not wanted. Its message is shown to the client. */
export class Refused extends Error {
  override name = "Refused";
}

type Hook = (...told: never[]) => unknown;

const hook: Check = (name, value) => {
  if (typeof value !== "function") throw wrongType(name, value, "a function");
  return value;
};
const TABLE: Table = new Map<string, Check>(
  Object.entries({
    secret: (name, value) => (value instanceof Uint8Array ? [...value] : text(name, value)),
    allowedOrigins: texts,
    subprotocols: texts,
    routes: texts,
    principal: (name, value) => (typeof value === "function" ? value : text(name, value)),
    payload: hook,
    claimsTable: text,
    claim: hook,
    format: oneOf(["json", "text"]),
    endMarker: text,
    forwardEvents: boolean,
    heartbeat: milliseconds,
    margin: milliseconds,
    secondStage: oneOf(["auto", "always", "never"]),
    resumeLifetime: milliseconds,
    anyoneResumes: boolean,
    trustClientSessionIds: boolean,
    region: text,
    endpointUrl: text,
  } satisfies Record<keyof RelayOptions, Check>),
);

/** The function behind a WebSocket API. Made once, when the function starts. */
export class WebSocketRelay {
  /**
   * Handles one event of the API, or of the relay's own second stage. It never rejects: what goes
   * wrong is in the response for the gateway, in an error frame for the client, and in the log. Bound,
   * so that it is a handler as it is.
   */
  readonly handle: (event: RelayEvent, context?: RelayContext) => Promise<RelayResponse>;

  /**
   * @param client - Calls the agent. With AWS credentials it also signs what goes to API Gateway and
   * Lambda; with a bearer token, the function's own role does.
   * @throws {@link InvalidInputError} if an option breaks a rule, `TypeError` if it is of the wrong
   * type or unknown; both name it.
   */
  constructor(client: AgentCoreClient, options: RelayOptions = {}) {
    if (!(client instanceof AgentCoreClient)) {
      throw wrongType("client", client, "an AgentCoreClient");
    }
    const { native: core, provider } = AgentCoreClient.partsOf(client);
    const { principal, payload, claim, ...rest } = members(TABLE, options) ?? {};
    const hooks = { principal, payload, claim } as Record<string, Hook | undefined>;
    const relay = orThrow(
      native.openRelay(core, {
        ...rest,
        ...(typeof principal === "string" ? { principal } : {}),
        asksPrincipal: typeof principal === "function",
        asksPayload: payload !== undefined,
        asksClaim: claim !== undefined,
      }),
    );
    this.handle = async (event, context) => {
      try {
        const left = context?.getRemainingTimeInMillis?.();
        const arn = context?.invokedFunctionArn;
        const token = loop.token();
        const json = JSON.stringify(event) ?? "null";
        const pending = orThrow(relay.start(core, token, json, left, arn));
        const answer = (question: Question) => void provider?.answer(question, () => undefined);
        const run = (question: HookQuestion) => void answerHook(hooks, question, event);
        return JSON.parse(await finished(pending, token, answer, run)) as RelayResponse;
      } catch (error) {
        emit("ERROR", `the relay failed: ${told(error)}`);
        // Lambda would run a second stage again that was rejected.
        return { statusCode: 500 };
      }
    };
  }
}

function finished(
  pending: PendingRelay,
  token: number,
  answer: (question: Question) => void,
  run: (question: HookQuestion) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    // Held, or a question that nobody ever answers would be collected, which counts as a refusal.
    const asked: unknown[] = [];
    let again: () => void;
    const poll = () => {
      try {
        let outcome = pending.poll();
        while (outcome instanceof native.Question || outcome instanceof native.HookQuestion) {
          asked.push(outcome);
          if (outcome instanceof native.HookQuestion) run(outcome);
          else answer(outcome as Question);
          outcome = pending.poll();
        }
        if (outcome === null) loop.wait(token, again);
        else if (isFailure(outcome)) reject(fromNative(outcome));
        else resolve(outcome as string);
      } catch (error) {
        reject(error);
      }
    };
    // A hook runs where its event came in.
    again = AsyncResource.bind(poll);
    poll();
  });
}

async function answerHook(
  hooks: Readonly<Record<string, Hook | undefined>>,
  question: HookQuestion,
  event: RelayEvent,
): Promise<void> {
  const { kind } = question;
  const run = hooks[kind] as ((...given: unknown[]) => unknown) | undefined;
  try {
    if (kind === "payload") {
      const { body, ...about } = JSON.parse(question.told ?? "{}");
      const message: RelayMessage = {
        connectionId: about.connection_id,
        principal: about.principal ?? undefined,
        conversation: about.conversation ?? undefined,
        sessionId: about.session_id,
      };
      question.answerPayload(encode((await run?.(body, message)) as Payload));
    } else if (kind === "principal") {
      const found = await run?.(event);
      question.answerPrincipal(
        found === undefined || found === null ? undefined : text("principal", found),
      );
    } else {
      question.answerClaim(boolean("claim", await run?.(question.told)));
    }
  } catch (error) {
    if (error instanceof Refused) {
      question.refuse(error.message);
      return;
    }
    emit("ERROR", `the ${kind} hook failed: ${told(error)}`);
    question.fail();
  }
}

/** What its text says may be what a client sent; where it was thrown says enough. */
function told(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const at = error.stack?.split("\n").find((line) => line.trimStart().startsWith("at "));
  return `${error.name}${at === undefined ? "" : ` ${at.trim()}`}`;
}
