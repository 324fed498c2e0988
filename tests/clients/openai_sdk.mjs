// Uses the service through OpenAI's SDK for JavaScript as any program would: another base URL, nothing else.
//   node openai_sdk.mjs BASE_URL [THROUGH]
// The service serves the embedded model and ends a generation after a few seconds
// (`generation.max_duration`). THROUGH names a proxy between it and the model: what that proxy is known
// to break is told and left out. Exit code 0 only if every promise held; each broken one is printed.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

const RENAMED = "LiteLLM passes a refusal's retry-after on as llm_provider-retry-after, which nobody reads";
const BREAKS = {
  litellm: {
    "a rate limit tells when to come back, and the SDK obeys": RENAMED,
    "a wait above a minute is not repeated": RENAMED,
  },
};

const [baseUrl, through] = process.argv.slice(2);
if (!baseUrl || (through && !BREAKS[through])) {
  console.error("usage: node openai_sdk.mjs BASE_URL [litellm]");
  process.exit(2);
}

/** What was sent, so that a repeat can be told from a wait. */
let calls = 0;
const counted = (...request) => {
  calls += 1;
  return fetch(...request);
};
const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: "unused", maxRetries: 0, fetch: counted });
const repeating = client.withOptions({ maxRetries: 1 });
const completions = client.chat.completions;

const messages = [{ role: "user", content: "Tell me about Tokenrill, Grüße 🌊." }];
// Every service serves `demo` itself: what a proxy serves goes by another name.
const MODEL = through ? `${through}/demo` : "demo";
const asked = (options, more) => ({ model: `${MODEL}?${options}`, messages, ...more });
// Through a proxy the model's server is the proxy, and what goes wrong behind it is its error.
const far = (code) => (through ? "upstream_error" : code);
/** What a model's server says of a request that it rejects passes; LiteLLM says its status. */
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

/** The error that a call ends with, which must be of this class and hold these members. */
async function refused(call, type, members) {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  const { status, code, param, type: kind, requestID } = error;
  const seen = JSON.stringify({ class: error.constructor.name, status, code, param, kind, requestID, message: error.message });
  assert.equal(error.constructor, type, seen);
  for (const [name, value] of Object.entries(members)) assert.equal(error[name], value, `${name}: ${seen}`);
  assert.match(requestID ?? "", /^req_/, seen);
  return error;
}

async function figures() {
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
  // Summed over the upstreams and models that have a series each.
  const lines = (start) => text.split("\n").filter((line) => line.startsWith(start));
  const figure = (start) => lines(start).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  return { live: figure("tokenrill_generations_live "), cancelled: figure('tokenrill_generations_total{outcome="cancelled"') };
}

/** Runs what leaves an answer before its end: the generation is then stopped, and no other. */
async function stops(leave) {
  const before = await figures();
  assert.equal(before.live, 0, "nothing runs before");
  await leave();
  const deadline = Date.now() + 30_000;
  let after = await figures();
  while ((after.live > 0 || after.cancelled === before.cancelled) && Date.now() < deadline) {
    await sleep(20);
    after = await figures();
  }
  assert.deepEqual(after, { live: 0, cancelled: before.cancelled + 1 });
}
const running = async (live) => {
  while ((await figures()).live !== live) await sleep(20);
};

const LONG = "tokens=2000&rate=20";

