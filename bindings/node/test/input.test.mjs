// Bad input: a TypeError or an InvalidInputError that names the option; nothing is sent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentCoreClient, InvalidInputError } from "agentcore-client";
import { clientOf, failure, localDataPlane } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);

const CLIENT = [
  [{ runtimeARN: "x" }, TypeError, "unknown option runtimeARN; did you mean runtimeArn?"],
  [{ runtime_arn: "x" }, TypeError, "unknown option runtime_arn; did you mean runtimeArn?"],
  [{ timeout: {} }, TypeError, "unknown option timeout; did you mean timeouts?"],
  [{ timeouts: { first_byte: 1 } }, TypeError, "did you mean timeouts.firstByte?"],
  [{ constructor: 1 }, TypeError, "unknown option constructor"],
  [{ timeouts: 5 }, TypeError, "timeouts must be an object, not a number"],
  [{ timeouts: { connect: "5s" } }, TypeError, "timeouts.connect must be a number of milliseconds"],
  [{ timeouts: { connect: null } }, TypeError, "timeouts.connect must be a number of milliseconds"],
  [{ timeouts: { connect: Number.NaN } }, InvalidInputError, "timeouts.connect"],
  [{ timeouts: { connect: -1 } }, InvalidInputError, "timeouts.connect: less than zero"],
  [{ timeouts: { connect: 0 } }, InvalidInputError, "timeouts.connect"],
  [{ timeouts: { deadline: "x" } }, TypeError, "timeouts.deadline must be a Date"],
  [{ timeouts: { deadline: new Date(Number.NaN) } }, InvalidInputError, "timeouts.deadline"],
  [{ limits: { event: 1.5 } }, InvalidInputError, "limits.event"],
  [{ limits: { event: "1" } }, TypeError, "limits.event must be a number of bytes"],
  [{ retry: "always" }, InvalidInputError, 'retry: an unknown word; must be one of "never"'],
  [{ retry: 3 }, TypeError, "retry must be a string, not a number"],
  [{ textFormat: "yaml" }, InvalidInputError, "textFormat"],
  [{ useFips: "yes" }, TypeError, "useFips must be a boolean"],
  [{ region: 1 }, TypeError, "region must be a string"],
  [{ allowHttpHosts: "x" }, TypeError, "allowHttpHosts must be an array of strings"],
  [{ allowHttpHosts: [1] }, TypeError, "allowHttpHosts[…] must be a string"],
  [{ userAgent: "\ud800" }, InvalidInputError, "userAgent: text with a lone surrogate"],
  [{ runtimeArn: "arn:aws:s3:::x" }, InvalidInputError, "runtimeArn"],
  [{ runtimeArn: undefined, agentId: "a-0123456789" }, InvalidInputError, "accountId: absent"],
  [{ runtimeArn: undefined, accountId: "123456789012" }, InvalidInputError, "agentId: absent"],
  [{ endpointUrl: "http://example.com" }, InvalidInputError, "endpointUrl"],
  [{ propagateBaggage: 1 }, TypeError, "propagateBaggage must be a boolean"],
];

for (const [options, of, message] of CLIENT) {
  test(`a client: ${message}`, () => {
    assert.throws(
      () => new AgentCoreClient({ ...plane.clientOptions(), ...options }),
      (error) => {
        assert.ok(error instanceof of, String(error));
        assert.ok(error.message.includes(message), error.message);
        if (of === InvalidInputError) assert.ok(message.startsWith(error.field), error.field);
        return true;
      },
    );
  });
}

const CALLS = [
  [["hi", { sesionId: "x" }], TypeError, "unknown option sesionId; did you mean sessionId?"],
  [["hi", { session_id: "x" }], TypeError, "did you mean sessionId?"],
  [["hi", "x"], TypeError, "options must be an object, not a string"],
  [["hi", null], TypeError, "options must be an object, not null"],
  [["hi", { signal: {} }], TypeError, "signal must be an AbortSignal"],
  [
    ["hi", { signal: { aborted: false, addEventListener() {} } }],
    TypeError,
    "signal must be an AbortSignal",
  ],
  [["hi", { sessionId: 7 }], TypeError, "sessionId must be a string or a SessionId"],
  [["hi", { sessionId: "short" }], InvalidInputError, "sessionId: 5 characters"],
  [["hi", { headers: 5 }], TypeError, "headers must be"],
  [["hi", { headers: { a: 5 } }], TypeError, "headers[a] must be a string"],
  [["hi", { headers: { authorization: "x" } }], InvalidInputError, "headers"],
  [["hi", { userId: "" }], InvalidInputError, "userId"],
  [["hi", { trace: "x" }], TypeError, "trace must be an object"],
  [["hi", { trace: { traceParent: "x" } }], TypeError, "did you mean trace.traceparent?"],
  [["hi", { trace: { traceparent: "x".repeat(200) } }], InvalidInputError, "trace.traceparent"],
  [["hi", { contentType: "a\nb" }], InvalidInputError, "contentType"],
  [["hi", { stopOnClose: true }], TypeError, "unknown option stopOnClose"],
  [[undefined], TypeError, "payload must be something that JSON can write, not undefined"],
  [[() => 1], TypeError, "payload must be something that JSON can write, not a function"],
  [[1n], TypeError, "payload can't be written as JSON"],
];

for (const [args, of, message] of CALLS) {
  test(`a call: ${message}`, async () => {
    const posts = await plane.countPosts();
    const error = await failure(client.invoke(...args));
    assert.ok(error instanceof of, String(error));
    assert.ok(error.message.includes(message), error.message);
    if (of === InvalidInputError) {
      assert.equal(error.delivery, "not_sent");
      assert.ok(message.startsWith(error.field), `${error.field}: ${error.message}`);
    }
    assert.equal(await plane.countPosts(), posts);
  });
}

test("a circle", async () => {
  const circle = {};
  circle.self = circle;
  const error = await failure(client.invoke(circle));
  assert.ok(error instanceof TypeError);
  assert.match(error.message, /^payload can't be written as JSON/);
});

test("what a toJSON throws comes through", async () => {
  const mine = new RangeError("mine");
  const payload = {
    toJSON() {
      throw mine;
    },
  };
  assert.equal(await failure(client.invoke(payload)), mine);
});

test("a stop", async () => {
  assert.match((await failure(client.stopSession())).message, /sessionId must be a string/);
  const unknown = await failure(client.stopSession("x".repeat(40), { userId: "x" }));
  assert.match(unknown.message, /unknown option userId/);
});
