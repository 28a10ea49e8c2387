// Layers that answer at a place by what stands at that place alone: value, slope, and how one number is told.
// `values` are a layer's own numbers, such as the slope of a leaky ReLU. `never` says that nothing below zero comes out.

import { clamp } from "./values.js";

/**
 * @typedef {object} Activation
 * @property {string} title
 * @property {(x: number, values: number[]) => number} value
 * @property {(x: number, values: number[]) => number} slope
 * @property {(values: number[]) => string} about  what it does, as a sentence
 * @property {(x: number, values: number[], exact: (value: number) => string) => string} sum  how one number comes about
 * @property {boolean} [never]
 */

const SELU = [1.6732632423543772, 1.0507009873554805];

const logistic = (x) => 1 / (1 + Math.exp(-x));

// The normal distribution up to x, by a series whose terms all have one sign: to the last digits of a double.
function normal(x) {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0;
  let term = x, sum = x;
  for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) { term *= (x * x) / n; sum += term; }
  return 0.5 + sum * bell(x);
}
const bell = (x) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const softplus = (x) => (x > 20 ? x : Math.log1p(Math.exp(x)));

/** @type {Record<string, Activation>} */
export const ACTIVATIONS = {
  relu: {
    title: "ReLU", never: true,
    value: (x) => Math.max(0, x),
    slope: (x) => (x > 0 ? 1 : 0),
    about: () => "ReLU lets through what is above zero and stops the rest; without it, all layers together could only do what one layer can.",
    sum: (x, _, exact) => `max(0, ${exact(x)})`,
  },
  leaky_relu: {
    title: "Leaky ReLU",
    value: (x, [leak]) => (x > 0 ? x : leak * x),
    slope: (x, [leak]) => (x > 0 ? 1 : leak),
    about: ([leak]) => `Leaky ReLU lets through what is above zero; below zero it has slope ${leak}: the rest is multiplied by ${leak}, not stopped.`,
    sum: (x, [leak], exact) => (x > 0 ? exact(x) : `${leak} × ${exact(x)}`),
  },
  elu: {
    title: "ELU",
    value: (x, [alpha]) => (x > 0 ? x : alpha * Math.expm1(x)),
    slope: (x, [alpha]) => (x > 0 ? 1 : alpha * Math.exp(x)),
    about: ([alpha]) => `ELU lets through what is above zero; below zero it bends towards −${alpha}.`,
    sum: (x, [alpha], exact) => (x > 0 ? exact(x) : `${alpha} × (exp(${exact(x)}) − 1)`),
  },
  relu6: {
    title: "ReLU6", never: true,
    value: (x) => clamp(x, 0, 6),
    slope: (x) => (x > 0 && x < 6 ? 1 : 0),
    about: () => "ReLU6 stops what is below zero, and lets nothing above 6 through.",
    sum: (x, _, exact) => `min(6, max(0, ${exact(x)}))`,
  },
  selu: {
    title: "SELU",
    value: (x) => SELU[1] * (x > 0 ? x : SELU[0] * Math.expm1(x)),
    slope: (x) => SELU[1] * (x > 0 ? 1 : SELU[0] * Math.exp(x)),
    about: () => "SELU multiplies what is above zero by 1.0507; below zero it bends towards −1.7581.",
    sum: (x, _, exact) => (x > 0 ? `1.0507 × ${exact(x)}` : `1.7581 × (exp(${exact(x)}) − 1)`),
  },
  gelu: {
    title: "GELU",
    value: (x) => x * normal(x),
    slope: (x) => normal(x) + x * bell(x),
    about: () => "GELU multiplies each number by the share of a normal distribution that lies below it: large ones pass, those far below zero are stopped.",
    sum: (x, _, exact) => `${exact(x)} × ${exact(normal(x))}`,
  },
  silu: {
    title: "SiLU",
    value: (x) => x * logistic(x),
    slope: (x) => logistic(x) * (1 + x * (1 - logistic(x))),
    about: () => "SiLU multiplies each number by its sigmoid: large ones pass, those far below zero are stopped.",
    sum: (x, _, exact) => `${exact(x)} × ${exact(logistic(x))}`,
  },
  mish: {
    title: "Mish",
    value: (x) => x * Math.tanh(softplus(x)),
    slope: (x) => { const t = Math.tanh(softplus(x)); return t + x * (1 - t * t) * logistic(x); },
    about: () => "Mish multiplies each number by tanh(log(1 + exp(number))): large ones pass, those far below zero are stopped.",
    sum: (x, _, exact) => `${exact(x)} × ${exact(Math.tanh(softplus(x)))}`,
  },
  softplus: {
    title: "Softplus", never: true,
    value: softplus,
    slope: (x) => (x > 20 ? 1 : logistic(x)),
    about: () => "Softplus is a ReLU without its corner: log(1 + exp(number)).",
    sum: (x, _, exact) => `log(1 + exp(${exact(x)}))`,
  },
  hardswish: {
    title: "Hard swish",
    value: (x) => (x * clamp(x + 3, 0, 6)) / 6,
    slope: (x) => (x < -3 ? 0 : x > 3 ? 1 : x / 3 + 0.5),
    about: () => "Hard swish multiplies each number by a straight ramp from 0 at −3 to 1 at 3.",
    sum: (x, _, exact) => `${exact(x)} × ${exact(clamp(x + 3, 0, 6) / 6)}`,
  },
  tanh: {
    title: "Tanh",
    value: Math.tanh,
    slope: (x) => 1 - Math.tanh(x) ** 2,
    about: () => "Tanh presses every number between −1 and 1.",
    sum: (x, _, exact) => `tanh(${exact(x)})`,
  },
  sigmoid: {
    title: "Sigmoid", never: true,
    value: logistic,
    slope: (x) => logistic(x) * (1 - logistic(x)),
    about: () => "A sigmoid presses every number between 0 and 1.",
    sum: (x, _, exact) => `1 ÷ (1 + exp(${exact(-x)}))`,
  },
};
