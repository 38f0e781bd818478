"use strict";
// The map: galaxies per pixel, or the mean of a column there; zoomed, dragged, clicked, encircled.

/** @typedef {{x: number, y: number}} Place A place on a map, each axis from 0 to 65534. */

const STOPS = {
  dark: [[20, 24, 34], [38, 62, 120], [45, 130, 150], [120, 190, 120], [250, 230, 120]],
  light: [[236, 239, 244], [160, 200, 225], [85, 150, 195], [40, 85, 150], [25, 25, 80]],
};
const FULL = 65534;

class SkyMap {
  constructor(/** @type {HTMLCanvasElement} */ canvas, /** @type {HTMLCanvasElement} */ overlay) {
    this.canvas = canvas;
    this.overlay = overlay;
    /** @type {View | null} */
    this.view = null;
    this.centre = { x: FULL / 2, y: FULL / 2 };
    /** Pixels of the screen for each step of the map, across; up it is the same over `wide`. */
    this.zoom = 0.01;
    /** @type {Values} Places of all galaxies, once they are needed. */
    this.xs = new Uint16Array(0);
    /** @type {Values} */
    this.ys = this.xs;
    /** @type {Uint8Array} Density of the whole map: all that is needed at first. */
    this.grid = new Uint8Array(0);
    this.fitted = 0;
    /** @type {{number: number, values: Values} | null} */
    this.colour = null;
    /** @type {Place[]} */
    this.line = [];
    this.isLasso = false;
    /** @type {(at: Place) => void} */
    this.onClick = () => {};
    /** @type {(line: Place[]) => void} */
    this.onLasso = () => {};
    this.onMove = () => {};
    this.listen();
  }

  /** Show another view: its density first, its galaxies when they are needed. */
  async show(/** @type {View} */ view) {
    const grid = new Uint8Array(view.edges ? meta.grid * meta.grid : 0);
    if (view.edges) decode(await densities.get(`density/${meta.views.indexOf(view)}`), grid);
    for (const one of [...used]) if (meta.columns[one].kind === "place") used.delete(one);
    [this.view, this.grid, this.xs, this.ys] = [view, grid, new Uint16Array(0), new Uint16Array(0)];
    this.fit();
  }

  /** Load the places of all galaxies; both columns stay loaded. */
  async load() {
    const view = this.view;
    if (!view || this.xs.length) return;
    const numbers = ["x", "y"].map((axis) => numberOf(`${axis}:${view.name}`));
    const [xs, ys] = await Promise.all(numbers.map(column));
    // Meanwhile another view may be shown.
    if (this.view !== view) return;
    for (const one of numbers) used.add(one);
    [this.xs, this.ys] = [xs, ys];
  }

  /** Show all of the map that has galaxies. */
  fit() {
    const view = this.view;
    if (!view) return;
    const [left, right, low, high] = view.edges ?? [0, FULL, 0, FULL];
    this.centre = { x: (left + right) / 2, y: (low + high) / 2 };
    const across = this.canvas.clientWidth / Math.max(right - left, 8);
    const up = (this.canvas.clientHeight * view.wide) / Math.max(high - low, 8);
    this.zoom = this.fitted = 0.94 * Math.min(across, up);
  }

  /** Place of a point of the canvas. */
  placeOf(/** @type {number} */ left, /** @type {number} */ top) {
    const wide = this.view?.wide ?? 1;
    return {
      x: this.centre.x + (left - this.canvas.clientWidth / 2) / this.zoom,
      y: this.centre.y - ((top - this.canvas.clientHeight / 2) / this.zoom) * wide,
    };
  }

  /** Points across and up of a drawing of so many galaxies: the fewer, the larger they are. */
  cells(/** @type {number} */ count) {
    const cell = count < 3000 ? 5 : count < 60000 ? 3 : count < 6e5 ? 2 : 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    return { cell, width: Math.max(Math.floor(width / cell), 1), height: Math.max(Math.floor(height / cell), 1) };
  }

