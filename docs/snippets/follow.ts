// Follows an answer with the browser's own EventSource: a second tab, a reloaded page, a support desk.
import type { GenerationEvents } from "../../openapi/tokenrill";
import type { Ending } from "./ask";

export interface Viewer {
  /** The whole text so far. */
  show(text: string): void;
  ended(ending: Ending): void;
}

/**
 * Shows the answer so far and all that comes, and reconnects by itself. `closed` is called when the browser has given up: the
 * service does not have this generation (any more), the ticket has expired, or, in Firefox, a connection was reset early.
 */
export function follow(events: string, viewer: Viewer, closed: () => void, init: EventSourceInit = {}): EventSource {
  // The state comes as one event. A reconnect sends the last id and gets events only.
  const source = new EventSource(`${events}${events.includes("?") ? "&" : "?"}replay=snapshot`, init);
  let text = "";
  source.addEventListener("snapshot", ({ data }) => {
    text = (JSON.parse(data) as GenerationEvents["snapshot"]).text;
    viewer.show(text);
  });
  source.addEventListener("delta", ({ data }) => {
    text += (JSON.parse(data) as GenerationEvents["delta"]).text;
    viewer.show(text);
  });
  // Another upstream begins anew: all text so far is withdrawn.
  source.addEventListener("restart", () => viewer.show((text = "")));
  for (const event of ["done", "cancelled", "failed"] as const) {
    source.addEventListener(event, ({ data }) => {
      source.close();
      viewer.ended({ event, data: JSON.parse(data) } as Ending);
    });
  }
  // About the connection alone: CONNECTING, it is reconnecting; CLOSED, it is over.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) closed();
  };
  return source;
}
