// The events as they arrived: when, which, under which id, with what data.
import type { EventSourceMessage } from "@microsoft/fetch-event-source";
import { byId, make } from "./dom";

const MAX_ROWS = 2_000;

export class RawEvents {
  readonly #rows = byId("events");
  readonly #count = byId("event-count");
  #received = 0;

  begin(): void {
    this.#received = 0;
    this.#count.textContent = "";
    this.#rows.replaceChildren();
  }

  add({ event, id, data }: EventSourceMessage, sinceRequest: number): void {
    const row = make("li");
    row.dataset["event"] = event;
    row.append(make("time", `${(sinceRequest / 1000).toFixed(3)} s`), make("b", event), eventId(id), make("code", data));
    this.#rows.append(row);

    this.#received += 1;
    if (this.#received > MAX_ROWS) this.#rows.firstElementChild?.remove();
    const dropped = this.#received > MAX_ROWS ? `, the last ${MAX_ROWS} shown` : "";
    this.#count.textContent = `${this.#received}${dropped}`;
  }
}

/** In two parts, so that a narrow column can shorten the generation and keep the sequence. */
function eventId(id: string): HTMLElement {
  const dot = id.lastIndexOf(".");
  const shown = make("span", "", "id");
  shown.title = id;
  shown.append(make("span", id.slice(0, Math.max(dot, 0))), id.slice(Math.max(dot, 0)));
  return shown;
}
