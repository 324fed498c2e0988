// Follows an answer where the service wants a credential: EventSource cannot send a header, so a ticket is in its address.
import type { components } from "../../openapi/tokenrill";
import { type Access, fetchWith } from "./access";
import { follow, type Viewer } from "./follow";

export interface PatientViewer extends Viewer {
  /** The service does not have this answer (any more), or not for this caller. */
  gone(): void;
}

/** Follows until the answer has ended or is gone, and asks for another ticket when one has expired. Call the result to leave. */
export function keepFollowing(
  service: string,
  generation: string,
  viewer: PatientViewer,
  access: Access = {},
  ticketSeconds = 300,
): () => void {
  const send = fetchWith(access);
  const state = `${service}/v1/generations/${generation}`;
  let source: EventSource | undefined;
  let left = false;

  /** Where the events are; `undefined` if the service refuses. Without headers, as with a cookie, no ticket is needed. */
  const address = async (): Promise<string | undefined> => {
    const ticket = JSON.stringify({ resource: "generation", id: generation, ttl_s: ticketSeconds });
    const headers = { "Content-Type": "application/json" };
    const response = access.headers
      ? await send(`${service}/v1/tickets`, { method: "POST", headers, body: ticket })
      : await send(state, { cache: "no-store" });
    if (response.status >= 400 && response.status < 500 && response.status !== 429) return undefined;
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return access.headers ? service + ((await response.json()) as components["schemas"]["Ticket"]).url : `${state}/events`;
  };
  const later = (): void => void setTimeout(open, 1_000);
  const open = async (): Promise<void> => {
    try {
      if (left) return;
      const events = await address();
      if (left) return;
      if (events === undefined) return viewer.gone();
      source = follow(events, viewer, later, { withCredentials: access.credentials === "include" });
    } catch {
      // The service was out of reach, or overloaded.
      later();
    }
  };
  void open();
  return () => {
    left = true;
    source?.close();
  };
}
