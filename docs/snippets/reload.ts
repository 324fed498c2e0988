// A page that is reloaded in mid-answer goes on where it was.
import { ask, type Ending, type Reader } from "./ask";
import { follow } from "./follow";
import type { NewGeneration } from "../../openapi/tokenrill";

/** Of this tab alone, and gone with it. Use the conversation's record where other devices are to find it. */
const KEY = "tokenrill-generation";

/** Asks, and remembers which answer it is. */
export async function askAndRemember(service: string, request: NewGeneration, reader: Reader): Promise<Ending> {
  const remembering = { ...reader, started: (generation: string) => sessionStorage.setItem(KEY, generation) };
  const ending = await ask(service, request, remembering);
  sessionStorage.removeItem(KEY);
  return ending;
}

/** Call it when the page is loaded. `false` where there is nothing to go on with. */
export function goOn(service: string, show: (text: string) => void, ended: (ending: Ending) => void): boolean {
  const generation = sessionStorage.getItem(KEY);
  if (!generation) return false;
  follow(service, generation, show, (ending) => {
    sessionStorage.removeItem(KEY);
    ended(ending);
  });
  return true;
}
