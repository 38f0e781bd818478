"use strict";
// The address holds what is seen, so that a view can be sent to a colleague who has the folder.

let isRecalling = false;

/** Spell what is seen for the address. */
function addressOf() {
  const parts = new URLSearchParams();
  for (const [number, { criterion }] of choice.criteria) {
    const own = meta.columns[number];
    if ("without" in criterion) parts.append(own.name, `${criterion.without}!${criterion.only}`);
    else if (own.kind === "yesno") parts.append(own.name, "yes");
    else {
      const ends = endsOf(own, criterion);
      const low = ends.low > 0 ? spell(own, ends.low) : "";
      parts.append(own.name, `${low}..${ends.high < own.count - 1 ? spell(own, ends.high) : ""}`);
    }
  }
  if (sky.view) {
    const { centre, zoom } = sky;
    parts.append(":view", sky.view.name);
    parts.append(":at", [centre.x.toFixed(1), centre.y.toFixed(1), zoom.toPrecision(5)].join(","));
  }
  if (sky.colour) parts.append(":colour", meta.columns[sky.colour.number].name);
  if (carded >= 0) parts.append(":galaxy", String(carded));
  return `#${parts}`;
}

/** Put what is seen in the address. */
function remember() {
  if (isRecalling || !document.body.dataset.ready) return;
  history.replaceState(null, "", addressOf());
}

/** Place of the threshold that is nearest to a number of the address. */
function placeOfThreshold(/** @type {Column} */ own, /** @type {string} */ text, /** @type {number} */ otherwise) {
  const value = Number(text);
  if (text === "" || Number.isNaN(value)) return otherwise;
  const scaled = own.decimals >= 0 ? value * 10 ** own.decimals : value / 10 ** -own.decimals;
  return Math.min(Math.max(Math.round((scaled - own.first) / own.step), 0), own.count - 1);
}

/** The criterion that a part of the address stands for; null for none. */
function criterionFrom(/** @type {Column} */ own, /** @type {string} */ text) {
  if (own.kind === "flags") {
    const [without, only] = text.split("!").map(Number);
    return without || only ? { without: without | 0, only: only | 0 } : null;
  }
  if (own.kind === "yesno") return { low: 1, high: 1 };
  if (own.kind !== "share" && own.kind !== "number") return null;
  const [low, high] = text.split("..");
  return criterionOf(own, {
    low: placeOfThreshold(own, low ?? "", 0),
    high: placeOfThreshold(own, high ?? "", own.count - 1),
  });
}

/** See what the address says; what it says of unknown columns is passed over. */
async function recall() {
  if (location.hash.length < 2) return;
  isRecalling = true;
  try {
    const parts = new URLSearchParams(location.hash.slice(1));
    const view = meta.views.find((one) => one.name === parts.get(":view"));
    if (view && view !== sky.view) {
      picker("view").value = String(meta.views.indexOf(view));
      await showView(view);
    }
    const [x, y, zoom] = (parts.get(":at") ?? "").split(",").map(Number);
    if (zoom > 0 && Number.isFinite(x + y + zoom)) [sky.centre, sky.zoom] = [{ x, y }, zoom];
    const named = new Map([...parts].map(([name, text]) => [numberOf(name), text]));
    named.delete(-1);
    for (const number of [...choice.criteria.keys()]) if (!named.has(number)) await choice.set(number, null);
    for (const [number, text] of named) {
      const criterion = criterionFrom(meta.columns[number], text);
      await guard(() => choice.set(number, criterion));
    }
    const colour = numberOf(parts.get(":colour") ?? "");
    picker("colour").value = String(colour);
    await colourBy(colour);
    showCriteria();
    showCount();
    sky.draw(choice);
    await showMatches();
    const row = Number(parts.get(":galaxy") ?? -1);
    if (row >= 0 && row < meta.galaxies && row !== carded) await showCard(row | 0);
  } finally {
    isRecalling = false;
  }
}
