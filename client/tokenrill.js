// Reads answers of Tokenrill: each event once and in order, through cuts, reloads and expired tokens.
//   import { Tokenrill } from "/tokenrill.js";

const TERMINAL = ["done", "cancelled", "failed"];
const JSON_BODY = { "Content-Type": "application/json" };

/** A refusal that another try would not change. */
export class TokenrillError extends Error {
  constructor({ detail, status, code, retryable = false, request_id: requestId }) {
    super(detail);
    Object.assign(this, { name: "TokenrillError", status, code, retryable, requestId });
  }
}

/** Splits the bytes of an event stream into events (WHATWG HTML, section 9.2.6). */
export class EventStreamParser {
  lastEventId = "";
  /** The delay before a reconnection, in milliseconds, if the stream has set one. */
  retry = undefined;
  #decoder = new TextDecoder();
  #unread = "";
  #afterReturn = false;
  #block = { event: "", data: [] };

  /** Returns the events that these bytes complete. */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return [];
    // A line feed after a carriage return belongs to the same line's end.
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    const lines = (this.#unread + text).split(/\r\n|\r|\n/);
    this.#afterReturn = text.endsWith("\r");
    this.#unread = lines.pop();
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line) {
    if (line === "") {
      const { event, data } = this.#block;
      this.#block = { event: "", data: [] };
      return data.length ? [{ event: event || "message", data: data.join("\n"), id: this.lastEventId }] : [];
    }
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.#block.data.push(value);
    if (name === "event") this.#block.event = value;
    if (name === "id" && !value.includes("\0")) this.lastEventId = value;
    if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return [];
  }
}

export class Tokenrill {
  /**
   * `headers`: an object, or a function that is called before each request; its argument is true after the service has
   * refused the last headers as expired.
   */
  constructor({ url = "", headers = {}, credentials = "same-origin" } = {}) {
    this.url = url;
    this.headers = typeof headers === "function" ? headers : () => headers;
    this.credentials = credentials;
  }

  /** Starts an answer. With `remember`, `resume` finds it after a reload of the page. */
  ask(request, { remember, key = crypto.randomUUID(), ...options } = {}) {
    const store = stored(remember);
    store?.set({ key, request });
    const init = { method: "POST", body: JSON.stringify(request), headers: { ...JSON_BODY, "Idempotency-Key": key } };
    return new Answer(this, options, { path: "/v1/generations", init, store });
  }

  /** Follows an answer that runs or is kept, from its beginning or after an event. */
  follow(generation, { after = "", ...options } = {}) {
    return new Answer(this, options, { generation, after });
  }

  /** Continues with what `ask` has remembered, from its beginning; `undefined` if there is nothing. */
  resume(remember, options) {
    const store = stored(remember);
    const known = store?.get();
    if (!known) return undefined;
    const { generation, request, key } = known;
    return generation ? new Answer(this, options, { generation, store }) : this.ask(request, { ...options, remember, key });
  }

  /** Stops an answer for all its readers. The request outlives the page. */
  async stop(generation) {
    await this.json(`/v1/generations/${generation}/cancel`, { method: "POST", keepalive: true });
  }

  /** Makes a ticket, for `EventSource`. */
  async ticket(ticket) {
    const made = await this.json("/v1/tickets", { method: "POST", headers: JSON_BODY, body: JSON.stringify(ticket) });
    return { ...made, url: this.url + made.url };
  }

  /** Receives the events of a channel until `signal` aborts. */
  async *subscribe(channel, { history, after = "", signal } = {}) {
    const path = `/v1/channels/${encodeURIComponent(channel)}/events${history ? `?history=${history}` : ""}`;
    for await (const event of this.events(() => ({ path }), { after, signal })) if (event.id) yield event;
  }

  /** Begins a conversation, which keeps its messages. `parameters` are those of each request. */
  conversation(parameters = {}, messages = []) {
    return new Conversation(this, parameters, messages);
  }

  /** Sends a request, once more if the token has expired. */
  async send(path, init = {}) {
    const attempt = async (expired) => {
      const headers = { ...init.headers, ...(await this.headers(expired)) };
      return fetch(this.url + path, { cache: "no-store", credentials: this.credentials, ...init, headers });
    };
    const response = await attempt(false);
    const isExpired = response.status === 401 && (await response.clone().text()).includes('"reason":"token_expired"');
    return isExpired ? attempt(true) : response;
  }

  /** Sends a request, and returns the JSON of its response. */
  async json(path, init) {
    const response = await this.send(path, init);
    if (!response.ok) throw new TokenrillError(await problem(response));
    return response.json();
  }

