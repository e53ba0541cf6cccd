// Whole answers of all sizes and kinds: small ones come across in another way than large ones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "agentcore-client";
import { failure, scriptedAgent } from "./support.mjs";

/** An agent that answers with what it is sent, and says that it is of this type. */
const echo = (options, contentType = "application/json") =>
  scriptedAgent((response, body) => {
    response.writeHead(200, { "content-type": contentType, "x-twice": ["one", "two"] });
    response.end(body);
  }, options);

/** A JSON string of so many bytes. */
const jsonOf = (length) => Buffer.from(JSON.stringify("ä".repeat((length - 2) / 2)));

test("answers of all sizes are the same to their reader", async () => {
  const client = await echo();
  for (const length of [4, 64, 66, 4094, 4096, 4098, 40_000]) {
    const sent = jsonOf(length);
    assert.equal(sent.length, length);
    const reply = await client.invoke(sent);
    assert.deepEqual(Buffer.from(reply.bytes), sent);
    assert.equal(reply.text, "ä".repeat((length - 2) / 2));
    assert.equal(reply.json(), reply.text);
    assert.equal(reply.status, 200);
    assert.equal(reply.end, "complete");
    assert.match(reply.sessionId, /^[0-9a-f-]{36}$/);
    assert.equal(reply.contentType, "application/json");
    assert.equal(reply.headers["x-twice"], "one, two");
  }
});

test("other types than JSON", async () => {
  for (const length of [10, 5000]) {
    const plain = await (await echo({}, "text/plain; charset=utf-8")).invoke(jsonOf(length));
    assert.equal(plain.text, `"${"ä".repeat((length - 2) / 2)}"`);
    const events = Buffer.from(`data: "${"e".repeat(length)}"\n\n`);
    const said = await (await echo({}, "text/event-stream")).invoke(events);
    assert.equal(said.text, "e".repeat(length));
    assert.deepEqual(Buffer.from(said.bytes), events);
    const binary = await (await echo({}, "application/octet-stream")).invoke(Buffer.alloc(length));
    assert.equal(binary.text, undefined);
    assert.equal(binary.bytes.length, length);
  }
});

test("where the text is, the call, the sibling or the client says", async () => {
  for (const length of [10, 5000]) {
    const [sent, raw] = [jsonOf(length), jsonOf(length).toString()];
    const textOf = async (client, options) => (await client.invoke(sent, options)).text;
    const client = await echo({ textFormat: "raw" });
    assert.equal(await textOf(client), raw);
    assert.equal(await textOf(client, { textFormat: "none" }), undefined);
    assert.equal(await textOf(client, { textFormat: "auto" }), JSON.parse(raw));
    assert.equal(await textOf(client.withOptions({ retry: "never" })), raw);
    assert.equal(await textOf(client.withOptions({ textFormat: "none" })), undefined);
  }
});

test("an answer that is no text", async () => {
  const client = await echo();
  for (const length of [8, 5000]) {
    const reply = await client.invoke(Buffer.alloc(length, 0xff));
    assert.ok((await failure((async () => reply.json())())) instanceof ProtocolError);
    assert.equal(reply.text, "\ufffd".repeat(length));
  }
});

test("more answers at once than there is room for", async () => {
  const client = await echo();
  const sent = Array.from({ length: 300 }, (_, number) =>
    Buffer.from(JSON.stringify(String(number).padEnd(number % 3 === 0 ? 4000 : 10, "."))),
  );
  const replies = await Promise.all(sent.map((body) => client.invoke(body)));
  // What one reader does with its bytes is nothing to the others.
  for (const { bytes } of replies.slice(0, 150))
    structuredClone(bytes, { transfer: [bytes.buffer] });
  for (const [number, reply] of replies.entries()) {
    if (number >= 150) assert.deepEqual(Buffer.from(reply.bytes), sent[number]);
    assert.equal(reply.text, JSON.parse(sent[number].toString()));
    assert.equal(reply.headers["x-twice"], "one, two");
  }
});
