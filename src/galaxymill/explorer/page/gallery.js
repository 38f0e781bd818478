"use strict";
// Galaxies to look at: many small, and one on its card.

const AT_ONCE = 36;
/** @type {{title: string, hits: Hit[], measure: string}} What the gallery shows. */
let shown = { title: "", hits: [], measure: "" };
let turn = 0;

/** Picture of a galaxy of a block, as an address; empty where there is none. */
function pictureOf(/** @type {Block} */ block, /** @type {number} */ row) {
  const text = block.pictures[row % meta.block];
  if (text === null) return "";
  const whole = text.startsWith(":") ? text.slice(1) : meta.begin + text;
  return `data:image/jpeg;base64,${whole}`;
}

/** @returns {Promise<Block>} */
function blockOf(/** @type {number} */ row) {
  const number = Math.floor(row / meta.block);
  return blocks.get(`blocks/${Math.floor(number / 1000)}/${number}`);
}

/** Show galaxies, the first ones at once. */
async function showGallery(
  /** @type {string} */ title,
  /** @type {Hit[]} */ hits,
  /** @type {string} */ measure = "",
) {
  shown = { title, hits, measure };
  turn++;
  at("gallery-title").textContent = title;
  at("nearest").hidden = !measure;
  const grid = at("gallery");
  const cells = await makeCells(hits.slice(0, AT_ONCE), turn);
  if (!cells) return;
  grid.replaceChildren(...cells);
  at("more").hidden = hits.length <= grid.children.length;
}

/** Add as many again. */
async function showMore() {
  const grid = at("gallery");
  const from = grid.children.length;
  const cells = await makeCells(shown.hits.slice(from, from + AT_ONCE), turn);
  if (!cells) return;
  grid.append(...cells);
  at("more").hidden = shown.hits.length <= grid.children.length;
}

/** Make the cells of some galaxies; nothing when others are to be shown meanwhile. */
async function makeCells(/** @type {Hit[]} */ hits, /** @type {number} */ mine) {
  const cells = await Promise.all(hits.map(async (hit) => {
    try {
      return makeCell(hit.row, await blockOf(hit.row));
    } catch (error) {
      complain(error);
      return make("div", { className: "cell absent", title: String(error) }, "file missing");
    }
  }));
  return mine === turn ? cells : null;
}

function makeCell(/** @type {number} */ row, /** @type {Block} */ block) {
  const id = block.ids[row % meta.block];
  const source = pictureOf(block, row);
  const content = source
    ? make("img", { src: source, alt: "" })
    : make("span", { className: "grey" }, "no image");
  const cell = make("button", { className: "cell", title: id, type: "button" }, content);
  cell.setAttribute("aria-label", `Galaxy ${id}`);
  cell.addEventListener("click", () => guard(() => showCard(row)));
  return cell;
}

/**
 * Codes of a galaxy, by the number of the column.
 * @returns {Promise<Map<number, number>>}
 */
async function codesOf(/** @type {number} */ row) {
  const number = Math.floor(row / meta.card);
  const raw = await cards.get(`cards/${number}`);
  const rows = Math.min(meta.card, meta.galaxies - number * meta.card);
  const own = meta.columns.map((_, place) => place).filter((place) => isOnCard(meta.columns[place]));
  const bytes = new Uint8Array(rows * own.reduce((sum, place) => sum + meta.columns[place].bytes, 0));
  decode(raw, bytes);
  const codes = new Map();
  let start = 0;
  for (const place of own) {
    const size = meta.columns[place].bytes;
    let value = 0;
    for (let byte = size - 1; byte >= 0; byte--) {
      value = value * 256 + bytes[start + (row % meta.card) * size + byte];
    }
    codes.set(place, value);
    start += rows * size;
  }
  return codes;
}

function isOnCard(/** @type {Column} */ own) {
  return own.kind !== "place" && own.kind !== "alike";
}

/** Text of a code: the threshold that it is, or between which it lies. */
function spellCode(/** @type {Column} */ own, /** @type {number | undefined} */ code) {
  if (code === undefined || code === unknown(own)) return "unknown";
  if (own.kind === "yesno") return code ? "yes" : "no";
  if (code === 0) return `below ${spell(own, 0)}`;
  if (code === 2 * own.count) return `above ${spell(own, own.count - 1)}`;
  const middle = (threshold(own, Math.ceil(code / 2) - 1) + threshold(own, Math.floor(code / 2))) / 2;
  return middle.toFixed(Math.max(own.decimals, 0));
}

/** Value of a share's code, from 0 to 1; NaN where it is unknown. */
function shareOf(/** @type {number | undefined} */ code) {
  return code === undefined || code === 255 ? NaN : Math.min(Math.max((code - 1) / 200, 0), 1);
}

