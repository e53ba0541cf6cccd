/*
 * A web stream of what somebody asks for, and of no more.
 */

/** Gives what comes next; `undefined` at the end. */
export type Next<T> = () => Promise<T | undefined>;

/** Nothing is read before somebody asks, so that back-pressure reaches the socket. */
export function readable<T>(next: Next<T>, close: () => Promise<void>): ReadableStream<T> {
  let cancelled = false;
  return new ReadableStream<T>(
    {
      pull: async (controller) => {
        try {
          const value = await next();
          if (cancelled) return;
          if (value === undefined) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          // Whoever cancelled knows that it was closed.
          if (!cancelled) throw error;
        }
      },
      cancel: () => {
        cancelled = true;
        return close();
      },
    },
    { highWaterMark: 0 },
  );
}
