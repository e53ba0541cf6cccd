// An agent written with the official TypeScript SDK, for tests to call: the counterpart of
// tests/interop/agents/agent.py. It takes a free port on 127.0.0.1, prints one JSON line with its
// URL when it accepts connections, and ends when its standard input closes.
//
// The payload's `case` selects what it does; see CASES.

// The SDK sends a heartbeat every 30 seconds and has no setting for that. Tests don't wait so long:
// only the clock is faster, the bytes are the SDK's.
const setIntervalAsItIs = globalThis.setInterval;
globalThis.setInterval = (callback, ms, ...more) =>
  setIntervalAsItIs(callback, ms === 30_000 ? 20 : ms, ...more);
const { BedrockAgentCoreApp } = await import("bedrock-agentcore/runtime");

const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));
let left = 0;
const calls = new Map();

const CASES = {
  json: ({ prompt }, { sessionId }) => ({ prompt, sessionId }),
  text: ({ prompt }) => `You said "${prompt}".\nGrüße 🙂`,
  nothing: () => undefined,
  headers: (_, { headers }) => headers,
  calls: () => Object.fromEntries(calls),
  left: () => left,
  error: () => {
    throw new Error("the tool failed on purpose");
  },
  async *stream({ tokens = ["Grüße", ", ", "世界", " 🙂", "end."], pause: ms = 0 }) {
    for (const token of tokens) {
      yield token;
      if (ms > 0) await pause(ms);
    }
  },
  /** Whatever the SDK takes: text of several lines, objects, names, ids, times to retry. */
  async *kinds() {
    yield "one\n two\n\nfour";
    yield "";
    yield { answer: 42 };
    yield { event: "tool", id: "7", data: { name: "look-up" }, retry: 10 };
    yield 3;
    yield null;
    yield Buffer.from("bytes");
  },
  async *heartbeats() {
    await pause(100);
    yield "late";
    await pause(100);
    yield "later";
  },
  async *error_during() {
    yield "one";
    yield "two";
    throw new Error("failed after two tokens");
  },
  /** Notes when it is told that its caller left. */
  async *endless() {
    try {
      for (;;) {
        yield "more";
        await pause(5);
      }
    } finally {
      left += 1;
    }
  },
};

const app = new BedrockAgentCoreApp({
  invocationHandler: {
    process: (request, context) => {
      const name = request?.case ?? "json";
      calls.set(name, (calls.get(name) ?? 0) + 1);
      return CASES[name](request, context);
    },
  },
  config: {
    logging: {
      // Its port stands nowhere but in its log.
      options: {
        level: "info",
        stream: {
          write(line) {
            const url = /Server listening at (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
            if (url !== undefined) console.log(JSON.stringify({ ready: true, url }));
          },
        },
      },
    },
  },
});
process.stdin.on("end", () => process.exit(0)).resume();
app.run({ host: "127.0.0.1", port: 0 });
