// What the browser suite speaks with: the program, a model's server that says what the test says, a proxy
// that does to a connection what networks do, pages of another origin, browsers.
import { createHmac } from "node:crypto";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { text as readBody } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

// Only a test that fails waits this long; two browsers on a machine under load are several times slower than alone.
const DEADLINE_MS = 60_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Waits for `what`, at most as long as the deadline. */
export async function soon(what, name = "it") {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} did not come in time`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(holds, name) {
  await soon(
    (async () => {
      while (!(await holds())) await sleep(10);
    })(),
    name,
  );
}

/** The last lines that a process writes, to be shown where it fails. */
export function lastLines(process, most = 40) {
  let text = "";
  for (const stream of [process.stdout, process.stderr]) {
    stream?.setEncoding("utf8").on("data", (more) => (text = (text + more).slice(-100 * most)));
  }
  return () => text.split("\n").slice(-most).join("\n");
}

async function listening(server, host = "127.0.0.1") {
  server.listen(0, host);
  await once(server, "listening");
  return server.address().port;
}

/** A model's server. Each step of each answer is a call of the test. */
export class Upstream {
  calls = 0;
  #waiting = [];
  #arrived = [];

  static async start() {
    const upstream = new Upstream();
    upstream.server = http.createServer((request, response) => upstream.#answer(request, response));
    upstream.baseUrl = `http://127.0.0.1:${await listening(upstream.server)}/v1`;
    return upstream;
  }

  /** The next call. */
  call() {
    const arrived = this.#arrived.shift();
    return soon(arrived ?? new Promise((resolve) => this.#waiting.push(resolve)), "a call of the model");
  }

  async #answer(request, response) {
    const body = await readBody(request);
    if (request.method === "GET") {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify({ object: "list", data: [{ id: "m" }] }));
    }
    this.calls += 1;
    const call = new Call(response, JSON.parse(body));
    const next = this.#waiting.shift();
    if (next) next(call);
    else this.#arrived.push(call);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

class Call {
  text = "";

  constructor(response, body) {
    this.response = response;
    this.body = body;
    this.closed = once(response, "close");
  }

  data(data) {
    if (!this.response.headersSent) this.response.writeHead(200, { "content-type": "text/event-stream" });
    this.response.write(`data: ${data}\n\n`);
  }

  say(text) {
    this.text += text;
    this.data(JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: text }, finish_reason: null }] }));
  }

  finish() {
    this.data(JSON.stringify({ id: "c", choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
    this.data("[DONE]");
    this.response.end();
  }

  refuse(status) {
    // A wait that is too long for a retry by the service.
    this.response.writeHead(status, { "content-type": "application/json", "retry-after": "120" });
    // With its reason: a refusal without one is repeated without what the service adds.
    this.response.end(JSON.stringify({ error: { message: "Too long.", param: "messages", code: "context_length_exceeded" } }));
  }
}

/** The program, with this environment besides its own defaults. */
export class Tokenrill {
  static async start(program, environment, flags = []) {
    const tokenrill = new Tokenrill();
    const env = { PATH: process.env.PATH, TOKENRILL_SERVER__LISTEN: "127.0.0.1:0", RUST_LOG: "warn", ...environment };
    tokenrill.process = spawn(program, ["serve", ...flags], { env, stdio: ["ignore", "pipe", "inherit"], cwd: here(".") });
    let said = "";
    tokenrill.process.stdout.setEncoding("utf8").on("data", (text) => (said += text));
    await until(() => {
      if (tokenrill.process.exitCode !== null) throw new Error(`the program ended with ${tokenrill.process.exitCode}: ${said}`);
      return said.includes("try it");
    }, "the program");
    tokenrill.port = Number(/listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)[1]);
    tokenrill.url = `http://127.0.0.1:${tokenrill.port}`;
    return tokenrill;
  }

  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    return Number(line?.split(" ")[1] ?? NaN);
  }

  signal(name) {
    this.process.kill(name);
  }

  stop() {
    this.process.kill("SIGKILL");
  }
}

