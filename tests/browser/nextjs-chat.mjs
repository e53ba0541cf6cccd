// The Next.js example for people: the build that the tests use, with a demo agent. `make nextjs-chat`
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LocalDataPlane } from "../../bindings/node/dist/testing/index.mjs";
import { startAgent } from "./agent.mjs";
import { environmentOf } from "./browser.mjs";

const agent = await startAgent();
const plane = await LocalDataPlane.start({ agent: agent.url });
spawn(process.execPath, ["server.js"], {
  cwd: fileURLToPath(new URL("../../target/nextjs-chat/server", import.meta.url)),
  stdio: "inherit",
  env: {
    HOSTNAME: "127.0.0.1",
    ...process.env,
    ...environmentOf(plane),
    NEXT_TELEMETRY_DISABLED: "1",
    SESSION_SECRET: "sixteen bytes or more",
  },
});
