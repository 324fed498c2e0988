// A channel from a page: publish to it, follow it.
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { askForKey, credential } from "./key";

export interface Publication {
  event: string;
  data: unknown;
  /** For those who are there now; never kept. */
  ephemeral?: true;
  /** For this one alone. */
  to?: { connection: string };
}

export interface Subscription {
  /** How many of the last events come first. */
  history?: number;
  /** Also who comes and who goes. */
  presence?: boolean;
  /** Whether to stay while the page is hidden, and be counted as present. */
  stay?: boolean;
  signal?: AbortSignal;
}

/** The first event of each connection. */
export interface Connected {
  connection: string;
  subscribers: number;
  present?: { connection: string }[];
}

export type State = "live" | "reconnecting" | "refused";

/** Asking again would not help. */
class Refused extends Error {}

export async function publish(channel: string, publication: Publication): Promise<void> {
  const response = await fetch(`/v1/channels/${encodeURIComponent(channel)}/events`, {
    method: "POST",
    headers: { "content-type": "application/json", ...credential() },
    body: JSON.stringify(publication),
  });
  if (!response.ok) throw new Error(`could not publish: ${response.status} ${response.statusText}`);
}

/** Goes on until the signal aborts. A lost connection comes back with `Last-Event-ID`, which the library sends. */
export function subscribe<Data>(
  channel: string,
  { history = 0, presence = false, stay = false, signal }: Subscription,
  heard: (event: string, data: Data, id: string) => void,
  became: (state: State) => void = () => {},
): void {
  fetchEventSource(`/v1/channels/${encodeURIComponent(channel)}/events?history=${history}&presence=${presence}`, {
    headers: credential(),
    // Firefox lets a second tab wait for what a first one loads from the same address, in case it can be kept.
    cache: "no-store",
    openWhenHidden: stay,
    ...(signal && { signal }),

    async onopen({ ok, status, statusText }) {
      if (ok) return became("live");
      if (status >= 500 || status === 429) throw new Error(statusText);
      // Or for another one.
      if (status === 401 || status === 403) askForKey(() => subscribe(channel, { history, presence, stay, ...(signal && { signal }) }, heard, became));
      throw new Refused(statusText);
    },
    onmessage({ event, data, id }) {
      if (data === "") return;
      try {
        heard(event, JSON.parse(data) as Data, id);
      } catch (error) {
        // Of one event that is not as the page expects. Thrown on, it would make the library connect again.
        console.error(error);
      }
    },
    // Such a stream never ends: it was cut.
    onclose() {
      throw new Error("closed");
    },
    // Throwing is how this library is told not to try again.
    onerror(error) {
      if (error instanceof Refused) throw error;
      became("reconnecting");
    },
  }).catch(() => became("refused"));
}
