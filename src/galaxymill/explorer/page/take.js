"use strict";
// What a person takes away: tables of galaxies, and the same choice as SQL and for the config.

const MOST_ROWS = 100000;

/** Write a field of a CSV file; a text that a spreadsheet would run as a formula gets an apostrophe. */
function csvField(/** @type {string | number | null} */ value) {
  if (value === null) return "";
  let text = String(value);
  const isNumber = text !== "" && !Number.isNaN(Number(text));
  if (typeof value === "string" && !isNumber && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** View whose lists have names in an order such that the galaxies of the gallery are near. */
function listedView() {
  const now = sky.view?.lists ? sky.view : meta.views.find((view) => view.lists);
  return now ?? null;
}

/**
 * Names and positions of some rows, in their order.
 * @returns {Promise<{id: string, ra: number | null, dec: number | null}[]>}
 */
async function namesOf(/** @type {number[]} */ rows) {
  const view = sky.view?.lists ? sky.view : null;
  const finder = view ? await listFinder(view) : null;
  /** @type {Map<string, number[]>} */
  const files = new Map();
  rows.forEach((row, place) => {
    const block = Math.floor(row / meta.block);
    const name = finder ? finder(row) : `blocks/${Math.floor(block / 1000)}/${block}`;
    files.set(name, [...(files.get(name) ?? []), place]);
  });
  /** @type {{id: string, ra: number | null, dec: number | null}[]} */
  const found = new Array(rows.length);
  await Promise.all([...files].map(async ([name, places]) => {
    const file = finder ? await lists.get(name) : await blocks.get(name);
    const order = "rows" in file ? new Map(file.rows.map((row, index) => [row, index])) : null;
    for (const place of places) {
      const index = order ? Number(order.get(rows[place])) : rows[place] % meta.block;
      found[place] = { id: file.ids[index], ra: file.ra[index], dec: file.dec[index] };
    }
  }));
  return found;
}

/** Make a function that tells which list of a view has a row: they are in the order of a key. */
async function listFinder(/** @type {View} */ view) {
  const [xs, ys] = await Promise.all(["x", "y"].map((axis) => column(numberOf(`${axis}:${view.name}`))));
  const { keys, rows } = /** @type {{keys: number[], rows: number[]}} */ (view.lists);
  const number = meta.views.indexOf(view);
  return (/** @type {number} */ row) => {
    const key = morton(xs[row], ys[row]);
    let [low, high] = [0, keys.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (keys[middle] < key || (keys[middle] === key && rows[middle] <= row)) low = middle;
      else high = middle - 1;
    }
    return `lists/${number}/${low}`;
  };
}

/** Interleave the bits of two numbers of 16. */
function morton(/** @type {number} */ x, /** @type {number} */ y) {
  const spread = (/** @type {number} */ n) => {
    n = (n | (n << 8)) & 0x00ff00ff;
    n = (n | (n << 4)) & 0x0f0f0f0f;
    n = (n | (n << 2)) & 0x33333333;
    return (n | (n << 1)) & 0x55555555;
  };
  return (spread(x) | (spread(y) << 1)) >>> 0;
}

/** Text of a table of the galaxies of the gallery. */
async function tableOfShown() {
  const names = await namesOf(shown.hits.map((hit) => hit.row));
  const lines = names.map((one, rank) => {
    const value = shown.measure ? [shown.hits[rank].value.toPrecision(6)] : [];
    return [rank + 1, one.id, one.ra, one.dec, ...value].map(csvField).join(",");
  });
  const head = ["rank", "object_id", "ra", "dec", ...(shown.measure ? [shown.measure] : [])].join(",");
  return `${[head, ...lines].join("\n")}\n`;
}

/** Table of all galaxies that match, up to a limit that is told; file after file. */
async function takeMatches() {
  const view = listedView();
  const size = view ? meta.list : meta.block;
  const parts = ["object_id,ra,dec\n"];
  let taken = 0;
  for (let file = 0; file * size < meta.galaxies && taken < MOST_ROWS; file++) {
    const name = view ? `lists/${meta.views.indexOf(view)}/${file}` : `blocks/${Math.floor(file / 1000)}/${file}`;
    const data = /** @type {Named & {rows?: number[]}} */ (await load(name));
    for (let i = 0; i < data.ids.length && taken < MOST_ROWS; i++) {
      if (choice.fails[data.rows?.[i] ?? file * size + i] !== 0) continue;
      parts.push(`${[data.ids[i], data.ra[i], data.dec[i]].map(csvField).join(",")}\n`);
      taken++;
    }
    say(`${taken.toLocaleString("en")} of ${choice.count.toLocaleString("en")} rows …`);
  }
  const rest = taken < choice.count ? `: a table has ${MOST_ROWS.toLocaleString("en")} rows at most, use the SQL for all` : "";
  say(`${taken.toLocaleString("en")} of ${choice.count.toLocaleString("en")} galaxies taken${rest}`);
  hand("matches.csv", parts);
}

/** Hand a file to the browser's downloads. */
function hand(/** @type {string} */ name, /** @type {string[]} */ parts) {
  const address = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
  make("a", { href: address, download: `${meta.release}-${name}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** @typedef {{name: string, real: number, low?: string, high?: string}} Cut */

/** What is chosen, as cuts of columns of the release. */
function cutsOf() {
  /** @type {Cut[]} */
  const cuts = [];
  /** @type {string[]} */
  const others = [];
  for (const [number, { criterion }] of choice.criteria) {
    const own = meta.columns[number];
    if ("without" in criterion) {
      if (criterion.without) others.push(`(flags & ${criterion.without}) = 0`);
      if (criterion.only) others.push(`(flags & ${criterion.only}) = ${criterion.only}`);
    } else if (own.name.startsWith("asked:")) {
      const question = meta.questions.find((one) => one.asked === number);
      cuts.push({ name: question?.proportion ?? "", real: 4, low: String(meta.cut) });
    } else if (own.kind === "yesno") {
      others.push(quote(own.name));
    } else {
      const ends = endsOf(own, criterion);
      const cut = { name: own.name, real: own.real };
      if (ends.low > 0) Object.assign(cut, { low: spell(own, ends.low) });
      if (ends.high < own.count - 1) Object.assign(cut, { high: spell(own, ends.high) });
      cuts.push(cut);
    }
  }
  return { cuts, others };
}

function quote(/** @type {string} */ name) {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The choice for DuckDB, which compares in the column's own precision, as this page does. */
function sqlOf() {
  const { cuts, others } = cutsOf();
  /** @type {Record<number, string>} */
  const casts = { 4: "::FLOAT", 8: "::DOUBLE" };
  const where = cuts.flatMap(({ name, real, low, high }) => [
    ...(low === undefined ? [] : [`${quote(name)} >= ${low}${casts[real] ?? ""}`]),
    ...(high === undefined ? [] : [`${quote(name)} <= ${high}${casts[real] ?? ""}`]),
  ]);
  const all = [...where, ...others];
  const condition = all.length ? `\nWHERE ${all.join("\n  AND ")}` : "";
  return `SELECT object_id, ra, dec\nFROM 'advanced.parquet'${condition};`;
}

/** The choice as an entry of `selections:`, which takes numbers alone. */
function selectionOf() {
  const { cuts, others } = cutsOf();
  const lines = cuts.map(({ name, low, high }) => {
    const ends = { at_least: low, at_most: high };
    const given = Object.entries(ends).filter(([, value]) => value !== undefined);
    return `      - {column: ${JSON.stringify(name)}, ${given.map((pair) => pair.join(": ")).join(", ")}}`;
  });
  const notes = others.map((one) => `      # no cut of numbers: ${one}`);
  const text = ["selections:", "  chosen:", "    description: chosen in the explorer",
    `    source: ${JSON.stringify(`explorer of ${meta.release}`)}`, "    cuts:", ...lines, ...notes];
  return cuts.length ? text.join("\n") : "# Move a slider first.";
}

/** Show a text to copy. */
function showText(/** @type {string} */ text) {
  const area = /** @type {HTMLTextAreaElement} */ (at("text"));
  area.value = text;
  /** @type {HTMLDialogElement} */ (at("texts")).showModal();
  area.select();
}
