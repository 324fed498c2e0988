// Uses the service through its own client, `client/tokenrill.js`, over a proxy that cuts connections.
//   GUARDED_URL=URL node tokenrill_client.mjs BASE_URL
// The service serves the embedded model; GUARDED_URL is a service that refuses callers without a key. Exit code 0 only if
// every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import { gzipSync } from "node:zlib";
import { EventStreamParser, Tokenrill, TokenrillError } from "tokenrill";
import { baseURL, check, guardedRows, LONG, QUESTION, running, stops } from "./support.mjs";

const client = new Tokenrill({ url: baseURL });
const asked = (options) => ({ model: `demo?${options}`, input: QUESTION });
const TEXT = "tokens=40&rate=max";

/**
 * A proxy that cuts each connection after the next number of bytes of `cuts`, and none after the last one. It refuses
 * requests for which `isExpired` returns true, as the service does after the end of a token.
 */
async function proxied(cuts, use, isExpired = () => false) {
  const requests = [];
  const server = http.createServer((incoming, outgoing) => {
    requests.push(incoming);
    if (isExpired(incoming)) return outgoing.writeHead(401).end('{"code":"unauthenticated","reason":"token_expired"}');
    let left = cuts.shift() ?? Infinity;
    const { method, headers, url } = incoming;
    const upstream = http.request(new URL(url, baseURL), { method, headers }, (response) => {
      if (left === 0) return outgoing.destroy();
      outgoing.writeHead(response.statusCode, response.headers);
      outgoing.flushHeaders();
      response.on("data", (bytes) => {
        outgoing.write(bytes.subarray(0, left));
        left = Math.max(0, left - bytes.length);
        if (left === 0) setImmediate(() => (outgoing.destroy(), upstream.destroy()));
      });
      response.on("end", () => outgoing.end());
    });
    upstream.on("error", () => {});
    incoming.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${server.address().port}`;
    return await use(new Tokenrill({ url }), requests, url);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function eventsOf(answer) {
  const events = [];
  for await (const event of answer) events.push(event);
  return events;
}

const textOf = (events) => events.filter(({ event }) => event === "delta").map(({ data }) => data.text).join("");

async function generations() {
  const text = await (await fetch(`${baseURL}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("tokenrill_generations_total"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** The storage of one tab, which Node does not have. */
function storage() {
  const values = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
  return values;
}

await check({
  "answer has the events from start to done, and the text": async () => {
    const answer = client.ask(asked(TEXT));
    const events = await eventsOf(answer);
    assert.deepEqual([events[0].event, events.at(-1).event], ["start", "done"]);
    assert.equal(textOf(events), answer.text);
    assert.ok(answer.text.length > 100);
    assert.match(answer.generation, /^gen_/);
    assert.deepEqual(await answer.ended, events.at(-1));
    assert.deepEqual(await eventsOf(answer), events, "a second loop has all events too");
    assert.deepEqual(await eventsOf(client.follow(answer.generation)), events);
    const rest = await eventsOf(client.follow(answer.generation, { after: events[4].id }));
    assert.deepEqual(rest, events.slice(5));
  },

  "answer that is cut anywhere has each event once, with one call of the model": async () => {
    const size = (await (await client.send("/v1/generations", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify(asked("tokens=12&rate=max")),
    })).text()).length;
    assert.ok(size > 1000);
    const places = Array.from({ length: 20 }, (_, at) => Math.floor((at * size) / 20));
    await Promise.all(places.map((place) => proxied([place, place % 97, 40], async (cut) => {
      const before = await eventsOf(cut.ask({ ...asked("tokens=12&rate=max"), metadata: { place: String(place) } }));
      const ids = before.map(({ id }) => Number(id.split(".").at(-1)));
      assert.deepEqual(ids, ids.map((_, at) => at + 1), `cut after ${place} bytes`);
      assert.equal(before.at(-1).event, "done");
    })));
    const count = await generations();
    await proxied([0, 0, 300], async (cut, requests) => {
      const [first, ...others] = await eventsOf(cut.ask(asked(TEXT)));
      assert.deepEqual([first.event, others.at(-1).event], ["start", "done"]);
      const keys = requests.filter(({ method }) => method === "POST").map(({ headers }) => headers["idempotency-key"]);
      assert.deepEqual([keys.length, new Set(keys).size], [3, 1]);
    });
    assert.equal(await generations(), count + 1);
  },

  "parser reads each form of an event stream, cut at each byte": async () => {
    const vectors = [
      ["\ufeffdata: a\n\n", [["message", "a", ""]]],
      ["event: b\rdata:a\r\r", [["b", "a", ""]]],
      ["id: 1\r\nevent: b\r\ndata: a\r\ndata:  c\r\n\r\n", [["b", "a\n c", "1"]]],
      [": ping\ndata\n\nretry: 5\nretry: x\nid\n\n", [["message", "", ""]]],
      ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid:\ndata: c\n\n", [["message", "a", "1"], ["message", "b", "1"], ["message", "c", ""]]],
      ["event: x\n\ndata: 🌊ü\n\nother: 1\ndata: incomplete\n", [["message", "🌊ü", ""]]],
    ];
    for (const [text, expected] of vectors) {
      const bytes = new TextEncoder().encode(text);
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        const parser = new EventStreamParser();
        const read = [bytes.subarray(0, cut), bytes.subarray(cut)].flatMap((part) => parser.push(part));
        assert.deepEqual(read.map(({ event, data, id }) => [event, data, id]), expected, `${JSON.stringify(text)} cut at ${cut}`);
        if (text.includes("retry")) assert.equal(parser.retry, 5);
      }
    }
  },

  "stop ends the model at once, and the answer is cancelled": async () => {
    await stops(async () => {
      const answer = client.ask(asked(LONG));
      for await (const { event } of answer) if (event === "delta") break;
      await answer.stop();
      assert.deepEqual([(await answer.ended).event, (await answer.ended).data.reason], ["cancelled", "client_request"]);
    });
  },

  "abort ends the reading with its reason, and the model when the grace ends": async () => {
    await stops(async () => {
      const leaving = new AbortController();
      const answer = client.ask({ ...asked(LONG), grace_ms: 0 }, { signal: leaving.signal });
      await running();
      leaving.abort(new Error("left"));
      await assert.rejects(answer.ended, /left|abort/i);
      await assert.rejects(eventsOf(answer));
    });
  },

  "refusal is an error with its status, code and request id": async () => {
    const invalid = client.ask({ input: "Hello", temperature: "hot" });
    await assert.rejects(invalid.ended, (error) => {
      assert.ok(error instanceof TokenrillError);
      assert.deepEqual([error.status, error.code, error.retryable], [400, "invalid_request", false]);
      assert.match(error.message, /temperature/);
      assert.match(error.requestId, /^req_/);
      return true;
    });
    await assert.rejects(client.follow("gen_AAAAAAAAAAAAAAAAAAAAAA").ended, { status: 404, code: "generation_not_found" });
    await assert.rejects(client.stop("gen_AAAAAAAAAAAAAAAAAAAAAA"), { status: 404 });
    const failed = await client.ask(asked("tokens=20&fail_at=5&rate=max")).ended;
    assert.deepEqual([failed.event, failed.data.error.code], ["failed", "upstream_error"]);
  },

  "token that expires while the answer is read is renewed": async () => {
    let token = 1;
    const isExpired = ({ headers }) => headers.authorization !== `Bearer ${token}`;
    await proxied([400], async (_, requests, url) => {
      const asks = [];
      const headers = (expired) => {
        asks.push(expired);
        return { Authorization: `Bearer ${expired ? token : 1}` };
      };
      const answer = new Tokenrill({ url, headers }).ask(asked("tokens=12&rate=max"));
      for await (const { event } of answer) if (event === "start") token = 2;
      assert.equal((await answer.ended).event, "done");
      assert.deepEqual([asks, requests.length], [[false, false, true], 3]);
    }, isExpired);
  },

  "caller without the scope is refused once": async () => {
    await Promise.all(guardedRows((url, key) => {
      const calls = [];
      const guarded = new Tokenrill({ url, headers: async (expired) => (calls.push(expired), { Authorization: `Bearer ${key}` }) });
      // The key has only the scope `follow`.
      const refused = assert.rejects(guarded.ask(asked(TEXT)).ended, { status: 403, code: "forbidden" });
      return [refused.then(() => assert.deepEqual(calls, [false]))];
    }));
  },

  "answer is resumed after a reload, before its first event and after it": async () => {
    const values = storage();
    const count = await generations();
    const first = client.ask(asked("tokens=30&rate=200"), { remember: "chat" });
    await running();
    const resumed = client.resume("chat");
    assert.deepEqual(await eventsOf(resumed), await eventsOf(first));
    assert.deepEqual([values.size, client.resume("chat")], [0, undefined]);
    // As if the page was reloaded before the response.
    const key = crypto.randomUUID();
    const [request, lost] = [asked(TEXT), client.ask(asked(TEXT), { key })];
    values.set("tokenrill:chat", JSON.stringify({ key, request }));
    const again = client.resume("chat");
    assert.deepEqual(await eventsOf(again), await eventsOf(lost));
    assert.equal(await generations(), count + 2);
    delete globalThis.sessionStorage;
  },

  "conversation sends what was said, and a failed turn leaves it": async () => {
    const talk = client.conversation({ model: `demo?${TEXT}` }, [{ role: "system", content: "Be brief." }]);
    const { ended } = talk.send("Hello");
    const { data } = await ended;
    assert.deepEqual(talk.messages.map(({ role }) => role), ["system", "user", "assistant"]);
    const second = talk.send("More");
    await second.ended;
    assert.ok((await second.ended).data.usage.input_tokens > data.usage.input_tokens);
    talk.parameters = { model: "demo?tokens=20&fail_at=5&rate=max" };
    await talk.send("Fail").ended;
    assert.equal(talk.messages.length, 5);
  },

  "channel is subscribed over a cut, and a ticket opens a stream": async () => {
    const channel = `room-${crypto.randomUUID()}`;
    const publish = (text) => client.json(`/v1/channels/${channel}/events`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ event: "said", data: { text } }),
    });
    await publish("0");
    await proxied([700], async (cut) => {
      const leaving = new AbortController();
      const said = [];
      let next = 1;
      for await (const { event, data } of cut.subscribe(channel, { history: 10, signal: leaving.signal })) {
        if (event !== "said") continue;
        said.push(data.text);
        if (said.length === 12) break;
        await publish(String(next++));
      }
      assert.deepEqual(said, Array.from({ length: 12 }, (_, at) => String(at)));
    });
    const answer = client.ask(asked(TEXT));
    await answer.ended;
    const { url } = await client.ticket({ resource: "generation", id: answer.generation });
    assert.match(await (await fetch(url)).text(), /event: done/);
  },

  "module is served, below 4 kB compressed, and packed with the service's version": async () => {
    const folder = new URL("../../client/", import.meta.url);
    const module = readFileSync(new URL("tokenrill.js", folder));
    const size = gzipSync(module, { level: 9 }).length;
    assert.ok(size < 4096, `${size} bytes`);
    const served = await fetch(`${baseURL}/tokenrill.js`);
    assert.deepEqual([served.headers.get("content-type"), await served.text()], ["text/javascript; charset=utf-8", `${module}`]);
    const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, stdio: "pipe" }));
    assert.deepEqual(packed.files.map(({ path }) => path), ["README.md", "package.json", "tokenrill.d.ts", "tokenrill.js"]);
    const { info } = await (await fetch(`${baseURL}/openapi.json`)).json();
    assert.equal(packed.version, info.version);
  },
});
