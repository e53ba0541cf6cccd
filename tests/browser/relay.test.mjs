// The whole path of examples/lambda-websocket: its page in a real browser, the gateway and the
// function's runtime of the local data plane, its handler in Python, an agent.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { lastSeq, launch, picture } from "./browser.mjs";
import * as relay from "./relay-page.mjs";
import { answers, ask, ended, last, state } from "./relay-page.mjs";

const plane = await relay.relayPlane("--pace-ms", "80");
const browser = await launch();
const open = (options) => relay.open(browser, plane, options);

const words = (count) => Array.from({ length: count }, (_, n) => `word${n}`).join(" ");
const invocations = async (since) => (await plane.journal(since)).filter(relay.isInvocation);

test("tokens appear as they come", async () => {
  const page = await open();
  await picture(page, "relay-welcome");
  await ask(page, words(20));
  const lengths = new Set();
  while ((await state(page)) !== "complete") {
    lengths.add((await last(page).textContent()).length);
    await new Promise((done) => setTimeout(done, 30));
    if (lengths.size === 8) await picture(page, "relay-streaming");
  }
  assert.equal(await last(page).textContent(), `You said: ${words(20)}.`);
  assert.ok(lengths.size >= 3, `${lengths.size} lengths`);
  assert.deepEqual(page.complaints, []);
  await picture(page, "relay-answer");
});

test("a conversation goes on after a reload, and another is another's", async () => {
  const page = await open();
  await ask(page, "one");
  await ended(page);
  await page.reload();
  assert.equal(await last(page).textContent(), "You said: one.");
  await ask(page, "two");
  await ended(page);
  assert.equal(await last(page).textContent(), "You said: two. You said earlier: one.");
  await page.click("#new");
  await ask(page, "three");
  await ended(page);
  assert.equal(await last(page).textContent(), "You said: three.");
  assert.equal(await page.locator("nav button").count(), 2);
  await page.locator("nav button").last().click();
  assert.equal(await answers(page).count(), 2);
  assert.deepEqual(page.complaints, []);
  await picture(page, "relay-conversations");
});

test("Stop ends the invocation, and the session goes on", async () => {
  const page = await open();
  const since = await lastSeq(plane);
  await ask(page, words(400));
  await page.waitForFunction(() =>
    document.querySelector(".theirs .text")?.textContent.includes("word2"),
  );
  await page.click("#stop");
  assert.equal(await state(page), "stopped");
  const left = await plane.waitFor(({ seq, kind }) => seq > since && kind === "disconnect");
  assert.equal(left.phase, "body");
  await ask(page, "again");
  // All of it would take half a minute.
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".theirs .text")]
      .at(-1)
      .textContent.startsWith("You said: again. You said earlier: word0"),
  );
  assert.equal((await invocations(since)).length, 2);
  assert.deepEqual(page.complaints, []);
});

test("a page that is closed in mid-answer ends its invocation and no other", async () => {
  const [page, other] = [await open(), await open()];
  const since = await lastSeq(plane);
  await ask(other, words(60));
  await ask(page, words(400));
  await page.waitForFunction(() =>
    document.querySelector(".theirs .text")?.textContent.includes("word2"),
  );
  await page.context().close();
  await plane.waitFor(({ seq, kind }) => seq > since && kind === "disconnect");
  await ended(other);
  assert.equal(await last(other).textContent(), `You said: ${words(60)}.`);
  const entries = (await plane.journal()).filter(({ seq }) => seq > since);
  assert.equal(entries.filter(({ kind }) => kind === "disconnect").length, 1);
  assert.equal((await invocations(since)).length, 2);
});

test("an agent that fails is told, and asking again helps", async () => {
  const page = await open({ colorScheme: "dark" });
  await plane.addFault({
    status: 500,
    code: "InternalServerException",
    pathContains: "/runtimes/",
  });
  await ask(page, "Hi");
  await ended(page, "failed");
  await picture(page, "relay-error");
  await page.getByRole("button", { name: "Ask again" }).click();
  await ended(page);
  assert.equal(await last(page).textContent(), "You said: Hi.");
});

test("what the page is made of names no other host", () => {
  for (const name of ["index.html", "app.js", "relay.js", "store.js", "style.css"]) {
    assert.doesNotMatch(readFileSync(`${relay.example}/page/${name}`, "utf8"), /https?:\/\//, name);
  }
});

test("on a telephone", async () => {
  const page = await open({ viewport: { width: 390, height: 780 } });
  await ask(page, "Does this fit?");
  await ended(page);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false);
  await picture(page, "relay-narrow");
});
