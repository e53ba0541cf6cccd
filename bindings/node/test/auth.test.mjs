// Credentials and tokens, fixed and from functions.
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { test } from "node:test";
import { AgentCoreClient, CredentialsError, InvalidInputError } from "agentcore-client";
import { clientOf, failure, localDataPlane, pause } from "./support.mjs";

const plane = await localDataPlane();
const { runtimeArn, endpointUrl, credentials: keys } = plane.clientOptions();
const tokens = await localDataPlane({ bearer: true });
const base = { runtimeArn, endpointUrl };

test("a credentials function is asked once for many calls", async () => {
  let asked = 0;
  const client = clientOf(plane, {
    credentials: async () => {
      asked += 1;
      await pause(20);
      return { ...keys, expiration: new Date(Date.now() + 3_600_000) };
    },
  });
  await Promise.all(Array.from({ length: 8 }, () => client.invoke("hi")));
  await client.invoke("hi");
  assert.equal(asked, 1);
});

test("credentials that expire are asked for again", async () => {
  let asked = 0;
  const client = clientOf(plane, {
    credentials: () => {
      asked += 1;
      return { ...keys, expiration: new Date(Date.now() + 1000) };
    },
  });
  await client.invoke("hi");
  // With a second left they are renewed at half time.
  await pause(600);
  await client.invoke("hi");
  assert.equal(asked, 2);
});

test("an abort while a function thinks; the next call has it answered", async () => {
  let answer;
  const client = clientOf(plane, {
    credentials: () =>
      new Promise((done) => {
        answer = () => done(keys);
      }),
  });
  const controller = new AbortController();
  const first = client.invoke("hi", { signal: controller.signal });
  const second = client.invoke("hi");
  await pause(10);
  controller.abort();
  assert.equal((await failure(first)).name, "AbortError");
  await pause(10);
  answer();
  assert.equal((await second).status, 200);
});

test("a function that fails", async () => {
  const cause = new Error("the vault is shut, and here is a s3cret");
  const client = clientOf(plane, {
    credentials: async () => {
      throw cause;
    },
    retry: "never",
  });
  const error = await failure(client.invoke("hi"));
  assert.ok(error instanceof CredentialsError);
  assert.equal(error.cause, cause);
  assert.equal(error.delivery, "not_sent");
  assert.doesNotMatch(error.message, /s3cret/);
});

test("a function that gives something else", async () => {
  for (const given of [undefined, {}, "text", { accessKeyId: 1 }]) {
    const client = clientOf(plane, { credentials: () => given, retry: "never" });
    const error = await failure(client.invoke("hi"));
    assert.ok(error instanceof CredentialsError);
    assert.ok(error.cause instanceof TypeError, String(error.cause));
    assert.match(error.cause.message, /credentials/);
  }
});

test("a function that takes too long", async () => {
  const client = clientOf(plane, {
    credentials: () => new Promise(() => {}),
    timeouts: { auth: 50 },
    retry: "never",
  });
  const failed = failure(client.invoke("hi"));
  await pause(10);
  globalThis.gc?.();
  assert.equal((await failed).limit, "auth");
});

test("a function that uses its own client", async () => {
  const client = clientOf(plane, {
    credentials: async () => {
      await pause(1);
      await client.invoke("what are my keys?");
      return keys;
    },
    retry: "never",
  });
  const error = await failure(client.invoke("hi"));
  assert.ok(error instanceof CredentialsError);
  assert.match(error.cause.message, /uses the client that is asking it/);
});

test("bearer tokens: text, functions, asked at every attempt", async () => {
  const fixed = clientOf(tokens);
  assert.equal((await fixed.invoke({ mode: "json", value: 1 })).json(), 1);
  let asked = 0;
  const options = {
    ...tokens.clientOptions(),
    bearerToken: async () => {
      asked += 1;
      return asked === 1
        ? tokens.mintToken({ exp: 1e10, aud: "x", client_id: "no" })
        : tokens.bearerToken;
    },
  };
  const client = new AgentCoreClient(options);
  await client.invoke("hi").catch(() => undefined);
  await client.invoke("hi");
  assert.ok(asked >= 2, `${asked}`);
  client.close();
});

test("a function is asked in its own caller's async context, at every attempt", async () => {
  const users = new AsyncLocalStorage();
  const asked = [];
  const client = clientOf(tokens, {
    bearerToken: () => {
      asked.push(users.getStore());
      return tokens.bearerToken;
    },
  });
  // Each is throttled once, so that what wakes it for the next attempt may be somebody else's doing.
  await tokens.addFault({ status: 429, code: "ThrottlingException", repeat: 8 });
  const names = Array.from({ length: 8 }, (_, n) => `user ${n}`);
  await Promise.all(names.map((name) => users.run(name, () => client.invoke("hi"))));
  assert.equal(asked.length, 16);
  for (const name of names) assert.equal(asked.filter((one) => one === name).length, 2, name);
});

test("both kinds of auth are refused", () => {
  const both = { ...base, credentials: keys, bearerToken: "x" };
  assert.throws(() => new AgentCoreClient(both), InvalidInputError);
});

test("wrong types are named", () => {
  const cases = [
    [{ credentials: "x" }, /^credentials must be/],
    [{ credentials: { accessKeyId: "x" } }, /^credentials\.secretAccessKey must be a string/],
    [{ credentials: { ...keys, expiration: "soon" } }, /^credentials\.expiration must be/],
    [{ bearerToken: 7 }, /^bearerToken must be/],
  ];
  for (const [options, message] of cases) {
    assert.throws(
      () => new AgentCoreClient({ ...base, ...options }),
      (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});
