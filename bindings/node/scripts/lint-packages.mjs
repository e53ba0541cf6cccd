// What publint and attw (Are the types wrong?) say about the tarballs: any complaint is a failure.
//
//   node scripts/lint-packages.mjs OUT     what scripts/pack.mjs made
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const out = resolve(process.argv[2] ?? "npm");
const attw = join(here, "node_modules/@arethetypeswrong/cli/dist/index.js");

for (const { name, filename } of JSON.parse(readFileSync(join(out, "packages.json"), "utf8"))) {
  const file = join(out, filename);
  const { buffer } = new Uint8Array(readFileSync(file));
  const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true });
  for (const message of messages) console.error(`${name}: ${formatMessage(message, pkg)}`);
  if (messages.length > 0) process.exitCode = 1;
  // The others hold one binary, and no types.
  const typed = pkg.types !== undefined;
  if (typed) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [attw, file, "--format", "ascii", "--no-color", "--no-emoji"],
      { encoding: "utf8" },
    );
    if (status !== 0) {
      console.error(`${stdout}${stderr}`);
      process.exitCode = 1;
    }
  }
  console.log(`${name}: ${typed ? "publint, attw" : "publint"}`);
}