/** A new key, and what the settings know it by. */
export async function newKey(program) {
  const { stdout } = await promisify(execFile)(program, ["key", "new"]);
  return { key: /trk_\S+/.exec(stdout)[0], settings: stdout.slice(stdout.indexOf("[[")) };
}

/** A token by HS256 with these claims, valid for an hour. */
export function newToken(secret, claims) {
  const text = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const signed = `${text({ alg: "HS256" })}.${text({ exp, scope: "generate follow stop", ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/**
 * Between a client and the service. What happens to the next request's connection is asked for with `next`; all
 * others are passed on.
 *
 *   { cut: n }    after n bytes of the response the connection is closed
 *   { reset: n }  after n bytes it is reset
 *   { half: n }   after n bytes the service is told that the client says no more
 *   { stall: n, pause }  after n bytes nothing is passed on for a while
 *   { delay }     each piece arrives later
 *   { split }     each piece arrives in pieces of so many bytes
 */
export class FaultProxy {
  requests = [];
  #next = [];
  #clients = new Set();

  static async before(port) {
    const proxy = new FaultProxy();
    proxy.server = net.createServer((client) => proxy.#serve(client, port));
    proxy.port = await listening(proxy.server);
    proxy.url = `http://127.0.0.1:${proxy.port}`;
    return proxy;
  }

  next(...faults) {
    this.#next.push(...faults);
  }

  /** The request lines since the last call, without preflights. */
  takeRequests() {
    return this.requests.splice(0).filter((line) => !line.startsWith("OPTIONS "));
  }

  /** Closes all connections of now. */
  drop() {
    for (const client of this.#clients) client.destroy();
  }

  #serve(client, port) {
    this.#clients.add(client);
    const service = net.connect(port, "127.0.0.1");
    client.setNoDelay(true);
    service.setNoDelay(true);
    let fault = null;
    let received = 0;
    let tail = "";
    client.on("data", (bytes) => {
      for (const [line] of bytes.toString("latin1").matchAll(/^(GET|POST|DELETE|OPTIONS) \S+/gm)) {
        this.requests.push(line);
        // A preflight has no stream that could be cut, and one connection serves several requests.
        if (!line.startsWith("OPTIONS ") && line.includes("/v1/generations") && !line.includes("/cancel")) {
          fault = this.#next.shift() ?? {};
          received = 0;
          tail = "";
        }
      }
      service.write(bytes);
    });
    let queue = Promise.resolve();
    service.on("data", (bytes) => {
      const { cut, reset, half, stall, pause, delay, split } = fault ?? {};
      const limit = cut ?? reset ?? half ?? stall ?? Infinity;
      const before = received;
      received += bytes.length;
      queue = queue.then(async () => {
        if (client.destroyed) return;
        if (delay) await sleep(delay);
        if (received < limit || before >= limit) return pass(bytes);
        let at = limit - before;
        // Never in the one place from which no server can bring a fetch-event-source back.
        const seen = tail + bytes.toString("latin1", 0, at);
        if (bytes[at] === 10 && /\nid: [^\n]*\n$/.test(seen)) at += 1;
        await pass(bytes.subarray(0, at));
        if (stall !== undefined) {
          await sleep(pause);
          return pass(bytes.subarray(at));
        }
        if (half !== undefined) return void service.end();
        service.destroy();
        if (reset !== undefined) client.resetAndDestroy();
        else client.end();
      });
      const pass = async (piece) => {
        if (client.destroyed || client.writableEnded) return;
        tail = (tail + piece.toString("latin1")).slice(-200);
        if (!split) return void client.write(piece);
        for (let at = 0; at < piece.length && !client.destroyed; at += split) {
          client.write(piece.subarray(at, at + split));
          if (at % (split * 16) === 0) await new Promise(setImmediate);
        }
      };
    });
    client.on("close", () => this.#clients.delete(client) && service.destroy());
    service.on("end", () => (queue = queue.then(() => client.end())));
    service.on("close", () => (queue = queue.then(() => client.end())));
    for (const socket of [client, service]) socket.on("error", () => {});
  }

  stop() {
    this.server.close();
  }
}

