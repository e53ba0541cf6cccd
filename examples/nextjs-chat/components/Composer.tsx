"use client";

import { type FormEvent, type KeyboardEvent, useRef } from "react";

/** Where a prompt is written. Enter sends it, Shift and Enter begin a line. */
export function Composer({
  busy,
  onSend,
  onStop,
}: {
  busy: boolean;
  onSend: (prompt: string) => void;
  onStop: () => void;
}) {
  const field = useRef<HTMLTextAreaElement>(null);

  function submit(event?: FormEvent) {
    event?.preventDefault();
    const prompt = field.current?.value.trim() ?? "";
    if (busy || prompt === "") return;
    if (field.current !== null) field.current.value = "";
    onSend(prompt);
  }

  function key(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  }

  return (
    <form className="composer" onSubmit={submit}>
      <textarea
        ref={field}
        aria-label="Your message"
        placeholder="Your message"
        rows={2}
        onKeyDown={key}
      />
      {busy ? (
        <button type="button" className="stop" onClick={onStop}>
          Stop
        </button>
      ) : (
        <button type="submit">Send</button>
      )}
    </form>
  );
}
