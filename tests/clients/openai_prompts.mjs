// OpenAI's SDK asks a prompt of this service as a model, with its variables as a field of its own.
//   node openai_prompts.mjs URL
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];

const stream = await client.chat.completions.create({
  model: "prompt/assistant",
  variables: { product: "Tokenrill", tone: "brief" },
  messages,
  max_completion_tokens: 8,
  stream: true,
});
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
assert.ok(text.length > 0);

const whole = await client.chat.completions.create({ model: "prompt/assistant", messages, max_completion_tokens: 8 });
assert.ok(whole.choices[0].message.content);

const summary = await client.chat.completions.create({
  model: "prompt/summarise",
  variables: { text: "Tokens arrive once and in order.", length: "short" },
  messages: [],
  max_completion_tokens: 8,
});
assert.ok(summary.choices[0].message.content);

const missing = await client.chat.completions.create({ model: "prompt/translate", messages }).catch((error) => error);
assert.ok(missing instanceof OpenAI.UnprocessableEntityError, String(missing));
assert.equal(missing.code, "invalid_variables");
assert.equal(missing.param, "variables.text");

const unknown = await client.chat.completions.create({ model: "prompt/nobodys", messages }).catch((error) => error);
assert.ok(unknown instanceof OpenAI.NotFoundError, String(unknown));
assert.equal(unknown.code, "prompt_not_found");
console.log(`ok   ${text.length} characters, then two refusals`);
