"use strict";
// Data come as scripts, since a page that was opened from disk may read no other file beside it.

/**
 * @typedef {{name: string, about: string, unit?: string, bytes: number, rows: number, kind: string,
 *   first: number, step: number, decimals: number, count: number, counts: number[], yes: number,
 *   worth: number[], real: number}} Column
 * @typedef {{name: string, column: number, lower: number, upper: number}} Answer
 * @typedef {{title: string, asked: number, proportion: string, answers: Answer[]}} Question
 * @typedef {{name: string, wide: number, edges?: number[], most?: number,
 *   lists?: {keys: number[], rows: number[]}}} View
 * @typedef {{text: string, table: string[][]}} Figures
 * @typedef {{galaxies: number, block: number, list: number, card: number, grid: number, begin: string,
 *   columns: Column[], views: View[], flags: [number, string, string][], questions: Question[],
 *   title: string, release: string, version: string, description: string, license: string,
 *   galaxymill: string, models: string[], quality: string[], figures: Figures[], limits: string[],
 *   viewer: string, cut: number, digests: Record<string, string>}} Meta
 * @typedef {Uint8Array | Uint16Array | Uint32Array | Int8Array} Values
 * @typedef {{ids: string[], ra: (number | null)[], dec: (number | null)[]}} Named
 * @typedef {Named & {pictures: (string | null)[]}} Block
 * @typedef {Named & {rows: number[]}} List
 */

/** @type {Meta} What is known of the catalogue; there before anything else runs. */
let meta;

/** @type {Map<string, (value: any) => void>} */
const waiting = new Map();

/** Take what a file of data holds: each of them is one call of this. */
function got(/** @type {string} */ name, /** @type {any} */ value) {
  waiting.get(name)?.(value);
  waiting.delete(name);
}

/**
 * Load one file of data; fails with its name when it is missing or damaged.
 * @returns {Promise<any>}
 */
function load(/** @type {string} */ name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const end = () => {
      script.remove();
      // The same file may be asked for again before this is called.
      if (waiting.get(name) !== resolve) return;
      waiting.delete(name);
      reject(new Error(`data/${name}.js is missing or damaged`));
    };
    waiting.set(name, resolve);
    script.onload = end;
    script.onerror = end;
    script.src = `data/${name}.js`;
    document.head.append(script);
  });
}

/**
 * A store of files that were used last; what is asked for twice is loaded once.
 * @template T
 */
class Recent {
  constructor(/** @type {number} */ most) {
    this.most = most;
    /** @type {Map<string, Promise<T>>} */
    this.kept = new Map();
  }

  /** @returns {Promise<T>} */
  get(/** @type {string} */ name) {
    const found = this.kept.get(name) ?? load(name);
    this.kept.delete(name);
    this.kept.set(name, found);
    // What failed is tried again when it is asked for again.
    found.catch(() => this.kept.delete(name));
    for (const old of this.kept.keys()) {
      if (this.kept.size <= this.most) break;
      this.kept.delete(old);
    }
    return found;
  }
}

/** @type {Recent<Block>} */
const blocks = new Recent(100);
/** @type {Recent<List>} */
const lists = new Recent(20);
/** @type {Recent<string>} */
const cards = new Recent(4);
/** @type {Recent<string>} */
const densities = new Recent(4);

/** Put the bytes of base64 into an array. */
function decode(/** @type {string} */ text, /** @type {Uint8Array} */ into) {
  const target = /** @type {any} */ (into);
  if (target.setFromBase64) {
    target.setFromBase64(text);
    return;
  }
  const raw = atob(text);
  for (let i = 0; i < raw.length; i++) into[i] = raw.charCodeAt(i);
}

const ARRAYS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
const MOST_BYTES = 150e6;

/** @type {Map<number, Promise<Values>>} Loaded columns, those used last at the end. */
const columns = new Map();
/** @type {Set<number>} Columns that are in use: they stay. */
const used = new Set();

/** Load a column, all galaxies of it. */
function column(/** @type {number} */ number) {
  const found = columns.get(number) ?? loadColumn(number);
  columns.delete(number);
  columns.set(number, found);
  found.catch(() => columns.delete(number));
  let bytes = 0;
  for (const one of columns.keys()) bytes += width(one) * meta.galaxies;
  for (const old of columns.keys()) {
    if (bytes <= MOST_BYTES) break;
    if (old === number || used.has(old)) continue;
    columns.delete(old);
    bytes -= width(old) * meta.galaxies;
  }
  return found;
}

/** Bytes of a galaxy in a column. */
function width(/** @type {number} */ number) {
  const own = meta.columns[number];
  return own.bytes * (own.worth?.length ?? 1);
}

/** @returns {Promise<Values>} */
async function loadColumn(/** @type {number} */ number) {
  const own = meta.columns[number];
  const bytes = new Uint8Array(width(number) * meta.galaxies);
  const step = own.rows * width(number);
  for (let piece = 0; piece * step < bytes.length; piece++) {
    const part = bytes.subarray(piece * step, (piece + 1) * step);
    decode(await load(`columns/${number}-${piece}`), part);
  }
  if (own.kind === "alike") return new Int8Array(bytes.buffer);
  return new ARRAYS[/** @type {1 | 2 | 4} */ (own.bytes)](bytes.buffer);
}

/** Number of a column, by its name; -1 for none. */
function numberOf(/** @type {string} */ name) {
  return meta.columns.findIndex((one) => one.name === name);
}

/** Threshold of a column by its place: the same to the last bit as in Python. */
function threshold(/** @type {Column} */ own, /** @type {number} */ place) {
  const whole = own.first + own.step * place;
  return own.decimals >= 0 ? whole / 10 ** own.decimals : whole * 10 ** -own.decimals;
}

/** Code of an unknown value. */
function unknown(/** @type {Column} */ own) {
  return own.bytes === 1 ? 255 : 65535;
}
