// The terms that add up to one number, and numbers as the sums write them.

/** @import { Step } from "./explorer-engine.js" */

/**
 * An input and what it adds; of a convolution also the numbers that are multiplied, and which lie inside the map.
 * @typedef {{ channel: number, sum: number }} Term
 * @typedef {Term & { seen: Float32Array, weights: Float32Array, inside: boolean[] }} ConvTerm
 */

/**
 * A number as sums write it: four decimals, a true minus, and no minus before zero.
 * @param {number} value
 * @returns {string}
 */
export const exact = (value) => (Math.abs(value) < 5e-5 ? "0.0000" : value.toFixed(4)).replace("-", "−");

/**
 * A number behind others in a sum, with its sign.
 * @param {number} value
 * @returns {string}
 */
export const signedText = (value) => (value < 0 && Math.abs(value) >= 5e-5 ? ` − ${exact(-value)}` : ` + ${exact(Math.abs(value))}`);
export const MOST_TERMS = 40; // rows of a long sum; the rest stands in one row

/**
 * What one cell of a convolution is made of: for each input channel its window, its kernel and their product's sum.
 * @param {Step} step
 * @param {Float32Array} before
 * @param {number} unit
 * @param {number} row
 * @param {number} column
 * @returns {ConvTerm[]}
 */
export function convTerms(step, before, unit, row, column) {
  const { kernel, stride, padding, dilation } = step.window, [inputs, height, width] = step.input, area = kernel * kernel;
  return Array.from({ length: inputs }, (_, channel) => {
    const weights = step.weight.subarray((unit * inputs + channel) * area, (unit * inputs + channel + 1) * area);
    const seen = new Float32Array(area), inside = [];
    let sum = 0;
    for (let i = 0; i < area; i++) {
      const y = row * stride - padding + Math.floor(i / kernel) * dilation, x = column * stride - padding + (i % kernel) * dilation;
      inside.push(y >= 0 && x >= 0 && y < height && x < width);
      seen[i] = inside[i] ? before[(channel * height + y) * width + x] : 0;
      sum += seen[i] * weights[i];
    }
    return { channel, sum, seen, weights, inside };
  });
}
