"use client";

import { useEffect, useRef, useState } from "react";
import { answerTo, ChatError } from "@/lib/events";
import { Composer } from "./Composer";
import { type Message, Messages } from "./Messages";

/** What this tab keeps, so that a reload shows the conversation that the session cookie goes on with. */
const KEPT = "conversation";

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

export function Chat({ canLeave }: { canLeave: boolean }) {
  const [messages, setMessages] = useState<Message[]>([]);
  const [error, setError] = useState<string>();
  const [waiting, setWaiting] = useState<string>();
  const [running, setRunning] = useState<AbortController>();
  const restored = useRef(false);

  useEffect(() => {
    if (!restored.current) {
      restored.current = true;
      setMessages(restore());
      return;
    }
    sessionStorage.setItem(KEPT, JSON.stringify(messages));
  }, [messages]);

  async function send(prompt: string) {
    const id = crypto.randomUUID();
    const change = (part: Partial<Message>) =>
      setMessages((all) => all.map((one) => (one.id === id ? { ...one, ...part } : one)));
    const controller = new AbortController();
    setRunning(controller);
    setError(undefined);
    setMessages((all) => [
      ...all,
      { id: `${id}?`, from: "user", text: prompt },
      { id, from: "agent", text: "", live: true },
    ]);
    const asked = performance.now();
    const clock = setInterval(
      () => setWaiting(`The agent is thinking… ${seconds(performance.now() - asked)}`),
      100,
    );
    setWaiting("The agent is thinking…");
    let text = "";
    let first: number | undefined;
    const stopWaiting = () => {
      clearInterval(clock);
      setWaiting(undefined);
    };
    const took = () =>
      first === undefined ? "" : `First token after ${seconds(first)}, all in ${seconds(now())}`;
    const now = () => performance.now() - asked;
    try {
      for await (const delta of answerTo(prompt, controller.signal)) {
        if (first === undefined) {
          first = now();
          stopWaiting();
        }
        text += delta;
        change({ text });
      }
      change({ live: false, note: took() });
    } catch (cause) {
      if (controller.signal.aborted) {
        change({ live: false, note: "Stopped" });
      } else {
        change({ live: false, note: text === "" ? "No answer" : "Incomplete" });
        setError(cause instanceof ChatError ? cause.message : "The connection broke.");
      }
    } finally {
      stopWaiting();
      setRunning(undefined);
    }
  }

  async function begin() {
    running?.abort();
    await fetch("/api/session", { method: "POST" });
    setMessages([]);
    setError(undefined);
  }

  async function leave() {
    running?.abort();
    await fetch("/api/login", { method: "DELETE" });
    sessionStorage.removeItem(KEPT);
    window.location.reload();
  }

  return (
    <main>
      <h1 className="hidden">Chat</h1>
      <Messages messages={messages} waiting={waiting} />
      <div className="bottom">
        {error !== undefined && (
          <p role="alert" className="error">
            {error}
          </p>
        )}
        <Composer busy={running !== undefined} onSend={send} onStop={() => running?.abort()} />
        <div className="actions">
          <button type="button" className="quiet" onClick={begin}>
            New conversation
          </button>
          {canLeave && (
            <button type="button" className="quiet" onClick={leave}>
              Log out
            </button>
          )}
        </div>
      </div>
    </main>
  );
}

/** An answer that the reload cut off does not come back: its connection is closed. */
function restore(): Message[] {
  const kept = sessionStorage.getItem(KEPT);
  if (kept === null) return [];
  return (JSON.parse(kept) as Message[]).map((message) =>
    message.live ? { ...message, live: false, note: "Cut off by a reload" } : message,
  );
}
