// What every contestant of the Node bench is measured with, as `../../python/contestants/measure.py`
// does it: `NAME.mjs SCENARIO ADDRESS OPTIONS`, in a process of its own. A contestant brings three
// verbs, written as its documentation says:
//
//   call(payload)                the body of an answer, as bytes
//   drain(payload)               how many events, and the last one's text; nothing else is done
//   follow(payload, each, stay)  each event's text, as soon as it is there; once `each` says true,
//                                the stream stays open until the promise `stay` is settled
//
// and this module runs a scenario with them and prints one line of JSON. CPU time is that of the
// process, user and system and all threads; imports, clients and connections are there before it
// counts. Everything received is checked: in full while warming up, by number and last event while
// it counts, because a check costs as much as an event does.

export const ARN = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234";
export const REGION = "us-east-1";
export const SESSION = "bench-0123456789abcdef0123456789abcdef";
const JSON_ANSWER = Buffer.from('{"result":"The capital of France is Paris.","tokens":12}');

const ask = (kind, members = {}) =>
  new TextEncoder().encode(JSON.stringify({ kind, per_chunk: 1, ...members }));
const textOf = (number) => `token ${String(number).padStart(6, "0")} `.padEnd(90, "x");

function ensure(condition, what) {
  if (!condition) throw new Error(what);
}

function checkAnswer(body) {
  ensure(JSON_ANSWER.equals(body), "another answer than the mock's");
}

function checkDrained({ count, last }, expected) {
  ensure(count === expected && last === textOf(expected - 1), `${last} after ${count} events`);
}

/** When a stamped event was sent. */
function sent(text, number, size) {
  const [token, count, stamp, padding] = text.split(" ");
  const complete = text.length === size - 10 && /^x*$/.test(padding);
  ensure(token === "token" && Number(count) === number && complete, `event ${number} is ${text}`);
  return BigInt(stamp);
}

/** Runs something and gives the CPU time it took. */
async function spent(work) {
  const started = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(started);
  return { result, cpu_ns: (user + system) * 1000 };
}

/** What is to be added to `hrtime` for the wall clock, of which Node itself shows milliseconds. */
function wallOffset() {
  const offsets = Array.from({ length: 5 }, () => {
    const before = Date.now();
    let now = before;
    let at = 0n;
    while (now === before) {
      now = Date.now();
      at = process.hrtime.bigint();
    }
    return BigInt(now) * 1_000_000n - at;
  });
  // A process that was interrupted in between has the smaller offset.
  return offsets.reduce((one, other) => (one > other ? one : other));
}

async function calls(side, options) {
  const payload = ask("json");
  const { together, units, warm } = options;
  const some = async (count) => {
    for (let call = 0; call < count; call++) checkAnswer(await side.call(payload));
  };
  const all = (count) => Promise.all(Array.from({ length: together }, () => some(count)));
  await all(warm);
  const each = Math.floor(units / together);
  const { cpu_ns } = await spent(() => (together === 1 ? some(each) : all(each)));
  return { cpu_ns, units: each * together };
}

async function body(side, options) {
  const { units, warm, size } = options;
  const payload = ask("large", { size });
  for (let call = 0; call < warm; call++) {
    const answer = await side.call(payload);
    const text = JSON.parse(Buffer.from(answer).toString()).result;
    ensure(answer.length === size && /^x+$/.test(text), "another answer than the mock's");
  }
  const { cpu_ns } = await spent(async () => {
    for (let call = 0; call < units; call++) {
      ensure((await side.call(payload)).length === size, "another size than the mock's");
    }
  });
  return { cpu_ns, units };
}

async function events(side, options) {
  const { units, warm } = options;
  let number = 0;
  await side.follow(ask("sse", { events: warm }), (text) => {
    ensure(text === textOf(number), `event ${number} is ${text}`);
    number += 1;
    return false;
  });
  ensure(number === warm, `${number} events instead of ${warm}`);
  checkDrained(await side.drain(ask("sse", { events: warm })), warm);

  const payload = ask("sse", { events: units });
  const { result, cpu_ns } = await spent(() => side.drain(payload));
  checkDrained(result, units);
  return { cpu_ns, units: result.count };
}

async function paced(side, options) {
  const { units, warm, every_ms, size } = options;
  const offset = wallOffset();
  await side.follow(ask("paced", { events: warm, every_ms, size }), () => false);
  // What an event says is looked at afterwards.
  const seen = [];
  const { cpu_ns } = await spent(() =>
    side.follow(ask("paced", { events: units, every_ms, size }), (text) => {
      seen.push([process.hrtime.bigint(), text]);
      return false;
    }),
  );
  ensure(seen.length === units, `${seen.length} events instead of ${units}`);
  const late_ns = seen.map(([at, text], number) => Number(at + offset - sent(text, number, size)));
  return { cpu_ns, late_ns, units };
}

/** All are opened at once, and have had one event each before any of them goes on. */
async function streams(side, options) {
  const { units, warm, every_ms, size, streams } = options;
  checkAnswer(await side.call(ask("json")));
  await side.follow(ask("sse", { events: warm }), () => false);

  const payload = ask("gated", { events: units, every_ms, size });
  const opened = withResolvers();
  const done = withResolvers();
  const stay = withResolvers();
  let openedSoFar = 0;
  let doneSoFar = 0;
  const stream = async () => {
    let number = 0;
    const each = (text) => {
      sent(text, number, size);
      number += 1;
      if (number === 1 && ++openedSoFar === streams) opened.resolve();
      if (number <= units) return false;
      if (++doneSoFar === streams) done.resolve();
      return true;
    };
    await side.follow(payload, each, stay.promise);
    ensure(number === units + 1, `a stream ended after ${number} events`);
  };

  // Only here: what opening leaves behind is there for a user, too.
  globalThis.gc();
  const before = process.memoryUsage.rss();
  const all = Promise.all(Array.from({ length: streams }, stream));
  // A stream that fails ends the bench; that all of them end is seen at the end.
  all.catch((error) => [opened, done].map((one) => one.reject(error)));
  await opened.promise;
  const resident = process.memoryUsage.rss() - before;

  const { cpu_ns } = await spent(async () => {
    checkAnswer(await side.call(ask("go")));
    await done.promise;
  });
  stay.resolve();
  await all;
  return { cpu_ns, units: units * streams, rss_kib: resident / 1024 };
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  return one;
}

const SCENARIOS = { calls, body, events, paced, streams };

/** Runs the scenario that the command line names; `make` gives the contestant for a base URL. */
export async function run(make) {
  const [scenario, address, given] = process.argv.slice(2);
  const options = JSON.parse(given);
  const side = make(`http://${address}`, options);
  const result = await SCENARIOS[scenario](side, options);
  side.close();
  console.log(JSON.stringify(result));
}
