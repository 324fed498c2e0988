// Uses the service through LangChain's integration of OpenAI as any program would: another base URL.
//   node langchain.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { baseURL, check, LONG, QUESTION, refusal, running, stops } from "./support.mjs";

const configuration = { baseURL: `${baseURL}/v1` };
const chat = (options, more) => new ChatOpenAI({ configuration, apiKey: "unused", model: `demo?${options}`, maxRetries: 0, ...more });
const schema = z.object({ city: z.string(), unit: z.string() });
const weather = tool(() => "Rain.", { name: "weather", description: "The weather in a city.", schema });

await check({
  "invoke and stream return the same text, with usage": async () => {
    const model = chat("tokens=80&rate=max", { streamUsage: true });
    const whole = await model.invoke(QUESTION);
    const pieces = [];
    for await (const piece of await model.stream(QUESTION)) pieces.push(piece);
    assert.ok(pieces.length > 20, "token by token");
    assert.equal(pieces.map(({ text }) => text).join(""), whole.text);
    assert.equal(whole.response_metadata.finish_reason, "stop");
    const used = pieces.map(({ usage_metadata }) => usage_metadata?.output_tokens ?? 0);
    assert.equal(Math.max(...used), whole.usage_metadata.output_tokens);
  },

  "tool is called, and its result continues the conversation": async () => {
    const model = chat("tool=weather&rate=max&tokens=20").bindTools([weather]);
    const called = await model.invoke(QUESTION);
    const [call] = called.tool_calls;
    assert.deepEqual([call.name, call.args], ["weather", { city: "Zürich", unit: "celsius" }]);
    let merged;
    for await (const piece of await model.stream(QUESTION)) merged = merged?.concat(piece) ?? piece;
    assert.deepEqual(merged.tool_calls[0].args, call.args);
    const result = new ToolMessage({ content: "Rain.", tool_call_id: call.id });
    const told = await model.invoke([new HumanMessage(QUESTION), called, result]);
    assert.ok(told.text.length > 10 && told.tool_calls.length === 0);
  },

  "structured output is an object of the schema": async () => {
    const model = chat("tool=weather&rate=max").withStructuredOutput(schema, { name: "weather", method: "functionCalling" });
    assert.deepEqual(await model.invoke(QUESTION), { city: "Zürich", unit: "celsius" });
  },

  "embeddings of texts are vectors of length 1, the same for the same text": async () => {
    const model = new OpenAIEmbeddings({ configuration, apiKey: "unused", model: "demo" });
    const [one, other, again] = await model.embedDocuments(["a red car", "something else", "a red car"]);
    assert.deepEqual(one, again);
    assert.notDeepEqual(one, other);
    assert.ok(Math.abs(one.reduce((sum, number) => sum + number * number, 0) - 1) < 1e-5);
    assert.deepEqual(await model.embedQuery("a red car"), one);
  },

  "refusal and failure in the stream are errors": async () => {
    for (const status of [400, 429, 503]) {
      const error = await refusal(chat(`status=${status}`).invoke(QUESTION));
      assert.equal(error.status, status, error.stack);
    }
    const read = async () => {
      for await (const _ of await chat("fail_at=5&rate=max").stream(QUESTION));
    };
    await assert.rejects(read());
  },

  "abort stops the model": async () => {
    await stops(async () => {
      for await (const _ of await chat(LONG).stream(QUESTION)) break;
    });
    await stops(async () => {
      const left = new AbortController();
      const call = chat(LONG).invoke(QUESTION, { signal: left.signal });
      await running();
      left.abort();
      await assert.rejects(call);
    });
  },
});
