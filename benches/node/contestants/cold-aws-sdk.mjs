// From nothing to the first event with the AWS SDK: a script as a user writes it.
import {
  BedrockAgentCoreClient,
  InvokeAgentRuntimeCommand,
} from "@aws-sdk/client-bedrock-agentcore";

const [endpoint, agentRuntimeArn, payload] = process.argv.slice(2);
const region = agentRuntimeArn.split(":")[3];
const client = new BedrockAgentCoreClient({ region, endpoint });
const answer = await client.send(
  new InvokeAgentRuntimeCommand({ agentRuntimeArn, contentType: "application/json", payload }),
);
const decoder = new TextDecoder();
let text = "";
for await (const chunk of answer.response) {
  text += decoder.decode(chunk, { stream: true });
  const end = text.indexOf("\n\n");
  if (end >= 0) {
    console.log(JSON.parse(text.slice("data: ".length, end)));
    break;
  }
}
