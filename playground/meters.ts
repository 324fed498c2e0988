// The figures above the answer, on the reader's clock.
import { byId } from "./dom";
import type { Usage } from "./generation";

export class Meters {
  readonly #status = byId("status");
  readonly #firstToken = byId("first-token");
  readonly #rate = byId("rate");
  readonly #output = byId("output");
  readonly #total = byId("total");
  #sent = 0;
  #first = 0;
  #last = 0;
  #parts = 0;

  begin(): void {
    this.#sent = performance.now();
    this.#parts = 0;
    for (const meter of [this.#firstToken, this.#rate, this.#output, this.#total]) meter.textContent = "–";
    this.status("Connecting");
  }

  /** Milliseconds since the request was sent. */
  elapsed(): number {
    return performance.now() - this.#sent;
  }

  status(text: string): void {
    // Written only when it changes: it is announced to those who listen to the page.
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  /** A part of the answer has arrived. */
  part(status: string): void {
    this.status(status);
    this.#last = this.elapsed();
    this.#parts += 1;
    if (this.#parts === 1) {
      this.#first = this.#last;
      this.#firstToken.textContent = milliseconds(this.#first);
    }
    this.#show(this.#parts, "events");
  }

  end(status: string, usage: Usage | undefined): void {
    this.status(status);
    this.#total.textContent = milliseconds(this.elapsed());
    const tokens = usage?.output_tokens;
    if (tokens) this.#show(tokens, "tokens", usage.estimated ? "≈ " : "");
  }

  #show(count: number, unit: string, about = ""): void {
    this.#output.textContent = `${about}${count} ${unit}`;
    // The first one opens the interval, so it is not counted in it.
    const seconds = (this.#last - this.#first) / 1000;
    if (count > 1 && seconds > 0) this.#rate.textContent = `${about}${((count - 1) / seconds).toFixed(1)} ${unit}/s`;
  }
}

function milliseconds(duration: number): string {
  return duration < 10_000 ? `${Math.round(duration)} ms` : `${(duration / 1000).toFixed(1)} s`;
}
