// TLS with a certificate authority of one's own, and an http proxy in between.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get } from "node:http";
import { get as getTls } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { localhostCertificate } from "./certificate.mjs";
import { all, clientOf, failure, localDataPlane } from "./support.mjs";

const listen = (server) =>
  new Promise((done) => {
    after(() => server.close());
    server.listen(0, "127.0.0.1", () => done(server.address().port));
  });

/** Passes on whatever comes from either side, until one of them is gone. */
function relay(one, other) {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ]) {
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    from.pipe(to);
  }
}

// The data plane behind TLS. It is told by which name it is called before that server is there.
const { key, cert } = localhostCertificate();
const tls = createTlsServer({ key, cert }, (socket) => {
  relay(socket, connect(new URL(plane.baseUrl).port, "127.0.0.1"));
});
// A client that distrusts the certificate.
tls.on("tlsClientError", () => {});
const port = await listen(tls);
const plane = await localDataPlane({ args: ["--allow-host", `localhost:${port}`] });
const endpointUrl = `https://localhost:${port}`;

const folder = mkdtempSync(join(tmpdir(), "agentcore-ca-"));
after(() => rmSync(folder, { recursive: true }));
const caBundle = join(folder, "ca.pem");
writeFileSync(caBundle, cert);

// A proxy that wants a password, and counts the tunnels to each target.
const tunnels = [];
const proxy = createServer((_, response) => response.writeHead(501).end());
proxy.on("connect", (request, socket) => {
  const wanted = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
  if (request.headers["proxy-authorization"] !== wanted) {
    socket.end("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  tunnels.push(request.url);
  socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
  const behind = connect(port, "127.0.0.1");
  relay(socket, behind);
});
const proxyPort = await listen(proxy);
const proxyUrl = `http://user:p%40ss@127.0.0.1:${proxyPort}`;

/** Makes a client while these variables are set: it looks at them once. */
function withVariables(variables, make) {
  Object.assign(process.env, variables);
  try {
    return make();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}
const client = (options, variables = {}) =>
  withVariables(variables, () => clientOf(plane, { endpointUrl, retry: "never", ...options }));

async function works(made) {
  assert.equal((await made.invoke({ mode: "json", value: 1 })).json(), 1);
  const stream = await made.stream({ mode: "stream", tokens: 3 });
  assert.equal((await all(stream)).length, 3);
}

async function hasNoConnection(made) {
  const error = await failure(made.invoke("hi"));
  assert.deepEqual([error.code, error.delivery], ["CONNECT", "not_sent"], error.message);
  return error;
}

test("an authority of one's own: caBundle, AWS_CA_BUNDLE, SSL_CERT_FILE", async () => {
  await works(client({ caBundle }));
  await works(client({}, { AWS_CA_BUNDLE: caBundle }));
  // The system's store is read when a first connection is made.
  process.env.SSL_CERT_FILE = caBundle;
  try {
    await works(client({}));
  } finally {
    delete process.env.SSL_CERT_FILE;
  }
});

test("without it there is no connection, and nothing was sent", async () => {
  const seen = await plane.countPosts();
  const error = await hasNoConnection(client({}));
  assert.match(error.message, /certificate/i);
  assert.equal(await plane.countPosts(), seen);
});

test("a bundle that is missing or empty is named", async () => {
  const missing = join(folder, "none.pem");
  const empty = join(folder, "empty.pem");
  writeFileSync(empty, "");
  for (const file of [missing, empty]) {
    for (const make of [
      () => client({ caBundle: file }),
      () => client({}, { AWS_CA_BUNDLE: file }),
    ]) {
      const error = await failure((async () => make().invoke("hi"))());
      assert.ok(error.message.includes(file), error.message);
      assert.equal(error.delivery, "not_sent");
    }
  }
});

test("another name than the certificate's is refused", async () => {
  await hasNoConnection(client({ caBundle, endpointUrl: `https://127.0.0.1:${port}` }));
});

test("a proxy: the option, HTTPS_PROXY, https_proxy", async () => {
  for (const [options, variables] of [
    [{ proxy: proxyUrl }, {}],
    [{}, { HTTPS_PROXY: proxyUrl }],
    [{}, { https_proxy: proxyUrl }],
  ]) {
    tunnels.length = 0;
    await works(client({ caBundle, ...options }, variables));
    // Two calls, one connection.
    assert.deepEqual(tunnels, [`localhost:${port}`]);
  }
});

test("a proxy is gone around: NO_PROXY, and an option that is empty", async () => {
  tunnels.length = 0;
  await works(client({ caBundle }, { HTTPS_PROXY: proxyUrl, NO_PROXY: "localhost" }));
  await works(client({ caBundle, proxy: "" }, { HTTPS_PROXY: proxyUrl }));
  assert.deepEqual(tunnels, []);
});

test("a proxy that refuses or is not there: nothing was sent, no password is told", async () => {
  const seen = await plane.countPosts();
  const wrong = `http://user:s3cret@127.0.0.1:${proxyPort}`;
  const refused = await hasNoConnection(client({ caBundle, proxy: wrong }));
  assert.match(refused.message, /proxy authorization required/);
  assert.doesNotMatch(JSON.stringify(refused) + refused.stack, /s3cret/);
  await hasNoConnection(client({ caBundle, proxy: "http://127.0.0.1:1" }));
  assert.throws(
    () => client({ proxy: "ftp://user:s3cret@127.0.0.1" }),
    (error) => {
      assert.equal(error.field, "proxy");
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    },
  );
  assert.equal(await plane.countPosts(), seen);
});

test("these tests' own server and proxy do what they say", async () => {
  const status = (ask, url, options) =>
    new Promise((done, failed) => {
      ask(url, options, (answer) => done(answer.resume().statusCode)).on("error", failed);
    });
  assert.ok((await status(getTls, endpointUrl, { ca: cert })) >= 400);
  await assert.rejects(status(getTls, endpointUrl, {}), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  assert.equal(await status(get, `http://127.0.0.1:${proxyPort}/`, {}), 501);
});
