// Our client.
import { AgentCoreClient } from "agentcore-client";
import { ARN, run, SESSION } from "./measure.mjs";

const OPTIONS = { contentType: "application/json", sessionId: SESSION };

run((endpointUrl) => {
  const client = new AgentCoreClient({ runtimeArn: ARN, endpointUrl });
  return {
    async call(payload) {
      return (await client.invoke(payload, OPTIONS)).bytes;
    },

    async drain(payload) {
      let count = 0;
      let last = "";
      for await (const event of await client.stream(payload, OPTIONS)) {
        if (event.text !== undefined) {
          count += 1;
          last = event.text;
        }
      }
      return { count, last };
    },

    async follow(payload, each, stay) {
      for await (const event of await client.stream(payload, OPTIONS)) {
        if (each(event.text ?? "") && stay !== undefined) {
          await stay;
          return;
        }
      }
    },

    close: () => client.close(),
  };
});
