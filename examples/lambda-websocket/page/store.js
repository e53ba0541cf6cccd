// The conversations of this tab. They outlive a reload and not the tab: with its resume token,
// whoever reads a conversation could also go on with it.

const KEY = "agent-relay";

function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return kept?.conversations?.length ? kept : undefined;
  } catch {
    return undefined;
  }
}

const newConversation = () => ({ id: crypto.randomUUID(), messages: [], resume: undefined });

export class Store {
  constructor() {
    const first = newConversation();
    Object.assign(this, load() ?? { conversations: [first], current: first.id });
  }

  get conversation() {
    return this.conversations.find(({ id }) => id === this.current) ?? this.conversations[0];
  }

  /** The conversation and the answer that a frame belongs to. */
  find(messageId) {
    for (const conversation of this.conversations) {
      const message = conversation.messages.find(({ id }) => id === messageId);
      if (message) return { conversation, message };
    }
    return {};
  }

  /** Makes a new conversation the current one; an empty one is used again. */
  begin() {
    let empty = this.conversations.find(({ messages }) => !messages.length);
    if (!empty) {
      empty = newConversation();
      this.conversations.unshift(empty);
    }
    this.current = empty.id;
  }

  save() {
    const { conversations, current } = this;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ conversations, current }));
    } catch {
      // Full or forbidden: then a reload forgets.
    }
  }
}
