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
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    yield textOf(await response.text());
    return;
  }
  let pending = "";
  for await (const text of chunksOf(response.body.pipeThrough(new TextDecoderStream()))) {
    pending += text;
    // What is left of a cut is the beginning of the next event.
    const events = pending.split("\n\n");
    pending = events.pop() ?? "";
    for (const event of events) {
      const lines = event.split("\n");
      const data = lines
        .filter((line) => line.startsWith("data: "))
        .map((line) => line.slice(6))
        .join("\n");
      if (lines.includes("event: end")) return;
      if (lines.includes("event: error")) throw errorIn(data);
      if (data !== "") yield textOf(data);
    }
  }
  throw new ChatError("STREAM_INTERRUPTED", "The answer broke off.");
}

/** An agent of the Python SDK that yields strings sends each as JSON; others send plain text. */
function textOf(data: string): string {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "string" ? value : "";
  } catch {
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
