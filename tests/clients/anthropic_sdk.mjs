// Uses the service through Anthropic's SDK for JavaScript as any program would: another base URL, nothing else.
//   node anthropic_sdk.mjs BASE_URL
// The service serves the embedded model, which has OpenAI's dialect. Exit code 0 only if every check passed; each one
// that failed is printed.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { baseURL, check, cut, guardedRows, LARGE_TEXT, LONG, QUESTION, refusal, running, stopped, stops, TOO_LARGE } from "./support.mjs";

let calls = 0;
const counted = (...request) => {
  calls += 1;
  return fetch(...request);
};
const client = new Anthropic({ baseURL, apiKey: "unused", maxRetries: 0, fetch: counted });
const retrying = client.withOptions({ maxRetries: 1 });
const MESSAGES = [{ role: "user", content: QUESTION }];
const asked = (options, more) => ({ model: `demo?${options}`, max_tokens: 4096, messages: MESSAGES, ...more });
const weather = {
  name: "weather",
  description: "The weather in a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const textOf = ({ content }) => content.filter(({ type }) => type === "text").map(({ text }) => text).join("");

async function refused(call, type, status, kind, code) {
  const { constructor, status: seenStatus, type: seenKind, errorCode, requestID, message } = await refusal(call);
  assert.deepEqual([constructor, seenStatus, seenKind, errorCode], [type, status, kind, code], message);
  assert.match(requestID ?? "", /^req_/, message);
}

await check({
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

  "limit ends the answer with max_tokens, a filter or a refusal with refusal": async () => {
    const cut = await client.messages.create(asked("tokens=50&rate=max", { max_tokens: 3 }));
    assert.deepEqual([cut.stop_reason, cut.usage.output_tokens], ["max_tokens", 3]);
    const filtered = await client.messages.stream(asked("tokens=5&rate=max&finish=content_filter")).finalMessage();
    assert.equal(filtered.stop_reason, "refusal");
    const refused = await client.messages.stream(asked("refusal=9&rate=max")).finalMessage();
    assert.deepEqual([refused.stop_reason, textOf(refused).slice(0, 10)], ["refusal", "I am sorry"]);
  },

  "tokens are counted": async () => {
    const { input_tokens } = await client.messages.countTokens({ model: "demo", messages: MESSAGES, system: "Be brief." });
    assert.ok(input_tokens > 5);
  },

  "each refusal has its class": async () => {
    const { messages } = client;
    const hosted = { tools: [{ type: "bash_20250124", name: "bash" }] };
    const key = { headers: { "Idempotency-Key": crypto.randomUUID() } };
    await messages.create(asked("tokens=1&rate=max"), key);
    const probable = { logprobs: true, top_logprobs: 20 };
    const [wrong, failed, overloaded] = ["invalid_request_error", "api_error", "overloaded_error"];
    const table = [
      // Class, status, type, code, call.
      [Anthropic.BadRequestError, 400, wrong, "invalid_request", (more) => messages.create({ model: "demo", messages: MESSAGES, ...more })],
      [Anthropic.BadRequestError, 400, wrong, "unsupported_parameter", (more) => messages.create(asked("", { ...hosted, ...more }))],
      [Anthropic.BadRequestError, 400, wrong, "demo_status", (more) => messages.create(asked("status=400", more))],
      [Anthropic.NotFoundError, 404, "not_found_error", "model_not_found", (more) => messages.create({ ...asked("", more), model: "no-such-model" })],
      [Anthropic.NotFoundError, 404, "not_found_error", "demo_status", (more) => messages.create(asked("status=404", more))],
      [Anthropic.ConflictError, 409, "conflict_error", "cancelled", () => stopped((channel) => messages.create(asked(LONG, { channel })))],
      [Anthropic.ContentTooLargeError, 413, "request_too_large", "body_too_large", (more) => messages.create(asked("", { system: LARGE_TEXT, ...more }))],
      [Anthropic.UnprocessableEntityError, 422, wrong, "demo_status", (more) => messages.create(asked("status=422", more))],
      [Anthropic.UnprocessableEntityError, 422, wrong, "idempotency_conflict", (more) => messages.create(asked("tokens=2", more), key)],
      [Anthropic.RateLimitError, 429, "rate_limit_error", "upstream_rate_limited", (more) => messages.create(asked("status=429", more))],
      [Anthropic.InternalServerError, 500, failed, "too_large", () => messages.create(asked(TOO_LARGE, probable))],
      [Anthropic.InternalServerError, 502, failed, "upstream_error", (more) => messages.create(asked("status=500", more))],
      [Anthropic.InternalServerError, 502, failed, "upstream_auth", (more) => messages.create(asked("status=401", more))],
      [Anthropic.ServiceUnavailableError, 503, overloaded, "upstream_overloaded", (more) => messages.create(asked("status=503", more))],
      [Anthropic.ServiceUnavailableError, 503, overloaded, "upstream_overloaded", (more) => messages.create(asked("status=529", more))],
    ];
    const withKeys = guardedRows((url, key) => {
      const create = (apiKey, more) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 }).messages.create(asked("tokens=1", more));
      return [
        [Anthropic.AuthenticationError, 401, "authentication_error", "credential_invalid", (more) => create("unused", more)],
        [Anthropic.PermissionDeniedError, 403, "permission_error", "forbidden", (more) => create(key, more)],
      ];
    });
    for (const [type, status, kind, code, call] of [...table, ...withKeys]) {
      // A call without parameters has no stream.
      for (const stream of call.length > 0 ? [false, true] : [false]) await refused(call({ stream }), type, status, kind, code);
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
    for (const [options, code] of [["fail_at=5&rate=max", "upstream_error"], ["close_at=5&rate=max", "upstream_disconnected"]]) {
      let seen = 0;
      const read = async () => {
        for await (const event of await client.messages.create(asked(options, { stream: true }))) {
          seen += event.type === "content_block_delta" ? 1 : 0;
        }
      };
      await refused(read(), Anthropic.APIError, undefined, "api_error", code);
      assert.ok(seen > 0, options);
      await assert.rejects(client.messages.stream(asked(options)).finalMessage(), Anthropic.AnthropicError, options);
    }
  },

  "cut of the connection in the stream is the error of fetch, not a normal end": async () => {
    const leave = async () => {
      for await (const { type } of await client.messages.create(asked(LONG, { stream: true }))) {
        if (type === "content_block_start") await cut();
      }
    };
    await stops(() => assert.rejects(leave(), TypeError));
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
});
