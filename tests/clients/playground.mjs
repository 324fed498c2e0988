// Opens the playground in a real Chromium and uses it as a person would.
//   node playground.mjs BASE_URL SCREENSHOT_PATH
// Exit code 0 only if every promise below held; otherwise each broken one is printed.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const DEADLINE_MS = 60_000;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const [baseUrl, screenshot] = process.argv.slice(2);
if (!baseUrl || !screenshot) {
  console.error("usage: node playground.mjs BASE_URL SCREENSHOT_PATH");
  process.exit(2);
}

const broken = [];
const expect = (held, promise, seen) => {
  console.log(`${held ? "ok  " : "FAIL"} ${promise}`);
  if (!held) broken.push(`${promise}; seen: ${JSON.stringify(seen)}`);
};

/** What the page complained about since the last call. */
const complaints = [];
const takeComplaints = () => complaints.splice(0);

/** The paths POSTed to since the last call. */
const posts = [];
const takePosts = () => posts.splice(0);

async function send(page, { prompt, model }) {
  await page.getByLabel("Prompt", { exact: true }).fill(prompt);
  await page.getByLabel("Model", { exact: true }).fill(model);
  await page.getByLabel("Prompt", { exact: true }).press("Control+Enter");
}

/** Waits until the answer has ended, then reads everything that the page shows. */
async function ended(page) {
  await page.locator("#send[aria-disabled=false]").waitFor();
  return page.evaluate(() => {
    const text = (selector) => document.querySelector(selector).textContent;
    return {
      answer: text("#answer-text"),
      banner: text("#banner"),
      status: text("#status"),
      firstToken: text("#first-token"),
      rate: text("#rate"),
      events: [...document.querySelectorAll("#events li")].map((row) => ({
        name: row.querySelector("b").textContent,
        id: row.querySelector(".id").textContent,
        data: JSON.parse(row.querySelector("code").textContent),
      })),
    };
  });
}

const names = ({ events }) => events.map(({ name }) => name);

async function finishedAnswer(page) {
  await send(page, { prompt: "Tell me about Tokenrill, please.", model: "demo" });
  const seen = await ended(page);
  const { events } = seen;
  const ids = events.map(({ id }) => /^(gen_[A-Za-z0-9_~-]+)\.(\d+)$/.exec(id));
  const sequences = ids.map((id) => Number(id?.[2]));
  const spoken = events.filter(({ name }) => name === "delta").map(({ data }) => data.text).join("");

  expect(events.length >= 50, "an answer is at least 50 events", events.length);
  expect(ids.every(Boolean), "every event has an id gen_….N", events.find((_, index) => !ids[index]));
  expect(new Set(ids.map((id) => id?.[1])).size === 1, "all ids name one generation", events.at(-1)?.id);
  expect(sequences.every((one, index) => index === 0 || one > sequences[index - 1]), "the ids rise", sequences);
  expect(names(seen)[0] === "start", "the first event is start", names(seen)[0]);
  expect(names(seen).at(-1) === "done", "the last event is done", names(seen).at(-1));
  expect(seen.answer === spoken, "the answer is the raw deltas, joined", { answer: seen.answer, spoken });
  expect(/\p{Extended_Pictographic}/u.test(seen.answer), "the answer contains an emoji", seen.answer);
  expect(/^[\d.]+ m?s$/.test(seen.firstToken), "the time to first token is shown", seen.firstToken);
  expect(/^(≈ )?[\d.]+ (tokens|events)\/s$/.test(seen.rate), "the rate is shown", seen.rate);
  expect(seen.status.startsWith("Done"), "the status says done", seen.status);
  expect(seen.banner === "", "no failure is shown", seen.banner);
  expectPosts("a finished answer", ["/v1/generations"]);
  expectNoComplaints("a finished answer");
  await page.screenshot({ path: screenshot });
}

async function stoppedAnswer(page) {
  await send(page, { prompt: "A long story.", model: "demo?tokens=1000&rate=20" });
  await page.locator("#events li:nth-child(10)").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  const seen = await ended(page);
  const generation = seen.events[0]?.data.generation;

  expect(names(seen).at(-1) === "cancelled", "a stopped answer ends with cancelled", seen.events.at(-1));
  expect(seen.events.at(-1)?.data.reason === "client_request", "the reason is the client's request", seen.events.at(-1));
  expect(seen.events.length < 200, "a stop does not wait for the end", seen.events.length);
  expect(seen.banner.includes("Cancelled"), "the banner says cancelled", seen.banner);
  expectPosts("a stopped answer", ["/v1/generations", `/v1/generations/${generation}/cancel`]);
  expectNoComplaints("a stopped answer");
}

async function refused(page) {
  await send(page, { prompt: "Refuse.", model: "no-such-model" });
  const seen = await ended(page);
  await quietFor(page, 2_500);

  expect(names(seen).join() === "failed", "a refusal is one failed event", names(seen));
  expect(seen.events[0]?.data.error.code === "model_not_found", "it says why", seen.events[0]);
  expect(seen.banner.includes(seen.events[0]?.data.error.code), "the banner names the refusal's code", seen.banner);
  expect(seen.banner.includes(seen.events[0]?.data.error.detail), "the banner tells the refusal's detail", seen.banner);
  expectPosts("a refusal", ["/v1/generations"]);
  // Chromium itself logs a response with this status; nothing else may be there.
  const others = takeComplaints().filter((complaint) => !complaint.includes("status of 404"));
  expect(others.length === 0, "a refusal: no complaint but the status itself", others);
}

