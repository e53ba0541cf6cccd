// A client of the relay's frame protocol: one socket, questions with an id, answers frame by frame.
// It knows nothing of the page.

/** API Gateway closes a socket after 10 minutes in which the client said nothing. */
const KEEP_ALIVE_MS = 4 * 60_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Events: `state` (detail `idle`, `connecting`, `open` or `closed`), `frame` (detail is a frame of an
 * answer, each once), `lost` (detail is the set of questions whose answer will not come).
 */
export class Relay extends EventTarget {
  #url;
  #socket;
  #waiting = [];
  #seen = new Map();
  #pauses = 0;
  #timer;
  state = "idle";

  constructor(url) {
    super();
    this.#url = url;
    setInterval(() => this.#tell({ type: "ping" }), KEEP_ALIVE_MS);
    addEventListener("online", () => this.#hurry());
  }

  /** Sends a question as soon as there is a socket. Its `id` comes back in the answer's frames. */
  ask(question) {
    this.#seen.set(question.id, -1);
    this.#waiting.push(question);
    this.connect();
    this.#flush();
  }

  /** Whether an answer with this id is still to come. */
  isOpen(id) {
    return this.#seen.has(id);
  }

  connect() {
    if (this.#socket || this.#timer) return;
    this.#become("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#pauses = 0;
      this.#become("open");
      this.#flush();
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = () => {
      if (this.#socket === socket) this.#lost(true);
    };
  }

  /** Gives up what is under way: the relay notices that nobody listens and drops the invocation. */
  stop() {
    const socket = this.#socket;
    this.#waiting = [];
    this.#lost(false);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    socket?.close(1000, "stopped");
  }

  #lost(again) {
    this.#socket = undefined;
    const waiting = new Set(this.#waiting.map(({ id }) => id));
    const ids = new Set([...this.#seen.keys()].filter((id) => !waiting.has(id)));
    for (const id of ids) this.#seen.delete(id);
    this.#become(again ? "closed" : "idle");
    if (ids.size) this.#emit("lost", ids);
    if (!again) return;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#pauses++, LONGEST_PAUSE_MS);
    this.#timer = setTimeout(() => this.#hurry(), pause * (0.5 + Math.random() / 2));
  }

  #hurry() {
    if (this.state !== "closed") return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.connect();
  }

  #flush() {
    while (this.state === "open" && this.#waiting.length) this.#tell(this.#waiting.shift());
  }

  #tell(message) {
    if (this.state === "open") this.#socket.send(JSON.stringify(message));
  }

  #take(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === undefined && frame.connectionId) {
      // The gateway's own words: it does not say which question it is about.
      for (const id of [...this.#seen.keys()]) {
        this.#end({ type: "error", id, code: "gateway", message: frame.message });
      }
      return;
    }
    const last = this.#seen.get(frame.id);
    // Another answer's, or one that was given up.
    if (last === undefined) return;
    if (frame.seq !== undefined) {
      if (frame.seq <= last) return;
      this.#seen.set(frame.id, frame.seq);
    }
    if (["end", "error", "continue"].includes(frame.type)) this.#end(frame);
    else this.#emit("frame", frame);
  }

  #end(frame) {
    this.#seen.delete(frame.id);
    this.#emit("frame", frame);
  }

  #become(state) {
    this.state = state;
    this.#emit("state", state);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
