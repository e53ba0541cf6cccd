"use client";

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, type UIMessage } from "ai";
import { errorIn } from "@/lib/events";
import { Composer } from "./Composer";
import { Messages } from "./Messages";

const textOf = (message: UIMessage | undefined) =>
  message?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";

// The agent keeps the conversation in its session, so only the newest message goes there.
const transport = new DefaultChatTransport<UIMessage>({
  api: "/api/ai-sdk",
  prepareSendMessagesRequest: ({ messages }) => ({ body: { prompt: textOf(messages.at(-1)) } }),
});

export function AiSdkChat() {
  const { messages, sendMessage, status, stop, error } = useChat({ transport });
  const busy = status === "submitted" || status === "streaming";
  return (
    <main>
      <h1 className="hidden">Chat with the AI SDK</h1>
      <Messages
        messages={messages.map((message, at) => ({
          id: message.id,
          from: message.role === "user" ? "user" : "agent",
          text: textOf(message),
          live: status === "streaming" && at === messages.length - 1,
        }))}
        waiting={status === "submitted" ? "The agent is thinking…" : undefined}
      />
      <div className="bottom">
        {error !== undefined && (
          <p role="alert" className="error">
            {error.message.startsWith("{") ? errorIn(error.message).message : error.message}
          </p>
        )}
        <Composer busy={busy} onSend={(text) => sendMessage({ text })} onStop={stop} />
      </div>
    </main>
  );
}
