// Uses the service through Anthropic's SDK for JavaScript as any program would: another base URL, nothing else.
//   node anthropic_sdk.mjs BASE_URL
// The service serves the embedded model, which has OpenAI's dialect. Exit code 0 only if every check passed; each one
// that failed is printed.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL] = process.argv.slice(2);
if (!baseURL) {
  console.error("usage: node anthropic_sdk.mjs BASE_URL");
  process.exit(2);
}

let calls = 0;
const counted = (...request) => {
  calls += 1;
  return fetch(...request);
};
const client = new Anthropic({ baseURL, apiKey: "unused", maxRetries: 0, fetch: counted });
const retrying = client.withOptions({ maxRetries: 1 });
const MESSAGES = [{ role: "user", content: "Tell me about Tokenrill, Grüße 🌊." }];
const asked = (options, more) => ({ model: `demo?${options}`, max_tokens: 4096, messages: MESSAGES, ...more });
const LONG = "tokens=2000&rate=20";
const weather = {
  name: "weather",
  description: "The weather in a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const textOf = ({ content }) => content.filter(({ type }) => type === "text").map(({ text }) => text).join("");

async function refused(call, type, status, code) {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  const seen = JSON.stringify({ class: error.constructor.name, status: error.status, error: error.error, id: error.requestID });
  assert.equal(error.constructor, type, seen);
  assert.equal(error.status, status, seen);
  assert.equal(error.error.error.details.error_code, code, seen);
  assert.match(error.requestID ?? "", /^req_/, seen);
}

async function figures() {
  const text = await (await fetch(`${baseURL}/metrics`)).text();
  const lines = (start) => text.split("\n").filter((line) => line.startsWith(start));
  const figure = (start) => lines(start).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  return { live: figure("tokenrill_generations_live "), cancelled: figure('tokenrill_generations_total{outcome="cancelled"') };
}

/** Runs a client that leaves an answer before its end: the generation is then stopped, and no other. */
async function stops(leave) {
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
const running = async () => {
  while ((await figures()).live === 0) await sleep(20);
};

const checks = {
  "stream and helper return the text of the whole message": async () => {
    const body = asked("tokens=80&rate=max");
    const whole = await client.messages.create(body);
    assert.deepEqual([whole.type, whole.role, whole.stop_reason, whole.content.length], ["message", "assistant", "end_turn", 1]);
    assert.ok(whole.usage.output_tokens > 0 && whole.usage.input_tokens > 0);
    assert.match(whole._request_id, /^req_/);
    const events = [];
    for await (const event of await client.messages.create({ ...body, stream: true })) events.push(event);
    const text = events.filter(({ type }) => type === "content_block_delta").map(({ delta }) => delta.text).join("");
    assert.ok(events.length > 20, "token by token");
    assert.equal(text, textOf(whole));
    assert.deepEqual([events[0].type, events.at(-1).type], ["message_start", "message_stop"]);
    const final = await client.messages.stream(body).finalMessage();
    assert.equal(textOf(final), textOf(whole));
    assert.deepEqual([final.stop_reason, final.usage.output_tokens], ["end_turn", whole.usage.output_tokens]);
  },

  "tool is called, and its result continues the conversation": async () => {
    const body = asked("tool=weather&rate=max&tokens=20", { tools: [weather], tool_choice: { type: "any" } });
    const whole = await client.messages.create(body);
    const call = whole.content.find(({ type }) => type === "tool_use");
    assert.deepEqual([whole.stop_reason, call.name, call.input], ["tool_use", "weather", { city: "Zürich", unit: "celsius" }]);
    const inputs = [];
    const stream = client.messages.stream(body).on("inputJson", (_, snapshot) => inputs.push(snapshot));
    const final = await stream.finalMessage();
    assert.deepEqual(final.content.find(({ type }) => type === "tool_use").input, call.input);
    assert.deepEqual(inputs.at(-1), call.input);
    const result = { type: "tool_result", tool_use_id: call.id, content: "Rain." };
    const messages = [...MESSAGES, { role: "assistant", content: whole.content }, { role: "user", content: [result] }];
    const next = await client.messages.create({ ...body, messages, tool_choice: { type: "auto" } });
    assert.equal(next.stop_reason, "end_turn");
    assert.ok(textOf(next).length > 10);
  },

  "thinking precedes the text, in the stream and in the whole message": async () => {
    const body = asked("tokens=6&reasoning=9&rate=max");
    const whole = await client.messages.create(body);
    assert.deepEqual(whole.content.map(({ type }) => type), ["thinking", "text"]);
    const final = await client.messages.stream(body).finalMessage();
    assert.deepEqual(final.content.map(({ thinking, text }) => thinking ?? text), whole.content.map(({ thinking, text }) => thinking ?? text));
  },

  "limit ends the answer with max_tokens, a filter with refusal": async () => {
    const cut = await client.messages.create(asked("tokens=50&rate=max", { max_tokens: 3 }));
    assert.deepEqual([cut.stop_reason, cut.usage.output_tokens], ["max_tokens", 3]);
    const filtered = await client.messages.stream(asked("tokens=5&rate=max&finish=content_filter")).finalMessage();
    assert.equal(filtered.stop_reason, "refusal");
  },

  "tokens are counted": async () => {
    const { input_tokens } = await client.messages.countTokens({ model: "demo", messages: MESSAGES, system: "Be brief." });
    assert.ok(input_tokens > 5);
  },

  "each refusal has its class": async () => {
    await refused(client.messages.create({ model: "demo", messages: MESSAGES }), Anthropic.BadRequestError, 400, "invalid_request");
    const hosted = asked("", { tools: [{ type: "bash_20250124", name: "bash" }] });
    await refused(client.messages.create(hosted), Anthropic.BadRequestError, 400, "unsupported_parameter");
    const unknown = { ...asked(""), model: "no-such-model" };
    await refused(client.messages.create(unknown), Anthropic.NotFoundError, 404, "model_not_found");
    for (const stream of [false, true]) {
      for (const [status, type, expected, code] of [
        [400, Anthropic.BadRequestError, 400, "demo_status"],
        [422, Anthropic.UnprocessableEntityError, 422, "demo_status"],
        [429, Anthropic.RateLimitError, 429, "upstream_rate_limited"],
        [401, Anthropic.InternalServerError, 502, "upstream_auth"],
        [500, Anthropic.InternalServerError, 502, "upstream_error"],
        [503, Anthropic.ServiceUnavailableError, 503, "upstream_overloaded"],
      ]) {
        await refused(client.messages.create(asked(`status=${status}`, { stream })), type, expected, code);
      }
    }
  },

  "rate limit is retried after its wait, and a failure that may be billed is not": async () => {
    calls = 0;
    const began = Date.now();
    await assert.rejects(retrying.messages.create(asked("status=429&retry_after=1")), Anthropic.RateLimitError);
    assert.equal(calls, 2);
    assert.ok(Date.now() - began >= 990, "it waited");
    for (const options of ["status=429&retry_after=120", "status=500"]) {
      calls = 0;
      await assert.rejects(retrying.messages.create(asked(options)), Anthropic.APIError);
      assert.equal(calls, 1, options);
    }
  },

  "failure in the stream is an error, and so is a cut": async () => {
    for (const options of ["fail_at=5&rate=max", "close_at=5&rate=max"]) {
      let seen = 0;
      const read = async () => {
        for await (const event of await client.messages.create(asked(options, { stream: true }))) {
          seen += event.type === "content_block_delta" ? 1 : 0;
        }
      };
      await assert.rejects(read(), Anthropic.APIError, options);
      assert.ok(seen > 0, options);
      await assert.rejects(client.messages.stream(asked(options)).finalMessage(), Anthropic.AnthropicError, options);
    }
  },

  "abort stops the model in each phase": async () => {
    await stops(async () => {
      const stream = await client.messages.create(asked(LONG, { stream: true }));
      for await (const { type } of stream) if (type === "content_block_delta") break;
    });
    await stops(async () => {
      const stream = client.messages.stream(asked(LONG));
      stream.once("text", () => stream.abort());
      await assert.rejects(stream.done(), Anthropic.APIUserAbortError);
    });
    for (const body of [asked("first_token=1h", { stream: true }), asked("first_token=1h"), asked(LONG)]) {
      await stops(async () => {
        const left = new AbortController();
        const call = client.messages.create(body, { signal: left.signal });
        await running();
        left.abort();
        await assert.rejects(call, Anthropic.APIUserAbortError);
      });
    }
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);
