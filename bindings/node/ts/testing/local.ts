/*
 * Runs the agentcore-local program for as long as a test needs it, and speaks with its control paths.
 * Node's own modules only: it has to work before the client does, and next to any other client.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { Agent, request } from "node:http";
import { delimiter, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";

/**
 * One thing that the data plane saw: `seq`, `atMs`, `connection`, `call`, `kind`, and the members of
 * that kind, which the README of agentcore-local lists, in camel case.
 */
export interface JournalEntry {
  /** Its number; they only go up. */
  readonly seq: number;
  /** Milliseconds since the data plane was started. */
  readonly atMs: number;
  /** The number of the connection. */
  readonly connection: number;
  /** What it is, e.g. `"request"`, `"response"` or `"disconnect"`. */
  readonly kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: each kind has members of its own.
  readonly [member: string]: any;
}

/** What is to go wrong, e.g. `{ status: 429, code: "ThrottlingException", repeat: 2 }`. */
export interface Fault {
  /** For how many calls; 0 counts as 1. */
  repeat?: number;
  /** Only for calls whose target contains this text. */
  pathContains?: string;
  /** Only for calls of this session. */
  session?: string;
  /** Answer with this status instead of running the agent. */
  status?: number;
  /** The `x-amzn-ErrorType` of that answer. */
  code?: string;
  /** The `message` of that answer. */
  message?: string;
  /** The body of that answer, in place of the service's JSON. */
  body?: string;
  /** Headers added to the answer, whatever it is. */
  headers?: Readonly<Record<string, string>>;
  /** Wait so long before the head is written. */
  delayHeadMs?: number;
  /** Read the request and then say nothing until the client leaves. */
  neverAnswer?: boolean;
  /** Read the request, then reset the connection. */
  resetAfterRequest?: boolean;
  /** Read the request, then close the connection without an answer. */
  closeAfterRequest?: boolean;
  /** Write bytes that are not HTTP in place of a head, then close. */
  garbageHead?: boolean;
  /** After so many body bytes, go silent until the client leaves. */
  stallAfterBytes?: number;
  /** After so many body bytes, reset the connection. */
  resetAfterBytes?: number;
  /** After so many body bytes, close the connection within a chunk. */
  truncateAfterBytes?: number;
  /** After so many body bytes, write a chunk size line that is none, then close. */
  garbageChunkAfterBytes?: number;
  /** Every byte of the answer in a write of its own. */
  split?: boolean;
  /** Claim `Content-Encoding: gzip` over a body that is not. */
  wrongEncoding?: boolean;
  /** Answer 307 with this `Location`. */
  redirect?: string;
  /** Answer 101 Switching Protocols, unasked, and close. */
  switching?: boolean;
  /** Add headers of about so many bytes to the answer. */
  bigHeaders?: number;
  /** After the answer, close the connection when it stays idle so long. */
  closeIdleAfterMs?: number;
  /** Answer with `Connection: close` and close. */
  connectionClose?: boolean;
  /** For this call the clock is so many seconds off: in the `Date` header and in the check. */
  dateOffsetS?: number;
}

/** How a {@link LocalDataPlane} is started. */
export interface LocalDataPlaneOptions {
  /** The URL of your agent container; without it the built-in demo agent answers. */
  agent?: string;
  /** Callers need a token in place of a signature. */
  bearer?: boolean;
  /** The program; else the one that `AGENTCORE_LOCAL_BIN` names, its npm package's, or on PATH. */
  binary?: string;
  /** More flags of the program (`agentcore-local --help`). */
  args?: readonly string[];
}

/** The local data plane is missing, does not start, or is gone. */
export class LocalDataPlaneError extends Error {
  override readonly name = "LocalDataPlaneError";
}

const NAME = "agentcore-local";
const PACKAGE = "@agentcore-client/local";
const FROM_ENVIRONMENT = "AGENTCORE_LOCAL_BIN";
const ISSUER = "https://issuer.agentcore-local.example";
/** It prints its start line within milliseconds; a virus scanner may have to look at it first. */
const START_MS = 10_000;
/** A data plane that was told to go closes its connections and goes. */
const STOP_MS = 2_000;
const CONTROL_MS = 10_000;

