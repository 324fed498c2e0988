// Uses the service through OpenAI's Agents SDK as any program would: another base URL. Each check runs with both of its
// models, for the Responses API and for chat completions.
//   node openai_agents.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { Agent, ModelBehaviorError, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, tool, user } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import { baseURL, check, LONG, QUESTION, refusal, running, stops } from "./support.mjs";

const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "unused", maxRetries: 0 });
// Traces would be sent to OpenAI.
const runner = new Runner({ tracingDisabled: true });
const parameters = z.object({ city: z.string(), unit: z.string() });

const isText = ({ type, data }) => type === "raw_model_stream_event" && data.type === "output_text_delta";

/** Runs an agent with a stream to its end, and returns the texts of the stream and the result. */
async function streamed(agent, input) {
  const result = await runner.run(agent, input, { stream: true });
  const texts = [];
  for await (const event of result) if (isText(event)) texts.push(event.data.delta);
  await result.completed;
  return { texts, result };
}

/** Both ways to run an agent to its end. */
const ways = [(agent, input) => runner.run(agent, input), async (agent, input) => (await streamed(agent, input)).result];

/** The checks of one model. `ending` is the class of an error in the stream, with its code if it has one. */
const checksOf = (name, Model, ending) => {
  const agent = (options, more) => new Agent({ name: "Assistant", model: new Model(client, `demo?${options}`), ...more });
  const checks = {
    "run and streamed run have the same text, with usage": async () => {
      const one = agent("tokens=80&rate=max", { instructions: "Be brief." });
      const whole = await runner.run(one, QUESTION);
      assert.ok(whole.finalOutput.length > 100);
      const { texts, result } = await streamed(one, QUESTION);
      assert.ok(texts.length > 20, "token by token");
      assert.deepEqual([texts.join(""), result.finalOutput], [whole.finalOutput, whole.finalOutput]);
      const { inputTokens, outputTokens } = whole.state.usage;
      assert.deepEqual([inputTokens > 5, outputTokens], [true, 80]);
      assert.deepEqual([result.state.usage.inputTokens, result.state.usage.outputTokens], [inputTokens, outputTokens]);
    },

    "tool runs, and its result continues the answer": async () => {
      for (const run of ways) {
        const cities = [];
        const weather = tool({ name: "weather", description: "The weather in a city.", parameters, execute: ({ city }) => cities.push(city) && "Rain." });
        const result = await run(agent("tool=weather&rate=max&tokens=20", { tools: [weather] }), QUESTION);
        assert.ok(result.finalOutput.length > 20);
        assert.deepEqual(cities, ["Zürich"]);
        const types = ["message", "message", "function_call", "function_call_result", "message"];
        assert.deepEqual(result.history.map(({ type }) => type), types);
        assert.equal(result.state.usage.requests, 2);
      }
    },

    "second turn continues the first one by its history": async () => {
      const one = agent("tokens=20&reasoning=5&rate=max");
      const first = await runner.run(one, QUESTION);
      const second = await runner.run(one, [...first.history, user("And more?")]);
      assert.ok(second.finalOutput.length > 20);
      assert.ok(second.state.usage.inputTokens > first.state.usage.inputTokens + 20, "the first answer is part of the input");
    },

    "refusal is the error of OpenAI's SDK": async () => {
      const table = [
        ["status=400", OpenAI.BadRequestError, 400, "demo_status"],
        ["status=422", OpenAI.UnprocessableEntityError, 422, "demo_status"],
        ["status=429", OpenAI.RateLimitError, 429, "upstream_rate_limited"],
        ["status=500", OpenAI.InternalServerError, 502, "upstream_error"],
        ["status=503", OpenAI.InternalServerError, 503, "upstream_overloaded"],
      ];
      for (const [options, type, status, code] of table) {
        for (const run of ways) {
          const error = await refusal(run(agent(options), QUESTION));
          assert.deepEqual([error.constructor, error.status, error.code], [type, status, code], error.stack);
          assert.match(error.requestID, /^req_/);
        }
      }
    },

    "failure and cut in the stream are errors": async () => {
      for (const [options, code] of [["fail_at=5&rate=max", "upstream_error"], ["close_at=5&rate=max", "upstream_disconnected"]]) {
        const error = await refusal(streamed(agent(options), QUESTION));
        assert.deepEqual([error.constructor, error.code], [ending.type, ending.hasCode ? code : undefined], error.stack);
      }
    },

    "output that does not fit its schema is an error": async () => {
      await assert.rejects(runner.run(agent("tokens=5&rate=max", { outputType: parameters }), QUESTION), ModelBehaviorError);
    },

    "abort stops the model in each phase": async () => {
      await stops(async () => {
        const left = new AbortController();
        const result = await runner.run(agent(LONG), QUESTION, { stream: true, signal: left.signal });
        for await (const event of result) if (isText(event)) left.abort();
      });
      await stops(async () => {
        for await (const event of await runner.run(agent(LONG), QUESTION, { stream: true })) if (isText(event)) break;
      });
      for (const [options, more] of [["first_token=1h", { stream: true }], ["first_token=1h", {}], [LONG, {}]]) {
        await stops(async () => {
          const left = new AbortController();
          const call = runner.run(agent(options), QUESTION, { ...more, signal: left.signal }).then((result) => result.completed);
          await running();
          left.abort();
          await assert.rejects(call, OpenAI.APIUserAbortError);
        });
      }
    },
  };
  return Object.fromEntries(Object.entries(checks).map(([check, holds]) => [`${name}: ${check}`, holds]));
};

await check({
  ...checksOf("responses", OpenAIResponsesModel, { type: ModelBehaviorError, hasCode: false }),
  "responses: second turn continues the first one by its id": async () => {
    const agent = new Agent({ name: "Assistant", model: new OpenAIResponsesModel(client, "demo?tokens=20&rate=max") });
    const first = await runner.run(agent, QUESTION);
    const byHistory = await runner.run(agent, [...first.history, user("And more?")]);
    const byId = await runner.run(agent, "And more?", { previousResponseId: first.lastResponseId });
    assert.equal(byId.finalOutput, byHistory.finalOutput);
    assert.equal(byId.state.usage.inputTokens, byHistory.state.usage.inputTokens);
  },
  ...checksOf("chat", OpenAIChatCompletionsModel, { type: OpenAI.APIError, hasCode: true }),
});
