// examples/lambda-websocket as its tests see it: the gateway of the local data plane, the handler in
// Python behind it, and the page.
import { fileURLToPath } from "node:url";
import { localDataPlane, newPage } from "./browser.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const example = `${root}examples/lambda-websocket`;
// Another one, such as the handler in Rust, has to speak the runtime API as well.
const handler =
  process.env.AGENTCORE_RELAY_HANDLER ??
  `'${root}bindings/python/.venv/bin/python' '${example}/local/bootstrap.py'`;

/** A data plane with all of it, gone at the end of the file. */
export function relayPlane(...args) {
  return localDataPlane({
    args: [
      ...["--handler", handler],
      ...["--handler-env", `LAMBDA_TASK_ROOT=${example}/python`],
      ...["--handler-env", "ALLOWED_ORIGINS=*"],
      ...["--page", `${example}/page`],
      ...args,
    ],
  });
}

/** The page, when it is connected. `page.received` is what its socket has got. */
export async function open(browser, plane, options) {
  const page = await newPage(browser, options);
  page.received = [];
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => page.received.push(JSON.parse(payload)));
  });
  await page.goto(`${plane.baseUrl}/`);
  await page.waitForSelector("#connection[data-state=open]", { timeout: 60_000 });
  return page;
}

export async function ask(page, prompt) {
  await page.fill("#prompt", prompt);
  await page.press("#prompt", "Enter");
}

export const answers = (page) => page.locator(".theirs .text");
export const last = (page) => answers(page).last();
export const state = (page) => page.locator(".theirs").last().getAttribute("data-state");
export const ended = (page, how = "complete", timeout = 60_000) =>
  page.waitForSelector(`.theirs:last-child[data-state=${how}]`, { timeout });

export const isInvocation = ({ kind, target }) =>
  kind === "request" && /^\/runtimes\/[^/]+\/invocations/.test(target);
