// Shared by the scripts in JavaScript: BASE_URL on the command line, metrics of the service, and the runner of the checks.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export const [baseURL] = process.argv.slice(2);
if (!baseURL) {
  console.error(`usage: node ${process.argv[1]} BASE_URL`);
  process.exit(2);
}
export const QUESTION = "Tell me about Tokenrill, Grüße 🌊.";
export const LONG = "tokens=2000&rate=20";
/** An answer that exceeds `generation.max_bytes` by its log probabilities. */
export const TOO_LARGE = "tokens=4000&rate=max";
/** A text that exceeds `server.max_body`. */
export const LARGE_TEXT = "x".repeat(17 << 20);

/**
 * Returns the rows of a table that need a service with authentication and a key of it that has only the scope `follow`:
 * the environment variables GUARDED_URL and GUARDED_KEY.
 */
export function guardedRows(rows) {
  const { GUARDED_URL, GUARDED_KEY } = process.env;
  assert.ok(GUARDED_URL && GUARDED_KEY, "GUARDED_URL and GUARDED_KEY are missing");
  return rows(GUARDED_URL, GUARDED_KEY);
}

export async function figures() {
  const text = await (await fetch(`${baseURL}/metrics`)).text();
  // The sum of the series of all upstreams and models.
  const lines = (start) => text.split("\n").filter((line) => line.startsWith(start));
  const figure = (start) => lines(start).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  return { live: figure("tokenrill_generations_live "), cancelled: figure('tokenrill_generations_total{outcome="cancelled"') };
}

export const running = async () => {
  while ((await figures()).live === 0) await sleep(20);
};

/** Waits for a state of the service, at most 30 s, and returns the last one. */
async function settled(isExpected) {
  const deadline = Date.now() + 30_000;
  let seen = await figures();
  while (!isExpected(seen) && Date.now() < deadline) {
    await sleep(20);
    seen = await figures();
  }
  return seen;
}

/** Runs a client that leaves an answer before its end: the generation is then stopped, and no other. */
export async function stops(leave) {
  const before = await settled(({ live }) => live === 0);
  assert.equal(before.live, 0, "no generation is live before");
  await leave();
  const after = await settled(({ live, cancelled }) => live === 0 && cancelled > before.cancelled);
  assert.deepEqual(after, { live: 0, cancelled: before.cancelled + 1 });
}

/** Returns the error with which a call is refused. */
export const refusal = (call) =>
  Promise.resolve(call).then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );

/**
 * Starts a call and stops its generation by its id. The call sends the channel that it is given: the id of a whole
 * answer is known only from the channel's events before the response.
 */
export async function stopped(call) {
  const channel = `room-${crypto.randomUUID()}`;
  const response = call(channel);
  // Handled below. Without this, a rejection during the poll ends the process.
  response.catch(() => {});
  const poll = async () => (await fetch(`${baseURL}/v1/channels/${channel}/events?history=9`, { headers: { accept: "application/json" } })).json();
  let events = [];
  while (events.length === 0) {
    await sleep(20);
    ({ events } = await poll());
  }
  const { ok } = await fetch(`${baseURL}/v1/generations/${events[0].data.generation}/cancel`, { method: "POST" });
  assert.ok(ok);
  return response;
}

/** Closes the connections of all streams, each in the middle of its response, as an operator does. */
export async function cut() {
  const { data } = await (await fetch(`${baseURL}/v1/connections`)).json();
  const streams = data.filter(({ kind }) => kind === "event_stream");
  assert.ok(streams.length > 0, JSON.stringify(data));
  for (const { id } of streams) await fetch(`${baseURL}/v1/connections/${id}`, { method: "DELETE" });
}

/** Ends the process: with 0 only if every check passed. `skipped` has the reason of each check that is left out. */
export async function check(checks, skipped = {}) {
  let failed = 0;
  for (const [name, holds] of Object.entries(checks)) {
    if (skipped[name]) {
      console.log(`skip ${name}: ${skipped[name]}`);
      continue;
    }
    try {
      await holds();
      console.log(`ok   ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
}
