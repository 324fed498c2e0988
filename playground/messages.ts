// The messages of a room: what people said, and answers that grow while they are read.
import { appendText, byId, make } from "./dom";

/** One message for a model. */
export interface Turn {
  role: "user" | "assistant";
  content: string;
}

/** What the events of an answer have in their data: which of it depends on the event. */
export interface AnswerData {
  generation?: string;
  model?: string;
  text?: string;
  finish_reason?: string;
  reason?: string;
  error?: { title: string };
}

interface Answer {
  item: HTMLElement;
  text: HTMLElement;
  note: HTMLElement;
  stop: HTMLButtonElement;
}

export class Messages {
  readonly #list = byId("messages");
  readonly #answers = new Map<string, Answer>();
  readonly #turns: (() => Turn)[] = [];

  constructor(private readonly stop: (generation: string) => void) {}

  say(id: string, name: string, text: string): void {
    this.#add("said", id, name).append(make("p", text, "text"));
    this.#turns.push(() => ({ role: "user", content: `${name}: ${text}` }));
  }

  answer(event: string, data: AnswerData): void {
    const generation = data.generation ?? "";
    const answer = this.#answers.get(generation) ?? this.#begin(generation, data.model ?? "the model");
    switch (event) {
      case "reasoning":
        answer.note.textContent = "thinking";
        return;
      case "delta":
        answer.note.textContent = "";
        return appendText(answer.text, data.text ?? "");
      case "restart":
        answer.text.replaceChildren();
        answer.note.textContent = "begun anew";
        return;
      case "done":
        return end(answer, event, data.finish_reason === "stop" ? "" : `ended: ${data.finish_reason}`);
      case "cancelled":
        return end(answer, event, `stopped: ${data.reason}`);
      case "failed":
        return end(answer, event, `failed: ${data.error?.title}`);
    }
  }

  /** The last of them that have a text, as a model takes them. */
  last(most: number): Turn[] {
    return this.#turns.map((turn) => turn()).filter(({ content }) => content !== "").slice(-most);
  }

  #begin(generation: string, model: string): Answer {
    const item = this.#add("running", generation, model);
    item.ariaBusy = "true";
    const stop = make("button", "Stop");
    stop.type = "button";
    stop.addEventListener("click", () => this.stop(generation));
    const answer = { item, text: make("p", "", "text"), note: make("small"), stop };
    item.append(answer.text, answer.note, stop);
    this.#answers.set(generation, answer);
    this.#turns.push(() => ({ role: "assistant", content: answer.text.textContent }));
    return answer;
  }

  #add(state: string, id: string, author: string): HTMLElement {
    const item = make("li");
    item.dataset.id = id;
    item.dataset.state = state;
    item.append(make("b", author));
    this.#list.append(item);
    return item;
  }
}

function end({ item, note, stop }: Answer, state: string, said: string): void {
  item.dataset.state = state;
  item.ariaBusy = "false";
  note.textContent = said;
  stop.remove();
}
