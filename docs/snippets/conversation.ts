// A conversation: the page keeps the messages, and sends all of them with each question.
import { ask, type Asking, type Ending, type Reader } from "./ask";

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

export class Conversation {
  /** What has been said. Store it to continue another day. */
  messages: Message[] = [];

  constructor(
    readonly service: string,
    /** Such as `{ model: "fast", temperature: 0.2 }`. */
    readonly parameters: { model?: string; temperature?: number } = {},
  ) {}

  /** Shows the answer's text as it grows. A failed turn leaves the messages as they were, a stopped one keeps what was said. */
  async say(text: string, reader: Reader, options: Asking = {}): Promise<Ending> {
    const messages: Message[] = [...this.messages, { role: "user", content: text }];
    let content = "";
    const keeping: Reader = {
      started: (generation) => reader.started?.(generation),
      show(answer) {
        content = answer;
        reader.show(answer);
      },
    };
    const ending = await ask(this.service, { ...this.parameters, messages }, keeping, options);
    if (ending.event !== "failed" && content !== "") this.messages = [...messages, { role: "assistant", content }];
    return ending;
  }
}
