// Who is in the room, by the names that they tell each other, and who is typing.
import { publish, type Connected } from "./channel";
import { byId } from "./dom";
import { attempt } from "./status";

const TELL_TYPING_MS = 2_000;
const SHOW_TYPING_MS = 3_000;

export class People {
  readonly #names = new Map<string, string>();
  readonly #typing = new Map<string, number>();
  #self = "";
  #greeted: Promise<void> = Promise.resolve();
  #toldTyping = -Infinity;

  constructor(private readonly room: string) {}

  /** Each connection is a new one, and is told who is there. */
  connected({ connection, present = [] }: Connected, name: string): void {
    this.#self = connection;
    this.#names.clear();
    for (const other of present) this.#names.set(other.connection, "");
    this.renamed(name);
  }

  /** The service knows connections; a name is what its page says that it is. The first connection sends it later. */
  renamed(name: string): void {
    if (this.#self === "") return;
    this.learn(this.#self, name);
    this.#greet(name);
  }

  joined(connection: string, name: string): void {
    this.learn(connection, "");
    this.#greet(name, { connection });
  }

  /** One at a time: of two requests at once, the later one may arrive first, and an old name would stay. */
  #greet(name: string, to?: { connection: string }): void {
    const hello = { connection: this.#self, name };
    const greeting = { event: "hello", data: hello, ephemeral: true, ...(to && { to }) } as const;
    this.#greeted = this.#greeted.then(() => attempt(() => publish(this.room, greeting)));
  }

  left(connection: string): void {
    this.#names.delete(connection);
    this.#show();
  }

  learn(connection: string, name: string): void {
    this.#names.set(connection, name);
    this.#show();
  }

  /** Tells the others, though not with each key. */
  typing(name: string): void {
    if (performance.now() - this.#toldTyping < TELL_TYPING_MS) return;
    this.#toldTyping = performance.now();
    attempt(() => publish(this.room, { event: "typing", data: { name }, ephemeral: true }));
  }

  /** What is typed next is another message. */
  sent(): void {
    this.#toldTyping = -Infinity;
  }

  types(name: string): void {
    clearTimeout(this.#typing.get(name));
    this.#typing.set(name, setTimeout(() => this.stoppedTyping(name), SHOW_TYPING_MS));
    this.#showTyping();
  }

  stoppedTyping(name: string): void {
    clearTimeout(this.#typing.get(name));
    this.#typing.delete(name);
    this.#showTyping();
  }

  #show(): void {
    byId("presence").textContent = String(this.#names.size);
    byId("people").textContent = [...this.#names.values()].map((name) => name || "somebody").join(", ");
  }

  #showTyping(): void {
    const names = [...this.#typing.keys()];
    byId("typing").textContent = names.length === 0 ? "" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing`;
  }
}
