// How one number comes about: the terms of every kind of layer, as they are, with a sum that is the number.
// Each kind gives words (`text`, and a `hint` what to do), elements (`parts`), and where it has terms or shares, `bars`: [name, value] for the figure to take away.

import { make } from "./elements.js";
import { ACTIVATIONS } from "./explorer-activations.js";
import { colourOf, extremes, scaleOf } from "./explorer-colours.js";
import { covered, neighbourhood } from "./explorer-engine.js";
import { mapCanvas } from "./explorer-lens.js";
import { convTerms, exact, MOST_TERMS, signedText } from "./explorer-terms.js";
import { number, percent } from "./values.js";

/** @import { Scale } from "./explorer-colours.js" */
/** @import { Cell } from "./explorer-core.js" */
/** @import { Step } from "./explorer-engine.js" */
/** @import { Term } from "./explorer-terms.js" */

/**
 * How a number came about: words, what to do next, elements, and its terms as [name, value].
 * @typedef {{ text: string, hint?: string, parts: Node[], bars?: [string, number][] }} Explained
 */

/**
 * @typedef {object} TermsShown
 * @property {(term: Term) => string} label
 * @property {((term: Term) => void) | null} [pick]  makes rows into buttons
 * @property {Term} [picked]
 * @property {[string, number]} [addend]  a last row: its name and value
 */

/**
 * Numbers on their colours, black or white, whichever can be read.
 * @param {string} caption
 * @param {ArrayLike<number>} values
 * @param {number} wide
 * @param {Scale} scale
 * @param {string[]} [notes]
 * @param {(value: number) => string} [written]
 * @returns {any}
 */
export function numberGrid(caption, values, wide, scale, notes = [], written = exact) {
  const rows = [];
  for (let i = 0; i < values.length; i += wide) {
    rows.push(make("tr", {}, ...Array.from({ length: wide }, (_, j) => {
      const [r, g, b] = colourOf(values[i + j], scale), cell = make("td", { text: written(values[i + j]) });
      const light = [r, g, b].map((c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      cell.style.backgroundColor = `rgb(${r}, ${g}, ${b})`;
      cell.style.color = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.179 ? "#000" : "#fff";
      if (notes[i + j]) cell.append(make("span", { class: "cell-note", text: notes[i + j] }));
      return cell;
    })));
  }
  return make("table", { class: "number-grid" }, make("caption", { text: caption }), make("tbody", {}, ...rows));
}

/**
 * An operator between two grids of numbers.
 * @param {string} text
 * @returns {any}
 */
export const sign = (text) => make("span", { class: "operator", "aria-hidden": "true", text });

/**
 * Grids of numbers and what stands between them, in one row.
 * @param {...Node} parts
 * @returns {any}
 */
export const grid = (...parts) => make("div", { class: "number-row" }, ...parts);

/**
 * A scale of two hues for some values.
 * @param {ArrayLike<number>} values
 * @returns {Scale}
 */
export const around = (values) => scaleOf("signed", extremes(values));

/**
 * A number as a bar from the middle: to the right above zero, to the left below; `top` fills its half.
 * @param {number} value
 * @param {number} top
 * @returns {any}
 */
export function signedBar(value, top) {
  const fill = make("span", { class: value < 0 ? "less" : "more" }), share = top > 0 ? (50 * Math.abs(value)) / top : 0;
  fill.style.width = `${share}%`;
  fill.style.left = `${value < 0 ? 50 - share : 50}%`;
  return make("span", { class: "term-bar", "aria-hidden": "true" }, fill);
}

/**
 * A long sum as rows with bars; `pick` makes rows into buttons. Returns the list.
 * @param {Term[]} terms
 * @param {TermsShown} shown
 * @returns {any}
 */
export function termList(terms, { label, pick, picked, addend }) {
  const top = Math.max(...terms.map((term) => Math.abs(term.sum)), Math.abs(addend?.[1] ?? 0), 1e-12);
  const shown = terms.length <= MOST_TERMS ? terms : [...terms].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, MOST_TERMS);
  const line = (name, value) => [make("span", { class: "term-name" }, make("bdi", { text: name })), signedBar(value, top), make("span", { class: "term-value", text: exact(value) })];
  const items = shown.map((term) => {
    const parts = line(label(term), term.sum);
    if (!pick) return make("li", { class: "term" }, ...parts);
    const button = make("button", { type: "button", class: "term", "aria-pressed": String(term === picked) }, ...parts);
    button.addEventListener("click", () => pick(term));
    return make("li", {}, button);
  });
  const rest = terms.length - shown.length;
  if (rest) {
    const sum = terms.reduce((total, term) => total + term.sum, 0) - shown.reduce((total, term) => total + term.sum, 0);
    items.push(make("li", { class: "term" }, ...line(`${rest} smaller ones together`, sum)));
  }
  if (addend) items.push(make("li", { class: "term" }, ...line(...addend)));
  return make("ol", { class: "terms" }, ...items);
}

// The sum as one line where it fits, and in any case its result.
function sumLine(terms, bias, name, value) {
  const parts = terms.length <= 16 ? terms.map((term, i) => (i ? signedText(term.sum) : exact(term.sum))).join("") : `${terms.length} terms`;
  return make("p", { class: "sum" }, `${parts}${signedText(bias)} (bias) = `, make("strong", { text: exact(value) }), make("span", { text: ` = ${name}` }));
}

// Where in what a layer gets that has the shape of what it gives the shown cell stands: of maps, or of a list.
const placeOf = ({ shape }, { unit, row, column }) => (shape.length === 1 ? unit : (unit * shape[1] + row) * shape[2] + column);

/**
 * The cells under a window of a pool: its numbers, how many stand in a row, the rows and columns as words, what a mean counts.
 * @param {Step} step
 * @param {Float32Array} before
 * @param {Cell} shown
 * @returns {{ cells: number[], wide: number, size: string, place: string, count: number, sum: number }}
 */
function underWindow(step, before, shown) {
  const [, height, width] = step.input, [y0, y1, tall] = covered(step, 1, shown.row), [x0, x1, broad] = covered(step, 2, shown.column), cells = [];
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) cells.push(before[(shown.unit * height + y) * width + x]);
  return { cells, wide: x1 - x0, size: `${y1 - y0} × ${x1 - x0}`, place: `${span("row", y0, y1)} and ${span("column", x0, x1)}`, count: step.pads ? tall * broad : cells.length, sum: cells.reduce((total, cell) => total + cell, 0) };
}
const MOST_CELLS = 64; // of a window that is shown number by number
const span = (word, from, to) => (to - from > 1 ? `${word}s ${from + 1} to ${to}` : `${word} ${from + 1}`);

