/*
 * The core's log lines: on the diagnostics channel `agentcore-client:log`, and on stderr where
 * NODE_DEBUG names `agentcore-client`. Silent unless asked for.
 */
import { channel } from "node:diagnostics_channel";
import { debuglog } from "node:util";

const lines = channel("agentcore-client:log");
const debug = debuglog("agentcore-client");

/** Logs a line. */
export function emit(level: string, message: string): void {
  // What a subscriber throws is reported by the channel itself, and fails no call.
  if (lines.hasSubscribers) lines.publish({ level, message });
  if (debug.enabled) debug("%s %s", level, message);
}
