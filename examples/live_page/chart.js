// Lines of the last half minute, as SVG.

const SECONDS = 30;
const MARGIN = { left: 44, right: 10, top: 10, bottom: 24 };

const svg = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

export class Chart {
  received = 0;
  #root;
  #legend;
  #colours;
  #series = new Map();

  constructor(root, legend, colours) {
    this.#root = root;
    this.#legend = legend;
    this.#colours = colours;
    const draw = () => {
      this.#draw();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  /** Make room for a line; no effect where there is one of that name. */
  add(name) {
    if (this.#series.has(name)) return;
    const entry = document.createElement("div");
    entry.style.setProperty("--colour", this.#colours[name]);
    entry.innerHTML = "<strong>–</strong><span></span>";
    entry.lastChild.textContent = name;
    this.#legend.append(entry);
    this.#series.set(name, { points: [], label: entry.firstChild });
  }

  put(name, value) {
    const now = performance.now() / 1000;
    const { points, label } = this.#series.get(name);
    // A gap, not a line, where nothing came for a while.
    if (points.length > 0 && now - points.at(-1).time > 1) points.push({ time: now, value: null });
    points.push({ time: now, value });
    while (points[0].time < now - SECONDS - 1) points.shift();
    label.textContent = value.toFixed(2);
    this.received += 1;
  }

  #draw() {
    const { width, height } = this.#root.getBoundingClientRect();
    const values = [...this.#series.values()].flatMap(({ points }) => points.map(({ value }) => value ?? NaN));
    const known = values.filter((value) => !Number.isNaN(value));
    if (known.length === 0 || width === 0) return;
    const low = Math.floor((Math.min(...known) - 2) / 10) * 10;
    const high = Math.ceil((Math.max(...known) + 2) / 10) * 10;
    const now = performance.now() / 1000;
    const x = (time) => MARGIN.left + (1 - (now - time) / SECONDS) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    this.#root.replaceChildren(...this.#grid(low, high, width, height, x, y, now), ...this.#lines(x, y, now));
  }

  #grid(low, high, width, height, x, y, now) {
    const nodes = [];
    const step = high - low > 80 ? 20 : 10;
    for (let value = low; value <= high; value += step) {
      nodes.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
      nodes.push(text(value, { x: MARGIN.left - 10, y: y(value) + 4, "text-anchor": "end" }));
    }
    for (let ago = 0; ago <= SECONDS; ago += 10) {
      const label = ago === 0 ? "now" : `${ago} s`;
      const anchor = ago === 0 ? "end" : "middle";
      nodes.push(text(label, { x: x(now - ago), y: height - 4, "text-anchor": anchor }));
    }
    return nodes;
  }

  #lines(x, y, now) {
    const lines = [];
    for (const [name, { points }] of this.#series) {
      let line = [];
      for (const { time, value } of [...points.filter((point) => point.time > now - SECONDS), { value: null }]) {
        if (value !== null) line.push(`${x(time).toFixed(1)},${y(value).toFixed(1)}`);
        else if (line.length > 0) {
          lines.push(svg("polyline", { points: line.join(" "), stroke: this.#colours[name] }));
          line = [];
        }
      }
    }
    return lines;
  }
}

function text(content, attributes) {
  const node = svg("text", attributes);
  node.textContent = content;
  return node;
}
