"use strict";
// Sliders, switches and boxes: what a person chooses by.

/** @typedef {{low: number, high: number}} Ends Places of thresholds; at an end there is no bound. */

/** @type {Map<number, {show: (ends: Ends | null) => void}>} Sliders that are on the page. */
const sliders = new Map();

/**
 * Make an element: its properties, then what it holds.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else Object.assign(element, { [key]: value });
  }
  element.append(...children);
  return element;
}

/** Element of the page by its id; it is there. */
function at(/** @type {string} */ id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

function words(/** @type {string} */ name) {
  return name.replaceAll("_", " ").replaceAll("-", " ");
}

/** Write a threshold with the digits that it has. */
function spell(/** @type {Column} */ own, /** @type {number} */ place) {
  return threshold(own, place).toFixed(Math.max(own.decimals, 0));
}

/** Ends of a slider as a criterion of codes; null where it has no bound. */
function criterionOf(/** @type {Column} */ own, /** @type {Ends} */ ends) {
  const [first, last] = [ends.low <= 0, ends.high >= own.count - 1];
  if (first && last) return null;
  return { low: first ? 0 : 2 * ends.low + 1, high: last ? 2 * own.count : 2 * ends.high + 1 };
}

/** The ends that a column's criterion stands for. */
function endsOf(/** @type {Column} */ own, /** @type {Criterion | undefined} */ criterion) {
  const all = { low: 0, high: own.count - 1 };
  if (!criterion || !("low" in criterion)) return all;
  const { low, high } = criterion;
  return { low: low > 0 ? (low - 1) / 2 : 0, high: high < 2 * own.count ? (high - 1) / 2 : all.high };
}

/** A histogram with a slider of two ends for a column. */
function makeSlider(/** @type {number} */ number, /** @type {string} */ label) {
  const own = meta.columns[number];
  const last = own.count - 1;
  const bars = make("canvas", { width: 256, height: 32, "aria-hidden": "true" });
  const text = make("output");
  const inputs = ["from", "to"].map((end) =>
    make("input", { type: "range", min: "0", max: String(last), "aria-label": `${label}: ${end}` }));
  const show = (/** @type {Ends | null} */ ends) => {
    const { low, high } = ends ?? { low: 0, high: last };
    [inputs[0].value, inputs[1].value] = [String(low), String(high)];
    const unit = own.unit ? ` ${own.unit}` : "";
    text.value = `${low > 0 ? spell(own, low) : "any"} – ${high < last ? spell(own, high) : "any"}${unit}`;
    drawBars(bars, own, low, high);
    inputs.forEach((one, end) => one.setAttribute("aria-valuetext", spell(own, end ? high : low)));
  };
  const change = (/** @type {number} */ moved) => {
    const ends = { low: Number(inputs[0].value), high: Number(inputs[1].value) };
    // The end that is not moved gives way.
    if (ends.low > ends.high) [ends.low, ends.high] = moved ? [ends.high, ends.high] : [ends.low, ends.low];
    show(ends);
    choose(number, criterionOf(own, ends));
  };
  inputs.forEach((one, end) => one.addEventListener("input", () => change(end)));
  show(endsOf(own, choice.criteria.get(number)?.criterion));
  sliders.set(number, { show });
  const head = make("div", { className: "label", title: own.about }, make("span", {}, label), text);
  return make("div", { className: "slider", role: "group", "aria-label": label }, head,
    make("div", { className: "track" }, bars, ...inputs));
}

/** Draw a column's histogram; what is not chosen is pale. */
function drawBars(
  /** @type {HTMLCanvasElement} */ canvas,
  /** @type {Column} */ own,
  /** @type {number} */ low,
  /** @type {number} */ high,
) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const most = Math.max(...own.counts, 1);
  const step = canvas.width / own.counts.length;
  const last = own.count - 1 || 1;
  context.clearRect(0, 0, canvas.width, canvas.height);
  own.counts.forEach((count, bin) => {
    const share = (bin + 0.5) / own.counts.length;
    const inside = share >= (low - 0.5) / last && share <= (high + 0.5) / last;
    context.fillStyle = inside ? (isDark() ? "#74a9d8" : "#2b6cb0") : isDark() ? "#3a4150" : "#cfd6e0";
    const tall = count ? Math.max((Math.sqrt(count / most)) * canvas.height, 1) : 0;
    context.fillRect(bin * step, canvas.height - tall, step - 0.5, tall);
  });
}