type StartLine = Readonly<Record<string, unknown>>;
type Process = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * A local data plane in a process of its own, from {@link LocalDataPlane.start} to
 * {@link LocalDataPlane.close}. It ends with this process, also when that is killed: it watches its
 * standard input.
 */
export class LocalDataPlane {
  readonly #process: Process;
  readonly #started: StartLine;
  // One connection for all, so that the journal isn't full of ours.
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #own = new Set<number>();
  #running = true;

  private constructor(process: Process, started: StartLine) {
    this.#process = process;
    this.#started = started;
    process.once("exit", () => {
      this.#running = false;
    });
  }

  /**
   * Starts one.
   *
   * @throws {@link LocalDataPlaneError} if there is no such program, or it does not start.
   */
  static async start(options: LocalDataPlaneOptions = {}): Promise<LocalDataPlane> {
    const { agent, bearer, binary, args = [] } = options;
    const program = find(binary);
    const child = spawn(
      program,
      [
        ...(agent === undefined ? [] : ["--agent", agent]),
        ...(bearer === true ? ["--jwt-issuer", ISSUER] : []),
        ...args,
      ],
      // Ctrl-C is for the test run, which still wants to tidy up.
      { stdio: ["pipe", "pipe", "pipe"], detached: process.platform !== "win32" },
    );
    const plane = new LocalDataPlane(child, await startLine(program, child));
    // A test that forgets to close it must not hang.
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) unref(stream);
    return plane;
  }

  /** Ends it and all its connections; may be called again. */
  async close(): Promise<void> {
    this.#agent.destroy();
    await stop(this.#process, STOP_MS);
  }

  /** What `await using` calls: {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // -- how to reach it -------------------------------------------------------------------------

  /** What clients take as their endpoint URL. */
  get baseUrl(): string {
    return this.#told("base_url");
  }

  /** The ARN of the runtime that it serves. */
  get runtimeArn(): string {
    return this.#told("runtime_arn");
  }

  /** The region of that ARN. */
  get region(): string {
    return this.#told("region");
  }

  /** The access key that callers sign with. */
  get accessKey(): string {
    return this.#told("access_key");
  }

  /** Its secret. */
  get secretKey(): string {
    return this.#told("secret_key");
  }

  /** The session token that belongs to the key, if one does. */
  get sessionToken(): string | undefined {
    this.#told("access_key");
    return (this.#started["session_token"] as string | null) ?? undefined;
  }

  /** A token that is valid for an hour; needs `bearer: true`. */
  get bearerToken(): string {
    return this.#told("bearer_token");
  }

  /** The options for our client: `new AgentCoreClient(plane.clientOptions())`. */
  clientOptions():
    | { runtimeArn: string; endpointUrl: string; bearerToken: string }
    | { runtimeArn: string; endpointUrl: string; credentials: LocalCredentials } {
    const options = { runtimeArn: this.runtimeArn, endpointUrl: this.baseUrl };
    return this.#takesTokens
      ? { ...options, bearerToken: this.bearerToken }
      : { ...options, credentials: this.#credentials() };
  }

  /** The options for the AWS SDK: `new BedrockAgentCoreClient(plane.awsSdkOptions())`. */
  awsSdkOptions(): { endpoint: string; region: string; credentials: LocalCredentials } {
    return { endpoint: this.baseUrl, region: this.region, credentials: this.#credentials() };
  }

  /** A bearer token with these claims, e.g. `{ exp: 1 }` for an expired one. */
  async mintToken(claims: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return (await this.#control("POST", "token", claims))["token"] as string;
  }

  // -- faults ----------------------------------------------------------------------------------

  /** Queues a fault: each call takes the first one that matches it. */
  async addFault(fault: Fault): Promise<void> {
    const members = Object.entries(fault).map(([name, value]) => [snake(name), value]);
    await this.#control("POST", "faults", Object.fromEntries(members));
  }

  /** The faults that no call has taken yet. */
  async faults(): Promise<Fault[]> {
    const { faults } = await this.#control("GET", "faults");
    return (faults as Record<string, unknown>[]).map(camelMembers);
  }

  /** Forgets the faults that wait. */
  async clearFaults(): Promise<void> {
    await this.#control("DELETE", "faults");
  }

  // -- what it saw -----------------------------------------------------------------------------

  /**
   * What it saw, in order; with `since`, what came after the entry with that `seq`. Entries have gaps
   * in `seq`: the questions of this object are left out.
   */
  async journal(since = 0): Promise<JournalEntry[]> {
    return (await this.#entries(since)).entries;
  }

  /** Forgets what it saw until now. */
  async clearJournal(): Promise<void> {
    await this.#control("DELETE", "journal");
  }

  /** How many invocations were seen; each attempt counts. */
  async countPosts(): Promise<number> {
    return (await this.journal()).filter(isInvocation).length;
  }

  /**
   * The first journal entry that satisfies, also if it is there already.
   *
   * @throws {@link LocalDataPlaneError}, with what was seen instead, when there is none in time.
   */
  async waitFor(
    predicate: (entry: JournalEntry) => unknown,
    options: { timeoutMs?: number } = {},
  ): Promise<JournalEntry> {
    const { timeoutMs = 5_000 } = options;
    const deadline = performance.now() + timeoutMs;
    const seen: string[] = [];
    let since = 0;
    for (let pause = 2; ; pause = Math.min(pause * 1.5, 50)) {
      const { entries, last } = await this.#entries(since);
      for (const entry of entries) {
        if (predicate(entry)) return entry;
        seen.push(entry.kind);
      }
      since = last;
      const left = deadline - performance.now();
      if (left <= 0) {
        const what = seen.slice(-20).join(", ") || "nothing";
        throw new LocalDataPlaneError(
          `no such journal entry within ${timeoutMs} ms; last seen: ${what}`,
        );
      }
      await new Promise((wake) => setTimeout(wake, Math.min(pause, left)));
    }
  }

  /** The sessions that are provisioned. */
  async sessions(): Promise<{ runtimeArn: string; sessionId: string }[]> {
    const { sessions } = await this.#control("GET", "sessions");
    return (sessions as Record<string, unknown>[]).map(camelMembers) as {
      runtimeArn: string;
      sessionId: string;
    }[];
  }

  /**
   * Delivers an asynchronous event of the function behind the gateway once more: the one with that
   * request id, which the journal's `function_started` has, or the latest.
   */
  async redeliver(options: { requestId?: string; afterMs?: number } = {}): Promise<void> {
    const { requestId, afterMs = 0 } = options;
    await this.#control("POST", "redeliver", { request_id: requestId, delay_ms: afterMs });
  }

  // -- inside ----------------------------------------------------------------------------------

  get #takesTokens(): boolean {
    return typeof this.#started["bearer_token"] === "string";
  }

  #credentials(): LocalCredentials {
    const { accessKey, secretKey, sessionToken } = this;
    return {
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    };
  }

  #told(member: string): string {
    const value = this.#started[member];
    if (typeof value === "string") return value;
    const takes = this.#takesTokens ? "bearer tokens" : "signatures (see bearer: true)";
    throw new LocalDataPlaneError(`there is no ${member}: the local data plane takes ${takes}`);
  }

  /** The entries that are about calls: each question for them is a request, too. */
  async #entries(since: number): Promise<{ entries: JournalEntry[]; last: number }> {
    const answer = await this.#control("GET", `journal?since=${since}`);
    const entries = (answer["entries"] as Record<string, unknown>[]).map(
      camelMembers,
    ) as unknown as JournalEntry[];
    for (const entry of entries) {
      if (entry.kind === "request" && String(entry["target"]).startsWith("/_local/")) {
        this.#own.add(entry.connection);
      }
    }
    return {
      entries: entries.filter((entry) => !this.#own.has(entry.connection)),
      last: entries.at(-1)?.seq ?? since,
    };
  }

  #control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    if (!this.#running) {
      return Promise.reject(new LocalDataPlaneError("the local data plane does not run any more"));
    }
    const content = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((done, failed) => {
      const fail = (error: Error) =>
        failed(
          new LocalDataPlaneError(`the local data plane does not answer: ${error.message}`, {
            cause: error,
          }),
        );
      const asked = request(
        new URL(`/_local/${path}`, this.baseUrl),
        {
          method,
          agent: this.#agent,
          timeout: CONTROL_MS,
          headers: {
            "x-local-token": String(this.#started["control_token"]),
            ...(content === undefined ? {} : { "content-length": Buffer.byteLength(content) }),
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", fail);
          answer.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            const told = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
            const status = answer.statusCode ?? 0;
            if (status < 300) done(told);
            // What a test asked for wrongly is the test's to mend.
            else failed(new TypeError(`${method} ${path}: ${status} ${told["message"]}`));
          });
        },
      );
      asked.on("timeout", () => asked.destroy(new Error(`no answer within ${CONTROL_MS} ms`)));
      asked.on("error", fail);
      asked.end(content);
    });
  }
}