  /** Draw the galaxies that match; of the whole map, when all do, its density. */
  draw(/** @type {Choice} */ choice) {
    if (!this.xs.length) {
      if (!choice.criteria.size && !this.colour) this.drawGrid();
      if (choice.criteria.size || this.colour || this.zoom > 1.2 * this.fitted) {
        guard(() => this.load().then(() => this.xs.length && this.draw(choice)));
      }
      return;
    }
    const { width, height, cell } = this.cells(choice.count);
    const counts = new Uint32Array(width * height);
    const sums = this.colour ? new Float64Array(width * height) : null;
    const corner = this.placeOf(0, 0);
    const across = this.zoom / cell;
    const up = across / (this.view?.wide ?? 1);
    const { xs, ys } = this;
    const fails = choice.fails;
    if (this.colour && sums) {
      const { number, values } = this.colour;
      const absent = unknown(meta.columns[number]);
      for (let i = 0; i < xs.length; i++) {
        if (fails[i] !== 0 || xs[i] === UNKNOWN_PLACE || values[i] === absent) continue;
        const left = (xs[i] - corner.x) * across;
        const top = (corner.y - ys[i]) * up;
        if (left < 0 || left >= width || top < 0 || top >= height) continue;
        const pixel = (top | 0) * width + (left | 0);
        counts[pixel]++;
        sums[pixel] += values[i];
      }
    } else {
      for (let i = 0; i < xs.length; i++) {
        if (fails[i] !== 0 || xs[i] === UNKNOWN_PLACE) continue;
        const left = (xs[i] - corner.x) * across;
        const top = (corner.y - ys[i]) * up;
        if (left < 0 || left >= width || top < 0 || top >= height) continue;
        counts[(top | 0) * width + (left | 0)]++;
      }
    }
    this.paint(width, height, counts, sums);
  }

  /** Draw the density of the whole map. */
  drawGrid() {
    const { width, height, cell } = this.cells(meta.galaxies);
    const counts = new Uint32Array(width * height);
    const [left, right, low, high] = this.view?.edges ?? [0, 0, 0, 0];
    const size = meta.grid;
    const corner = this.placeOf(0, 0);
    const across = this.zoom / cell;
    const up = across / (this.view?.wide ?? 1);
    const edges = Array.from({ length: size + 1 }, (_, k) => [
      Math.floor((left + ((right - left + 1) * k) / size - corner.x) * across),
      Math.floor((corner.y - low - ((high - low + 1) * k) / size) * up),
    ]);
    const scale = Math.log1p(this.view?.most ?? 1) / 255;
    for (let i = 0; i < this.grid.length; i++) {
      if (this.grid[i] === 0) continue;
      const count = Math.round(Math.expm1(this.grid[i] * scale));
      const [column, row] = [i % size, Math.floor(i / size)];
      const [from, top] = [edges[column][0], edges[row + 1][1]];
      // Cells that are smaller than a point are added up in it.
      const [to, bottom] = [Math.max(edges[column + 1][0], from + 1), Math.max(edges[row][1], top + 1)];
      for (let y = Math.max(top, 0); y < Math.min(bottom, height); y++) {
        for (let x = Math.max(from, 0); x < Math.min(to, width); x++) counts[y * width + x] += count;
      }
    }
    this.paint(width, height, counts, null);
  }

  paint(
    /** @type {number} */ width,
    /** @type {number} */ height,
    /** @type {Uint32Array} */ counts,
    /** @type {Float64Array | null} */ sums,
  ) {
    let most = 1;
    for (let i = 0; i < counts.length; i++) if (counts[i] > most) most = counts[i];
    const table = colourTable();
    const picture = new ImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    const [low, high] = this.colour ? middle(meta.columns[this.colour.number]) : [0, 1];
    const scale = 1 / Math.log1p(most);
    for (let i = 0; i < counts.length; i++) {
      if (counts[i] === 0) continue;
      const share = sums
        ? (sums[i] / counts[i] - low) / (high - low || 1)
        : 0.25 + 0.75 * Math.log1p(counts[i]) * scale;
      pixels[i] = table[Math.max(0, Math.min(255, Math.round(share * 255)))];
    }
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.getContext("2d")?.putImageData(picture, 0, 0);
  }

  /** Draw the lasso. */
  drawLine() {
    const { overlay } = this;
    overlay.width = overlay.clientWidth;
    overlay.height = overlay.clientHeight;
    const context = overlay.getContext("2d");
    if (!context || this.line.length < 2) return;
    const wide = this.view?.wide ?? 1;
    context.strokeStyle = "#e8590c";
    context.fillStyle = "#e8590c22";
    context.lineWidth = 2;
    context.beginPath();
    for (const place of this.line) {
      const left = (place.x - this.centre.x) * this.zoom + overlay.width / 2;
      context.lineTo(left, ((this.centre.y - place.y) * this.zoom) / wide + overlay.height / 2);
    }
    context.closePath();
    context.fill();
    context.stroke();
  }

