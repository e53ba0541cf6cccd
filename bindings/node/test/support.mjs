// What the tests share: a data plane for each file, and clients of it.
import { createServer } from "node:http";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { AgentCoreClient } from "agentcore-client";
import { LocalDataPlane } from "agentcore-client/testing";

// The tests talk to this machine only, and as nobody in particular.
for (const name of Object.keys(process.env)) {
  if (/^(https?_proxy|all_proxy|aws_.*|agent_runtime_.*)$/i.test(name)) delete process.env[name];
}
process.env.AGENTCORE_LOCAL_BIN ??= fileURLToPath(
  new URL(
    `${process.env.CARGO_TARGET_DIR ?? "../../../target"}/debug/agentcore-local`,
    import.meta.url,
  ),
);

/** A data plane for the tests of one file. */
export async function localDataPlane(options) {
  const plane = await LocalDataPlane.start(options);
  after(() => plane.close());
  return plane;
}

/** A client of it, closed at the end of the file. */
export function clientOf(plane, options = {}) {
  const client = new AgentCoreClient({ ...plane.clientOptions(), ...options });
  after(() => client.close());
  return client;
}

/** An agent on this machine that answers as the test says, step by step. */
export async function scriptedAgent(answer, options = {}) {
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => answer(response, Buffer.concat(chunks), request));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  const localUrl = `http://127.0.0.1:${server.address().port}`;
  const client = new AgentCoreClient({ localUrl, ...options });
  after(() => client.close());
  return client;
}

/** What a promise rejects with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

/** Everything that an iterable gives. */
export async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

export const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));
