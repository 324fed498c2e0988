/** The element of the page with this id. The page and the script are built together, so it is there. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** A new element that holds this text. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = "", className = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Adds to the element's one text node, so that a long answer does not become thousands of nodes. */
export function appendText(target: HTMLElement, text: string): void {
  if (target.firstChild instanceof Text) target.firstChild.appendData(text);
  else target.append(text);
}
