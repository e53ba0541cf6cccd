// The page's client of the frame protocol, without a page: what a broken connection does to it.
import assert from "node:assert/strict";
import { test } from "node:test";

const sockets = [];

class Socket {
  sent = [];

  constructor() {
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {}
}

test("who stops while it connects again may ask again", async ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  Object.assign(globalThis, { WebSocket: Socket, addEventListener() {} });
  const { Relay } = await import("../../examples/lambda-websocket/page/relay.js");
  const relay = new Relay("ws://localhost/");
  relay.connect();
  sockets[0].onopen();
  sockets[0].onclose();
  assert.equal(relay.state, "closed");
  relay.ask({ id: "one", prompt: "Hi" });
  relay.stop();
  relay.ask({ id: "two", prompt: "Hi" });
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 2);
  sockets[1].onopen();
  assert.deepEqual(sockets[1].sent, [{ id: "two", prompt: "Hi" }]);
});
