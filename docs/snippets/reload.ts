// A page that is reloaded in mid-answer continues where it was.
import type { NewGeneration } from "../../openapi/tokenrill";
import type { Access } from "./access";
import { ask, type Asking, type Ending, type Reader } from "./ask";
import { keepFollowing, type PatientViewer } from "./ticket";

/** Of this tab alone, and gone with it. Use the conversation's record where other devices are to find it. */
const KEY = "tokenrill-generation";

/** Asks, and remembers which answer it is. */
export async function askAndRemember(service: string, request: NewGeneration, reader: Reader, options: Asking = {}): Promise<Ending> {
  const remembering: Reader = {
    show: (text) => reader.show(text),
    started(generation) {
      sessionStorage.setItem(KEY, generation);
      reader.started?.(generation);
    },
  };
  const ending = await ask(service, request, remembering, options);
  sessionStorage.removeItem(KEY);
  return ending;
}

/** Call it when the page is loaded. Returns `false` if there is no answer to continue with. */
export function goOn(service: string, viewer: PatientViewer, access: Access = {}): boolean {
  const generation = sessionStorage.getItem(KEY);
  if (!generation) return false;
  const forgetting: PatientViewer = {
    show: (text) => viewer.show(text),
    ended(ending) {
      sessionStorage.removeItem(KEY);
      viewer.ended(ending);
    },
    // The service has restarted, or kept the answer as long as it does: the next load must not ask again.
    gone() {
      sessionStorage.removeItem(KEY);
      viewer.gone();
    },
  };
  keepFollowing(service, generation, forgetting, access);
  return true;
}
