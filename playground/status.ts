// What the page says of its connection, and of what went wrong.
import type { State } from "./channel";
import { byId } from "./dom";

const connection = byId("connection");
const problem = byId("problem");

export function showState(state: State): void {
  connection.dataset.state = state;
  connection.textContent = state;
}

/** Does it, and says so where that fails. */
export function attempt(what: () => Promise<void>): Promise<void> {
  problem.textContent = "";
  return what().catch((error: unknown) => {
    problem.textContent = error instanceof Error ? error.message : String(error);
  });
}
