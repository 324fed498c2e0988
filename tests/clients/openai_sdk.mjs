// Uses the service through OpenAI's SDK for JavaScript as any program would: another base URL, nothing else.
//   node openai_sdk.mjs BASE_URL [THROUGH]
// The service serves the embedded model and ends a generation after a few seconds (`generation.max_duration`). THROUGH names
// a proxy between the service and the model: checks that the proxy is known to break are skipped. Exit code 0 only if every
// check passed; each one that failed is printed.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { baseURL, check, cut, guardedRows, LARGE_TEXT, LONG, QUESTION, refusal, running, stopped, stops, TOO_LARGE } from "./support.mjs";

const RENAMED = "LiteLLM renames retry-after of a refusal to llm_provider-retry-after, which SDKs do not read";
const BREAKS = {
  litellm: {
    "rate limit has retry-after, and the SDK waits as long": RENAMED,
    "rate limit with a wait above a minute is not retried": RENAMED,
    "each refusal has its class": "LiteLLM has other codes",
  },
};

const through = process.argv[3];
if (through && !BREAKS[through]) {
  console.error("usage: node openai_sdk.mjs BASE_URL [litellm]");
  process.exit(2);
}

/** The number of requests sent, so that a retry is seen. */
let calls = 0;
const counted = (...request) => {
  calls += 1;
  return fetch(...request);
};
const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "unused", maxRetries: 0, fetch: counted });
const repeating = client.withOptions({ maxRetries: 1 });
const completions = client.chat.completions;

const messages = [{ role: "user", content: QUESTION }];
// Every service serves `demo` itself, so models behind a proxy have a prefix.
const MODEL = through ? `${through}/demo` : "demo";
const asked = (options, more) => ({ model: `${MODEL}?${options}`, messages, ...more });
/** The code of a failed upstream: a proxy reports failures behind it as its own. */
const far = (code) => (through ? "upstream_error" : code);
/** The code of a request that the upstream rejects: LiteLLM has the status as its code. */
const theirs = (code, status) => (through ? String(status) : code);
const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const streamed = async (body, options) => read(await completions.create({ ...body, stream: true }, options));
const joined = (chunks, field, choice = 0) =>
  chunks
    .flatMap(({ choices }) => choices)
    .filter(({ index }) => index === choice)
    .map(({ delta }) => delta[field] ?? "")
    .join("");

/** Returns the error of a call, which must have this class and these members. */
async function refused(call, type, members) {
  const error = await refusal(call);
  const { status, code, param, type: kind, requestID } = error;
  const seen = JSON.stringify({ class: error.constructor.name, status, code, param, kind, requestID, message: error.message });
  assert.equal(error.constructor, type, seen);
  for (const [name, value] of Object.entries(members)) assert.equal(error[name], value, `${name}: ${seen}`);
  assert.match(requestID ?? "", /^req_/, seen);
  return error;
}

