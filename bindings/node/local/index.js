// Where npm put the program: it installs the platform package whose `os` and `cpu` fit.
"use strict";
const { platform, arch } = process;
const name = `@agentcore-client/local-${platform}-${arch}`;
const file = platform === "win32" ? "agentcore-local.exe" : "agentcore-local";
try {
  exports.binary = require.resolve(`${name}/${file}`);
} catch (cause) {
  throw new Error(
    `${name} is not installed: either there is none for this platform, or optional dependencies` +
      " were left out (--omit=optional). `cargo install agentcore-local` builds the program",
    { cause },
  );
}
