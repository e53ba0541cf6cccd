import type { NextConfig } from "next";

const config: NextConfig = {
  // Its native module can't be bundled. Left outside, it is loaded from node_modules as Node.js does
  // it, and the standalone folder gets a copy of what it consists of.
  serverExternalPackages: ["agentcore-client"],
  // A server with nothing but what it needs, for a container: `npm run build`, then copy
  // .next/standalone and start its server.js.
  output: "standalone",
  poweredByHeader: false,
};

export default config;
