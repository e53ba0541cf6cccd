// Asks fifty questions, ten at a time.
//
//   export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
//   node fan-out.mjs
//
// One client serves all and keeps the connections. Each question gets a session of its own. The limit
// protects the account's quota of new sessions; what is throttled all the same, the client tries again
// by itself. Ctrl-C ends the calls and closes every connection at once.
import { AgentCoreClient, AgentCoreError } from "agentcore-client";

const AT_ONCE = 10;
const controller = new AbortController();
process.once("SIGINT", () => controller.abort());

async function ask(client, prompt) {
  try {
    return (await client.invoke({ prompt }, { signal: controller.signal })).text;
  } catch (error) {
    if (!(error instanceof AgentCoreError)) throw error;
    // One failure must not cost the other answers. "not_sent" and "rejected" may be asked again; the
    // others may have run.
    return `failed, ${error.delivery}: ${error.message}`;
  }
}

try {
  const client = new AgentCoreClient();
  const prompts = Array.from({ length: 50 }, (_, n) => `Question ${n + 1}`);
  const answers = new Map();
  const left = prompts.values();
  const workers = Array.from({ length: AT_ONCE }, async () => {
    // They share one iterator, so each question is asked once.
    for (const prompt of left) answers.set(prompt, await ask(client, prompt));
  });
  await Promise.all(workers);
  for (const prompt of prompts) console.log(`${prompt}: ${answers.get(prompt)}`);
} catch (error) {
  if (!(error instanceof AgentCoreError)) throw error;
  // One line that says what to do next; it holds no secrets.
  console.error(`fan-out.mjs: ${error.message}`);
  process.exitCode = 1;
}
