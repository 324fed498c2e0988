// One plot of the last hundred seconds: a line for each of its values, the scale from 0 to the highest.
import { make } from "./dom";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 100;
const HEIGHT = 40;
const SPAN_MS = 100_000;
/** Where a sample is missing, so is the line. */
const LONGEST_STEP_MS = 3_000;

interface Line<Sample> {
  of: (sample: Sample) => number | null;
  path: SVGPathElement;
  now: HTMLElement;
}

export class Plot<Sample> {
  readonly figure = make("figure", "", "card plot");
  readonly #top = make("span", "", "top");
  readonly #lines: Line<Sample>[] = [];
  #samples: { at: number; sample: Sample }[] = [];

  constructor(
    id: string,
    title: string,
    private readonly format: (value: number) => string,
    values: Record<string, (sample: Sample) => number | null>,
  ) {
    this.figure.id = `plot-${id}`;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(svg("path", { d: `M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`, class: "grid" }));
    const caption = make("figcaption", title);
    for (const [name, of] of Object.entries(values)) {
      const path = svg("path", { class: "line" });
      const now = make("b", "–");
      const key = make("span", name, "key");
      key.append(" ", now);
      caption.append(key);
      picture.append(path);
      this.#lines.push({ of, path, now });
    }
    this.figure.append(caption, this.#top, picture);
  }

  add(at: number, sample: Sample): void {
    this.#samples = [...this.#samples, { at, sample }].filter((one) => one.at >= at - SPAN_MS);
    const values = this.#samples.flatMap((one) => this.#lines.map(({ of }) => of(one.sample) ?? 0));
    const top = Math.max(1, ...values);
    this.#top.textContent = this.format(top);
    for (const line of this.#lines) {
      const now = line.of(sample);
      line.now.textContent = now === null ? "–" : this.format(now);
      line.path.setAttribute("d", this.#path(line, at, top));
    }
  }

  #path({ of }: Line<Sample>, end: number, top: number): string {
    let path = "";
    let before = -Infinity;
    for (const { at, sample } of this.#samples) {
      const value = of(sample);
      if (value === null) continue;
      const x = WIDTH * (1 - (end - at) / SPAN_MS);
      const y = HEIGHT - 0.5 - (HEIGHT - 1) * (value / top);
      path += `${at - before > LONGEST_STEP_MS ? "M" : "L"}${x.toFixed(2)} ${y.toFixed(2)}`;
      before = at;
    }
    return path;
  }
}

function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Record<string, string>): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
