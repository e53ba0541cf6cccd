// The whole path of examples/lambda-websocket: its page in a real browser, the gateway and the
// function's runtime of the local data plane, its handler in Python, an agent.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { lastSeq, launch, localDataPlane, newPage, picture } from "./browser.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const example = `${root}examples/lambda-websocket`;
// Another one, such as the handler in Rust, has to speak the runtime API as well.
const handler =
  process.env.AGENTCORE_RELAY_HANDLER ??
  `'${root}bindings/python/.venv/bin/python' '${example}/local/bootstrap.py'`;

const plane = await localDataPlane({
  args: [
    ...["--handler", handler],
    ...["--handler-env", `LAMBDA_TASK_ROOT=${example}/python`],
    ...["--handler-env", "ALLOWED_ORIGINS=*"],
    ...["--page", `${example}/page`],
    ...["--pace-ms", "80"],
  ],
});
const browser = await launch();

const answers = (page) => page.locator(".theirs .text");
const last = (page) => answers(page).last();
const state = (page) => page.locator(".theirs").last().getAttribute("data-state");

async function open(options) {
  const page = await newPage(browser, options);
  await page.goto(`${plane.baseUrl}/`);
  await page.waitForSelector("#connection[data-state=open]", { timeout: 60_000 });
  return page;
}

async function ask(page, prompt) {
  await page.fill("#prompt", prompt);
  await page.press("#prompt", "Enter");
}

const ended = (page, how = "complete") =>
  page.waitForSelector(`.theirs:last-child[data-state=${how}]`, { timeout: 60_000 });
const words = (count) => Array.from({ length: count }, (_, n) => `word${n}`).join(" ");
const invocations = async (since) =>
  (await plane.journal()).filter(
    ({ seq, kind, target }) =>
      seq > since && kind === "request" && /^\/runtimes\/[^/]+\/invocations/.test(target),
  );

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
  await ended(page);
  assert.match(await last(page).textContent(), /^You said: again\. You said earlier: word0/);
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
    assert.doesNotMatch(readFileSync(`${example}/page/${name}`, "utf8"), /https?:\/\//, name);
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
