// The production build of the Next.js example as a process, started from the copied folder.
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { backend, environmentOf } from "./browser.mjs";

const built = fileURLToPath(new URL("../../target/nextjs-chat/server", import.meta.url));

/** Starts it; `url` is where, and `child` the process. */
export async function startNextjs(plane, env = {}, nodeFlags = []) {
  // Away from the repository, whose node_modules would be found otherwise.
  const folder = mkdtempSync(join(tmpdir(), "agentcore-nextjs-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(built, folder, { recursive: true, verbatimSymlinks: true });
  const server = await backend(process.execPath, [...nodeFlags, "server.js"], {
    cwd: folder,
    env: {
      ...environmentOf(plane),
      NODE_ENV: "production",
      NEXT_TELEMETRY_DISABLED: "1",
      HOSTNAME: "127.0.0.1",
      PORT: String(await freePort()),
      SESSION_SECRET: "sixteen bytes or more",
      ...env,
    },
    ready: /http:\/\/127\.0\.0\.1:\d+/,
  });
  return { ...server, url: server.match[0] };
}

async function freePort() {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}