  /** Returns events, over as many requests as it takes. `next` returns the path and the options of each one. */
  async *events(next, { after, signal }) {
    let last = after;
    for (let failures = 0; ; failures += 1) {
      let wait = Math.min(30_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
      try {
        const { path, init } = next();
        const headers = { Accept: "text/event-stream", ...init?.headers, ...(last && { "Last-Event-ID": last }) };
        const response = await this.send(path, { ...init, headers, signal });
        if (response.status === 204) return;
        if (!response.ok) {
          const refused = await problem(response);
          if (!refused.retryable) throw new TokenrillError(refused);
          wait = refused.retry_after_ms ?? wait;
        } else {
          const parser = new EventStreamParser();
          yield { event: "open", data: response.headers.get("tokenrill-generation") };
          const reader = response.body.getReader();
          try {
            for (let read; !(read = await reader.read()).done; ) {
              for (const { event, data, id } of parser.push(read.value)) {
                failures = 0;
                last = id || last;
                wait = parser.retry ?? wait;
                yield { event, data: JSON.parse(data), id };
              }
            }
          } finally {
            reader.cancel().catch(() => {});
          }
          wait = parser.retry ?? wait;
        }
      } catch (error) {
        if (error instanceof TokenrillError || error instanceof SyntaxError || signal?.aborted) throw error;
      }
      await pause(wait, signal);
    }
  }
}

/** An answer that is being read. Each loop over it gets all its events. */
export class Answer {
  /** The text so far. */
  text = "";
  generation;
  #events = [];
  #isOver = false;
  #wake = deferred();
  #started = deferred();

  constructor(client, { signal } = {}, { path, init, generation, after, store }) {
    this.client = client;
    this.#begin(generation, store);
    const next = () =>
      this.generation ? { path: `/v1/generations/${this.generation}/events` } : { path, init };
    /** The terminal event. Rejects with a `TokenrillError` for a refusal, and with the signal's reason after its abort. */
    this.ended = this.#read(next, { after, signal }, store).finally(() => {
      this.#isOver = true;
      this.#wake.resolve();
      this.#started.resolve();
    });
    this.ended.catch(() => {});
  }

  /** Stops the answer for all its readers. To leave it alone, abort the signal. */
  async stop() {
    await this.#started.promise;
    if (this.generation && !this.#isOver) await this.client.stop(this.generation);
  }

  async *[Symbol.asyncIterator]() {
    for (let at = 0; ; at += 1) {
      while (at === this.#events.length && !this.#isOver) await this.#wake.promise;
      if (at === this.#events.length) break;
      yield this.#events[at];
    }
    await this.ended;
  }

  #begin(generation, store) {
    if (!generation || this.generation) return;
    this.generation = generation;
    store?.set({ generation });
    this.#started.resolve();
  }

  async #read(next, options, store) {
    try {
      for await (const event of this.client.events(next, options)) {
        if (event.event === "open") {
          this.#begin(event.data, store);
          continue;
        }
        if (event.event === "delta") this.text += event.data.text;
        // Another server begins again: the text so far is withdrawn.
        if (event.event === "restart") this.text = "";
        this.#events.push(event);
        this.#wake.resolve();
        this.#wake = deferred();
        if (TERMINAL.includes(event.event)) return event;
      }
      // 204: the end was sent before, and is lost. The state has everything.
      const data = await this.client.json(`/v1/generations/${this.generation}`);
      this.text = data.text;
      return { event: data.status, data };
    } finally {
      if (!options.signal?.aborted) store?.remove();
    }
  }
}

/** A conversation. */
export class Conversation {
  constructor(client, parameters, messages) {
    Object.assign(this, { client, parameters, messages });
  }

  /** Asks for the next answer. A failed turn leaves the messages as they were, a stopped one keeps what was said. */
  send(content, options) {
    const messages = [...this.messages, { role: "user", content }];
    const answer = this.client.ask({ ...this.parameters, messages }, options);
    const keep = ({ event }) => {
      if (event !== "failed" && answer.text) this.messages = [...messages, { role: "assistant", content: answer.text }];
    };
    answer.ended = answer.ended.then((end) => (keep(end), end));
    answer.ended.catch(() => {});
    return answer;
  }
}

/** Returns the problem of a refused request: JSON, or an event stream with one `failed` event. */
async function problem(response) {
  const { status } = response;
  const fallback = { status, detail: `HTTP ${status}`, retryable: status >= 500 || status === 429 };
  try {
    const text = await response.text();
    const [refused] = new EventStreamParser().push(new TextEncoder().encode(text));
    return { ...fallback, ...(refused ? JSON.parse(refused.data).error : JSON.parse(text)) };
  } catch {
    return fallback;
  }
}

/** Waits, longer while the browser is offline. */
async function pause(milliseconds, signal) {
  const { promise, resolve } = deferred();
  const isOffline = globalThis.navigator?.onLine === false;
  const timer = isOffline ? addEventListener("online", resolve, { once: true }) : setTimeout(resolve, milliseconds);
  signal?.addEventListener("abort", resolve);
  await promise;
  signal?.removeEventListener("abort", resolve);
  clearTimeout(timer);
  signal?.throwIfAborted();
}

function deferred() {
  let resolve;
  return { promise: new Promise((resolver) => (resolve = resolver)), resolve };
}

/** Where an answer is remembered: for this tab alone, and gone with it. */
function stored(name) {
  if (!name || !globalThis.sessionStorage) return undefined;
  const key = `tokenrill:${name}`;
  return {
    get: () => JSON.parse(sessionStorage.getItem(key)),
    set: (value) => sessionStorage.setItem(key, JSON.stringify(value)),
    remove: () => sessionStorage.removeItem(key),
  };
}
