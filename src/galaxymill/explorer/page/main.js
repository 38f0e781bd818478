"use strict";
// Puts the page together: what is chosen, the map and the gallery follow one another.

/** @type {Choice} */
let choice;
/** @type {SkyMap} */
let sky;
const NEAREST = 1000;
let isDue = false;
let isBusy = false;
/** @type {Map<number, Criterion | null>} Criteria that are to be set: the last of each column. */
const wanted = new Map();

function say(/** @type {string} */ text) {
  at("note").textContent = text;
}

/** @type {Set<string>} */
const complaints = new Set();

function complain(/** @type {unknown} */ error) {
  complaints.add(error instanceof Error ? error.message : String(error));
  say([...complaints].slice(-3).join("; "));
}

/** Do something; what fails is said on the page. */
async function guard(/** @type {() => any} */ work) {
  try {
    await work();
  } catch (error) {
    complain(error);
  }
}

/** Choose by a column from now on; of many changes in a row, only the last is made. */
async function choose(/** @type {number} */ number, /** @type {Criterion | null} */ criterion) {
  wanted.set(number, criterion);
  if (isBusy) return;
  isBusy = true;
  while (wanted.size) {
    const [[one, next]] = wanted;
    wanted.delete(one);
    await guard(() => choice.set(one, next));
    showCount();
    sky.draw(choice);
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  isBusy = false;
  remember();
  await showMatches();
}

function showCount() {
  const [count, all] = [choice.count, meta.galaxies].map((one) => one.toLocaleString("en"));
  at("count").textContent = `${count} of ${all} galaxies match`;
}

function showMatches() {
  const rows = somePassing(choice);
  const hits = rows.map((row) => ({ row, value: 0 }));
  return showGallery(choice.criteria.size ? "Some that match" : "Some of the catalogue", hits);
}

/** Draw again before the next picture of the screen. */
function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    sky.draw(choice);
    sky.drawLine();
    remember();
  });
}

async function findNear(/** @type {Place} */ place) {
  if (!sky.view) return;
  await sky.load();
  sky.line = [];
  sky.drawLine();
  const hits = nearest(sky.xs, sky.ys, choice.fails, place, sky.view.wide, NEAREST);
  return showGallery(`${hits.length.toLocaleString("en")} nearest to there, of those that match`, hits, "distance");
}

async function findWithin(/** @type {Place[]} */ line) {
  await sky.load();
  const rows = within(sky.xs, sky.ys, choice.fails, line);
  const told = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS.toLocaleString("en")} are kept` : "";
  const hits = rows.slice(0, MOST_ROWS).map((row) => ({ row, value: 0 }));
  at("lasso").setAttribute("aria-pressed", "false");
  sky.isLasso = false;
  return showGallery(`${rows.length.toLocaleString("en")} within the line${told}`, hits, "inside");
}

function hasAlike() {
  return numberOf("directions") >= 0;
}

async function findAlike(/** @type {number} */ row, /** @type {string} */ id) {
  const number = numberOf("directions");
  const own = meta.columns[number];
  const hits = alike(await column(number), own.worth, choice.fails, row, NEAREST);
  /** @type {HTMLDialogElement} */ (at("card")).close();
  await showGallery(`${hits.length.toLocaleString("en")} most like ${id}, of those that match`, hits, "likeness");
}

async function showView(/** @type {View} */ view) {
  await sky.show(view);
  sky.line = [];
  at("map-note").textContent = view.name === "sky"
    ? "Mollweide projection, RA 180° in the middle, growing to the left"
    : `Map ${view.name}: galaxies that look alike lie near one another`;
  redraw();
}

async function colourBy(/** @type {number} */ number) {
  if (sky.colour) used.delete(sky.colour.number);
  sky.colour = number < 0 ? null : { number, values: await column(number) };
  if (number >= 0) used.add(number);
  at("legend").textContent = number < 0 ? "galaxies per pixel" : legendOf(meta.columns[number]);
  redraw();
}

function legendOf(/** @type {Column} */ own) {
  const ends = middle(own).map((code) => spellCode(own, Math.max(1, Math.min(Math.round(code), 2 * own.count - 1))));
  return own.kind === "yesno" ? "no – yes" : `${ends.join(" – ")}${own.unit ? ` ${own.unit}` : ""}`;
}

/** What the catalogue is, before anything else is loaded. */
function introduce() {
  document.title = `${meta.title}: explorer`;
  at("title").textContent = meta.title;
  const galaxies = meta.galaxies.toLocaleString("en");
  at("what").textContent = [`${galaxies} galaxies, release ${meta.release} ${meta.version}.`,
    meta.description, ...meta.models, ...meta.quality].filter(Boolean).join(" ");
  const about = at("about");
  for (const { text, table } of meta.figures) {
    const rows = table.map((cells, line) => make("tr", {}, ...cells.map((cell) => make(line ? "td" : "th", {}, cell))));
    about.append(make("p", {}, text), make("table", {}, ...rows));
  }
  about.append(...meta.limits.map((text) => make("p", {}, text.replace(/[*`]/g, ""))));
  about.append(make("p", {}, `License ${meta.license}; made by Galaxymill ${meta.galaxymill}.`),
    make("p", { className: "digest" }, `Digests: ${Object.entries(meta.digests).map((pair) => pair.join(" ")).join(", ")}`));
}

