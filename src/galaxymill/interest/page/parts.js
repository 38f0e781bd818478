// Pieces of the page.

/** @returns {HTMLElement} */
export function at(/** @type {string} */ id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no ${id}`);
  return found;
}

/** @returns {HTMLDialogElement} */
export function dialog(/** @type {string} */ id) {
  return /** @type {HTMLDialogElement} */ (at(id));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} values
 * @param {(Node | string)[]} content
 */
export function make(tag, values = {}, ...content) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...content);
  return made;
}

/** Picture of a galaxy, or a grey field where there is none. */
export function picture(/** @type {number} */ number, alt = "") {
  const image = make("img", { src: `image/${number}`, alt });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "grey" }, "no image")));
  return image;
}

export function said(/** @type {import("./server.js").Galaxy} */ galaxy) {
  if (galaxy.artifact) return "never again";
  return galaxy.rating === null ? "not rated" : `rated ${galaxy.rating}`;
}
