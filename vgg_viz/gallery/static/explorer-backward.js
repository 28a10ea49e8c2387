// The way back through the network: how much one number at its end would change with every number before it.

import { convolve, perChannel, stretch } from "./explorer-engine.js";

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
  const { kernel, stride } = step.window, [, height, width] = step.input, [channels, h, w] = step.shape, out = new Float32Array(before.length);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++, at++) {
        const first = (c * height + row * stride) * width + column * stride;
        let best = first;
        for (let ky = 0; ky < kernel; ky++) {
          for (let kx = 0; kx < kernel; kx++) if (before[first + ky * width + kx] > before[best]) best = first + ky * width + kx;
        }
        out[best] += gradient[at];
      }
    }
  }
  return out;
}

function averagePoolBack(gradient, step, before) {
  const [, height, width] = step.input, [channels, h, w] = step.shape, out = new Float32Array(before.length);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++, at++) {
        const [y0, y1] = stretch(row, h, height), [x0, x1] = stretch(column, w, width), share = gradient[at] / ((y1 - y0) * (x1 - x0));
        for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) out[(c * height + y) * width + x] += share;
      }
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
  relu: (gradient, _step, before) => gradient.map((slope, i) => (before[i] > 0 ? slope : 0)),
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