/** The row whose card is open; -1 for none. */
let carded = -1;

/** Show all that is known of a galaxy. */
async function showCard(/** @type {number} */ row) {
  const [block, codes] = await Promise.all([blockOf(row), codesOf(row)]);
  const place = row % meta.block;
  const source = pictureOf(block, row);
  const image = source
    ? make("img", { src: source, alt: `Image of ${block.ids[place]}` })
    : make("div", { className: "grey" }, "no image");
  const [ra, dec] = [block.ra[place], block.dec[place]];
  const facts = make("div", {}, make("h2", {}, block.ids[place]));
  if (ra !== null && dec !== null) {
    facts.append(make("p", {}, `RA ${ra.toFixed(5)}°, Dec ${dec.toFixed(5)}°`), makeLinks(ra, dec));
  }
  facts.append(make("p", {}, flagText(codes.get(numberOf("flags")))));
  const find = make("button", { type: "button", hidden: !hasAlike() }, "Find alike");
  find.addEventListener("click", () => guard(() => findAlike(row, block.ids[place])));
  const close = make("button", { type: "button", className: "close", "aria-label": "Close" }, "×");
  const card = /** @type {HTMLDialogElement} */ (at("card"));
  close.addEventListener("click", () => card.close());
  facts.append(find);
  card.replaceChildren(close, make("div", { className: "top" }, image, facts),
    ...meta.questions.filter((one) => isAsked(one, codes)).map((one) => makeBars(one, codes)),
    makeNumbers(codes));
  if (!card.open) card.showModal();
  carded = row;
  remember();
}

function isAsked(/** @type {Question} */ question, /** @type {Map<number, number>} */ codes) {
  return question.asked < 0 || codes.get(question.asked) === 1;
}

/** Links to other sites: they are only followed when somebody clicks. */
function makeLinks(/** @type {number} */ ra, /** @type {number} */ dec) {
  const links = { Aladin: `https://aladin.cds.unistra.fr/AladinLite/?target=${ra}%20${dec}&fov=0.03` };
  if (meta.viewer) {
    const address = meta.viewer.replaceAll("{ra}", String(ra)).replaceAll("{dec}", String(dec));
    Object.assign(links, { "Survey viewer": address });
  }
  return make("p", {}, ...Object.entries(links).flatMap(([text, href]) =>
    [make("a", { href, target: "_blank", rel: "noopener noreferrer" }, text), " "]));
}

function flagText(/** @type {number | undefined} */ bits = 0) {
  const names = meta.flags.filter(([bit]) => bits & bit).map(([, name]) => words(name));
  return names.length ? `Flags: ${names.join(", ")}` : "No flags";
}

/** Mean and interval of each answer of a question, as bars. */
function makeBars(/** @type {Question} */ question, /** @type {Map<number, number>} */ codes) {
  const rows = question.answers.map((answer) => {
    const own = meta.columns[answer.column];
    const text = make("td", {}, spellCode(own, codes.get(answer.column)));
    const row = make("tr", {}, make("th", { scope: "row" }, words(answer.name)));
    if (own.kind === "share") {
      const [mean, low, high] = [answer.column, answer.lower, answer.upper].map((one) => shareOf(codes.get(one)));
      const bar = make("div", { className: "bar" });
      const fill = make("i");
      fill.style.width = `${(mean || 0) * 100}%`;
      bar.append(fill);
      if (!Number.isNaN(low + high)) {
        const whisker = make("b");
        whisker.style.left = `${low * 100}%`;
        whisker.style.width = `${Math.max(high - low, 0.005) * 100}%`;
        bar.append(whisker);
        text.append(` (${low.toFixed(2)} – ${high.toFixed(2)})`);
      }
      row.append(make("td", { className: "wide" }, bar));
    }
    row.append(text);
    return row;
  });
  return make("section", {}, make("h3", {}, words(question.title)), make("table", {}, ...rows));
}

/** What belongs to no question. */
function makeNumbers(/** @type {Map<number, number>} */ codes) {
  const inQuestions = new Set(meta.questions.flatMap((one) => one.answers.flatMap((answer) =>
    [answer.column, answer.lower, answer.upper])));
  const rows = [...codes].filter(([place]) => !inQuestions.has(place)).map(([place, code]) => {
    const own = meta.columns[place];
    if (own.kind === "flags" || own.name.startsWith("asked:")) return null;
    const unit = own.unit ? ` ${own.unit}` : "";
    const value = spellCode(own, code) + (code === unknown(own) ? "" : unit);
    return make("tr", { title: own.about }, make("th", { scope: "row" }, words(own.name)), make("td", {}, value));
  });
  const known = rows.filter((row) => row !== null);
  return make("details", { hidden: !known.length }, make("summary", {}, "Numbers and selections"),
    make("table", {}, ...known));
}
