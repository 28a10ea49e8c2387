// The explorer's core: one picture, one network, one state that stands in the address. What is seen of them are views.
//
// A view is a function of the core that fills its own part of the page and returns what it wants to hear, all optional:
//   opening         its words of the state, as they are at first
//   settle(state)   bring its words within what exists: clamp or ignore, never throw
//   read(words)     its words out of an address (URLSearchParams); write(words) puts them there
//   moved(change)   the reader chose another layer or unit
//   over(canvas)    the picture as it goes through the network: another canvas of the same size, or nothing
//   took()          another picture went through the network: all numbers are new
//   chose(before)   the state has changed
//   printed()       the page is about to be printed, light whatever the theme
//   show(shown)     what is looked at: the cell under the pointer, else the chosen one {layer, unit, row, column}

import { addressOf } from "./address.js";
import { all, announcer, make, root } from "./elements.js";
import { coloursOf, extremes, scaleOf } from "./explorer-colours.js";
import { forward, openNetwork } from "./explorer-engine.js";
import { seenText } from "./explorer-lens.js";
import { storedAnswers, storedCell, storedStrongest } from "./explorer-stored.js";
import { clamp, named, number, saidText, shortened } from "./values.js";

/** @import { Step } from "./explorer-engine.js" */

/**
 * What a view may use: it is put together at the end of `explorer`.
 * @typedef {Record<string, any>} Core
 */

/**
 * A place in the network.
 * @typedef {{ layer: number, unit: number, row: number, column: number }} Cell
 */

/**
 * The steps of a network as the page speaks of them: with softmax, sigmoids or the scores again at the end, each with its title and the colours of
 * what it gets.
 * @param {any} network
 * @returns {Step[]}
 */
export function stepsOf(network) {
  const steps = openNetwork(network), scores = steps.at(-1).shape;
  const outputs = network.outputs ?? "softmax";
  steps.push({ name: outputs, kind: outputs, shape: scores, input: scores, window: null, field: null });
  steps.forEach((step, i) => {
    step.title = i === 0 ? "input" : step.name;
    step.inputColours = i ? coloursOf(steps, i - 1) : "grey";
  });
  return steps;
}

/**
 * Open the explorer in its part of the page.
 * @param {HTMLElement} box
 * @param {((core: Core) => any)[]} views
 * @returns {void}
 */
