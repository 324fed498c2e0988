// Follows generations with the package eventsource, which is EventSource outside of browsers.
//   node eventsource.mjs BASE_URL
// The service serves the embedded model. Exit code 0 only if every check passed; each one that failed is printed.
import assert from "node:assert/strict";
import { EventSource } from "eventsource";
import { baseURL, check, QUESTION } from "./support.mjs";

const start = async (options) => {
  const headers = { "content-type": "application/json", prefer: "respond-async" };
  const body = JSON.stringify({ model: `demo?${options}`, input: QUESTION });
  const response = await fetch(`${baseURL}/v1/generations`, { method: "POST", headers, body });
  assert.equal(response.status, 202);
  return (await response.json()).id;
};

/** Follows a generation to its end. Each connection is cut after so many events, if `cut` is given. */
async function follow(id, { cut = Infinity } = {}) {
  const seen = { text: "", ids: [], connections: [], ending: null };
  const counted = async (url, init) => {
    seen.connections.push(init.headers["Last-Event-ID"] ?? "");
    const response = await fetch(url, init);
    const reader = response.body.getReader();
    let left = cut;
    const pull = async (controller) => {
      if (left <= 0) return controller.error(new TypeError("the connection is cut"));
      const { done, value } = await reader.read();
      if (done) return controller.close();
      let end = 0;
      while (end < value.length && left > 0) if (value[end++] === 10 && value[end] === 10) left -= 1;
      controller.enqueue(value.subarray(0, left > 0 ? value.length : end + 1));
    };
    // Only what is asked for is read: an error would discard what is queued before it.
    const body = new ReadableStream({ pull, cancel: () => reader.cancel() }, { highWaterMark: 0 });
    return { status: response.status, url: response.url, redirected: false, headers: response.headers, body };
  };
  const source = new EventSource(`${baseURL}/v1/generations/${id}/events`, { fetch: counted });
  try {
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no end: ${JSON.stringify(seen)}`)), 60_000);
      source.addEventListener("delta", (event) => {
        seen.text += JSON.parse(event.data).text;
        seen.ids.push(event.lastEventId);
      });
      for (const name of ["done", "cancelled", "failed"]) {
        source.addEventListener(name, (event) => {
          seen.ending = { name, ...JSON.parse(event.data) };
          clearTimeout(late);
          resolve();
        });
      }
    });
  } finally {
    source.close();
  }
  return seen;
}

await check({
  "events are followed from the first to the last": async () => {
    const id = await start("tokens=40&rate=200");
    const live = await follow(id);
    const again = await follow(id);
    assert.deepEqual([again.text, again.ids], [live.text, live.ids]);
    assert.deepEqual([live.ending.name, live.connections], ["done", [""]]);
    assert.equal(live.text, (await (await fetch(`${baseURL}/v1/generations/${id}`)).json()).text);
  },

  "cut connection resumes after the last event, and no event is lost or doubled": async () => {
    const id = await start("tokens=30&rate=max");
    const whole = await follow(id);
    const cut = await follow(id, { cut: 12 });
    assert.ok(cut.connections.length > 1, "it reconnected");
    assert.ok(cut.connections.slice(1).every((last) => last.startsWith(`${id}.`)), cut.connections.join());
    assert.deepEqual([cut.text, cut.ids], [whole.text, whole.ids]);
  },

  "stop ends the stream with cancelled": async () => {
    const id = await start("tokens=2000&rate=20");
    const following = follow(id);
    await fetch(`${baseURL}/v1/generations/${id}/cancel`, { method: "POST" });
    const { ending } = await following;
    assert.deepEqual([ending.name, ending.reason], ["cancelled", "client_request"]);
  },
});
