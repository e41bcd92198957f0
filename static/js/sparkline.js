// A line of the last minute.

const POINTS = 60;
const WIDTH = 120;
const HEIGHT = 36;

/** Draws into an SVG that holds a polyline and a polygon. */
export class Sparkline {
  #values = [];
  #line;
  #area;

  constructor(svg) {
    this.#line = svg.querySelector("polyline");
    this.#area = svg.querySelector("polygon");
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const count = this.#values.length;
    if (count < 2) return;
    const top = Math.max(...this.#values) * 1.15 || 1;
    const step = WIDTH / (POINTS - 1);
    const left = WIDTH - (count - 1) * step;
    const points = this.#values
      .map((value, index) => `${(left + index * step).toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`)
      .join(" ");
    this.#line.setAttribute("points", points);
    this.#area.setAttribute("points", `${left.toFixed(1)},${HEIGHT} ${points} ${WIDTH},${HEIGHT}`);
  }
}
