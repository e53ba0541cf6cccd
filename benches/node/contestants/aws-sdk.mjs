// The AWS SDK. What it gives is bytes, so events are made of them in the shortest way that is right
// for any chunk: decoded, split at blank lines, the JSON behind each `data: ` parsed.
import {
  BedrockAgentCoreClient,
  InvokeAgentRuntimeCommand,
} from "@aws-sdk/client-bedrock-agentcore";
import { ARN, REGION, run, SESSION } from "./measure.mjs";

/** Gives the texts of the events that a chunk completes. */
function splitter() {
  const decoder = new TextDecoder();
  let rest = "";
  return (chunk) => {
    const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = events.pop();
    return events
      .filter((event) => event.startsWith("data: "))
      .map((event) => JSON.parse(event.slice(6)));
  };
}

run((endpoint, { together = 1, streams = 0 }) => {
  const client = new BedrockAgentCoreClient({
    region: REGION,
    endpoint,
    // One connection for each stream, and one for the call that starts them; its default is 50.
    requestHandler: {
      httpAgent: { keepAlive: true, maxSockets: Math.max(50, together, streams + 1) },
    },
  });
  const invoke = async (payload, accept) => {
    const command = new InvokeAgentRuntimeCommand({
      agentRuntimeArn: ARN,
      runtimeSessionId: SESSION,
      contentType: "application/json",
      accept,
      payload,
    });
    return (await client.send(command)).response;
  };
  return {
    async call(payload) {
      return (await invoke(payload, "application/json")).transformToByteArray();
    },

    async drain(payload) {
      const textsOf = splitter();
      let count = 0;
      let last = "";
      for await (const chunk of await invoke(payload, "text/event-stream")) {
        for (const text of textsOf(chunk)) {
          count += 1;
          last = text;
        }
      }
      return { count, last };
    },

    async follow(payload, each, stay) {
      const textsOf = splitter();
      for await (const chunk of await invoke(payload, "text/event-stream")) {
        for (const text of textsOf(chunk)) {
          if (each(text) && stay !== undefined) {
            await stay;
            return;
          }
        }
      }
    },

    close: () => client.destroy(),
  };
});
