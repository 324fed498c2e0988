// OpenAI's SDK against this service's own limits: told what is left, refused in its own terms, and let in again by
// waiting as it was told.
//   node openai_limits.mjs URL
import assert from "node:assert/strict";
import OpenAI from "openai";

const baseURL = `${process.argv[2]}/v1`;
const client = (maxRetries) => new OpenAI({ baseURL, apiKey: "unused", maxRetries });
const asked = { model: "demo?tokens=1&rate=max", messages: [{ role: "user", content: "Hello" }] };

const once = client(0).chat.completions;
let refused;
for (let left = Infinity; !refused; ) {
  try {
    const { response } = await once.create(asked).withResponse();
    assert.equal(response.headers.get("x-ratelimit-limit-requests"), "60");
    const now = Number(response.headers.get("x-ratelimit-remaining-requests"));
    assert.ok(now <= left, `${now} of ${left}`);
    left = now;
  } catch (error) {
    refused = error;
  }
}
assert.ok(refused instanceof OpenAI.RateLimitError, String(refused));
assert.equal(refused.code, "rate_limited");
assert.equal(refused.type, "rate_limit_error");
assert.equal(refused.headers.get("x-ratelimit-remaining-requests"), "0");
const wait = Number(refused.headers.get("retry-after-ms"));
assert.ok(wait > 0 && wait <= 1_000, `${wait} ms`);

// It waits by itself, as long as it takes and not much longer.
const began = performance.now();
const answer = await client(2).chat.completions.create(asked);
assert.ok(answer.choices[0].message.content);
console.log(`ok   refused for ${wait} ms, let in after ${Math.round(performance.now() - began)} ms`);
