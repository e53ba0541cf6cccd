// The same path under what is long, large and many, all at the same time: a test of minutes takes the
// time of the longest.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { largeToken, startAgent } from "./agent.mjs";
import { lastSeq, launch, picture } from "./browser.mjs";
import { ask, ended, isInvocation, last, open, relayPlane, state } from "./relay-page.mjs";

const SOCKETS = 100;
const agent = await startAgent();
after(agent.close);
const plane = await relayPlane("--agent", agent.url, "--concurrency", "24");
const browser = await launch();

const numbers = (count) => Array.from({ length: count }, (_, n) => `${n} `).join("");
const since = async (seq, fits) => (await plane.journal(seq)).filter(fits);

/** Asks, and gives the run of the function that answers, once it has asked the agent. */
async function begin(page, prompt) {
  const seq = await lastSeq(plane);
  await ask(page, prompt);
  const next = (fits) =>
    plane.waitFor((entry) => entry.seq > seq && fits(entry), { timeoutMs: 30_000 });
  const { requestId } = await next(({ trigger }) => trigger === "event");
  await next(isInvocation);
  return { page, seq, requestId };
}

const short = await begin(await open(browser, plane), "Hi");
await ended(short.page);
// 360 tokens, one each 200 ms: more than 70 s.
const long = await begin(await open(browser, plane), "count 360 200");
// Lambda has delivered both before, and does it once more. The long answer is still under way then.
for (const { requestId } of [short, long]) await plane.redeliver({ requestId, afterMs: 60_000 });

/** The frames of one answer over a socket of its own. */
function overSocket(prompt) {
  return new Promise((done, failed) => {
    const frames = [];
    const socket = new WebSocket(`${plane.baseUrl.replace("http", "ws")}/local`);
    socket.onerror = ({ message }) => failed(new Error(message));
    socket.onopen = () => socket.send(JSON.stringify({ prompt, id: "m" }));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type !== "heartbeat") frames.push(frame);
      if (!["end", "error", "continue"].includes(frame.type)) return;
      socket.onclose = () => done(frames);
      socket.close();
    };
  });
}

test(`a browser and ${SOCKETS} sockets at once get every token once and in order`, async () => {
  const seq = await lastSeq(plane);
  const page = await open(browser, plane);
  await ask(page, "count 100 100");
  const all = await Promise.all(Array.from({ length: SOCKETS }, () => overSocket("count 20 20")));
  for (const frames of all) {
    const end = { type: "end", id: "m", seq: frames.length - 1, state: "complete" };
    assert.deepEqual(frames.at(-1), end);
    assert.deepEqual(
      frames.map(({ seq, id }) => [seq, id]),
      frames.map((_, at) => [at, "m"]),
    );
    assert.equal(frames.map(({ text }) => text ?? "").join(""), numbers(20));
  }
  await ended(page);
  assert.equal(await last(page).textContent(), numbers(100));
  assert.equal((await since(seq, isInvocation)).length, SOCKETS + 1);
  assert.deepEqual(page.complaints, []);
});

test("an answer of more than 200 KiB is whole", async () => {
  const page = await open(browser, plane);
  await ask(page, "large 200");
  await ended(page);
  const text = await last(page).textContent();
  assert.ok(Buffer.byteLength(text) > 200 << 10);
  const said = Array.from({ length: 200 }, (_, n) => largeToken(n)).join("");
  assert.ok(text === said, `${text.length} of ${said.length} characters`);
  assert.deepEqual(page.complaints, []);
});

test("an answer that outlasts its function goes on in the same session", async () => {
  const seconds = ["--function-timeout-ms", "8000", "--concurrency", "2"];
  const hasty = await relayPlane("--agent", agent.url, ...seconds);
  const page = await open(browser, hasty);
  await ask(page, "for ever");
  await ended(page, "paused");
  const said = await last(page).textContent();
  assert.ok(said.length > 0 && numbers(1_000).startsWith(said));
  await page.getByRole("button", { name: "Go on" }).click();
  await ended(page);
  assert.equal(
    await last(page).textContent(),
    "You said: Please go on.. You said earlier: for ever.",
  );
  const asked = (await hasty.journal()).filter(isInvocation);
  assert.equal(asked.length, 2);
  assert.equal(asked[0].sessionId, asked[1].sessionId);
  assert.deepEqual(page.complaints, []);
});

test("an answer of 70 s comes as it is said, by the second stage", async () => {
  const { page, seq, requestId } = long;
  assert.equal(await state(page), "started");
  const soFar = await last(page).textContent();
  assert.ok(soFar.length > 0 && numbers(360).startsWith(soFar));
  await ended(page, "complete", 120_000);
  await picture(page, "relay-minutes");
  assert.equal(await last(page).textContent(), numbers(360));
  const isEnd = ({ kind }) => kind === "function_ended";
  const run = await plane.waitFor(
    (entry) => isEnd(entry) && entry.requestId === requestId && entry.ms > 60_000,
    { timeoutMs: 30_000 },
  );
  assert.ok(run.outcome === "ok" && run.ms >= 70_000, `${run.outcome} after ${run.ms} ms`);
  // Only that one was longer than the gateway waits.
  const runs = await since(seq, isEnd);
  assert.equal(runs.filter(({ ms }) => ms >= 29_000).length, 1);
  assert.deepEqual(page.complaints, []);
});

test("a second-stage event that comes again after 60 s is refused, and nobody sees it", async () => {
  const ends = { [short.requestId]: [], [long.requestId]: [] };
  const areDone = ({ kind, requestId, outcome }) => {
    if (kind === "function_ended") ends[requestId]?.push(outcome);
    return Object.values(ends).every((outcomes) => outcomes.length === 2);
  };
  await plane.waitFor(areDone, { timeoutMs: 30_000 });
  assert.deepEqual(new Set(Object.values(ends).flat()), new Set(["ok"]));
  for (const { page } of [short, long]) {
    assert.equal(await state(page), "complete");
    assert.deepEqual(page.complaints, []);
  }
  assert.equal(await last(short.page).textContent(), "You said: Hi.");
  // Another process could not know that this one was being answered.
  const [refused] = long.page.received.filter(({ type }) => type === "error");
  assert.deepEqual([refused.code, refused.seq], ["expired", 0]);
  const posts = (await since(0, isInvocation)).length;
  assert.equal(posts, 2 + SOCKETS + 1 + 1);
});
