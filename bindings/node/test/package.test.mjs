// The package from outside: both ways in, one copy of everything, types that hold.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as esm from "agentcore-client";
import * as aiSdk from "agentcore-client/ai-sdk";
import * as apigateway from "agentcore-client/apigateway";
import * as lambda from "agentcore-client/lambda";
import * as testing from "agentcore-client/testing";

const require = createRequire(import.meta.url);

test("import and require give the same", () => {
  for (const [name, imported] of [
    ["agentcore-client", esm],
    ["agentcore-client/ai-sdk", aiSdk],
    ["agentcore-client/apigateway", apigateway],
    ["agentcore-client/lambda", lambda],
    ["agentcore-client/testing", testing],
  ]) {
    const required = require(name);
    const names = Object.keys(required).filter((key) => key !== "__esModule");
    assert.ok(names.length > 0);
    for (const key of names) {
      assert.equal(imported[key], required[key], key);
      if (typeof required[key] === "function") assert.equal(required[key].name, key);
    }
  }
});

test("the version is the package's", () => {
  assert.equal(esm.version, require("agentcore-client/package.json").version);
});

test("the lock file names no addresses", () => {
  const lock = readFileSync(new URL("../package-lock.json", import.meta.url), "utf8");
  assert.doesNotMatch(lock, /"resolved"|https?:\/\/registry/);
});
