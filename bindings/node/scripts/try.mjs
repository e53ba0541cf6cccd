// Tries the packed packages as users have them: installed into a fresh project, without the network,
// for `import`, `require`, and TypeScript with both kinds of module resolution.
//
//   node scripts/try.mjs OUT     what scripts/pack.mjs made
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const out = resolve(process.argv[2] ?? "npm");
const project = mkdtempSync(join(tmpdir(), "agentcore-try-"));
const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const run = (program, args, cwd = project) =>
  execFileSync(program, args, { cwd, encoding: "utf8", shell: program === npm });
const tool = (name) => join(here, "node_modules/typescript/bin", name);

const limit = 3.5 * 1024 * 1024;
const tarballs = new Map(
  readdirSync(out).map((name) => {
    const [packed] = JSON.parse(
      run(npm, ["pack", "--json", "--silent", "--pack-destination", project], join(out, name)),
    );
    if (packed.size > limit) throw new Error(`${packed.name}: ${packed.size} bytes`);
    console.log(`${packed.name} ${packed.size} bytes packed, ${packed.unpackedSize} unpacked`);
    return [packed.name, `file:${join(project, packed.filename)}`];
  }),
);
const own = [...tarballs.keys()].find((name) =>
  name.includes(`${process.platform}-${process.arch}`),
);
if (own === undefined) throw new Error("there is none for this platform");
writeFileSync(
  join(project, "package.json"),
  JSON.stringify({
    private: true,
    dependencies: {
      "agentcore-client": tarballs.get("agentcore-client"),
      [own]: tarballs.get(own),
    },
    // The others are not on any registry yet.
    overrides: Object.fromEntries([...tarballs].filter(([name]) => name.startsWith("@"))),
  }),
);
run(npm, ["install", "--silent", "--offline", "--no-audit", "--no-fund"]);

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
