// Makes the tarballs that are published: `agentcore-client` and `@agentcore-client/local`, and for each
// platform one with nothing but the native module, or the program. npm installs those that fit (`os`,
// `cpu`, `libc`).
//
//   node scripts/pack.mjs OUT NAME=FILE …     e.g. linux-x64-gnu=libagentcore_client_node.so
//                                                  local-linux-x64=agentcore-local
//
// The names `module` and `program` stand for those of this machine.
//
// OUT/packages.json names the tarballs in the order in which they are published: whoever installs a
// package must find those of the platforms.
//
// The platform packages are named here and not in package.json: a lock file would have to hold them
// before they exist.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { here as machine } from "./platform.mjs";

const MODULES = {
  "linux-x64-gnu": { os: "linux", cpu: "x64", libc: "glibc" },
  "linux-arm64-gnu": { os: "linux", cpu: "arm64", libc: "glibc" },
  "linux-x64-musl": { os: "linux", cpu: "x64", libc: "musl" },
  "linux-arm64-musl": { os: "linux", cpu: "arm64", libc: "musl" },
  "darwin-x64": { os: "darwin", cpu: "x64" },
  "darwin-arm64": { os: "darwin", cpu: "arm64" },
  "win32-x64-msvc": { os: "win32", cpu: "x64" },
};
// A program can be linked statically, a module for Node.js cannot: one for all of Linux.
const PROGRAMS = {
  "local-linux-x64": { os: "linux", cpu: "x64" },
  "local-linux-arm64": { os: "linux", cpu: "arm64" },
  "local-darwin-x64": { os: "darwin", cpu: "x64" },
  "local-darwin-arm64": { os: "darwin", cpu: "arm64" },
  "local-win32-x64": { os: "win32", cpu: "x64" },
};

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const [given, ...pairs] = process.argv.slice(2);
const files = new Map(
  pairs.map((pair) => {
    const at = pair.indexOf("=");
    const name = pair.slice(0, at);
    return [machine[name] ?? name, pair.slice(at + 1)];
  }),
);
if (given === undefined || files.size === 0) {
  console.error("usage: node scripts/pack.mjs OUT NAME=FILE …");
  process.exit(2);
}
const out = resolve(given);
const { devDependencies, overrides, scripts, ...manifest } = JSON.parse(
  readFileSync(join(here, "package.json"), "utf8"),
);
const { version, license, repository, engines } = manifest;
const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const published = [];

/** A folder of its own, and the tarball of what is in it. */
function pack(name, content, fill) {
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  fill(folder);
  copyFileSync(join(here, "LICENSE"), join(folder, "LICENSE"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(content, undefined, 2)}\n`);
  const told = execFileSync(npm, ["pack", "--json", "--silent", "--pack-destination", out], {
    cwd: folder,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  const [{ filename, size, unpackedSize }] = JSON.parse(told);
  published.push({ name: content.name, filename, size });
  console.log(`${filename}: ${size} bytes packed, ${unpackedSize} unpacked`);
}

function platformPackage(name, platform, file, more, what) {
  const content = {
    name: `@agentcore-client/${name}`,
    version,
    description: `${what} for ${platform.os} on ${platform.cpu}`,
    license,
    repository,
    engines,
    type: "commonjs",
    ...more,
    files: [file],
    ...Object.fromEntries(Object.entries(platform).map(([key, value]) => [key, [value]])),
  };
  pack(name, content, (folder) => {
    copyFileSync(files.get(name), join(folder, file));
    // Whoever uploads and downloads it may have lost that it can be run.
    if (name in PROGRAMS) chmodSync(join(folder, file), 0o755);
    writeFileSync(
      join(folder, "README.md"),
      `# @agentcore-client/${name}\n\n${what} for this platform.\n`,
    );
  });
}

const optional = (names) =>
  Object.fromEntries(names.sort().map((name) => [`@agentcore-client/${name}`, version]));

rmSync(out, { recursive: true, force: true });
const names = [...files.keys()];
for (const name of names) {
  if (name in MODULES) {
    const file = `agentcore-client.${name}.node`;
    const what =
      "The native module of [agentcore-client](https://www.npmjs.com/package/agentcore-client)";
    platformPackage(name, MODULES[name], file, { main: file }, what);
  } else if (name in PROGRAMS) {
    const file = PROGRAMS[name].os === "win32" ? "agentcore-local.exe" : "agentcore-local";
    const what =
      "The program of [@agentcore-client/local](https://www.npmjs.com/package/@agentcore-client/local)";
    // Yarn would keep it in an archive, where it can't be run.
    platformPackage(name, PROGRAMS[name], file, { preferUnplugged: true }, what);
  } else throw new Error(`unknown platform: ${name}`);
}

const programs = names.filter((name) => name in PROGRAMS);
if (programs.length > 0) {
  const content = {
    name: "@agentcore-client/local",
    version,
    description: "A local data plane for Amazon Bedrock AgentCore Runtime, for tests without AWS",
    keywords: [...manifest.keywords, "testing"],
    license,
    repository: { ...repository, directory: "crates/agentcore-local" },
    type: "commonjs",
    main: "./index.js",
    types: "./index.d.ts",
    exports: {
      ".": { types: "./index.d.ts", default: "./index.js" },
      "./package.json": "./package.json",
    },
    bin: { "agentcore-local": "bin.js" },
    files: ["index.js", "index.d.ts", "bin.js"],
    engines,
    optionalDependencies: optional(programs),
  };
  pack("local", content, (folder) => {
    for (const file of ["index.js", "index.d.ts", "bin.js", "README.md"]) {
      copyFileSync(join(here, "local", file), join(folder, file));
    }
  });
}

const modules = names.filter((name) => name in MODULES);
if (modules.length > 0) {
  const content = { ...manifest, optionalDependencies: optional(modules) };
  pack("agentcore-client", content, (folder) => {
    cpSync(join(here, "dist"), join(folder, "dist"), { recursive: true });
    copyFileSync(join(here, "README.md"), join(folder, "README.md"));
  });
}
writeFileSync(join(out, "packages.json"), `${JSON.stringify(published, undefined, 2)}\n`);
