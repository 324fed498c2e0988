// The page of the suite: the guide's snippets and two clients without any care, for the suite to call.
import { EventStreamContentType, fetchEventSource } from "@microsoft/fetch-event-source";
import type { components } from "../../../openapi/tokenrill";
import type { Access } from "../../../docs/snippets/access";
import { ask, type Ending } from "../../../docs/snippets/ask";
import { Conversation } from "../../../docs/snippets/conversation";
import { follow } from "../../../docs/snippets/follow";
import { read } from "../../../docs/snippets/read";
import { askAndRemember, goOn } from "../../../docs/snippets/reload";
import { keepFollowing } from "../../../docs/snippets/ticket";
import { bearerFrom } from "../../../docs/snippets/token";

/** What the suite looks at. */
interface Seen {
  text: string;
  generation: string;
  ending: Ending | null;
  error: string;
  names: string[];
  errors: number;
  /** The service does not have the answer. */
  gone: boolean;
  /** How often the page was asked for headers, and how often because they had expired. */
  asked: [number, number];
}

/** The headers that a page gives, in turn; the last ones also from then on. */
interface Credentials {
  headers?: Record<string, string>[];
  credentials?: RequestCredentials;
}

class Fatal extends Error {}

const begin = (): Seen => ({ text: "", generation: "", ending: null, error: "", names: [], errors: 0, gone: false, asked: [0, 0] });

/** What the snippets take, out of what can be handed to a page. */
const access = (seen: Seen, { headers, credentials }: Credentials): Access => {
  const given = headers?.slice();
  return {
    ...(credentials && { credentials }),
    ...(given && {
      async headers(expired) {
        seen.asked[0] += 1;
        seen.asked[1] += Number(expired);
        return (given.length > 1 ? given.shift() : given[0]) ?? {};
      },
    }),
  };
};

const viewer = (seen: Seen) => ({
  show: (text: string) => void (seen.text = text),
  ended: (ending: Ending) => void (seen.ending = ending),
  gone: () => void (seen.gone = true),
});


const settle = (seen: Seen, ending: Promise<Ending>): void => {
  ending.then(
    (ending) => (seen.ending = ending),
    (error: unknown) => (seen.error = String(error)),
  );
};

const reader = (seen: Seen) => ({
  started: (generation: string) => void (seen.generation = generation),
  show: (text: string) => void (seen.text = text),
});

const stop = new AbortController();
const leave = new AbortController();
addEventListener("pagehide", () => stop.abort());
let conversation: Conversation | undefined;

const page = {
  seen: begin(),
  /** Each offset of the cut test reads for itself. */
  many: [] as Seen[],

  ask(service: string, given: Credentials = {}) {
    const seen = (this.seen = begin());
    const options = { stop: stop.signal, leave: leave.signal, ...access(seen, given) };
    settle(seen, ask(service, { input: "Hello" }, reader(seen), options));
  },
  /** With tokens of the page's own server. */
  askWithTokens(service: string) {
    const seen = (this.seen = begin());
    settle(seen, ask(service, { input: "Hello" }, reader(seen), { headers: bearerFrom("/token") }));
  },
  askAlso(service: string, input: string) {
    const seen = begin();
    this.many.push(seen);
    settle(seen, ask(service, { input }, reader(seen)));
  },
  stop: () => stop.abort(),
  leave: () => leave.abort(),
  askAndRemember(service: string, given: Credentials = {}) {
    const seen = (this.seen = begin());
    settle(seen, askAndRemember(service, { input: "Hello" }, reader(seen), access(seen, given)));
  },
  goOn(service: string, given: Credentials = {}) {
    const seen = (this.seen = begin());
    return goOn(service, viewer(seen), access(seen, given));
  },
  follow(service: string, generation: string) {
    const seen = (this.seen = begin());
    follow(`${service}/v1/generations/${generation}/events`, viewer(seen), () => (seen.errors += 1));
  },
  keepFollowing(service: string, generation: string, given: Credentials, ticketSeconds: number) {
    const seen = (this.seen = begin());
    keepFollowing(service, generation, viewer(seen), access(seen, given), ticketSeconds);
  },
  read(service: string, generation: string, given: Credentials = {}) {
    const seen = (this.seen = begin());
    settle(seen, read(service, generation, reader(seen).show, access(seen, given)));
  },
  say(service: string, text: string) {
    const seen = (this.seen = begin());
    conversation ??= new Conversation(service, { model: "m" });
    settle(seen, conversation.say(text, reader(seen)));
  },
  messages: () => conversation?.messages,

  /** What an EventSource needs where a key does. */
  async ticket(service: string, headers: Record<string, string>, id: string) {
    const response = await fetch(`${service}/v1/tickets`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ resource: "generation", id, ttl_s: 300 }),
    });
    return (await response.json()) as components["schemas"]["Ticket"];
  },

  /** An EventSource that is never closed. */
  eventSource(url: string, options: EventSourceInit = {}) {
    const seen = (this.seen = begin());
    const source = new EventSource(url, options);
    for (const name of ["start", "delta", "done", "cancelled", "failed"]) {
      source.addEventListener(name, ({ data }) => {
        seen.names.push(name);
        if (name === "delta") seen.text += JSON.parse(data).text;
      });
    }
    source.onerror = () => (seen.errors += 1);
  },

  /** What a page can send anywhere without being asked whether it may: the browser adds its cookies. */
  forge(url: string) {
    return fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body: '{"input":"Hello"}' }).then(() => true);
  },

  /** The same by a form, whose body is JSON to who does not look at its type. */
  forgeByForm(url: string) {
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", action: url, enctype: "text/plain" });
    const field = document.createElement("input");
    Object.assign(field, { name: '{"input":"Hello","x":"', value: '"}' });
    form.append(field);
    document.body.append(form);
    form.submit();
  },

  /** fetch-event-source with its defaults, and what its README shows for a POST. */
  defaults(url: string, headers: Record<string, string>, body: unknown, method = "POST", credentials: RequestCredentials = "same-origin") {
    const seen = (this.seen = begin());
    const sent = { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*", ...headers };
    const options = method === "GET" ? { headers } : { method, headers: sent, body: JSON.stringify(body), credentials };
    fetchEventSource(url, {
      ...options,
      onmessage({ event, data }) {
        seen.names.push(event);
        if (event === "delta") seen.text += JSON.parse(data).text;
      },
    }).then(
      () => seen.names.push("resolved"),
      (error: unknown) => (seen.error = String(error)),
    );
  },

  /** fetch-event-source with the error handling of its README. */
  readme(url: string, headers: Record<string, string>, body: unknown) {
    const seen = (this.seen = begin());
    fetchEventSource(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
      async onopen(response) {
        if (response.ok && response.headers.get("content-type") === EventStreamContentType) return;
        if (response.status >= 400 && response.status < 500 && response.status !== 429) throw new Fatal(`${response.status}`);
        throw new Error(`${response.status}`);
      },
      onmessage({ event }) {
        seen.names.push(event);
      },
      onclose() {
        throw new Error("closed");
      },
      onerror(error) {
        seen.errors += 1;
        if (error instanceof Fatal) throw error;
      },
    }).catch((error: unknown) => (seen.error = String(error)));
  },
};

Object.assign(window, { page });
