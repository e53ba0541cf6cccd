#!/usr/bin/env node
"use strict";
const { spawn } = require("node:child_process");
const { binary } = require("./index.js");

const child = spawn(binary, process.argv.slice(2), { stdio: "inherit" });
child.once("error", (error) => {
  console.error(`cannot start ${binary}: ${error.message}`);
  process.exitCode = 1;
});
// Whoever ends this process means the program; a terminal tells both by itself.
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
process.on("SIGINT", () => {});
child.once("exit", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 143);
});
