// The sandbox: one window over one map, with every number that decides where it goes and what comes out.

import { all, make } from "./elements.js";
import { colourOf, extremes, scaleOf } from "./explorer-colours.js";
import { wholeOf } from "./explorer-core.js";
import { convolve } from "./explorer-engine.js";
import { mapCanvas } from "./explorer-lens.js";
import { around, numberGrid, sign } from "./explorer-sums.js";
import { exact } from "./explorer-terms.js";
import { saveButtons } from "./export.js";
import { checkScrollers } from "./page.js";
import { twoTone } from "./paint.js";
import { clamp, finite, number, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

const KNOBS = { size: [1, 256], kernel: [1, 15], padding: [0, 15], stride: [1, 16], dilation: [1, 8] };
const KNOB_NAMES = Object.keys(KNOBS);
const RULES = ["edge", "mean", "copy", "max", "own", "unit"];
const EDITABLE = 5; // kernels up to this side are shown number by number, and can be changed
const PRESETS = {
  vgg: [[8, 3, 1, 1, 1], "edge"], tiny: [[8, 3, 0, 1, 1], "edge"], pool: [[8, 2, 0, 2, 1], "max"], alexnet: [[224, 11, 2, 4, 1], "mean"], dilated: [[11, 3, 2, 1, 2], "edge"],
};

const spanOf = ({ kernel, dilation }) => dilation * (kernel - 1) + 1;

// How many places the window has along one axis; none where it does not fit.
function outputSide(knobs) {
  const room = knobs.size + 2 * knobs.padding - spanOf(knobs);
  return room < 0 ? 0 : Math.floor(room / knobs.stride) + 1;
}

// A kernel that does something simple, of any size.
function simpleKernel(rule, kernel) {
  const middle = (kernel - 1) / 2;
  return Float32Array.from({ length: kernel * kernel }, (_, i) => {
    const [row, column] = [Math.floor(i / kernel), i % kernel];
    if (rule === "mean") return 1 / (kernel * kernel);
    if (rule === "copy" || kernel === 1) return row === Math.floor(middle) && column === Math.floor(middle) ? 1 : 0;
    return Math.sign(column - middle);
  });
}

// What the window sees at one place: values, and whether each cell is on the map. Beyond it there is padding: zeros.
function windowAt(values, { size, kernel, padding, stride, dilation }, [row, column]) {
  const seen = new Float32Array(kernel * kernel), inside = [];
  for (let i = 0; i < kernel * kernel; i++) {
    const y = row * stride - padding + Math.floor(i / kernel) * dilation, x = column * stride - padding + (i % kernel) * dilation;
    inside[i] = y >= 0 && y < size && x >= 0 && x < size;
    if (inside[i]) seen[i] = values[y * size + x];
  }
  return { seen, inside };
}

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function sandboxView(core) {
  const { box, part, steps, state, unitName } = core;
  const stage = part("sandbox-stage"), inputs = KNOB_NAMES.map((name) => part(`sandbox-${name}`)), still = matchMedia("(prefers-reduced-motion: reduce)");
  let over = null, playing = 0, drawnAs = "", known = "", side = 0, values = null, weights = null, output = null; // the last four: of the setting `known`
  let reckonedFrom = null; // the activations that they were reckoned from
  const tidy = (value) => (Number.isInteger(value) ? String(value).replace("-", "−") : exact(value));
  /** @type {() => any} */
  const knobs = () => Object.fromEntries(KNOB_NAMES.map((name, i) => [name, state.sandbox[i]]));

  // ---- what goes in

  const mapHere = () => steps[state.layer].shape.length === 3;
  const unitHere = () => steps[state.layer].kind === "conv" && steps[state.layer].weight && steps[state.layer].window.kernel === state.sandbox[1];
  const ruleNow = () => (state.sandboxRule === "unit" && !unitHere() ? "edge" : state.sandboxRule);
  const fromMap = () => state.sandboxInput === "map" && mapHere();

  // The chosen map: a piece around the chosen cell, or all of it stretched where it is smaller than what is asked for.
  function pieceOfMap(size) {
    const [, h, w] = steps[state.layer].shape, map = core.activations[state.layer], from = state.unit * h * w;
    const place = (i, chosen, most) => (most < size ? Math.floor((i * most) / size) : clamp(chosen - Math.floor(size / 2), 0, most - size) + i);
    return Float32Array.from({ length: size * size }, (_, i) => map[from + place(Math.floor(i / size), state.row, h) * w + place(i % size, state.column, w)]);
  }

  function kernelNow({ kernel }, rule) {
    if (rule === "own" && state.sandboxOwn.length === kernel * kernel) return Float32Array.from(state.sandboxOwn);
    if (rule !== "unit") return simpleKernel(rule === "own" ? "edge" : rule, kernel);
    const step = steps[state.layer], first = (state.unit * step.input[0] + (state.channel ?? 0)) * kernel * kernel;
    return step.weight.subarray(first, first + kernel * kernel);
  }

  function reckon() {
    const now = knobs(), rule = ruleNow(), as = [state.sandbox, rule, state.sandboxOwn, fromMap() && [state.layer, state.unit, state.row, state.column, state.channel], rule === "unit" && [state.layer, state.unit, state.channel]].join(";");
    if (as === known && (!fromMap() || core.activations === reckonedFrom)) return now;
    [known, reckonedFrom, drawnAs] = [as, core.activations, ""];
    side = outputSide(now);
    values = fromMap() ? pieceOfMap(now.size) : Float32Array.from({ length: now.size ** 2 }, (_, i) => i + 1);
    weights = kernelNow(now, rule);
    if (rule !== "max") output = side ? convolve(values, { window: now, input: [1, now.size, now.size], shape: [1, side, side], weight: weights, bias: [0] }) : [];
    else output = Float32Array.from({ length: side * side }, (_, i) => {
      const { seen, inside } = windowAt(values, now, [Math.floor(i / side), i % side]);
      return seen.reduce((best, value, j) => (inside[j] ? Math.max(best, value) : best), inside.includes(true) ? -Infinity : 0);
    });
    return now;
  }

  // ---- choices

  const pick = (change) => core.choose(change, false);
  inputs.forEach((input, i) => input.addEventListener("change", () => {
    const [low, high] = KNOBS[KNOB_NAMES[i]];
    pick({ sandbox: state.sandbox.with(i, clamp(Math.round(Number(input.value) || low), low, high)), sandboxCell: null });
    core.speak(part("sandbox-result").textContent, 400);
  }));
  const presets = all("button", part("sandbox-presets"));
  presets.forEach((button) => button.addEventListener("click", () => {
    pick({ sandbox: [...PRESETS[button.value][0]], sandboxRule: PRESETS[button.value][1], sandboxCell: null });
    core.speak(part("sandbox-result").textContent, 400);
  }));
  part("sandbox-rule").addEventListener("change", () => {
    const rule = part("sandbox-rule").value;
    pick(rule === "own" ? { sandboxRule: rule, sandboxOwn: Array.from(weights, (one) => Number(one.toFixed(2))) } : { sandboxRule: rule });
  });
  part("sandbox-input").addEventListener("change", () => pick({ sandboxInput: part("sandbox-input").value }));

  const under = (event) => {
    const frame = part("sandbox-output").getBoundingClientRect(), to = (p, from, wide) => clamp(Math.floor(((p - from) / wide) * side), 0, side - 1);
    return [to(event.clientY, frame.top, frame.height), to(event.clientX, frame.left, frame.width)];
  };
  let waiting = false;
  function soon(cell) {
    over = cell;
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  }
  stage.addEventListener("pointermove", (event) => { if (side && !playing) soon(under(event)); });
  stage.addEventListener("pointerleave", () => { if (!playing) soon(null); });
  stage.addEventListener("click", (event) => { if (side) { halt(); pick({ sandboxCell: under(event) }); } });
  stage.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || !side || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    halt();
    over = null;
    pick({ sandboxCell: cellNow().map((place, i) => clamp(place + move[i], 0, side - 1)) });
    core.speak(part("sandbox-cell").textContent, 300);
  });

  // Playing walks through the output; whoever wants no motion gets one step a click.
  const cellNow = () => (over ?? state.sandboxCell ?? [0, 0]).map((place) => clamp(place, 0, Math.max(0, side - 1)));
  function step() {
    const [row, column] = cellNow(), next = (row * side + column + 1) % (side * side);
    return [Math.floor(next / side), next % side];
  }
  function halt() {
    if (!playing) return;
    clearInterval(playing);
    const at = over;
    playing = 0;
    over = null;
    pick({ sandboxCell: at ?? state.sandboxCell });
  }
  part("sandbox-play").addEventListener("click", () => {
    if (playing) halt();
    else if (still.matches) {
      over = null;
      pick({ sandboxCell: step() });
      core.speak(part("sandbox-cell").textContent, 300);
    } else {
      playing = setInterval(() => { over = step(); draw(); }, 420);
      draw();
    }
  });
  still.addEventListener("change", () => { halt(); draw(); });

  // ---- drawing

  // A canvas of square cells as large as its place allows: [cell in px, canvas to draw on in CSS pixels].
  function canvasOf(name, cells, most) {
    const canvas = part(name), density = Math.min(2, Math.ceil(devicePixelRatio)), room = Math.min(most, canvas.parentElement.clientWidth || most);
    const cell = room < 4 * cells ? room / cells : Math.min(38, Math.floor(room / cells));
    canvas.width = canvas.height = Math.round(cells * cell * density);
    canvas.style.width = canvas.style.height = `${cells * cell}px`;
    const context = canvas.getContext("2d");
    context.scale(density, density);
    context.imageSmoothingEnabled = false;
    return [cell, context];
  }

  // The map cell by cell: its colours, lines where there is room for them, numbers where they can be read.
  function cells(context, numbers, count, cell, origin, scale) {
    context.drawImage(mapCanvas(numbers, 0, count, count, scale), origin, origin, count * cell, count * cell);
    const texts = Array.from(numbers, (value) => (Number.isInteger(value) ? tidy(value) : number(Number(value.toFixed(2)))));
    if (cell < 20) return;
    const longest = Math.max(...texts.map((text) => text.length));
    if (longest * 5.2 > cell) return;
    context.font = `${Math.min(13, Math.floor((1.6 * cell) / longest))}px ${getComputedStyle(context.canvas).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    texts.forEach((text, i) => {
      const [r, g, b] = colourOf(numbers[i], scale);
      context.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#000" : "#fff";
      context.fillText(text, origin + (i % count + 0.5) * cell, origin + (Math.floor(i / count) + 0.5) * cell);
    });
  }

  function lines(context, count, cell, colour) {
    if (cell < 7) return;
    context.beginPath();
    for (let i = 0; i <= count; i++) {
      context.moveTo(i * cell, 0);
      context.lineTo(i * cell, count * cell);
      context.moveTo(0, i * cell);
      context.lineTo(count * cell, i * cell);
    }
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.stroke();
  }

  function drawInput({ size, kernel, padding, stride, dilation }, [row, column]) {
    const whole = size + 2 * padding, [cell, context] = canvasOf("sandbox-map", whole, 400), wide = whole * cell, style = getComputedStyle(context.canvas);
    context.fillStyle = style.getPropertyValue("--rim");
    context.fillRect(0, 0, wide, wide);
    context.beginPath();
    for (let x = -wide; x < wide; x += 7) {
      context.moveTo(x, wide);
      context.lineTo(x + wide, 0);
    }
    context.strokeStyle = style.getPropertyValue("--rim-line");
    context.lineWidth = 0.6;
    context.stroke();
    cells(context, values, size, cell, padding * cell, inputScale(size));
    lines(context, whole, cell, style.getPropertyValue("--grid-line"));
    if (!side) return;
    const span = dilation * (kernel - 1) + 1, thin = clamp(cell / 10, 1, 2);
    for (let i = 0; i < kernel * kernel && cell >= 5; i++) {
      const x = (column * stride + (i % kernel) * dilation) * cell, y = (row * stride + Math.floor(i / kernel) * dilation) * cell;
      if (dilation > 1) twoTone(context, () => { context.beginPath(); context.rect(x + 2, y + 2, cell - 4, cell - 4); }, thin);
    }
    twoTone(context, () => { context.beginPath(); context.rect(column * stride * cell, row * stride * cell, span * cell, span * cell); }, Math.max(1.5, thin));
  }

  const inputScale = (size) => (fromMap() ? core.scaleFor(state.layer, state.unit) : { colours: "grey", low: 1 - size * size * 0.6, high: size * size });

  function drawOutput([row, column]) {
    const [cell, context] = canvasOf("sandbox-output", side, 320), range = extremes(output);
    cells(context, output, side, cell, 0, scaleOf(range[0] < 0 ? "signed" : "unsigned", range));
    lines(context, side, cell, getComputedStyle(context.canvas).getPropertyValue("--grid-line"));
    twoTone(context, () => { context.beginPath(); context.rect(column * cell, row * cell, cell, cell); }, clamp(cell / 8, 1, 2.5));
  }

  // ---- the sum of one cell

  function kernelFields(kernel) {
    const table = make("table", { class: "number-grid kernel-fields" }, make("caption", { text: "kernel, to change" })), body = make("tbody");
    for (let i = 0; i < kernel; i++) {
      body.append(make("tr", {}, ...Array.from({ length: kernel }, (_, j) => {
        const field = make("input", { type: "number", step: "0.5", min: -99, max: 99, "aria-label": `Kernel, row ${i + 1}, column ${j + 1}` });
        field.addEventListener("change", () => {
          const next = Array.from(weights, (one) => Number(one.toFixed(2)));
          next[i * kernel + j] = clamp(finite(Number(field.value)), -99, 99);
          pick({ sandboxRule: "own", sandboxOwn: next });
        });
        return make("td", {}, field);
      })));
    }
    table.append(body);
    return table;
  }

  let fields = null; // of the kernel's side that they were made for: they stay, so that the focus does
  function explain(now, rule, cell) {
    const { kernel } = now, { seen, inside } = windowAt(values, now, cell), value = output[cell[0] * side + cell[1]], count = kernel * kernel;
    const pads = inside.map((one) => (one ? "" : "padding")), outside = inside.filter((one) => !one).length, first = cell.map((place) => place * now.stride - now.padding), reach = spanOf(now) - 1;
    part("sandbox-cell").textContent = `Output row ${cell[0] + 1}, column ${cell[1] + 1} is ${tidy(value)}. The window lies on rows ${first[0] + 1} to ${first[0] + reach + 1} and columns ${first[1] + 1} to ${first[1] + reach + 1} of the input`.replaceAll(" -", " −") +
      (outside ? `; ${outside} of its ${count} cells are padding.` : ".");
    const small = kernel <= EDITABLE, products = Array.from(seen, (one, i) => one * weights[i]), scale = inputScale(now.size), row = part("sandbox-sum-row");
    if (fields?.kernel !== kernel && small) fields = { kernel, table: kernelFields(kernel) };
    if (small) {
      all("input", fields.table).forEach((field, i) => { if (document.activeElement !== field) field.value = Number(weights[i].toFixed(4)); });
      const seenGrid = numberGrid("window", seen, kernel, scale, rule === "max" ? pads.map((pad, i) => pad || (i === seen.indexOf(value) ? "largest" : "")) : pads, tidy);
      if (rule !== "max" && row.children[2] === fields.table) {
        row.children[0].replaceWith(seenGrid);
        row.children[4].replaceWith(numberGrid("products", products, kernel, around(products), [], tidy));
      } else row.replaceChildren(...(rule === "max" ? [seenGrid] : [seenGrid, sign("×"), fields.table, sign("="), numberGrid("products", products, kernel, around(products), [], tidy)]));
    } else row.replaceChildren(make("p", { class: "note-line", text: `The ${count} numbers of this window are too many to stand here; up to ${EDITABLE} × ${EDITABLE} they do, and the kernel can be changed.` }));
    const sum = rule === "max" ? (outside < count ? [`The largest of ${count - outside} cells: `] : ["There is only padding here; it counts as "])
      : [count <= 9 ? `${products.map((one, i) => (i ? (one < 0 ? ` − ${tidy(-one)}` : ` + ${tidy(one)}`) : tidy(one))).join("")} = ` : `The ${count} products add up to `];
    part("sandbox-sum").replaceChildren(...sum, make("strong", { text: tidy(value) }));
  }

  function facts(now, rule) {
    const { size, kernel, padding, stride } = now, span = spanOf(now), taps = kernel * kernel, cellCount = side * side, big = (count) => count.toLocaleString("en"), left = size + 2 * padding - ((side - 1) * stride + span);
    const rows = [["Output", `${side} × ${side} = ${big(cellCount)} cells`], ["A cell sees", `${span} × ${span}${kernel < span ? ` (${taps} of these ${span * span})` : ""}, ${stride} apart`],
      ["First centre", `${number((span - 1) / 2 - padding + 1)} (row and column of the input)`], ["Never reached", left ? `the last ${left} of ${size + 2 * padding} rows and columns` : "nothing"]];
    if (rule === "max") rows.push(["Parameters", "none"], ["Comparisons", `${taps} × ${big(cellCount)} = ${big(taps * cellCount)}`]);
    else rows.push(["Parameters", `${taps} + 1 bias = ${taps + 1}`], ["Multiply-adds", `${taps} × ${big(cellCount)} = ${big(taps * cellCount)}`],
      ["With 64 inputs, 64 units", `${big(64 * (64 * taps + 1))} parameters, ${big(64 * 64 * taps * cellCount)} multiply-adds`]);
    part("sandbox-facts").replaceChildren(...rows.map(([name, text]) => make("div", {}, make("dt", { text: name }), make("dd", { text }))));
  }

  function draw() {
    if (!core.photo) return;
    const now = reckon(), rule = ruleNow(), cell = cellNow(), span = spanOf(now), { size, kernel, padding, stride, dilation } = now;
    const style = getComputedStyle(stage), as = [known, cell, style.colorScheme, style.color, stage.clientWidth, part("sandbox-map").parentElement.clientWidth, fromMap() && state.range].join(";");
    part("sandbox-play").textContent = still.matches ? "Next cell" : playing ? "Pause" : "Play";
    part("sandbox-play").setAttribute("aria-pressed", String(playing !== 0));
    if (as === drawnAs) return;
    drawnAs = as;
    inputs.forEach((input, i) => { if (document.activeElement !== input || !input.value) input.value = state.sandbox[i]; });
    presets.forEach((button) => button.setAttribute("aria-pressed", String(`${PRESETS[button.value][0]}` === `${state.sandbox}` && PRESETS[button.value][1] === rule)));
    const ruleSelect = part("sandbox-rule"), source = part("sandbox-input");
    ruleSelect.value = rule;
    ruleSelect.querySelector("[value=unit]").disabled = !unitHere();
    ruleSelect.querySelector("[value=unit]").textContent = unitHere() ? `${steps[state.layer].title}, unit ${state.unit + 1}, input ${(state.channel ?? 0) + 1}` : `of a chosen unit (none is ${kernel} × ${kernel})`;
    source.value = fromMap() ? "map" : "count";
    source.querySelector("[value=map]").disabled = !mapHere();
    source.querySelector("[value=map]").textContent = mapHere() ? `${steps[state.layer].title}, ${shortened(unitName(state.layer, state.unit), 30)}` : "the chosen map (this layer has none)";
    part("sandbox-filled").textContent = `⌊(${size} + 2 · ${padding} − ${dilation} · (${kernel} − 1) − 1) ÷ ${stride}⌋ + 1`;
    const missing = size + 2 * padding - span < 0;
    part("sandbox-result").replaceChildren(...(missing ? [`The window spans ${dilation} · (${kernel} − 1) + 1 = ${span} cells, but the input with its padding has only ${size + 2 * padding}: there is no place for it, and no output. Make the input or the padding larger, or the kernel or the dilation smaller.`]
      : [`= ⌊${size + 2 * padding - span} ÷ ${stride}⌋ + 1 = `, make("strong", { text: side }), make("span", { text: ` along each side` })]));
    for (const name of ["sandbox-out", "sandbox-sums", "sandbox-costs"]) part(name).hidden = missing;
    part("sandbox-play").disabled = missing;
    drawInput(now, cell);
    part("sandbox-about").textContent = (padding ? `The hatched rim is ${padding} ${padding === 1 ? "cell" : "cells"} of padding: zeros that are not in the picture. ` : "") + (fromMap() && size > Math.min(...steps[state.layer].shape.slice(1))
      ? `The whole map, stretched to ${size} × ${size}.` : fromMap() ? `The ${size} × ${size} cells around the chosen one.` : "The cells are numbered, so that sums can be followed.");
    if (missing) return;
    drawOutput(cell);
    explain(now, rule, cell);
    facts(now, rule);
    checkScrollers();
  }

  saveButtons(part("sandbox-save"), "the sandbox", () => ({
    file: ["explorer-sandbox", ...state.sandbox], title: "How large is the output?",
    lines: [`⌊(input + 2 · padding − dilation · (kernel − 1) − 1) ÷ stride⌋ + 1 = ${part("sandbox-filled").textContent} ${part("sandbox-result").textContent}`],
    panels: [["The input, with its padding", "sandbox-map", "sandbox-about"], ...(side ? [["The output", "sandbox-output", "sandbox-cell"]] : [])]
      .map(([caption, name, text]) => ({ caption, width: 324, height: 324, layers: [part(name)], text: part(text).textContent })),
  }), core.speak);

  // The formula itself, for whoever asks: the output's side for each setting.
  box.addEventListener("explorer:sandbox", ({ detail }) => detail.then(detail.settings.map((setting) => outputSide(Object.fromEntries(KNOB_NAMES.map((name, i) => [name, setting[i]]))))));

  const whole = (text, otherwise, [low, high]) => { const found = Number.parseInt(text ?? "", 10); return Number.isNaN(found) ? otherwise : clamp(found, low, high); };
  return {
    opening: { sandbox: [...PRESETS.vgg[0]], sandboxRule: "edge", sandboxOwn: [], sandboxInput: "count", sandboxCell: null },
    settle() {
      if (!RULES.includes(state.sandboxRule)) state.sandboxRule = "edge";
      if (state.sandboxInput !== "map") state.sandboxInput = "count";
      const most = Math.max(0, outputSide(knobs()) - 1);
      if (state.sandboxCell) state.sandboxCell = state.sandboxCell.map((place) => clamp(place, 0, most));
    },
    read(words) {
      const asked = (words.get("sandbox") ?? "").split("."), [row, column] = (words.get("sandbox-cell") ?? "").split(",").map((word) => wholeOf(word, null));
      return {
        sandbox: KNOB_NAMES.map((name, i) => whole(asked[i], PRESETS.vgg[0][i], KNOBS[name])), sandboxRule: words.get("sandbox-rule") ?? "edge", sandboxInput: words.get("sandbox-input") ?? "count",
        sandboxOwn: (words.get("sandbox-kernel") ?? "").split(",").slice(0, EDITABLE ** 2).map((one) => clamp(finite(Number(one)), -99, 99)),
        sandboxCell: row === null || (column ?? null) === null ? null : [row, column],
      };
    },
    write(words) {
      if (`${state.sandbox}` !== `${PRESETS.vgg[0]}`) words.set("sandbox", state.sandbox.join("."));
      if (state.sandboxRule !== "edge") words.set("sandbox-rule", state.sandboxRule);
      if (state.sandboxRule === "own" && state.sandboxOwn.length <= EDITABLE ** 2) words.set("sandbox-kernel", state.sandboxOwn.join());
      if (state.sandboxInput === "map") words.set("sandbox-input", "map");
      if (state.sandboxCell) words.set("sandbox-cell", state.sandboxCell.map((place) => place + 1).join());
    },
    show: draw,
  };
}
