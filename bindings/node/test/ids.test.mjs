// Session ids and ARNs: the same in every language.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { InvalidInputError, RuntimeArn, SessionId } from "agentcore-client";

const golden = (name) =>
  JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}`, import.meta.url), "utf8"));
const { vectors } = golden("session_ids.json");
const { policies, refused } = golden("policies.json");

for (const vector of vectors) {
  test(`golden vector: ${vector.id}`, () => {
    const secret = Buffer.from(vector.secret_hex, "hex");
    assert.equal(String(SessionId.derive(secret, ...vector.parts)), vector.derive);
    assert.equal(String(SessionId.deriveGuessable(...vector.parts)), vector.derive_guessable);
  });
}

test("a secret as text", () => {
  const secret = "höchst geheim, 16+";
  assert.equal(
    String(SessionId.derive(secret, "a")),
    String(SessionId.derive(new TextEncoder().encode(secret), "a")),
  );
});

test("ids from outside", () => {
  const id = "a".repeat(33);
  assert.equal(String(new SessionId(id)), id);
  assert.equal(`${SessionId.existing(`${"x/".repeat(40)}`)}`, "x/".repeat(40));
  assert.equal(JSON.stringify({ id: SessionId.local("x") }), '{"id":"x"}');
  assert.match(String(SessionId.generate()), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.notEqual(String(SessionId.generate()), String(SessionId.generate()));
});

test("refused", () => {
  const refused = (make) => assert.throws(make, InvalidInputError);
  refused(() => new SessionId("short"));
  refused(() => new SessionId("ä".repeat(40)));
  refused(() => SessionId.existing("x".repeat(257)));
  refused(() => SessionId.local(""));
  refused(() => SessionId.derive("too short", "a"));
  refused(() => SessionId.derive("x".repeat(16)));
  refused(() => SessionId.derive("x".repeat(16), "\ud800"));
  assert.throws(() => new SessionId(7), TypeError);
  assert.throws(() => SessionId.derive(7, "a"), TypeError);
  assert.throws(() => SessionId.deriveGuessable("a", 7), TypeError);
});

test("ARNs", () => {
  const text = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-abc1234567";
  const arn = new RuntimeArn(`${text}/runtime-endpoint/prod`);
  assert.deepEqual(
    [arn.partition, arn.region, arn.accountId, arn.agentId, arn.qualifier],
    ["aws", "us-west-2", "123456789012", "my_agent-abc1234567", "prod"],
  );
  assert.equal(String(new RuntimeArn(text)), text);
  assert.equal(new RuntimeArn(text).qualifier, undefined);
  const made = RuntimeArn.fromAgentId("my_agent-abc1234567", "123456789012", "us-west-2");
  assert.equal(JSON.stringify(made), JSON.stringify(text));
  assert.throws(() => new RuntimeArn(` ${text}`), InvalidInputError);
  assert.throws(() => new RuntimeArn({}), TypeError);
});

for (const { id, arn, actions, policy } of policies) {
  test(`policy: ${id}`, () =>
    assert.deepEqual(new RuntimeArn(arn).invokePolicy(...actions), policy));
}

for (const { id, actions } of refused) {
  test(`no policy: ${id}`, () => {
    const arn = new RuntimeArn(policies[0].arn);
    assert.throws(
      () => arn.invokePolicy(...actions),
      (error) => error instanceof InvalidInputError && error.field === "actions",
    );
  });
}
