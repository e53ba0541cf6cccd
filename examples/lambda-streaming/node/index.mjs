// A Lambda function that streams an agent's answer to whoever calls its function URL.
//
// template.yaml deploys it: `sam build && sam deploy --guided`. Callers sign their requests (AuthType
// AWS_IAM); behind CloudFront, an origin access control does that for browsers.
import { AgentCoreClient, InvalidInputError, readJson, SessionId } from "agentcore-client";
import { streamHandler } from "agentcore-client/lambda";

// Outside of the handler: calls share its connections and credentials.
const client = new AgentCoreClient();

export const handler = streamHandler(
  async (request, { event, timeouts, signal }) => {
    const { prompt, conversation } = await readJson(request);
    if (typeof prompt !== "string" || prompt === "") {
      throw new InvalidInputError("prompt: absent; must be text", {
        delivery: "not_sent",
        field: "prompt",
      });
    }
    // Who signed, never what the body says.
    const { userId } = event.requestContext.authorizer.iam;
    const { SESSION_SECRET } = process.env;
    const sessionId = SessionId.derive(SESSION_SECRET, userId, String(conversation ?? ""));
    return client.stream({ prompt }, { sessionId, timeouts, signal });
  },
  { heartbeat: 15_000 },
);
