// The way back through the network: how much one number at its end would change with every number before it.

import { ACTIVATIONS } from "./explorer-activations.js";
import { convolve, eachWindow, neighbourhood, perChannel } from "./explorer-engine.js";

/** @import { Step } from "./explorer-engine.js" */

// What each kernel of a convolution does on the way back: inputs and outputs swapped, rows and columns turned round.
const turnedKernels = new WeakMap();
function turned(step) {
  if (!turnedKernels.has(step)) {
    const [inputs, outputs, area] = [step.input[0], step.shape[0], step.window.kernel ** 2], out = new Float32Array(step.weight.length);
    for (let o = 0, k = 0; o < outputs; o++) {
      for (let c = 0; c < inputs; c++) for (let i = area - 1; i >= 0; i--, k++) out[(c * outputs + o) * area + i] = step.weight[k];
    }
    turnedKernels.set(step, out);
  }
  return turnedKernels.get(step);
}

// A convolution backwards is a convolution: its gradients are laid out `stride` apart with room for the whole window
// around them, and the turned kernels slide over that.
function convolveBack(gradient, step) {
  const { kernel, stride, padding, dilation } = step.window, [inputs, height, width] = step.input, [outputs, h, w] = step.shape;
  const reach = dilation * (kernel - 1), tall = height + reach, wide = width + reach, spread = new Float32Array(outputs * tall * wide);
  for (let o = 0, at = 0; o < outputs; o++) {
    for (let row = 0, y = reach - padding; row < h; row++, y += stride) {
      for (let column = 0, x = reach - padding; column < w; column++, x += stride, at++) {
        if (y >= 0 && y < tall && x >= 0 && x < wide) spread[(o * tall + y) * wide + x] = gradient[at];
      }
    }
  }
  return convolve(spread, {
    weight: turned(step), bias: new Float32Array(inputs), window: { kernel, stride: 1, padding: 0, dilation }, input: [outputs, tall, wide], shape: step.input,
  });
}

// All of a window's gradient goes to its largest number; of several equal ones, to the first.
function maxPoolBack(gradient, step, before) {
  const width = step.input[2], out = new Float32Array(before.length);
  eachWindow(step, (at, from, [y0, y1], [x0, x1]) => {
    let best = from + y0 * width + x0;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) if (before[from + y * width + x] > before[best]) best = from + y * width + x;
    out[best] += gradient[at];
  });
  return out;
}

function averagePoolBack(gradient, step, before) {
  const width = step.input[2], out = new Float32Array(before.length);
  eachWindow(step, (at, from, [y0, y1], [x0, x1], count) => {
    const share = gradient[at] / count;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) out[from + y * width + x] += share;
  });
  return out;
}

// A number raises its own answer, and lowers those of the channels that have it for a neighbour.
function responseNormBack(gradient, step, before) {
  const [channels, height, width] = step.shape, area = height * width, [size, alpha, beta] = step.values, around = neighbourhood(before, step), out = new Float32Array(before.length);
  const [below, above] = [Math.floor(size / 2), Math.floor((size - 1) / 2)];
  for (let c = 0; c < channels; c++) {
    for (let i = c * area, at = 0; at < area; i++, at++) {
      let shared = 0;
      for (let other = Math.max(0, c - above); other <= Math.min(channels - 1, c + below); other++) {
        const j = other * area + at;
        shared += (gradient[j] * before[j]) / around[j] ** (beta + 1);
      }
      out[i] = gradient[i] / around[i] ** beta - ((2 * alpha * beta) / size) * before[i] * shared;
    }
  }
  return out;
}

function connectBack(gradient, step, before) {
  const out = new Float64Array(before.length);
  gradient.forEach((slope, o) => {
    if (slope) for (let i = 0, k = o * out.length; i < out.length; i++, k++) out[i] += slope * step.weight[k];
  });
  return Float32Array.from(out);
}

const WAYS_BACK = {
  normalise: (gradient, step) => perChannel(gradient, step, (slope, std) => slope / std),
  conv: convolveBack,
  bn: (gradient, step) => perChannel(gradient, step, (slope, factor) => slope * factor),
  ...Object.fromEntries(Object.entries(ACTIVATIONS).map(([kind, { slope }]) => [kind, (gradient, step, before) => gradient.map((one, i) => (one === 0 ? 0 : one * slope(before[i], step.values ?? [])))])),
  lrn: responseNormBack,
  pool: maxPoolBack,
  avgpool: averagePoolBack,
  flatten: (gradient) => gradient,
  fc: connectBack,
};

/**
 * The gradient of number `place` of the step `from`: with respect to every step's output up to there, and to the
 * pixels.
 * @param {Step[]} steps
 * @param {Float32Array[]} activations
 * @param {Float32Array} pixels
 * @param {number} from
 * @param {number} place
 * @returns {{ gradients: Float32Array[], pixels: Float32Array }}
 */
export function backward(steps, activations, pixels, from, place) {
  let gradient = new Float32Array(activations[from].length);
  gradient[place] = 1;
  const gradients = [];
  for (let i = from; i >= 0; i--) {
    gradients[i] = gradient;
    gradient = WAYS_BACK[steps[i].kind](gradient, steps[i], i ? activations[i - 1] : pixels);
  }
  return { gradients, pixels: gradient };
}
