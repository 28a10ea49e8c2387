// Side by side: the chosen unit on two pictures, or in two networks, on one locked scale; and where the two part ways.

import { all, make } from "./elements.js";
import { readMaps } from "./explorer-closer.js";
import { coloursOf, scaleOf } from "./explorer-colours.js";
import { stepsOf, wholeOf } from "./explorer-core.js";
import { forward } from "./explorer-engine.js";
import { drawEnlarged, drawLegend } from "./explorer-lens.js";
import { NO_PICTURE } from "./explorer-pictures.js";
import { storedAnswers } from "./explorer-stored.js";
import { exact } from "./explorer-terms.js";
import { legendOf, saveButtons } from "./export.js";
import { barWidth, clamp, finite, named, number, percent, shortened } from "./values.js";

/** @import { Scale } from "./explorer-colours.js" */
/** @import { Core } from "./explorer-core.js" */

// How far two lists of numbers lie apart: what both hold, the largest difference, the mean one, and the mean size of the first.
function apartness(one, two, from = 0, to = one.length) {
  let low = Infinity, high = -Infinity, most = 0, sum = 0, size = 0;
  for (let i = from; i < to; i++) {
    const apart = Math.abs(two[i] - one[i]);
    low = Math.min(low, one[i], two[i]);
    high = Math.max(high, one[i], two[i]);
    most = Math.max(most, apart);
    sum += apart;
    size += Math.abs(one[i]);
  }
  return { low: finite(low), high: finite(high), most, mean: sum / Math.max(1, to - from), size: size / Math.max(1, to - from) };
}

// The scale of two maps and that of their difference; both have one top, so that a colour means one size.
function lockedScales(colours, { low, high, most }) {
  if (colours === "grey") return [{ colours, low, high }, scaleOf("signed", [low - high, high - low])];
  const top = Math.max(-low, high, most);
  return [scaleOf(colours, [colours === "signed" ? -top : 0, top]), scaleOf("signed", [-top, top])];
}

// Steps that two networks share: [place in one, place in the other]. Same name, kind and shape; scores only where the classes are the same.
function sharedSteps(one, two, sameClasses) {
  const scores = one.length - 2;
  return one.flatMap((step, i) => {
    const j = two.findIndex((other) => other.name === step.name && other.kind === step.kind && String(other.shape) === String(step.shape));
    return j < 0 || (!sameClasses && i >= scores) ? [] : [[i, j]];
  });
}

