// The Next.js example with many users. What it measures, it tells; ANSWERS=2000 takes a longer look at
// its memory.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startAgent } from "./agent.mjs";
import { lastSeq, localDataPlane, residentBytes } from "./browser.mjs";
import { count, delays, quantile, repeat, tokensOf } from "./load.mjs";
import { startNextjs } from "./nextjs-server.mjs";

const ANSWERS = Number(process.env.ANSWERS ?? 400);
const MB = 1_000_000;

const agent = await startAgent();
after(() => agent.close());
const plane = await localDataPlane({ agent: agent.url });
const collect = fileURLToPath(new URL("collect.cjs", import.meta.url));
const server = await startNextjs(plane, {}, ["--expose-gc", "--require", collect]);
const chat = `${server.url}/api/chat`;
const resident = () => residentBytes(server.child.pid) / MB;

test("the first answer of a new server, and how late tokens are", async (t) => {
  const asked = Date.now();
  for await (const token of tokensOf(chat, "count 1 0 timed")) {
    const said = Number(token.split("@")[1]);
    t.diagnostic(
      `first answer: ${Date.now() - asked} ms, ${Date.now() - said} of it after the agent`,
    );
  }
  const late = await delays(chat, 100, 10);
  assert.equal(late.length, 100);
  const [half, most, all] = [0.5, 0.99, 1].map((part) => quantile(late, part));
  t.diagnostic(`tokens: half within ${half} ms of the agent, 99 % ${most} ms, all ${all} ms`);
});

test("200 streams at once, each token once and in order, whoever leaves", async (t) => {
  const since = await lastSeq(plane);
  const leaving = new AbortController();
  const left = (async () => {
    for await (const token of tokensOf(chat, "for ever", { signal: leaving.signal })) {
      if (token === "20 ") leaving.abort();
    }
  })().catch((error) => error);
  const streams = Array.from({ length: 200 }, () => count(chat, 40, 25));
  assert.equal((await left).name, "AbortError");
  await Promise.all(streams);
  await plane.waitFor((entry) => entry.seq > since && entry.kind === "disconnect");
  const gone = (await plane.journal(since)).filter(({ kind }) => kind === "disconnect");
  assert.equal(gone.length, 1);
  t.diagnostic(`resident after 200 streams at once: ${resident().toFixed(0)} MB`);
});

/** What it holds once its garbage is gone. */
async function held() {
  const before = server.said().length;
  server.child.kill("SIGUSR2");
  for (;;) {
    const told = /held (.*)\n/.exec(server.said().slice(before));
    if (told !== null) return JSON.parse(told[1]);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

test("memory stays flat", async (t) => {
  const answers = (number) => repeat(number, 10, () => count(chat, 20, 1));
  // What is allocated once is there before the first look.
  await answers(ANSWERS / 2);
  const seen = [await held()];
  for (let step = 0; step < 4; step++) {
    await answers(ANSWERS / 4);
    seen.push(await held());
  }
  const told = (name) => seen.map((one) => (one[name] / MB).toFixed(1)).join(", ");
  t.diagnostic(
    `over ${ANSWERS} answers, MB: heap ${told("heapUsed")}; external ${told("external")}`,
  );
  t.diagnostic(`resident, MB: ${told("rss")}`);
  const [first, last] = [seen[0], seen.at(-1)];
  const grown = last.heapUsed + last.external - first.heapUsed - first.external;
  // An answer that stays costs more than ten thousand bytes.
  assert.ok(grown < ANSWERS * 5_000, `${grown} bytes more`);
  assert.ok(last.rss - first.rss < 40 * MB, "it grows outside of the heap");
  assert.ok(last.rss < 512 * MB, "it is large");
});
