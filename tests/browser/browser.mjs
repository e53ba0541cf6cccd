// What the tests with a real browser share: the browser, the backends under test, pictures of both.
// The local data plane comes from the Node package's own test helpers, which need no native module.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { LocalDataPlane } from "../../bindings/node/dist/testing/index.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
process.env.AGENTCORE_LOCAL_BIN ??= `${target}/debug/agentcore-local`;
const PICTURES = resolve(root, "target/browser");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** A bundle that is compiled, or a browser that starts, on a machine with other work. */
const START_MS = 60_000;

function browserPath() {
  const path = process.env.CHROMIUM || "/usr/bin/chromium";
  if (existsSync(path)) return path;
  throw new Error(
    `there is no browser at ${path}: \`apt-get install chromium\` installs Debian's; the variable` +
      " CHROMIUM names another Chromium or Chrome",
  );
}

/** A headless browser with an empty profile, gone at the end of the file. */
export async function launch(options = {}) {
  const browser = await chromium.launch({
    executablePath: browserPath(),
    headless: true,
    args: FLAGS,
    timeout: START_MS,
    ...options,
  });
  after(() => browser.close());
  return browser;
}

/**
 * A page with cookies of its own. What breaks in it, and whatever it logs as an error, is in
 * `page.complaints`.
 */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(message.text());
  });
  return page;
}

/** A picture below target/browser/, for people. */
export async function picture(page, name) {
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
}

/** A local data plane, gone at the end of the file; see `agentcore-client/testing`. */
export async function localDataPlane(options) {
  const plane = await LocalDataPlane.start(options);
  after(() => plane.close());
  return plane;
}

/** The environment in which a backend calls this data plane, and nobody else. */
export function environmentOf(plane) {
  const { PATH, HOME, LANG } = process.env;
  const auth = plane.clientOptions();
  return {
    PATH,
    HOME,
    LANG,
    AGENT_RUNTIME_ARN: plane.runtimeArn,
    AWS_ENDPOINT_URL_BEDROCK_AGENTCORE: plane.baseUrl,
    AWS_EC2_METADATA_DISABLED: "true",
    ...("bearerToken" in auth
      ? {}
      : {
          AWS_ACCESS_KEY_ID: auth.credentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: auth.credentials.secretAccessKey,
          ...(auth.credentials.sessionToken && {
            AWS_SESSION_TOKEN: auth.credentials.sessionToken,
          }),
        }),
  };
}

/** The last number of the journal: `since` for what comes after now. */
export async function lastSeq(plane) {
  return (await plane.journal()).at(-1)?.seq ?? 0;
}

/** A process, killed at the end of the file; `said()` is everything it printed. */
export function program(command, args, options) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk) => {
      said += chunk;
    });
  }
  const ended = new Promise((done) => child.once("close", done));
  after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, said: () => said };
}

/** A {@link program} that is there when something that it prints matches `ready`; `match` is that. */
export async function backend(command, args, { ready, ...options }) {
  const { child, said } = program(command, args, options);
  const match = await new Promise((done, failed) => {
    const fail = (why) => {
      clearTimeout(timer);
      failed(new Error(`${command} ${args.join(" ")}: ${why}\n${said()}`));
    };
    const timer = setTimeout(fail, START_MS, `not ready within ${START_MS / 1000} s`);
    child.once("error", (error) => fail(error.message));
    child.once("close", (code) => fail(`ended with exit code ${code}`));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", () => {
        const found = ready.exec(said());
        if (found === null) return;
        clearTimeout(timer);
        done(found);
      });
    }
  });
  return { child, match, said };
}

/** What a process holds in memory, in bytes. */
export function residentBytes(pid) {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}
