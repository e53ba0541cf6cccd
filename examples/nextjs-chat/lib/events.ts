// In the browser: a conversation with one of our routes, as server-sent events over `fetch`. (An
// `EventSource` can't POST, and asks again by itself when a connection breaks: the agent would run
// twice.)

/** What went wrong, in words for people. */
export class ChatError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** What the agent says, piece by piece. */
export async function* answerTo(prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  const response = await fetch("/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt }),
    signal,
  });
  if (!response.ok || response.body === null) throw errorIn(await response.text());
  let pending = "";
  for await (const text of chunksOf(response.body.pipeThrough(new TextDecoderStream()))) {
    pending += text;
    // What is left of a cut is the beginning of the next event.
    const events = pending.split(/\r\n\r\n|\n\n|\r\r/);
    pending = events.pop() ?? "";
    for (const event of events) {
      const lines = event.split(/\r\n|\n|\r/);
      const data = lines
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""));
      if (data.length === 0) continue;
      if (lines.includes("event: error")) throw errorIn(data.join("\n"));
      yield textOf(data.join("\n"));
    }
  }
}

/** An agent of the Python SDK that yields strings sends each as JSON; others send plain text. */
function textOf(data: string): string {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "string") return value;
    if (typeof value === "object" && value !== null && "error" in value) {
      throw new ChatError("AGENT", "The agent failed.");
    }
    return "";
  } catch (error) {
    if (error instanceof ChatError) throw error;
    return data;
  }
}

/** What `errorResponse` and the event `error` tell. */
export function errorIn(body: string): ChatError {
  try {
    const { error } = JSON.parse(body) as { error: { code: string; message: string } };
    return new ChatError(error.code, error.message);
  } catch {
    return new ChatError("INTERNAL", "The server failed.");
  }
}

/** Not every browser can iterate a stream. */
async function* chunksOf<T>(stream: ReadableStream<T>): AsyncGenerator<T> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
