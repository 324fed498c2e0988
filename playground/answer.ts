// What the model said, as text and never as markup.
import { appendText, byId, make } from "./dom";
import type { EventData, Problem } from "./generation";

interface ToolCall {
  name: HTMLElement;
  arguments: HTMLElement;
}

export class Answer {
  readonly #section = byId("answer");
  readonly #text = byId("answer-text");
  readonly #reasoning = byId<HTMLDetailsElement>("reasoning");
  readonly #reasoningText = byId("reasoning-text");
  readonly #tools = byId("tools");
  readonly #banner = byId("banner");
  readonly #calls = new Map<number, ToolCall>();

  begin(): void {
    this.#banner.replaceChildren();
    this.#clear();
    this.#section.setAttribute("aria-busy", "true");
  }

  /** Tells whether the event carried a part of the answer. */
  show(event: string, data: EventData): boolean {
    switch (event) {
      case "delta":
      case "refusal":
        // The page asks for one choice; another one's text must not be mixed into it.
        if (!data.choice) appendText(this.#text, data.text ?? "");
        return true;
      case "reasoning":
        this.#reasoning.hidden = false;
        appendText(this.#reasoningText, data.text ?? "");
        return true;
      case "tool_call":
        this.#showToolCall(data);
        return true;
      case "restart":
        // Another upstream begins anew: the answer so far is withdrawn.
        this.#clear();
        return false;
      default:
        return false;
    }
  }

  end(): void {
    this.#section.setAttribute("aria-busy", "false");
  }

  failed(problem: Problem): void {
    const { status, retryable, retry_after_ms, request_id, errors = [] } = problem;
    const facts = [
      status !== undefined && `HTTP ${status}`,
      retry_after_ms !== undefined ? `retry after ${retry_after_ms / 1000} s` : retryable && "may be retried",
      request_id && `request ${request_id}`,
    ];
    const reasons = errors.map((error) => (typeof error === "string" ? error : JSON.stringify(error)));
    this.#announce("failed", problem.title, problem.code, [
      problem.detail ?? "",
      ...reasons,
      facts.filter(Boolean).join(" · "),
    ]);
  }

  cancelled(reason: string): void {
    this.#announce("cancelled", "Cancelled", reason, ["The model was stopped; the text so far is kept."]);
  }

  #clear(): void {
    for (const shown of [this.#text, this.#reasoningText, this.#tools]) shown.replaceChildren();
    this.#calls.clear();
    this.#reasoning.hidden = true;
  }

  #announce(kind: "failed" | "cancelled", title: string, code: string, lines: string[]): void {
    const heading = make("p");
    heading.append(make("strong", title), " ", make("code", code));
    const notice = make("div", "", kind);
    notice.append(heading, ...lines.filter(Boolean).map((line) => make("p", line)));
    this.#banner.replaceChildren(notice);
  }

  #showToolCall({ index = 0, name, arguments: fragment = "" }: EventData): void {
    let call = this.#calls.get(index);
    if (!call) {
      call = { name: make("strong"), arguments: make("code") };
      this.#calls.set(index, call);
      const item = make("li");
      item.append(call.name, call.arguments);
      this.#tools.append(item);
    }
    if (name) call.name.textContent = name;
    appendText(call.arguments, fragment);
  }
}
