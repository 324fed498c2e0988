// One press of Send: from the request to the end of its answer.
import type { EventSourceMessage } from "@microsoft/fetch-event-source";
import type { Answer } from "./answer";
import { cancel, generate, problemFrom, type EventData, type GenerationRequest, type Problem, type Viewer } from "./generation";
import type { Meters } from "./meters";
import type { RawEvents } from "./raw_events";

/** How long a stop may take to come back as an event before the page hangs up. */
const STOP_DEADLINE_MS = 5_000;

const UNEXPLAINED: Problem = { title: "The generation failed", code: "unknown" };

export class Run implements Viewer {
  readonly #controller = new AbortController();
  #generation: string | null = null;
  #ended = false;

  constructor(
    private readonly answer: Answer,
    private readonly events: RawEvents,
    private readonly meters: Meters,
  ) {}

  async follow(request: GenerationRequest): Promise<void> {
    this.answer.begin();
    this.events.begin();
    this.meters.begin();
    try {
      await generate(request, this, this.#controller);
      if (!this.#ended) this.#cancelled({ reason: "connection_closed" });
    } catch (error) {
      this.#failed({ error: problemFrom(error) });
    }
    this.answer.end();
  }

  /** Asks the server to stop, and hangs up where it cannot be asked or does not answer: that stops it too. */
  async stop(): Promise<void> {
    this.meters.status("Stopping");
    if (this.#generation === null) return this.#controller.abort();
    setTimeout(() => this.#controller.abort(), STOP_DEADLINE_MS);
    await cancel(this.#generation).catch(() => this.#controller.abort());
  }

  opened(generation: string | null): void {
    this.#generation = generation;
  }

  received(message: EventSourceMessage): void {
    this.events.add(message, this.meters.elapsed());
    const data = JSON.parse(message.data) as EventData;
    if (this.answer.show(message.event, data)) {
      this.meters.part(message.event === "reasoning" ? "Reasoning" : "Answering");
      return;
    }
    switch (message.event) {
      case "start":
        this.#generation = data.generation ?? this.#generation;
        return this.meters.status("Waiting for the first token");
      case "queued":
        return this.meters.status(`Queued, position ${data.position ?? "unknown"}`);
      case "done":
        return this.#end(`Done (${data.finish_reason ?? "no reason given"})`, data);
      case "cancelled":
        return this.#cancelled(data);
      case "failed":
        return this.#failed(data);
    }
  }

  #cancelled(data: EventData): void {
    this.answer.cancelled(data.reason ?? "unknown");
    this.#end("Cancelled", data);
  }

  #failed(data: EventData): void {
    this.answer.failed(data.error ?? UNEXPLAINED);
    this.#end("Failed", data);
  }

  #end(status: string, { usage }: EventData): void {
    this.#ended = true;
    this.meters.end(status, usage);
  }
}