/** Keys in the AWS SDK's shape. */
export interface LocalCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

function isInvocation(entry: JournalEntry): boolean {
  if (entry.kind !== "request" || entry["method"] !== "POST") return false;
  const path = String(entry["target"]).split("?", 1)[0] ?? "";
  // Lambda's Invoke ends like that, too.
  return path.endsWith("/invocations") && !path.startsWith("/2015-03-31/functions/");
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function camelMembers(from: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(from).map(([name, value]) => [
    name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function unref(stream: unknown): void {
  (stream as { unref?: () => void }).unref?.();
}

function startLine(program: string, child: Process): Promise<StartLine> {
  return new Promise((done, failed) => {
    let said = "";
    let complaint = "";
    const timer = setTimeout(
      () => fail(`${program} printed no start line within ${START_MS / 1000} s`),
      START_MS,
    );
    const fail = (why: string, cause?: Error) => {
      clearTimeout(timer);
      void stop(child, 0);
      const what = complaint.trim() === "" ? "" : `: ${complaint.trim()}`;
      failed(new LocalDataPlaneError(why + what, cause === undefined ? undefined : { cause }));
    };
    child.once("error", (error) => fail(`cannot start ${program}: ${error.message}`, error));
    child.once("close", (code) => fail(`${program} ended at once with exit code ${code}`));
    child.stderr.on("data", (chunk: Buffer) => {
      // It goes on being read, so that the program never waits for us.
      if (complaint.length < 16_384) complaint += chunk.toString();
    });
    const read = (chunk: Buffer) => {
      said += chunk.toString();
      const end = said.indexOf("\n");
      if (end < 0) return;
      child.stdout.off("data", read);
      child.stdout.resume();
      let told: StartLine | undefined;
      try {
        told = JSON.parse(said.slice(0, end)) as StartLine;
      } catch {
        // Said below.
      }
      if (typeof told?.["base_url"] !== "string" || typeof told["control_token"] !== "string") {
        fail(`${program} is no ${NAME}: its first line says something else`);
        return;
      }
      clearTimeout(timer);
      child.removeAllListeners("close");
      done(told);
    };
    child.stdout.on("data", read);
  });
}

/** Asks it to go, then insists. */
function stop(child: Process, waitMs: number): Promise<void> {
  return new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      done();
      return;
    }
    child.ref();
    const timer = setTimeout(() => child.kill("SIGKILL"), waitMs);
    child.once("exit", () => {
      clearTimeout(timer);
      done();
    });
    child.stdin.destroy();
  });
}

/** The program. What was named must be there; it is never replaced by another one. */
function find(given: string | undefined): string {
  const named = given ?? (process.env[FROM_ENVIRONMENT] || undefined);
  if (named !== undefined) {
    const path = resolve(named);
    const origin =
      given === undefined ? `which ${FROM_ENVIRONMENT} names` : "which was given as binary";
    if (!existsSync(path)) throw new LocalDataPlaneError(`there is no ${path}, ${origin}`);
    return path;
  }
  const file = process.platform === "win32" ? `${NAME}.exe` : NAME;
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const found =
    packaged() ?? folders.map((folder) => join(folder, file)).find((place) => existsSync(place));
  if (found !== undefined) return found;
  throw new LocalDataPlaneError(
    `the program ${NAME} was not found: \`npm install --save-dev ${PACKAGE}\` installs it. Looked` +
      ` at: that package, PATH; ${FROM_ENVIRONMENT} is not set`,
  );
}

/**
 * Where its npm package put it. A package manager that hides what a package did not ask for still has
 * it in the project whose tests run.
 */
function packaged(): string | undefined {
  try {
    const found = require.resolve(PACKAGE, { paths: [__dirname, process.cwd()] });
    return (require(found) as { binary?: string }).binary;
  } catch {
    return undefined;
  }
}
