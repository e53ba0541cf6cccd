// Calls a runtime that wants bearer tokens (a JWT authorizer), with tokens that are renewed.
//
//   export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//   export TOKEN_URL=https://example.auth.us-west-2.amazoncognito.com/oauth2/token
//   export CLIENT_ID=… CLIENT_SECRET=…
//   node bearer.mjs
//
// The client asks the function at every attempt, so it keeps its token until shortly before that
// expires. What it throws becomes the cause of a CredentialsError.
import { AgentCoreClient, AgentCoreError, InvalidInputError } from "agentcore-client";

/** Tokens of the OAuth 2.0 client-credentials grant. */
function tokens(url, clientId, clientSecret) {
  let granted;
  let renewAt = 0;
  const renew = async () => {
    const answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "client_credentials",
        client_id: clientId,
        client_secret: clientSecret,
      }),
      signal: AbortSignal.timeout(5_000),
    });
    if (!answer.ok) throw new Error(`the token endpoint says ${answer.status}`);
    const { access_token: token, expires_in: seconds } = await answer.json();
    renewAt = Date.now() + (seconds - 60) * 1000;
    return token;
  };
  return () => {
    // Whoever comes while one is being fetched waits for the same one.
    if (Date.now() >= renewAt) {
      renewAt = Number.POSITIVE_INFINITY;
      granted = renew().catch((error) => {
        renewAt = 0;
        throw error;
      });
    }
    return granted;
  };
}

try {
  const [url, id, secret] = ["TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"].map((name) => {
    const value = process.env[name];
    if (value === undefined) throw new InvalidInputError(`set ${name}`);
    return value;
  });
  const client = new AgentCoreClient({ bearerToken: tokens(url, id, secret) });
  for (const prompt of ["Hi", "And again"]) console.log((await client.invoke({ prompt })).text);
} catch (error) {
  if (!(error instanceof AgentCoreError)) throw error;
  // One line that says what to do next; it holds no secrets.
  console.error(`bearer.mjs: ${error.message}`);
  process.exitCode = 1;
}