const promises = {
  "the models are listed, and each is found": async () => {
    const models = await read(await client.models.list());
    assert.ok(models.some(({ id, object }) => id === "demo" && object === "model"), JSON.stringify(models));
    assert.equal((await client.models.retrieve("demo")).id, "demo");
    await refused(client.models.retrieve("no-such-model"), OpenAI.NotFoundError, { status: 404, code: "model_not_found" });
  },

  "a stream is the same text as the whole answer, in well-formed chunks": async () => {
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

  "usage comes last where it is asked for": async () => {
    const body = asked("tokens=9&rate=max");
    const chunks = await streamed({ ...body, stream_options: { include_usage: true } });
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    // LiteLLM adds details to one of the two.
    const totals = ({ prompt_tokens, completion_tokens, total_tokens }) => [prompt_tokens, completion_tokens, total_tokens];
    assert.deepEqual(totals(last.usage), totals((await completions.create(body)).usage));
    assert.ok(chunks.every(({ usage }) => !usage));
  },

  "choices are told apart": async () => {
    const body = asked("tokens=12&rate=max", { n: 2 });
    const { choices } = await completions.create(body);
    assert.deepEqual(choices.map(({ index, finish_reason }) => [index, finish_reason]), [[0, "stop"], [1, "stop"]]);
    const chunks = await streamed(body);
    choices.forEach(({ index, message }) => assert.equal(joined(chunks, "content", index), message.content));
    const final = await completions.stream(body).finalChatCompletion();
    assert.deepEqual(final.choices.map(({ message }) => message.content), choices.map(({ message }) => message.content));
  },

  "a tool is called, streamed or not": async () => {
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

  "the SDK runs tools to the last answer, streamed or not": async () => {
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

  "a response format and unknown fields are passed on": async () => {
    const whole = await completions.create(asked("tokens=5&rate=max", { response_format: { type: "json_object" }, seed: 7 }));
    assert.equal(whole.choices[0].finish_reason, "stop");
    const cut = await completions.create(asked("tokens=50&rate=max", { max_completion_tokens: 3 }));
    assert.deepEqual([cut.choices[0].finish_reason, cut.usage.completion_tokens], ["length", 3]);
  },

  "log probabilities come with each token": async () => {
    const body = asked("tokens=6&rate=max", { logprobs: true, top_logprobs: 2 });
    const { content } = (await completions.create(body)).choices[0].logprobs;
    assert.deepEqual(content.map(({ top_logprobs }) => top_logprobs.length), [2, 2, 2, 2, 2, 2]);
    const chunks = await streamed(body);
    assert.deepEqual(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []), content);
  },

  "reasoning is a field of its own": async () => {
    const body = asked("tokens=6&reasoning=9&rate=max");
    const { message } = (await completions.create(body)).choices[0];
    assert.ok(message.reasoning_content.length > 9);
    const chunks = await streamed(body);
    assert.deepEqual([joined(chunks, "reasoning_content"), joined(chunks, "content")], [message.reasoning_content, message.content]);
  },

  "leaving stops the model: abort, break, a helper's abort": async () => {
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

  "leaving stops the model before its first token and without a stream": async () => {
    for (const body of [asked("first_token=1h", { stream: true }), asked("first_token=1h"), asked(LONG)]) {
      await stops(async () => {
        const left = new AbortController();
        const call = completions.create(body, { signal: left.signal });
        await running(1);
        left.abort();
        await assert.rejects(call, OpenAI.APIUserAbortError);
      });
    }
    await stops(async () => {
      await assert.rejects(completions.create(asked(LONG), { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
    });
  },

  "a wrong field is a bad request that names it": async () => {
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

  "an unknown model is not found": async () => {
    for (const stream of [false, true]) {
      const call = completions.create({ model: MODEL.replace("demo", "no-such-model"), messages, stream });
      await refused(call, OpenAI.NotFoundError, { status: 404, code: theirs("model_not_found", 404) });
    }
  },

  "too large and of the wrong type are refused by status": async () => {
    const large = { model: MODEL, messages: [{ role: "user", content: "x".repeat(17 << 20) }] };
    await refused(completions.create(large), OpenAI.APIError, { status: 413, code: "body_too_large" });
    const plain = completions.create(asked(""), { headers: { "content-type": "text/plain" } });
    await refused(plain, OpenAI.APIError, { status: 415, code: "unsupported_media_type" });
  },

  "what the model's server refuses as invalid is a bad request": async () => {
    await refused(completions.create(asked("status=400")), OpenAI.BadRequestError, { status: 400, code: theirs("demo_status", 400) });
    if (through) return;
    await refused(completions.create(asked("status=422")), OpenAI.UnprocessableEntityError, { status: 422, code: "demo_status" });
  },

  "a rate limit is a rate limit": async () => {
    const members = { status: 429, code: "upstream_rate_limited", type: "rate_limit_error" };
    for (const stream of [false, true]) {
      await refused(completions.create(asked("status=429", { stream })), OpenAI.RateLimitError, members);
    }
  },

  "a rate limit tells when to come back, and the SDK obeys": async () => {
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

  "a wait above a minute is not repeated": async () => {
    calls = 0;
    const call = repeating.chat.completions.create(asked("status=429&retry_after=120"));
    const error = await refused(call, OpenAI.RateLimitError, {});
    const said = ["retry-after", "retry-after-ms", "x-should-retry"].map((name) => error.headers.get(name));
    assert.deepEqual([calls, said], [1, ["120", "120000", "false"]]);
  },

  "a failure of the model's server is an internal server error, never repeated": async () => {
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

  "a failure before the first token is a status": async () => {
    await refused(completions.create(asked("fail_at=0", { stream: true })), OpenAI.InternalServerError, { status: 502, code: "upstream_error" });
    await refused(completions.create(asked("close_at=0", { stream: true })), OpenAI.InternalServerError, { status: 502, code: far("upstream_disconnected") });
  },

  "an answer that breaks off is no answer": async () => {
    await refused(completions.create(asked("fail_at=5&rate=max")), OpenAI.InternalServerError, { status: 502, code: "upstream_error" });
    await refused(completions.create(asked("close_at=5&rate=max")), OpenAI.InternalServerError, { status: 502, code: far("upstream_disconnected") });
  },

  "a failure in mid-stream is an error with its code": async () => {
    await refused(streamed(asked("fail_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: "upstream_error", type: "server_error" });
  },

  "a cut in mid-stream is an error, never a clean end": async () => {
    await refused(streamed(asked("close_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: far("upstream_disconnected") });
  },

  "the model's silence ends in time, as a status or in the stream": async () => {
    const timeout = { status: 504, code: "deadline_exceeded" };
    await Promise.all([
      refused(completions.create(asked("first_token=1h")), OpenAI.InternalServerError, timeout),
      refused(completions.create(asked("first_token=1h", { stream: true })), OpenAI.InternalServerError, timeout),
      refused(streamed(asked("stall_at=5&rate=max")), OpenAI.APIError, { status: undefined, code: "deadline_exceeded" }),
    ]);
  },

  "a generation that somebody stops is an error in its stream": async () => {
    const { data, response } = await completions.create(asked(LONG, { stream: true })).withResponse();
    const rest = refused(read(data), OpenAI.APIError, { status: undefined, code: "cancelled" });
    await fetch(`${baseUrl}/v1/generations/${response.headers.get("tokenrill-generation")}/cancel`, { method: "POST" });
    await rest;
  },

  "every answer has a request id": async () => {
    const whole = await completions.create(asked("tokens=2&rate=max"));
    assert.match(whole._request_id, /^req_/);
    const { data, request_id } = await completions.create(asked("tokens=2&rate=max", { stream: true })).withResponse();
    assert.match(request_id, /^req_/);
    assert.notEqual(request_id, whole._request_id);
    await read(data);
  },
};

// 401, 403 and 422 do not arise before there are keys and idempotency. 409 answers a call whose generation
// is cancelled while it waits for the whole: nobody outside knows that generation's id, so no SDK is shown it.
let broken = 0;
for (const [promise, holds] of Object.entries(promises)) {
  const reason = BREAKS[through]?.[promise];
  if (reason) {
    console.log(`skip ${promise}: ${reason}`);
    continue;
  }
  try {
    await holds();
    console.log(`ok   ${promise}`);
  } catch (error) {
    broken += 1;
    console.log(`FAIL ${promise}\n${error.stack}`);
  }
}
process.exit(broken === 0 ? 0 : 1);