/**
 * What a pool did to its window, with the window's numbers where they are at hand and not too many.
 * @param {string} kind  "pool" or "avgpool"
 * @param {{ cells: number[], wide: number, size: string, count: number, sum: number, place?: string }} under
 * @param {Scale} scale
 * @param {number} value
 * @returns {{ text: string, parts: Node[] }}
 */
export function pooled(kind, { cells, wide, size, count, sum, place }, scale, value) {
  const [tall, broad] = size.split(" × ").map(Number), inside = tall * broad, padding = kind === "avgpool" ? count - inside : 0;
  const largest = kind === "pool" ? cells.indexOf(Math.max(...cells)) : -1;
  const drawn = cells.length && cells.length <= MOST_CELLS ? [grid(numberGrid("window", cells, wide, scale, cells.map((_, i) => (i === largest ? "largest" : ""))))] : [];
  const line = kind === "avgpool" ? `${exact(sum)} ÷ ${count} = ` : inside <= 16 ? `max(${cells.map(exact).join(", ")}) = ` : `The largest of ${inside} cells: `;
  return {
    text: `${kind === "avgpool" ? "Average" : "The largest"} of ${size} cells${place ? `: ${place}` : ""}${padding ? `; the window's other ${padding} are padding and count as zeros` : ""}.`,
    parts: [...drawn, make("p", { class: "sum" }, line, make("strong", { text: exact(value) }))],
  };
}

function activation(step, before, shown, value) {
  const rule = ACTIVATIONS[step.kind], values = step.values ?? [], area = step.shape.length === 1 ? 1 : step.shape[1] * step.shape[2], from = shown.unit * area;
  const passed = before.subarray(from, from + area).reduce((count, one) => count + (one > 0), 0), input = before[placeOf(step, shown)];
  return {
    text: rule.about(values) + (area > 1 ? ` In this map, ${percent(passed / area)} of the cells ${step.kind === "relu" ? "pass" : "are above zero"}.` : ""),
    parts: [make("p", { class: "sum" }, `${rule.sum(input, values, exact)} = `, make("strong", { text: exact(value) }))],
  };
}

