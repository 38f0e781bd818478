"use strict";
// Who is near: on a map, within a line drawn on it, or by what the images look like.

/** @typedef {{row: number, value: number}} Hit */

const UNKNOWN_PLACE = 65535;

/** Galaxies that match and are nearest to a place of a map, the nearest first. */
function nearest(
  /** @type {Values} */ xs,
  /** @type {Values} */ ys,
  /** @type {Uint32Array} */ fails,
  /** @type {{x: number, y: number}} */ at,
  /** @type {number} */ wide,
  /** @type {number} */ most,
) {
  const bins = new Uint32Array(4096);
  const scale = bins.length / Math.hypot(wide * UNKNOWN_PLACE, UNKNOWN_PLACE);
  // A radius within which there are twice as many, by some of the galaxies where there are many.
  const step = fails.length > 1e6 ? 16 : 1;
  for (let i = 0; i < fails.length; i += step) {
    if (fails[i] !== 0 || xs[i] === UNKNOWN_PLACE) continue;
    const dx = (xs[i] - at.x) * wide;
    const dy = ys[i] - at.y;
    bins[Math.min(Math.sqrt(dx * dx + dy * dy) * scale, 4095) | 0]++;
  }
  let edge = 0;
  for (let sum = 0; edge < bins.length && sum * step < 2 * most; edge++) sum += bins[edge];
  for (; ; edge *= 2) {
    const limit = edge < bins.length ? (edge / scale) ** 2 : Infinity;
    const hits = closer(xs, ys, fails, at, wide, limit);
    if (hits.length < most && limit < Infinity) continue;
    hits.sort((a, b) => a.value - b.value || a.row - b.row);
    return hits.slice(0, most).map(({ row, value }) => ({ row, value: Math.sqrt(value) }));
  }
}

/** Galaxies that match and are closer to a place than the root of a limit, with squared distances. */
function closer(
  /** @type {Values} */ xs,
  /** @type {Values} */ ys,
  /** @type {Uint32Array} */ fails,
  /** @type {{x: number, y: number}} */ at,
  /** @type {number} */ wide,
  /** @type {number} */ limit,
) {
  /** @type {Hit[]} */
  const hits = [];
  for (let i = 0; i < fails.length; i++) {
    const dx = (xs[i] - at.x) * wide;
    const dy = ys[i] - at.y;
    const value = dx * dx + dy * dy;
    if (value < limit && fails[i] === 0 && xs[i] !== UNKNOWN_PLACE) hits.push({ row: i, value });
  }
  return hits;
}

/** Rows of galaxies that match and lie within a polygon of a map. */
function within(
  /** @type {Values} */ xs,
  /** @type {Values} */ ys,
  /** @type {Uint32Array} */ fails,
  /** @type {{x: number, y: number}[]} */ line,
) {
  const [left, right] = [Math.min(...line.map((p) => p.x)), Math.max(...line.map((p) => p.x))];
  const [low, high] = [Math.min(...line.map((p) => p.y)), Math.max(...line.map((p) => p.y))];
  const rows = [];
  for (let i = 0; i < fails.length; i++) {
    const x = xs[i];
    const y = ys[i];
    if (fails[i] !== 0 || x < left || x > right || y < low || y > high) continue;
    if (x !== UNKNOWN_PLACE && isInside(line, x, y)) rows.push(i);
  }
  return rows;
}

/** Whether a place lies within a polygon: a ray from it crosses an odd number of sides. */
function isInside(
  /** @type {{x: number, y: number}[]} */ line,
  /** @type {number} */ x,
  /** @type {number} */ y,
) {
  let inside = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [a, b] = [line[i], line[j]];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

/**
 * Galaxies that match and look most like one, the most alike first; the one itself is left out.
 * Directions are coded in a byte a component, of so much worth. Who cannot be among them by the
 * first components is left there: those that follow add at most the product of their lengths, and
 * a direction is no longer than 1 and its rounding.
 */
function alike(
  /** @type {Values} */ codes,
  /** @type {number[]} */ worth,
  /** @type {Uint32Array} */ fails,
  /** @type {number} */ row,
  /** @type {number} */ most,
) {
  const size = worth.length;
  const weights = new Float32Array(size);
  const first = Math.min(8, size);
  let [squares, rounding] = [0, 0];
  for (let j = 0; j < size; j++) {
    weights[j] = codes[row * size + j] * worth[j] * worth[j];
    rounding += (worth[j] * worth[j]) / 4;
    if (j >= first) squares += (codes[row * size + j] * worth[j]) ** 2;
  }
  const restAtMost = Math.sqrt(squares) * (1.001 + Math.sqrt(rounding));
  /** @type {Hit[]} */
  let hits = [];
  let least = -Infinity;
  for (let i = 0, place = 0; i < fails.length; i++, place += size) {
    if (fails[i] !== 0 || codes[place] === -128) continue;
    let value = 0;
    for (let j = 0; j < first; j++) value += codes[place + j] * weights[j];
    if (value + restAtMost < least) continue;
    for (let j = first; j < size; j++) value += codes[place + j] * weights[j];
    if (value < least || i === row) continue;
    hits.push({ row: i, value });
    if (hits.length >= 8 * most) {
      hits = best(hits, most);
      least = hits[hits.length - 1].value;
    }
  }
  return best(hits, most);
}

function best(/** @type {Hit[]} */ hits, /** @type {number} */ most) {
  return hits.sort((a, b) => b.value - a.value || a.row - b.row).slice(0, most);
}
