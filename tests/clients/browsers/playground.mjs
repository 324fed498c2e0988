// The pages of the playground at /playground/*, each in several tabs, as scenarios of the suite.
import assert from "node:assert/strict";
import { sleep, until } from "./support.mjs";

const textOf = (tab, selector) => tab.$eval(selector, (element) => element.textContent);
const shows = (tab, selector, text) => until(async () => (await textOf(tab, selector)) === text, `${selector} with ${JSON.stringify(text)}`);
const live = (tab) => until(() => tab.$('#connection[data-state="live"]'), "a live connection");

async function fill(tab, selector, text) {
  await tab.bringToFront();
  await tab.$eval(selector, (field, text) => ((field.value = text), field.dispatchEvent(new Event("change"))), text);
}

/** All messages of a room's page: their state, author and text. */
const messages = (tab) =>
  tab.$$eval("#messages li", (items) =>
    items.map((item) => ({ state: item.dataset.state, author: item.querySelector("b").textContent, text: item.querySelector(".text").textContent })),
  );
const answer = async (tab) => (await messages(tab)).findLast(({ state }) => state !== "said");

/** The different lengths that the answer has while it runs, in each tab, until `enough` have been seen in all. */
async function watchGrowth(tabs, enough) {
  const lengths = tabs.map(() => new Set());
  const look = async () => {
    for (const [at, tab] of tabs.entries()) {
      const { state, text } = (await answer(tab)) ?? {};
      if (state === "running") lengths[at].add(text.length);
    }
    return lengths.every(({ size }) => size > enough);
  };
  await until(look, "an answer that grows");
  for (const seen of lengths) assert.deepEqual([...seen], [...seen].sort((a, b) => a - b), "an answer only grows");
}

async function say(tab, text, model) {
  await fill(tab, "#model", model ?? "");
  const asks = await tab.$eval("#ask", ({ checked }) => checked);
  if (asks !== (model !== undefined)) await tab.click("#ask");
  await tab.type("#text", text);
  await tab.click("#say");
}

