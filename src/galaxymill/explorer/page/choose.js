"use strict";
// Who matches: each criterion has a bit of a number a galaxy, which is set where it fails.

/** @typedef {{low: number, high: number} | {without: number, only: number}} Criterion */

/** Codes from low to high, both of which belong; or flags. */
class Choice {
  constructor(/** @type {number} */ galaxies) {
    this.fails = new Uint32Array(galaxies);
    this.count = galaxies;
    /** @type {Map<number, {bit: number, criterion: Criterion}>} by number of the column */
    this.criteria = new Map();
  }

  /** Set the criterion of a column, or take it away. */
  async set(/** @type {number} */ number, /** @type {Criterion | null} */ criterion) {
    const known = this.criteria.get(number);
    if (!criterion) {
      if (!known) return;
      this.criteria.delete(number);
      used.delete(number);
      clear(this.fails, known.bit);
    } else {
      const bit = known?.bit ?? this.freeBit();
      // Before the column is there, so that what is asked meanwhile gets another bit.
      this.criteria.set(number, { bit, criterion });
      used.add(number);
      try {
        const values = await column(number);
        // Meanwhile another may have been chosen.
        if (this.criteria.get(number)?.criterion !== criterion) return;
        if ("low" in criterion) mark(this.fails, bit, values, criterion.low, criterion.high);
        else markFlags(this.fails, bit, values, criterion.without, criterion.only);
      } catch (error) {
        if (!known) this.criteria.delete(number);
        throw error;
      }
    }
    this.count = countPassing(this.fails);
  }

  freeBit() {
    const taken = new Set([...this.criteria.values()].map((one) => one.bit));
    for (let bit = 0; bit < 31; bit++) if (!taken.has(bit)) return bit;
    throw new Error("31 criteria at once are the most");
  }
}

/** Set a bit where a code is outside of a range. */
function mark(
  /** @type {Uint32Array} */ fails,
  /** @type {number} */ bit,
  /** @type {Values} */ values,
  /** @type {number} */ low,
  /** @type {number} */ high,
) {
  const on = 1 << bit;
  const off = ~on;
  const span = high - low;
  for (let i = 0; i < fails.length; i++) {
    // What is below becomes a large number.
    fails[i] = (values[i] - low) >>> 0 > span ? fails[i] | on : fails[i] & off;
  }
}

/** Set a bit where a galaxy has one of some flags, or none of others. */
function markFlags(
  /** @type {Uint32Array} */ fails,
  /** @type {number} */ bit,
  /** @type {Values} */ values,
  /** @type {number} */ without,
  /** @type {number} */ only,
) {
  const on = 1 << bit;
  for (let i = 0; i < fails.length; i++) {
    const bad = (values[i] & without) !== 0 || (values[i] & only) !== only;
    fails[i] = bad ? fails[i] | on : fails[i] & ~on;
  }
}

/** Take a criterion away. */
function clear(/** @type {Uint32Array} */ fails, /** @type {number} */ bit) {
  const off = ~(1 << bit);
  for (let i = 0; i < fails.length; i++) fails[i] &= off;
}

/** Count the galaxies that meet every criterion. */
function countPassing(/** @type {Uint32Array} */ fails) {
  let count = 0;
  for (let i = 0; i < fails.length; i++) count += fails[i] === 0 ? 1 : 0;
  return count;
}

/**
 * Rows that meet every criterion: some, from places all over the catalogue. Neighbours come
 * together, as their images are in one file.
 */
function somePassing(/** @type {Choice} */ choice) {
  const [groups, size] = [41, 12];
  const step = Math.max(choice.count / groups, size);
  /** @type {number[][]} */
  const found = Array.from({ length: groups }, () => []);
  for (let i = 0, seen = 0; i < choice.fails.length; i++) {
    if (choice.fails[i] !== 0) continue;
    const group = Math.floor(seen / step);
    if (group < groups && seen - group * step < size) found[group].push(i);
    seen++;
  }
  return found.flatMap((_, place) => found[(place * 17) % groups]);
}
