/*
 * The private native module: what it offers, and where it is found. It is built for each platform
 * and comes as a package of its own, of which npm installs the right one.
 */

/** What the core reports; `errors.ts` makes an error of it. */
export interface Failure {
  kind: string;
  message: string;
  delivery: string;
  status?: number;
  serviceCode?: string;
  requestId?: string;
  sessionId?: string;
  retryAfter?: number;
  attempts?: {
    kind: string;
    delivery: string;
    status?: number;
    serviceCode?: string;
    pause?: number;
  }[];
  field?: string;
  limit?: string;
  eventsSeen?: number;
  bytesSeen?: number;
  agentPayload?: string;
  cause?: string;
  /** What a provider in JavaScript threw: set there. */
  causedBy?: unknown;
}

export interface ReadyQueue {
  /** Describes in `words` so many tokens as it says, and writes small answers into `mail`. */
  drain(words: Uint32Array, mail: Uint8Array): number;
  poll(token: number): Response | Stream | Question | true | Failure | null;
  abort(token: number): void;
  takeLines(): string[];
  hold(): void;
  release(): void;
}

export interface Question {
  readonly wantsToken: boolean;
  answerToken(token: string): void;
  answerCredentials(credentials: Credentials): void;
  fail(): void;
}

declare const opaque: unique symbol;

/** A whole answer that is no small one: opaque, for the functions of that name. */
export interface Response {
  readonly [opaque]: true;
}

export interface Stream {
  readonly token: number;
  readonly sessionId: string;
  readonly status: number;
  readonly end: string | null;
  readonly eventsSeen: number;
  headers(): string[];
  takeEvents(words: Uint32Array): string | true | Failure | null;
  takeBinary(): Uint8Array;
  takeBytes(): Uint8Array | true | Failure | null | undefined;
  close(): void;
}

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration?: number;
}

export interface Auth {
  bearer?: string;
  credentials?: Credentials;
  askForToken?: boolean;
  askForCredentials?: boolean;
}

/** Options whose names and types have been checked. */
export type Options = Record<string, unknown>;

export interface Client {
  /** What the functions that begin calls take. */
  readonly id: number;
  readonly runtimeArn: string | null;
  readonly qualifier: string | null;
  readonly closed: boolean;
  sibling(options: Options): Client | Failure;
  close(): void;
  startPanic(token: number): Failure | null;
}

export interface HookQuestion {
  readonly kind: "payload" | "principal" | "claim";
  readonly told: string | null;
  answerPayload(payload: string | Uint8Array): void;
  answerPrincipal(principal: string | undefined): void;
  answerClaim(first: boolean): void;
  refuse(why: string): void;
  fail(): void;
}

export interface PendingRelay {
  poll(): Question | HookQuestion | string | Failure | null;
}

export interface Relay {
  start(
    client: Client,
    token: number,
    event: string,
    remaining: number | undefined,
    functionArn: string | undefined,
  ): PendingRelay | Failure;
}

export interface Arn {
  arn: string;
  partition: string;
  region: string;
  accountId: string;
  agentId: string;
  qualifier?: string;
}

type StartInvocation = (
  client: number,
  token: number,
  payload: string | Uint8Array,
  session: string | undefined,
  sessionIsChecked: boolean,
  contentType: string | undefined,
  options: Options | undefined,
) => Failure | null;

interface Native {
  ReadyQueue: new (wake: () => void, byLibuv: boolean) => ReadyQueue;
  Question: abstract new () => Question;
  HookQuestion: abstract new () => HookQuestion;
  Stream: abstract new () => Stream;
  Client: abstract new () => Client;
  version(): string;
  /** These begin a call, which the queue then knows by `token`, or fail at once. */
  startInvoke: StartInvocation;
  startStream: StartInvocation;
  startStopSession(
    client: number,
    token: number,
    session: string,
    sessionIsChecked: boolean,
    options: Options | undefined,
  ): Failure | null;
  responseSessionId(of: Response): string;
  responseStatus(of: Response): number;
  responseHeaders(of: Response): string[];
  responseBody(of: Response): Uint8Array;
  responseBodyLength(of: Response): number;
  responseBodyText(of: Response): string | null;
  responseText(of: Response): string | null;
  textOf(bytes: Uint8Array): string | null;
  textInJson(body: Uint8Array, format: string | undefined): string | null;
  textFormats(): string[];
  openClient(queue: ReadyQueue, auth: Auth | undefined, options: Options): Client | Failure;
  openRelay(client: Client, options: Options): Relay | Failure;
  generateSessionId(): string;
  deriveSessionId(secret: Uint8Array, parts: readonly string[]): string | Failure;
  deriveGuessableSessionId(parts: readonly string[]): string | Failure;
  checkSessionId(id: string, rule: string): string | Failure;
  parseRuntimeArn(arn: string): Arn | Failure;
  invokePolicy(arn: string, actions: string[]): string | Failure;
  runtimeArnOfAgent(agentId: string, accountId: string, region: string): Arn | Failure;
}

/**
 * Where the module may be: first the packages that npm chooses from, since looking in vain costs a
 * program's start; then where a build leaves it. On Linux npm installs the one for the system's C
 * library. Each is written out, for tools that collect the files a program needs.
 */
const MODULES: Readonly<Record<string, readonly (() => unknown)[]>> = {
  "linux-x64": [
    () => require("@agentcore-client/linux-x64-gnu"),
    () => require("@agentcore-client/linux-x64-musl"),
    () => require("../agentcore-client.linux-x64-gnu.node"),
  ],
  "linux-arm64": [
    () => require("@agentcore-client/linux-arm64-gnu"),
    () => require("@agentcore-client/linux-arm64-musl"),
    () => require("../agentcore-client.linux-arm64-gnu.node"),
  ],
  "darwin-x64": [
    () => require("@agentcore-client/darwin-x64"),
    () => require("../agentcore-client.darwin-x64.node"),
  ],
  "darwin-arm64": [
    () => require("@agentcore-client/darwin-arm64"),
    () => require("../agentcore-client.darwin-arm64.node"),
  ],
  "win32-x64": [
    () => require("@agentcore-client/win32-x64-msvc"),
    () => require("../agentcore-client.win32-x64-msvc.node"),
  ],
};

function load(): Native {
  const platform = `${process.platform}-${process.arch}`;
  const modules = MODULES[platform];
  const failures: unknown[] = [];
  for (const load of modules ?? []) {
    try {
      return load() as Native;
    } catch (error) {
      // What is missing says nothing; what does not load does.
      if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") failures.push(error);
    }
  }
  const why =
    failures.length > 0
      ? " that loads; see the cause"
      : modules === undefined
        ? ""
        : `: npm should have installed @agentcore-client/${platform}…; was it told to omit optional` +
          " dependencies?";
  throw new Error(`agentcore-client has no native module for ${platform}${why}`, {
    cause: failures[0],
  });
}

export const native: Native = load();
