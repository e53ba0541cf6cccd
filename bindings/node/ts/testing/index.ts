/**
 * For your tests: a local data plane that answers as Amazon Bedrock AgentCore Runtime does. For
 * vitest, jest and node:test alike.
 *
 * ```ts
 * import { AgentCoreClient } from "agentcore-client";
 * import { LocalDataPlane } from "agentcore-client/testing";
 *
 * const plane = await LocalDataPlane.start();
 * const client = new AgentCoreClient(plane.clientOptions());
 * console.log((await client.invoke({ prompt: "Hi" })).text);
 * assert.equal(await plane.countPosts(), 1);
 * await plane.close();
 * ```
 *
 * @packageDocumentation
 */
export {
  type Fault,
  type JournalEntry,
  LocalDataPlane,
  LocalDataPlaneError,
  type LocalDataPlaneOptions,
} from "./local.js";
