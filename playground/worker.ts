// Plays what would be a program on a server: it works for a while and tells how far it is.
import { publish } from "./channel";

export interface Progress {
  task: string;
  done: number;
  total: number;
  note: string;
}

const TOTAL = 50;
const STEP_MS = 200;

/** Which task this tab works on, so that it goes on with it after a reload. */
const WORKS_ON = "tokenrill-works-on";

export class Worker {
  #working = new AbortController();
  #task = "";

  async begin(task: string): Promise<void> {
    sessionStorage.setItem(WORKS_ON, task);
    await this.#work(task, 0);
  }

  /** Goes on with a task of this tab that nobody works on since the page was loaded again. */
  async resume({ task, done }: Progress): Promise<void> {
    if (sessionStorage.getItem(WORKS_ON) === task && this.#task !== task) await this.#work(task, done);
  }

  stop(task: string): void {
    if (this.#task === task) this.#working.abort();
  }

  async #work(task: string, done: number): Promise<void> {
    this.#task = task;
    this.#working.abort();
    const { signal } = (this.#working = new AbortController());
    const tell = (event: string, note: string): Promise<void> =>
      publish(`progress-${task}`, { event, data: { task, done, total: TOTAL, note } });

    // By the clock, for a hidden page is given few turns.
    const began = Date.now() - done * STEP_MS;
    while (done < TOTAL && !signal.aborted) {
      // A step that could not be told is told by the next.
      await tell("progress", `step ${done + 1} of ${TOTAL}`).catch(console.error);
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
      done = Math.min(TOTAL, Math.floor((Date.now() - began) / STEP_MS));
    }
    try {
      await tell("finished", signal.aborted ? "cancelled" : "finished");
    } finally {
      if (this.#task === task) {
        this.#task = "";
        sessionStorage.removeItem(WORKS_ON);
      }
    }
  }
}
