// Many answers at a time from a backend, as a page would read them.

/** Asks, and gives the tokens as they come; `startAgent` in agent.mjs says which prompts there are. */
export async function* tokensOf(url, prompt, options = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt }),
    ...options,
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  let pending = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (pending + text).split(/\r?\n\r?\n/);
    pending = events.pop();
    for (const event of events) {
      if (event.startsWith("event: error")) throw new Error(event);
      if (event.startsWith("event: end")) return;
      const data = /^data: ?(.*)$/m.exec(event)?.[1];
      if (data !== undefined) yield JSON.parse(data);
    }
  }
  throw new Error("an answer without an end");
}

/** What `count` came to: that each number came once and in order, or an error. */
export async function count(url, number, pauseMs, options) {
  let expected = 0;
  for await (const token of tokensOf(url, `count ${number} ${pauseMs}`, options)) {
    if (token !== `${expected} `)
      throw new Error(`${JSON.stringify(token)} in place of ${expected}`);
    expected += 1;
  }
  if (expected !== number) throw new Error(`it ended at ${expected} of ${number}`);
}

/** Runs `task` so many times, so many at once. */
export async function repeat(times, atOnce, task) {
  let started = 0;
  const worker = async () => {
    while (started < times) await task(started++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** How late tokens were, in milliseconds after the agent had said them, sorted. */
export async function delays(url, number, pauseMs) {
  const late = [];
  for await (const token of tokensOf(url, `count ${number} ${pauseMs} timed`)) {
    late.push(Date.now() - Number(token.split("@")[1]));
  }
  return late.sort((one, other) => one - other);
}

/** A value that so much of the sorted values is at most. */
export const quantile = (sorted, part) => sorted[Math.ceil(part * sorted.length) - 1];
