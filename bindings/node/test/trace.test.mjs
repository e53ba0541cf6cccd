// The current trace goes along where the program uses OpenTelemetry: the real API, and the context
// manager that its SDK for Node.js sets up.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  context,
  createTraceState,
  propagation,
  ROOT_CONTEXT,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { all, clientOf, localDataPlane, pause } from "./support.mjs";

const plane = await localDataPlane();
const client = clientOf(plane);
const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";
const traceparent = `00-${traceId}-${spanId}-01`;

const withSpan = (more, outer = ROOT_CONTEXT) =>
  trace.setSpanContext(outer, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, ...more });

/** The trace headers of the one call that `ask` makes, as the agent saw them. */
async function sent(ask) {
  await plane.clearJournal();
  await ask();
  const requests = (await plane.journal()).filter(({ kind }) => kind === "request");
  assert.equal(requests.length, 1);
  const names = ["traceparent", "tracestate", "baggage"];
  return Object.fromEntries(
    requests[0].headers
      .map(([name, value]) => [name.toLowerCase(), value])
      .filter(([name]) => names.includes(name)),
  );
}

test("nothing is sent while nobody has set OpenTelemetry up", async () => {
  const there = await sent(() => context.with(withSpan({}), () => client.invoke("hi")));
  assert.deepEqual(there, {});
});

test("once it is set up", async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  after(() => context.disable());
  const within = (active, ask) => sent(() => context.with(active, ask));

  await t.test("the span that is active when the call is made", async () => {
    assert.deepEqual(await within(withSpan({}), () => client.invoke("hi")), { traceparent });
    const later = async () => {
      await pause(2);
      return all(await client.stream("hi"));
    };
    assert.deepEqual(await within(withSpan({}), later), { traceparent });
    const unsampled = withSpan({ traceFlags: TraceFlags.NONE });
    assert.deepEqual(await within(unsampled, () => client.invoke("hi")), {
      traceparent: `00-${traceId}-${spanId}-00`,
    });
    assert.deepEqual(await sent(() => client.invoke("hi")), {});
  });

  await t.test("each of several calls has its own", async () => {
    await plane.clearJournal();
    const ids = Array.from({ length: 16 }, (_, n) => `${(n + 1).toString(16)}`.padStart(16, "0"));
    await Promise.all(
      ids.map((spanId) =>
        context.with(withSpan({ spanId }), () =>
          client.invoke("hi", { sessionId: `${"x".repeat(24)}${spanId}` }),
        ),
      ),
    );
    const seen = (await plane.journal())
      .filter(({ kind }) => kind === "request")
      .map(({ headers }) => {
        const of = (wanted) => headers.find(([name]) => name.toLowerCase() === wanted)[1];
        const session = of("x-amzn-bedrock-agentcore-runtime-session-id");
        assert.equal(of("traceparent").split("-")[2], session.slice(24));
        return session.slice(24);
      });
    assert.deepEqual(seen.sort(), ids);
  });

  await t.test("its state, unless that is too long to be let through", async () => {
    const traceState = createTraceState("a=1,b=2");
    const active = withSpan({ traceState });
    assert.deepEqual(await within(active, () => client.invoke("hi")), {
      traceparent,
      tracestate: "a=1,b=2",
    });
    const grown = traceState.set("c", "x".repeat(250)).set("d", "y".repeat(255));
    assert.ok(grown.serialize().length > 512);
    const long = withSpan({ traceState: grown });
    assert.deepEqual(await within(long, () => client.invoke("hi")), { traceparent });
  });

  await t.test("a span that is none, and a trace of the caller's own", async () => {
    const none = withSpan({ traceId: "0".repeat(32) });
    assert.deepEqual(await within(none, () => client.invoke("hi")), {});
    const own = "00-11111111111111111111111111111111-2222222222222222-00";
    const ask = () => client.invoke("hi", { trace: { traceparent: own } });
    assert.deepEqual(await within(withSpan({}), ask), { traceparent: own });
  });

  await t.test("baggage only on request", async () => {
    const baggage = propagation.createBaggage({
      tenant: { value: "a b" },
      user: { value: "Ada, ü" },
    });
    const active = propagation.setBaggage(withSpan({}), baggage);
    assert.deepEqual(await within(active, () => client.invoke("hi")), { traceparent });
    const telling = clientOf(plane, { propagateBaggage: true });
    assert.deepEqual(await within(active, () => telling.invoke("hi")), {
      traceparent,
      baggage: "tenant=a%20b,user=Ada%2C%20%C3%BC",
    });
    const alone = propagation.setBaggage(ROOT_CONTEXT, baggage);
    assert.deepEqual(Object.keys(await within(alone, () => telling.invoke("hi"))), ["baggage"]);
  });
});
