// The page: draws the conversations and hands questions to the relay.
import { Relay } from "./relay.js";
import { Store } from "./store.js";

const IDEAS = [
  "Tell me how a token travels from an agent to this page, one hop after the other.",
  "A Lambda function may answer a WebSocket message for 29 seconds only. What about answers that take minutes?",
  "Remember that my favourite colour is green.",
];
const STATES = {
  idle: "not connected",
  connecting: "connecting …",
  open: "connected",
  closed: "connection lost, trying again",
};

const of = (id) => document.getElementById(id);
const make = (name, text, properties) =>
  Object.assign(document.createElement(name), { textContent: text, ...properties });

const given =
  new URLSearchParams(location.search).get("url") ||
  document.querySelector("meta[name=relay-url]").content;
const url = given || `${location.protocol.replace("http", "ws")}//${location.host}/local`;

const store = new Store();
const relay = new Relay(url);

// An answer that was under way when the page was left won't come any more.
for (const { messages } of store.conversations) {
  for (const message of messages) if (isUnderWay(message)) message.state = "cut";
}

function isUnderWay({ state }) {
  return state === "asked" || state === "started";
}

function title({ messages }) {
  return messages[0]?.text ?? "New conversation";
}

// ---- drawing ----

function draw() {
  changed.clear();
  const current = store.conversation;
  const asked = store.conversations.filter(({ messages }) => messages.length);
  of("title").textContent = title(current);
  of("conversations").replaceChildren(
    ...asked.map((one) => {
      const button = make("button", title(one), { type: "button", title: title(one) });
      button.setAttribute("aria-current", String(one === current));
      button.onclick = () => {
        store.current = one.id;
        update();
      };
      return button;
    }),
  );
  of("messages").replaceChildren(
    ...(current.messages.length ? current.messages.map(drawMessage) : [drawWelcome()]),
  );
  drawControls();
  of("messages").scrollTop = of("messages").scrollHeight;
}

function drawWelcome() {
  const welcome = of("welcome").content.cloneNode(true).firstElementChild;
  welcome
    .querySelector(".chips")
    .replaceChildren(
      ...IDEAS.map((idea) => make("button", idea, { type: "button", onclick: () => ask(idea) })),
    );
  return welcome;
}

function drawMessage(message) {
  if (message.role === "user") return make("li", message.text, { className: "mine" });
  const item = make("li", "", { className: "theirs" });
  item.dataset.id = message.id;
  item.dataset.state = message.state;
  item.append(make("div", message.text, { className: "text" }), make("footer", ""));
  drawFooter(item, message);
  return item;
}

function drawFooter(item, message) {
  const footer = item.querySelector("footer");
  const says = {
    asked: "",
    started: message.silent ? "the agent is still at it …" : "",
    complete: "",
    cut: "The answer was cut off.",
    stopped: "Stopped.",
    paused: "The function's time was up before the answer was.",
    failed: message.error,
  }[message.state];
  const parts = [make("span", [message.notice, says].filter(Boolean).join(" "))];
  const again = { paused: "Go on", cut: "Ask again", failed: "Ask again" }[message.state];
  if (again) {
    const prompt = message.state === "paused" ? "Please go on." : message.prompt;
    parts.push(make("button", again, { type: "button", onclick: () => ask(prompt) }));
  }
  footer.replaceChildren(...parts);
  footer.hidden = !footer.textContent;
}

function drawControls() {
  const busy = store.conversation.messages.some(isUnderWay);
  of("stop").hidden = !busy;
  of("send").hidden = busy;
  of("send").disabled = !of("prompt").value.trim();
}

/** What is to be drawn: messages, and the text that each has got meanwhile. */
const changed = new Map();
let isDue = false;

/** Only what changed, and once per picture: an answer may grow by a thousand words in a second. */
function redraw(message, added = "") {
  changed.set(message, (changed.get(message) ?? "") + added);
  if (!isDue) requestAnimationFrame(drawChanges);
  isDue = true;
}

function drawChanges() {
  isDue = false;
  const list = of("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  for (const [message, added] of changed) {
    const item = document.querySelector(`[data-id="${message.id}"]`);
    if (!item) continue;
    item.dataset.state = message.state;
    const text = item.querySelector(".text");
    if (text.lastChild) text.lastChild.appendData(added);
    else text.append(added);
    drawFooter(item, message);
  }
  changed.clear();
  drawControls();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

let keeping;

function keep() {
  clearTimeout(keeping);
  keeping = undefined;
  store.save();
}

/** An answer that grows is kept now and then, not for each word. */
function keepSoon() {
  keeping ??= setTimeout(keep, 500);
}

addEventListener("pagehide", keep);

function update() {
  keep();
  draw();
}

// ---- asking ----

function ask(prompt) {
  const conversation = store.conversation;
  if (conversation.messages.some(isUnderWay)) return;
  const id = crypto.randomUUID();
  conversation.messages.push(
    { role: "user", text: prompt },
    { role: "agent", id, text: "", state: "asked", prompt },
  );
  update();
  const { resume } = conversation;
  relay.ask({ prompt, id, conversation: conversation.id, ...(resume && { resume }) });
}

function fit() {
  const { style } = of("prompt");
  style.height = "auto";
  style.height = `${of("prompt").scrollHeight}px`;
}

of("form").onsubmit = (event) => {
  event.preventDefault();
  const prompt = of("prompt").value.trim();
  if (!prompt || store.conversation.messages.some(isUnderWay)) return;
  of("prompt").value = "";
  fit();
  ask(prompt);
};
of("prompt").oninput = () => {
  fit();
  drawControls();
};
of("prompt").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  of("form").requestSubmit();
};
of("stop").onclick = () => {
  for (const message of store.conversation.messages) {
    if (isUnderWay(message)) message.state = "stopped";
  }
  relay.stop();
  update();
};
of("new").onclick = () => {
  store.begin();
  update();
  of("prompt").focus();
};

// ---- what comes back ----

relay.addEventListener("frame", ({ detail: frame }) => {
  const { conversation, message } = store.find(frame.id);
  if (!message || !isUnderWay(message)) return;
  message.silent = frame.type === "heartbeat";
  let added;
  switch (frame.type) {
    case "start":
      message.state = "started";
      if (conversation.resume && frame.resumed === false) {
        message.notice = "The earlier session could not be resumed; this is a new one.";
      }
      conversation.resume = frame.resume;
      break;
    case "delta":
      added = frame.text;
      message.text += added;
      break;
    case "end":
      message.state = "complete";
      break;
    case "continue":
      message.state = "paused";
      conversation.resume = frame.resume;
      break;
    case "error":
      message.state = "failed";
      message.error = frame.message;
      break;
    default:
  }
  redraw(message, added);
  if (frame.type === "delta") keepSoon();
  else if (frame.type !== "heartbeat") keep();
});

relay.addEventListener("lost", ({ detail: ids }) => {
  for (const id of ids) {
    const { message } = store.find(id);
    if (message && isUnderWay(message)) {
      message.state = "cut";
      redraw(message);
    }
  }
  keep();
});

relay.addEventListener("state", ({ detail: state }) => {
  of("connection").dataset.state = state;
  of("connection").lastElementChild.textContent = STATES[state];
  const lost = state === "closed";
  of("notice").hidden = !lost;
  of("notice").textContent = lost ? `There is no connection to ${new URL(url).host}.` : "";
});

draw();
of("prompt").focus();
relay.connect();
