// The Next.js example in a browser: its production build, started from the copied standalone folder.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startAgent } from "./agent.mjs";
import { lastSeq, launch, localDataPlane, newPage, picture } from "./browser.mjs";
import { startNextjs } from "./nextjs-server.mjs";

const agent = await startAgent();
after(() => agent.close());
const plane = await localDataPlane({ agent: agent.url });
const server = await startNextjs(plane);
const browser = await launch();

const open = async (path = "/", options = {}) => {
  const page = await newPage(browser, { viewport: { width: 900, height: 700 }, ...options });
  await page.goto(server.url + path);
  return page;
};
const send = async (page, prompt) => {
  await page.getByLabel("Your message").fill(prompt);
  await page.keyboard.press("Enter");
};
const answer = (page) => page.locator("li.agent").last();
const said = (page) => answer(page).locator(".text").textContent();
/** The lengths that an answer had while it came in. */
async function watch(page) {
  const lengths = new Set();
  await answer(page).locator(".text").waitFor();
  while ((await answer(page).getAttribute("data-live")) === "true") {
    const { length } = await said(page);
    if (length > 0) lengths.add(length);
    await page.waitForTimeout(20);
  }
  return lengths;
}
const isDisconnect = (since) => (entry) => entry.seq > since && entry.kind === "disconnect";
const sessionsSince = async (since) =>
  (await plane.journal(since))
    .filter(({ kind }) => kind === "request")
    .map(({ sessionId }) => sessionId);
const COUNT = Array.from({ length: 20 }, (_, n) => `${n} `).join("");

for (const path of ["/", "/ai-sdk"]) {
  const name = path === "/" ? "plain" : "ai-sdk";

  test(`${name}: tokens appear one after another`, async () => {
    const page = await open(path);
    await send(page, "count 20 50");
    const lengths = await watch(page);
    assert.ok(lengths.size >= 3, `only ${[...lengths]}`);
    assert.equal(await said(page), COUNT);
    if (name === "plain")
      await answer(page)
        .getByText(/First token after \d+\.\d s, all in/)
        .waitFor();
    await picture(page, `${name}-answer`);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  test(`${name}: stop ends the invocation`, async () => {
    const page = await open(path);
    const since = await lastSeq(plane);
    await send(page, "for ever");
    await answer(page).getByText("5 ").first().waitFor();
    await picture(page, `${name}-streaming`);
    await page.getByRole("button", { name: "Stop" }).click();
    await plane.waitFor(isDisconnect(since));
    await page.getByRole("button", { name: "Send" }).waitFor();
    assert.equal(await page.getByRole("alert").filter({ hasText: /./ }).count(), 0);
    await picture(page, `${name}-stopped`);
    // It goes on in the same session.
    await send(page, "Hi");
    await answer(page).getByText("You said earlier: for ever.").waitFor();
    await page.context().close();
  });

  test(`${name}: a closed tab ends the invocation`, async () => {
    const page = await open(path);
    const since = await lastSeq(plane);
    await send(page, "for ever");
    await answer(page).getByText("5 ").first().waitFor();
    await page.close();
    await plane.waitFor(isDisconnect(since));
  });

  test(`${name}: an agent's error and a broken answer are shown`, async () => {
    const page = await open(path);
    await send(page, "fail");
    const alert = page.locator(".error");
    await alert.getByText("The agent failed.").waitFor();
    assert.equal(await said(page), "Well, I ");
    assert.ok(!(await page.content()).includes("secret"));
    await picture(page, `${name}-error`);
    await plane.addFault({ truncateAfterBytes: 30 });
    await send(page, "count 20 5");
    await alert.getByText("The answer broke off.").waitFor();
    await plane.addFault({
      status: 429,
      code: "ThrottlingException",
      repeat: 4,
      headers: { "x-amz-retry-after": "1" },
    });
    await send(page, "count 20 5");
    await alert.getByText("There are too many requests.").waitFor();
    await page.context().close();
  });
}

test("a slow first token shows progress", async () => {
  const page = await open();
  await send(page, "think 1500");
  const status = page.getByRole("status");
  const shown = new Set();
  await status.getByText(/thinking/).waitFor();
  await page.waitForTimeout(500);
  await picture(page, "plain-thinking");
  while ((await status.textContent()) !== "") {
    shown.add(await status.textContent());
    await page.waitForTimeout(50);
  }
  assert.ok(shown.size >= 3, [...shown].join());
  await answer(page).getByText("Now I know.").waitFor();
  await page.context().close();
});

test("a reload shows the conversation and goes on in its session; a new one begins another", async () => {
  const page = await open();
  const since = await lastSeq(plane);
  await send(page, "My name is Ada");
  await answer(page)
    .getByText(/all in/)
    .waitFor();
  await page.reload();
  await answer(page).getByText("You said: My name is Ada.").waitFor();
  await send(page, "Who am I?");
  await answer(page).getByText("You said earlier: My name is Ada.").waitFor();
  await answer(page)
    .getByText(/all in/)
    .waitFor();
  await picture(page, "plain-reloaded");
  // A reload in the middle of an answer ends it.
  await send(page, "for ever");
  await answer(page).getByText("5 ").first().waitFor();
  await page.reload();
  await plane.waitFor(isDisconnect(since));
  await answer(page).getByText("Cut off by a reload").waitFor();
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByText("Ask something to begin.").waitFor();
  await send(page, "Hello");
  await answer(page)
    .getByText(/all in/)
    .waitFor();
  assert.equal(await said(page), "You said: Hello.");
  const [first, second, third, other] = await sessionsSince(since);
  assert.equal(second, first);
  assert.equal(third, first);
  assert.notEqual(other, first);

  // What the page can see of its session.
  const cookies = await page.context().cookies();
  assert.deepEqual(
    cookies.map(({ name, httpOnly, secure, sameSite }) => ({ name, httpOnly, secure, sameSite })),
    [{ name: "__Host-conversation", httpOnly: true, secure: true, sameSite: "Lax" }],
  );
  const content = await page.content();
  for (const id of [first, other])
    assert.ok(!content.includes(id) && !cookies[0].value.includes(id));
  await page.context().close();
});

test("it fits a small screen and a dark one", async () => {
  const page = await open("/", { viewport: { width: 360, height: 640 }, colorScheme: "dark" });
  await send(page, "count 20 0");
  await answer(page)
    .getByText(/all in/)
    .waitFor();
  await send(page, "fail");
  await page.locator(".error").waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.ok(!wide, "it scrolls sideways");
  await picture(page, "plain-small-dark");
  await page.context().close();
});