// Classes of two networks by their names, a repeated name by its turn: [name, place in one, place in the other], null where there is none.
function sharedClasses(one, two) {
  const keyed = (names) => { const turns = new Map(); return names.map((name) => { turns.set(name, (turns.get(name) ?? 0) + 1); return `${turns.get(name)} ${name}`; }); };
  const theirs = new Map(keyed(two).map((key, i) => [key, i])), ours = keyed(one);
  return [...ours.map((key, i) => [one[i], i, theirs.get(key) ?? null]), ...[...theirs].filter(([key]) => !ours.includes(key)).map(([, i]) => [two[i], null, i])];
}

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function besideView(core) {
  const { part, steps, last, state, pictures, network, rival, choose, shapeOf, unitName } = core;
  const sides = [{ title: core.title, network, steps }, ...(rival ? [{ ...rival, steps: stepsOf(rival.network) }] : [])];
  const classes = sides.map((side) => sharedClasses(network.classes, side.network.classes));
  const shared = sides.map((side, i) => sharedSteps(steps, side.steps, i === 0 || String(network.classes) === String(side.network.classes)));
  let own = null; // the reader's second picture: { name, a canvas for each network }
  let theirs = []; // what the second network says about the second picture
  let key = ""; // of what was reckoned last
  let parted = new Map(); // by layer: how far the two lie apart there
  const maps = part("beside-maps"), canvases = all("canvas", maps);
  const side = () => sides[state.against];
  const signedNumber = (value) => (value > 0 ? `+${number(value)}` : number(value));
  const points = (share) => `${Math.abs(share) < 5e-4 ? "" : share < 0 ? "−" : "+"}${(100 * Math.abs(share)).toFixed(1)} pp`;

  const secondText = () => (state.second === "same" ? "the same picture" : state.second === "second" ? `the reader's second picture (${shortened(own.name)})` : core.pictureText(state.second));
  const pairText = () => `First: ${core.pictureText()}${rival ? `, ${shortened(named(core.title))}` : ""}. Second: ${secondText()}${rival ? `, ${shortened(named(side().title))}` : ""}.`;

  // ---- the second picture through the second network

  function reckon() {
    const source = state.second === "same" ? core.photo : state.second === "second" ? own.canvases[state.against] : core.canvasOf(state.second), wide = side().network.side;
    const canvas = source.width === wide && source.height === wide ? source : core.fitted(source, source.width, source.height, wide);
    const pixels = core.pixelsOf(canvas, side().network);
    theirs = core.live ? forward(side().steps, pixels) : storedAnswers(steps, pictures[state.second === "same" ? state.picture : state.second], pixels);
    key = `${state.second} ${state.against}`;
    compare();
  }

  function compare() {
    parted = new Map(shared[state.against].map(([i, j]) => [i, { j, ...apartness(core.activations[i], theirs[j]) }]));
    drawParting();
    drawClasses();
  }

  // ---- what there is to choose

  function fillChoices() {
    const options = [["same", "the same"], ...pictures.map((_, i) => [i, core.pictureText(i)]), ...(core.canvasOf("own") ? [["own", "your own picture"]] : []), ...(own ? [["second", `your second: ${shortened(own.name, 30)}`]] : [])];
    const offered = JSON.stringify(options);
    if (part("second").dataset.key !== offered) part("second").replaceChildren(...options.map(([value, text]) => make("option", { value, text })));
    part("second").dataset.key = offered;
    part("second").value = String(state.second);
    if (rival) part("against").value = String(state.against);
  }
  const kept = (value) => (/^\d+$/.test(value) ? Number(value) : value);
  part("second").addEventListener("change", () => choose({ second: kept(part("second").value) }, false));
  if (rival) {
    part("against").append(...sides.map(({ title }, i) => make("option", { value: i, text: shortened(named(title), 40) })));
    part("against").addEventListener("change", () => choose({ against: Number(part("against").value) }, false));
  }
  part("second-choose")?.addEventListener("click", () => part("second-file").click());
  part("second-file")?.addEventListener("change", async () => {
    const file = part("second-file").files[0];
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      own = { name: named(file.name), canvases: sides.map((one) => core.fitted(bitmap, bitmap.width, bitmap.height, one.network.side, one.network.fit)) };
      bitmap.close();
      key = "";
      choose({ second: "second" }, false);
      core.speak(pairText(), 0);
    } catch {
      core.speak(NO_PICTURE, 0);
      part("beside-text").textContent = NO_PICTURE;
    }
    part("second-file").value = "";
  });

  // ---- reading

  readMaps(core, maps, (event) => (parted.has(state.layer) ? /** @type {any} */ (event.target).closest("canvas") : null), () => threeNumbers(state));

  // The cell in the first, in the second, and their difference.
  function three({ layer, unit, row, column }) {
    const [, h, w] = shapeOf(layer), at = (unit * h + row) * w + column, one = core.activations[layer][at], two = theirs[parted.get(layer).j][at];
    return [one, two, two - one];
  }
  function threeNumbers(shown) {
    const [one, two, apart] = three(shown), step = steps[shown.layer];
    const at = step.shape.length === 3 ? `, row ${shown.row + 1}, column ${shown.column + 1}` : "";
    return `${step.title}, ${unitName(shown.layer, shown.unit)}${at}: first ${number(one)}, second ${number(two)}, difference ${signedNumber(apart)}`;
  }

  function scales(layer, unit) {
    const colours = coloursOf(steps, layer), [, h, w] = shapeOf(layer), area = h * w, found = parted.get(layer);
    if (state.range === "unit" && area > 1) return lockedScales(colours, apartness(core.activations[layer], theirs[found.j], unit * area, (unit + 1) * area));
    if (state.range !== "network" || colours === "grey" || layer === last) return lockedScales(colours, found);
    const among = [...parted].filter(([i]) => i && i < last).map(([, one]) => one), most = (key) => Math.max(...among.map((one) => one[key]));
    return lockedScales(colours, { low: -most("high"), high: Math.max(most("high"), ...among.map((one) => -one.low)), most: most("most") });
  }

  const reachText = (layer) => {
    const alone = coloursOf(steps, layer) === "grey" || layer === last;
    return { unit: steps[layer].shape.length === 1 ? `all of ${steps[layer].title}` : "this unit", layer: `all of ${steps[layer].title}`, network: alone ? `all of ${steps[layer].title}` : "every layer" }[state.range];
  };
  /** @type {(layer: number, scales: Scale[]) => any[]} */
  const legends = (layer, [scale, apart]) => [
    [scale, scale.colours === "signed" ? `All three maps: the range of ${reachText(layer)} in both, and of the difference; red above zero, blue below` : `The two maps: the range of ${reachText(layer)} in both`],
    ...(scale.colours === "signed" ? [] : [[apart, "Second minus first, on the same scale; red where the second is larger"]]),
  ];
  const endsOf = (scale) => [scale.low, (scale.low + scale.high) / 2, scale.high];

  function drawMaps(shown) {
    const { layer, unit } = shown, step = steps[layer], two = theirs[parted.get(layer).j], one = core.activations[layer], [scale, apart] = scales(layer, unit);
    drawEnlarged(canvases[0], step, one, shown, scale);
    drawEnlarged(canvases[1], step, two, shown, scale);
    drawEnlarged(canvases[2], step, one.map((value, i) => two[i] - value), shown, apart);
    part("beside-bars").replaceChildren(...legends(layer, [scale, apart]).map(([of, text]) => {
      const bar = make("canvas");
      drawLegend(bar, of);
      return make("div", { class: "colour-bar" }, make("div", { class: "bar-track" }, bar), make("div", { class: "bar-ends" }, ...endsOf(of).map((end) => make("span", { text: number(end) }))), make("p", { class: "bar-unit", text }));
    }));
    three(shown).forEach((value, i) => { all("[data-value]", maps)[i].textContent = i === 2 ? signedNumber(value) : number(value); });
    part("beside-value").textContent = threeNumbers(shown);
  }

  // ---- the classes, and the layers

  function classRows() {
    const found = classes[state.against].map(([name, i, j]) => ({ name: named(name), one: i === null ? null : core.activations[last][i], two: j === null ? null : theirs.at(-1)[j] }));
    const order = (row) => Math.max(row.one ?? 0, row.two ?? 0);
    return found.length <= 12 ? found : found.sort((a, b) => order(b) - order(a)).slice(0, 12);
  }
  const apartOf = ({ one, two }) => (one === null || two === null ? "–" : core.outputs === "scores" ? number(two - one) : points(two - one));

  function drawClasses() {
    const rows = classRows(), left = classes[state.against].length - rows.length;
    part("beside-classes").replaceChildren(...rows.map((row) => {
      const pair = make("span", { class: "pair-bars", "aria-hidden": "true" }, make("span"), make("span"));
      [row.one, row.two].forEach((share, i) => { pair.children[i].style.width = barWidth(share ?? 0, core.outputs); });
      return make("tr", {}, make("th", { scope: "row" }, make("span", { class: "pair-name" }, make("bdi", { text: shortened(row.name, 40) }), pair)),
        ...[row.one, row.two].map((share) => make("td", { class: "num", text: share === null ? "no such class" : core.valueText(share) })), make("td", { class: "num", text: apartOf(row) }));
    }));
    part("beside-left").textContent = left ? `${left} with smaller values are not listed.` : "";
  }

  function drawParting() {
    const top = Math.max(...[...parted.values()].map(({ mean }) => mean), 1e-12), focused = part("beside-layers").contains(document.activeElement);
    part("beside-layers").replaceChildren(...[...parted].map(([layer, { mean, size }]) => {
      const fill = make("span"), button = make("button", { type: "button", class: "parting", "aria-pressed": String(layer === state.layer) }, make("span", { text: steps[layer].title }),
        make("span", { class: "guess-bar", "aria-hidden": "true" }, fill), make("span", { class: "term-value", text: number(mean) }), make("span", { class: "parting-share", text: size > 0 ? percent(mean / size) : "–" }));
      fill.style.width = `${(100 * mean) / top}%`;
      button.addEventListener("click", () => { choose({ layer }); part("beside-layers").querySelector("[aria-pressed=true]")?.focus(); });
      return make("li", {}, button);
    }));
    if (focused) part("beside-layers").querySelector("[aria-pressed=true]")?.focus({ preventScroll: true });
  }

  function describe() {
    const found = parted.has(state.layer), missing = steps.length - parted.size, notes = [pairText()];
    if (!found) notes.push(`${steps[state.layer].title} cannot be compared cell by cell: ${state.layer >= last - 1 ? "the two networks have other classes" : "the second network has no layer of this name and shape"}.`);
    if (missing && found) notes.push(`Only ${parted.size} of ${steps.length} layers can be compared cell by cell.`);
    if (!found) notes.push(parted.size ? `Only ${parted.size} of ${steps.length} layers can; they are listed below.` : "No other layer can, either.");
    if (side().network.side !== network.side) notes.push(`The second network takes pictures of ${side().network.side} px: they are scaled for it.`);
    if (!core.live) notes.push("The maps were written down in 256 steps each: a difference smaller than that may be rounding.");
    if (state.against) notes.push("Two networks trained apart need not use one unit for one thing; after fine-tuning they mostly do.");
    part("beside-text").textContent = notes.join(" ");
    part("beside-look").hidden = !found;
    part("beside-parted").hidden = !parted.size;
    all("button", part("beside-layers")).forEach((button, i) => button.setAttribute("aria-pressed", String([...parted.keys()][i] === state.layer)));
  }

  saveButtons(part("beside-save"), "side by side", () => {
    const step = steps[state.layer], found = parted.has(state.layer), title = found ? threeNumbers(state) : "Two side by side";
    const names = ["First", "Second", "Second minus first"], pair = found ? scales(state.layer, state.unit) : [], bars = found ? legends(state.layer, pair).map(([of, text]) => {
      const bar = make("canvas");
      drawLegend(bar, of);
      return legendOf(bar, endsOf(of), text);
    }) : [];
    return {
      file: ["explorer-beside", step.title, core.idOf(state.layer, state.unit) + 1], title, lines: [part("beside-text").textContent],
      panels: found ? names.map((caption, i) => ({ caption, width: 208, height: 208, layers: [canvases[i]], legends: [bars[Math.min(bars.length - 1, i === 2 ? 1 : 0)]] })) : [],
      charts: [
        { title: core.outputs === "scores" ? "Scores" : "Probabilities", heads: ["first", "second", "difference"], rows: classRows().map((row) => ({ label: row.name, values: [row.one ?? 0, row.two ?? 0], texts: [row.one, row.two].map((share) => (share === null ? "–" : exact(share))).concat(apartOf(row)) })) },
        { title: "Where the two part ways: mean absolute difference", heads: ["mean", "of its size"],
          rows: [...parted].map(([layer, { mean, size }]) => ({ label: steps[layer].title, values: [mean], texts: [number(mean), size > 0 ? percent(mean / size) : "–"] })) },
      ],
    };
  }, core.speak);

  return {
    opening: { second: rival || pictures.length < 2 ? "same" : 1, against: sides.length - 1 },
    settle() {
      state.against = clamp(Number(state.against) || 0, 0, sides.length - 1);
      const stands = typeof state.second === "number" ? state.second < pictures.length : state.second === "own" ? core.canvasOf("own") : state.second === "second" ? own : state.second === "same";
      if (!stands) state.second = "same";
      else if (typeof state.second === "number") state.second = Math.max(0, state.second);
    },
    read(words) {
      const said = words.get("second");
      const stays = said === null && ["own", "second"].includes(state.second) ? state.second : undefined; // a picture of one's own has no address
      return { ...(said === null ? (stays ? { second: stays } : {}) : { second: said === "same" ? said : clamp(wholeOf(said, 0), 0, Math.max(0, pictures.length - 1)) }),
        ...(words.has("against") ? { against: wholeOf(words.get("against"), 0) } : {}) };
    },
    write(words) {
      if (typeof state.second === "number") words.set("second", state.second + 1);
      else if (state.second === "same") words.set("second", "same");
      if (rival) words.set("against", state.against + 1);
    },
    took() {
      if (!key || key !== `${state.second} ${state.against}` || ["same", "own"].includes(state.second)) reckon();
      else compare();
    },
    chose() {
      if (key !== `${state.second} ${state.against}`) reckon();
      fillChoices();
      describe();
    },
    show(shown) {
      const looked = parted.has(shown.layer) ? shown : state;
      if (parted.has(looked.layer)) drawMaps(looked);
    },
  };
}
