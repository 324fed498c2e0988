// The promise in a real browser, page and service on different origins.
//   node suite.mjs PROGRAM chromium|firefox one|replicas [ONLY]
// Exit code 0 only if every scenario held.
import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { playground } from "./playground.mjs";
import { Replicas } from "./replicas.mjs";
import { FaultProxy, launch, newKey, newToken, Pages, run, sleep, soon, Tokenrill, until, Upstream } from "./support.mjs";

const [program, browserName, processes, only] = process.argv.slice(2);
if (!program || !browserName || !["one", "replicas"].includes(processes)) {
  console.error("usage: node suite.mjs PROGRAM chromium|firefox one|replicas [ONLY]");
  process.exit(2);
}

const upstream = await Upstream.start();
// A grace longer than any scenario, so that a generation ends only when a page cancels it.
const settings = { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m", TOKENRILL_GENERATION__GRACE: "10m" };
const tokenrill = await (processes === "one" ? Tokenrill : Replicas).start(program, settings);
const proxy = await FaultProxy.before(tokenrill.port);
const pages = await Pages.start();
const browser = await launch(browserName);

const PIECES = ["Zür", "ich ", "東京 ", "👩‍👩‍👧 ", "\u2028", '"\\" ', "\n\n", "نص "];
const piece = (at) => PIECES[at % PIECES.length];

async function open(path = "/") {
  const tab = await browser.newPage();
  await tab.goto(path.startsWith("http") ? path : pages.url + path);
  return tab;
}

/** Calls a function of the page. */
const call = (tab, name, ...given) => tab.evaluate((name, given) => window.page[name](...given), name, given);
const seen = (tab) => tab.evaluate(() => window.page.seen);
const shows = (tab, text) => until(async () => (await seen(tab)).text === text, `the text ${JSON.stringify(text)}`);
const ends = async (tab, event) => {
  await until(async () => (await seen(tab)).ending !== null || (await seen(tab)).error, "an ending");
  const { ending, error } = await seen(tab);
  assert.equal(error, "");
  assert.equal(ending.event, event);
};

/** Starts a generation from outside the browser; its id. */
async function generate(service, headers, body) {
  const sent = { "content-type": "application/json", ...headers };
  const response = await fetch(`${service}/v1/generations`, { method: "POST", headers: sent, body: JSON.stringify(body) });
  return (await response.json()).id;
}

/** Exactly one call of the model since `before`, and nothing left running. */
async function oneCall(before) {
  await until(async () => (await tokenrill.metric("tokenrill_generations_live")) === 0, "the end");
  assert.equal(upstream.calls - before, 1, "calls of the model");
}

/** Another tab is put in front, and this one again. */
async function hideAndShow(tab, other, meanwhile = () => {}) {
  const state = () => tab.evaluate(() => document.visibilityState);
  await other.bringToFront();
  await until(async () => (await state()) === "hidden", "a hidden tab");
  meanwhile();
  await tab.bringToFront();
  await until(async () => (await state()) === "visible", "a visible tab");
}

/** 20 times during one answer, a few of them before its first token. */
async function twentyTabSwitches(tab, text, finished) {
  const other = await open("/blank");
  await tab.bringToFront();
  const model = await upstream.call();
  for (let at = 0; at < 20; at += 1) {
    await hideAndShow(tab, other, () => at >= 5 && model.say(piece(at)));
    if (at < 5) continue;
    model.say(`${at}. `);
    await until(async () => (await text()) === model.text, "what was said meanwhile");
  }
  model.finish();
  await until(finished, "the end of the page's reading");
  assert.equal(await text(), model.text);
  await other.close();
}

const scenarios = {
  async "the README's page, pasted unchanged, survives 20 tab switches with one call of the model"() {
    const before = upstream.calls;
    const tab = await open(await pages.readme(tokenrill.url));
    const texts = () => [...document.body.childNodes].filter((node) => node instanceof Text).map(({ data }) => data);
    const text = async () => (await tab.evaluate(texts)).join("");
    await twentyTabSwitches(tab, text, () => tab.evaluate(() => window.finished === true));
    await oneCall(before);
    await tab.close();
  },

  async "the guide's page survives 20 tab switches, with the headers of the seed's example"() {
    const before = upstream.calls;
    const tab = await open();
    await call(tab, "ask", tokenrill.url, { headers: [{ Authorization: "Bearer key", "Access-Control-Allow-Origin": "*" }] });
    await twentyTabSwitches(tab, async () => (await seen(tab)).text, async () => (await seen(tab)).ending !== null);
    await ends(tab, "done");
    await oneCall(before);
    await tab.close();
  },

  async "fetch-event-source with its defaults survives 20 tab switches, by POST and by GET"() {
    const before = upstream.calls;
    const tab = await open();
    await call(tab, "defaults", `${tokenrill.url}/v1/generations`, { "Idempotency-Key": crypto.randomUUID() }, { input: "Hello" });
    await twentyTabSwitches(tab, async () => (await seen(tab)).text, async () => (await seen(tab)).names.includes("resolved"));
    await oneCall(before);

    const id = await generate(tokenrill.url, { prefer: "respond-async" }, { input: "Hello" });
    await call(tab, "defaults", `${tokenrill.url}/v1/generations/${id}/events`, { Authorization: "Bearer key" }, null, "GET");
    await twentyTabSwitches(tab, async () => (await seen(tab)).text, async () => (await seen(tab)).names.includes("resolved"));
    await tab.close();
  },

  async "a page that is reloaded in mid-answer goes on where it was"() {
    const before = upstream.calls;
    const tab = await open();
    await call(tab, "askAndRemember", tokenrill.url);
    const model = await upstream.call();
    for (let at = 0; at < 5; at += 1) model.say(piece(at));
    await shows(tab, model.text);
    for (let reload = 0; reload < 3; reload += 1) {
      await tab.reload();
      model.say(`reload ${reload}. `);
      assert.equal(await call(tab, "goOn", tokenrill.url), true);
      await shows(tab, model.text);
      model.say(piece(reload));
      await shows(tab, model.text);
    }
    model.finish();
    await ends(tab, "done");
    await tab.reload();
    assert.equal(await call(tab, "goOn", tokenrill.url), false, "nothing is left to go on with");
    await oneCall(before);
    await tab.close();
  },

  async "a reloaded page whose answer is gone learns it once, and asks no more"() {
    const tab = await open();
    await call(tab, "askAndRemember", proxy.url);
    const model = await upstream.call();
    model.say("Hel");
    await shows(tab, "Hel");
    const { generation } = await seen(tab);
    await tab.reload();
    await fetch(`${tokenrill.url}/v1/generations/${generation}`, { method: "DELETE" });
    await soon(model.closed, "the end of the call");
    proxy.takeRequests();
    assert.equal(await call(tab, "goOn", proxy.url), true);
    await until(async () => (await seen(tab)).gone, "the end of waiting");
    assert.equal(await call(tab, "goOn", proxy.url), false, "nothing is left to go on with");
    await sleep(1_600);
    assert.equal(proxy.takeRequests().length, 1);
    await tab.close();
  },

  async "an answer that is lost while a page follows it is gone"() {
    const lost = await Tokenrill.start(program, { TOKENRILL_MODELS__DEFAULT: "demo", TOKENRILL_GENERATION__RETENTION: "1s" });
    const between = await FaultProxy.before(lost.port);
    const id = await generate(lost.url, { prefer: "respond-async" }, { input: "Hello", model: "demo?tokens=9&rate=max" });
    const tab = await open();
    const state = async () => (await fetch(`${lost.url}/v1/generations/${id}`)).status;
    await until(async () => (await state()) === 404, "the end of the retention");
    await call(tab, "keepFollowing", between.url, id, {}, 300);
    await until(async () => (await seen(tab)).gone, "the end of waiting");
    await call(tab, "follow", between.url, id);
    await until(async () => (await seen(tab)).errors === 1, "the browser gives up");
    await tab.close();
    for (const one of [between, lost]) one.stop();
  },

  async "leaving ends the reading alone"() {
    const before = upstream.calls;
    const [tab, other] = [await open(), await open()];
    await tab.bringToFront();
    await call(tab, "ask", tokenrill.url);
    const model = await upstream.call();
    model.say("Hel");
    await shows(tab, "Hel");
    const { generation } = await seen(tab);
    await call(tab, "leave");
    await until(async () => (await seen(tab)).error !== "", "the end of the reading");
    assert.match((await seen(tab)).error, /^AbortError/);
    model.say("lo");
    await call(other, "follow", tokenrill.url, generation);
    await other.bringToFront();
    await shows(other, "Hello");
    model.finish();
    await ends(other, "done");
    await oneCall(before);
    for (const one of [tab, other]) await one.close();
  },

  async "a conversation sends what was said before, and keeps a stopped answer"() {
    const tab = await open();
    const turns = [];
    for (const [question, answer] of [["Hello", "Hi."], ["And now?", "Still here."], ["Fail", ""], ["Bye", "Bye."]]) {
      await call(tab, "say", tokenrill.url, question);
      const model = await upstream.call();
      assert.deepEqual(model.body.messages, [...turns, { role: "user", content: question }]);
      if (answer === "") {
        model.refuse(400);
        await ends(tab, "failed");
        continue;
      }
      model.say(answer);
      await shows(tab, answer);
      if (question === "And now?") {
        await fetch(`${tokenrill.url}/v1/generations/${(await seen(tab)).generation}/cancel`, { method: "POST" });
        await ends(tab, "cancelled");
      } else {
        model.finish();
        await ends(tab, "done");
      }
      turns.push({ role: "user", content: question }, { role: "assistant", content: answer });
      assert.deepEqual(await call(tab, "messages"), turns);
    }
    await tab.close();
  },

  async "a second tab and a reader by fetch see the same"() {
    const before = upstream.calls;
    const [first, second, third] = [await open(), await open(), await open()];
    await call(first, "ask", tokenrill.url);
    const model = await upstream.call();
    model.say("Hel");
    await first.bringToFront();
    await shows(first, "Hel");
    const { generation } = await seen(first);
    await call(second, "follow", tokenrill.url, generation);
    await call(third, "read", tokenrill.url, generation);
    model.say("lo 東京");
    for (const tab of [first, second, third]) {
      await tab.bringToFront();
      await shows(tab, "Hello 東京");
    }
    model.finish();
    for (const tab of [first, second, third]) {
      await tab.bringToFront();
      await ends(tab, "done");
    }
    await oneCall(before);
    for (const tab of [first, second, third]) await tab.close();
  },

  async "stopping, and closing the page, stop the model at once"() {
    for (const way of ["stop", "close"]) {
      const before = upstream.calls;
      const tab = await open();
      await call(tab, "ask", tokenrill.url);
      const model = await upstream.call();
      model.say("Hel");
      await shows(tab, "Hel");
      if (way === "stop") await call(tab, "stop");
      else await tab.close();
      await soon(model.closed, `${way}: the end of the call`);
      if (way === "stop") {
        await ends(tab, "cancelled");
        await tab.close();
      }
      await oneCall(before);
    }
  },

  async "whatever a network does, the text is whole and the model called once"() {
    const tab = await open();
    const faults = {
      "cut before the first event": [{ cut: 300 }],
      "cut in mid-answer, twice": [{ cut: 1_500 }, { cut: 1_000 }],
      "reset": [{ reset: 1_200 }, { reset: 1_000 }],
      "half-closed": [{ half: 1_000 }],
      "stalled": [{ stall: 1_000, pause: 1_500 }],
      "delayed": [{ delay: 40 }],
      "in pieces of one byte": [{ split: 1 }],
      "in pieces of seven bytes, then cut": [{ split: 7, cut: 1_403 }],
    };
    for (const [name, next] of Object.entries(faults)) {
      const before = upstream.calls;
      proxy.next(...next);
      await call(tab, "ask", proxy.url);
      const model = await upstream.call();
      for (let at = 0; at < 60; at += 1) {
        model.say(piece(at));
        if (at % 10 === 0) await sleep(20);
      }
      model.finish();
      await ends(tab, "done");
      assert.equal((await seen(tab)).text, model.text, name);
      await oneCall(before);
    }
    proxy.takeRequests();
    await tab.close();
  },

  async "cut after each of 50 byte offsets"() {
    const AT_ONCE = 5;
    const tab = await open();
    const proxies = [];
    for (let at = 0; at < AT_ONCE; at += 1) proxies.push(await FaultProxy.before(tokenrill.port));
    const before = upstream.calls;
    const models = [];
    for (let round = 0; round < 10; round += 1) {
      await tab.evaluate(() => (window.page.many = []));
      for (const [at, proxy] of proxies.entries()) {
        // From inside the head to near the end, no two alike.
        proxy.next({ cut: 180 + (round * AT_ONCE + at) * 89 });
        await call(tab, "askAlso", proxy.url, `Offset ${round * AT_ONCE + at}`);
        const model = await upstream.call();
        for (let token = 0; token < 50; token += 1) model.say(`${token}${piece(token)}`);
        model.finish();
        models.push(model.text);
      }
      await until(() => tab.evaluate(() => window.page.many.every(({ ending, error }) => ending || error)), "five endings");
      for (const [at, one] of (await tab.evaluate(() => window.page.many)).entries()) {
        assert.deepEqual([one.error, one.ending?.event], ["", "done"]);
        assert.equal(one.text, models[round * AT_ONCE + at], `offset ${round * AT_ONCE + at}`);
      }
    }
    assert.equal(upstream.calls - before, 50, "one call of the model for each");
    for (const proxy of proxies) {
      const posts = proxy.takeRequests().length;
      assert.equal(posts, 20, "each was cut once and came back");
      proxy.stop();
    }
    await tab.close();
  },

  async "an EventSource comes back after a cut and is silent after the end"() {
    const tab = await open();
    const id = await generate(tokenrill.url, { prefer: "respond-async" }, { input: "Hello" });
    const model = await upstream.call();
    proxy.takeRequests();
    proxy.next({ cut: 1_200 }, { reset: 1_000 });
    await call(tab, "eventSource", `${proxy.url}/v1/generations/${id}/events`);
    for (let at = 0; at < 30; at += 1) model.say(piece(at));
    await shows(tab, model.text);
    assert.equal((await seen(tab)).errors, 2, "onerror is for the two cuts");
    model.finish();
    await until(async () => (await seen(tab)).names.at(-1) === "done", "the end");
    assert.equal(proxy.takeRequests().length, 3);
    await sleep(3_500);
    assert.equal(proxy.takeRequests().length, 0, "nothing is asked after the end");
    const { names, text, errors } = await seen(tab);
    assert.deepEqual([names[0], names.filter((name) => name === "done").length, text], ["start", 1, model.text]);
    assert.equal(errors, 3, "and for the end of the last connection");
    await tab.close();

    // A failure of the model is an event like any other.
    const failing = await open();
    await call(failing, "eventSource", `${proxy.url}/v1/generations/${id}/events?after=1`);
    await until(async () => (await seen(failing)).names.at(-1) === "done", "a replay");
    assert.equal((await seen(failing)).text, model.text);
    await failing.close();
  },

  async "behind keys, for one listed origin: a bearer with fetch-event-source, a ticket with EventSource"() {
    const { key, settings } = await newKey(program);
    const settingsFile = join(await mkdtemp(join(tmpdir(), "tokenrill-")), "tokenrill.toml");
    const reader = await newKey(program);
    const scopes = `scopes = ["subscribe:notifications", "publish:notifications", "subscribe:system.time"]`;
    await writeFile(settingsFile, `[auth]\nmode = "required"\n${settings}\n${reader.settings.trim()}\n${scopes}\n`);
    const environment = { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m" };
    const start = (origin) =>
      Tokenrill.start(program, { ...environment, TOKENRILL_CORS__ORIGINS: JSON.stringify([origin]) }, ["--config", settingsFile]);
    const guarded = await start(pages.url);
    const between = await FaultProxy.before(guarded.port);
    const bearer = { Authorization: `Bearer ${key}` };
    const tab = await open();

    const before = upstream.calls;
    between.next({ cut: 1_500 });
    await call(tab, "ask", between.url, { headers: [bearer] });
    const model = await upstream.call();
    for (let at = 0; at < 30; at += 1) model.say(piece(at));
    await shows(tab, model.text);
    const { generation } = await seen(tab);

    const ticket = await call(tab, "ticket", between.url, bearer, generation);
    const other = await open();
    between.next({ cut: 1_200 });
    await call(other, "eventSource", between.url + ticket.url);
    await shows(other, model.text);
    model.finish();
    await tab.bringToFront();
    await ends(tab, "done");
    await until(async () => (await seen(other)).names.at(-1) === "done", "the end");
    assert.equal((await seen(other)).text, model.text);
    assert.equal(upstream.calls - before, 1);
    await other.close();

    // Without a key, with a bad one, with a bad ticket: one request, and no call of the model.
    for (const headers of [{}, { Authorization: "Bearer bad" }]) {
      for (const [client, names, error] of [["defaults", ["failed", "resolved"], ""], ["readme", [], "Error: 401"]]) {
        between.takeRequests();
        await call(tab, client, `${between.url}/v1/generations`, headers, { input: "Hello" });
        await until(async () => (await seen(tab)).names.includes("resolved") || (await seen(tab)).error, `${client} 401`);
        await sleep(1_600);
        assert.deepEqual([(await seen(tab)).names, (await seen(tab)).error], [names, error], client);
        assert.equal(between.takeRequests().length, 1, client);
      }
    }
    await call(tab, "eventSource", `${between.url}${ticket.url}x`);
    await until(async () => (await seen(tab)).errors > 0, "an error");
    await sleep(1_600);
    assert.deepEqual([(await seen(tab)).errors, between.takeRequests().length], [1, 1], "EventSource gives up at once");

    // The playground asks for the key, and keeps it for a reload.
    for (let load = 0; load < 2; load += 1) {
      await tab.goto(guarded.url);
      const field = await tab.waitForSelector("#key", { visible: load === 0 });
      if (load === 0) {
        await field.type(key);
        await tab.keyboard.press("Tab");
      }
      await tab.$eval("#model", (model) => (model.value = "demo?tokens=3&rate=max"));
      await tab.click("#send");
      await until(() => tab.$eval("#status", (status) => status.textContent.startsWith("Done")), "the playground's answer");
    }
    assert.ok(!tab.url().includes("trk_"), "the key is not in the address");

    // So does the feed, whose two streams the stored key may not read, and another key may.
    await tab.goto(`${guarded.url}/playground/feed`);
    const field = await tab.waitForSelector("#key", { visible: true });
    await field.click({ count: 3 });
    await field.type(reader.key);
    await tab.keyboard.press("Tab");
    await until(() => tab.$('#connection[data-state="live"]'), "a live feed");
    await until(() => tab.$eval("#server-time", (time) => time.textContent !== "–"), "the server's time");
    await tab.type("#title", "Behind a key");
    await tab.click("#publish");
    await until(() => tab.$("#notifications li"), "a notification");
    await tab.goto(pages.url);

    // The same page where another origin is listed: its browser keeps every answer from it.
    const closed = await start("https://app.example");
    await call(tab, "defaults", `${closed.url}/v1/generations`, bearer, { input: "Hello" });
    await sleep(1_600);
    assert.deepEqual((await seen(tab)).names, []);
    assert.equal(upstream.calls - before, 1);
    await tab.close();
    between.stop();
    for (const one of [guarded, closed]) one.stop();
  },

  async "a token that expires in mid-answer is renewed: asking, after a reload, with tickets, and by fetch"() {
    const secret = "0123456789abcdef0123456789abcdef";
    const settingsFile = join(await mkdtemp(join(tmpdir(), "tokenrill-")), "tokenrill.toml");
    const jwt = '[auth.jwt]\nissuer = "https://id.example/"\naudience = "tokenrill"\nsecret_env = "JWT_SECRET"';
    await writeFile(settingsFile, `[auth]\nmode = "required"\n${jwt}`);
    const environment = { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m", JWT_SECRET: secret };
    const origins = { TOKENRILL_CORS__ORIGINS: JSON.stringify([pages.url]) };
    const guarded = await Tokenrill.start(program, { ...environment, ...origins }, ["--config", settingsFile]);
    const between = await FaultProxy.before(guarded.port);
    const bearer = (claims) => ({ Authorization: `Bearer ${newToken(secret, { iss: "https://id.example/", aud: "tokenrill", sub: "alice", ...claims })}` });
    const [valid, expired] = [bearer({}), bearer({ exp: Math.floor(Date.now() / 1000) - 3_600 })];
    const before = upstream.calls;

    // Cut in mid-answer; the repeat has a token that has expired by then, and is sent again with another.
    const tab = await open();
    between.next({ cut: 1_500 });
    await call(tab, "askAndRemember", between.url, { headers: [valid, expired, valid] });
    const model = await upstream.call();
    for (let at = 0; at < 30; at += 1) model.say(piece(at));
    await shows(tab, model.text);
    assert.deepEqual((await seen(tab)).asked, [3, 1]);
    const { generation } = await seen(tab);

    // The ticket, too, is asked for with a token that has expired.
    await tab.reload();
    assert.equal(await call(tab, "goOn", between.url, { headers: [expired, valid] }), true);
    model.say("after the reload. ");
    await shows(tab, model.text);
    assert.deepEqual((await seen(tab)).asked, [2, 1]);

    // A ticket of one second, a cut after it, another ticket.
    const [other, third] = [await open(), await open()];
    await other.bringToFront();
    await call(other, "keepFollowing", between.url, generation, { headers: [valid] }, 1);
    await shows(other, model.text);
    await sleep(2_100);
    between.drop();
    model.say("after the ticket. ");
    await shows(other, model.text);
    assert.equal((await seen(other)).asked[0], 2, "tickets");

    await third.bringToFront();
    await call(third, "read", between.url, generation, { headers: [expired, valid] });
    await shows(third, model.text);
    model.finish();
    for (const one of [tab, other, third]) {
      await one.bringToFront();
      await ends(one, "done");
      assert.equal((await seen(one)).text, model.text);
    }

    // With tokens of the page's own server.
    pages.tokens = [expired, valid].map(({ Authorization }) => Authorization.slice("Bearer ".length));
    await call(third, "askWithTokens", between.url);
    const another = await upstream.call();
    another.say("Hello");
    await shows(third, "Hello");
    another.finish();
    await ends(third, "done");
    assert.deepEqual(pages.tokens, []);

    // A token that stays expired is asked for once more, and no more often; nothing is sent to the model.
    await call(tab, "ask", between.url, { headers: [expired] });
    await ends(tab, "failed");
    assert.deepEqual([(await seen(tab)).ending.data.error.reason, (await seen(tab)).asked], ["token_expired", [2, 1]]);
    await call(tab, "keepFollowing", between.url, generation, { headers: [expired] }, 300);
    await until(async () => (await seen(tab)).gone, "the end of waiting");
    assert.equal(upstream.calls - before, 2, "calls of the model");
    for (const one of [tab, other, third]) await one.close();
    for (const one of [between, guarded]) one.stop();
  },

  async "with a session in a cookie: fetch-event-source and EventSource across origins, and no foreign page"() {
    const secret = "0123456789abcdef0123456789abcdef";
    const settingsFile = join(await mkdtemp(join(tmpdir(), "tokenrill-")), "tokenrill.toml");
    const jwt = '[auth.jwt]\nissuer = "https://id.example/"\naudience = "tokenrill"\nsecret_env = "JWT_SECRET"';
    await writeFile(settingsFile, `[auth]\nmode = "required"\ncookie = "session"\n${jwt}`);
    const environment = { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m", JWT_SECRET: secret };
    const origins = { TOKENRILL_CORS__ORIGINS: JSON.stringify([pages.url]) };
    const guarded = await Tokenrill.start(program, { ...environment, ...origins }, ["--config", settingsFile]);
    const between = await FaultProxy.before(guarded.port);
    // The page's own host, so that its cookie is for the service too.
    const service = `http://localhost:${between.port}`;
    const foreign = await Pages.start();

    pages.cookie = `session=${newToken(secret, { iss: "https://id.example/", aud: "tokenrill", sub: "alice" })}; HttpOnly; SameSite=Lax; Path=/`;
    const tab = await open();
    pages.cookie = undefined;
    const before = upstream.calls;
    await call(tab, "defaults", `${service}/v1/generations`, { "Idempotency-Key": crypto.randomUUID() }, { input: "Hello" }, "POST", "include");
    const model = await upstream.call();
    for (let at = 0; at < 30; at += 1) model.say(piece(at));
    await shows(tab, model.text);
    assert.equal(await tab.evaluate(() => document.cookie), "", "no page can read it");
    const list = await tab.evaluate(async (url) => (await fetch(url, { credentials: "include" })).json(), `${service}/v1/generations`);
    const [{ id }] = list.data;

    const other = await open();
    between.next({ cut: 1_200 });
    await call(other, "eventSource", `${service}/v1/generations/${id}/events`, { withCredentials: true });
    await shows(other, model.text);
    model.finish();
    await until(async () => (await seen(other)).names.at(-1) === "done", "the end");
    assert.equal((await seen(other)).text, model.text);

    // Without the cookie, which an EventSource leaves at home unless it is told; and from another site.
    await call(other, "eventSource", `${service}/v1/generations/${id}/events`);
    await until(async () => (await seen(other)).errors > 0, "an error");

    // A page of an origin that is not listed, to which the browser lends the cookie: the same host.
    const evil = await open(foreign.url);
    between.takeRequests();
    await call(evil, "forge", `${service}/v1/generations`);
    await call(evil, "forgeByForm", `${service}/v1/generations`);
    await until(() => between.requests.filter((line) => line.startsWith("POST")).length === 2, "two forged requests");
    const { data } = await tab.evaluate(async (url) => (await fetch(url, { credentials: "include" })).json(), `${service}/v1/generations`);
    assert.deepEqual(data.map((one) => one.id), [id], "what has begun");
    assert.equal(upstream.calls - before, 1, "calls of the model");

    // The guide's page with the cookie: asking, and after a reload.
    await call(tab, "askAndRemember", service, { credentials: "include" });
    const again = await upstream.call();
    again.say("With a ");
    await tab.bringToFront();
    await shows(tab, "With a ");
    await tab.reload();
    assert.equal(await call(tab, "goOn", service, { credentials: "include" }), true);
    again.say("cookie.");
    await shows(tab, "With a cookie.");
    again.finish();
    await ends(tab, "done");

    await tab.close();
    await other.close();
    await evil.close();
    for (const one of [between, foreign, guarded]) one.stop();
  },

  async "each refusal is one request with fetch-event-source's defaults, fatal or retried by its README's"() {
    const draining = await Tokenrill.start(program, { TOKENRILL_SERVER__SHUTDOWN_GRACE: "60s" });
    await generate(draining.url, { prefer: "respond-async" }, { input: "Hello", model: "demo?stall_at=1" });
    await until(async () => (await draining.metric("tokenrill_generations_live")) === 1, "a live generation");
    draining.signal("SIGTERM");
    await until(async () => (await fetch(`${draining.url}/readyz`)).status === 503, "a drain");
    const drainingProxy = await FaultProxy.before(draining.port);

    // One request a minute, which has been made.
    const limited = await Tokenrill.start(program, { TOKENRILL_LIMITS__REQUESTS_PER_MINUTE: "1" });
    await generate(limited.url, { prefer: "respond-async" }, { input: "Hello", model: "demo?tokens=1&rate=max" });
    const limitedProxy = await FaultProxy.before(limited.port);

    const used = { "Idempotency-Key": crypto.randomUUID() };
    await generate(tokenrill.url, { ...used, prefer: "respond-async" }, { input: "first" });
    (await upstream.call()).finish();

    const good = { input: "Hello" };
    const chat = { messages: [{ role: "user", content: "Hello" }], stream: true };
    const cases = [
      [400, proxy, "/v1/generations", {}, { input: "" }],
      [404, proxy, "/v1/generations", { "Last-Event-ID": "gen_AAAAAAAAAAAAAAAAAAAAAA.1" }, good],
      [422, proxy, "/v1/generations", used, good],
      [429, limitedProxy, "/v1/generations", {}, good],
      [429, proxy, "/v1/chat/completions", {}, chat],
      [503, drainingProxy, "/v1/generations", {}, good],
    ];
    const tab = await open();
    for (const [status, through, path, headers, body] of cases) {
      for (const client of ["defaults", "readme"]) {
        const before = upstream.calls;
        through.takeRequests();
        await call(tab, client, through.url + path, headers, body);
        if (body === chat) (await upstream.call()).refuse(429);
        await until(async () => (await seen(tab)).names.includes("resolved") || (await seen(tab)).errors > 0, `${client} ${status}`);
        // Longer than the second after which the library would ask again.
        await sleep(1_600);
        const asked = through.takeRequests().length;
        const { names, error, errors } = await seen(tab);
        const what = `${client}, ${status}: ${JSON.stringify({ names, error, errors, asked })}`;
        if (client === "defaults") {
          assert.equal(asked, 1, what);
          assert.deepEqual(names, [body === chat ? "" : "failed", "resolved"], what);
        } else if (status === 429 || status === 503) {
          // Retried as its README says; the server cannot slow it, for it reads nothing of the refusal.
          assert.ok(asked >= 2 && error === "", what);
          await tab.reload();
          if (upstream.calls > before + 1) (await upstream.call()).refuse(429);
        } else {
          assert.deepEqual([asked, error], [1, `Error: ${status}`], what);
        }
      }
    }
    await tab.close();
    for (const one of [drainingProxy, draining, limitedProxy, limited]) one.stop();
  },
};

const all = { ...scenarios, ...playground(open, tokenrill.url) };
// `system.metrics` has the figures of the replica that the page is connected to; the generation may run on the other.
if (processes === "replicas") delete all["the plots of the metrics move, and rise while a generation runs"];
// A tab that a failed scenario leaves open keeps connections, of which a browser has six for each origin.
const closeTabs = async () => Promise.all((await browser.pages()).slice(1).map((tab) => tab.close()));
const broken = await run(all, only, closeTabs);
await browser.close();
for (const part of [pages, proxy, tokenrill, upstream]) part.stop();
process.exit(broken ? 1 : 0);
