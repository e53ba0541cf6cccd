// Streams an agent's answer to the terminal, token by token.
//
//   export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//   node stream.mjs "What can you do for me?"
//
// Credentials are found as the AWS tools find them. With AGENTCORE_LOCAL_URL=http://127.0.0.1:8080 it
// asks an agent container on this machine instead.
import { AgentCoreClient, AgentCoreError } from "agentcore-client";

const prompt = process.argv.slice(2).join(" ") || "Hi";
try {
  const client = new AgentCoreClient();
  const stream = await client.stream({ prompt });
  for await (const text of stream.textDeltas()) process.stdout.write(text);
  process.stdout.write("\n");
} catch (error) {
  if (!(error instanceof AgentCoreError)) throw error;
  // One line that says what to do next; it holds no secrets.
  console.error(`\nstream.mjs: ${error.message}`);
  process.exitCode = 1;
}
