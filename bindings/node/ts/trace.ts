/*
 * The current trace, from OpenTelemetry, if the program uses that. Its API keeps what was set up in
 * one global of a documented major version, so nothing has to be imported to find it.
 */
import type { Options } from "./native.js";

interface Context {
  getValue(key: symbol): unknown;
}
interface Api {
  context?: { active(): Context };
}
interface Span {
  spanContext?(): SpanContext;
}
interface SpanContext {
  traceId: string;
  spanId: string;
  traceFlags: number;
  traceState?: { serialize(): string };
}
interface Baggage {
  getAllEntries?(): [string, { value: string }][];
}

const API = Symbol.for("opentelemetry.js.api.1");
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");
const BAGGAGE = Symbol.for("OpenTelemetry Baggage Key");

/**
 * The options with the current span's context, unless the caller named a trace. Baggage often holds
 * user data, so it is only sent where that was asked for.
 */
export function withCurrentTrace(
  options: Options | undefined,
  propagateBaggage: boolean,
): Options | undefined {
  const api = (globalThis as Record<symbol, unknown>)[API] as Api | undefined;
  if (api?.context === undefined || options?.["trace"] !== undefined) return options;
  const active = api.context.active();
  const trace = {
    ...traceOf(active.getValue(SPAN) as Span | undefined),
    ...(propagateBaggage ? baggageOf(active.getValue(BAGGAGE) as Baggage | undefined) : {}),
  };
  return Object.keys(trace).length === 0 ? options : { ...options, trace };
}

function traceOf(span: Span | undefined): { traceparent?: string; tracestate?: string } {
  const context = span?.spanContext?.();
  if (
    context === undefined ||
    !/^(?!0+$)[0-9a-f]{32}$/.test(context.traceId) ||
    !/^(?!0+$)[0-9a-f]{16}$/.test(context.spanId)
  ) {
    return {};
  }
  const flags = (context.traceFlags & 0xff).toString(16).padStart(2, "0");
  const tracestate = context.traceState?.serialize();
  return {
    traceparent: `00-${context.traceId}-${context.spanId}-${flags}`,
    // A longer one may be dropped, and must not fail the call.
    ...(tracestate && tracestate.length <= 512 ? { tracestate } : {}),
  };
}

function baggageOf(baggage: Baggage | undefined): { baggage?: string } {
  const entries = baggage?.getAllEntries?.() ?? [];
  const text = entries
    .map(([name, { value }]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join(",");
  return text === "" || text.length > 8192 ? {} : { baggage: text };
}