  /** Zoom in or out; a point of the canvas, by default the middle, stays where it is. */
  zoomBy(/** @type {number} */ factor, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    const before = this.placeOf(left, top);
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.003), 50);
    const after = this.placeOf(left, top);
    this.centre.x += before.x - after.x;
    this.centre.y += before.y - after.y;
    this.onMove();
  }

  /** Move by pixels of the screen. */
  moveBy(/** @type {number} */ left, /** @type {number} */ top) {
    this.centre.x -= left / this.zoom;
    this.centre.y += (top / this.zoom) * (this.view?.wide ?? 1);
    this.onMove();
  }

  listen() {
    const target = this.overlay;
    /** @type {{x: number, y: number, far: boolean} | null} */
    let held = null;
    /** Where each finger is. @type {Map<number, {x: number, y: number}>} */
    const fingers = new Map();
    target.addEventListener("pointerdown", (event) => {
      target.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      if (fingers.size > 1) {
        held = null;
        this.line = [];
        return;
      }
      held = { x: event.offsetX, y: event.offsetY, far: false };
      if (this.isLasso || event.shiftKey) this.line = [this.placeOf(held.x, held.y)];
    });
    target.addEventListener("pointermove", (event) => {
      if (fingers.has(event.pointerId)) this.pinch(fingers, event);
      if (!held) return;
      const [dx, dy] = [event.offsetX - held.x, event.offsetY - held.y];
      if (!held.far && Math.hypot(dx, dy) < 4) return;
      held.far = true;
      if (this.isLasso || event.shiftKey) {
        this.line.push(this.placeOf(event.offsetX, event.offsetY));
        this.drawLine();
        return;
      }
      this.moveBy(dx, dy);
      [held.x, held.y] = [event.offsetX, event.offsetY];
    });
    target.addEventListener("pointerup", (event) => {
      fingers.delete(event.pointerId);
      const was = held;
      held = null;
      if (!was) return;
      if (!was.far) this.onClick(this.placeOf(event.offsetX, event.offsetY));
      else if (this.line.length > 2 && (this.isLasso || event.shiftKey)) this.onLasso(this.line);
    });
    target.addEventListener("pointercancel", (event) => {
      fingers.delete(event.pointerId);
      held = null;
    });
    target.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    target.addEventListener("keydown", (event) => this.key(event));
  }

  /** Follow a finger; two of them zoom, and move what is between them. */
  pinch(/** @type {Map<number, {x: number, y: number}>} */ fingers, /** @type {PointerEvent} */ event) {
    const before = [...fingers.values()];
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (fingers.size !== 2) return;
    const [was, is] = [before, [...fingers.values()]].map(([one, other]) => ({
      x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, wide: Math.hypot(one.x - other.x, one.y - other.y),
    }));
    this.moveBy(is.x - was.x, is.y - was.y);
    this.zoomBy(is.wide / Math.max(was.wide, 1), is.x, is.y);
  }

  key(/** @type {KeyboardEvent} */ event) {
    const step = 60;
    /** @type {Record<string, () => void>} */
    const does = {
      ArrowLeft: () => this.moveBy(step, 0),
      ArrowRight: () => this.moveBy(-step, 0),
      ArrowUp: () => this.moveBy(0, step),
      ArrowDown: () => this.moveBy(0, -step),
      "+": () => this.zoomBy(1.4),
      "=": () => this.zoomBy(1.4),
      "-": () => this.zoomBy(1 / 1.4),
      0: () => { this.fit(); this.onMove(); },
      Enter: () => this.onClick({ ...this.centre }),
    };
    if (!does[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    does[event.key]();
  }
}

/** Codes between which nearly all galaxies lie: the colours end there. */
function middle(/** @type {Column} */ own) {
  const top = own.kind === "yesno" ? 1 : 2 * own.count;
  if (own.kind !== "number") return [0, top];
  const all = own.counts.reduce((sum, one) => sum + one, 0);
  let [low, high, sum] = [0, own.counts.length, 0];
  own.counts.forEach((count, bin) => {
    if (sum < 0.02 * all) low = bin;
    if (sum < 0.98 * all) high = bin + 1;
    sum += count;
  });
  return [(low / own.counts.length) * top, (high / own.counts.length) * top];
}

function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** 256 colours, as the numbers that a picture's memory holds. */
function colourTable() {
  const stops = isDark() ? STOPS.dark : STOPS.light;
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const from = Math.min(Math.floor(at), stops.length - 2);
    const [r, g, b] = [0, 1, 2].map((part) =>
      Math.round(stops[from][part] + (stops[from + 1][part] - stops[from][part]) * (at - from)));
    table[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return table;
}
