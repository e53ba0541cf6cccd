// From nothing to the first event with our client: a script as a user writes it.
import { AgentCoreClient } from "agentcore-client";

const [endpointUrl, runtimeArn, payload] = process.argv.slice(2);
const client = new AgentCoreClient({ runtimeArn, endpointUrl });
for await (const event of await client.stream(JSON.parse(payload))) {
  console.log(event.text);
  break;
}