async function refusedUpstream(page) {
  await send(page, { prompt: "Refuse.", model: "demo?status=429&retry_after=3" });
  const seen = await ended(page);
  await quietFor(page, 2_500);

  expect(names(seen).join() === "start,failed", "what the upstream refuses starts and fails", names(seen));
  expect(seen.banner.includes("upstream_rate_limited"), "the banner names the failure's code", seen.banner);
  expectPosts("an upstream's refusal", ["/v1/generations"]);
  expectNoComplaints("an upstream's refusal");
}

async function failedMidway(page) {
  await send(page, { prompt: "Fail.", model: "demo?fail_at=10" });
  const seen = await ended(page);
  await quietFor(page, 2_500);

  expect(names(seen).at(-1) === "failed", "an answer that fails midway ends with failed", names(seen));
  expect(names(seen).includes("delta"), "the text before the failure is kept", names(seen));
  expect(seen.banner.includes(seen.events.at(-1)?.data.error.code), "the banner names the failure's code", seen.banner);
  expectPosts("a failure", ["/v1/generations"]);
  expectNoComplaints("a failure");
}

/** The connection is dropped three times in mid-answer, at a pace that leaves time for it on a machine with other things
 * to do; what the page shows is as if nothing had been. */
async function dropped(page) {
  await send(page, { prompt: "A story.", model: "demo?tokens=120&rate=25" });
  for (const at of [10, 40, 80]) {
    await page.locator(`#events li:nth-child(${at})`).waitFor();
    await page.getByRole("button", { name: "Drop the connection" }).click();
  }
  const seen = await ended(page);
  expectWhole("a dropped connection", seen);
  const caption = await page.locator("#timeline-caption").textContent();
  expect(caption.includes("lost 3 times"), "the timeline shows the three losses", caption);
  expectPosts("a dropped connection", Array(4).fill("/v1/generations"));
  expectNoComplaints("a dropped connection");
  await page.screenshot({ path: screenshot.replace(/\.png$/, "-dropped.png") });
}

/** The page is reloaded and a second tab is opened in mid-answer: three readings, one generation. */
async function reloadedAndOpenedTwice(page) {
  await send(page, { prompt: "A longer story.", model: "demo?tokens=150&rate=60" });
  await page.locator("#events li:nth-child(20)").waitFor();
  const opening = page.context().waitForEvent("page");
  await page.getByRole("link", { name: "Open in a second tab" }).click();
  const second = await opening;
  await second.locator("#events li:nth-child(25)").waitFor();
  await page.bringToFront();
  await page.reload();
  const [seen, elsewhere] = await Promise.all([ended(page), ended(second)]);
  expectWhole("a reloaded page", seen);
  expectWhole("a second tab", elsewhere);
  expect(seen.answer === elsewhere.answer, "both show the same", { seen: seen.answer, elsewhere: elsewhere.answer });
  await second.close();
  expectPosts("a reload and a second tab", ["/v1/generations"]);
  expectNoComplaints("a reload and a second tab");
}

function expectWhole(what, { answer, events, status }) {
  const sequences = events.map(({ id }) => Number(id.split(".").at(-1)));
  const spoken = events.filter(({ name }) => name === "delta").map(({ data }) => data.text).join("");
  expect(sequences.every((one, at) => one === at + 1), `${what}: every event once and in order`, sequences);
  expect(events.at(-1)?.name === "done" && status.startsWith("Done"), `${what}: to its end`, events.at(-1));
  expect(answer === spoken, `${what}: the answer is the raw deltas, joined`, { answer, spoken });
}

/** Longer than any client's reconnection delay, so that a repeated POST would be seen. */
const quietFor = (page, duration) => page.waitForTimeout(duration);

function expectPosts(what, expected) {
  const seen = takePosts();
  expect(seen.join() === expected.join(), `${what}: exactly the POSTs ${expected.join(", ")}`, seen);
}

function expectNoComplaints(what) {
  const seen = takeComplaints();
  expect(seen.length === 0, `${what}: no page error, console error or policy violation`, seen);
}

const profile = await mkdtemp(join(tmpdir(), "playground-"));
let context;
try {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: FLAGS,
    headless: true,
    timeout: DEADLINE_MS,
    viewport: { width: 1360, height: 860 },
  });
  context.setDefaultTimeout(DEADLINE_MS);
  // Before any script of the page, so that a violation while it loads is seen as well.
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      console.error(`policy violation: ${violatedDirective} ${blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (request.method() === "POST") posts.push(new URL(request.url()).pathname);
  });

  const response = await page.goto(baseUrl);
  expect(response.status() === 200, "the playground is served", response.status());
  expect(
    response.headers()["content-security-policy"]?.includes("script-src 'sha256-") ?? false,
    "under a policy that admits its script by hash alone",
    response.headers()["content-security-policy"],
  );
  const scenarios = [finishedAnswer, stoppedAnswer, refused, refusedUpstream, failedMidway, dropped, reloadedAndOpenedTwice];
  for (const scenario of scenarios) await scenario(page);
} catch (error) {
  broken.push(String(error));
} finally {
  await context?.close();
  await rm(profile, { recursive: true, force: true });
}

for (const one of broken) console.error(`broken: ${one}`);
process.exitCode = broken.length === 0 ? 0 : 1;
