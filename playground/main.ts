// The playground: one prompt, one answer, and every event of it.
import { Answer } from "./answer";
import { asCurl } from "./curl";
import { byId } from "./dom";
import type { GenerationRequest } from "./generation";
import { Meters } from "./meters";
import { offerModels } from "./models";
import { RawEvents } from "./raw_events";
import { Run } from "./run";

const form = byId<HTMLFormElement>("form");
const prompt = byId<HTMLTextAreaElement>("prompt");
const model = byId<HTMLInputElement>("model");
const send = byId("send");
const stop = byId("stop");
const copy = byId("copy");
const curl = byId("curl");

const answer = new Answer();
const events = new RawEvents();
const meters = new Meters();

let running: Run | null = null;

function request(): GenerationRequest {
  const name = model.value.trim();
  return name ? { input: prompt.value, model: name } : { input: prompt.value };
}

async function sendPrompt(): Promise<void> {
  if (running) return;
  running = new Run(answer, events, meters);
  offer(stop);
  await running.follow(request());
  running = null;
  offer(send);
}

async function stopAnswer(): Promise<void> {
  if (stop.ariaDisabled === "true") return;
  stop.ariaDisabled = "true";
  await running?.stop();
}

/** Exactly one of the two makes sense. Not `disabled`, which would take the focus away from who pressed it. */
function offer(button: HTMLElement): void {
  for (const one of [send, stop]) one.ariaDisabled = String(one !== button);
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
  void sendPrompt();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
stop.addEventListener("click", () => void stopAnswer());
copy.addEventListener("click", () => void copyAsCurl());

void offerModels(model);