/** Pages of an origin that is not the service's. */
export class Pages {
  static async start() {
    const pages = new Pages();
    const script = await bundle({ entryPoints: [here("page.ts")] });
    const served = new Map([
      ["/", `<!doctype html><meta charset="utf-8"><title>page</title><script type="module">${script}</script>`],
      ["/blank", "<!doctype html><title>another tab</title>"],
    ]);
    pages.served = served;
    pages.tokens = [];
    pages.server = http.createServer(({ method, url }, response) => {
      if (method === "POST") return response.end(pages.tokens.shift());
      const page = served.get(new URL(url, "http://page").pathname);
      const cookie = pages.cookie && { "set-cookie": pages.cookie };
      response.writeHead(page ? 200 : 404, { "content-type": "text/html; charset=utf-8", ...cookie });
      response.end(page);
    });
    pages.url = `http://localhost:${await listening(pages.server, "localhost")}`;
    return pages;
  }

  /** The page of the README, as it stands there but for the service's address. */
  async readme(service) {
    const readme = await readFile(here("../../../README.md"), "utf8");
    const snippet = /### In a page\n\n```js\n([\s\S]*?)```/.exec(readme)[1];
    const contents = snippet.replaceAll("http://127.0.0.1:8080", service) + "\nwindow.finished = true;\n";
    const script = await bundle({ stdin: { contents, resolveDir: here(".") } });
    const body = `<body></body><script type="module">${script}</script>`;
    this.served.set("/readme", `<!doctype html><meta charset="utf-8"><title>readme</title>${body}`);
    return `${this.url}/readme`;
  }

  /** The component of the documentation of `useChat`, as it stands there but for the address and the model. */
  async documentedChat(service) {
    const documentation = await readFile(here("../../../docs/clients/use-chat.md"), "utf8");
    const component = /```jsx\n([\s\S]*?)```/.exec(documentation)[1].replaceAll("http://127.0.0.1:8080", service).replace('"demo"', '"m"');
    const mount = `
      import { createElement, StrictMode } from "react";
      import { createRoot } from "react-dom/client";
      const saved = JSON.parse(localStorage.getItem("documented") ?? "[]");
      const root = createRoot(document.body.appendChild(document.createElement("div")));
      root.render(createElement(StrictMode, null, createElement(Chat, { id: "documented-chat-of-the-suite", saved })));
    `;
    const contents = component + mount;
    return this.#serveChat("/documented", { stdin: { contents, resolveDir: here("."), loader: "jsx" } });
  }

  /** The page with `useChat`. In React's development build, in which StrictMode mounts twice. */
  async chat() {
    return this.#serveChat("/chat", { entryPoints: [here("chat_page.jsx")] });
  }

  async #serveChat(path, options) {
    const define = { "process.env.NODE_ENV": '"development"' };
    const script = (await bundle({ ...options, jsx: "automatic", define })).replaceAll("</script", "<\\/script");
    const body = `<body></body><script type="module">${script}</script>`;
    this.served.set(path, `<!doctype html><meta charset="utf-8"><title>chat</title>${body}`);
    return this.url + path;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

async function bundle(options) {
  const nodePaths = [here("../node_modules")];
  const result = await build({ bundle: true, format: "esm", target: "es2022", write: false, nodePaths, ...options });
  return result.outputFiles[0].text;
}

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function launch(name) {
  return name === "firefox"
    ? puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, headless: true })
    : puppeteer.launch({ browser: "chrome", executablePath: CHROMIUM, headless: true, args: FLAGS });
}

/** Runs named scenarios; how many failed. `tidy` follows each that failed, so that the next one begins as if it had not. */
export async function run(scenarios, only, tidy = () => {}) {
  const failed = [];
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only && !name.includes(only)) continue;
    const began = performance.now();
    try {
      await scenario();
      console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`);
    } catch (error) {
      failed.push(`${name}: ${error.message}`);
      console.log(`FAIL ${name}\n${error.stack}`);
      await tidy();
    }
  }
  for (const one of failed) console.log(`failed: ${one}`);
  return failed.length;
}
