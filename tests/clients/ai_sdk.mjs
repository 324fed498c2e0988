// Uses the service through the AI SDK's providers of OpenAI and Anthropic as any program would: another base URL.
//   node ai_sdk.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";
import { baseURL, check, LONG, QUESTION, refusal, running, stops } from "./support.mjs";

const openai = createOpenAI({ baseURL: `${baseURL}/v1`, apiKey: "unused" });
const anthropic = createAnthropic({ baseURL: `${baseURL}/v1`, apiKey: "unused" });
const providers = { openai: (options) => openai(`demo?${options}`), "openai.chat": (options) => openai.chat(`demo?${options}`), anthropic: (options) => anthropic(`demo?${options}`) };

const schema = z.object({ city: z.string(), unit: z.string() });
const weather = tool({ description: "The weather in a city.", inputSchema: schema, execute: async ({ city }) => `Rain in ${city}.` });
const asked = (model, more) => ({ model, prompt: QUESTION, maxRetries: 0, ...more });
const silent = { onError: () => {} };

const of = (name, provider) => ({
  [`${name}: text and stream are the same, with usage`]: async () => {
    const whole = await generateText(asked(provider("tokens=80&rate=max")));
    const streamed = streamText(asked(provider("tokens=80&rate=max")));
    const pieces = [];
    for await (const piece of streamed.textStream) pieces.push(piece);
    assert.ok(pieces.length > 20, "token by token");
    assert.equal(pieces.join(""), whole.text);
    assert.equal(await streamed.finishReason, "stop");
    assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);
    assert.ok(whole.usage.outputTokens > 0);
  },

  [`${name}: tool runs, and its result continues the answer`]: async () => {
    const body = (more) => asked(provider("tool=weather&rate=max&tokens=20"), { tools: { weather }, stopWhen: isStepCount(3), ...more });
    const whole = await generateText(body());
    assert.equal(whole.steps.length, 2);
    assert.deepEqual(whole.steps[0].toolCalls[0].input, { city: "Zürich", unit: "celsius" });
    assert.equal(whole.steps[0].toolResults[0].output, "Rain in Zürich.");
    const streamed = streamText(body());
    await streamed.consumeStream();
    assert.deepEqual((await streamed.steps).map(({ finishReason }) => finishReason), ["tool-calls", "stop"]);
  },

  [`${name}: reasoning precedes the text`]: async () => {
    const whole = await generateText(asked(provider("reasoning=9&tokens=6&rate=max")));
    assert.ok(whole.text.length > 0);
    if (name !== "openai.chat") assert.ok(whole.reasoningText.length > 9);
  },

  [`${name}: refusal is an APICallError with its status, and says whether to retry`]: async () => {
    for (const [options, status, retryable] of [["status=400", 400, false], ["status=429&retry_after=1", 429, true], ["status=503", 503, true]]) {
      const error = await refusal(generateText(asked(provider(options))));
      assert.ok(APICallError.isInstance(error), error.stack);
      assert.deepEqual([error.statusCode, error.isRetryable], [status, retryable], options);
    }
  },

  [`${name}: failure and cut in the stream are errors, with the text so far`]: async () => {
    for (const options of ["fail_at=5&rate=max", "close_at=5&rate=max"]) {
      const parts = [];
      for await (const part of streamText(asked(provider(options), silent)).fullStream) parts.push(part);
      assert.ok(parts.some(({ type }) => type === "text-delta"), options);
      assert.ok(parts.some(({ type }) => type === "error"), `${options}: ${JSON.stringify(parts)}`);
    }
  },

  [`${name}: abort stops the model in each phase`]: async () => {
    for (const options of ["first_token=1h", LONG]) {
      await stops(async () => {
        const left = new AbortController();
        const streamed = streamText(asked(provider(options), { abortSignal: left.signal, ...silent }));
        const read = streamed.consumeStream();
        await running();
        left.abort();
        await read;
      });
      await stops(async () => {
        const left = new AbortController();
        const call = generateText(asked(provider(options), { abortSignal: left.signal }));
        await running();
        left.abort();
        await assert.rejects(call);
      });
    }
  },
});

await check({
  ...of("openai", providers.openai),
  ...of("openai.chat", providers["openai.chat"]),
  ...of("anthropic", providers.anthropic),

  "embeddings are vectors of length 1, the same for the same text": async () => {
    const { embeddings, usage } = await embedMany({ model: openai.embedding("demo"), values: ["a red car", "something else", "a red car"] });
    assert.deepEqual(embeddings[0], embeddings[2]);
    assert.ok(Math.abs(embeddings[0].reduce((sum, number) => sum + number * number, 0) - 1) < 1e-5);
    assert.ok(usage.tokens > 0);
  },

  "schema of a structured output reaches the model": async () => {
    // The embedded model answers in prose: the error shows that the answer was read against the schema.
    const error = await refusal(generateText(asked(openai.chat("demo?tokens=5&rate=max"), { output: Output.object({ schema }) })));
    assert.equal(error.name, "AI_NoObjectGeneratedError", error.stack);
  },
});
