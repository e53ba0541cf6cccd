// What the Next.js example makes of bad input, and of users who log in.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { startAgent } from "./agent.mjs";
import { lastSeq, launch, localDataPlane, newPage, picture } from "./browser.mjs";
import { startNextjs } from "./nextjs-server.mjs";

const agent = await startAgent();
after(() => agent.close());
const plane = await localDataPlane({ agent: agent.url });
const tokens = await localDataPlane({ agent: agent.url, bearer: true });
/** Cognito, for one user. */
const cognito = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { AuthParameters, AuthFlow, ClientId } = JSON.parse(Buffer.concat(chunks));
  assert.equal(request.headers["x-amz-target"], "AWSCognitoIdentityProviderService.InitiateAuth");
  assert.deepEqual([AuthFlow, ClientId], ["USER_PASSWORD_AUTH", "app"]);
  if (AuthParameters.PASSWORD === "right") {
    const AccessToken = await tokens.mintToken({ sub: AuthParameters.USERNAME });
    response.end(JSON.stringify({ AuthenticationResult: { AccessToken, ExpiresIn: 3600 } }));
  } else {
    response.writeHead(400).end('{"__type":"NotAuthorizedException","message":"a secret"}');
  }
});
await new Promise((done) => cognito.listen(0, "127.0.0.1", done));
after(() => cognito.close());

const byRole = await startNextjs(plane);
const byUser = await startNextjs(tokens, {
  COGNITO_CLIENT_ID: "app",
  COGNITO_ENDPOINT: `http://127.0.0.1:${cognito.address().port}/`,
});
// Set up for the other kind: a role's signatures at a runtime that wants tokens.
const wrongKind = await startNextjs(tokens, {
  AWS_ACCESS_KEY_ID: plane.accessKey,
  AWS_SECRET_ACCESS_KEY: plane.secretKey,
});

