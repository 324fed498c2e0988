// Reads an answer with fetch alone.
import type { GenerationEvents } from "../../openapi/tokenrill";
import { type Access, fetchWith } from "./access";
import type { Ending } from "./ask";

/** Shows the answer and resolves when it has ended; reconnects after a lost connection. */
export async function read(
  service: string,
  generation: string,
  show: (text: string) => void,
  access: Access = {},
): Promise<Ending> {
  const send = fetchWith(access);
  let lastEventId = "";
  let text = "";
  for (;;) {
    try {
      const headers: HeadersInit = lastEventId ? { "Last-Event-ID": lastEventId } : {};
      // Without this a second tab in Firefox waits for the first, whose response might be cacheable.
      const response = await send(`${service}/v1/generations/${generation}/events`, { headers, cache: "no-store" });
      if (response.status !== 200 || !response.body) throw new RangeError(`HTTP ${response.status}`);
      for await (const { event, data, id } of events(response.body)) {
        lastEventId = id || lastEventId;
        if (event === "delta") {
          text += (JSON.parse(data) as GenerationEvents["delta"]).text;
          show(text);
        } else if (event === "restart") {
          // Another upstream begins anew: all text so far is withdrawn.
          text = "";
          show(text);
        } else if (event === "done" || event === "cancelled" || event === "failed") {
          return { event, data: JSON.parse(data) } as Ending;
        }
      }
    } catch (error) {
      // The service has responded and does not have the generation: a retry would not help.
      if (error instanceof RangeError) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** The blocks of an event stream. A block without its blank line is incomplete and dropped. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<{ event: string; data: string; id: string }> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let unread = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (unread + value).split("\n\n");
    unread = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string): string =>
        block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
      yield { event: field("event"), data: field("data"), id: field("id") };
    }
  }
}
