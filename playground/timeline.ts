// When the parts of an answer arrived: their number over time, and where a connection was lost.
import { byId } from "./dom";

const MARGIN = 6;

export class Timeline {
  readonly #canvas = byId<HTMLCanvasElement>("timeline");
  readonly #caption = byId("timeline-caption");
  #arrivals: number[] = [];
  #losses: number[] = [];
  #end = 0;
  #drawing = false;

  constructor() {
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  begin(): void {
    this.#arrivals = [];
    this.#losses = [];
    this.#end = 0;
    this.#draw();
  }

  arrived(at: number): void {
    this.#arrivals.push(at);
    this.#draw();
  }

  lost(at: number): void {
    this.#losses.push(at);
    this.#draw();
  }

  end(at: number): void {
    this.#end = at;
    this.#draw();
  }

  /** At most once a frame, however many arrive. */
  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#paint();
    });
  }

  #paint(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    context.scale(scale, scale);
    const colour = (name: string): string => getComputedStyle(this.#canvas).getPropertyValue(name);
    const count = this.#arrivals.length;
    const last = Math.max(this.#end, this.#arrivals.at(-1) ?? 0, this.#losses.at(-1) ?? 0, 1);
    const x = (at: number): number => MARGIN + (at / last) * (width - 2 * MARGIN);
    const y = (parts: number): number => height - MARGIN - (parts / Math.max(count, 1)) * (height - 2 * MARGIN);

    context.strokeStyle = getComputedStyle(this.#canvas).color;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x(0), y(0));
    for (const [before, at] of this.#arrivals.entries()) {
      context.lineTo(x(at), y(before));
      context.lineTo(x(at), y(before + 1));
    }
    context.lineTo(x(last), y(count));
    context.stroke();

    context.strokeStyle = colour("border-left-color");
    context.setLineDash([3, 3]);
    for (const at of this.#losses) {
      context.beginPath();
      context.moveTo(x(at), MARGIN);
      context.lineTo(x(at), height - MARGIN);
      context.stroke();
    }
    const lost = this.#losses.length;
    const losses = lost === 0 ? "" : `, the connection lost ${lost === 1 ? "once" : `${lost} times`}`;
    this.#caption.textContent = count === 0 ? "Arrivals over time" : `${count} parts in ${(last / 1000).toFixed(1)} s${losses}`;
  }
}
