// Builds the native module and puts it where the package looks for it: `make addon`. What is
// published is built by the release workflow, for each platform.
import { spawnSync } from "node:child_process";
import { copyFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { here as machine } from "./platform.mjs";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const built = spawnSync(
  process.env.CARGO ?? "cargo",
  ["build", "--locked", "-p", "agentcore-client-node", "--message-format=json-render-diagnostics"],
  { cwd: here, stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 },
);
if (built.error) throw built.error;
if (built.status !== 0) process.exit(built.status ?? 1);

const library = built.stdout
  .toString()
  .split("\n")
  .filter((line) => line.startsWith("{"))
  .map((line) => JSON.parse(line))
  .filter((message) => message.target?.name === "agentcore_client_node")
  .flatMap((message) => message.filenames ?? [])
  .find((file) => /\.(so|dylib|dll)$/.test(file));
if (library === undefined) throw new Error("cargo named no library");

const target = join(here, `agentcore-client.${machine.module}.node`);
// In two steps, since a process that runs may have the old one mapped.
copyFileSync(library, `${target}.new`);
renameSync(`${target}.new`, target);
console.log(target);
