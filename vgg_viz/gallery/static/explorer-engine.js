// The network itself in plain arithmetic: sums in double precision, results in single, as little as it takes.

import { ACTIVATIONS } from "./explorer-activations.js";
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
 * @property {Window | null} window  of a pool without one: as many cells as it takes to make `shape`
 * @property {boolean} [pads]  of a mean: padding is counted, as zeros
 * @property {number[]} [values]  of an activation: its own numbers; of local response norm: size, alpha, beta, k
 * @property {boolean} [head]  a part of the classifier
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

/**
 * The stretch of an axis that one place of an adaptive pool covers: [first, behind the last).
 * @param {number} place
 * @param {number} places
 * @param {number} side
 * @returns {[number, number]}
 */
const stretch = (place, places, side) => [Math.floor((place * side) / places), Math.ceil(((place + 1) * side) / places)];

/**
 * What one place of a pool covers along an axis: the first cell, the one behind the last, and how many there are with padding.
 * @param {Step} step
 * @param {number} axis  1: rows, 2: columns
 * @param {number} place
 * @returns {[number, number, number]}
 */
export function covered({ window, input, shape }, axis, place) {
  const side = input[axis];
  if (!window) { const [from, to] = stretch(place, shape[axis], side); return [from, to, to - from]; }
  const first = place * window.stride - window.padding, end = Math.min(first + window.kernel, side + window.padding);
  return [Math.max(0, first), Math.min(end, side), end - first];
}

/**
 * The windows of a pool, channel after channel: what is called gets the place of the window's answer, the place of its
 * channel's first cell, the rows and columns that it covers, and how many cells a mean of it counts.
 * @param {Step} step
 * @param {(at: number, from: number, y: [number, number, number], x: [number, number, number], count: number) => void} each
 * @returns {void}
 */
export function eachWindow(step, each) {
  const [, height, width] = step.input, [channels, h, w] = step.shape;
  const rows = Array.from({ length: h }, (_, row) => covered(step, 1, row)), columns = Array.from({ length: w }, (_, column) => covered(step, 2, column));
  for (let c = 0, at = 0; c < channels; c++) {
    for (const y of rows) for (const x of columns) each(at++, c * height * width, y, x, step.pads ? y[2] * x[2] : (y[1] - y[0]) * (x[1] - x[0]));
  }
}

function maxPool(values, step) {
  const width = step.input[2], out = new Float32Array(step.shape[0] * step.shape[1] * step.shape[2]);
  eachWindow(step, (at, from, [y0, y1], [x0, x1]) => {
    let best = -Infinity;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) best = Math.max(best, values[from + y * width + x]);
    out[at] = best;
  });
  return out;
}

function averagePool(values, step) {
  const width = step.input[2], out = new Float32Array(step.shape[0] * step.shape[1] * step.shape[2]);
  eachWindow(step, (at, from, [y0, y1], [x0, x1], count) => {
    let sum = 0;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += values[from + y * width + x];
    out[at] = sum / count;
  });
  return out;
}

/**
 * What local response norm divides each number by: k and the mean square of the channels around it, to a power.
 * @param {Float32Array} values
 * @param {Step} step
 * @returns {Float64Array}  before the power
 */
export function neighbourhood(values, { shape, values: [size, alpha, , k] }) {
  const [channels, height, width] = shape, area = height * width, out = new Float64Array(values.length), [below, above] = [Math.floor(size / 2), Math.floor((size - 1) / 2)];
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < area; i++) {
      let sum = 0;
      for (let other = Math.max(0, c - below); other <= Math.min(channels - 1, c + above); other++) sum += values[other * area + i] ** 2;
      out[c * area + i] = k + (alpha * sum) / size;
    }
  }
  return out;
}

function responseNorm(values, step) {
  const around = neighbourhood(values, step);
  return values.map((value, i) => value / around[i] ** step.values[2]);
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
  ...Object.fromEntries(Object.entries(ACTIVATIONS).map(([kind, { value }]) => [kind, (values, step) => values.map((one) => value(one, step.values ?? []))])),
  lrn: responseNorm,
  pool: maxPool,
  avgpool: averagePool,
  flatten: (values) => values,
  fc: connect,
  softmax,
  scores: (values) => values,
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