const checks = {
  "models are listed, and each is found": async () => {
    const models = await read(await client.models.list());
    assert.ok(models.some(({ id, object }) => id === "demo" && object === "model"), JSON.stringify(models));
    assert.equal((await client.models.retrieve("demo")).id, "demo");
    await refused(client.models.retrieve("no-such-model"), OpenAI.NotFoundError, { status: 404, code: "model_not_found" });
  },

  "stream has the text of the whole answer, in valid chunks": async () => {
    const body = asked("tokens=80&rate=max");
    const whole = await completions.create(body);
    assert.equal(whole.object, "chat.completion");
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.equal(whole.choices[0].message.role, "assistant");
    assert.ok(whole.usage.completion_tokens > 0);
    const chunks = await streamed(body);
    assert.ok(chunks.length > 20, "token by token");
    assert.equal(joined(chunks, "content"), whole.choices[0].message.content);
    for (const name of ["id", "created", "model", "object"]) {
      assert.equal(new Set(chunks.map((chunk) => chunk[name])).size, 1, `${name} is constant`);
    }
    assert.equal(chunks[0].object, "chat.completion.chunk");
    const roles = chunks.map(({ choices }) => choices[0].delta.role);
    assert.deepEqual([roles[0], new Set(roles.slice(1))], ["assistant", new Set([undefined])]);
    const reasons = chunks.map(({ choices }) => choices[0].finish_reason);
    assert.deepEqual(reasons.filter((reason) => reason !== null), ["stop"]);
    assert.ok(chunks.every(({ usage }) => !usage), "usage only where asked for");
  },

  "usage is in the last chunk if it is requested": async () => {
    const body = asked("tokens=9&rate=max");
    const chunks = await streamed({ ...body, stream_options: { include_usage: true } });
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    // LiteLLM adds details to one of the two.
    const totals = ({ prompt_tokens, completion_tokens, total_tokens }) => [prompt_tokens, completion_tokens, total_tokens];
    assert.deepEqual(totals(last.usage), totals((await completions.create(body)).usage));
    assert.ok(chunks.every(({ usage }) => !usage));
  },

  "each choice has its own text": async () => {
    const body = asked("tokens=12&rate=max", { n: 2 });
    const { choices } = await completions.create(body);
    assert.deepEqual(choices.map(({ index, finish_reason }) => [index, finish_reason]), [[0, "stop"], [1, "stop"]]);
    const chunks = await streamed(body);
    choices.forEach(({ index, message }) => assert.equal(joined(chunks, "content", index), message.content));
    const final = await completions.stream(body).finalChatCompletion();
    assert.deepEqual(final.choices.map(({ message }) => message.content), choices.map(({ message }) => message.content));
  },

  "tool is called, streamed or not": async () => {
    const body = asked("tool=weather&rate=max", { tools: [weather] });
    const whole = (await completions.create(body)).choices[0];
    const [call] = whole.message.tool_calls;
    assert.deepEqual([whole.finish_reason, call.type, call.function.name], ["tool_calls", "function", "weather"]);
    const chunks = await streamed(body);
    const pieces = chunks.flatMap(({ choices }) => choices.flatMap(({ delta }) => delta.tool_calls ?? []));
    assert.deepEqual([pieces[0].index, pieces[0].function.name, typeof pieces[0].id], [0, "weather", "string"]);
    assert.equal(pieces.map((piece) => piece.function.arguments ?? "").join(""), call.function.arguments);
    const stream = completions.stream(body);
    const final = (await stream.finalChatCompletion()).choices[0];
    assert.equal(final.finish_reason, "tool_calls");
    const { name, arguments: said } = final.message.tool_calls[0].function;
    assert.deepEqual({ name, arguments: said }, { ...call.function });
  },

  "tool runner calls the tool and returns the last answer, streamed or not": async () => {
    for (const stream of [false, true]) {
      const cities = [];
      const report = ({ city }) => cities.push(city) && `Rain in ${city}.`;
      const tool = { type: "function", function: { ...weather.function, parse: JSON.parse, function: report } };
      const runner = completions.runTools(asked("tool=weather&rate=max&tokens=20", { tools: [tool], stream }));
      assert.ok((await runner.finalContent()).length > 20);
      assert.deepEqual(cities, ["Zürich"]);
      assert.deepEqual(runner.messages.map(({ role }) => role), ["user", "assistant", "tool", "assistant"]);
    }
  },

  "response format and unknown fields are sent to the model": async () => {
    const whole = await completions.create(asked("tokens=5&rate=max", { response_format: { type: "json_object" }, seed: 7 }));
    assert.equal(whole.choices[0].finish_reason, "stop");
    const cut = await completions.create(asked("tokens=50&rate=max", { max_completion_tokens: 3 }));
    assert.deepEqual([cut.choices[0].finish_reason, cut.usage.completion_tokens], ["length", 3]);
  },

  "each token has its log probabilities": async () => {
    const body = asked("tokens=6&rate=max", { logprobs: true, top_logprobs: 2 });
    const { content } = (await completions.create(body)).choices[0].logprobs;
    assert.deepEqual(content.map(({ top_logprobs }) => top_logprobs.length), [2, 2, 2, 2, 2, 2]);
    const chunks = await streamed(body);
    assert.deepEqual(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []), content);
  },

  "reasoning is a separate field": async () => {
    const body = asked("tokens=6&reasoning=9&rate=max");
    const { message } = (await completions.create(body)).choices[0];
    assert.ok(message.reasoning_content.length > 9);
    const chunks = await streamed(body);
    assert.deepEqual([joined(chunks, "reasoning_content"), joined(chunks, "content")], [message.reasoning_content, message.content]);
  },

  "refusal is a separate field": async () => {
    // LiteLLM does not pass it on.
    if (through) return;
    const body = asked("refusal=9&rate=max");
    const { message } = (await completions.create(body)).choices[0];
    assert.match(message.refusal, /^I am sorry/);
    const final = await completions.stream(body).finalChatCompletion();
    assert.deepEqual([final.choices[0].message.refusal, final.choices[0].message.content || null], [message.refusal, null]);
  },

  "abort stops the model, and so do break and abort of a helper": async () => {
    const ways = [
      (stream) => stream.controller.abort(),
      () => "break",
    ];
    for (const leave of ways) {
      await stops(async () => {
        const stream = await completions.create(asked(LONG, { stream: true }));
        let seen = 0;
        for await (const chunk of stream) {
          seen += chunk.choices.length;
          if (seen > 3 && leave(stream) === "break") break;
        }
      });
    }
    await stops(async () => {
      const stream = completions.stream(asked(LONG));
      stream.once("content", () => stream.abort());
      await assert.rejects(stream.done(), OpenAI.APIUserAbortError);
    });
  },

  "abort and timeout stop the model before its first token and without a stream": async () => {
    for (const body of [asked("first_token=1h", { stream: true }), asked("first_token=1h"), asked(LONG)]) {
      await stops(async () => {
        const left = new AbortController();
        const call = completions.create(body, { signal: left.signal });
        await running();
        left.abort();
        await assert.rejects(call, OpenAI.APIUserAbortError);
      });
    }
    await stops(async () => {
      await assert.rejects(completions.create(asked(LONG), { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
    });
  },

  "invalid field is a bad request that names it": async () => {
    const hot = await refused(completions.create(asked("", { temperature: "hot" })), OpenAI.BadRequestError, {
      status: 400,
      code: "invalid_request",
      param: "temperature",
      type: "invalid_request_error",
    });
    assert.equal(hot.headers.get("x-should-retry"), "false");
    const nameless = { model: MODEL, messages: [{ content: "Hi" }], stream: true };
    await refused(completions.create(nameless), OpenAI.BadRequestError, { param: "messages[0].role" });
    await refused(completions.create({ ...asked(""), base_url: "http://elsewhere" }), OpenAI.BadRequestError, { param: "base_url" });
  },

  "unknown model is not found": async () => {
    for (const stream of [false, true]) {
      const call = completions.create({ model: MODEL.replace("demo", "no-such-model"), messages, stream });
      await refused(call, OpenAI.NotFoundError, { status: 404, code: theirs("model_not_found", 404) });
    }
  },

  "body that is too large is refused with 413, another content type with 415": async () => {
    const large = { model: MODEL, messages: [{ role: "user", content: "x".repeat(17 << 20) }] };
    await refused(completions.create(large), OpenAI.APIError, { status: 413, code: "body_too_large" });
    const plain = completions.create(asked(""), { headers: { "content-type": "text/plain" } });
    await refused(plain, OpenAI.APIError, { status: 415, code: "unsupported_media_type" });
  },

  "request that the upstream rejects is a bad request": async () => {
    await refused(completions.create(asked("status=400")), OpenAI.BadRequestError, { status: 400, code: theirs("demo_status", 400) });
    if (through) return;
    await refused(completions.create(asked("status=422")), OpenAI.UnprocessableEntityError, { status: 422, code: "demo_status" });
  },

  "each refusal has its class": async () => {
    const key = { headers: { "Idempotency-Key": crypto.randomUUID() } };
    await completions.create(asked("tokens=1&rate=max"), key);
    const probable = { logprobs: true, top_logprobs: 20 };
    const [wrong, failed, limited] = ["invalid_request_error", "server_error", "rate_limit_error"];
    const table = [
      // Class, status, code, type, call.
      [OpenAI.BadRequestError, 400, "invalid_request", wrong, (more) => completions.create(asked("", { temperature: "hot", ...more }))],
      [OpenAI.BadRequestError, 400, "demo_status", wrong, (more) => completions.create(asked("status=400", more))],
      [OpenAI.NotFoundError, 404, "model_not_found", wrong, (more) => completions.create({ model: "no-such-model", messages, ...more })],
      [OpenAI.NotFoundError, 404, "demo_status", wrong, (more) => completions.create(asked("status=404", more))],
      [OpenAI.ConflictError, 409, "cancelled", wrong, () => stopped((channel) => completions.create(asked(LONG, { channel })))],
      [OpenAI.APIError, 413, "body_too_large", wrong, (more) => completions.create(asked("", { user: LARGE_TEXT, ...more }))],
      [OpenAI.APIError, 413, "demo_status", wrong, (more) => completions.create(asked("status=413", more))],
      [OpenAI.UnprocessableEntityError, 422, "demo_status", wrong, (more) => completions.create(asked("status=422", more))],
      [OpenAI.UnprocessableEntityError, 422, "idempotency_conflict", wrong, (more) => completions.create(asked("tokens=2", more), key)],
      [OpenAI.RateLimitError, 429, "upstream_rate_limited", limited, (more) => completions.create(asked("status=429", more))],
      [OpenAI.InternalServerError, 500, "too_large", failed, () => completions.create(asked(TOO_LARGE, probable))],
      [OpenAI.InternalServerError, 502, "upstream_error", failed, (more) => completions.create(asked("status=500", more))],
      [OpenAI.InternalServerError, 503, "upstream_overloaded", failed, (more) => completions.create(asked("status=503", more))],
      [OpenAI.InternalServerError, 503, "upstream_overloaded", failed, (more) => completions.create(asked("status=529", more))],
    ];
    const withKeys = guardedRows((url, key) => {
      const create = (apiKey, more) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 }).chat.completions.create(asked("tokens=1", more));
      return [
        [OpenAI.AuthenticationError, 401, "credential_invalid", "authentication_error", (more) => create("unused", more)],
        [OpenAI.PermissionDeniedError, 403, "forbidden", "permission_error", (more) => create(key, more)],
      ];
    });
    for (const [type, status, code, kind, call] of [...table, ...withKeys]) {
      // A call without parameters has no stream.
      for (const stream of call.length > 0 ? [false, true] : [false]) await refused(call({ stream }), type, { status, code, type: kind });
    }
  },

  "rate limit is a rate limit error": async () => {
    const members = { status: 429, code: "upstream_rate_limited", type: "rate_limit_error" };
    for (const stream of [false, true]) {
      await refused(completions.create(asked("status=429", { stream })), OpenAI.RateLimitError, members);
    }
  },

  "rate limit has retry-after, and the SDK waits as long": async () => {
    for (const stream of [false, true]) {
      const error = await refused(completions.create(asked("status=429&retry_after=1", { stream })), OpenAI.RateLimitError, {});
      const said = ["retry-after", "retry-after-ms", "x-should-retry"].map((name) => error.headers.get(name));
      assert.deepEqual(said, ["1", "1000", "true"]);
    }
    calls = 0;
    const began = Date.now();
    await refused(repeating.chat.completions.create(asked("status=429&retry_after=1")), OpenAI.RateLimitError, {});
    assert.equal(calls, 2);
    assert.ok(Date.now() - began >= 990, "it waited");
  },

  "rate limit with a wait above a minute is not retried": async () => {
    calls = 0;
    const call = repeating.chat.completions.create(asked("status=429&retry_after=120"));
    const error = await refused(call, OpenAI.RateLimitError, {});
    const said = ["retry-after", "retry-after-ms", "x-should-retry"].map((name) => error.headers.get(name));
    assert.deepEqual([calls, said], [1, ["120", "120000", "false"]]);
  },

  "failure of the upstream is an internal server error and is not retried": async () => {
    const failures = [
      ["status=401", 502, far("upstream_auth")],
      ["status=403", 502, far("upstream_auth")],
      ["status=500", 502, "upstream_error"],
      ["status=503", 503, "upstream_overloaded"],
    ];
    for (const [options, status, code] of failures) {
      for (const stream of [false, true]) {
        calls = 0;
        const call = repeating.chat.completions.create(asked(options, { stream }));
        await refused(call, OpenAI.InternalServerError, { status, code, type: "server_error" });
        assert.equal(calls, 1, options);
      }
    }
  },

  "failure before the first token is a status": async () => {
    await refused(completions.create(asked("fail_at=0", { stream: true })), OpenAI.InternalServerError, { status: 502, code: "upstream_error" });
    await refused(completions.create(asked("close_at=0", { stream: true })), OpenAI.InternalServerError, { status: 502, code: far("upstream_disconnected") });
  },

  "whole answer that is cut or fails is an error": async () => {
    await refused(completions.create(asked("fail_at=5&rate=max")), OpenAI.InternalServerError, { status: 502, code: "upstream_error" });
    await refused(completions.create(asked("close_at=5&rate=max")), OpenAI.InternalServerError, { status: 502, code: far("upstream_disconnected") });
  },

  "failure in the stream is an error with its code": async () => {
    await refused(streamed(asked("fail_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: "upstream_error", type: "server_error" });
  },

  "cut of the upstream in the stream is an error, not a normal end": async () => {
    await refused(streamed(asked("close_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: far("upstream_disconnected") });
  },

  "cut of the connection in the stream is the error of fetch, not a normal end": async () => {
    const leave = async () => {
      let seen = 0;
      for await (const _ of await completions.create(asked(LONG, { stream: true }))) if ((seen += 1) === 3) await cut();
    };
    await stops(() => assert.rejects(leave(), TypeError));
  },

  "silent upstream ends at the deadline, as a status or in the stream": async () => {
    const timeout = { status: 504, code: "deadline_exceeded" };
    await Promise.all([
      refused(completions.create(asked("first_token=1h")), OpenAI.InternalServerError, timeout),
      refused(completions.create(asked("first_token=1h", { stream: true })), OpenAI.InternalServerError, timeout),
      refused(streamed(asked("stall_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: "deadline_exceeded" }),
    ]);
  },

  "stopped generation is an error in its stream": async () => {
    const { data, response } = await completions.create(asked(LONG, { stream: true })).withResponse();
    const rest = refused(read(data), OpenAI.APIError, { status: undefined, code: "cancelled" });
    await fetch(`${baseURL}/v1/generations/${response.headers.get("tokenrill-generation")}/cancel`, { method: "POST" });
    await rest;
  },

  "each response has a request id": async () => {
    const whole = await completions.create(asked("tokens=2&rate=max"));
    assert.match(whole._request_id, /^req_/);
    const { data, request_id } = await completions.create(asked("tokens=2&rate=max", { stream: true })).withResponse();
    assert.match(request_id, /^req_/);
    assert.notEqual(request_id, whole._request_id);
    await read(data);
  },
};

await check(checks, BREAKS[through]);