/** @returns {HTMLSelectElement} */
function picker(/** @type {string} */ id) {
  return /** @type {HTMLSelectElement} */ (at(id));
}

function fillPickers() {
  const view = picker("view");
  view.append(...meta.views.map((one, place) => make("option", { value: String(place) },
    one.name === "sky" ? "the sky" : `map ${one.name}`)));
  view.addEventListener("change", () => guard(() => showView(meta.views[Number(view.value)])));
  const colour = picker("colour");
  const columns = meta.columns.map((own, number) => ({ own, number }))
    .filter(({ own }) => ["share", "number", "yesno"].includes(own.kind) && !own.name.startsWith("asked:"));
  colour.append(make("option", { value: "-1" }, "density"), ...columns.map(({ own, number }) =>
    make("option", { value: String(number) }, words(own.name))));
  colour.addEventListener("change", () => guard(() => colourBy(Number(colour.value))));
}

function listen() {
  /** @type {Record<string, () => any>} */
  const does = {
    lasso: () => {
      sky.isLasso = !sky.isLasso;
      at("lasso").setAttribute("aria-pressed", String(sky.isLasso));
    },
    closer: () => sky.zoomBy(1.5),
    farther: () => sky.zoomBy(1 / 1.5),
    whole: () => { sky.fit(); redraw(); },
    clear: clearAll,
    more: showMore,
    nearest: async () => hand("nearest.csv", [await tableOfShown()]),
    matches: takeMatches,
    sql: () => showText(sqlOf()),
    selection: () => showText(selectionOf()),
  };
  for (const [id, work] of Object.entries(does)) at(id).addEventListener("click", () => guard(work));
  sky.onClick = (place) => guard(() => findNear(place));
  sky.onLasso = (line) => guard(() => findWithin(line));
  sky.onMove = redraw;
  new ResizeObserver(redraw).observe(at("map"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { redraw(); showCriteria(); });
  at("card").addEventListener("close", () => { carded = -1; remember(); });
  addEventListener("hashchange", () => guard(recall));
}

async function clearAll() {
  for (const number of [...choice.criteria.keys()]) await choice.set(number, null);
  showCriteria();
  showCount();
  redraw();
  await showMatches();
}

async function start() {
  meta = await load("explorer");
  introduce();
  choice = new Choice(meta.galaxies);
  sky = new SkyMap(/** @type {HTMLCanvasElement} */ (at("map")), /** @type {HTMLCanvasElement} */ (at("overlay")));
  at("old").hidden = true;
  at("page").hidden = false;
  showCount();
  fillPickers();
  listen();
  const first = meta.views.find((view) => view.name !== "sky") ?? meta.views[0];
  if (first) {
    picker("view").value = String(meta.views.indexOf(first));
    await guard(() => showView(first));
  }
  at("stage").hidden = !first;
  await recall();
  makePanel();
  document.body.dataset.ready = "yes";
  if (!choice.criteria.size) await guard(showMatches);
}

guard(start);
