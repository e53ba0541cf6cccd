// Runs a Lambda handler on this machine, in place of Lambda's own Node.js runtime:
//
//     node bootstrap.mjs handler.handler
//
// A function that is deployed does not need it.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const env = process.env;
const base = `http://${env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/`;

const post = (path, value) =>
  fetch(base + path, { method: "POST", body: JSON.stringify(value ?? null) });

function failure(error) {
  console.error(error);
  return { errorType: error?.name ?? "Error", errorMessage: String(error?.message ?? error) };
}

async function load(name) {
  const dot = name.lastIndexOf(".");
  const file = resolve(env.LAMBDA_TASK_ROOT ?? ".", `${name.slice(0, dot)}.mjs`);
  return (await import(pathToFileURL(file)))[name.slice(dot + 1)];
}

let handler;
try {
  handler = await load(process.argv[2] ?? env._HANDLER);
} catch (error) {
  await post("init/error", failure(error));
  process.exit(1);
}
for (;;) {
  const next = await fetch(`${base}invocation/next`).catch(() => undefined);
  // Whoever started this is gone.
  if (!next?.ok) process.exit(0);
  const header = (name) => next.headers.get(`lambda-runtime-${name}`);
  const id = header("aws-request-id");
  const context = {
    awsRequestId: id,
    invokedFunctionArn: header("invoked-function-arn"),
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    getRemainingTimeInMillis: () => Math.max(0, Number(header("deadline-ms")) - Date.now()),
  };
  try {
    await post(`invocation/${id}/response`, await handler(await next.json(), context));
  } catch (error) {
    await post(`invocation/${id}/error`, failure(error));
  }
}
