// The one client of this server, and what its routes ask it.
import { AsyncLocalStorage } from "node:async_hooks";
import { AgentCoreClient, type AgentStream, InvalidInputError, readJson } from "agentcore-client";
import { tokenOfUser, usersLogIn } from "./login";
import { refuseOtherSites } from "./origin";
import { sessionOf } from "./session";

const PROMPT_BYTES = 32_000;

/** Whose request it is, for the token provider. */
const token = new AsyncLocalStorage<string>();
let client: AgentCoreClient | undefined;

/**
 * Made at the first call: the build loads this file, too, and knows of no runtime. A runtime takes
 * one kind of auth: signatures of this server's role (the default credentials), or the users' tokens.
 */
function agent(): AgentCoreClient {
  client ??= new AgentCoreClient({
    // So that the server can stop: an agent may take 15 minutes to answer.
    timeouts: { total: 300_000 },
    ...(usersLogIn() && { bearerToken: () => token.getStore() ?? "" }),
  });
  return client;
}

/** Asks the agent, in the session of this request's cookie. */
export async function ask(prompt: string, signal: AbortSignal): Promise<AgentStream> {
  const user = usersLogIn() ? await tokenOfUser() : undefined;
  const sessionId = await sessionOf(user?.id ?? "anonymous");
  const call = () => agent().stream({ prompt }, { sessionId, signal });
  return user === undefined ? call() : token.run(user.token, call);
}

/** The prompt in a request's body, or an error that says what is wrong. */
export async function promptOf(request: Request): Promise<string> {
  refuseOtherSites(request);
  const body = await readJson<{ prompt?: unknown } | null>(request, { limit: PROMPT_BYTES });
  const prompt = body?.prompt;
  if (typeof prompt !== "string" || prompt.trim() === "") {
    throw new InvalidInputError("prompt: absent; must be text", {
      delivery: "not_sent",
      field: "prompt",
    });
  }
  return prompt;
}
