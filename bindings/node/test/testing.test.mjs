// The local data plane for users' own tests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LocalDataPlane, LocalDataPlaneError } from "agentcore-client/testing";
import { clientOf, failure, localDataPlane } from "./support.mjs";

const plane = await localDataPlane();

test("journal, faults, sessions", async () => {
  const client = clientOf(plane);
  await client.invoke("hi", { sessionId: "x".repeat(40) });
  assert.equal(await plane.countPosts(), 1);
  const entry = await plane.waitFor(({ kind }) => kind === "request");
  assert.ok(entry.atMs >= 0 && entry.seq > 0);
  assert.deepEqual(await plane.sessions(), [
    { runtimeArn: plane.runtimeArn, sessionId: "x".repeat(40) },
  ]);
  await plane.addFault({ resetAfterBytes: 5, headers: { "X-Kept": "As It Is" } });
  const [fault] = await plane.faults();
  assert.equal(fault.resetAfterBytes, 5);
  await plane.clearFaults();
  assert.deepEqual(await plane.faults(), []);
  await plane.clearJournal();
  assert.deepEqual(await plane.journal(), []);
});

test("what goes wrong", async () => {
  const late = await failure(plane.waitFor(() => false, { timeoutMs: 20 }));
  assert.ok(late instanceof LocalDataPlaneError);
  assert.match(late.message, /no such journal entry within 20 ms/);
  assert.ok((await failure(plane.addFault({ statsu: 1 }))) instanceof TypeError);
  assert.throws(() => plane.bearerToken, /bearer: true/);
  const missing = await failure(LocalDataPlane.start({ binary: "/no/such/program" }));
  assert.match(missing.message, /there is no .*program, which was given as binary/);
  const other = await failure(
    LocalDataPlane.start({ binary: process.execPath, args: ["--version"] }),
  );
  assert.match(other.message, /is no agentcore-local/);
  const flag = await failure(LocalDataPlane.start({ args: ["--no-such-flag"] }));
  assert.match(flag.message, /ended at once with exit code \d+: .*no-such-flag/s);
});

test("after close() there is nothing to ask", async () => {
  const own = await LocalDataPlane.start();
  await own.close();
  await own.close();
  assert.ok((await failure(own.journal())) instanceof LocalDataPlaneError);
  assert.match(own.baseUrl, /^http:/);
});
