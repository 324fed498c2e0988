// Asks with @microsoft/fetch-event-source, and survives what a browser does to a page.
import { EventStreamContentType, fetchEventSource } from "@microsoft/fetch-event-source";
import type { GenerationEvents, NewGeneration } from "../../openapi/tokenrill";
import { type Access, fetchWith } from "./access";

type Terminal = "done" | "cancelled" | "failed";

/** How an answer ended. */
export type Ending = { [Name in Terminal]: { event: Name; data: GenerationEvents[Name] } }[Terminal];

export interface Reader {
  /** The generation's id, as soon as it is known: what a reloaded page needs. */
  started?(generation: string): void;
  /** The whole text so far. */
  show(text: string): void;
}

export interface Asking extends Access {
  /** Aborting it stops the model, for every reader. */
  stop?: AbortSignal;
  /** Aborting it ends this reading alone; the model stops when the grace has passed without another reader. */
  leave?: AbortSignal;
}

/** Neither an event stream nor worth another try. */
class Refused extends Error {}

/** Resolves when the answer has ended; rejects with the reason of `leave` after that was aborted. */
export async function ask(service: string, request: NewGeneration, reader: Reader, options: Asking = {}): Promise<Ending> {
  const { stop, leave } = options;
  const send = fetchWith(options);
  leave?.throwIfAborted();
  // A fresh one for each answer: the library does not notice one that is aborted already.
  const reading = new AbortController();
  const left = (): void => reading.abort();
  leave?.addEventListener("abort", left);
  let generation: string | null = null;
  let ending: Ending | undefined;
  let fault: unknown;
  let text = "";

  const cancel = (): void => {
    // `keepalive` lets the request outlive the page.
    const url = `${service}/v1/generations/${generation}/cancel`;
    if (generation) void send(url, { method: "POST", keepalive: true });
  };
  stop?.addEventListener("abort", cancel);

  const read = (event: string, data: string): void => {
    if (event === "delta") {
      text += (JSON.parse(data) as GenerationEvents["delta"]).text;
      reader.show(text);
    } else if (event === "restart") {
      // Another upstream begins anew: all text so far is withdrawn.
      text = "";
      reader.show(text);
    } else if (event === "done" || event === "cancelled" || event === "failed") {
      const last = { event, data: JSON.parse(data) } as Ending;
      // A refusal has no usage. A retryable one says in `retry:` when to ask again; the library does so if
      // `onclose` throws.
      if (last.event === "failed" && !last.data.usage && last.data.error.retryable) return;
      ending = last;
      reading.abort();
    }
  };

  await fetchEventSource(`${service}/v1/generations`, {
    method: "POST",
    // Names the request, so that a repeat without an id finds what the first one started.
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
    body: JSON.stringify(request),
    signal: reading.signal,
    // Called for each try: a repeat has a token of its own time.
    fetch: send,
    // `openWhenHidden` stays false: a hidden tab disconnects, and resumes when it is shown again.

    async onopen(response) {
      if (response.headers.get("content-type")?.startsWith(EventStreamContentType)) {
        generation = response.headers.get("tokenrill-generation") ?? generation;
        if (generation) reader.started?.(generation);
        if (stop?.aborted) cancel();
        return;
      }
      // Not from Tokenrill, which sends refusals as events. A gateway's 502 is retried, a 4xx is not.
      if (response.status === 204) return reading.abort();
      if (response.status < 500) throw new Refused(`HTTP ${response.status}`);
      throw new Error(`HTTP ${response.status}`);
    },
    onmessage({ event, data }) {
      // An exception from here would make the library ask again and leave this connection open.
      try {
        read(event, data);
      } catch (error) {
        fault = error;
        reading.abort();
      }
    },
    onclose() {
      throw new Error("the stream ended without an ending");
    },
    onerror(error) {
      // Thrown, it ends the reading; otherwise the library reconnects with the last id after `retry:`.
      if (error instanceof Refused) throw error;
    },
  });
  stop?.removeEventListener("abort", cancel);
  leave?.removeEventListener("abort", left);

  leave?.throwIfAborted();
  if (fault !== undefined) throw fault;
  if (ending) return ending;
  // 204: nothing follows the last id, and the terminal event was lost on the way. The snapshot has everything.
  const state = (await (await send(`${service}/v1/generations/${generation}`)).json()) as GenerationEvents["snapshot"];
  reader.show(state.text);
  return { event: state.status, data: state } as unknown as Ending;
}
