// The page of the Python and Rust examples in a browser: FastAPI, Flask and axum pass the agent's
// words on as they come, and a tab that is closed or stopped reaches the agent.
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  backend,
  environmentOf,
  lastSeq,
  launch,
  localDataPlane,
  newPage,
  picture,
} from "./browser.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
const python = `${root}bindings/python/.venv/bin/python`;
const browser = await launch();

const BACKENDS = {
  fastapi: (env) =>
    backend(python, ["-m", "uvicorn", "--port", "0", "fastapi_sse:app"], {
      cwd: `${root}examples/python`,
      env,
      ready: /(http:\/\/127\.0\.0\.1:\d+)/,
    }),
  flask: (env) =>
    backend(python, ["-m", "waitress", "--listen", "127.0.0.1:0", "flask_stream:app"], {
      cwd: `${root}examples/python`,
      env,
      ready: /(http:\/\/127\.0\.0\.1:\d+)/,
    }),
  axum: (env) =>
    backend(`${target}/debug/axum-sse`, [], {
      env: { ...env, PORT: "0" },
      ready: /(http:\/\/127\.0\.0\.1:\d+)/,
    }),
};
const LONG = Array.from({ length: 400 }, (_, number) => `word${number}`).join(" ");

for (const [name, start] of Object.entries(BACKENDS)) {
  const plane = await localDataPlane({ args: ["--pace-ms", "25"] });
  const env = { ...environmentOf(plane), SESSION_SECRET: "correct horse battery staple" };
  const { match } = await start(env);
  const ask = async (prompt) => {
    const page = await newPage(browser);
    await page.goto(match[1]);
    await page.getByLabel("Your question").fill(prompt);
    await page.getByRole("button", { name: "Ask" }).click();
    return page;
  };
  const said = (page) => page.textContent("#answer");
  const state = (page, text) => page.getByRole("status").getByText(text).waitFor();
  const left = (since) =>
    plane.waitFor(({ seq, kind }) => seq > since && kind === "disconnect", { timeoutMs: 30_000 });

  test(`${name}: tokens appear one after another`, async () => {
    const prompt = Array.from({ length: 40 }, (_, number) => `token${number}`).join(" ");
    const page = await ask(prompt);
    const lengths = new Set();
    while ((await page.textContent("#state")) !== "done") {
      lengths.add((await said(page)).length);
      await page.waitForTimeout(20);
    }
    assert.equal(await said(page), `You said: ${prompt}.`);
    lengths.delete(0);
    lengths.delete((await said(page)).length);
    assert.ok(lengths.size >= 3, `only ${[...lengths]} before the end`);
    await picture(page, `${name}-answer`);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  test(`${name}: a closed tab ends the invocation`, async () => {
    const since = await lastSeq(plane);
    const page = await ask(LONG);
    await page.getByText("word3").waitFor();
    await page.close();
    await left(since);
  });

  test(`${name}: stop ends it, too, and the page goes on`, async () => {
    const since = await lastSeq(plane);
    const page = await ask(LONG);
    await page.getByText("word3").waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await state(page, "stopped");
    await left(since);
    await page.getByLabel("Your question").fill("Hi");
    await page.keyboard.press("Enter");
    await state(page, "done");
    assert.match(await said(page), /^You said: Hi\./);
    await page.context().close();
  });

  test(`${name}: what goes wrong is shown`, async () => {
    await plane.addFault({ resetAfterBytes: 30 });
    const page = await ask("Hi");
    await state(page, "failed: The answer broke off.");
    assert.match(await said(page), /^You/);
    await plane.addFault({ status: 403, code: "AccessDeniedException" });
    await page.getByRole("button", { name: "Ask" }).click();
    await state(page, "failed: This is not allowed.");
    await picture(page, `${name}-error`);
    await page.context().close();
  });
}
