// The playground: one prompt, one answer, and every event of it.
import { Answer } from "./answer";
import { asCurl } from "./curl";
import { byId } from "./dom";
import type { GenerationRequest, Source } from "./generation";
import { Meters } from "./meters";
import { offerModels } from "./models";
import { RawEvents } from "./raw_events";
import { Run } from "./run";
import { Timeline } from "./timeline";

const form = byId<HTMLFormElement>("form");
const prompt = byId<HTMLTextAreaElement>("prompt");
const model = byId<HTMLInputElement>("model");
const send = byId("send");
const stop = byId("stop");
const drop = byId("drop");
const second = byId<HTMLAnchorElement>("second");
const copy = byId("copy");
const curl = byId("curl");

const answer = new Answer();
const events = new RawEvents();
const meters = new Meters();
const timeline = new Timeline();

let running: Run | null = null;

function request(): GenerationRequest {
  const name = model.value.trim();
  return name ? { input: prompt.value, model: name } : { input: prompt.value };
}

async function run(source: Source): Promise<void> {
  if (running) return;
  running = new Run(source, answer, events, meters, timeline, remember);
  offer(stop);
  await running.follow();
  running = null;
  offer(send);
}

/** Where the page can be found again: by a reload, and by a second tab. */
const PARAMETER = "generation";

/** The answer's id stands in the address, so that a reload goes on with it and another tab can follow it. */
function remember(generation: string): void {
  const address = new URL(location.href);
  address.searchParams.set(PARAMETER, generation);
  history.replaceState(null, "", address);
  second.href = address.href;
  second.hidden = false;
}

function sendPrompt(): void {
  void run({ start: request() });
}

async function stopAnswer(): Promise<void> {
  if (stop.ariaDisabled === "true") return;
  stop.ariaDisabled = "true";
  await running?.stop();
}

/** Exactly one of sending and stopping makes sense, and a connection can be dropped while there is one. Not `disabled`, which would take the focus away from who pressed it. */
function offer(button: HTMLElement): void {
  for (const one of [send, stop]) one.ariaDisabled = String(one !== button);
  drop.ariaDisabled = stop.ariaDisabled;
}

async function copyAsCurl(): Promise<void> {
  const command = asCurl(request());
  curl.hidden = true;
  try {
    await navigator.clipboard.writeText(command);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy as curl"), 1_500);
  } catch {
    // No clipboard here (it needs HTTPS or localhost): leave the command selected instead.
    curl.textContent = command;
    curl.hidden = false;
    getSelection()?.selectAllChildren(curl);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sendPrompt();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
stop.addEventListener("click", () => void stopAnswer());
drop.addEventListener("click", () => running?.drop());
copy.addEventListener("click", () => void copyAsCurl());

void offerModels(model);
const generation = new URL(location.href).searchParams.get(PARAMETER);
if (generation) void run({ generation });
