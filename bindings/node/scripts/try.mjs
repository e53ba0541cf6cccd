// Tries the tarballs as users have them: installed into a fresh project, without the network, for
// `import`, `require`, and TypeScript with both kinds of module resolution; the program, too.
//
//   node scripts/try.mjs OUT     what scripts/pack.mjs made
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const out = resolve(process.argv[2] ?? "npm");
const project = realpathSync(mkdtempSync(join(tmpdir(), "agentcore-try-")));
const { AGENTCORE_LOCAL_BIN, ...env } = process.env;
const run = (program, args) =>
  execFileSync(program, args, {
    cwd: project,
    // Programs may only be found where they were installed.
    env: program === process.execPath ? { ...env, PATH: "" } : env,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "inherit"],
    shell: process.platform === "win32" && program !== process.execPath,
  });
const tool = (name) => join(here, "node_modules/typescript/bin", name);

const MIB = 1024 * 1024;
const packages = JSON.parse(readFileSync(join(out, "packages.json"), "utf8"));
const names = packages.map(({ name }) => name);
for (const { name, filename } of packages) {
  const made = JSON.parse(
    execFileSync("tar", ["-xzOf", filename, "package/package.json"], {
      cwd: out,
      encoding: "utf8",
    }),
  );
  const { dependencies, peerDependencies, peerDependenciesMeta, optionalDependencies } = made;
  assert.equal(dependencies, undefined, `${name} depends on others`);
  // Nothing that npm would install by itself.
  for (const peer of Object.keys(peerDependencies ?? {}))
    assert.equal(peerDependenciesMeta?.[peer]?.optional, true, `${name} needs ${peer}`);
  // Of our own, and made beside it.
  for (const other of Object.keys(optionalDependencies ?? {}))
    assert.ok(names.includes(other), other);
}
for (const { name, size } of packages) {
  const limit = (/\/local-/.test(name) ? 1.5 : 3.5) * MIB;
  assert.ok(size <= limit, `${name}: ${size} bytes, of at most ${limit}`);
}
const tarballs = new Map(
  packages.map(({ name, filename }) => [name, `file:${join(out, filename)}`]),
);
const asked = ["agentcore-client", "@agentcore-client/local"];
writeFileSync(
  join(project, "package.json"),
  JSON.stringify({
    private: true,
    dependencies: Object.fromEntries(asked.map((name) => [name, tarballs.get(name)])),
    // They are not on any registry yet.
    overrides: Object.fromEntries([...tarballs].filter(([name]) => !asked.includes(name))),
  }),
);
run("npm", ["install", "--silent", "--offline", "--no-audit", "--no-fund"]);

const file = process.platform === "win32" ? "agentcore-local.exe" : "agentcore-local";
const program = run(process.execPath, ["-p", 'require("@agentcore-client/local").binary']).trim();
assert.equal(
  program,
  join(project, `node_modules/@agentcore-client/local-${process.platform}-${process.arch}`, file),
);
assert.match(run("npx", ["--offline", "agentcore-local", "--help"]), /--jwt-issuer/);
console.log("npx agentcore-local works");

const use = `
(async () => {
  const plane = await LocalDataPlane.start();
  const client = new AgentCoreClient(plane.clientOptions());
  let said = "";
  for await (const text of (await client.stream({ prompt: "Hi" })).textDeltas()) said += text;
  await plane.close();
  if (said !== "You said: Hi.") throw new Error(said);
  console.log(process.argv[1], "works");
})();
`;
const imports = `import { AgentCoreClient } from "agentcore-client";
import { LocalDataPlane } from "agentcore-client/testing";`;
writeFileSync(join(project, "esm.mjs"), imports + use);
writeFileSync(
  join(project, "cjs.cjs"),
  `const { AgentCoreClient } = require("agentcore-client");
const { LocalDataPlane } = require("agentcore-client/testing");${use}`,
);
for (const file of ["esm.mjs", "cjs.cjs"]) console.log(run(process.execPath, [file]).trim());

// Types: strict, our own declarations included.
cpSync(join(here, "node_modules/@types"), join(project, "node_modules/@types"), {
  recursive: true,
});
cpSync(join(here, "node_modules/undici-types"), join(project, "node_modules/undici-types"), {
  recursive: true,
});
const usage = join(here, "test/types/usage.ts");
for (const name of ["usage.mts", "usage.cts", "usage.ts"]) cpSync(usage, join(project, name));
const common = ["--strict", "--noEmit", "--target", "es2022", "--types", "node"];
const lib = ["--lib", "es2024,esnext.disposable"];
const kinds = [
  ["--module", "nodenext"],
  ["--module", "preserve", "--moduleResolution", "bundler"],
];
for (const kind of kinds) {
  const files = kind.includes("nodenext") ? ["usage.mts", "usage.cts"] : ["usage.ts"];
  run(process.execPath, [tool("tsc"), ...common, ...lib, ...kind, "--ignoreConfig", ...files]);
  console.log(`tsc ${kind.join(" ")}: well-typed`);
}
rmSync(project, { recursive: true });
