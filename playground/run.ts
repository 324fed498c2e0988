// One press of Send, or one visit to an answer that there is: from the first request to the ending.
import type { EventSourceMessage } from "@microsoft/fetch-event-source";
import type { Answer } from "./answer";
import { cancel, problemFrom, Reading, type EventData, type Problem, type Source, type Viewer } from "./generation";
import type { Meters } from "./meters";
import type { RawEvents } from "./raw_events";
import type { Timeline } from "./timeline";

/** How long a stop may take to come back as an event before the page hangs up. */
const STOP_DEADLINE_MS = 5_000;

const UNEXPLAINED: Problem = { title: "The generation failed", code: "unknown" };

export class Run implements Viewer {
  readonly #reading: Reading;
  #generation: string | null = null;
  #ended = false;

  constructor(
    source: Source,
    private readonly answer: Answer,
    private readonly events: RawEvents,
    private readonly meters: Meters,
    private readonly timeline: Timeline,
    /** Told which generation this is, as soon as that is known. */
    private readonly known: (generation: string) => void,
  ) {
    this.#reading = new Reading(source, this);
  }

  async follow(): Promise<void> {
    this.answer.begin();
    this.events.begin();
    this.meters.begin();
    this.timeline.begin();
    try {
      await this.#reading.toEnd();
      if (!this.#ended) this.#cancelled({ reason: "connection_closed" });
    } catch (error) {
      this.#failed({ error: problemFrom(error) });
    }
    this.answer.end();
  }

  /** Asks the server to stop, and hangs up where it cannot be asked or does not answer: that stops it after the grace. */
  async stop(): Promise<void> {
    this.meters.status("Stopping");
    if (this.#generation === null) return this.#reading.hangUp();
    setTimeout(() => this.#reading.hangUp(), STOP_DEADLINE_MS);
    await cancel(this.#generation).catch(() => this.#reading.hangUp());
  }

  /** As a network would. */
  drop(): void {
    this.#reading.drop();
  }

  opened(generation: string | null): void {
    this.#know(generation);
  }

  lost(): void {
    this.timeline.lost(this.meters.elapsed());
    this.meters.status("Coming back");
  }

  received(message: EventSourceMessage): void {
    this.events.add(message, this.meters.elapsed());
    const data = JSON.parse(message.data) as EventData;
    if (this.answer.show(message.event, data)) {
      this.timeline.arrived(this.meters.elapsed());
      this.meters.part(message.event === "reasoning" ? "Reasoning" : "Answering");
      return;
    }
    switch (message.event) {
      case "start":
        this.#know(data.generation ?? null);
        return this.meters.status("Waiting for the first token");
      case "queued":
        return this.#queued(data);
      case "restart":
        return this.meters.status(`Begun anew (${data.reason ?? "no reason given"})`);
      case "done":
        return this.#end(`Done (${data.finish_reason ?? "no reason given"})`, data);
      case "cancelled":
        return this.#cancelled(data);
      case "failed":
        return this.#failed(data);
    }
  }

  #know(generation: string | null): void {
    if (generation === null || generation === this.#generation) return;
    this.#generation = generation;
    this.known(generation);
  }

  #queued({ position, eta_ms }: EventData): void {
    const wait = eta_ms === undefined ? "" : `, about ${Math.ceil(eta_ms / 1_000)} s`;
    this.meters.status(`Queued, position ${position ?? "unknown"}${wait}`);
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
    this.timeline.end(this.meters.elapsed());
  }
}
