// An agent that does what its prompt says, so that a page which knows nothing of tests can be tested.
import { createServer } from "node:http";

const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** 1 KiB and more in 600 characters. */
export const largeToken = (n) => `${n} `.padEnd(600, "é");

/**
 * What it understands; everything else it repeats, with all that it was told before in the session.
 *
 *   count 20 50   the numbers below 20, as tokens, one each 50 ms
 *   large 300     so many tokens of a KiB and more, as fast as they are taken
 *   fail          some tokens, then the error event of the official SDK
 *   think 1500    nothing for so long, then an answer
 *   for ever      a token each 20 ms until somebody leaves
 */
export async function startAgent() {
  const sessions = new Map();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (request.method !== "POST") return response.end("{}");
    const { prompt } = JSON.parse(Buffer.concat(chunks));
    const session = request.headers["x-amzn-bedrock-agentcore-runtime-session-id"];
    const earlier = sessions.get(session) ?? [];
    sessions.set(session, [...earlier, prompt]);
    response.writeHead(200, { "content-type": "text/event-stream", "set-cookie": "agent=1" });
    response.flushHeaders();
    const say = (data) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    const [what, ...numbers] = prompt.split(" ");
    const [first = 0, second = 0] = numbers.map(Number);
    if (what === "count") {
      for (let n = 0; n < first && !response.destroyed; n++) {
        if (n > 0 && second > 0) await pause(second);
        // When it was said, for those who measure how long it was on its way.
        say(prompt.endsWith("timed") ? `${n}@${Date.now()} ` : `${n} `);
      }
    } else if (what === "large") {
      for (let n = 0; n < first; n++) say(largeToken(n));
    } else if (prompt === "fail") {
      say("Well, ");
      say("I ");
      say({ error: "a secret of the agent", error_type: "ValueError", message: "it failed" });
    } else if (what === "think") {
      await pause(first);
      say("Now I know.");
    } else if (prompt === "for ever") {
      for (let n = 0; !response.destroyed; n++) {
        say(`${n} `);
        await pause(20);
      }
    } else {
      const before = earlier.length > 0 ? ` You said earlier: ${earlier.join(", ")}.` : "";
      for (const word of `You said: ${prompt}.${before}`.split(/(?<= )/)) {
        say(word);
        await pause(5);
      }
    }
    response.end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
