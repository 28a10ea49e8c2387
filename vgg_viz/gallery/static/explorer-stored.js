// A network that does not run here: what it said about each picture was written down, maps as bytes and sums in full.

import { make } from "./elements.js";
import { ACTIVATIONS } from "./explorer-activations.js";
import { extremes, scaleOf } from "./explorer-colours.js";
import { floatsOf, LAYER_RULES } from "./explorer-engine.js";
import { around, grid, numberGrid, pooled, sign, termList } from "./explorer-sums.js";
import { exact, signedText } from "./explorer-terms.js";
import { valuesOf } from "./paint.js";
import { bytesOf } from "./values.js";

/** @import { Step } from "./explorer-engine.js" */
/** @import { Explained } from "./explorer-sums.js" */

/**
 * What every step said about one picture, in the form that a live network gives it.
 * @param {Step[]} steps
 * @param {any} picture
 * @param {Float32Array} pixels
 * @returns {Float32Array[]}
 */
export function storedAnswers(steps, picture, pixels) {
  const answers = [LAYER_RULES.normalise(pixels, steps[0])];
  for (const answer of picture.answers) {
    if (answer.values) { answers.push(floatsOf(answer.values)); continue; }
    const [, h, w] = steps[answers.length].shape, values = new Float32Array(answer.data.length * h * w);
    answer.data.forEach((data, unit) => values.set(valuesOf({ low: answer.low[unit], high: answer.high[unit], h, w, bytes: bytesOf(data) }), unit * h * w));
    answers.push(values);
  }
  return [...answers, LAYER_RULES[steps.at(-1).kind](answers.at(-1))];
}

/**
 * The unit whose sum was written down and came out highest.
 * @param {any} picture
 * @param {number} layer
 * @returns {number}
 */
export function storedStrongest(picture, layer) {
  const cells = Object.entries(picture?.cells?.[layer - 1] ?? {});
  return cells.length ? Number(cells.reduce((best, cell) => (cell[1].value > best[1].value ? cell : best))[0]) : 0;
}

/**
 * The sum behind the strongest cell of a unit, or nothing where none was written down.
 * @param {any} picture
 * @param {number} layer
 * @param {number} id
 * @returns {any}
 */
export const storedCell = (picture, layer, id) => picture?.cells?.[layer - 1]?.[id];

/**
 * What fed a unit at its strongest cell, as far as it was written down: [unit below, sum].
 * @param {Step[]} steps
 * @param {number} layer
 * @param {number} id
 * @param {any} cell
 * @returns {[number, number][]}
 */
export function storedFlows(steps, layer, id, cell) {
  const below = steps[layer - 1];
  if (!cell) return [];
  return (cell.terms ?? [[id, 1]]).map(([channel, sum]) => [below.units ? below.units.indexOf(channel) : channel, sum]).filter(([unit]) => unit >= 0 && unit < below.shape[0]);
}

/**
 * Where a unit was strongest, the inputs that made it so, and the sum: as for a live network, at this one cell.
 * @param {Step} step
 * @param {any} cell
 * @param {Record<string, any>} page
 * @returns {Explained}
 */
export function storedSum(step, cell, { names, below, pick, picked, others }) {
  if (!cell) {
    const offered = others.map(([text, go]) => { const button = make("button", { type: "button" }, make("bdi", { text })); button.addEventListener("click", go); return button; });
    return { text: "The sum of this unit was not written down. These were, the strongest of the layer:", parts: [make("div", { class: "others" }, ...offered)] };
  }
  const at = step.full.length === 3 ? ` (row ${cell.row + 1}, column ${cell.column + 1} of ${step.full[1]} × ${step.full[2]})` : "";
  if (!cell.terms) {
    if (step.kind === "flatten") return { text: "The map of this output is one cell, and that is its score.", parts: [make("p", { class: "sum" }, make("strong", { text: exact(cell.value) }))] };
    const under = { cells: cell.seen, wide: cell.wide, size: `${cell.tall} × ${cell.wide}`, count: cell.count, sum: cell.sum };
    const { text, parts } = pooled(step.kind, under, scaleOf(step.inputColours, extremes(cell.seen)), cell.value);
    return { text: `${text} At the strongest place of this unit${at}.`, parts };
  }
  const terms = cell.terms.map(([channel, sum]) => ({ channel, sum })), chosen = Math.max(0, terms.findIndex((term) => term.channel === picked));
  const list = termList(terms, { label: (term) => names(term.channel), pick: cell.seen ? (term) => pick(term.channel) : null, picked: terms[chosen], addend: ["bias", cell.bias] });
  if (cell.more) list.insertBefore(make("li", { class: "term rest" }, make("span", { class: "term-name", text: `${cell.more} smaller ones together` }), make("span"), make("span", { class: "term-value", text: exact(cell.rest) })), list.lastChild);
  const sum = terms.reduce((total, term) => total + term.sum, cell.rest) + cell.bias;
  const parts = [list], bars = [...terms.map((term) => [names(term.channel), term.sum]), ...(cell.more ? [[`${cell.more} smaller ones together`, cell.rest]] : []), ["bias", cell.bias]];
  if (cell.seen?.[chosen]) {
    const seen = cell.seen[chosen], kernel = cell.kernel[chosen], products = seen.map((value, i) => value * kernel[i]);
    parts[0] = make("div", { class: "two-parts" }, make("div", { class: "picked" }, make("h4", { text: `${below}, ${names(terms[chosen].channel)}` }),
      grid(numberGrid("window", seen, cell.side, scaleOf(step.inputColours, extremes(seen))), sign("×"), numberGrid("kernel", kernel, cell.side, around(kernel)), sign("="), numberGrid("products", products, cell.side, around(products))),
      make("p", { class: "sum", text: `The ${products.length} products add up to ${exact(terms[chosen].sum)}.` })), list);
  }
  const line = [`${terms.length + cell.more} terms${signedText(cell.bias)} (bias) = `];
  let result = sum;
  for (const [kind, ...values] of cell.after) {
    line.push(exact(result));
    if (kind === "bn") line.push(`; batch norm: × ${exact(values[0])}${signedText(values[1])} = `);
    else line.push(`; ${ACTIVATIONS[kind].title}${values.length ? ` (${values.join(", ")})` : ""}: `);
    result = kind === "bn" ? result * values[0] + values[1] : ACTIVATIONS[kind].value(result, values);
  }
  parts.push(make("p", { class: "sum" }, line.join(""), make("strong", { text: exact(result) })));
  return { text: `This sum was written down when the report was made, at the strongest place of this unit${at}.`, hint: ` Choose an input${cell.seen ? "; the strongest show every number" : ""}.`, parts, bars };
}
