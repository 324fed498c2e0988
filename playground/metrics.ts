// The service's own figures, each second, with the last hundred of them at once.
import { subscribe } from "./channel";
import { byId } from "./dom";
import { Plot } from "./plot";
import { showState } from "./status";

interface Metrics {
  time: string;
  streams: number;
  generations: { running: number; waiting: number; done: number; cancelled: number; failed: number };
  tokens_per_second: number;
  first_token_ms: { p50: number | null; p95: number | null };
  refusals: number;
  memory_bytes: number | null;
  event_log_bytes: number;
}

const whole = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: 0 });
const milliseconds = (value: number): string => `${whole(value)} ms`;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const plots = [
  new Plot<Metrics>("tokens", "Tokens per second", whole, { "all answers": (now) => now.tokens_per_second }),
  new Plot<Metrics>("streams", "At this moment", whole, {
    streams: (now) => now.streams,
    "running generations": (now) => now.generations.running,
  }),
  new Plot<Metrics>("first-token", "Time to first token", milliseconds, {
    p50: (now) => now.first_token_ms.p50,
    p95: (now) => now.first_token_ms.p95,
  }),
  new Plot<Metrics>("memory", "Memory", mebibytes, { resident: (now) => now.memory_bytes }),
];
byId("plots").append(...plots.map(({ figure }) => figure));

subscribe<Metrics>(
  "system.metrics",
  { history: 100 },
  (event, now) => {
    if (event !== "metrics") return;
    for (const plot of plots) plot.add(Date.parse(now.time), now);
    showFigures(now);
  },
  showState,
);

function showFigures({ generations, ...now }: Metrics): void {
  const figure = (id: string, value: number | null, format = whole): void => {
    byId(id).textContent = value === null ? "–" : format(value);
  };
  figure("tokens-per-second", now.tokens_per_second);
  figure("streams", now.streams);
  figure("p50", now.first_token_ms.p50, milliseconds);
  figure("refusals", now.refusals);
  figure("memory", now.memory_bytes, mebibytes);
  figure("event-log", now.event_log_bytes, mebibytes);
  figure("running", generations.running);
  figure("waiting", generations.waiting);
  figure("done", generations.done);
  figure("cancelled", generations.cancelled);
  figure("failed", generations.failed);
}
