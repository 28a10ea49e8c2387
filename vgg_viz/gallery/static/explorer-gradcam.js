// Grad-CAM, live: the map that speaks for a class, the units that it is the sum of, and the gradient at the pixels.

import { all, make } from "./elements.js";
import { ACTIVATIONS } from "./explorer-activations.js";
import { backward } from "./explorer-backward.js";
import { extremes } from "./explorer-colours.js";
import { missing, runsLive, wholeOf } from "./explorer-core.js";
import { drawLegend, mapCanvas } from "./explorer-lens.js";
import { signedBar } from "./explorer-sums.js";
import { legendOf, saveButtons } from "./export.js";
import { cellAt, decoded, drawField, fieldOf, paintMap } from "./paint.js";
import { clamp, finite, number, percent, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

const SPATIAL = new Set(["conv", "bn", "lrn", "pool", "avgpool", ...Object.keys(ACTIVATIONS)]);
const TARGETS = ["predicted", "true", "runner-up"];
const CAM_ROWS = 12; // units shown one by one; the rest stands in one row

/**
 * The class that a word or an index asks for, by these scores; the prediction where there is no truth.
 * @param {number | string} target
 * @param {Float32Array} scores
 * @param {number | null} truth
 * @returns {number}
 */
export function classOf(target, scores, truth) {
  if (typeof target === "number") return target;
  const [first, second] = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
  return target === "runner-up" ? (second ?? first) : target === "true" ? (truth ?? first) : first;
}

// As many decimals as the largest number needs for four digits, the same for all that is added up; very small ones as powers of ten.
function evenly(top) {
  if (top > 0 && top < 1e-3) return (value) => (value === 0 ? "0" : value.toExponential(3).replaceAll("-", "−"));
  const decimals = clamp(3 - Math.floor(Math.log10(top || 1)), 0, 9);
  return (value) => (value === 0 ? "0" : Number(value.toFixed(decimals)) === 0 ? (0).toFixed(decimals) : value.toFixed(decimals)).replace("-", "−");
}

// Grad-CAM taken apart: each unit's weight is its mean gradient, and the map is the sum of the weighted maps.
function gradCam(activation, gradient, [units, h, w]) {
  const area = h * w, weights = new Float64Array(units), map = new Float32Array(area), sums = new Float64Array(area);
  for (let unit = 0; unit < units; unit++) {
    let sum = 0;
    for (let i = unit * area; i < (unit + 1) * area; i++) sum += gradient[i];
    weights[unit] = sum / area;
    for (let i = 0; i < area; i++) sums[i] += weights[unit] * activation[unit * area + i];
  }
  map.set(sums);
  return { weights, map };
}

// The strongest of the colours at each pixel, whatever its direction.
function strongest(gradient, channels) {
  const area = gradient.length / channels, out = new Float32Array(area);
  gradient.forEach((slope, i) => { out[i % area] = Math.max(out[i % area], Math.abs(slope)); });
  return out;
}

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function gradCamView(core) {
  const { box, part, steps, last, side, state, network, className, unitName } = core, scores = last - 1;
  if (!runsLive(core, "cam", "Grad-CAM")) return {};
  const layers = steps.map((_, i) => i).filter((i) => SPATIAL.has(steps[i].kind) && steps[i].shape.length === 3 && steps[i].field && !steps[i].head);
  if (!layers.length) return missing(core, "cam", "No layer of this network has units that see parts of one size, so there is no place on the picture for a map.");
  const usual = Math.max(layers.findIndex((i) => steps[i].name === network.cam?.layer), 0), size = { width: side, height: side };
  const zoom = Math.max(1, Math.floor(384 / side)), stage = part("cam-stage"), canvas = part("cam-map"), pixels = part("cam-pixels");
  for (const one of [canvas, pixels]) one.width = one.height = side * zoom;
  let activations = null, target = null, way = null, slopes = null, slope = 0, total = 0; // the way back of one class
  let layer = null, cam = null, cell = null; // one layer's map, and the cell taken apart
  let over = null, unit = null; // the cell under the pointer, and the unit whose own map is looked at
  const [painted, veil] = [0, 1].map(() => make("canvas", { width: side * zoom, height: side * zoom })); // made once: a new canvas costs milliseconds
  let paintedAs = "", rowsOf = "", pixelMap = null;

  // ---- choices

  part("cam-class").append(...network.classes.map((_, i) => make("option", { value: i, text: shortened(className(i), 40) })));
  part("cam-layer").append(...layers.map((i) => make("option", { value: i, text: steps[i].title })));
  const pick = (change) => { core.choose(change, false); core.speak(`${part("cam-title").textContent}. ${part("cam-value").textContent}`, 400); };
  part("cam-class").addEventListener("change", () => pick({ target: Number(part("cam-class").value) }));
  part("cam-layer").addEventListener("change", () => pick({ cam: Number(part("cam-layer").value), camCell: null }));
  part("cam-positive").addEventListener("change", () => pick({ camSigned: !part("cam-positive").checked }));
  part("cam-opacity").addEventListener("input", () => core.choose({ camOpacity: Number(part("cam-opacity").value) }, false));
  const quick = all("button", part("cam-quick"));
  quick.forEach((button) => button.addEventListener("click", () => pick({ target: button.value })));

  let waiting = false;
  function soon() {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  }
  for (const one of [stage, pixels]) {
    const under = (event) => {
      const frame = one.getBoundingClientRect(), at = (p, from, wide) => ((p - from) / wide) * side - 0.5, [, h, w] = steps[state.cam].shape;
      const found = cellAt(at(event.clientX, frame.left, frame.width), at(event.clientY, frame.top, frame.height), { h, w }, steps[state.cam].field, size);
      return [found.row, found.column];
    };
    one.addEventListener("pointermove", (event) => { over = under(event); soon(); });
    one.addEventListener("pointerleave", () => { over = null; soon(); });
    one.addEventListener("click", (event) => { over = null; pick({ camCell: under(event) }); });
  }
  stage.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    over = null;
    pick({ camCell: [cell[0] + move[0], cell[1] + move[1]] });
  });

  // ---- the numbers

  function reckon() {
    const wanted = classOf(state.target, core.activations[scores], core.truth());
    if (activations !== core.activations || target !== wanted) {
      [activations, target, layer] = [core.activations, wanted, null];
      const started = performance.now();
      way = backward(steps, activations, core.pixelsOf(core.photo), scores, target);
      box.dataset.backward = (performance.now() - started).toFixed(1);
      slopes = strongest(way.pixels, network.channels);
      [slope, total] = [extremes(slopes)[1], slopes.reduce((sum, one) => sum + one, 0)];
      pixelMap = mapCanvas(slopes, 0, side, side, { colours: "unsigned", low: 0, high: slope });
    }
    if (layer !== state.cam) {
      layer = state.cam;
      cam = gradCam(activations[layer], way.gradients[layer], steps[layer].shape);
      cam.h = steps[layer].shape[1];
      cam.w = steps[layer].shape[2];
      const [low, high] = extremes(cam.map);
      [cam.top, cam.above] = [Math.max(high, -low), Math.max(high, 0)];
      cam.thumbs = [];
      paintedAs = rowsOf = "";
    }
    const peak = cam.map.indexOf(extremes(cam.map)[1]);
    cell = over ?? state.camCell ?? [Math.floor(peak / cam.w), peak % cam.w];
  }

  const ownMap = (one) => cam.map.map((_, i) => cam.weights[one] * activations[layer][one * cam.map.length + i]);
  // One unit's map has both signs, and keeps the range of the sum that it is part of.
  const scaleNow = () => (state.camSigned || unit !== null ? { colours: "signed", low: -cam.top, high: cam.top } : { colours: "unsigned", low: 0, high: cam.above });

  function fieldHere() {
    const { field } = steps[layer];
    return fieldOf(cell[0], cell[1], cam, field, size);
  }

  // ---- on the page

  function paint() {
    const scale = scaleNow(), as = `${unit} ${state.camSigned} ${state.camOpacity}`;
    if (as === paintedAs) return;
    paintedAs = as;
    const map = { h: cam.h, w: cam.w };
    decoded.set(map, unit === null ? cam.map : ownMap(unit));
    const context = painted.getContext("2d");
    veil.getContext("2d").putImageData(paintMap(map, steps[layer].field, size, zoom,
      { top: scale.high, signed: scale.colours === "signed", opacity: state.camOpacity / 100, alone: false }), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(core.photo, 0, 0, side * zoom, side * zoom);
    context.drawImage(veil, 0, 0);
    legend("cam", scale);
    const beyond = unit === null ? 0 : extremes(ownMap(unit).map(Math.abs))[1];
    part("cam-range").textContent = unit === null ? (state.camSigned ? "Range of this map; red speaks for the class, blue against it" : "Range of this map; what is below zero is left out")
      : `Same range as the sum; red speaks for the class, blue against it${beyond > cam.top * 1.005 ? `. This unit alone reaches ${number(beyond)}` : ""}`;
  }

  function legend(name, scale) {
    drawLegend(part(`${name}-bar`), scale);
    [["low", scale.low], ["middle", (scale.low + scale.high) / 2], ["high", scale.high]].forEach(([end, value]) => { part(`${name}-${end}`).textContent = number(value); });
  }

  const rows = Array.from({ length: Math.min(CAM_ROWS, Math.max(...layers.map((i) => steps[i].shape[0]))) }, () => {
    const cells = ["thumb-map", "name", "weight-bar", "weight", "active", "term-bar-box", "term-value"].map((name) => make("span", { class: `cam-${name}` }));
    const button = make("button", { type: "button", class: "cam-row" }, ...cells), item = make("li", {}, button);
    const look = (one) => () => { unit = one === null ? null : Number(button.dataset.unit); soon(); };
    ["pointerenter", "focus"].forEach((event) => button.addEventListener(event, look(true)));
    ["pointerleave", "blur"].forEach((event) => button.addEventListener(event, look(null)));
    button.addEventListener("click", () => core.choose({ layer, unit: Number(button.dataset.unit), row: cell[0], column: cell[1] }));
    return { button, item, cells };
  });
  const rest = make("li", { class: "cam-row cam-rest" });
  part("cam-rows").append(...rows.map((row) => row.item), rest);

  // What each unit adds to the map at one cell, the strongest first.
  function termsOf([row, column]) {
    const area = cam.map.length, at = row * cam.w + column;
    return Array.from(cam.weights, (weight, one) => ({ one, weight, sum: weight * activations[layer][one * area + at] }))
      .sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum) || Math.abs(b.weight) - Math.abs(a.weight));
  }

  function takeApart() {
    const as = `${cell} ${state.layer === layer ? state.unit : ""} ${state.camSigned}`;
    if (as === rowsOf) return;
    rowsOf = as;
    const terms = termsOf(cell), at = cell[0] * cam.w + cell[1], active = (one) => activations[layer][one * cam.map.length + at];
    const shown = terms.slice(0, terms.length > CAM_ROWS ? CAM_ROWS - 1 : CAM_ROWS), left = terms.slice(shown.length), together = left.reduce((sum, term) => sum + term.sum, 0);
    const top = Math.max(...terms.map((term) => Math.abs(term.sum)), Math.abs(together)), heaviest = Math.max(...terms.map((term) => Math.abs(term.weight)));
    const written = evenly(top), weighed = evenly(heaviest);
    rows.forEach(({ button, item, cells }, i) => {
      item.hidden = i >= shown.length;
      if (item.hidden) return;
      const { one, weight, sum } = shown[i];
      button.dataset.unit = one;
      button.setAttribute("aria-pressed", String(state.layer === layer && state.unit === one));
      button.setAttribute("aria-label", `${unitName(layer, one)}: weight ${weighed(weight)} times activation ${number(active(one))} is ${written(sum)}`);
      cam.thumbs[one] ??= mapCanvas(ownMap(one), 0, cam.h, cam.w, { colours: "signed", low: -cam.top, high: cam.top });
      cells[0].replaceChildren(cam.thumbs[one]);
      cells[1].textContent = unitName(layer, one);
      cells[2].replaceChildren(signedBar(weight, heaviest));
      cells[3].textContent = weighed(weight);
      cells[4].textContent = number(active(one));
      cells[5].replaceChildren(signedBar(sum, top));
      cells[6].textContent = written(sum);
    });
    rest.hidden = !left.length;
    rest.replaceChildren(make("span", { class: "cam-name", text: `${left.length} others together` }), make("span", { class: "cam-term-bar-box" }, signedBar(together, top)),
      make("span", { class: "cam-term-value", text: written(together) }));
    const value = cam.map[at];
    part("cam-sum").replaceChildren(`All ${terms.length} add up to `, make("strong", { text: written(value) }), make("span", { text: ` = the map at row ${cell[0] + 1}, column ${cell[1] + 1}` }),
      ...(state.camSigned ? [] : [make("span", { text: value < 0 ? ", before the ReLU that makes it 0." : "; the ReLU lets it through." })]));
  }

  function draw() {
    if (!core.photo) return;
    reckon();
    paint();
    takeApart();
    const context = canvas.getContext("2d"), seen = fieldHere(), scale = scaleNow();
    context.drawImage(painted, 0, 0);
    drawField(context, seen, size, zoom, 0);
    const sight = pixels.getContext("2d");
    sight.imageSmoothingEnabled = false;
    sight.drawImage(pixelMap, 0, 0, side * zoom, side * zoom);
    drawField(sight, seen, size, zoom, 0);
    legend("pixels", { colours: "unsigned", low: 0, high: slope });
    const value = cam.map[cell[0] * cam.w + cell[1]], name = shortened(className(target), 60);
    let inside = 0;
    for (let y = Math.max(0, Math.ceil(seen.y0)); y < Math.min(side, seen.y1); y++) for (let x = Math.max(0, Math.ceil(seen.x0)); x < Math.min(side, seen.x1); x++) inside += slopes[y * side + x];
    part("cam-value").textContent = `${steps[layer].title}, row ${cell[0] + 1}, column ${cell[1] + 1}: ${number(value)}`;
    part("cam-pointer").style.left = `${scale.high > scale.low ? 100 * clamp((value - scale.low) / (scale.high - scale.low), 0, 1) : 50}%`;
    part("pixels-value").textContent = `${percent(total > 0 ? inside / total : 0)} of all gradient lies in the box: what that cell sees.`;
    part("cam-title").replaceChildren(unit === null ? "Grad-CAM for " : `${unitName(layer, unit)} alone, for `, make("bdi", { text: name }));
    part("cam-class").value = String(target);
    part("cam-layer").value = String(layer);
    part("cam-why").textContent = network.cam && layer === layers[usual] ? `Where the report looks, too: ${ACTIVATIONS[steps[layer].kind] ? `the ${ACTIVATIONS[steps[layer].kind].title} after ` : ""}${network.cam.why.replace(/(\d)x(\d)/g, "$1 × $2")}` : "";
    part("cam-positive").checked = !state.camSigned;
    part("cam-opacity").value = String(state.camOpacity);
    part("cam-weights").textContent = `w: the mean of the score's gradient over the ${cam.h} × ${cam.w} cells of a unit. A: the unit at the marked cell.`;
    quick.forEach((button) => {
      button.setAttribute("aria-pressed", String(classOf(button.value, activations[scores], core.truth()) === target));
      if (button.value === "true") button.disabled = core.truth() === null;
    });
  }

  saveButtons(part("cam-save"), "what speaks for a class", () => {
    const terms = termsOf(cell), shown = terms.slice(0, CAM_ROWS), written = evenly(Math.abs(terms[0].sum)), ends = (name) => ["low", "middle", "high"].map((end) => part(`${name}-${end}`).textContent);
    return {
      file: ["explorer-grad-cam", core.pictureWord(), steps[layer].title, target + 1],
      title: `Grad-CAM for ${shortened(className(target), 60)}`, lines: [core.answerText(), part("cam-value").textContent],
      panels: [
        { caption: `At ${steps[layer].title}`, width: 324, height: 324, layers: [canvas], legends: [legendOf(part("cam-bar"), ends("cam"), part("cam-range").textContent)] },
        { caption: "The gradient at the pixels", width: 324, height: 324, layers: [pixels], legends: [legendOf(part("pixels-bar"), ends("pixels"), part("pixels-value").textContent)] },
      ],
      charts: [{
        title: `Weight × activation of ${shown.length < terms.length ? `the ${shown.length} strongest of ${terms.length} units` : "each unit"} at the marked cell`, heads: ["w", "w · A"],
        rows: shown.map(({ one, weight, sum }) => ({ label: unitName(layer, one), values: [sum], texts: [number(weight), written(sum)] })),
      }],
    };
  }, core.speak);

  // The gradients themselves, for whoever asks: of one number of one step, with respect to every step up to there and to the pixels.
  box.addEventListener("explorer:gradient", ({ detail }) => {
    const found = backward(steps, core.activations, core.pixelsOf(core.photo), detail.from, detail.place);
    detail.then([["pixels", found.pixels], ...found.gradients.map((values, i) => [steps[i].name, values])], cam && { map: cam.map, weights: cam.weights, slopes });
  });

  return {
    opening: { target: "predicted", cam: layers[usual], camCell: null, camSigned: false, camOpacity: 85 },
    settle() {
      if (typeof state.target === "number") state.target = clamp(state.target, 0, network.classes.length - 1);
      else if (!TARGETS.includes(state.target)) state.target = "predicted";
      if (!layers.includes(state.cam)) state.cam = layers[usual];
      const [, h, w] = steps[state.cam].shape;
      if (state.camCell) state.camCell = [clamp(state.camCell[0], 0, h - 1), clamp(state.camCell[1], 0, w - 1)];
      state.camOpacity = clamp(Math.round(finite(state.camOpacity)), 0, 100);
    },
    read(words) {
      const asked = words.get("class"), [row, column] = (words.get("cam-cell") ?? "").split(",").map((word) => wholeOf(word, null)), opacity = Number.parseInt(words.get("opacity") ?? "", 10);
      return {
        target: TARGETS.includes(asked) ? asked : wholeOf(asked, "predicted"), cam: steps.findIndex((step) => step.name === words.get("cam")),
        camCell: row === null || (column ?? null) === null ? null : [row, column], camSigned: words.get("sign") === "both", camOpacity: Number.isNaN(opacity) ? 85 : opacity,
      };
    },
    write(words) {
      if (state.target !== "predicted") words.set("class", typeof state.target === "number" ? state.target + 1 : state.target);
      if (state.cam !== layers[usual]) words.set("cam", steps[state.cam].name);
      if (state.camCell) words.set("cam-cell", state.camCell.map((place) => place + 1).join());
      if (state.camSigned) words.set("sign", "both");
      if (state.camOpacity !== 85) words.set("opacity", state.camOpacity);
    },
    show: draw,
  };
}
