// The cases that every language has to pass. A case that passes has to fail under each changed
// expectation, since a runner that cannot fail is worthless.
import assert from "node:assert/strict";
import { test } from "node:test";
import { expectedFailures, FormatError, load, read } from "./conformance/format.mjs";
import { changes, judge } from "./conformance/judge.mjs";
import { play } from "./conformance/run.mjs";

const cases = load();
const known = expectedFailures();

for (const [name, one] of cases) {
  test(name, { timeout: 60_000 }, async () => {
    const { filled, seen } = await play(one);
    const wrong = judge(filled, seen);
    const reason = known.get(name);
    if (reason !== undefined) {
      assert.notDeepEqual(wrong, [], `passes, though it was known to fail: ${reason}`);
      return;
    }
    assert.deepEqual(wrong, []);
    const unnoticed = [...changes(filled)]
      .filter(([, changed]) => judge(changed, seen).length === 0)
      .map(([place]) => place);
    assert.deepEqual(unnoticed, [], "changed, and nobody noticed");
  });
}

test("what is known to fail is a case", () => {
  assert.deepEqual(
    [...known.keys()].filter((name) => !cases.has(name)),
    [],
  );
});

for (const [one, word] of [
  [{}, "id is missing"],
  [{ id: "x", clientt: {} }, "clientt"],
  [{ id: "x", plane: { auht: "none" } }, "auht"],
  [{ id: "x", client: { timeouts: { idle: 1 } } }, "idle"],
  [{ id: "x", calls: [{ verb: "shout", expect: {} }] }, "shout"],
  [{ id: "x", calls: [{ verb: "invoke", expect: {} }] }, "needs payload"],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a placeholder of the cases.
  [{ id: "x", client: { region: "${nowhere}" } }, "nowhere"],
]) {
  test(`what is not known is refused: ${word}`, () => {
    assert.throws(
      () => read(one, {}),
      (error) => error instanceof FormatError && error.message.includes(word),
    );
  });
}
