// Builds the Next.js example as its users do: the package comes as the tarballs that are released, made
// of what `make addon` built, and the standalone folder is copied to target/nextjs-chat/server, away
// from everything that it was built from.
//
//   node build-nextjs.mjs          nextjs-chat.lock.json says which versions of the rest
//   node build-nextjs.mjs --lock   writes that file anew
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const example = here("../../examples/nextjs-chat");
const binding = here("../../bindings/node");
const lockFile = here("nextjs-chat.lock.json");
const out = here("../../target/nextjs-chat");
const [app, packages, server] = ["app", "packages", "server"].map((name) => join(out, name));
const npm = process.env.NPM ?? "npm";
const run = (command, args, cwd, options) =>
  execFileSync(command, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" },
    ...options,
  });
const install = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"];

/** Of everything that the build is made of. */
function fingerprint() {
  const hash = createHash("sha256");
  const look = (path) => {
    if (["node_modules", ".next"].includes(basename(path))) return;
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) look(join(path, name));
    } else {
      hash.update(`${path}\0`).update(readFileSync(path));
    }
  };
  const modules = readdirSync(binding).filter((name) => name.endsWith(".node"));
  for (const name of [...modules, "dist", "package.json"]) look(join(binding, name));
  for (const path of [example, lockFile, fileURLToPath(import.meta.url)]) look(path);
  return hash.digest("hex");
}

mkdirSync(app, { recursive: true });
const built = join(out, "built.stamp");
const print = existsSync(lockFile) ? fingerprint() : "";
if (!process.argv.includes("--lock") && existsSync(built)) {
  if (readFileSync(built, "utf8") === print) process.exit();
}
rmSync(built, { force: true });
const kept = new Set(["node_modules", "package.json", "package-lock.json", ".npmrc"]);
for (const name of readdirSync(app))
  if (!kept.has(name)) rmSync(join(app, name), { recursive: true });
cpSync(example, app, {
  recursive: true,
  filter: (path) => !["node_modules", ".next", "package.json"].includes(basename(path)),
});

// The package itself is not in a registry yet, so that it is installed beside what is locked.
const { dependencies, ...manifest } = JSON.parse(
  readFileSync(join(example, "package.json"), "utf8"),
);
const { "agentcore-client": _, ...others } = dependencies;
const wanted = `${JSON.stringify({ ...manifest, dependencies: others }, undefined, 2)}\n`;
const locked = existsSync(lockFile) ? readFileSync(lockFile, "utf8") : "";
if (process.argv.includes("--lock")) {
  rmSync(join(app, "package-lock.json"), { force: true });
  writeFileSync(join(app, "package.json"), wanted);
  cpSync(join(binding, ".npmrc"), join(app, ".npmrc"));
  run(npm, ["install", "--package-lock-only", ...install], app);
  cpSync(join(app, "package-lock.json"), lockFile);
  process.exit();
}
const stamp = join(app, "node_modules/installed.stamp");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted + locked) {
  writeFileSync(join(app, "package.json"), wanted);
  writeFileSync(join(app, "package-lock.json"), locked);
  run(npm, ["ci", ...install], app);
  writeFileSync(stamp, wanted + locked);
}

const addon = readdirSync(binding).find((name) => name.endsWith(".node"));
if (addon === undefined) throw new Error(`there is no native module in ${binding}: make addon`);
const platform = addon.replace(/^agentcore-client\./, "").replace(/\.node$/, "");
run("node", ["scripts/pack.mjs", packages, `${platform}=${resolve(binding, addon)}`], binding, {
  stdio: ["ignore", "ignore", "inherit"],
});
const tarballs = readdirSync(packages).filter((name) => name.endsWith(".tgz"));
const files = tarballs.map((name) => join(packages, name));
run(npm, ["install", "--no-save", "--offline", ...install, ...files], app);
run(npm, ["run", "--silent", "build"], app);
rmSync(server, { recursive: true, force: true });
cpSync(join(app, ".next/standalone"), server, { recursive: true, verbatimSymlinks: true });
writeFileSync(built, print);
