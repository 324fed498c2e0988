// The progress of a long task: its worker publishes, every page that knows the task's id follows.
import { publish, subscribe } from "./channel";
import { byId } from "./dom";
import { attempt, showState } from "./status";
import { Worker, type Progress } from "./worker";

const bar = byId<HTMLProgressElement>("bar");
const cancel = byId("cancel");
const note = byId("note");
const percent = byId("percent");
const second = byId<HTMLAnchorElement>("second");
const worker = new Worker();

let following = new AbortController();

/** The channel keeps what was said last, so who comes late or again has the state at once. */
function follow(): void {
  const task = location.hash.slice(1);
  following.abort();
  following = new AbortController();
  show({ task, done: 0, total: 1, note: "" }, false);
  if (task === "") return;
  const { signal } = following;
  subscribe<Progress>(`progress-${task}`, { history: 1, stay: true, signal }, heard, showState);
}

function heard(event: string, data: Progress): void {
  if (event === "progress") attempt(() => worker.resume(data));
  if (event === "cancel") worker.stop(data.task);
  if (event === "progress" || event === "finished") show(data, event === "progress");
}

function show({ task, done, total, note: said }: Progress, running: boolean): void {
  byId("task").textContent = task || "none yet";
  bar.value = Math.round((100 * done) / total);
  percent.textContent = `${bar.value} %`;
  note.textContent = said;
  cancel.ariaDisabled = String(!running);
  second.href = location.href;
  second.hidden = task === "";
}

byId("start").addEventListener("click", () => {
  const task = crypto.randomUUID().slice(0, 8);
  location.hash = task;
  attempt(() => worker.begin(task));
});
cancel.addEventListener("click", () => {
  if (cancel.ariaDisabled === "true") return;
  const task = location.hash.slice(1);
  // For the worker, wherever it is.
  attempt(() => publish(`progress-${task}`, { event: "cancel", data: { task }, ephemeral: true }));
});
addEventListener("hashchange", follow);
follow();
