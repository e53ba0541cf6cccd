// The harness itself: a page from a server of ours, its complaints, and a data plane.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { backend, environmentOf, launch, localDataPlane, newPage, picture } from "./browser.mjs";

test("a page, what it says and what it complains of", async () => {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<title>t</title><h1>Hi</h1><script>throw new Error('on purpose')</script>");
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  after(() => server.close());
  const page = await newPage(await launch());
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  assert.equal(await page.textContent("h1"), "Hi");
  assert.match(page.complaints.join(), /on purpose/);
  await picture(page, "harness");
});

test("a backend is ready when it says so, and an early end is an error that tells why", async () => {
  const env = environmentOf(await localDataPlane());
  const script = (text) => ["-e", text];
  const { match } = await backend(
    process.execPath,
    script("console.log('at', process.env.AGENT_RUNTIME_ARN); setInterval(() => {}, 1000)"),
    { env, ready: /at (\S+)\n/ },
  );
  assert.equal(match[1], env.AGENT_RUNTIME_ARN);
  await assert.rejects(
    backend(process.execPath, script("console.error('no port'); process.exit(3)"), {
      env,
      ready: /never/,
    }),
    /exit code 3\nno port/,
  );
});
