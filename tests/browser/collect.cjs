// Preloaded with --require and --expose-gc: upon SIGUSR2, what is garbage goes, and what is left is told.
process.on("SIGUSR2", () => {
  globalThis.gc();
  // Finalizers run in a turn of their own.
  setTimeout(() => {
    globalThis.gc();
    const { heapUsed, external, rss } = process.memoryUsage();
    console.log(`held ${JSON.stringify({ heapUsed, external, rss })}`);
  }, 100);
});
