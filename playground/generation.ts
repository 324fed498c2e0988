// One generation over the native wire: start it, read its events, stop it.
import { EventStreamContentType, fetchEventSource, type EventSourceMessage } from "@microsoft/fetch-event-source";

export interface GenerationRequest {
  input: string;
  model?: string;
}

/** The fields of an event's data that this page reads. What it does not know, it ignores. */
export interface EventData {
  generation?: string;
  position?: number;
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

/** The answer was refused outside an event stream, or broke off without a terminal event. */
class Broken extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

export interface Viewer {
  opened(generation: string | null): void;
  /** May throw: the stream is then closed and the exception handed to the caller. */
  received(message: EventSourceMessage): void;
}

const TERMINAL = new Set(["done", "cancelled", "failed"]);

/**
 * Starts a generation and shows the viewer each of its events. Resolves after the terminal one, or
 * when `controller` is aborted. Nothing is ever repeated: a second POST would be a second answer.
 * The controller must be fresh, since one that is aborted already goes unnoticed.
 */
export async function generate(request: GenerationRequest, viewer: Viewer, controller: AbortController): Promise<void> {
  let fault: unknown;
  await fetchEventSource("/v1/generations", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
    openWhenHidden: true,
    signal: controller.signal,

    async onopen(response) {
      // Whatever its status, an event stream tells its own story: a refusal is one `failed` event.
      if (!isEventStream(response)) throw new Broken(await problemOf(response));
      viewer.opened(response.headers.get("tokenrill-generation"));
    },

    // An exception from here would make the library repeat the POST and leave this body unread.
    onmessage(message) {
      if (message.data === "" || controller.signal.aborted) return;
      try {
        viewer.received(message);
      } catch (error) {
        fault = error;
        controller.abort();
      }
      if (TERMINAL.has(message.event)) controller.abort();
    },

    onclose() {
      throw new Broken({
        title: "The answer is incomplete",
        code: "stream_incomplete",
        detail: "The connection closed before a terminal event arrived.",
      });
    },

    // Throwing is how this library is told not to try again.
    onerror(error) {
      throw error;
    },
  });
  if (fault !== undefined) throw fault;
}

/** Stops a generation. The request outlives the page. */
export async function cancel(generation: string): Promise<void> {
  const response = await fetch(`/v1/generations/${encodeURIComponent(generation)}/cancel`, {
    method: "POST",
    keepalive: true,
    signal: AbortSignal.timeout(5_000),
  });
  if (!response.ok) throw new Broken(await problemOf(response));
}

/** What to tell the reader about an exception from `generate` or `cancel`. */
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
