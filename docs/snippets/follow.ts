// Follows an answer with the browser's own EventSource: a second tab, a reloaded page, a support desk.
import type { GenerationEvents } from "../../openapi/tokenrill";
import type { Ending } from "./ask";

/** Shows the answer so far and all that comes. Comes back by itself after a lost connection. */
export function follow(
  service: string,
  generation: string,
  show: (text: string) => void,
  ended: (ending: Ending) => void,
): EventSource {
  // The state comes as one event; who comes back sends the last id and is told events only.
  const source = new EventSource(`${service}/v1/generations/${generation}/events?replay=snapshot`);
  let text = "";
  source.addEventListener("snapshot", ({ data }) => {
    text = (JSON.parse(data) as GenerationEvents["snapshot"]).text;
    show(text);
  });
  source.addEventListener("delta", ({ data }) => {
    text += (JSON.parse(data) as GenerationEvents["delta"]).text;
    show(text);
  });
  for (const event of ["done", "cancelled", "failed"] as const) {
    source.addEventListener(event, ({ data }) => {
      source.close();
      ended({ event, data: JSON.parse(data) } as Ending);
    });
  }
  // `source.onerror` is about the connection alone: CONNECTING, it is coming back; CLOSED, the service does
  // not have this generation (any more).
  return source;
}
