// Tokenrill's client: see tokenrill.d.ts.

export class TokenrillError extends Error {
  constructor({ status = 0, code, detail, request_id, retryable = false, retry_after_ms }, options) {
    super(detail, options);
    Object.assign(this, { status, code, detail, retryable, requestId: request_id, retryAfter: retry_after_ms });
  }
  name = "TokenrillError";
}

const STOPPED = new TokenrillError({ code: "stopped", detail: "Stopped before the start" });

const lost = (cause) => {
  const detail = `The connection was lost: ${cause.message}`;
  throw new TokenrillError({ code: "connection_lost", detail, retryable: true }, { cause });
};

/** `text` is a problem, or an event `failed`. */
function refusal({ status, headers }, text) {
  let problem;
  try {
    problem = JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1));
  } catch {}
  return new TokenrillError({
    code: `http_${status}`,
    detail: `HTTP ${status}, not from Tokenrill`,
    request_id: headers.get("x-request-id"),
    retryable: status > 499 || [408, 425, 429].includes(status),
    retry_after_ms: headers.get("retry-after") * 1e3,
    ...problem?.error,
    ...problem,
    status,
  });
}

/** WHATWG HTML 9.2.6. Sets `lastEventId` and `retry` of `state`. */
export async function* parse(body, state = {}, onRead) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let afterCr, event, id;
  let lastEventId = state.lastEventId;
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(lost);
      if (done) return;
      onRead?.();
      let text = decoder.decode(value, { stream: true });
      if (!text) continue;
      if (afterCr && text[0] === "\n") text = text.slice(1);
      afterCr = text.endsWith("\r");
      const lines = (rest + text).split(/\r\n|\r|\n/);
      rest = lines.pop();
      for (const line of lines) {
        const [, name, field] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (name === "data") data.push(field);
        if (name === "event") event = field;
        if (name === "id" && !field.includes("\0")) lastEventId = id = field;
        if (name === "retry" && /^\d+$/.test(field)) state.retry = +field;
        if (line) continue;
        state.lastEventId = lastEventId;
        const block = data.length && { event: event || "message", data: data.join("\n"), id };
        event = id = undefined;
        data = [];
        if (block) yield block;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const offline = () => globalThis.window?.navigator?.onLine === false;

/** Waits, if offline for the event `online`. */
function pause(ms, signal) {
  const over = new AbortController();
  const until = { signal: over.signal };
  let timer;
  return new Promise((resolve, reject) => {
    timer = setTimeout(resolve, offline() ? 3e4 : ms);
    globalThis.window?.addEventListener?.("online", resolve, until);
    signal?.addEventListener("abort", () => reject(signal.reason), until);
  }).finally(() => {
    clearTimeout(timer);
    over.abort();
  });
}

/** `sessionStorage` may be absent or full. */
function stored(name, value) {
  try {
    const key = `tokenrill:${name}`;
    if (value) sessionStorage.setItem(key, JSON.stringify(value));
    else if (value === null) sessionStorage.removeItem(key);
    else return JSON.parse(sessionStorage.getItem(key));
  } catch {}
}

class Answer {
  content = "";
  #events = [];
  #wake = [];

  constructor(start, { signal, onEvent, remember, after }, id, stop) {
    const own = new AbortController();
    const leave = () => own.abort(signal.reason);
    signal?.addEventListener("abort", leave, { signal: own.signal });
    if (signal?.aborted) leave();
    const state = { signal: own.signal, lastEventId: after };
    let unknown;
    this.id = new Promise((resolve, reject) => {
      unknown = reject;
      state.started = (id) => {
        state.id = id;
        if (remember) stored(remember, { id });
        resolve(id);
      };
    });
    if (id) state.started(id);
    this.stop = () => {
      state.stopping = true;
      if (state.refused) own.abort(STOPPED);
      return this.id.then(stop, () => {});
    };

    const read = async () => {
      let last;
      try {
        for await (last of start(state)) {
          const { event, data } = last;
          if (event === "delta" && !data.choice) this.content += data.text;
          // Another upstream begins anew.
          if (event === "restart") this.content = "";
          this.#events.push(last);
          onEvent?.(last, this);
          this.#wake.splice(0).forEach((wake) => wake());
        }
      } catch (error) {
        if (error !== STOPPED) throw (this.error = error);
      } finally {
        // After an abort the page may resume.
        if (remember && !signal?.aborted) stored(remember, null);
        unknown(this.error ?? STOPPED);
        own.abort();
        this.over = true;
        this.#wake.forEach((wake) => wake());
      }
      return last;
    };
    this.ending = read();
    this.text = this.ending.then((last) => {
      if (last?.event === "failed") throw new TokenrillError(last.data.error);
      return this.content;
    });
    for (const promise of [this.id, this.ending, this.text]) promise.catch(() => {});
  }

  async *[Symbol.asyncIterator]() {
    for (let next = 0; ; ) {
      if (next < this.#events.length) yield this.#events[next++];
      else if (this.error) throw this.error;
      else if (this.over) return;
      else await new Promise((wake) => this.#wake.push(wake));
    }
  }
}

export class Tokenrill {
  #options;

  constructor({ url = "", ...options } = {}) {
    this.url = url.replace(/\/+$/, "");
    this.#options = { retries: 10, idleTimeout: 45e3, ...options };
  }

  ask(request, options = {}) {
    // `randomUUID` needs TLS.
    const key = options.idempotencyKey ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
    if (options.remember) stored(options.remember, { key, request });
    const init = { method: "POST", headers: { "Idempotency-Key": key }, body: JSON.stringify(request) };
    return this.#answer("", init, options);
  }

  follow(id, options = {}) {
    return this.#answer(`/${id}/events`, {}, options, id);
  }

  resume(name, options) {
    const { id, key, request } = stored(name) ?? {};
    const again = { ...options, remember: name, idempotencyKey: key };
    return id ? this.follow(id, again) : key ? this.ask(request, again) : null;
  }

  async stop(id) {
    await this.#call(`/v1/generations/${id}/cancel`, { keepalive: true });
  }

  subscribe(channel, { signal, after, ...query } = {}) {
    const path = `/v1/channels/${encodeURIComponent(channel)}/events?${new URLSearchParams(query)}`;
    return this.#stream(path, {}, { signal, channel, lastEventId: after });
  }

  async ticket(request) {
    const ticket = await this.#call("/v1/tickets", { body: JSON.stringify(request) });
    return { ...ticket, url: this.url + ticket.url };
  }

  conversation(options) {
    return new Conversation(this, options);
  }

  #answer(path, init, options, id) {
    const start = (state) => this.#stream(`/v1/generations${path}`, init, state);
    return new Answer(start, options, id, (id) => this.stop(id));
  }

  async #send(path, init, expired = false) {
    let { headers, credentials } = this.#options;
    const renew = typeof headers === "function" && headers;
    try {
      if (renew) headers = await renew(expired);
    } catch (error) {
      // A token's `fetch`.
      throw error instanceof TypeError ? lost(error) : error;
    }
    // In Firefox a second tab would wait for the cache.
    const cache = "no-store";
    headers = { ...headers, ...init.headers, ...(init.body && { "Content-Type": "application/json" }) };
    const response = await fetch(this.url + path, { cache, credentials, ...init, headers }).catch(lost);
    if (response.ok) return response;
    const text = await response.text().catch(() => "");
    if (response.status === 401 && renew && !expired) return this.#send(path, init, true);
    throw refusal(response, text);
  }

  async #call(path, init) {
    for (const state = {}; ; ) {
      try {
        return await (await this.#send(path, { method: "POST", ...init })).json();
      } catch (error) {
        await this.#retry(error, state);
      }
    }
  }

  async #retry(error, state) {
    state.signal?.throwIfAborted();
    const { failures = 0, retry = 1e3 } = state;
    if (!error.retryable || failures >= this.#options.retries) throw error;
    state.failures = failures + !offline();
    const backoff = Math.min(3e4, retry * 2 ** failures) * (1 - Math.random() / 2);
    await pause(error.retryAfter * (1 + Math.random() / 4) || backoff, state.signal);
  }

  async *#stream(path, init, state) {
    const seen = new Set();
    for (;;) {
      const connection = new AbortController();
      const { signal } = connection;
      state.signal?.addEventListener("abort", () => connection.abort(), { signal });
      let timer;
      // Heartbeats come each 15 s.
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => connection.abort(), this.#options.idleTimeout);
      };
      try {
        state.signal?.throwIfAborted();
        const last = state.lastEventId;
        if (last && init.method) [path, init] = [`/v1/generations/${state.id}/events`, {}];
        const headers = { ...init.headers, Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
        alive();
        const response = await this.#send(path, { ...init, headers, signal });
        if (response.status === 204) return;
        if (!/^text.event-stream/.test(response.headers.get("content-type"))) throw refusal(response, "");
        for await (const block of parse(response.body, state, alive)) {
          const { event, id } = block;
          state.failures = 0;
          if (id && seen.has(id)) continue;
          seen.add(id);
          if (seen.size > 1e3) seen.delete(seen.values().next().value);
          try {
            block.data = JSON.parse(block.data);
          } catch {}
          if (event === "start") state.started?.(block.data.generation);
          yield block;
          if (!state.channel && ["done", "cancelled", "failed"].includes(event)) return;
        }
        lost(Error("no terminal event"));
      } catch (error) {
        // A terminal block, cut after its `retry` of a day.
        if (state.retry > 6e4) state.retry = 1e3;
        state.refused = error.status && !state.id;
        if (state.refused && state.stopping) throw STOPPED;
        await this.#retry(error, state);
        state.refused = false;
      } finally {
        clearTimeout(timer);
        connection.abort();
      }
    }
  }
}

class Conversation {
  #client;
  #parameters;

  constructor(client, { system, messages, ...parameters } = {}) {
    this.#client = client;
    this.#parameters = parameters;
    this.messages = messages ?? (system ? [{ role: "system", content: system }] : []);
  }

  send(content, options) {
    return this.edit(this.messages.length, content, options);
  }

  edit(index, content, options) {
    return this.#ask([...this.messages.slice(0, index), { role: "user", content }], options);
  }

  regenerate(options) {
    return this.#ask(this.messages.slice(0, this.messages.findLastIndex(({ role }) => role === "user") + 1), options);
  }

  #ask(messages, options) {
    const onEvent = (last, answer) => {
      const { content } = answer;
      if (content && ["done", "cancelled"].includes(last.event)) this.messages = [...messages, { role: "assistant", content }];
      options?.onEvent?.(last, answer);
    };
    return this.#client.ask({ ...this.#parameters, messages }, { ...options, onEvent });
  }
}
