// The list of notifications, newest first, and which of them are read: in this browser, for all its tabs.
import { byId, make } from "./dom";

export interface Notification {
  title: string;
  text: string;
  level: "info" | "warning" | "error";
}

/** The id of the newest one that is read. */
const READ = "tokenrill-feed-read";

export class Notifications {
  readonly #list = byId("notifications");
  readonly #unread = byId("unread");
  readonly #title = document.title;

  constructor() {
    addEventListener("storage", ({ key }) => {
      if (key === READ) this.#applyRead();
    });
  }

  add({ title, text, level }: Notification, id: string): void {
    const item = make("li", "", "unread");
    item.dataset.id = id;
    item.dataset.level = level;
    item.append(make("b", level), make("strong", title), make("p", text));
    this.#list.prepend(item);
    this.#applyRead();
  }

  markRead(): void {
    const newest = this.#list.querySelector<HTMLElement>("li");
    if (newest) localStorage.setItem(READ, newest.dataset.id ?? "");
    this.#applyRead();
  }

  /** What came up to the one that was read is read as well. */
  #applyRead(): void {
    const items = [...this.#list.querySelectorAll("li")];
    const read = items.findIndex(({ dataset }) => dataset.id === localStorage.getItem(READ));
    if (read >= 0) for (const item of items.slice(read)) item.className = "";
    const unread = items.filter(({ className }) => className === "unread").length;
    document.title = unread > 0 ? `(${unread}) ${this.#title}` : this.#title;
    this.#unread.textContent = unread > 0 ? `${unread} unread` : "";
  }
}