/** A box to tick that demands a yes. */
function makeBox(/** @type {number} */ number, /** @type {string} */ label) {
  const box = make("input", { type: "checkbox" });
  box.addEventListener("change", () => choose(number, box.checked ? { low: 1, high: 1 } : null));
  const show = () => (box.checked = choice.criteria.has(number));
  show();
  sliders.set(number, { show });
  return make("label", { className: "box", title: meta.columns[number].about }, box, label);
}

/**
 * A part of the panel that is made when it is first opened.
 * @returns {HTMLElement}
 */
function fold(/** @type {string} */ title, /** @type {() => Node[]} */ content, open = false) {
  const part = make("details", {}, make("summary", {}, title));
  const fill = () => {
    if (part.open && part.children.length === 1) part.append(...content());
  };
  part.addEventListener("toggle", fill);
  part.open = open;
  fill();
  return part;
}

/** Sliders of an answer: the mean, and folded the ends of its interval. */
function makeAnswer(/** @type {Answer} */ answer) {
  /** @type {HTMLElement[]} */
  const parts = [makeSlider(answer.column, words(answer.name))];
  if (answer.lower >= 0 && answer.upper >= 0) {
    parts.push(fold("interval", () => [
      makeSlider(answer.lower, `${words(answer.name)}, 5th percentile`),
      makeSlider(answer.upper, `${words(answer.name)}, 95th percentile`),
    ]));
  }
  return make("div", {}, ...parts);
}

function makeQuestion(/** @type {Question} */ question, /** @type {boolean} */ open) {
  return fold(words(question.title), () => {
    const parts = question.answers.map(makeAnswer);
    if (question.asked >= 0) {
      const text = "only where the question would be asked";
      parts.unshift(make("div", {}, makeBox(question.asked, text)));
    }
    return parts;
  }, open);
}

/** A switch of a flag: any, without, only with. */
function makeFlag(/** @type {number} */ number, /** @type {[number, string, string]} */ flag) {
  const [bit, name, about] = flag;
  const pick = make("select", { "aria-label": words(name) },
    ...["any", "without", "only"].map((text) => make("option", { value: text }, text)));
  pick.addEventListener("change", () => {
    const now = flagCriterion(number);
    const next = { without: now.without & ~bit, only: now.only & ~bit };
    if (pick.value === "without") next.without |= bit;
    if (pick.value === "only") next.only |= bit;
    choose(number, next.without || next.only ? next : null);
  });
  const show = () => {
    const now = flagCriterion(number);
    pick.value = now.without & bit ? "without" : now.only & bit ? "only" : "any";
  };
  show();
  return { row: make("label", { className: "box", title: about }, pick, words(name)), show };
}

function flagCriterion(/** @type {number} */ number) {
  const criterion = choice.criteria.get(number)?.criterion;
  return criterion && "without" in criterion ? criterion : { without: 0, only: 0 };
}

/** The panel: questions, other columns, selections, flags. */
function makePanel() {
  const panel = at("panel");
  const shown = new Set(meta.questions.flatMap((one) => one.answers.flatMap((answer) =>
    [answer.column, answer.lower, answer.upper])));
  meta.questions.forEach((one, place) => panel.append(makeQuestion(one, place === 0)));
  const of = (/** @type {(one: Column, number: number) => boolean} */ test) =>
    meta.columns.map((_, number) => number).filter((number) => test(meta.columns[number], number));
  const numbers = of((one, number) => !shown.has(number) && ["number", "share"].includes(one.kind));
  const boxes = of((one) => one.kind === "yesno" && !one.name.startsWith("asked:"));
  const flags = numberOf("flags");
  if (boxes.length) {
    panel.append(fold("Selections", () => boxes.map((number) =>
      makeBox(number, `${words(meta.columns[number].name)} (${meta.columns[number].yes.toLocaleString("en")})`)), true));
  }
  if (numbers.length) {
    panel.append(fold("Numbers", () => numbers.map((number) =>
      makeSlider(number, words(meta.columns[number].name)))));
  }
  if (flags >= 0) {
    panel.append(fold("Flags", () => {
      const made = meta.flags.map((flag) => makeFlag(flags, flag));
      sliders.set(flags, { show: () => made.forEach((one) => one.show()) });
      return made.map((one) => one.row);
    }));
  }
}

/** Show on the page what is chosen. */
function showCriteria() {
  for (const [number, slider] of sliders) {
    slider.show(endsOf(meta.columns[number], choice.criteria.get(number)?.criterion));
  }
}
