// The client of this repository, client/tokenrill.js, through a proxy of this script that cuts connections.
//   node tokenrill_client.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parse, Tokenrill, TokenrillError } from "tokenrill";
import { baseURL, check, cut, figures, guardedRows, LONG, QUESTION, refusal, running, stops } from "./support.mjs";

const folder = fileURLToPath(new URL("../../client/", import.meta.url));
const client = new Tokenrill({ url: baseURL });
const ask = (options, more = {}) => ({ model: `demo?${options}`, input: QUESTION, ...more });

/**
 * Starts a proxy. `plan` returns for each request, counted from 0, what happens to it: `bytes` of the response's body, or
 * `events` of it, are forwarded and the connection is cut; `stall` keeps the connection open there instead of cutting it;
 * `respond` responds without the service; `to` is another service.
 */
async function proxied(plan, test) {
  const seen = [];
  const server = createServer((request, response) => {
    const action = plan(seen.length, request) ?? {};
    const { method, url, headers } = request;
    seen.push({ method, url, headers });
    if (action.respond) return action.respond(response);
    const upstream = httpRequest(new URL(url, action.to ?? baseURL), { method, headers }, (incoming) => {
      seen.generations ??= new Set();
      if (incoming.headers["tokenrill-generation"]) seen.generations.add(incoming.headers["tokenrill-generation"]);
      if (action.bytes === -1) return end();
      response.writeHead(incoming.statusCode, incoming.headers);
      response.flushHeaders();
      let { bytes = Infinity, events = Infinity } = action;
      if (bytes === 0 || events === 0) return end();
      let previous;
      incoming.on("data", (chunk) => {
        let length = 0;
        while (length < chunk.length && bytes > 0 && events > 0) {
          if (chunk[length] === 10 && previous === 10) events -= 1;
          previous = chunk[length++];
          bytes -= 1;
        }
        response.write(chunk.subarray(0, length), () => {
          if (bytes === 0 || events === 0) end();
        });
      });
      incoming.on("end", () => response.end());
      incoming.on("error", () => response.destroy());
      response.on("close", () => incoming.destroy());
    });
    const end = () => {
      if (!action.stall) response.destroy();
      upstream.destroy();
    };
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await test(`http://127.0.0.1:${server.address().port}`, seen);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function collect(answer) {
  const events = [];
  for await (const event of answer) events.push(event);
  return events;
}

/** The answer is what the service keeps: each event once, in order, up to the terminal one, and the text whole. */
async function isWhole(answer) {
  const [events, text, id] = await Promise.all([collect(answer), answer.text, answer.id]);
  const response = await fetch(`${baseURL}/v1/generations/${id}/events`);
  const kept = [];
  for await (const { event, data, id: own } of parse(response.body)) kept.push({ event, data: JSON.parse(data), id: own });
  assert.deepEqual(events.filter((event) => event.id), kept);
  assert.equal(text, (await (await fetch(`${baseURL}/v1/generations/${id}`)).json()).text);
  assert.deepEqual(await answer.ending, events.at(-1));
  return events;
}

/** Runs this many at a time. */
async function each(items, run, width = 100) {
  const left = [...items];
  const worker = async () => {
    while (left.length > 0) await run(left.shift());
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Parses the bytes in these reads. */
async function parsed(reads) {
  const state = {};
  const events = [];
  const body = new ReadableStream({
    start(controller) {
      for (const read of reads) controller.enqueue(read);
      controller.close();
    },
  });
  for await (const { event, data, id } of parse(body, state)) events.push([event, data, id ?? null]);
  return { events, last: state.lastEventId, retry: state.retry };
}

/** Streams, and what WHATWG HTML 9.2.6 makes of them: events as name, data and the block's own id; then the last id. */
const VECTORS = [
  ["data: a\n\n", [["message", "a", null]]],
  ["data: a\r\rdata: b\r\n\r\ndata: c\n\n", [["message", "a", null], ["message", "b", null], ["message", "c", null]]],
  ["\uFEFFdata: a\n\n\uFEFFdata: b\n\n", [["message", "a", null]]],
  [": comment\n:\ndata: a\n: ping\n\n", [["message", "a", null]]],
  ["event: e\r\ndata: a\r\ndata: b\r\n\r\n", [["e", "a\nb", null]]],
  ["data: a\ndata\ndata:b\n\n", [["message", "a\n\nb", null]]],
  ["data\n\ndata:\n\ndata: \n\n", [["message", "", null], ["message", "", null], ["message", "", null]]],
  ["data:  two\ndata:no\n data: ignored\nfoo: bar\ndatax: 1\n\n", [["message", " two\nno", null]]],
  ["event: e\ndata: a\n\ndata: b\n\n", [["e", "a", null], ["message", "b", null]]],
  ["event: e\n\ndata: b\n\n", [["message", "b", null]]],
  ["event: e\nevent:\ndata: b\n\n", [["message", "b", null]]],
  ["id: 1\ndata: a\n\ndata: b\n\n", [["message", "a", "1"], ["message", "b", null]], "1"],
  ["id: 1\ndata: a\n\nid\ndata: b\n\n", [["message", "a", "1"], ["message", "b", ""]], ""],
  ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [["message", "a", "1"], ["message", "b", null]], "1"],
  ["id: 1\n\n", [], "1"],
  ["id: 1\ndata: a\n\nid: 2\ndata: lost\n", [["message", "a", "1"]], "1"],
  ["data: Grüße 🌊 你好 👩‍👩‍👧\u2028x\u0085\n\n", [["message", "Grüße 🌊 你好 👩‍👩‍👧\u2028x\u0085", null]]],
  ["data: a:b: c\n\n", [["message", "a:b: c", null]]],
  ["retry: 7\nretry: x\nretry: -1\nretry: 1.5\nretry:\ndata: a\n\n", [["message", "a", null]], "", 7],
  ["data: incomplete", []],
  ["data: incomplete\n", []],
  ["data: incomplete\r", []],
  ["\n\n\r\n\r", []],
];

/** `sessionStorage` of a page. */
function storage() {
  const items = new Map();
  globalThis.sessionStorage = {
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => void items.set(name, value),
    removeItem: (name) => void items.delete(name),
  };
  return items;
}

await check({
  "parser follows the HTML Standard wherever the reads are split": async () => {
    for (const [stream, events, last = "", retry] of VECTORS) {
      const bytes = new TextEncoder().encode(stream);
      const expected = { events, last, retry };
      const result = async (...reads) => {
        const { last = "", ...rest } = await parsed(reads);
        assert.deepEqual({ ...rest, last }, expected, JSON.stringify(stream));
      };
      await result(...Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)));
      for (let first = 0; first <= bytes.length; first += 1) {
        for (let second = first; second <= bytes.length; second += 1) {
          await result(bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second));
        }
      }
    }
  },

  "answer is an iterable of events, and its text is whole": async () => {
    const answer = client.ask(ask("tokens=30&rate=200"));
    const events = await isWhole(answer);
    assert.deepEqual([events[0].event, events.at(-1).event], ["start", "done"]);
    assert.deepEqual(await collect(answer), events, "a second iteration begins at the first event");
    const followed = client.follow(await answer.id);
    assert.deepEqual(await isWhole(followed), events);
    const rest = await collect(client.follow(await answer.id, { after: events[5].id }));
    assert.deepEqual(rest, events.slice(6));
    assert.deepEqual(await collect(client.follow(await answer.id, { after: events.at(-1).id })), []);
  },

  "text is whole and the model called once, cut before the head and after every byte": async () => {
    const request = ask("tokens=6&rate=max");
    const { length } = Buffer.from(await (await fetch(`${baseURL}/v1/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    })).arrayBuffer());
    await each(Array.from({ length: length + 2 }, (_, index) => index - 1), (bytes) =>
      proxied((count) => (count === 0 ? { bytes } : {}), async (url, seen) => {
        const begun = Date.now();
        await isWhole(new Tokenrill({ url }).ask(request)).catch((error) => {
          throw new Error(`cut after byte ${bytes}: ${error.stack}`);
        });
        assert.ok(Date.now() - begun < 10_000, "the `retry` of a day in the terminal event is not a wait");
        assert.equal(seen.generations.size, 1);
        const keys = seen.filter(({ method }) => method === "POST").map(({ headers }) => headers["idempotency-key"]);
        assert.equal(new Set(keys).size, 1);
      }),
    );
  },

  "text is whole and the model called once, cut after each event and every 500 bytes": async () => {
    const actions = [{ events: 1 }, { events: 2 }, { bytes: 500 }, { bytes: 501 }];
    await Promise.all(actions.map((action) =>
      proxied(() => action, async (url, seen) => {
        await isWhole(new Tokenrill({ url }).ask(ask("tokens=12&rate=max")));
        assert.equal(seen.generations.size, 1);
        assert.deepEqual(seen.slice(1).filter(({ headers }) => !headers["last-event-id"]), []);
      }),
    ));
  },

  "operator's cut in mid-answer is resumed": async () => {
    const answer = client.ask(ask("tokens=40&rate=40"));
    await answer.id;
    await sleep(200);
    await cut();
    await isWhole(answer);
  },

  "silent connection is replaced after the idle timeout": () =>
    proxied((count) => (count === 0 ? { events: 3, stall: true } : {}), async (url, seen) => {
      await isWhole(new Tokenrill({ url, idleTimeout: 300 }).ask(ask("tokens=10&rate=100")));
      assert.equal(seen.length, 2);
    }),

  "offline page reconnects at the event online": () =>
    proxied((count) => (count === 0 ? { events: 3 } : {}), async (url, seen) => {
      globalThis.window = Object.assign(new EventTarget(), { navigator: { onLine: false } });
      try {
        const answer = new Tokenrill({ url }).ask(ask("tokens=10&rate=100"));
        await sleep(1500);
        assert.equal(seen.length, 1, "it waits");
        window.navigator.onLine = true;
        window.dispatchEvent(new Event("online"));
        await isWhole(answer);
        assert.equal(seen.length, 2);
      } finally {
        delete globalThis.window;
      }
    }),

  "stop ends the model at once, and the answer with cancelled": async () => {
    await stops(async () => {
      const answer = client.ask(ask(LONG));
      for await (const { event } of answer) if (event === "delta") await answer.stop();
      const { event, data } = await answer.ending;
      assert.deepEqual([event, data.reason], ["cancelled", "client_request"]);
      assert.equal(await answer.text, answer.content);
    });
    await stops(async () => {
      const answer = client.ask(ask(`${LONG}&first_token=30s`));
      await answer.stop();
      assert.equal((await answer.ending).event, "cancelled");
    });
    await stops(async () => {
      const answer = client.ask(ask(LONG));
      await client.stop(await answer.id);
      assert.equal((await answer.ending).event, "cancelled");
    });
  },

  "stop during the wait after a refusal starts no generation": () =>
    proxied(() => ({ respond: (response) => response.writeHead(503, { "retry-after": "60" }).end() }), async (url, seen) => {
      for (const wait of [0, 100]) {
        const answer = new Tokenrill({ url }).ask(ask(LONG));
        await sleep(wait);
        await answer.stop();
        assert.deepEqual([await answer.text, await answer.ending, await collect(answer)], ["", undefined, []]);
      }
      assert.equal(seen.length, 2);
    }),

  "abort leaves the answer, and the model stops when the grace ends": async () => {
    await stops(async () => {
      const leaving = new AbortController();
      const answer = client.ask(ask(LONG, { grace_ms: 100 }), { signal: leaving.signal });
      await answer.id;
      leaving.abort();
      for (const call of [collect(answer), answer.text, answer.ending]) assert.equal((await refusal(call)).name, "AbortError");
    });
    const before = await figures();
    const error = await refusal(client.ask(ask(LONG), { signal: AbortSignal.abort() }).text);
    assert.equal(error.name, "AbortError");
    assert.deepEqual(await figures(), before);
  },

  "expired token is renewed in mid-answer": () =>
    guardedRows((guarded) =>
      proxied(
        // The first token is refused, by a service that knows no such token, after the first connection.
        (count, { headers }) => (count === 0 ? { events: 4 } : { to: headers.authorization === "Bearer new" ? baseURL : guarded }),
        async (url, seen) => {
          const calls = [];
          let token = "old";
          const headers = async (expired) => {
            calls.push(expired);
            if (expired) token = "new";
            return { Authorization: `Bearer ${token}` };
          };
          await isWhole(new Tokenrill({ url, headers }).ask(ask("tokens=10&rate=50")));
          assert.deepEqual(calls, [false, false, true]);
          assert.equal(seen.length, 3);
        },
      ),
    ),

  "refusal is a TokenrillError with its fields, after one request": () =>
    guardedRows((guarded, key) =>
      proxied((count, { headers }) => ({ to: headers.authorization ? guarded : baseURL }), async (url, seen) => {
        const refused = async (expected, requests, call) => {
          seen.length = 0;
          const error = await refusal(call);
          assert.ok(error instanceof TokenrillError, error.stack);
          const { name, status, code, retryable } = error;
          assert.deepEqual([name, status, code, retryable], ["TokenrillError", ...expected, false]);
          assert.ok(error.requestId.startsWith("req_") && error.detail && error.message === error.detail, error.stack);
          assert.ok(!error.detail.includes("not from Tokenrill"), error.detail);
          assert.equal(seen.length, requests);
        };
        const open = new Tokenrill({ url });
        const bad = { Authorization: "Bearer bad" };
        await refused([404, "model_not_found"], 1, open.ask({ model: "none", input: QUESTION }).text);
        await refused([404, "model_not_found"], 1, collect(open.ask({ model: "none", input: QUESTION })));
        await refused([400, "invalid_request"], 1, open.ask({ input: 7 }).id);
        await refused([404, "generation_not_found"], 1, open.follow("gen_AAAAAAAAAAAAAAAAAAAAAA").text);
        await refused([404, "generation_not_found"], 1, open.stop("gen_AAAAAAAAAAAAAAAAAAAAAA"));
        await refused([401, "unauthenticated"], 1, new Tokenrill({ url, headers: bad }).ask(ask(LONG)).text);
        await refused([401, "unauthenticated"], 2, new Tokenrill({ url, headers: () => bad }).ask(ask(LONG)).text);
        const follower = new Tokenrill({ url, headers: { Authorization: `Bearer ${key}` } });
        await refused([403, "forbidden"], 1, follower.ask(ask(LONG)).text);
      }),
    ),

  "retryable refusal is repeated after Retry-After, and each limit of retries is an error": async () => {
    const busy = (response) => response.writeHead(429, { "retry-after": "1" }).end("busy");
    await proxied((count) => (count < 2 ? { respond: busy } : {}), async (url, seen) => {
      const begun = Date.now();
      await isWhole(new Tokenrill({ url }).ask(ask("tokens=3&rate=max")));
      assert.ok(Date.now() - begun >= 1990, "it waits as long as the service says");
      assert.equal(new Set(seen.map(({ headers }) => headers["idempotency-key"])).size, 1);
    });
    const gateway = (response) => response.writeHead(502, { "content-type": "text/html" }).end("<h1>{Bad gateway}</h1>");
    await proxied(() => ({ respond: gateway }), async (url, seen) => {
      const error = await refusal(new Tokenrill({ url, retries: 1 }).ask(ask(LONG)).text);
      assert.deepEqual([error.status, error.code, error.retryable, seen.length], [502, "http_502", true, 2]);
    });
    const page = (response) => response.writeHead(200, { "content-type": "text/html" }).end("<h1>Sign in</h1>");
    await proxied(() => ({ respond: page }), async (url) => {
      assert.equal((await refusal(new Tokenrill({ url }).ask(ask(LONG)).text)).code, "http_200");
    });
    const closed = await proxied(() => ({}), (url) => url);
    const error = await refusal(new Tokenrill({ url: closed, retries: 1 }).ask(ask(LONG)).text);
    assert.deepEqual([error.status, error.code, error.retryable], [0, "connection_lost", true]);
  },

  "failure in the stream is its last event, and the error of the text": async () => {
    const answer = client.ask(ask("tokens=9&rate=max&fail_at=5"));
    const last = (await isWholeUntilFailed(answer)).at(-1);
    const error = await refusal(answer.text);
    assert.ok(error instanceof TokenrillError && error.status >= 500, error.stack);
    assert.deepEqual([last.event, last.data.error.code], ["failed", error.code]);
    assert.ok(answer.content.length > 0);
  },

  "page that is reloaded resumes the answer from its beginning": async () => {
    const items = storage();
    try {
      assert.equal(client.resume("chat"), null);
      const leaving = new AbortController();
      const answer = client.ask(ask("tokens=30&rate=30"), { remember: "chat", signal: leaving.signal });
      for await (const { event } of answer) if (event === "delta") break;
      leaving.abort();
      await refusal(answer.text);
      const resumed = new Tokenrill({ url: baseURL }).resume("chat");
      assert.equal((await isWhole(resumed))[0].event, "start");
      assert.equal(await resumed.id, await answer.id);
      assert.deepEqual([items.size, client.resume("chat")], [0, null]);

      // Reloaded before the head of the response.
      await proxied((count) => (count === 0 ? { bytes: -1 } : {}), async (url, seen) => {
        const early = new AbortController();
        const lost = new Tokenrill({ url }).ask(ask("tokens=10&rate=30"), { remember: "chat", signal: early.signal });
        while (!seen.generations) await sleep(5);
        early.abort();
        await refusal(lost.text);
        await isWhole(new Tokenrill({ url }).resume("chat"));
        assert.equal(seen.generations.size, 1);
      });

      items.set("tokenrill:chat", JSON.stringify({ id: "gen_AAAAAAAAAAAAAAAAAAAAAA" }));
      assert.equal((await refusal(client.resume("chat").text)).code, "generation_not_found");
      assert.equal(items.size, 0);
    } finally {
      delete globalThis.sessionStorage;
    }
  },

  "ticket is a URL that needs no header": async () => {
    const answer = client.ask(ask("tokens=5&rate=max"));
    const text = await answer.text;
    const { ticket, url } = await client.ticket({ resource: "generation", id: await answer.id, scopes: ["follow"], ttl_s: 30 });
    assert.ok(url.startsWith(`${baseURL}/`) && url.includes(ticket), url);
    let seen = "";
    for await (const { event, data } of parse((await fetch(url)).body)) if (event === "delta") seen += JSON.parse(data).text;
    assert.equal(seen, text);
  },

  "subscriber receives each event once over cuts, and leaves by break or abort": () =>
    proxied((count, { url }) => (url.includes("/events") ? { events: 3 } : {}), async (url) => {
      const channel = `room-${crypto.randomUUID()}`;
      const publish = async (data) => {
        const headers = { "content-type": "application/json" };
        const response = await fetch(`${baseURL}/v1/channels/${channel}/events`, { method: "POST", headers, body: JSON.stringify({ event: "said", data }) });
        assert.ok(response.ok);
        return (await response.json()).id;
      };
      const first = await publish({ n: -1 });
      const seen = [];
      const subscriber = new Tokenrill({ url });
      for await (const { event, data } of subscriber.subscribe(channel, { after: first })) {
        if (event === "connected" && seen.length === 0) for (let n = 0; n < 8; n += 1) await publish({ n });
        if (event === "said") seen.push(data.n);
        if (data.n === 7) break;
      }
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
      const leaving = new AbortController();
      const error = await refusal((async () => {
        for await (const { event } of subscriber.subscribe(channel, { signal: leaving.signal, history: 2 })) if (event) leaving.abort();
      })());
      assert.equal(error.name, "AbortError");
    }),

  "conversation keeps both messages of each turn": async () => {
    const talk = client.conversation({ system: "Be brief.", model: "demo?tokens=4&rate=200" });
    const first = await talk.send("Hello").text;
    const second = await talk.send("And?").text;
    const [system, hello, and] = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
      { role: "user", content: "And?" },
    ];
    const says = (content) => ({ role: "assistant", content });
    assert.deepEqual(talk.messages, [system, hello, says(first), and, says(second)]);
    const again = await talk.regenerate().text;
    assert.deepEqual(talk.messages, [system, hello, says(first), and, says(again)]);
    const edited = await talk.edit(1, "Hi").text;
    assert.deepEqual(talk.messages, [system, { role: "user", content: "Hi" }, says(edited)]);
    const failing = client.conversation({ model: "demo?tokens=4&fail_at=2" });
    await refusal(failing.send("Hello").text);
    assert.deepEqual(failing.messages, []);
    const stopping = client.conversation({ model: `demo?${LONG}` });
    const answer = stopping.send("Hello");
    for await (const { event } of answer) if (event === "delta") await answer.stop();
    assert.deepEqual(stopping.messages, [hello, says(answer.content)]);
  },

  "file is served, is below 4,096 bytes with gzip, and the package has only what is meant": async () => {
    const served = await fetch(`${baseURL}/tokenrill.js`);
    const text = readFileSync(`${folder}tokenrill.js`, "utf8");
    assert.deepEqual([served.headers.get("content-type"), await served.text()], ["text/javascript; charset=utf-8", text]);
    const size = gzipSync(readFileSync(`${folder}tokenrill.js`), { level: 9 }).length;
    assert.ok(size < 4096, `${size} bytes`);
    const [{ files, version }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, encoding: "utf8" }));
    const packed = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json", "react.d.ts", "react.js", "tokenrill.d.ts", "tokenrill.js", "vue.d.ts", "vue.js"];
    assert.deepEqual(files.map(({ path }) => path).sort(), packed);
    const [, own] = /^version = "(.*)"$/m.exec(readFileSync(`${folder}../Cargo.toml`, "utf8"));
    assert.equal(version, own);
  },
});

async function isWholeUntilFailed(answer) {
  const events = await collect(answer);
  assert.equal(events.filter(({ event }) => event === "failed").length, 1);
  return events;
}
