// What the clients in JavaScript have in common: BASE_URL on the command line, the service's figures, the checks.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export const [baseURL] = process.argv.slice(2);
if (!baseURL) {
  console.error(`usage: node ${process.argv[1]} BASE_URL`);
  process.exit(2);
}
export const QUESTION = "Tell me about Tokenrill, Grüße 🌊.";
export const LONG = "tokens=2000&rate=20";

export async function figures() {
  const text = await (await fetch(`${baseURL}/metrics`)).text();
  const lines = (start) => text.split("\n").filter((line) => line.startsWith(start));
  const figure = (start) => lines(start).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  return { live: figure("tokenrill_generations_live "), cancelled: figure('tokenrill_generations_total{outcome="cancelled"') };
}

export const running = async () => {
  while ((await figures()).live === 0) await sleep(20);
};

/** Runs a client that leaves an answer before its end: the generation is then stopped, and no other. */
export async function stops(leave) {
  const before = await figures();
  await leave();
  const deadline = Date.now() + 30_000;
  let after = await figures();
  while ((after.live > 0 || after.cancelled === before.cancelled) && Date.now() < deadline) {
    await sleep(20);
    after = await figures();
  }
  assert.deepEqual(after, { live: 0, cancelled: before.cancelled + 1 });
}

/** Returns the error with which a call is refused. */
export const refusal = (call) =>
  Promise.resolve(call).then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );

/** Ends the process: with 0 only if every check passed. */
export async function check(checks) {
  let failed = 0;
  for (const [name, holds] of Object.entries(checks)) {
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
