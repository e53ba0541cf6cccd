/*
 * Who calls: AWS credentials or a bearer token, fixed or from a function. Functions are asked by
 * JavaScript between two polls of a call, never within native code: a slow one stalls nobody else.
 */
import type { AsyncLocalStorage } from "node:async_hooks";
import { pointInTime, text, wrongType } from "./check.js";
import { CredentialsError, refused } from "./errors.js";
import type { Auth, Credentials, Question } from "./native.js";

/** What the core asks for credentials or tokens. */
export class Provider {
  readonly #ask: () => unknown;

  constructor(ask: () => unknown) {
    this.#ask = ask;
  }

  /** A provider that calls the agent it is to authorise would wait for itself. */
  refuseRecursion(): void {
    if (asking?.getStore()?.has(this) === true) {
      throw new CredentialsError(
        "the credential or token provider uses the client that is asking it; give it a client with" +
          " other credentials",
        { delivery: "not_sent" },
      );
    }
  }

  /** Hands over what the function gives; `onError` is told what it throws. Never rejects. */
  async answer(question: Question, onError: (cause: unknown) => void): Promise<void> {
    try {
      const given = await this.#given();
      if (question.wantsToken) question.answerToken(text("bearerToken", given));
      else question.answerCredentials(credentials(given));
    } catch (error) {
      // What it says may be secret: it goes along as the cause, not in a message.
      onError(error);
      question.fail();
    }
  }

  async #given(): Promise<unknown> {
    if (asking === undefined) {
      const hooks = require("node:async_hooks") as typeof import("node:async_hooks");
      asking = new hooks.AsyncLocalStorage();
    }
    const store = asking;
    underWay += 1;
    try {
      const outer = store.getStore() ?? [];
      return await store.run(new Set([...outer, this]), async () => this.#ask());
    } finally {
      underWay -= 1;
      // On Node 20 and 22 a storage in use makes every promise of the process dearer.
      if (underWay === 0) store.disable();
    }
  }
}

/** The providers that are being asked for the code that runs right now. */
let asking: AsyncLocalStorage<ReadonlySet<Provider>> | undefined;
let underWay = 0;

/** What the core is told about auth, and whom it will ask. */
export function authOf(
  credentialsGiven: unknown,
  tokenGiven: unknown,
): { auth: Auth | undefined; provider: Provider | undefined } {
  if (credentialsGiven !== undefined && tokenGiven !== undefined) {
    throw refused(
      "auth",
      "credentials and a bearer token",
      "a runtime takes one kind; give one of them",
    );
  }
  if (tokenGiven !== undefined) {
    if (typeof tokenGiven === "string") {
      return { auth: { bearer: text("bearerToken", tokenGiven) }, provider: undefined };
    }
    if (typeof tokenGiven === "function") {
      const provider = new Provider(() => tokenGiven());
      return { auth: { askForToken: true }, provider };
    }
    throw wrongType("bearerToken", tokenGiven, "a string or a function");
  }
  if (credentialsGiven === undefined) return { auth: undefined, provider: undefined };
  if (typeof credentialsGiven === "function") {
    const provider = new Provider(() => credentialsGiven());
    return { auth: { askForCredentials: true }, provider };
  }
  return { auth: { credentials: credentials(credentialsGiven) }, provider: undefined };
}

function credentials(given: unknown): Credentials {
  if (typeof given !== "object" || given === null) {
    throw wrongType(
      "credentials",
      given,
      "an object with accessKeyId and secretAccessKey, or a function that gives one",
    );
  }
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = given as Partial<
    Record<string, unknown>
  >;
  return {
    accessKeyId: text("credentials.accessKeyId", accessKeyId),
    secretAccessKey: text("credentials.secretAccessKey", secretAccessKey),
    ...(sessionToken === undefined || sessionToken === null
      ? {}
      : { sessionToken: text("credentials.sessionToken", sessionToken) }),
    ...(expiration === undefined || expiration === null
      ? {}
      : { expiration: pointInTime("credentials.expiration", expiration) }),
  };
}
