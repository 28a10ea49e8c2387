// A closer look: the picture with what the chosen cell sees of it, the map enlarged, and how the number comes about.

import { all, make } from "./elements.js";
import { wholeOf } from "./explorer-core.js";
import { drawEnlarged, drawLegend, drawSeen, seenText } from "./explorer-lens.js";
import { storedSum } from "./explorer-stored.js";
import { SUMS } from "./explorer-sums.js";
import { exact, MOST_TERMS } from "./explorer-terms.js";
import { legendOf, saveButtons } from "./export.js";
import { checkScrollers } from "./page.js";
import { overhang } from "./paint.js";
import { clamp, number, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

/**
 * Maps on a stage are read with the pointer, a finger or the arrow keys. `canvasAt(event)` is the map under the
 * pointer, null where there is none; `said()` are the words for a cell chosen by key, where they are not the core's.
 * @param {Core} core
 * @param {HTMLElement} stage
 * @param {(event: PointerEvent) => HTMLCanvasElement | null} canvasAt
 * @param {(() => string) | null} [said]
 * @returns {void}
 */
export function readMaps(core, stage, canvasAt, said = null) {
  const { steps, state, shapeOf, choose, point } = core;
  const under = (event) => {
    const canvas = canvasAt(event);
    if (!canvas) return null;
    const frame = canvas.getBoundingClientRect(), x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
    const [units, h, w] = shapeOf(state.layer), to = (share, count) => clamp(Math.floor(share * count), 0, count - 1), flat = steps[state.layer].shape.length === 1;
    return flat ? { layer: state.layer, unit: to(x, units), row: 0, column: 0 } : { layer: state.layer, unit: state.unit, row: to(y, h), column: to(x, w) };
  };
  stage.addEventListener("pointermove", (event) => point(under(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("click", (event) => { const cell = under(event); if (cell) choose(cell); });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(steps[state.layer].shape.length === 1 ? { unit: state.unit + step[0] + step[1] } : { row: state.row + step[0], column: state.column + step[1] }, !said);
    if (said) core.speak(said(), 400);
  });
}

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function closerView(core) {
  const { part, steps, last, side, state, choose, shapeOf, sourceOf, unitName, className, cellText } = core;

  const wordOf = (name) => (name === "unit" ? core.idOf(state.layer, state.unit) : state[name]) + 1;
  readMaps(core, part("stage"), () => part("map"));
  part("layer").append(...steps.map((step, i) => make("option", { value: i, text: step.title })));
  part("layer").addEventListener("change", () => choose({ layer: Number(part("layer").value) }));
  for (const name of ["unit", "row", "column"]) {
    part(name).addEventListener("change", () => {
      const asked = Math.round(Number(part(name).value) || 1) - 1;
      choose({ [name]: name === "unit" ? core.placeOf(state.layer, asked) : asked });
      part(name).value = wordOf(name);
    });
  }
  for (const input of all("input[name=ui-range]")) input.addEventListener("change", () => choose({ range: input.value }));

  function sumOf(shown) {
    const { layer } = shown, step = steps[layer], source = sourceOf(layer);
    const before = layer ? core.activations[layer - 1] : core.pixelsOf(core.photo);
    const naming = layer === last ? (i) => className(i) : (i) => unitName(layer - (source ? 2 : 1), i);
    const pick = (picked) => { choose({ channel: picked }, false); part("sums").querySelector("[aria-pressed=true]")?.focus(); };
    if (step.full) {
      return storedSum(step, core.cellOf(layer, shown.unit), {
        names: (id) => (step.below === steps[0].name ? unitName(0, id) : `unit ${id + 1}`), below: step.below === steps[0].name ? steps[0].title : step.below, picked: state.channel, pick, others: strongestOf(layer),
      });
    }
    return SUMS[step.kind](step, before, { ...shown, channel: state.channel }, core.valueAt(shown), { names: naming, source, below: layer ? steps[layer - 1].title : "picture", pick, score: layer === last - 1 });
  }

  function explain(shown) {
    const step = steps[shown.layer], { text, parts, hint = "" } = sumOf(shown);
    part("sums-title").textContent = step.full ? `How its strongest value came about: ${step.title}, ${shortened(unitName(shown.layer, shown.unit), 60)}` : `How this number comes about: ${shortened(cellText(shown), 90)}`;
    part("sums-text").replaceChildren(text, make("span", { class: "no-print", text: hint }));
    part("sums").replaceChildren(...parts);
    checkScrollers();
    const [units, h, w] = shapeOf(state.layer);
    part("layer").value = String(state.layer);
    [["unit", steps[state.layer].full?.[0] ?? units], ["row", h], ["column", w]].forEach(([name, most]) => {
      Object.assign(part(name), { max: most, disabled: most === 1 });
      if (document.activeElement !== part(name)) part(name).value = wordOf(name);
    });
  }

  // The units of a stored layer whose sums were written down, strongest first.
  function strongestOf(layer) {
    const known = Object.keys(core.pictures[state.picture]?.cells?.[layer - 1] ?? {}).map(Number).map((id) => (steps[layer].units ? steps[layer].units.indexOf(id) : id));
    return known.sort((a, b) => core.activations[layer][b] - core.activations[layer][a]).map((unit) => [unitName(layer, unit), () => choose({ unit })]);
  }

  // The cell, its map and its sum as one figure; of very many terms the largest.
  saveButtons(part("closer-save"), "a closer look", () => {
    const cell = { ...state }, step = steps[cell.layer], { text, bars = [] } = sumOf(cell), rows = bars.length <= MOST_TERMS ? bars : [...bars].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST_TERMS);
    const heading = `${step.full ? "What added up to its strongest value" : cell.layer === last ? (step.kind === "scores" ? "The scores" : "The probabilities") : cell.layer === last - 1 ? "What adds up to this score" : step.shape.length === 1 ? "What adds up to this number" : "What adds up to this cell"}${rows.length < bars.length ? `: the ${rows.length} strongest of ${bars.length}` : ""}`;
    return {
      file: ["explorer", core.pictureWord(), step.title, wordOf("unit"), cell.row + 1, cell.column + 1],
      title: cellText(cell), lines: [core.answerText(), text],
      panels: [
        { caption: "On the picture", width: 324, height: 324, layers: [part("seen")], text: seenText(step, cell, side) },
        { caption: `${step.title}, ${shortened(unitName(cell.layer, cell.unit))}`, width: 324, height: 324, layers: [part("map")],
          legends: [legendOf(part("bar"), ["low", "middle", "high"].map((name) => part(name).textContent), core.rangeText(cell.layer))] },
      ],
      charts: [{ title: heading, rows: rows.map(([label, value]) => ({ label, values: [value], texts: [exact(value)] })) }],
    };
  }, core.speak);

  return {
    opening: { channel: null },
    settle() {
      const inputs = state.layer ? (sourceOf(state.layer)?.shape ?? steps[state.layer].input)[0] : 0;
      if (state.channel !== null && core.live) state.channel = clamp(state.channel, 0, Math.max(0, inputs - 1));
    },
    moved(change) { state.channel = change.channel ?? null; },
    read: (words) => ({ channel: wholeOf(words.get("input"), null) }),
    write(words) { if (state.channel !== null) words.set("input", state.channel + 1); },
    show(shown, floating) {
      const { layer, unit } = shown, step = steps[layer], scale = core.scaleFor(layer, unit), value = core.valueAt(shown);
      const reach = step.field && step.shape.length === 3 ? overhang({ h: step.shape[1], w: step.shape[2] }, step.field, { width: side, height: side }) : 0;
      drawSeen(part("seen"), core.photo, side, step, shown, reach);
      part("seen-text").textContent = seenText(step, shown, side);
      drawEnlarged(part("map"), step, core.activations[layer], shown, scale);
      part("map-title").replaceChildren(`${step.title}, `, make("bdi", { text: shortened(unitName(layer, unit)) }));
      drawLegend(part("bar"), scale);
      [["low", scale.low], ["middle", (scale.low + scale.high) / 2], ["high", scale.high]].forEach(([name, end]) => { part(name).textContent = number(end); });
      part("range-text").textContent = core.rangeText(layer);
      part("pointer").style.left = `${scale.high > scale.low ? 100 * clamp((value - scale.low) / (scale.high - scale.low), 0, 1) : 50}%`;
      part("value").textContent = cellText(shown);
      // What only floats by on the board would shift the sums to and fro: they follow within the chosen layer.
      if (!floating || layer === state.layer) explain(shown);
    },
  };
}
