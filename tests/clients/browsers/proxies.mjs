// The promise behind nginx and HAProxy: as they come, and with the settings that buffer or cut.
//   node proxies.mjs PROGRAM [ONLY]
// Exit code 0 only if every scenario held.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { EventEmitter, once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { freePort, Servers } from "./servers.mjs";
import { launch, Pages, run, sleep, soon, Tokenrill, until, Upstream } from "./support.mjs";

const [program, only] = process.argv.slice(2);
if (!program) {
  console.error("usage: node proxies.mjs PROGRAM [ONLY]");
  process.exit(2);
}

const upstream = await Upstream.start();
const environment = { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m" };
const beating = await Tokenrill.start(program, { ...environment, TOKENRILL_GENERATION__HEARTBEAT: "500ms" });
const silent = await Tokenrill.start(program, { ...environment, TOKENRILL_GENERATION__HEARTBEAT: "1h" });
const pages = await Pages.start();
const folder = await mkdtemp(join(tmpdir(), "tokenrill-proxies-"));
const servers = new Servers();

/** nginx with its defaults, but for what `settings` say. */
async function nginx(service, settings = "") {
  const port = await freePort();
  const file = join(folder, `nginx-${port}.conf`);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  await writeFile(file, `daemon off; pid ${folder}/nginx-${port}.pid; error_log stderr; events {}
    http { access_log off; ${temporary} server { listen 127.0.0.1:${port}; location / { proxy_pass ${service.url}; ${settings} } } }`);
  return servers.start("nginx", ["-e", "stderr", "-p", folder, "-c", file], port);
}

/** HAProxy with the timeouts that its manual shows, but for what `settings` say. */
async function haproxy(service, settings = "", timeout = "50s") {
  const port = await freePort();
  const file = join(folder, `haproxy-${port}.cfg`);
  await writeFile(file, `defaults
  mode http
  timeout connect 5s
  timeout client ${timeout}
  timeout server ${timeout}
${settings}
frontend in
  bind 127.0.0.1:${port}
  default_backend out
backend out
  server tokenrill 127.0.0.1:${service.port}
`);
  return servers.start("haproxy", ["-f", file], port);
}

/** One answer, read as it comes: the pieces with the moment of their arrival. */
class Reading {
  text = "";
  ended = false;
  encoding;
  #arrivals = new EventEmitter();

  constructor(url, headers = {}, body = '{"input":"Hello"}') {
    this.response = new Promise((resolve, reject) => {
      const sent = { "content-type": "application/json", "content-length": body.length, accept: "text/event-stream", ...headers };
      this.request = http.request(`${url}/v1/generations`, { method: "POST", headers: sent, agent: false }, resolve);
      this.request.on("error", reject).end(body);
    }).then((response) => {
      this.encoding = response.headers["content-encoding"];
      const plain = this.encoding === "gzip" ? response.pipe(createGunzip()) : response;
      plain.on("data", (bytes) => {
        this.text += bytes;
        this.#arrivals.emit("more");
      });
      plain.on("error", () => {});
      response.on("error", () => {}).on("close", () => (this.ended = true));
      return response;
    });
  }

  has = (text) => this.text.includes(text);

  async arrival(text) {
    while (!this.has(text)) await soon(once(this.#arrivals, "more"), text);
    return performance.now();
  }
}

/** Says ten tokens, each when the one before has arrived; how long each took, in ms. */
async function oneByOne(url, headers) {
  const reading = new Reading(url, headers);
  const model = await upstream.call();
  const took = [];
  for (let at = 0; at < 10; at += 1) {
    const said = performance.now();
    model.say(`token ${at}.`);
    took.push(((await reading.arrival(`token ${at}.`)) - said).toFixed(1));
    await sleep(20);
  }
  model.finish();
  await until(() => reading.has("event: done"), "the end");
  console.log(`     each token's arrival after it was said, in ms: ${took.join(" ")}`);
  return reading;
}

/** Asserts that a token arrives before the end of the answer (`early`), or only with it, if the proxy buffers. */
async function arrives(name, url, early, encoding) {
  const reading = new Reading(url, { "accept-encoding": "gzip" });
  const model = await upstream.call();
  model.say("early.");
  if (early) {
    await until(() => reading.has("early."), `${name}: the early token`);
  } else {
    await sleep(700);
    assert.equal(reading.has("early."), false, `${name}: the early token`);
  }
  model.finish();
  await until(() => reading.ended, "the end");
  assert.ok(reading.has("event: done"));
  assert.equal(reading.encoding, encoding, name);
}

/** Silence for longer than the proxy's timeout of 2 s, then another token on the same connection. */
async function survivesSilence(url) {
  const reading = new Reading(url);
  const model = await upstream.call();
  model.say("before.");
  await until(() => reading.has("before."), "the token before");
  await sleep(5_000);
  assert.equal(reading.ended, false, "the connection stands");
  model.say("after.");
  await until(() => reading.has("after."), "the token after");
  model.finish();
  await until(() => reading.ended, "the end");
  assert.ok(reading.text.split(": ping\n").length > 8, "heartbeats filled the silence");
}

/** The proxy cuts silence after 2 s; the page comes back and has everything, by one call of the model. */
async function comesBack(url) {
  const browser = await launch("chromium");
  try {
    const before = upstream.calls;
    const tab = await browser.newPage();
    await tab.goto(pages.url);
    await tab.evaluate((url) => window.page.ask(url), url);
    const seen = () => tab.evaluate(() => window.page.seen);
    const model = await upstream.call();
    for (const word of ["Zür", "ich "]) {
      model.say(word);
      await until(async () => (await seen()).text === model.text, word);
    }
    for (const word of ["東京 ", "🌊"]) {
      await sleep(3_000);
      model.say(word);
      await until(async () => (await seen()).text === model.text, word);
    }
    model.finish();
    await until(async () => (await seen()).ending, "the end");
    assert.deepEqual([(await seen()).ending.event, (await seen()).text], ["done", model.text]);
    assert.equal(upstream.calls - before, 1);
  } finally {
    await browser.close();
  }
}

/** The page of the README: each token is on it before the next is said. */
async function page(url) {
  for (const name of ["chromium", "firefox"]) {
    const browser = await launch(name);
    try {
      const tab = await browser.newPage();
      await tab.goto(await pages.readme(url));
      const text = () => [...document.body.childNodes].filter((node) => node instanceof Text).map(({ data }) => data).join("");
      const model = await upstream.call();
      for (let at = 0; at < 10; at += 1) {
        model.say(`${at} é `);
        await until(async () => (await tab.evaluate(text)) === model.text, `token ${at} in ${name}`);
      }
      model.finish();
      await until(() => tab.evaluate(() => window.finished === true), "the end");
    } finally {
      await browser.close();
    }
  }
}

const BUFFERED = false;
const AT_ONCE = true;
/** Settings that are said to buffer or to cut, what they do here, and how a client that takes gzip is answered. */
const NGINX = [
  ["proxy_buffering off;", AT_ONCE],
  ["proxy_http_version 1.1; proxy_set_header Connection '';", AT_ONCE],
  ["gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;", AT_ONCE, "gzip"],
  ["proxy_ignore_headers X-Accel-Buffering;", BUFFERED],
  ["proxy_ignore_headers X-Accel-Buffering; proxy_buffering off;", AT_ONCE],
];
const HAPROXY = [
  ["  option http-server-close", AT_ONCE],
  ["  option httpclose", AT_ONCE],
  ["  option http-no-delay", AT_ONCE],
  ["  option http-buffer-request", AT_ONCE],
  ["  compression algo gzip\n  compression type text/event-stream", AT_ONCE],
];

const scenarios = {
  async "nginx as it comes: tokens arrive one by one, in both browsers too"() {
    const url = await nginx(beating);
    await oneByOne(url);
    await page(url);
  },
  async "HAProxy as it comes: tokens arrive one by one, in both browsers too"() {
    const url = await haproxy(beating);
    await oneByOne(url);
    await page(url);
  },
  async "HAProxy with http-no-delay: each token leaves at once"() {
    await oneByOne(await haproxy(beating, "  option http-no-delay"));
  },
  async "nginx: heartbeats carry a silent stream over its timeout"() {
    await survivesSilence(await nginx(beating, "proxy_read_timeout 2s;"));
  },
  async "HAProxy: heartbeats carry a silent stream over its timeouts"() {
    await survivesSilence(await haproxy(beating, "", "2s"));
  },
  async "nginx: what its timeout cuts is resumed"() {
    await comesBack(await nginx(silent, "proxy_read_timeout 2s;"));
  },
  async "HAProxy: what its timeouts cut is resumed"() {
    await comesBack(await haproxy(silent, "", "2s"));
  },
  async "a client that leaves is noticed through nginx and HAProxy with abortonclose, through HAProxy by a heartbeat"() {
    for (const url of [await nginx(silent), await haproxy(silent, "  option abortonclose"), await haproxy(beating)]) {
      const reading = new Reading(url, {}, '{"input":"Hello","grace_ms":0}');
      const model = await upstream.call();
      model.say("Hel");
      await until(() => reading.has("Hel"), "a token");
      reading.request.destroy();
      await soon(model.closed, "the end of the call");
    }
  },
  async "settings that are said to buffer do so, or do not"() {
    for (const [settings, early, encoding] of NGINX) {
      await arrives(`nginx: ${settings}`, await nginx(beating, settings), early, encoding);
    }
    for (const [settings, early, encoding] of HAPROXY) {
      await arrives(`HAProxy: ${settings}`, await haproxy(beating, settings), early, encoding);
    }
  },
};

const broken = await run(scenarios, only);
for (const part of [servers, pages, beating, silent, upstream]) part.stop();
await rm(folder, { recursive: true, force: true });
process.exit(broken ? 1 : 0);
