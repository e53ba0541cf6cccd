// The function that the relay's tests put behind the local gateway.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { AgentCoreClient } from "agentcore-client";
import { Refused, WebSocketRelay } from "agentcore-client/apigateway";

const { CLAIMS } = process.env;

/** Of all processes, one makes the file. */
async function claim(nonce) {
  await undefined;
  try {
    writeFileSync(join(CLAIMS, nonce), "", { flag: "wx" });
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
  return true;
}

const relay = new WebSocketRelay(new AgentCoreClient(), {
  heartbeat: 500,
  claim: CLAIMS && claim,
  async payload(body, message) {
    if (typeof message.sessionId !== "string") throw new TypeError("no session");
    await undefined;
    if (body.refuse) throw new Refused("not today");
    if (body.fail) throw new Error("a secret");
    return body.ask ?? { prompt: body.prompt };
  },
});

export const handler = relay.handle;
