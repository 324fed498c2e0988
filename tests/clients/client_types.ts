// One call of each kind: `tsc` says whether the types of the client take what it takes, and refuse a typo.
import { type Answer, type AnswerEnd, Tokenrill, TokenrillError } from "tokenrill";

export async function calls(signal: AbortSignal): Promise<AnswerEnd> {
  const client = new Tokenrill({ url: "", headers: async (expired) => ({ Authorization: expired ? "new" : "old" }) });
  const answer: Answer = client.ask({ input: "Hello" }, { signal, remember: "page" });
  for await (const { event, id } of answer) console.log(event, id, answer.text, answer.generation);
  for await (const { data } of client.subscribe("room", { history: 10, signal })) console.log(data);
  const { url } = await client.ticket({ resource: "generation", id: answer.generation ?? "" });
  await client.stop(url);
  await client.resume("page", { signal })?.stop();
  // @ts-expect-error: it is called `signal`.
  client.follow("gen_a", { abort: signal });
  const talk = client.conversation({ model: "m" });
  return talk.send("Hello").ended.catch((error: unknown) => {
    throw error instanceof TokenrillError ? new Error(error.code) : error;
  });
}
