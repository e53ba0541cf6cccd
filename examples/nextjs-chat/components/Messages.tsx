"use client";

import { useEffect, useRef } from "react";

export interface Message {
  id: string;
  from: "user" | "agent";
  text: string;
  /** What stands below it: how long it took, or why it ended. */
  note?: string;
  /** It still comes in. */
  live?: boolean;
}

/** The conversation; the newest stays in sight, unless somebody has scrolled up. */
export function Messages({ messages, waiting }: { messages: Message[]; waiting?: string }) {
  const end = useRef<HTMLDivElement>(null);
  const follow = useRef(true);
  useEffect(() => {
    const look = () => {
      const { scrollHeight } = document.documentElement;
      follow.current = window.innerHeight + window.scrollY > scrollHeight - 120;
    };
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  useEffect(() => {
    if (follow.current) end.current?.scrollIntoView({ block: "end" });
  }, [messages, waiting]);

  return (
    <div className="messages">
      {messages.length === 0 && <p className="empty">Ask something to begin.</p>}
      <ol aria-label="Conversation">
        {messages.map(({ id, from, text, note, live }) => (
          <li key={id} className={from} data-live={live}>
            <span className="who">{from === "user" ? "You" : "Agent"}</span>
            {text !== "" && <p className="text">{text}</p>}
            {note !== undefined && <p className="note">{note}</p>}
          </li>
        ))}
      </ol>
      <p role="status" className="waiting">
        {waiting}
      </p>
      <div ref={end} />
    </div>
  );
}
