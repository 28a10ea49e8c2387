// The network itself in plain arithmetic: sums in double precision, results in single, as little as it takes.

import { bytesOf } from "./values.js";

/** @import { Colours } from "./explorer-colours.js" */
/** @import { Field } from "./paint.js" */

/**
 * What slides over a map.
 * @typedef {{ kernel: number, stride: number, padding: number, dilation: number }} Window
 */

/**
 * A layer of the network: `shape` is that of what it gives, `input` of what it gets; [channels, rows, columns] or [units].
 * @typedef {object} Step
 * @property {string} name
 * @property {string} kind  a word of LAYER_RULES
 * @property {number[]} shape
 * @property {number[]} input
 * @property {Window | null} window
 * @property {Float32Array | null} [weight]
 * @property {Float32Array | null} [bias]
 * @property {Field | null} field  what its units see; null where they differ
 * @property {string} [title]
 * @property {Colours} [inputColours]
 * @property {number[]} [units]  which of all its units a page holds, of a network too large to run
 * @property {number[]} [full]  the shape of all of it, of such a network
 * @property {number} [factor]  how many cells a side one stored cell is the mean of
 */

/**
 * What a convolution needs to know.
 * @typedef {{ window: Window, input: number[], shape: number[], weight: ArrayLike<number>, bias: ArrayLike<number> }} Filter
 */

/**
 * Base64 of little-endian float32, which every browser's machine reads as it stands.
 * @param {string} text
 * @returns {Float32Array}
 */
export const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);

/**
 * Steps with their weights as views into one block, and each with the shape of what it gets.
 * @param {any} data
 * @returns {Step[]}
 */
export function openNetwork(data) {
  const block = floatsOf(data.weights);
  const view = (range) => (range ? block.subarray(range[0], range[0] + range[1]) : null);
  let before = [data.channels, data.side, data.side];
  return data.steps.map((step) => {
    const opened = { ...step, input: before, weight: view(step.weight), bias: view(step.bias) };
    before = step.shape;
    return opened;
  });
}

/**
 * A map with a rim of zeros, so that windows never leave it.
 * @param {Float32Array} values
 * @param {number[]} shape
 * @param {number} rim
 */
function withRim(values, [channels, height, width], rim) {
  if (!rim) return values;
  const wide = width + 2 * rim, out = new Float32Array(channels * (height + 2 * rim) * wide);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const from = (c * height + y) * width;
      out.set(values.subarray(from, from + width), (c * (height + 2 * rim) + y + rim) * wide + rim);
    }
  }
  return out;
}

/**
 * A convolution; `values` are (channel, row, column).
 * @param {Float32Array} values
 * @param {Filter} step
 * @returns {Float32Array}
 */
export function convolve(values, step) {
  const { kernel, stride, padding, dilation } = step.window, [inputs, height, width] = step.input, [outputs, h, w] = step.shape;
  const tall = height + 2 * padding, wide = width + 2 * padding, source = withRim(values, step.input, padding);
  const out = new Float32Array(outputs * h * w), sums = new Float64Array(h * w), weight = step.weight;
  for (let o = 0, k = 0; o < outputs; o++) {
    sums.fill(step.bias[o]);
    for (let c = 0; c < inputs; c++) {
      for (let ky = 0; ky < kernel; ky++, k += kernel) {
        const start = (c * tall + ky * dilation) * wide;
        if (kernel === 3 && stride === 1 && dilation === 1) {
          // The usual window, three products at once: this loop is nearly all the time that a picture takes.
          const left = weight[k], middle = weight[k + 1], right = weight[k + 2];
          for (let y = 0; y < h; y++) {
            const from = start + y * wide, to = y * w;
            for (let x = 0; x < w; x++) sums[to + x] += left * source[from + x] + middle * source[from + x + 1] + right * source[from + x + 2];
          }
        } else {
          for (let kx = 0; kx < kernel; kx++) {
            const factor = weight[k + kx];
            for (let y = 0; y < h; y++) {
              const from = start + y * stride * wide + kx * dilation, to = y * w;
              for (let x = 0; x < w; x++) sums[to + x] += factor * source[from + x * stride];
            }
          }
        }
      }
    }
    out.set(sums, o * h * w);
  }
  return out;
}

function maxPool(values, step) {
  const { kernel, stride } = step.window, [, height, width] = step.input, [channels, h, w] = step.shape;
  const out = new Float32Array(channels * h * w);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++, at++) {
        let best = -Infinity;
        for (let ky = 0; ky < kernel; ky++) {
          for (let kx = 0; kx < kernel; kx++) best = Math.max(best, values[(c * height + y * stride + ky) * width + x * stride + kx]);
        }
        out[at] = best;
      }
    }
  }
  return out;
}

/**
 * The stretch of an axis that one place of an adaptive average pool covers: [first, behind the last).
 * @param {number} place
 * @param {number} places
 * @param {number} side
 * @returns {[number, number]}
 */
export const stretch = (place, places, side) => [Math.floor((place * side) / places), Math.ceil(((place + 1) * side) / places)];

function averagePool(values, step) {
  const [, height, width] = step.input, [channels, h, w] = step.shape, out = new Float32Array(channels * h * w);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++, at++) {
        const [y0, y1] = stretch(row, h, height), [x0, x1] = stretch(column, w, width);
        let sum = 0;
        for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += values[(c * height + y) * width + x];
        out[at] = sum / ((y1 - y0) * (x1 - x0));
      }
    }
  }
  return out;
}

function connect(values, step) {
  const count = values.length;
  return Float32Array.from(step.bias, (bias, o) => {
    let sum = bias;
    for (let i = 0, k = o * count; i < count; i++, k++) sum += step.weight[k] * values[i];
    return sum;
  });
}

/**
 * Scores as shares that add up to one.
 * @param {Float32Array} scores
 * @returns {Float32Array}
 */
export function softmax(scores) {
  const top = scores.reduce((best, score) => Math.max(best, score), -Infinity);
  const powers = Array.from(scores, (score) => Math.exp(score - top)), sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/**
 * Each channel by its own factor and addend: batch norm with what training left in it.
 * @param {Float32Array} values
 * @param {Step} step
 * @param {(value: number, weight: number, bias: number) => number} rule
 * @returns {Float32Array}
 */
export function perChannel(values, step, rule) {
  const area = values.length / step.weight.length;
  return values.map((value, i) => { const c = Math.floor(i / area); return rule(value, step.weight[c], step.bias[c]); });
}

export const LAYER_RULES = {
  normalise: (values, step) => perChannel(values, step, (value, std, mean) => (value - mean) / std),
  conv: convolve,
  bn: (values, step) => perChannel(values, step, (value, factor, addend) => value * factor + addend),
  relu: (values) => values.map((value) => Math.max(0, value)),
  pool: maxPool,
  avgpool: averagePool,
  flatten: (values) => values,
  fc: connect,
  softmax,
};

/**
 * What every step says about one picture: pixels (channel, row, column) in [0, 1] go in.
 * @param {Step[]} steps
 * @param {Float32Array} pixels
 * @returns {Float32Array[]}
 */
export function forward(steps, pixels) {
  let values = pixels;
  return steps.map((step) => (values = LAYER_RULES[step.kind](values, step)));
}
