// The board: every layer as a column of small maps, and the flows between the units that feed each other.

import { all, make } from "./elements.js";
import { mapCanvas } from "./explorer-lens.js";
import { storedFlows } from "./explorer-stored.js";
import { convTerms } from "./explorer-terms.js";
import { fitting, legendOf, paintSheet, penOn, saveButtons, SHEET_EDGE } from "./export.js";
import { barWidth, clamp, named, number, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

const BOARD_HEIGHT = 476; // of a column of maps [px]
const CELL_GAP = 4;
const PRINT_EDGE = 24; // beside the board on paper: names of narrow layers are wider than their maps
const BOARD_STRIP = 1500; // of the board on one strip of paper, at most [px]: less than half its size cannot be read

// Unit counts to a grid: small layers as one column of large maps, wide ones as a block of small ones.
function gridOf(units) {
  for (const [cell, most] of [[44, 1], [36, 2], [28, 4]]) {
    const rows = Math.floor((BOARD_HEIGHT + CELL_GAP) / (cell + CELL_GAP)), columns = Math.ceil(units / rows);
    if (columns <= most) return { cell, columns, rows: Math.ceil(units / columns) };
  }
  const rows = Math.floor((BOARD_HEIGHT + CELL_GAP) / (24 + CELL_GAP)), columns = Math.ceil(units / rows);
  return { cell: 24, columns, rows: Math.ceil(units / columns) };
}

// One layer's place on the board: a canvas under its name, which knows where each unit is.
function boardLayer(step, index) {
  const vector = step.shape.length === 1, strip = step.kind === "flatten" || (vector && step.shape[0] > 200);
  const grid = strip ? { cell: 14, columns: 1, rows: step.shape[0] } : gridOf(step.shape[0]);
  const width = strip ? 14 : grid.columns * (grid.cell + CELL_GAP) - CELL_GAP;
  const height = strip ? BOARD_HEIGHT : grid.rows * (grid.cell + CELL_GAP) - CELL_GAP;
  const density = strip ? 1 : Math.min(2, Math.ceil(devicePixelRatio));
  const canvas = make("canvas", { width: strip ? 1 : width * density, height: strip ? step.shape[0] : height * density });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const label = make("p", { class: "layer-name" }, make("b", { text: step.title }), ...(step.units ? [`${step.units.length} of ${step.full[0]}`, step.full.slice(1).join(" × ")] : [step.shape.join(" × ")]).map((text) => make("span", { text })));
  const element = make("div", { class: `layer ${step.kind}` }, label, canvas);
  const boxOf = (unit) => strip
    ? { x: 0, y: (unit * height) / step.shape[0], width, height: Math.max(1, height / step.shape[0]) }
    : { x: Math.floor(unit / grid.rows) * (grid.cell + CELL_GAP), y: (unit % grid.rows) * (grid.cell + CELL_GAP), width: grid.cell, height: grid.cell };

  function unitAt(x, y) {
    if (strip) return clamp(Math.floor((y / height) * step.shape[0]), 0, step.shape[0] - 1);
    const pitch = grid.cell + CELL_GAP, unit = Math.floor(x / pitch) * grid.rows + Math.floor(y / pitch);
    return unit >= 0 && unit < step.shape[0] && x % pitch < grid.cell && y % pitch < grid.cell ? unit : null;
  }

  function paint(values, scaleFor) {
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (strip) {
      context.drawImage(mapCanvas(values, 0, step.shape[0], 1, scaleFor(0)), 0, 0);
      return;
    }
    context.scale(density, density);
    const [h, w] = vector ? [1, 1] : step.shape.slice(1);
    context.imageSmoothingEnabled = w > grid.cell * density;
    for (let unit = 0; unit < step.shape[0]; unit++) {
      const box = boxOf(unit);
      context.drawImage(mapCanvas(values, unit * h * w, h, w, scaleFor(unit)), box.x, box.y, box.width, box.height);
    }
  }

  return { step, index, element, canvas, boxOf, unitAt, paint };
}

// What one unit gets from the layer below: [unit there, how much], the amounts with their signs where they are terms of a sum.
function flowsInto(steps, activations, { layer, unit, row, column }) {
  const step = steps[layer], before = activations[layer - 1];
  if (layer === 0) return [];
  if (step.kind === "conv") return convTerms(step, before, unit, row, column).map((term) => [term.channel, term.sum]);
  if (step.kind === "fc") return Array.from(before, (value, i) => [i, value * step.weight[unit * before.length + i]]);
  if (step.kind === "softmax") return Array.from(activations[layer], (share, i) => [i, i === unit ? share : -share]);
  if (step.kind === "flatten") return [[Math.floor(unit / (step.input[1] * step.input[2])), 1]];
  return [[unit, 1]];
}

// The layers side by side on one canvas of flows; `places` are boardLayers.
function drawFlows(canvas, places, shown, flows, picked, density = Math.min(2, Math.ceil(devicePixelRatio))) {
  const holder = canvas.parentElement, frame = holder.getBoundingClientRect();
  const width = holder.scrollWidth, height = holder.offsetHeight;
  canvas.width = width * density;
  canvas.height = height * density;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const boxOn = (place, unit) => {
    const at = place.canvas.getBoundingClientRect(), box = place.boxOf(unit);
    return { ...box, x: box.x + at.left - frame.left, y: box.y + at.top - frame.top };
  };
  const outline = (box, line, colour) => {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(box.x - line / 2 - 0.5, box.y - line / 2 - 0.5, box.width + line + 1, box.height + line + 1);
  };
  const style = getComputedStyle(canvas), ink = style.getPropertyValue("--flow-one"), more = style.getPropertyValue("--flow-more"), less = style.getPropertyValue("--flow-less");
  const place = places[shown.layer];
  if (place && shown.layer > 0) {
    const target = boxOn(place, shown.unit), top = flows.reduce((best, [, amount]) => Math.max(best, Math.abs(amount)), 0);
    // Of very many flows only the strong ones are seen; drawing the others would cost time and show nothing.
    const strong = [...flows].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 200).reverse();
    for (const [unit, amount] of strong) {
      const source = boxOn(places[shown.layer - 1], unit), share = top > 0 ? Math.abs(amount) / top : 0;
      const x0 = source.x + source.width + 1, y0 = source.y + source.height / 2, x1 = target.x - 2, y1 = target.y + target.height / 2;
      const bend = (x1 - x0) / 2;
      context.beginPath();
      context.moveTo(x0, y0);
      context.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
      context.strokeStyle = flows.length === 1 ? ink : amount < 0 ? less : more;
      context.globalAlpha = 0.16 + 0.84 * share;
      context.lineWidth = 1 + 3 * share;
      context.stroke();
      if (flows.length < 200) outline(source, 1.5, context.strokeStyle);
    }
    context.globalAlpha = 1;
  }
  if (place && place !== places[picked.layer]) outline(boxOn(places[picked.layer], picked.unit), 2, style.getPropertyValue("--flow-quiet"));
  if (place) outline(boxOn(place, shown.unit), 3, style.getPropertyValue("--flow-shown"));
}

