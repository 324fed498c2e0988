// The key, where the service wants one. Of this tab alone, and never in its address.
import { byId } from "./dom";

const STORED = "tokenrill-key";
const field = byId<HTMLInputElement>("key");
const row = byId("key-row");

field.value = sessionStorage.getItem(STORED) ?? "";

/** Offers the field. Most services of a newcomer want no key, so it is not there before one is asked for. */
export function askForKey(given: () => void): void {
  row.hidden = false;
  const keep = (): void => {
    sessionStorage.setItem(STORED, field.value.trim());
    given();
  };
  // Several may wait for it.
  field.addEventListener("change", keep, { once: true });
}

/** The header that shows the key; none without one. */
export function credential(): Record<string, string> {
  const key = field.value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}
