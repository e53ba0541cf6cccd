// Makes JavaScript of the TypeScript: one file for each way in, since each file more costs a program's
// start. `import` is given what `require` gives, so that an error is of the same class whoever made it;
// by `require`, because Node.js would first search the file for names that are known here.
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(dirname(fileURLToPath(import.meta.url)));

/** esbuild calls a class that names itself `_Itself`, which stacks and `inspect` would show. */
function withTheirNames(code) {
  const renamed = [...code.matchAll(/var (\w+) = class _\1\b/g)].map(([, name]) => name);
  return code.replace(new RegExp(`\\b_(${renamed.join("|")})\\b`, "g"), "$1");
}

/**
 * esbuild makes a getter of each export, and another one for whoever requires the file: dear for so
 * many, and no use where nothing is exported before it is there.
 */
function withPlainExports(code) {
  const [getters, name] =
    /^__export\((\w+), \{\n(?: {2}\w+: \(\) => \w+,?\n)*\}\);\nmodule\.exports = __toCommonJS\(\1\);\n/m.exec(
      code,
    );
  const exported = [...getters.matchAll(/^ {2}(\w+): \(\) => (\w+)/gm)];
  const members = exported.map(([, as, value]) =>
    as === value ? `  ${as},\n` : `  ${as}: ${value},\n`,
  );
  return `${code.replace(`var ${name} = {};\n`, "").replace(getters, "")}
Object.defineProperty(exports, "__esModule", { value: true });
Object.assign(exports, {
${members.join("")}});
`;
}

for (const entry of ["index", "ai-sdk", "apigateway", "lambda", "testing/index"]) {
  const file = join(here, "dist", entry);
  const options = {
    entryPoints: [join(here, "ts", `${entry}.ts`)],
    bundle: true,
    platform: "node",
    target: "node20",
    // What the others want of the first way in, they take from its file.
    external: ["*.node", "@agentcore-client/*", ...(entry === "index" ? [] : ["./index.js"])],
    logLevel: "warning",
  };
  const { outputFiles } = await build({ ...options, format: "cjs", write: false });
  writeFileSync(`${file}.js`, withPlainExports(withTheirNames(outputFiles[0].text)));
  const { metafile } = await build({ ...options, format: "esm", metafile: true, write: false });
  const names = Object.values(metafile.outputs).flatMap(({ exports }) => exports);
  const target = `./${entry.split("/").at(-1)}.js`;
  writeFileSync(
    `${file}.mjs`,
    `import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
export const {
${names.map((name) => `  ${name},\n`).join("")}} = require("${target}");
`,
  );
  writeFileSync(`${file}.d.mts`, `export * from "${target}";\n`);
}
