// A conversation of two turns in one session, then its end.
//
//   export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//   export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
//   node resume.mjs
//
// The session id is derived from what your application knows anyway, so nothing has to be stored: the
// same tenant, user and conversation give the same id in every process and in every language. The
// service does not check who owns a session, which is why the id needs a secret.
import {
  AgentCoreClient,
  AgentCoreError,
  ResourceNotFoundException,
  SessionId,
} from "agentcore-client";

const sessionOf = (tenant, user, conversation) =>
  SessionId.derive(process.env.SESSION_SECRET ?? "", tenant, user, conversation);

try {
  const client = new AgentCoreClient();
  let sessionId = sessionOf("acme", "user-42", "conversation-1");
  console.log((await client.invoke({ prompt: "My name is Ada." }, { sessionId })).text);

  // Later, perhaps in another process:
  sessionId = sessionOf("acme", "user-42", "conversation-1");
  console.log((await client.invoke({ prompt: "What is my name?" }, { sessionId })).text);

  // A session costs money until it is stopped or times out.
  try {
    await client.stopSession(sessionId);
  } catch (error) {
    // It had timed out already.
    if (!(error instanceof ResourceNotFoundException)) throw error;
  }
} catch (error) {
  if (!(error instanceof AgentCoreError)) throw error;
  // One line that says what to do next; it holds no secrets.
  console.error(`resume.mjs: ${error.message}`);
  process.exitCode = 1;
}
