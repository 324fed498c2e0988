// Two browsers on one answer: the one asks, the other follows, and each may go and come back.
//   node two.mjs PROGRAM
import assert from "node:assert/strict";
import { launch, Pages, run, Tokenrill, until, Upstream } from "./support.mjs";

const [program, only] = process.argv.slice(2);
if (!program) {
  console.error("usage: node two.mjs PROGRAM [ONLY]");
  process.exit(2);
}

const upstream = await Upstream.start();
const tokenrill = await Tokenrill.start(program, { OPENAI_BASE_URL: upstream.baseUrl, TOKENRILL_MODELS__DEFAULT: "m" });
const pages = await Pages.start();
const browsers = { chromium: await launch("chromium"), firefox: await launch("firefox") };

const call = (tab, name, ...given) => tab.evaluate((name, given) => window.page[name](...given), name, given);
const seen = (tab) => tab.evaluate(() => window.page.many[0] ?? window.page.seen);
const shows = (tab, text) => until(async () => (await seen(tab)).text === text, text);

async function open(browser) {
  const tab = await browser.newPage();
  await tab.goto(pages.url);
  return tab;
}

async function asksAndFollows(asking, following) {
  const before = upstream.calls;
  const first = await open(browsers[asking]);
  await call(first, "askAlso", tokenrill.url, "Hello");
  const model = await upstream.call();
  model.say("Zür");
  await shows(first, model.text);
  const { generation } = await seen(first);

  let second = await open(browsers[following]);
  await call(second, "follow", tokenrill.url, generation);
  model.say("ich 👩‍👩‍👧 ");
  for (const tab of [first, second]) await shows(tab, model.text);

  // The one who follows goes and comes back; then the one who asked goes for good.
  await second.close();
  model.say("東京 ");
  await shows(first, model.text);
  second = await open(browsers[following]);
  await call(second, "read", tokenrill.url, generation);
  await shows(second, model.text);
  await first.goto("about:blank");
  model.say("\u2028نص");
  await shows(second, model.text);
  model.finish();
  await until(async () => (await seen(second)).ending?.event === "done", "the end");
  assert.equal((await seen(second)).text, model.text);
  await until(async () => (await tokenrill.metric("tokenrill_generations_live")) === 0, "the end");
  assert.equal(upstream.calls - before, 1);
  await first.close();
  await second.close();
}

const broken = await run(
  {
    "Chromium asks and Firefox follows": () => asksAndFollows("chromium", "firefox"),
    "Firefox asks and Chromium follows": () => asksAndFollows("firefox", "chromium"),
  },
  only,
);
for (const browser of Object.values(browsers)) await browser.close();
for (const part of [pages, tokenrill, upstream]) part.stop();
process.exit(broken ? 1 : 0);
