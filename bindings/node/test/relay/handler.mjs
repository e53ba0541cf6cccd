// The function that the relay's tests put behind the local gateway.
import { AgentCoreClient } from "agentcore-client";
import { Refused, WebSocketRelay } from "agentcore-client/apigateway";

const relay = new WebSocketRelay(new AgentCoreClient(), {
  heartbeat: 500,
  async payload(body, message) {
    if (typeof message.sessionId !== "string") throw new TypeError("no session");
    await undefined;
    if (body.refuse) throw new Refused("not today");
    if (body.fail) throw new Error("a secret");
    return body.ask ?? { prompt: body.prompt };
  },
});

export const handler = relay.handle;