/**
 * The board: every layer with all its units, the flows into what is looked at, and the probabilities at its end.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function boardView(core) {
  const { part, steps, last, state, choose, point, shapeOf, scaleFor, className } = core, scores = steps[last].shape;
  const flows = make("canvas", { "aria-hidden": "true" });
  const shares = make("ol", { class: "shares" });
  const sharesLayer = make("div", { class: "layer softmax" }, make("p", { class: "layer-name" }, make("b", { text: core.outputs }), make("span", { text: core.outputs === "scores" ? "as they are" : "probabilities" })), shares);
  const listed = scores[0] <= 16 ? scores[0] : 12;
  const bars = Array.from({ length: listed }, () => {
    const button = make("button", { type: "button" }), item = make("li", {}, button);
    button.addEventListener("click", () => choose({ layer: last, unit: Number(button.dataset.unit) }));
    shares.append(item);
    return button;
  });
  const places = steps.slice(0, last).map(boardLayer);
  places.push({
    element: sharesLayer, canvas: shares, step: steps[last], index: last, paint: paintShares, unitAt: () => null,
    boxOf(unit) {
      const item = bars.find((button) => Number(button.dataset.unit) === unit) ?? bars.at(-1), at = item.getBoundingClientRect(), from = shares.getBoundingClientRect();
      return { x: at.left - from.left, y: at.top - from.top, width: at.width, height: at.height };
    },
  });
  part("board").append(...places.map((place) => place.element), flows);

  function paintShares(values) {
    const order = Array.from(values.keys());
    const wanted = listed === scores[0] ? order : order.sort((a, b) => values[b] - values[a]).slice(0, listed), top = core.best();
    wanted.forEach((index, i) => {
      const bar = make("span", { class: "guess-bar", "aria-hidden": "true" }, make("span"));
      bar.firstChild.style.width = barWidth(values[index], core.outputs);
      bar.hidden = core.outputs === "scores";
      bars[i].dataset.unit = index;
      bars[i].replaceChildren(make("span", { class: `share-name${index === top ? " best" : ""}` }, make("bdi", { text: shortened(className(index), 40) })),
        make("span", { class: "share-value", text: core.valueText(values[index]) }), bar);
    });
  }

  function paintBoard() {
    places.forEach((place, layer) => place.paint(core.activations[layer], (unit) => scaleFor(layer, unit)));
    for (const input of all("input[name=ui-range]")) input.checked = input.value === state.range;
  }

  for (const place of places) {
    const at = (event) => {
      const frame = place.canvas.getBoundingClientRect(), unit = place.unitAt(event.clientX - frame.left, event.clientY - frame.top);
      if (unit === null) return null;
      const [, h, w] = shapeOf(place.index), cell = place.boxOf(unit), inside = (p, from, size, count) => clamp(Math.floor(((p - from) / size) * count), 0, count - 1);
      return { layer: place.index, unit, row: inside(event.clientY - frame.top, cell.y, cell.height, h), column: inside(event.clientX - frame.left, cell.x, cell.width, w) };
    };
    if (place.index === last) continue;
    place.canvas.addEventListener("pointermove", (event) => point(at(event)));
    place.canvas.addEventListener("pointerleave", () => point(null));
    place.canvas.addEventListener("click", (event) => { const cell = at(event); if (cell) choose(cell); });
  }

  const scroller = part("board-scroll");
  scroller.addEventListener("keydown", (event) => {
    if (event.target !== scroller || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1], Home: [-last, 0], End: [last, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    choose(move[0] ? { layer: clamp(state.layer + move[0], 0, last) } : { unit: state.unit + move[1] });
  });

  const flowsOf = (shown) => (shown.layer < last && !core.live
    ? storedFlows(steps, shown.layer, core.idOf(shown.layer, shown.unit), core.cellOf(shown.layer, shown.unit)) : flowsInto(steps, core.activations, shown));

  // The board as it stands, on a pen: words where they stand on the page, maps anew and sharp, flows from their canvas.
  function drawBoard(pen, times) {
    const frame = part("board").getBoundingClientRect();
    const write = (element, style = {}) => {
      const at = element.getBoundingClientRect(), css = getComputedStyle(element), size = Number.parseFloat(css.fontSize), centred = css.textAlign === "center" && element.closest(".layer-name");
      pen.text((centred ? at.left + at.width / 2 : at.left) - frame.left, at.top - frame.top + at.height / 2 + size * 0.36, fitting(element.textContent, Math.max(at.width, centred ? 96 : 0), { size, weight: Number(css.fontWeight) }),
        { size, weight: Number(css.fontWeight), anchor: centred ? "middle" : "start", ...style });
    };
    drawFlows(flows, places, state, flowsOf(state), state, times);
    pen.image(0, 0, flows.width / times, flows.height / times, flows);
    for (const place of places) {
      all(".layer-name > *", place.element).forEach((element) => write(element));
      if (place.index === last) {
        for (const button of bars) {
          const [name, value, track] = [".share-name", ".share-value", ".guess-bar"].map((one) => button.querySelector(one)), at = track.getBoundingClientRect();
          write(name);
          write(value);
          pen.box(at.left - frame.left, at.top - frame.top, at.width * clamp(core.activations[last][Number(button.dataset.unit)], 0, 1), 5, "one");
        }
        continue;
      }
      const at = place.canvas.getBoundingClientRect(), [x, y] = [at.left - frame.left, at.top - frame.top], [, h, w] = shapeOf(place.index), values = core.activations[place.index];
      const strip = place.step.kind === "flatten";
      if (strip) pen.image(x, y, at.width, at.height, mapCanvas(values, 0, values.length, 1, scaleFor(place.index, 0)), true);
      for (let unit = 0; !strip && unit < place.step.shape[0]; unit++) {
        const spot = place.boxOf(unit);
        pen.image(x + spot.x, y + spot.y, spot.width, spot.height, mapCanvas(values, unit * h * w, h, w, scaleFor(place.index, unit)), w > spot.width * times);
      }
    }
    requestAnimationFrame(core.show);
  }

  saveButtons(part("board-save"), "the whole network", (times) => ({
    file: ["explorer", core.pictureWord(), "network", steps[state.layer].title, core.idOf(state.layer, state.unit) + 1],
    title: `${shortened(named(core.title))}: every layer, every unit`,
    lines: [core.answerText(), `Chosen: ${core.cellText(state)}. ${spanText()}`],
    wide: part("board").scrollWidth + 2 * SHEET_EDGE,
    panels: [{ width: part("board").scrollWidth, height: part("board").offsetHeight, draw: (pen) => drawBoard(pen, times), legends: [legendOf(part("bar"), ["low", "middle", "high"].map((name) => part(name).textContent), core.rangeText(state.layer))] }],
  }), core.speak);

  const spanText = () => `Colours span ${{ unit: "each unit", layer: "each layer", network: "the network" }[state.range]}.`;

  // On paper: the board in as many strips as it takes to be read, cut between layers.
  function printed() {
    const wide = part("board").scrollWidth + 2 * PRINT_EDGE, marks = [], strips = Math.ceil(wide / BOARD_STRIP), edges = places.map(({ element }) => element.offsetLeft + PRINT_EDGE - 15);
    drawBoard(penOn(marks, PRINT_EDGE), 2);
    const whole = paintSheet({ marks, width: wide, height: part("board").offsetHeight }, 2, "#fff");
    const nearest = (x) => edges.reduce((best, edge) => (Math.abs(edge - x) < Math.abs(best - x) ? edge : best));
    const cuts = [...new Set([0, ...Array.from({ length: strips - 1 }, (_, i) => nearest(((i + 1) * wide) / strips)), wide])];
    const widest = Math.max(...cuts.slice(1).map((cut, i) => cut - cuts[i]));
    const { low, high } = scaleFor(state.layer, state.unit);
    part("board-print").replaceChildren(...cuts.slice(1).map((to, i) => {
      const from = cuts[i], tall = Math.max(...places.filter((_, j) => edges[j] >= from - 1 && edges[j] < to - 1).map(({ element }) => element.offsetHeight), 1);
      const [width, height] = [2 * Math.ceil(to - from), 2 * tall], canvas = make("canvas", { width, height });
      canvas.getContext("2d").drawImage(whole, 2 * from, 0, width, height, 0, 0, width, height);
      canvas.style.width = `${(100 * (to - from)) / widest}%`;
      return canvas;
    }), make("p", { class: "note-line", text: `${spanText()} Of ${steps[state.layer].title}: ${number(low)} to ${number(high)}.` }));
  }

  // A wide network is scrolled until the chosen layer and the one that feeds it are in sight.
  function reveal() {
    const element = places[state.layer].element, from = places[Math.max(0, state.layer - 1)].element.offsetLeft;
    scroller.scrollLeft = clamp(scroller.scrollLeft, element.offsetLeft + element.offsetWidth - scroller.clientWidth + 40, Math.max(0, from - 20));
  }

  return {
    printed,
    took: paintBoard,
    chose(before) {
      if (state.range !== before.range && state.picture === before.picture) paintBoard();
      if (state.layer !== before.layer) reveal();
    },
    show(shown) {
      drawFlows(flows, places, shown, flowsOf(shown), state);
      places.forEach((place, i) => place.element.classList.toggle("current", i === shown.layer));
      bars.forEach((button) => button.setAttribute("aria-pressed", String(state.layer === last && Number(button.dataset.unit) === state.unit)));
    },
  };
}
