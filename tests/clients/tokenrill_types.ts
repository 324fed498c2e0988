// Calls of the client: `tsc` says whether its types accept what the client accepts, and refuse a typo.
import { type Ending, type GenerationEvent, Tokenrill, TokenrillError } from "tokenrill";
import { useAnswer as useReactAnswer, useConversation as useReactConversation } from "tokenrill/react";
import { useAnswer as useVueAnswer, useConversation as useVueConversation } from "tokenrill/vue";
import type { NewGeneration } from "../../openapi/tokenrill";

export const client = new Tokenrill({ url: "http://127.0.0.1:8080", headers: async (expired) => ({ Authorization: `Bearer ${expired}` }) });
export const sameOrigin = new Tokenrill({ credentials: "include", retries: 3, idleTimeout: 30_000 });

export async function read(request: NewGeneration, signal: AbortSignal): Promise<string> {
  const answer = client.ask(request, { signal, idempotencyKey: "k", remember: "chat", onEvent: (event, { content }) => show(event, content) });
  for await (const event of answer) show(event, "");
  const id: string = await answer.id;
  await client.follow(id, { after: `${id}.3`, signal }).text;
  const ending: Ending | undefined = await answer.ending;
  if (ending?.event === "done") show(ending, ending.data.finish_reason);
  await client.resume("chat")?.stop();
  await client.stop(id);
  return answer.text;
}

function show(event: GenerationEvent, text: string): void {
  if (event.event === "delta") console.log(event.data.text, event.id, text);
  // @ts-expect-error `start` has no text.
  if (event.event === "start") console.log(event.data.text.length);
}

export async function others(): Promise<void> {
  for await (const { event, data, id } of client.subscribe("room-1", { after: "room-1.7", presence: true })) console.log(event, data, id);
  const { ticket, url } = await client.ticket({ resource: "channel", id: "room-1", scopes: ["subscribe"], ttl_s: 60 });
  const talk = client.conversation({ system: "Be brief.", model: "demo", temperature: 0.2 });
  console.log(ticket, url, await talk.send("Hello").text, talk.edit(0, "Hi"), talk.regenerate(), talk.messages[0]?.role);
  try {
    await client.ask({ input: "Hello" }).text;
  } catch (error) {
    if (error instanceof TokenrillError) console.log(error.status, error.code, error.detail, error.requestId, error.retryable, error.retryAfter);
  }
  // @ts-expect-error A typo.
  client.ask({ input: "Hello" }, { idempotencykey: "k" });
  // @ts-expect-error Not a resource.
  await client.ticket({ resource: "generations", id: "gen_1" });
}

export function Components(): string {
  const answer = useReactAnswer(client, { remember: "chat" });
  const talk = useReactConversation(client, { system: "Be brief." });
  const other = useVueAnswer(client);
  const vueTalk = useVueConversation(client, { system: "Be brief." });
  void answer.ask({ input: "Hello" }).text;
  return answer.text + talk.messages.length + other.text.value + vueTalk.messages.value.length + (talk.error?.message ?? talk.status);
}
