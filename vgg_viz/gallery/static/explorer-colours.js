// From the numbers of a layer to colours: which table it gets, and where in it a number lies.

import { TABLES } from "./colours.js";
import { ACTIVATIONS } from "./explorer-activations.js";
import { topOf } from "./paint.js";
import { clamp, finite } from "./values.js";

/** @import { Step } from "./explorer-engine.js" */

/** @typedef {"grey" | "unsigned" | "signed"} Colours */

/**
 * Which values get the first and the last colour.
 * @typedef {{ colours: Colours, low: number, high: number }} Scale
 */

const GREY = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
const SIGNED = new Set(["conv", "bn", "fc", "scores"]);

/**
 * Which colours a layer gets: grey for the picture, one hue from zero up where nothing is negative, two hues else.
 * @param {Step[]} steps
 * @param {number} index
 * @returns {Colours}
 */
export function coloursOf(steps, index) {
  if (steps[index].kind === "normalise") return "grey";
  for (let i = index; i > 0; i--) {
    const { kind } = steps[i];
    if (kind === "softmax" || ACTIVATIONS[kind]?.never) return "unsigned";
    if (SIGNED.has(kind) || ACTIVATIONS[kind]) return "signed";
  }
  return "signed";
}

/**
 * The smallest and the largest of some values.
 * @param {ArrayLike<number>} values
 * @param {number} [from]
 * @param {number} [to]
 * @returns {[number, number]}
 */
export function extremes(values, from = 0, to = values.length) {
  let low = Infinity, high = -Infinity;
  for (let i = from; i < to; i++) { low = Math.min(low, values[i]); high = Math.max(high, values[i]); }
  return [finite(low), finite(high)];
}

/**
 * The scale of some values: what gets the first and the last colour. Two hues have zero in the middle.
 * @param {Colours} colours
 * @param {number[]} ends
 * @returns {Scale}
 */
export function scaleOf(colours, [low, high]) {
  if (colours === "grey") return { colours, low, high };
  const top = topOf(low, high, colours === "signed");
  return { colours, low: colours === "signed" ? -top : 0, high: top };
}

/**
 * The table of colours, 256 times red, green, blue.
 * @param {Colours} colours
 * @returns {Uint8Array}
 */
export const tableOf = (colours) => (colours === "grey" ? GREY : TABLES[colours]);

/**
 * Where in its table a value finds its colour: a flat scale with two hues has everything at the neutral one.
 * @param {number} value
 * @param {Scale} scale
 * @returns {number}
 */
export function colourPlace(value, { colours, low, high }) {
  const t = high > low ? clamp((value - low) / (high - low), 0, 1) : colours === "signed" ? 0.5 : 0;
  return 3 * Math.min(255, Math.floor(t * 256));
}

/**
 * The colour of a value: red, green, blue.
 * @param {number} value
 * @param {Scale} scale
 * @returns {number[]}
 */
export function colourOf(value, scale) {
  const at = colourPlace(value, scale);
  return [...tableOf(scale.colours).subarray(at, at + 3)];
}