export function explorer(box, views) {
  /** @type {(name: string) => any} */
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const { network, pictures, title, rival = null } = JSON.parse(part("data").textContent);
  const className = (index) => named(network.classes[index]);
  const steps = stepsOf(network);
  const outputs = network.outputs ?? "softmax", noun = network.noun ?? "class";
  // What the network says of an output, and how that begins: of labels and scores it chooses none.
  const valueText = (value) => saidText(value, outputs), saysText = { class: "says", label: "finds the strongest label", score: "gives the largest score to" }[noun];
  const last = steps.length - 1, side = network.side, live = network.live !== false;
  const deepest = Math.max(0, steps.findLastIndex((step) => !step.head && (live ? step.kind === "conv" : step.full?.length === 3)));
  const opening = { picture: 0, layer: deepest, unit: 0, row: null, column: null, range: "layer" };
  const state = { ...opening };
  let photo = null; // what goes through the network: a canvas of its size
  let activations = []; // of every step: Float32Array (unit, row, column)
  let pointed = null; // the cell under the pointer, which goes before the chosen one
  const speak = announcer(part("live"));

  // ---- what there is

  const shapeOf = (layer) => (steps[layer].shape.length === 3 ? steps[layer].shape : [steps[layer].shape[0], 1, 1]);

  // The maps that a flattened list came from.
  const sourceOf = (layer) => (steps[layer].kind === "fc" && steps[layer - 1].kind === "flatten" && steps[layer - 2].shape.length === 3 ? steps[layer - 2] : null);

  function unitName(layer, unit) {
    if (layer === 0) return network.channels === 3 ? ["red", "green", "blue"][unit] : "grey";
    return layer >= last - 1 ? className(unit) : `unit ${idOf(layer, unit) + 1}`;
  }

  // A stored layer shows some of its units: which one of all is the unit in a place, and in which place is it?
  const idOf = (layer, unit) => steps[layer].units?.[unit] ?? unit;
  const placeOf = (layer, id) => (steps[layer].units ? Math.max(0, steps[layer].units.findLastIndex((unit) => unit <= id)) : id);
  const strongestIn = (layer) => placeOf(layer, storedStrongest(pictures[state.picture], layer));
  const cellOf = (layer, unit) => (typeof state.picture === "number" ? storedCell(pictures[state.picture], layer, idOf(layer, unit)) : undefined);

  function valueAt({ layer, unit, row, column }) {
    const [, h, w] = shapeOf(layer);
    return activations[layer][(unit * h + row) * w + column];
  }

  function cellText(shown) {
    const step = steps[shown.layer], name = `${step.title}, ${unitName(shown.layer, shown.unit)}`;
    const at = step.shape.length === 3 ? `, row ${shown.row + 1}, column ${shown.column + 1}` : "";
    return `${name}${at}: ${number(valueAt(shown))}`;
  }

  const best = () => activations[last].reduce((top, share, i, shares) => (share > shares[top] ? i : top), 0);
  const truth = () => (typeof state.picture === "number" ? (pictures[state.picture]?.true ?? null) : null);

  // A picture in words, and where one stands on the page: for captions, for figures taken away, for paper.
  function pictureText(picture = state.picture) {
    const found = pictures[picture];
    if (!found) return "a picture of the reader's own";
    return `picture ${picture + 1} (${shortened(found.true === null ? named(found.name) : className(found.true))})`;
  }
  const pictureWord = () => (typeof state.picture === "number" ? state.picture + 1 : state.picture);
  function answerText() {
    const guess = best(), right = truth() === null ? "" : truth() === guess ? ", and is right" : `, but it is ${shortened(className(truth()))}`;
    return `${shortened(named(title))} ${saysText} ${shortened(className(guess))} (${valueText(activations[last][guess])}) for ${pictureText()}${right}.`;
  }

  // ---- the state, always within what exists

  function settle() {
    state.layer = clamp(state.layer, 0, last);
    const [units, h, w] = shapeOf(state.layer);
    state.unit = clamp(state.unit, 0, units - 1);
    const cell = cellOf(state.layer, state.unit), factor = steps[state.layer].factor ?? 1;
    state.row = clamp(state.row ?? Math.floor(cell ? cell.row / factor : h / 2), 0, h - 1);
    state.column = clamp(state.column ?? Math.floor(cell ? cell.column / factor : w / 2), 0, w - 1);
    if (!["unit", "layer", "network"].includes(state.range)) state.range = "layer";
    opened.forEach((view) => view.settle?.(state));
  }

  // A choice: `change` says what is new; a new layer keeps the place on the picture, a new unit the place on the map.
  function choose(change, spoken = true) {
    const before = { ...state };
    Object.assign(state, change);
    if (change.row === undefined && live && state.layer !== before.layer) Object.assign(state, samePlace(before, state.layer));
    // Of a stored network the sums are those of the strongest cells: there a new unit is looked at.
    if (change.row === undefined && change.column === undefined && !live && ["layer", "unit", "picture"].some((name) => state[name] !== before[name])) {
      Object.assign(state, { row: null, column: null }, change.unit === undefined && state.layer !== before.layer && { unit: strongestIn(state.layer) });
    }
    if (state.layer !== before.layer || state.unit !== before.unit) opened.forEach((view) => view.moved?.(change));
    follow(before);
    remember();
    if (spoken) speak(`${cellText(state)}. ${seenText(steps[state.layer], state, side)}`, 400);
  }

  function follow(before) {
    settle();
    if (state.picture !== before.picture) take();
    opened.forEach((view) => view.chose?.(before));
    show();
  }

  function samePlace(before, layer) {
    const old = steps[before.layer]?.field, field = steps[layer]?.field;
    if (!old || !field) return { row: null, column: null };
    const across = (place) => Math.round((place * old.jump + old.centre - field.centre) / field.jump);
    return { row: across(before.row), column: across(before.column) };
  }

  // ---- a picture through the network

  // A canvas of a network's size as what this network reads: (channel, row, column) in [0, 1].
  function pixelsOf(canvas, { side, channels } = network) {
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, side, side), area = side * side;
    const out = new Float32Array(channels * area);
    for (let i = 0; i < area; i++) {
      const [r, g, b] = [data[4 * i] / 255, data[4 * i + 1] / 255, data[4 * i + 2] / 255];
      if (channels === 3) { out[i] = r; out[area + i] = g; out[2 * area + i] = b; }
      else out[i] = r === g && g === b ? r : 0.299 * r + 0.587 * g + 0.114 * b;
    }
    return out;
  }

  // The middle of a picture on a canvas of a network's size; `fit` is the network's own rule for pictures that come from outside.
  function fitted(source, width, height, side = network.side, fit = { length: side, squash: false }) {
    const canvas = make("canvas", { width: side, height: side }), context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingQuality = "high";
    const share = side / fit.length, [across, down] = (fit.squash ? [width, height] : Array(2).fill(Math.min(width, height))).map((whole) => whole * share);
    context.drawImage(source, (width - across) / 2, (height - down) / 2, across, down, 0, 0, side, side);
    return canvas;
  }

  // Run the network on a canvas; without one, on the picture as it stands, with what views lay over it.
  function take(canvas = opened.reduce((found, view) => view.over?.(found) ?? found, canvasOf(state.picture))) {
    photo = canvas;
    const started = performance.now();
    activations = live ? forward(steps, pixelsOf(photo)) : storedAnswers(steps, pictures[state.picture], pixelsOf(photo));
    box.dataset.milliseconds = (performance.now() - started).toFixed(1);
    opened.forEach((view) => view.took?.());
  }

  // Which canvas belongs to state.picture: the view that holds the pictures says so.
  const canvasOf = (picture) => opened.map((view) => view.canvasOf?.(picture)).find(Boolean);

  // ---- colours

  function scaleFor(layer, unit) {
    const colours = coloursOf(steps, layer), [, h, w] = shapeOf(layer), area = h * w;
    if (state.range === "network" && colours !== "grey" && layer !== last) {
      const ranges = steps.flatMap((_, i) => (i && i < last ? [rangeOf(i)] : []));
      const top = Math.max(...ranges.map(([low, high]) => Math.max(-low, high)));
      return scaleOf(colours, [-top, top]);
    }
    return scaleOf(colours, state.range === "unit" && area > 1 ? extremes(activations[layer], unit * area, (unit + 1) * area) : rangeOf(layer));
  }

  // The range of a layer is asked for by each of its units: reckoned once a picture.
  const ranges = new WeakMap();
  function rangeOf(layer) {
    const values = activations[layer];
    if (!ranges.has(values)) ranges.set(values, extremes(values));
    return ranges.get(values);
  }

  function rangeText(layer) {
    const colours = coloursOf(steps, layer), alone = colours === "grey" || layer === last || (state.range === "unit" && steps[layer].shape.length === 1);
    const scope = { unit: "this unit", layer: `all of ${steps[layer].title}`, network: "the whole network" }[alone && state.range !== "layer" ? (colours === "grey" && state.range === "unit" ? "unit" : "layer") : state.range];
    return `Range of ${scope} on this picture` + (colours === "signed" ? "; red above zero, blue below" : "");
  }

  // ---- what the reader looks at

  let waiting = false;
  function point(cell) {
    pointed = cell;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; show(); });
  }

  function show() {
    const shown = pointed ?? state;
    opened.forEach((view) => view.show?.(shown, pointed !== null));
  }

  // ---- the address

  const { soon: remember } = addressOf(() => {
    const words = new URLSearchParams({ layer: steps[state.layer].name, unit: idOf(state.layer, state.unit) + 1, cell: `${state.row + 1},${state.column + 1}`, range: state.range });
    opened.forEach((view) => view.write?.(words));
    return words;
  });

  // Whatever stands in the address becomes a state that exists: clamped or ignored, never an error.
  function recall() {
    const words = new URLSearchParams(location.hash.slice(1)), before = photo ? { ...state } : {};
    const [row, column] = (words.get("cell") ?? "").split(",");
    const layer = steps.findIndex((step) => step.name === words.get("layer"));
    const at = layer < 0 ? opening.layer : layer;
    Object.assign(state, opening, {
      layer: at, unit: words.has("unit") || live ? placeOf(at, wholeOf(words.get("unit"), 0)) : strongestIn(at), row: wholeOf(row, null), column: wholeOf(column, null), range: words.get("range") ?? "layer",
    }, ...opened.map((view) => view.read?.(words) ?? {}));
    follow(before);
  }

  // ---- the views

  const core = {
    box, part, network, outputs, noun, valueText, saysText, pictures, title, rival, steps, last, side, live, state, speak, choose, point, show, take, recall,
    shapeOf, sourceOf, unitName, className, valueAt, cellText, idOf, placeOf, cellOf, best, truth, pictureText, pictureWord, answerText, pixelsOf, fitted, canvasOf, scaleFor, rangeOf, rangeText,
    get activations() { return activations; },
    get photo() { return photo; },
  };
  const opened = [];
  for (const view of views) {
    const made = view(core);
    Object.assign(opening, made.opening);
    opened.push(made);
  }
  // The numbers themselves, for whoever asks: every step's name and its values as they are now.
  box.addEventListener("explorer:read", (/** @type {any} */ event) => event.detail(steps.map((step, i) => [step.name, activations[i]])));
  const repaint = () => { if (photo) show(); };
  all("input[name=theme]").forEach((input) => input.addEventListener("change", repaint));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new ResizeObserver(repaint).observe(part("board"));
  // Paper is light: what scripts draw follows for as long as it is printed, and goes back.
  let theme = null;
  addEventListener("beforeprint", () => {
    if (theme !== null || !photo) return;
    theme = root.dataset.theme ?? "";
    root.dataset.theme = "light";
    part("handout").textContent = `${answerText()} Looked at: ${cellText(state)}. ${seenText(steps[state.layer], state, side)}`;
    show();
    opened.forEach((view) => view.printed?.());
  });
  addEventListener("afterprint", () => {
    if (theme === "") delete root.dataset.theme;
    else if (theme !== null) root.dataset.theme = theme;
    theme = null;
    repaint();
  });
  addEventListener("hashchange", recall);
  Promise.all(opened.map((view) => view.ready)).then(() => { recall(); box.dataset.ready = "yes"; });
}

/**
 * A number of an address, counted from one there and from zero here.
 * @param {string | null} text
 * @param {any} otherwise
 * @returns {any}
 */
export function wholeOf(text, otherwise) {
  const found = Number.parseInt(text ?? "", 10);
  return Number.isNaN(found) ? otherwise : found - 1;
}

/**
 * A view that needs the network itself says so where the page carries only its numbers, and hides the rest.
 * @param {Core} core
 * @param {string} name
 * @param {string} what
 * @returns {boolean}
 */
export function runsLive(core, name, what) {
  if (core.network.live !== false) return true;
  missing(core, name, `${what} needs the network itself, and this one does not run in a page (the top says why); the gallery has maps that were computed before.`);
  return false;
}

/**
 * A view that shows nothing but why: the view to return.
 * @param {Core} core
 * @param {string} name
 * @param {string} why
 * @returns {Record<string, any>}
 */
export function missing(core, name, why) {
  for (const found of [core.part(name), ...all(".place", core.part(name).closest("section"))]) found.hidden = true;
  core.part(`${name}-missing`).hidden = false;
  core.part(`${name}-missing`).textContent = why;
  return {};
}
