// One generation over the native wire: start it or follow it, read its events, stop it.
import { EventStreamContentType, fetchEventSource, type EventSourceMessage } from "@microsoft/fetch-event-source";
import { credential } from "./key";

export interface GenerationRequest {
  input: string;
  model?: string;
}

/** What to read: an answer to be started, or one that there is, by its id. */
export type Source = { start: GenerationRequest } | { generation: string };

/** The fields of an event's data that this page reads. What it does not know, it ignores. */
export interface EventData {
  generation?: string;
  position?: number;
  eta_ms?: number;
  text?: string;
  choice?: number;
  index?: number;
  name?: string;
  arguments?: string;
  finish_reason?: string;
  reason?: string;
  error?: Problem;
  usage?: Usage;
}

export interface Usage {
  output_tokens?: number;
  estimated?: boolean;
}

/** RFC 9457, as in every refusal and in every `failed` event. */
export interface Problem {
  title: string;
  code: string;
  status?: number;
  detail?: string;
  retryable?: boolean;
  retry_after_ms?: number;
  request_id?: string;
  errors?: unknown[];
}

/** The answer was refused outside an event stream: asking again would not help. */
class Broken extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

export interface Viewer {
  opened(generation: string | null): void;
  /** The connection is gone; the reading comes back with the last id that it has. */
  lost(): void;
  /** May throw: the reading then ends with that exception. */
  received(message: EventSourceMessage): void;
}

const TERMINAL = new Set(["done", "cancelled", "failed"]);

/** Reads one generation to its end, over as many connections as that takes. */
export class Reading {
  /** Fresh for each connection: the library does not notice one that is aborted already. */
  #connection = new AbortController();
  #lastEventId = "";
  #dropped = false;
  /** Names the request, so that a repeat finds what the first one started. */
  readonly #key = crypto.randomUUID();

  constructor(
    private readonly source: Source,
    private readonly viewer: Viewer,
  ) {}

  /** Resolves after the terminal event, or when it has hung up. */
  async toEnd(): Promise<void> {
    do {
      this.#dropped = false;
      this.#connection = new AbortController();
      await this.#connect(this.#connection);
    } while (this.#dropped);
  }

  /** What a network does: the connection is gone in mid-answer. Tells whether there was one. */
  drop(): boolean {
    this.#dropped = !this.#connection.signal.aborted;
    this.#connection.abort();
    if (this.#dropped) this.viewer.lost();
    return this.#dropped;
  }

  hangUp(): void {
    this.#connection.abort();
  }

  async #connect(connection: AbortController): Promise<void> {
    let fault: unknown;
    await fetchEventSource(this.#url(), {
      ...this.#request(),
      signal: connection.signal,

      onopen: async (response) => {
        // Whatever its status, an event stream tells its own story: a refusal is one `failed` event.
        if (isEventStream(response)) return this.viewer.opened(response.headers.get("tokenrill-generation"));
        // Nothing follows the last id.
        if (response.status === 204) return connection.abort();
        throw new Broken(await problemOf(response));
      },

      // An exception from here would make the library repeat the request and leave this body unread.
      onmessage: (message) => {
        if (message.data === "" || connection.signal.aborted) return;
        this.#lastEventId = message.id || this.#lastEventId;
        try {
          this.viewer.received(message);
        } catch (error) {
          fault = error;
          connection.abort();
        }
        if (TERMINAL.has(message.event)) connection.abort();
      },

      onclose: () => {
        throw new Error("the stream ended without a terminal event");
      },

      // Throwing is how this library is told not to try again.
      onerror: (error) => {
        if (error instanceof Broken) throw error;
        this.viewer.lost();
      },
    });
    if (fault !== undefined) throw fault;
  }

  #url(): string {
    return "start" in this.source ? "/v1/generations" : `/v1/generations/${encodeURIComponent(this.source.generation)}/events`;
  }

  #request(): { method: string; headers: Record<string, string>; body?: string } {
    const last = this.#lastEventId === "" ? credential() : { ...credential(), "last-event-id": this.#lastEventId };
    if (!("start" in this.source)) return { method: "GET", headers: last };
    const headers = { "content-type": "application/json", "idempotency-key": this.#key, ...last };
    return { method: "POST", headers, body: JSON.stringify(this.source.start) };
  }
}

/** Stops a generation. The request outlives the page. */
export async function cancel(generation: string): Promise<void> {
  const response = await fetch(`/v1/generations/${encodeURIComponent(generation)}/cancel`, {
    method: "POST",
    headers: credential(),
    keepalive: true,
    signal: AbortSignal.timeout(5_000),
  });
  if (!response.ok) throw new Broken(await problemOf(response));
}

/** What to tell the reader about an exception from a reading or from `cancel`. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof Broken) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return error instanceof SyntaxError
    ? { title: "An event could not be read", code: "malformed_event", detail }
    : { title: "The connection was lost", code: "connection_lost", detail };
}

function isEventStream(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith(EventStreamContentType) ?? false;
}

async function problemOf(response: Response): Promise<Problem> {
  const title = response.statusText || "Unexpected response";
  const body: unknown = await response.json().catch(() => null);
  const known = typeof body === "object" && body !== null ? body : {};
  return { title, code: "unexpected_response", status: response.status, ...known };
}
