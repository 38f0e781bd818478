// Puts the page together: keys and buttons, what is marked, undo, the best so far.

import { Grid } from "./grid.js";
import { at, dialog, make, picture, said } from "./parts.js";
import { ask, Outbox } from "./server.js";

/** @typedef {import("./server.js").Galaxy} Galaxy */

const BEST_AFTER_MS = 800;
let rater = localStorage.getItem("galaxymill rater") ?? "";
/** @type {Galaxy | null} The one that is looked at closer. */
let near = null;
/** @type {{galaxy: Galaxy, rating: number | null, artifact: boolean}[]} What was said before. */
const before = [];
let isAsking = false;
let bestIsDue = 0;

const outbox = new Outbox(showOutbox, showProgress, say);
const grid = new Grid((id) => outbox.isWaiting(id), look);

function say(/** @type {string} */ text) {
  at("note").textContent = text;
}

function showOutbox() {
  const count = outbox.waiting.length;
  at("alarm").hidden = !outbox.why;
  at("alarm").textContent = outbox.why && `${count} not kept: ${outbox.why}. This page keeps trying; leave it open.`;
  grid.update();
}

function showProgress(/** @type {import("./server.js").Progress} */ now) {
  const [own, rated, found, left] = [now.own, now.rated, now.found, now.left].map((one) => one.toLocaleString("en"));
  at("progress").textContent = `${own} rated by you, ${rated} by all; ${found} found (4 or better); ${left} left`;
  const [choice, count] = [now.choice, now.count].map((one) => one.toLocaleString("en"));
  at("choice").textContent = now.choice < now.count
    ? `Chosen from ${choice} of ${count} galaxies: the best when all were last looked through, and some by chance.`
    : "";
  window.clearTimeout(bestIsDue);
  bestIsDue = window.setTimeout(showBest, BEST_AFTER_MS);
}

async function showBest() {
  /** @type {Galaxy[]} */
  const best = await ask("best", { rater });
  at("best").replaceChildren(...best.map((galaxy) => {
    const cell = make("button", { className: "cell", type: "button", title: galaxy.id }, picture(galaxy.number),
      make("span", { className: "badge" }, String(galaxy.mean)));
    cell.setAttribute("aria-label", `Galaxy ${galaxy.id}, rated ${galaxy.mean} on average: look closer`);
    cell.addEventListener("click", () => showNear(galaxy));
    return cell;
  }));
}

async function next(isNext = true) {
  if (isAsking) return;
  isAsking = true;
  say("Choosing galaxies …");
  try {
    /** @type {import("./server.js").Batch} */
    const batch = await ask("batch", { rater, next: isNext });
    document.title = at("title").textContent = `Rate: ${batch.title}`;
    if (!outbox.place) outbox.recall(batch.title);
    grid.show(batch.galaxies);
    showProgress(batch);
    say(batch.galaxies.length ? "" : "Nothing is left to be rated.");
    if (dialog("closer").open) closeNear();
    document.body.dataset.batch = String(Number(document.body.dataset.batch ?? 0) + 1);
  } catch (error) {
    say(`No galaxies: ${/** @type {Error} */ (error).message}`);
  }
  isAsking = false;
}

/** Say something of a galaxy; undone, it is as it was. */
function tell(/** @type {Galaxy} */ galaxy, /** @type {number | null} */ rating, artifact = false) {
  galaxy.rating = rating;
  galaxy.artifact = artifact;
  outbox.add(rater, galaxy);
  grid.update();
}

function rate(/** @type {number} */ rating, artifact = false) {
  const galaxy = near ?? grid.current;
  if (!galaxy) return;
  before.push({ galaxy, rating: galaxy.rating, artifact: galaxy.artifact });
  tell(galaxy, rating, artifact);
  if (galaxy !== grid.current) closeNear();
  else if (grid.moveOn()) near ? look() : grid.focus();
  else {
    closeNear();
    at("next").focus();
    say("All are rated: go on with n or Enter.");
  }
}

function undo() {
  const last = before.pop();
  if (!last) return say("There is nothing to undo.");
  tell(last.galaxy, last.rating, last.artifact);
  grid.markId(last.galaxy.id);
  say(`Undone: ${last.galaxy.id} is ${said(last.galaxy)}.`);
  near ? showNear(last.galaxy) : grid.focus();
}

function look() {
  if (grid.current) showNear(grid.current);
}

function showNear(/** @type {Galaxy} */ galaxy) {
  near = galaxy;
  at("closer-id").textContent = galaxy.id;
  at("closer-image").replaceChildren(picture(galaxy.number, `Image of ${galaxy.id}`));
  at("closer-facts").textContent = [said(galaxy), ...galaxy.flags].join(", ");
  if (!dialog("closer").open) dialog("closer").showModal();
}

function closeNear() {
  dialog("closer").close();
}

function askName() {
  /** @type {HTMLInputElement} */ (at("name")).value = rater;
  dialog("who").showModal();
}

/** @type {Record<string, () => any>} */
const KEYS = { n: () => next(), u: undo, x: () => rate(0, true), z: look };

function onKey(/** @type {KeyboardEvent} */ event) {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog("who").open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[0-5]$/.test(key)) rate(Number(key));
  else if (key in KEYS) KEYS[key]();
  else if (grid.move(key)) near ? look() : grid.focus();
  else return;
  event.preventDefault();
}

for (const place of document.querySelectorAll(".ratings")) {
  for (let rating = 0; rating <= 5; rating++) {
    const button = make("button", { type: "button" }, String(rating));
    button.setAttribute("aria-label", `Rate ${rating}`);
    button.addEventListener("click", () => rate(rating));
    place.append(button);
  }
}
at("never").addEventListener("click", KEYS.x);
at("undo").addEventListener("click", undo);
at("look").addEventListener("click", look);
at("next").addEventListener("click", KEYS.n);
at("rename").addEventListener("click", askName);
at("close").addEventListener("click", closeNear);
dialog("closer").addEventListener("close", () => { near = null; grid.focus(); });
dialog("who").addEventListener("close", () => {
  rater = /** @type {HTMLInputElement} */ (at("name")).value.trim() || rater;
  if (!rater) return askName();
  localStorage.setItem("galaxymill rater", rater);
  at("rater").textContent = rater;
  before.length = 0;
  void next(false);
});
document.addEventListener("keydown", onKey);
window.addEventListener("beforeunload", (event) => { if (outbox.waiting.length) event.preventDefault(); });
if (rater) {
  at("rater").textContent = rater;
  void next(false);
} else askName();
