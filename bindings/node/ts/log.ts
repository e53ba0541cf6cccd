/*
 * The core's log lines: on the diagnostics channel `agentcore-client:log`, and on stderr where
 * NODE_DEBUG names `agentcore-client`. Silent unless asked for.
 */
import type { Channel } from "node:diagnostics_channel";
import type { DebugLogger } from "node:util";

let lines: Channel | undefined;
let debug: DebugLogger | undefined;

/** Logs a line. */
export function emit(level: string, message: string): void {
  // Looked up now: most programs never log a line, and all of them start.
  lines ??= (
    require("node:diagnostics_channel") as typeof import("node:diagnostics_channel")
  ).channel("agentcore-client:log");
  debug ??= (require("node:util") as typeof import("node:util")).debuglog("agentcore-client");
  // What a subscriber throws is reported by the channel itself, and fails no call.
  if (lines.hasSubscribers) lines.publish({ level, message });
  if (debug.enabled) debug("%s %s", level, message);
}
