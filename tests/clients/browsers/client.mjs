// The client of this repository in a real browser: the module as it is served, and the hooks for React and Vue.
//   node client.mjs PROGRAM chromium|firefox [ONLY]
// Exit code 0 only if every scenario held.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { FaultProxy, launch, run, Tokenrill, until } from "./support.mjs";

const [program, browserName, only] = process.argv.slice(2);
if (!program || !["chromium", "firefox"].includes(browserName)) {
  console.error("usage: node client.mjs PROGRAM chromium|firefox [ONLY]");
  process.exit(2);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const tokenrill = await Tokenrill.start(program, { TOKENRILL_MODELS__DEFAULT: "demo?tokens=40&rate=40" });
const proxy = await FaultProxy.before(tokenrill.port);

/** The component of the documentation, as it stands there but for the service's address, in StrictMode. */
async function react() {
  const documentation = await readFile(here("../../../docs/clients/tokenrill.md"), "utf8");
  const component = /```jsx\n([\s\S]*?)```/.exec(documentation)[1].replaceAll("http://127.0.0.1:8080", proxy.url);
  return bundle(`${component}
    import { StrictMode } from "react";
    import { createRoot } from "react-dom/client";
    const root = createRoot(document.body);
    root.render(<StrictMode><Chat /></StrictMode>);
    window.leave = () => root.unmount();
  `);
}

const vue = () =>
  bundle(`
    import { Tokenrill } from "tokenrill";
    import { useConversation } from "tokenrill/vue";
    import { createApp, h } from "vue/dist/vue.runtime.esm-bundler.js";
    const client = new Tokenrill({ url: "${proxy.url}" });
    const app = createApp({
      setup() {
        const { messages, text, status, error, send, stop } = useConversation(client, { system: "Be brief." });
        return () => {
          const running = status.value === "running";
          return [
            ...messages.value.map(({ role, content }) => h("p", role + ": " + content)),
            running && h("p", text.value),
            error.value && h("p", error.value.message),
            h("button", { onClick: () => (running ? stop() : send("Hello")) }, running ? "Stop" : "Send"),
          ];
        };
      },
    });
    app.mount(document.body);
    window.leave = () => app.unmount();
  `);

async function bundle(contents) {
  const result = await build({
    stdin: { contents, resolveDir: here("."), loader: "jsx" },
    bundle: true,
    format: "esm",
    write: false,
    jsx: "automatic",
    nodePaths: [here("../node_modules")],
    define: {
      "process.env.NODE_ENV": '"development"',
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
  });
  return result.outputFiles[0].text;
}

const scripts = {
  "/tokenrill.js": await readFile(here("../../../client/tokenrill.js")),
  "/plain.js": `import { Tokenrill } from "/tokenrill.js"; window.client = new Tokenrill({ url: "${proxy.url}" });`,
  "/react.js": await react(),
  "/vue.js": await vue(),
};
const server = createServer(({ url }, response) => {
  const script = scripts[url];
  response.writeHead(200, { "content-type": script ? "text/javascript; charset=utf-8" : "text/html; charset=utf-8" });
  response.end(script ?? `<!doctype html><meta charset="utf-8"><body></body><script type="module" src="${url}.js"></script>`);
});
await new Promise((resolve) => server.listen(0, "localhost", resolve));
const browser = await launch(browserName);

async function open(path, ready) {
  const tab = await browser.newPage();
  await tab.goto(`http://localhost:${server.address().port}${path}`);
  await until(() => tab.evaluate(ready), path);
  return tab;
}

const live = () => tokenrill.metric("tokenrill_generations_live");
const has = (tab, text) => until(() => tab.evaluate((text) => document.body.textContent.includes(text), text), text);
const press = (tab) => tab.evaluate(() => document.querySelector("button").click());

/** A page with a button that sends or stops, and each message as a paragraph. */
async function chat(path) {
  const tab = await open(path, () => document.querySelector("button") !== null);
  proxy.takeRequests();
  await press(tab);
  await has(tab, "Hello from Tokenrill");
  assert.equal(await live(), 1, "one call of the model");
  proxy.drop();
  await has(tab, "assistant: ");
  assert.deepEqual(proxy.takeRequests().map((line) => line.split(" ")[0]), ["POST", "GET"]);
  const [system, user, assistant] = await tab.evaluate(() => [...document.querySelectorAll("p")].map((p) => p.textContent));
  assert.deepEqual([system, user], ["system: Be brief.", "user: Hello"]);
  await press(tab);
  await until(() => tab.evaluate(() => document.querySelectorAll("p").length === 4), "the second answer");
  await until(async () => (await tab.evaluate(() => document.querySelectorAll("p")[3].textContent)).length > 5, "its text");
  await press(tab);
  await until(async () => (await live()) === 0, "the stop");
  await until(() => tab.evaluate(() => document.querySelectorAll("p").length === 5), "the stopped answer");
  const texts = await tab.evaluate(() => [...document.querySelectorAll("p")].map((p) => p.textContent));
  assert.equal(texts[2], assistant);
  assert.ok(texts[4].length < assistant.length, "the stopped answer is shorter");
  await press(tab);
  await until(async () => (await tokenrill.metric("tokenrill_viewers_live")) === 1, "the third answer");
  await tab.evaluate(() => window.leave());
  await until(async () => (await tokenrill.metric("tokenrill_viewers_live")) === 0, "leaving");
  await until(async () => (await live()) === 0, "its end");
  await tab.close();
}

const failed = await run(
  {
    "the module is imported as it is, and each event arrives once over cuts and a reload": async () => {
      let tab = await open("/plain", () => window.client !== undefined);
      proxy.takeRequests();
      await tab.evaluate(() => {
        window.answer = window.client.ask({ model: "demo?tokens=300&rate=40", input: "Hello" }, { remember: "chat" });
      });
      for (const length of [10, 60]) {
        await until(() => tab.evaluate((length) => window.answer.content.length > length, length), "text");
        proxy.drop();
      }
      await until(() => tab.evaluate(() => window.answer.content.length > 80), "text");
      const id = await tab.evaluate(() => window.answer.id);
      await tab.reload();
      await until(() => tab.evaluate(() => window.client !== undefined), "the reload");
      const seen = await tab.evaluate(async () => {
        const resumed = window.client.resume("chat");
        const ids = [];
        for await (const { id } of resumed) ids.push(id);
        return { ids, id: await resumed.id, text: await resumed.text, left: window.client.resume("chat") };
      });
      const { text } = await (await fetch(`${tokenrill.url}/v1/generations/${id}`)).json();
      assert.deepEqual([seen.id, seen.text, seen.left], [id, text, null]);
      assert.deepEqual(seen.ids, seen.ids.map((_, index) => `${id}.${index + 1}`));
      assert.equal(proxy.takeRequests().filter((line) => line.startsWith("POST")).length, 1);
      await tab.close();
    },
    "the documented component of React resumes, stops and leaves, in StrictMode": () => chat("/react"),
    "the same in Vue": () => chat("/vue"),
  },
  only,
);

await browser.close();
server.closeAllConnections();
server.close();
tokenrill.stop();
process.exit(failed ? 1 : 0);
