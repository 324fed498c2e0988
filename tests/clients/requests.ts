// One request of each kind: `tsc` says whether the shipped types take what the API takes, and refuse a typo.
import type { NewChatCompletion, NewGeneration, NewGenerationWithProviderFields } from "../../openapi/tokenrill";

const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

export const requests: NewGeneration[] = [
  { input: "Hello" },
  { model: "m", messages: [{ role: "user", content: "Hello" }] },
  { input: "Hello", tools: [weather], tool_choice: "auto", parallel_tool_calls: false },
  { input: "Hello", tools: [weather], tool_choice: { type: "function", function: { name: "weather" } } },
  { input: "Hello", response_format: { type: "json_object" } },
  { input: "Hello", response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "object" } } } },
  {
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } },
        ],
      },
    ],
  },
  { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AA==", format: "wav" } }] }] },
  { input: "Hello", logit_bias: { "50256": -100 }, logprobs: true, top_logprobs: 2 },
  { input: "Hello", stream_options: { include_usage: true } },
  { prompt: { id: "summarise", variables: { text: "Tokens arrive once.", length: "short" } } },
  { prompt: { id: "assistant", version: "0123456789ab" }, messages: [{ role: "user", content: "Hello" }] },
  { input: "Hello", on_disconnect: "continue", grace_ms: 5_000, metadata: { chat: "7" }, stop: ["\n"], seed: 7 },
];

export const chats: NewChatCompletion[] = [
  { model: "m", messages: [{ role: "user", content: "Hello" }], stream: true, stream_options: { include_usage: true } },
  { model: "prompt/assistant", messages: [{ role: "user", content: "Hello" }], variables: { tone: "brief" } },
  { messages: [{ role: "user", content: "Hello" }], tools: [weather], tool_choice: "required" },
];

/** A provider's own fields. */
export const provider: NewGenerationWithProviderFields[] = [
  { input: "Hello", top_k: 40, chat_template_kwargs: { enable_thinking: false } },
  { input: "Hello", tools: [weather], min_p: 0.1 },
];

/** Typos do not compile. */
export const typos: NewGeneration[] = [
  // @ts-expect-error
  { input: "Hello", on_disconect: "continue" },
  // @ts-expect-error
  { input: "Hello", on_disconnect: "contine" },
  // @ts-expect-error
  { input: "Hello", top_k: 40 },
  // @ts-expect-error
  { input: "Hello", temperature: "hot" },
];

export const chatTypos: NewChatCompletion[] = [
  // @ts-expect-error
  { messages: [{ role: "user", content: "Hello" }], on_disconect: "continue" },
];

/** Nor does a wrong value beside a provider's field. */
export const wrong: NewGenerationWithProviderFields[] = [
  // @ts-expect-error
  { input: "Hello", top_k: 40, temperature: "hot" },
];
