// Uses the Responses API through OpenAI's SDK for JavaScript as any program would: another base URL, nothing else.
//   node responses_sdk.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error("usage: node responses_sdk.mjs BASE_URL");
  process.exit(2);
}

const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: "unused", maxRetries: 0 });
const { responses } = client;
const INPUT = "Tell me about Tokenrill, Grüße 🌊.";
const asked = (options, more) => ({ model: `demo?${options}`, input: INPUT, ...more });
const LONG = "tokens=2000&rate=20";
const weather = {
  type: "function",
  name: "weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  strict: null,
};

async function figures() {
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
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

async function refused(call, type, status, code) {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  assert.deepEqual([error.constructor, error.status, error.code], [type, status, code], `${error}`);
  return error;
}

const checks = {
  "stream, helper and retrieved response have the text of the whole one": async () => {
    const body = asked("tokens=80&rate=max", { metadata: { conversation: "42" } });
    const whole = await responses.create(body);
    assert.deepEqual([whole.object, whole.status, whole.metadata], ["response", "completed", body.metadata]);
    assert.ok(whole.output_text.length > 100 && whole.usage.output_tokens > 0);
    const events = [];
    for await (const event of await responses.create({ ...body, stream: true })) events.push(event);
    const text = events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta).join("");
    assert.equal(text, whole.output_text);
    assert.deepEqual(events.map(({ sequence_number }) => sequence_number), [...events.keys()]);
    const final = await responses.stream(body).finalResponse();
    assert.equal(final.output_text, whole.output_text);
    const retrieved = await responses.retrieve(final.id);
    assert.deepEqual([retrieved.output_text, retrieved.id], [whole.output_text, final.id]);
    const again = await responses.stream({ response_id: final.id }).finalResponse();
    assert.equal(again.output_text, whole.output_text);
  },

  "reasoning is a summary before the text": async () => {
    const response = await responses.stream(asked("reasoning=5&tokens=5&rate=max", { reasoning: { summary: "auto" } })).finalResponse();
    assert.deepEqual(response.output.map(({ type }) => type), ["reasoning", "message"]);
    assert.ok(response.output[0].summary[0].text.length > 5);
    assert.ok(response.usage.output_tokens_details.reasoning_tokens > 0);
  },

  "calls and their results continue a response by its id and by its items": async () => {
    const input = [{ role: "user", content: "How is the weather?" }];
    const first = await responses.stream(asked("tool=weather&rate=max", { input, tools: [weather] })).finalResponse();
    const call = first.output.find(({ type }) => type === "function_call");
    assert.equal(typeof JSON.parse(call.arguments).city, "string");
    const result = { type: "function_call_output", call_id: call.call_id, output: "20 degrees" };
    const byId = await responses.create(asked("tokens=20&rate=max", { input: [result], previous_response_id: first.id }));
    assert.ok(byId.output_text.length > 0);
    assert.equal(byId.previous_response_id, first.id);
    const references = first.output.map(({ id }) => ({ type: "item_reference", id }));
    const byItems = await responses.create(asked("tokens=20&rate=max", { input: [...input, ...references, result] }));
    assert.equal(byItems.output_text, byId.output_text);
    const items = [];
    for await (const item of responses.inputItems.list(byItems.id, { limit: 2, order: "asc" })) items.push(item.type);
    assert.deepEqual(items, ["message", ...references.map(({ type }) => type), "function_call_output"]);
  },

  "stream is resumed after each number": async () => {
    const events = [];
    const stream = await responses.create(asked("reasoning=2&tokens=4&rate=max", { stream: true }));
    for await (const event of stream) events.push(event);
    const { id } = events.at(-1).response;
    for (const number of events.keys()) {
      const rest = [];
      for await (const event of await responses.retrieve(id, { stream: true, starting_after: number })) rest.push(event);
      assert.deepEqual(rest, events.slice(number + 1), `after ${number}`);
    }
  },

  "response in the background is followed, cancelled and deleted": async () => {
    const begun = await responses.create(asked(LONG, { background: true }));
    assert.equal(begun.status, "in_progress");
    const stream = await responses.retrieve(begun.id, { stream: true });
    for await (const { type } of stream) if (type === "response.output_text.delta") break;
    const cancelled = await responses.cancel(begun.id);
    assert.deepEqual([cancelled.status, (await responses.cancel(begun.id)).status], ["cancelled", "cancelled"]);
    await responses.delete(begun.id);
    await refused(responses.retrieve(begun.id), OpenAI.NotFoundError, 404, "generation_not_found");
  },

  "schema of a structured output reaches the model": async () => {
    const format = zodTextFormat(z.object({ name: z.string() }), "person");
    const seen = await responses.create(asked("tokens=5&rate=max", { text: { format } }));
    assert.deepEqual([seen.text.format.type, seen.text.format.name], ["json_schema", "person"]);
    const { input_tokens } = await responses.inputTokens.count({ model: "demo", input: INPUT });
    assert.ok(input_tokens > 3);
  },

  "each refusal has its class, and a failure in the stream is a failed response": async () => {
    await refused(responses.create({ input: "x", model: "none/such" }), OpenAI.NotFoundError, 404, "model_not_found");
    const error = await refused(responses.create(asked("tokens=5", { conversation: "c" })), OpenAI.BadRequestError, 400, "unsupported_parameter");
    assert.equal(error.param, "conversation");
    const unknown = { input: "x", previous_response_id: "resp_x" };
    await refused(responses.create(unknown), OpenAI.BadRequestError, 400, "previous_response_not_found");
    for (const [status, type] of [[400, OpenAI.BadRequestError], [429, OpenAI.RateLimitError], [500, OpenAI.InternalServerError], [503, OpenAI.InternalServerError]]) {
      await assert.rejects(responses.create(asked(`status=${status}`)), type, `${status}`);
    }
    for (const options of ["tokens=20&fail_at=5&rate=max", "tokens=20&close_at=5&rate=max"]) {
      let last;
      for await (const event of await responses.create(asked(options, { stream: true }))) last = event;
      assert.deepEqual([last.type, last.response.error.code], ["response.failed", "server_error"], options);
      const final = await responses.stream(asked(options)).finalResponse();
      assert.equal(final.status, "failed");
    }
    const cut = await responses.create(asked("tokens=5&finish=length&rate=max"));
    assert.deepEqual([cut.status, cut.incomplete_details.reason], ["incomplete", "max_output_tokens"]);
  },

  "abort stops the model in each phase": async () => {
    await stops(async () => {
      const stream = await responses.create(asked(LONG, { stream: true }));
      for await (const { type } of stream) if (type === "response.output_text.delta") break;
    });
    for (const body of [asked("first_token=1h", { stream: true }), asked("first_token=1h"), asked(LONG)]) {
      await stops(async () => {
        const left = new AbortController();
        const call = responses.create(body, { signal: left.signal });
        await running();
        left.abort();
        await assert.rejects(call, OpenAI.APIUserAbortError);
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