/** `open` opens a tab at an address, `service` is where the pages are. */
export function playground(open, service) {
  const page = async (path) => {
    const tab = await open(`${service}/playground/${path}`);
    await tab.bringToFront();
    return tab;
  };

  return {
    async "a room in three tabs: who is there, who types, what is said, and an answer that grows in all of them"() {
      const room = `room#${crypto.randomUUID()}`;
      const tabs = [await page(room), await page(room), await page(room)];
      const [one, two, three] = tabs;
      for (const [at, tab] of tabs.entries()) await fill(tab, "#name", `Person ${at}`);
      for (const tab of tabs) await shows(tab, "#presence", "3");
      const everybody = (text) => ["Person 0", "Person 1", "Person 2"].every((name) => text.includes(name));
      for (const tab of tabs) await until(async () => everybody(await textOf(tab, "#people")), "all names");

      await one.bringToFront();
      await one.type("#text", "Hel");
      for (const tab of [two, three]) await shows(tab, "#typing", "Person 0 is typing");
      assert.equal(await textOf(one, "#typing"), "", "nobody is told of oneself");
      for (const tab of [two, three]) await shows(tab, "#typing", "");

      await one.click("#ask");
      await one.type("#text", "lo");
      await one.click("#say");
      const hello = { state: "said", author: "Person 0", text: "Hello" };
      for (const tab of tabs) await until(async () => (await messages(tab)).length > 0, "the message");

      await say(two, "Tell me", "demo?tokens=500&rate=25");
      await watchGrowth(tabs, 4);
      await three.bringToFront();
      await three.reload();
      await watchGrowth(tabs, 3);
      for (const tab of tabs) await until(async () => (await answer(tab))?.state === "done", "the end of the answer");
      const shown = await messages(one);
      assert.deepEqual(shown.slice(0, 2), [hello, { state: "said", author: "Person 1", text: "Tell me" }]);
      assert.equal(shown.length, 3, "each message once");
      for (const tab of [two, three]) assert.deepEqual(await messages(tab), shown);
      for (const tab of tabs) await shows(tab, "#presence", "3");

      await say(one, "And on", "demo?tokens=2000&rate=25");
      await watchGrowth(tabs, 2);
      await two.bringToFront();
      await two.click('#messages [data-state="running"] button');
      for (const tab of tabs) await until(async () => (await answer(tab))?.state === "cancelled", "a stopped answer");
      const stopped = await messages(one);
      for (const tab of tabs) assert.deepEqual(await messages(tab), stopped);

      await three.close();
      for (const tab of [one, two]) await shows(tab, "#presence", "2");
      for (const tab of [one, two]) await tab.close();
    },

    async "the plots of the metrics move, and rise while a generation runs"() {
      const tab = await page("metrics");
      await live(tab);
      const lines = () => tab.$$eval("#plots .line", (paths) => paths.map((path) => path.getAttribute("d")));
      await until(async () => (await lines()).some(Boolean), "a plot");
      const before = await lines();
      await sleep(3_000);
      const after = await lines();
      for (const at of [0, 1, 2]) assert.notEqual(after[at], before[at], `plot line ${at}`);

      const rate = async () => Number((await textOf(tab, "#tokens-per-second")).replaceAll(",", ""));
      await until(async () => (await rate()) === 0, "a service at rest");
      const headers = { "content-type": "application/json", prefer: "respond-async" };
      const body = JSON.stringify({ input: "Hello", model: "demo?tokens=200&rate=50" });
      await fetch(`${service}/v1/generations`, { method: "POST", headers, body });
      await until(async () => (await rate()) > 10, "tokens per second");
      assert.ok(Number(await textOf(tab, "#running")) >= 1, "a running generation");
      assert.notEqual(await textOf(tab, "#p50"), "–");
      await tab.close();
    },

    async "a notification is shown in another tab, once, and once after a reload"() {
      const title = `Deployed ${crypto.randomUUID()}`;
      const titles = async (tab) => (await tab.$$eval("#notifications strong", (all) => all.map(({ textContent }) => textContent))).filter((one) => one === title);
      const other = await page("feed");
      const tab = await page("feed");
      for (const one of [tab, other]) await live(one);
      await until(async () => (await textOf(tab, "#server-time")) !== "–", "the server's time");
      await tab.type("#title", title);
      await tab.select("#level", "warning");
      await tab.click("#publish");
      for (const one of [tab, other]) await until(async () => (await titles(one)).length === 1, "the notification");
      assert.equal(await textOf(other, "#notifications li:first-child strong"), title, "the newest comes first");
      assert.match(await other.title(), /^\(\d+\) feed$/);

      await other.bringToFront();
      await other.reload();
      await until(async () => (await titles(other)).length > 0, "the notification again");
      await sleep(500);
      assert.equal((await titles(other)).length, 1);
      await other.click("#read");
      for (const one of [tab, other]) await until(async () => (await one.title()) === "feed", "nothing unread");
      for (const one of [tab, other]) await one.close();
    },

    async "a task's progress is shown in a second tab, also after a reload, and ends at 100 %"() {
      const percent = async (tab) => parseInt(await textOf(tab, "#percent"), 10);
      const tab = await page("progress");
      await tab.click("#start");
      await until(async () => (await percent(tab)) > 10, "a beginning");
      const second = await open(tab.url());
      await until(async () => (await percent(second)) > 10, "the state at once");
      const before = await percent(second);
      await second.reload();
      await until(async () => (await percent(second)) > 0, "the state after a reload");
      assert.ok((await percent(second)) >= before, "a reload does not begin again");
      await tab.bringToFront();
      for (const one of [tab, second]) await shows(one, "#note", "finished");
      for (const one of [tab, second]) assert.equal(await percent(one), 100);

      // The second tab cancels what the first one does.
      await tab.click("#start");
      await until(async () => (await percent(tab)) > 0, "another beginning");
      await second.bringToFront();
      await second.goto(tab.url());
      await until(() => second.$('#cancel[aria-disabled="false"]'), "something to cancel");
      await second.click("#cancel");
      for (const one of [tab, second]) await shows(one, "#note", "cancelled");
      assert.ok((await percent(second)) < 100);
      for (const one of [tab, second]) await one.close();
    },

    async "the browser's own EventSource reads the server's time"() {
      const tab = await page("metrics");
      const times = await tab.evaluate(
        () =>
          new Promise((resolve) => {
            const times = [];
            const source = new EventSource("/v1/channels/system.time/events");
            source.addEventListener("server-time", ({ data }) => {
              times.push(JSON.parse(data).unix_ms);
              if (times.length < 3) return;
              source.close();
              resolve(times);
            });
          }),
      );
      // A busy machine is late, and not early.
      for (const at of [1, 2]) assert.ok(times[at] - times[at - 1] >= 500, String(times));
      await tab.close();
    },
  };
}
