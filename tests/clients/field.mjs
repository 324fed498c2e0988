// field.mjs BASE_URL: reads each input of tests/it/clients/field with OpenAI's SDK, as its examples do.
// The inputs' names come on standard input, one on a line; a line of JSON goes out for each.
import { text as readAll } from "node:stream/consumers";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0, timeout: 7_000, logLevel: "off" });
const messages = [{ role: "user", content: "Hello" }];

/** JavaScript would add up anything: what is no text is no answer. */
const text = (value) => {
  if (typeof value !== "string") throw new TypeError("no text");
  return value;
};
const figures = (usage) =>
  Number.isInteger(usage?.prompt_tokens) && Number.isInteger(usage?.completion_tokens)
    ? [usage.prompt_tokens, usage.completion_tokens, false]
    : null;

async function stream(model, read) {
  // The SDK's timeout ends at the head.
  const calls = new Map();
  const chunks = await client.chat.completions.create({ model, messages, stream: true }, { signal: AbortSignal.timeout(7_000) });
  for await (const chunk of chunks) {
    if (chunk.usage) read.usage = figures(chunk.usage);
    for (const choice of chunk.choices ?? []) {
      if (choice.index) continue;
      read.finish = choice.finish_reason || read.finish;
      const delta = choice.delta ?? {};
      if (delta.content) read.text += text(delta.content);
      read.reasoning += text(delta.reasoning_content || delta.reasoning || "");
      for (const fragment of delta.tool_calls ?? []) {
        if (!calls.has(fragment.index)) calls.set(fragment.index, ["", "", ""]);
        const call = calls.get(fragment.index);
        call[0] ||= fragment.id || "";
        call[1] ||= fragment.function.name || "";
        if (fragment.function.arguments) call[2] += text(fragment.function.arguments);
      }
    }
  }
  read.calls = [...calls.values()];
}

async function whole(model, read) {
  const completion = await client.chat.completions.create({ model, messages });
  read.usage = figures(completion.usage);
  const [{ message, finish_reason }] = completion.choices;
  read.finish = finish_reason;
  read.text += text(message.content || "");
  read.reasoning += text(message.reasoning_content || "");
  for (const { id, function: called } of message.tool_calls ?? []) {
    read.calls.push([id ?? "", called.name ?? "", text(called.arguments || "")]);
  }
}

async function reading(way, model) {
  const read = { text: "", reasoning: "", calls: [], finish: null, usage: null, failure: null };
  try {
    await way(model, read);
  } catch (error) {
    read.failure = error.constructor.name;
  }
  read.text = read.text.toWellFormed();
  read.reasoning = read.reasoning.toWellFormed();
  read.calls = read.calls.map((call) => call.map((member) => String(member).toWellFormed()));
  if (typeof read.finish !== "string") read.finish = null;
  return read;
}

const names = (await readAll(process.stdin)).split("\n").filter(Boolean);
const next = names.values();
const work = async () => {
  for (const name of next) {
    const [streamed, answer] = await Promise.all([reading(stream, name), reading(whole, name)]);
    console.log(JSON.stringify({ name, stream: streamed, whole: answer }));
  }
};
await Promise.all(Array.from({ length: 16 }, work));
process.exit(0);
