// Makes the folders that are published: the package itself, and one for each platform with nothing
// but the native module, of which npm installs the one that fits (`os`, `cpu`, `libc`).
//
//   node scripts/pack.mjs OUT NAME=FILE …     e.g. linux-x64-gnu=libagentcore_client_node.so
//
// The platform packages are named here and not in package.json: a lock file would have to hold them
// before they exist.
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PLATFORMS = {
  "linux-x64-gnu": { os: "linux", cpu: "x64", libc: "glibc" },
  "linux-arm64-gnu": { os: "linux", cpu: "arm64", libc: "glibc" },
  "linux-x64-musl": { os: "linux", cpu: "x64", libc: "musl" },
  "linux-arm64-musl": { os: "linux", cpu: "arm64", libc: "musl" },
  "darwin-x64": { os: "darwin", cpu: "x64" },
  "darwin-arm64": { os: "darwin", cpu: "arm64" },
  "win32-x64-msvc": { os: "win32", cpu: "x64" },
};

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const [out, ...given] = process.argv.slice(2);
if (out === undefined || given.length === 0) {
  console.error("usage: node scripts/pack.mjs OUT NAME=FILE …");
  process.exit(2);
}
const { devDependencies, overrides, scripts, ...manifest } = JSON.parse(
  readFileSync(join(here, "package.json"), "utf8"),
);
const { version, license, repository, engines } = manifest;
const write = (folder, content) =>
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(content, undefined, 2)}\n`);

rmSync(out, { recursive: true, force: true });
for (const pair of given) {
  const at = pair.indexOf("=");
  const name = pair.slice(0, at);
  const platform = PLATFORMS[name];
  if (platform === undefined) throw new Error(`unknown platform: ${name}`);
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  const main = `agentcore-client.${name}.node`;
  copyFileSync(pair.slice(at + 1), join(folder, main));
  copyFileSync(join(here, "LICENSE"), join(folder, "LICENSE"));
  writeFileSync(
    join(folder, "README.md"),
    `# @agentcore-client/${name}\n\nThe native module of [agentcore-client](https://www.npmjs.com/package/agentcore-client) for this platform.\n`,
  );
  write(folder, {
    name: `@agentcore-client/${name}`,
    version,
    description: `The native module of agentcore-client for ${name}`,
    license,
    repository,
    engines,
    main,
    files: [main],
    ...Object.fromEntries(Object.entries(platform).map(([key, value]) => [key, [value]])),
  });
}

const folder = join(out, "agentcore-client");
mkdirSync(folder);
cpSync(join(here, "dist"), join(folder, "dist"), { recursive: true });
for (const file of ["README.md", "LICENSE"]) copyFileSync(join(here, file), join(folder, file));
const names = given.map((pair) => pair.slice(0, pair.indexOf("=")));
write(folder, {
  ...manifest,
  optionalDependencies: Object.fromEntries(
    names.sort().map((name) => [`@agentcore-client/${name}`, version]),
  ),
});
console.log([...names, "agentcore-client"].map((name) => join(out, name)).join("\n"));