export const SUMS = {
  ...Object.fromEntries(Object.keys(ACTIVATIONS).map((kind) => [kind, activation])),

  normalise(step, before, shown, value) {
    const [std, mean] = [step.weight[shown.unit], step.bias[shown.unit]], pixel = before[(shown.unit * step.shape[1] + shown.row) * step.shape[2] + shown.column];
    return {
      text: "A pixel of the picture, between 0 and 1; the mean of the training pictures is taken away, and the rest is divided by their spread.",
      parts: [make("p", { class: "sum" }, `(${exact(pixel)} − ${exact(mean)}) ÷ ${exact(std)} = `, make("strong", { text: exact(value) }))],
    };
  },

  conv(step, before, shown, value, { names, below, pick }) {
    const terms = convTerms(step, before, shown.unit, shown.row, shown.column), bias = step.bias[shown.unit], { kernel: wide, dilation } = step.window;
    const strongest = terms.reduce((best, term) => (Math.abs(term.sum) > Math.abs(best.sum) ? term : best));
    const picked = terms[shown.channel ?? strongest.channel] ?? strongest;
    const products = picked.seen.map((seen, i) => seen * picked.weights[i]);
    const pads = picked.inside.map((inside) => (inside ? "" : "padding"));
    return {
      text: `The kernel of this unit has one ${wide} × ${wide} layer for each of the ${terms.length} inputs${dilation > 1 ? `, its numbers ${dilation} cells apart` : ""}. Each lies on its input, number on number; ` +
        "the products are added, then all inputs, then the bias.",
      hint: " Choose an input to see its numbers.",
      bars: [...terms.map((term) => [names(term.channel), term.sum]), ["bias", bias]],
      parts: [
        make("div", { class: "two-parts" },
          make("div", { class: "picked" }, make("h4", { text: `${below}, ${names(picked.channel)}` }),
            grid(numberGrid("window", picked.seen, wide, scaleOf(step.inputColours, extremes(picked.seen)), pads), sign("×"),
              numberGrid("kernel", picked.weights, wide, around(picked.weights)), sign("="),
              numberGrid("products", products, wide, around(products))),
            make("p", { class: "sum", text: `The ${products.length} products add up to ${exact(picked.sum)}.` })),
          termList(terms, { label: (term) => names(term.channel), pick: (term) => pick(term.channel), picked, addend: ["bias", bias] })),
        sumLine(terms, bias, "this cell", value),
      ],
    };
  },

  bn(step, before, shown, value) {
    const input = before[placeOf(step, shown)];
    return {
      text: "Batch norm, after training: each channel has one factor and one addend, the same for every picture.",
      parts: [make("p", { class: "sum" }, `${exact(input)} × ${exact(step.weight[shown.unit])}${signedText(step.bias[shown.unit])} = `, make("strong", { text: exact(value) }))],
    };
  },

  lrn(step, before, shown, value) {
    const [size, , beta] = step.values, at = placeOf(step, shown), around = neighbourhood(before, step)[at];
    return {
      text: `Local response norm divides each number by what it and its neighbours in ${size} channels around it say at the same place: a unit that answers alone stands out.`,
      parts: [make("p", { class: "sum" }, `${exact(before[at])} ÷ ${exact(around)}^${beta} = `, make("strong", { text: exact(value) }))],
    };
  },

  pool(step, before, shown, value) {
    const under = underWindow(step, before, shown), { parts } = pooled("pool", under, scaleOf(step.inputColours, extremes(under.cells)), value), from = step.input[1] * step.input[2];
    const smaller = step.shape[1] < step.input[1] ? `: the map has ${step.shape[1] * step.shape[2]} cells in place of ${from}, and where exactly the answer was matters less` : "";
    return { text: `Max-pooling keeps the largest of ${under.size} cells${smaller}. Here these are ${under.place}.`, parts };
  },

  avgpool(step, before, shown, value) {
    const under = underWindow(step, before, shown);
    return pooled("avgpool", under, scaleOf(step.inputColours, extremes(under.cells)), value);
  },

  flatten(step, _before, shown, value, { names, below }) {
    const [, height, width] = step.input, channel = Math.floor(shown.unit / (height * width)), place = shown.unit % (height * width);
    return {
      text: "The maps become one long list: channel after channel, row after row. No number changes; only their places are forgotten.",
      parts: [make("p", { class: "sum" }, `number ${shown.unit + 1} of ${step.shape[0]} = ${below}, ${names(channel)}, row ${Math.floor(place / width) + 1}, ` +
        `column ${(place % width) + 1} = `, make("strong", { text: exact(value) }))],
    };
  },

  fc(step, before, shown, value, { source, names, pick, score }) {
    const count = before.length, weights = step.weight.subarray(shown.unit * count, (shown.unit + 1) * count), bias = step.bias[shown.unit];
    // Fed by maps, the products are added map by map first: so many numbers say more in so few rows.
    const groups = source ? source.shape[0] : count, area = count / groups;
    const terms = Array.from({ length: groups }, (_, channel) => {
      let sum = 0;
      for (let i = channel * area; i < (channel + 1) * area; i++) sum += before[i] * weights[i];
      return { channel, sum };
    });
    const picked = terms[shown.channel ?? -1] ?? terms.reduce((best, term) => (Math.abs(term.sum) > Math.abs(best.sum) ? term : best));
    const parts = [termList(terms, { label: (term) => names(term.channel), pick: source && area > 1 ? (term) => pick(term.channel) : null, picked, addend: ["bias", bias] })];
    if (source && area > 1) {
      const from = picked.channel * area, [, h, w] = source.shape, products = Float32Array.from({ length: area }, (_, i) => before[from + i] * weights[from + i]);
      const drawn = (caption, values, start, scale) => make("div", { class: "mini" }, mapCanvas(values, start, h, w, scale), make("p", { text: `${caption}, ${number(scale.low)} to ${number(scale.high)}` }));
      parts[0] = make("div", { class: "two-parts" }, make("div", { class: "picked" }, make("h4", { text: `${source.title}, ${names(picked.channel)}` }),
        grid(drawn("map", before, from, scaleOf(step.inputColours, extremes(before, from, from + area))), sign("×"),
          drawn("weights", weights, from, around(weights.subarray(from, from + area))), sign("="), drawn("products", products, 0, around(products))),
        make("p", { class: "sum", text: `The ${area} products add up to ${exact(picked.sum)}.` })), parts[0]);
    }
    return {
      bars: [...terms.map((term) => [names(term.channel), term.sum]), ["bias", bias]],
      text: `Every one of the ${count} numbers below is multiplied by a weight of its own, and all is added${score ? ": this is the score" : ""}.`,
      parts: [...parts, sumLine(terms, bias, score ? "this score" : "this number", value)],
    };
  },

  scores(_step, before, _shown, value, { names }) {
    return {
      bars: Array.from(before, (score, i) => [names(i), score]),
      text: "The outputs are scores: what comes out of the last layer is what the network says.",
      parts: [make("p", { class: "sum" }, make("strong", { text: exact(value) }))],
    };
  },

  softmax(_step, before, shown, value, { names }) {
    const top = extremes(before)[1], powers = Array.from(before, (score) => Math.exp(score - top)), total = powers.reduce((sum, power) => sum + power, 0);
    const order = Array.from(before.keys()).sort((a, b) => before[b] - before[a]), shownRows = order.slice(0, 12);
    if (!shownRows.includes(shown.unit)) shownRows.push(shown.unit);
    const row = (i) => make("tr", i === shown.unit ? { class: "this" } : {}, make("th", { scope: "row" }, make("bdi", { text: names(i) })),
      ...[before[i], powers[i], powers[i] / total].map((cell) => make("td", { class: "num", text: exact(cell) })));
    const heads = ["Class", "Score", "exp(score − largest)", "Probability"].map((text, i) => make("th", { scope: "col", text, class: i ? "num" : false }));
    return {
      bars: shownRows.map((i) => [names(i), powers[i] / total]),
      text: "Softmax makes scores into shares that add up to one. The largest score is taken away first: that changes no share and keeps exp small.",
      parts: [
        make("table", { class: "softmax" }, make("caption", { class: "visually-hidden", text: "Softmax" }), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...shownRows.map(row))),
        ...(order.length > shownRows.length ? [make("p", { class: "note-line", text: `${order.length - shownRows.length} classes with smaller scores are not listed.` })] : []),
        make("p", { class: "sum" }, `${exact(powers[shown.unit])} ÷ ${exact(total)} (the sum over all ${order.length} classes) = `, make("strong", { text: exact(value) })),
      ],
    };
  },
};
