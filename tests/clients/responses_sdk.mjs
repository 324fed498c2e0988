// Uses the Responses API through OpenAI's SDK for JavaScript as any program would: another base URL, nothing else.
//   node responses_sdk.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { baseURL, check, cut, guardedRows, LARGE_TEXT, LONG, QUESTION, refusal, running, stopped, stops, TOO_LARGE } from "./support.mjs";

const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "unused", maxRetries: 0 });
const { responses } = client;
const asked = (options, more) => ({ model: `demo?${options}`, input: QUESTION, ...more });
const weather = {
  type: "function",
  name: "weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  strict: null,
};

async function refused(call, type, status, code, kind = "invalid_request_error") {
  const error = await refusal(call);
  assert.deepEqual([error.constructor, error.status, error.code, error.type], [type, status, code, kind], `${error}`);
  assert.match(error.requestID ?? "", /^req_/, `${error}`);
  return error;
}

await check({
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

  "refusal is a part of the message": async () => {
    const body = asked("refusal=9&rate=max");
    const parts = ({ output }) => output.map(({ content }) => content.map(({ type, refusal }) => [type, refusal]));
    const whole = parts(await responses.create(body));
    assert.match(whole[0][0][1], /^I am sorry/);
    assert.deepEqual(whole, [[["refusal", whole[0][0][1]]]]);
    assert.deepEqual(parts(await responses.stream(body).finalResponse()), whole);
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
    for await (const item of responses.inputItems.list(byItems.id, { limit: 2, order: "asc" })) items.push(item);
    // A reference is listed as the item that it names.
    assert.deepEqual(items.map(({ type }) => type), ["message", ...first.output.map(({ type }) => type), "function_call_output"]);
    for (const { id } of items) assert.match(id, /^in_/);
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
    const { input_tokens } = await responses.inputTokens.count({ model: "demo", input: QUESTION });
    assert.ok(input_tokens > 3);
  },

  "parse sends the schema, returns a call's arguments as an object, and fails if the text does not fit": async () => {
    const parameters = z.object({ city: z.string(), unit: z.string() });
    const tools = [zodResponsesFunction({ name: "weather", parameters })];
    const { output } = await responses.parse(asked("tool=weather&rate=max", { tools }));
    assert.deepEqual(output[0].parsed_arguments, { city: "Zürich", unit: "celsius" });
    // The embedded model has no JSON mode: its text fits no schema.
    const bodies = [];
    const observed = client.withOptions({ fetch: (url, options) => bodies.push(JSON.parse(options.body)) && fetch(url, options) });
    const text = { format: zodTextFormat(parameters, "place") };
    await assert.rejects(observed.responses.parse(asked("tokens=5&rate=max", { text })), SyntaxError);
    const { type, name, strict, schema } = bodies[0].text.format;
    assert.deepEqual([type, name, strict, schema.required], ["json_schema", "place", true, ["city", "unit"]]);
  },

  "each refusal has its class": async () => {
    const key = { headers: { "Idempotency-Key": crypto.randomUUID() } };
    await responses.create(asked("tokens=1&rate=max"), key);
    const probable = { include: ["message.output_text.logprobs"], top_logprobs: 20 };
    const [wrong, failed, limited] = ["invalid_request_error", "server_error", "rate_limit_error"];
    const table = [
      // Class, status, code, type, call.
      [OpenAI.BadRequestError, 400, "unsupported_parameter", wrong, (more) => responses.create(asked("", { conversation: "c", ...more }))],
      [OpenAI.BadRequestError, 400, "previous_response_not_found", wrong, (more) => responses.create(asked("", { previous_response_id: "resp_x", ...more }))],
      [OpenAI.BadRequestError, 400, "demo_status", wrong, (more) => responses.create(asked("status=400", more))],
      [OpenAI.NotFoundError, 404, "model_not_found", wrong, (more) => responses.create({ input: "x", model: "none/such", ...more })],
      [OpenAI.NotFoundError, 404, "demo_status", wrong, (more) => responses.create(asked("status=404", more))],
      [OpenAI.NotFoundError, 404, "generation_not_found", wrong, () => responses.retrieve("resp_-rYBEzMTW9Ee7cosQ3bk9g")],
      [OpenAI.APIError, 413, "body_too_large", wrong, (more) => responses.create(asked("", { user: LARGE_TEXT, ...more }))],
      [OpenAI.APIError, 413, "demo_status", wrong, (more) => responses.create(asked("status=413", more))],
      [OpenAI.UnprocessableEntityError, 422, "demo_status", wrong, (more) => responses.create(asked("status=422", more))],
      [OpenAI.UnprocessableEntityError, 422, "idempotency_conflict", wrong, (more) => responses.create(asked("tokens=2", more), key)],
      [OpenAI.RateLimitError, 429, "upstream_rate_limited", limited, (more) => responses.create(asked("status=429", more))],
      [OpenAI.InternalServerError, 500, "too_large", failed, () => responses.create(asked(TOO_LARGE, probable))],
      [OpenAI.InternalServerError, 502, "upstream_error", failed, (more) => responses.create(asked("status=500", more))],
      [OpenAI.InternalServerError, 503, "upstream_overloaded", failed, (more) => responses.create(asked("status=503", more))],
      [OpenAI.InternalServerError, 503, "upstream_overloaded", failed, (more) => responses.create(asked("status=529", more))],
    ];
    const withKeys = guardedRows((url, key) => {
      const create = (apiKey, more) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 }).responses.create(asked("tokens=1", more));
      return [
        [OpenAI.AuthenticationError, 401, "credential_invalid", "authentication_error", (more) => create("unused", more)],
        [OpenAI.PermissionDeniedError, 403, "forbidden", "permission_error", (more) => create(key, more)],
      ];
    });
    for (const [type, status, code, kind, call] of [...table, ...withKeys]) {
      // A call without parameters has no stream.
      for (const stream of call.length > 0 ? [false, true] : [false]) await refused(call({ stream }), type, status, code, kind);
    }
    const { param } = await refusal(responses.create(asked("", { conversation: "c" })));
    assert.equal(param, "conversation");
  },

  "failure in the stream is a failed response, and a limit an incomplete one": async () => {
    for (const options of ["tokens=20&fail_at=5&rate=max", "tokens=20&close_at=5&rate=max"]) {
      let last;
      for await (const event of await responses.create(asked(options, { stream: true }))) last = event;
      assert.deepEqual([last.type, last.response.error.code], ["response.failed", "server_error"], options);
      const final = await responses.stream(asked(options)).finalResponse();
      assert.equal(final.status, "failed");
    }
    const limited = await responses.create(asked("tokens=5&finish=length&rate=max"));
    assert.deepEqual([limited.status, limited.incomplete_details.reason], ["incomplete", "max_output_tokens"]);
    const cancelled = await stopped((channel) => responses.create(asked(LONG, { channel })));
    assert.deepEqual([cancelled.status, cancelled.incomplete_details.reason], ["cancelled", "cancelled"]);
  },

  "cut of the connection in the stream is the error of fetch, not a normal end": async () => {
    const leave = async () => {
      for await (const { type } of await responses.create(asked(LONG, { stream: true }))) {
        if (type === "response.content_part.added") await cut();
      }
    };
    await stops(() => assert.rejects(leave(), TypeError));
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
});