const post = (server, path, body, headers = {}) =>
  fetch(server.url + path, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
/** The status and the code of an error, which tells nothing else. */
async function refusal(response, ...secrets) {
  assert.equal(response.headers.get("content-type"), "application/json");
  const text = await response.text();
  for (const secret of ["secret", "arn:", plane.accessKey, "127.0.0.1", ...secrets]) {
    assert.ok(!text.includes(secret), text);
  }
  return [response.status, JSON.parse(text).error.code];
}
const hasRun = (plane, since) =>
  plane.journal(since).then((entries) => entries.some(({ kind }) => kind === "session"));

test("bad input is refused by name, and invokes nothing", async () => {
  const since = await lastSeq(plane);
  for (const path of ["/api/chat", "/api/ai-sdk"]) {
    for (const [body, status, code] of [
      ["", 400, "INVALID_INPUT"],
      ["no JSON", 400, "INVALID_INPUT"],
      ["null", 400, "INVALID_INPUT"],
      ["{}", 400, "INVALID_INPUT"],
      [{ prompt: 7 }, 400, "INVALID_INPUT"],
      [{ prompt: "  " }, 400, "INVALID_INPUT"],
      [{ prompt: "x".repeat(40_000) }, 413, "TOO_LARGE"],
    ]) {
      const response = await post(byRole, path, body);
      assert.deepEqual(await refusal(response), [status, code], JSON.stringify(body).slice(0, 40));
    }
    assert.equal((await fetch(byRole.url + path)).status, 405);
  }
  assert.equal(await lastSeq(plane), since);
});

test("a page of another site can ask, log in and begin nothing", async () => {
  const since = await lastSeq(plane);
  const ask = (path, method, site) =>
    fetch(byRole.url + path, {
      method,
      // What a form may send without being allowed to.
      headers: { "content-type": "text/plain", "sec-fetch-site": site },
      ...(method === "POST" && { body: '{"prompt":"Hi","username":"ada","password":"right"}' }),
    });
  for (const site of ["cross-site", "same-site"]) {
    for (const [path, method] of [
      ["/api/chat", "POST"],
      ["/api/ai-sdk", "POST"],
      ["/api/login", "POST"],
      ["/api/login", "DELETE"],
      ["/api/session", "POST"],
    ]) {
      const response = await ask(path, method, site);
      assert.equal(response.headers.get("set-cookie"), null, path);
      assert.deepEqual(await refusal(response), [400, "INVALID_INPUT"]);
    }
  }
  assert.equal(await lastSeq(plane), since);
  assert.equal((await ask("/api/session", "POST", "same-origin")).status, 204);
});

test("a cookie that is not ours begins a session of its own", async () => {
  const first = await post(byRole, "/api/chat", { prompt: "Hi" });
  await first.text();
  const own = first.headers.get("set-cookie").split(";")[0];
  const again = await post(byRole, "/api/chat", { prompt: "Hi" }, { cookie: own });
  assert.match(await again.text(), /earlier/);
  assert.equal(again.headers.get("set-cookie"), null);
  const tampered = [
    own.replace(/=./, "=_"),
    own.slice(0, -2),
    `${own.split(".")[0]}.x`,
    "__Host-conversation=",
  ];
  for (const cookie of tampered) {
    const other = await post(byRole, "/api/chat", { prompt: "Hi" }, { cookie });
    assert.doesNotMatch(await other.text(), /earlier/);
    assert.match(other.headers.get("set-cookie"), /^__Host-conversation=/);
  }
});

test("a runtime of the other kind of auth", async () => {
  const since = await lastSeq(tokens);
  const response = await post(wrongKind, "/api/chat", { prompt: "Hi" });
  assert.deepEqual(await refusal(response), [403, "SERVICE"]);
  assert.ok(!(await hasRun(tokens, since)));
});

test("nobody logged in, an expired token, and one that the runtime refuses", async () => {
  const since = await lastSeq(tokens);
  const chat = (cookie) => post(byUser, "/api/chat", { prompt: "Hi" }, { cookie });
  assert.deepEqual(await refusal(await chat("")), [401, "INVALID_INPUT"]);
  const expired = await tokens.mintToken({ sub: "ada", exp: 1_000_000 });
  assert.deepEqual(await refusal(await chat(`__Host-token=${expired}`), expired), [
    401,
    "INVALID_INPUT",
  ]);
  assert.equal(await lastSeq(tokens), since);
  // Its signature is somebody else's: only the runtime can tell.
  const [head, claims] = (await tokens.mintToken({ sub: "ada" })).split(".");
  const forged = await chat(`__Host-token=${head}.${claims}.c2ln`);
  assert.equal((await refusal(forged))[0], 401);
  assert.ok(!(await hasRun(tokens, since)));
});

test("a user logs in, and is asked for by name", async () => {
  const page = await newPage(await launch(), { viewport: { width: 900, height: 700 } });
  const since = await lastSeq(tokens);
  await page.goto(byUser.url);
  const cookie = async (name) => (await page.context().cookies()).find((one) => one.name === name);
  await page.getByLabel("User name").fill("ada");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("Wrong name or password.").waitFor();
  await picture(page, "login-refused");
  await page.evaluate(() => fetch("/api/session", { method: "POST" }));
  const before = await cookie("__Host-conversation");
  await page.getByLabel("Password").fill("right");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Your message").fill("Hi");
  assert.notEqual((await cookie("__Host-conversation")).value, before.value);
  const token = await cookie("__Host-token");
  assert.ok(token.httpOnly && token.secure && token.sameSite === "Lax");
  await page.keyboard.press("Enter");
  await page.getByText("You said: Hi.").waitFor();
  await page.getByText(/all in/).waitFor();
  await picture(page, "logged-in");
  const entries = await tokens.journal(since);
  assert.ok(
    entries.some(({ kind, claim, accepted }) => kind === "auth" && claim === "bearer" && accepted),
  );
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("User name").waitFor();
  assert.equal(await cookie("__Host-token"), undefined);
});
