// Plays the one native part of aws-lambda-ric, a poller for invocations, so that nothing has to be
// compiled: the package's own poller in JavaScript is used in its place. Preloaded with --require.
const Module = require("node:module");
const load = Module._load;
const refuse = () => {
  throw new Error("only streamed answers are expected here");
};
Module._load = function (request, ...rest) {
  if (request === "./rapid-client.node") {
    return { initializeClient() {}, next: refuse, done: refuse, error: refuse };
  }
  return load.call(this, request, ...rest);
};
