// The galaxies to be rated, of which one is marked.

import { at, make, picture, said } from "./parts.js";

/** @typedef {import("./server.js").Galaxy} Galaxy */

export class Grid {
  /** @param {(id: string) => boolean} isWaiting @param {() => void} look */
  constructor(isWaiting, look) {
    this.isWaiting = isWaiting;
    this.look = look;
    /** @type {Galaxy[]} */
    this.galaxies = [];
    /** @type {HTMLButtonElement[]} */
    this.cells = [];
    this.marked = 0;
  }

  show(/** @type {Galaxy[]} */ galaxies) {
    this.galaxies = galaxies;
    this.cells = galaxies.map((galaxy, place) => {
      const badge = make("span", { className: "badge" });
      const cell = make("button", { type: "button" }, picture(galaxy.number), badge);
      cell.addEventListener("click", (event) => {
        this.mark(place);
        // By keyboard, or the second of two clicks.
        if (event.detail !== 1) this.look();
      });
      cell.addEventListener("focus", () => this.mark(place));
      return cell;
    });
    at("grid").replaceChildren(...this.cells);
    const first = galaxies.findIndex((one) => one.rating === null);
    this.marked = Math.max(first, 0);
    this.update();
    this.focus();
  }

  /** Show anew what is said of each galaxy. */
  update() {
    this.galaxies.forEach((galaxy, place) => {
      const cell = this.cells[place];
      const isRated = galaxy.rating !== null;
      cell.className = "cell";
      cell.classList.toggle("rated", isRated);
      cell.classList.toggle("marked", place === this.marked);
      cell.classList.toggle("waiting", this.isWaiting(galaxy.id));
      cell.tabIndex = place === this.marked ? 0 : -1;
      cell.title = galaxy.id;
      cell.setAttribute("aria-label", `Galaxy ${galaxy.id}, ${said(galaxy)}`);
      const badge = /** @type {HTMLElement} */ (cell.lastElementChild);
      badge.hidden = !isRated;
      badge.textContent = galaxy.artifact ? "×" : String(galaxy.rating ?? "");
    });
  }

  /** @returns {Galaxy | undefined} */
  get current() {
    return this.galaxies[this.marked];
  }

  mark(/** @type {number} */ place) {
    if (place === this.marked || !this.cells[place]) return;
    this.marked = place;
    this.update();
  }

  focus() {
    this.cells[this.marked]?.focus();
  }

  /** Move by an arrow's key; tells whether it was one. */
  move(/** @type {string} */ key) {
    const across = getComputedStyle(at("grid")).gridTemplateColumns.split(" ").length;
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (!(key in steps)) return false;
    this.mark(this.marked + steps[key]);
    return true;
  }

  /** Mark a galaxy by name, where it is here. */
  markId(/** @type {string} */ id) {
    this.mark(this.galaxies.findIndex((one) => one.id === id));
  }

  /** Mark the next that is not rated; tells whether there is one. */
  moveOn() {
    const count = this.galaxies.length;
    for (let step = 1; step <= count; step++) {
      const place = (this.marked + step) % count;
      if (this.galaxies[place].rating === null) {
        this.mark(place);
        return true;
      }
    }
    return false;
  }
}
