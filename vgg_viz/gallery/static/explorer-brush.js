// The brush: hide a part of the picture, and see what the network then says. All other views get the painted picture.

import { all, make } from "./elements.js";
import { runsLive } from "./explorer-core.js";
import { forward } from "./explorer-engine.js";
import { classOf } from "./explorer-gradcam.js";
import { signedBar } from "./explorer-sums.js";
import { exact } from "./explorer-terms.js";
import { saveButtons } from "./export.js";
import { twoTone } from "./paint.js";
import { barWidth, clamp, finite, percent, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

const FILLS = { m: "mean", b: "blur", c: "colour" };
const MOST_POINTS = 400; // of all strokes together, so that an address stays one that can be mailed
const GREY_FILL = "#808080";

// Strokes as one word of an address: fill, size and places, each in two letters; what is malformed is left out, the rest clamped.
function strokesOf(word, side) {
  let left = MOST_POINTS;
  return String(word ?? "").slice(0, 20 * MOST_POINTS).split(".").flatMap((text) => {
    const found = /^(m|b|c[0-9a-f]{6})([0-9a-z]{2})((?:[0-9a-z]{4})+)$/.exec(text);
    if (!found || left <= 0) return [];
    const place = (letters) => Math.min(Number.parseInt(letters, 36), side - 1);
    const points = found[3].match(/.{4}/g).slice(0, left).map((pair) => [place(pair.slice(0, 2)), place(pair.slice(2))]);
    left -= points.length;
    return [{ fill: FILLS[found[1][0]], colour: found[1].length > 1 ? `#${found[1].slice(1)}` : GREY_FILL, size: clamp(Number.parseInt(found[2], 36), 1, side), points }];
  });
}

function wordOf(strokes) {
  const two = (value) => value.toString(36).padStart(2, "0");
  return strokes.map(({ fill, colour, size, points }) => (fill === "colour" ? `c${colour.slice(1)}` : fill[0]) + two(size) + points.flat().map(two).join("")).join(".");
}

// A picture without its fine structure: every pixel the Gaussian mean of those around it, a sixteenth of the side wide.
function blurred({ data, width, height }) {
  const spread = width / 16, reach = Math.ceil(2.5 * spread), kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / spread) ** 2));
  const whole = kernel.reduce((sum, one) => sum + one, 0);
  const along = (values, place) => {
    const out = new Float32Array(values.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < 4; c++) {
          let sum = 0;
          for (let i = -reach; i <= reach; i++) sum += kernel[i + reach] * values[4 * place(x, y, i) + c];
          out[4 * (y * width + x) + c] = sum / whole;
        }
      }
    }
    return out;
  };
  const across = along(data, (x, y, i) => y * width + clamp(x + i, 0, width - 1));
  return along(across, (x, y, i) => clamp(y + i, 0, height - 1) * width + x).map(Math.round);
}

// Lay a stroke on a picture's pixels: round dabs along the lines between its points, from point `first` on. No soft edge:
// a pixel is either the picture's or the brush's. `hidden` keeps which.
function layStroke(image, hidden, { size, points }, pixelOf, first = 0) {
  const { data, width, height } = image, middle = (size - 1) / 2, from = Math.floor(size / 2);
  const dab = (x, y) => {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const px = x - from + j, py = y - from + i;
        if ((i - middle) ** 2 + (j - middle) ** 2 > (size / 2) ** 2 || px < 0 || py < 0 || px >= width || py >= height) continue;
        const at = py * width + px, colour = pixelOf(at);
        hidden[at] = 1;
        for (let c = 0; c < 3; c++) data[4 * at + c] = colour[c];
      }
    }
  };
  for (let i = first; i < points.length; i++) {
    const [x, y] = points[i], [x0, y0] = points[Math.max(0, i - 1)], steps = Math.max(Math.abs(x - x0), Math.abs(y - y0), 1);
    for (let t = i ? 1 : steps; t <= steps; t++) dab(Math.round(x0 + ((x - x0) * t) / steps), Math.round(y0 + ((y - y0) * t) / steps));
  }
}

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function brushView(core) {
  const { box, part, steps, last, side, state, className } = core, scores = last - 1;
  if (!runsLive(core, "brush", "The brush")) return {};
  const zoom = Math.max(1, Math.floor(384 / side)), stage = part("brush-stage"), canvas = part("brush-map"), tip = part("brush-tip");
  for (const one of [canvas, tip]) one.width = one.height = side * zoom;
  let strokes = [], base = null, before = null; // the picture as it was, and what the network says to it: { scores, shares }
  let fills = null, work = null; // what a brush lays down on this picture; the painted picture with what is hidden
  let stroke = null, cursor = [Math.floor(side / 2), Math.floor(side / 2)], pointing = false;
  let recalled = true, [picture, word] = [null, ""];

  // ---- painting

  const context = (one) => one.getContext("2d", { willReadFrequently: true });

  function pixelOf({ fill, colour }) {
    if (fill === "colour") {
      const rgb = [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16));
      return () => rgb;
    }
    fills ??= { image: context(base).getImageData(0, 0, side, side) };
    const { data } = fills.image;
    if (fill === "blur") {
      fills.blur ??= blurred(fills.image);
      return (at) => fills.blur.subarray(4 * at, 4 * at + 3);
    }
    fills.mean ??= [0, 1, 2].map((c) => { let sum = 0; for (let i = c; i < data.length; i += 4) sum += data[i]; return Math.round(sum / (side * side)); });
    return () => fills.mean;
  }

  function workOn() {
    const image = context(base).getImageData(0, 0, side, side), hidden = new Uint8Array(side * side);
    for (const one of strokes) layStroke(image, hidden, one, pixelOf(one));
    const painted = make("canvas", { width: side, height: side });
    context(painted).putImageData(image, 0, 0);
    return { image, hidden, canvas: painted };
  }

  const used = () => [...strokes, ...(stroke ? [stroke] : [])].reduce((sum, one) => sum + one.points.length, 0);

  function extend(point) {
    const points = stroke.points, end = points.at(-1);
    if (end && Math.hypot(end[0] - point[0], end[1] - point[1]) < Math.max(1, stroke.size / 6)) return;
    if (used() >= MOST_POINTS) return;
    points.push(point);
    layStroke(work.image, work.hidden, stroke, pixelOf(stroke), points.length - 1);
    if (!waiting) requestAnimationFrame(live);
    waiting = true;
  }

  // While the pointer is down only the answer follows it; every other view follows at its end.
  let waiting = false;
  function live() {
    waiting = false;
    if (!stroke) return;
    const started = performance.now();
    context(work.canvas).putImageData(work.image, 0, 0);
    const values = forward(steps, core.pixelsOf(work.canvas));
    draw(work.canvas);
    tell(values);
    box.dataset.brush = (performance.now() - started).toFixed(1);
  }

  function begin(point) {
    stroke = { fill: state.brushFill, colour: state.brushColour, size: state.brushSize, points: [] };
    work = workOn();
    extend(point);
  }

  function end() {
    if (!stroke) return;
    const done = stroke;
    stroke = null;
    if (done.points.length) keep([...strokes, done]);
  }

  function keep(next) {
    core.choose({ brush: wordOf(next) }, false);
    core.speak(strokes.length ? part("brush-said").textContent : "The picture is as it was.", 400);
  }

  // ---- choices

  const under = (event) => {
    const frame = canvas.getBoundingClientRect(), to = (p, from, wide) => clamp(Math.floor(((p - from) / wide) * side), 0, side - 1);
    return [to(event.clientX, frame.left, frame.width), to(event.clientY, frame.top, frame.height)];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    [cursor, pointing] = [under(event), true];
    begin(cursor);
  });
  stage.addEventListener("pointermove", (event) => {
    [cursor, pointing] = [under(event), true];
    if (stroke) extend(cursor);
    drawTip();
  });
  ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, end));
  stage.addEventListener("pointerleave", () => { pointing = false; drawTip(); });
  ["focus", "blur"].forEach((name) => stage.addEventListener(name, () => drawTip()));
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? Math.max(1, state.brushSize) : 1, move = { ArrowRight: [far, 0], ArrowLeft: [-far, 0], ArrowDown: [0, far], ArrowUp: [0, -far] }[event.key];
    if (move) cursor = cursor.map((place, i) => clamp(place + move[i], 0, side - 1));
    else if (event.key === " " || event.key === "Enter") { if (!event.repeat) { begin(cursor); end(); } }
    else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
    pointing = false;
    drawTip();
    if (move) core.speak(`x ${cursor[0]}, y ${cursor[1]}`, 300);
  });
  const undo = () => keep(strokes.slice(0, -1));
  part("brush-undo").addEventListener("click", undo);
  part("brush-clear").addEventListener("click", () => keep([]));
  part("brush-size").max = Math.ceil(side / 2);
  part("brush-size").addEventListener("input", () => core.choose({ brushSize: Number(part("brush-size").value) }, false));
  part("brush-colour").addEventListener("input", () => core.choose({ brushColour: part("brush-colour").value, brushFill: "colour" }, false));
  const fillInputs = all("input[name=ui-fill]");
  for (const input of fillInputs) input.addEventListener("change", () => core.choose({ brushFill: input.value }, false));

  // Wherever on the page the reader is: this is no longer the picture that it was, and here is the way back.
  const note = make("div", { class: "changed-note", hidden: true }, make("p", {}), make("button", { type: "button", text: "Back to the original" }));
  note.lastChild.addEventListener("click", () => { keep([]); stage.focus({ preventScroll: true }); });
  box.append(note);

  // ---- on the page

  function draw(picture = core.photo) {
    const on = canvas.getContext("2d");
    on.imageSmoothingEnabled = false;
    on.drawImage(picture, 0, 0, side * zoom, side * zoom);
    drawTip();
  }

  function drawTip() {
    const on = tip.getContext("2d"), size = state.brushSize, middle = (place) => (place - Math.floor(size / 2) + size / 2) * zoom;
    on.clearRect(0, 0, tip.width, tip.height);
    if (pointing || stage.matches(":focus-visible")) twoTone(on, () => { on.beginPath(); on.arc(middle(cursor[0]), middle(cursor[1]), (size * zoom) / 2, 0, 7); }, 1.5);
  }

  const count = steps[last].shape[0], rows = Array.from({ length: count <= 16 ? count : 12 }, () => {
    const [name, was, now, change, bars] = ["share-name", "num", "num", "num", "double-bar"].map((kind) => make("span", { class: kind }));
    bars.setAttribute("aria-hidden", "true");
    bars.append(make("span", { class: "was" }), make("span", { class: "now" }));
    const signed = make("span", { class: "brush-signed" }), item = make("li", { class: "brush-row" }, name, bars, was, now, signed, change);
    return { item, name, was, now, change, bars, signed, key: "" };
  });
  part("brush-rows").append(...rows.map((row) => row.item));

  function tell(values) {
    const [was, now] = [before.shares, values[last]], order = Array.from(was.keys());
    if (order.length > rows.length) order.sort((a, b) => Math.max(was[b], now[b]) - Math.max(was[a], now[a]));
    const top = Array.from(now.keys()).reduce((best, i) => (now[i] > now[best] ? i : best), 0);
    rows.forEach((row, i) => {
      const index = order[i], change = now[index] - was[index], points = core.outputs === "scores" ? exact(Math.abs(change)) : (100 * Math.abs(change)).toFixed(1), as = [index, was[index], now[index], index === top].join();
      if (as === row.key) return;
      row.key = as;
      row.name.replaceChildren(make("bdi", { text: shortened(className(index), 40) }));
      row.name.classList.toggle("best", index === top);
      row.was.textContent = core.valueText(was[index]);
      row.now.textContent = core.valueText(now[index]);
      row.change.textContent = ["0.0", "0"].includes(points) ? "0" : `${change < 0 ? "−" : "+"}${points}`;
      row.bars.children[0].style.width = barWidth(was[index], core.outputs);
      row.bars.children[1].style.width = barWidth(now[index], core.outputs);
      row.signed.replaceChildren(signedBar(change, 1));
    });
    const asked = classOf(state.target, before.scores, core.truth()), from = before.scores[asked], to = values[scores][asked], painted = stroke || strokes.length;
    part("brush-score").replaceChildren("Score of ", make("bdi", { text: shortened(className(asked), 60) }), `: ${exact(from)} before`,
      ...(painted ? [`, ${exact(to)} now: `, make("strong", { text: `${to < from ? "−" : "+"}${exact(Math.abs(to - from))}` })] : []));
    const hidden = painted ? (work ??= workOn()).hidden.reduce((sum, one) => sum + one, 0) / (side * side) : 0;
    part("brush-said").textContent = painted ? `${percent(hidden)} of the picture is painted over; the network now ${core.saysText} ${shortened(className(top), 60)} (${core.valueText(now[top])}).`
      : "Nothing is painted over yet.";
    part("brush-full").textContent = used() >= MOST_POINTS ? "The address of this page can hold no more strokes: undo some, or clear." : "";
  }

  saveButtons(part("brush-save"), "the picture under the brush", () => {
    const now = core.activations[last], order = Array.from(now.keys()).sort((a, b) => Math.max(before.shares[b], now[b]) - Math.max(before.shares[a], now[a])).slice(0, 16);
    return {
      file: ["explorer-brush", core.pictureWord()], title: "A part of the picture hidden", lines: [core.answerText(), part("brush-said").textContent, part("brush-score").textContent],
      panels: [{ caption: "The picture", width: 324, height: 324, layers: [base] }, { caption: "Under the brush", width: 324, height: 324, layers: [core.photo] }],
      charts: [{ title: core.outputs === "scores" ? "Scores" : "Probabilities", heads: ["before", "now"], rows: order.map((i) => ({ label: className(i), values: [before.shares[i], now[i]], texts: [core.valueText(before.shares[i]), core.valueText(now[i])] })) }],
    };
  }, core.speak);

  return {
    opening: { brush: "", brushSize: Math.max(2, Math.round(side / 6)), brushFill: "mean", brushColour: GREY_FILL },
    settle() {
      // Strokes belong to a picture: another one begins without, unless the address names both.
      if (!recalled && state.picture !== picture && state.brush === word) state.brush = "";
      strokes = strokesOf(state.brush, side);
      [recalled, picture, word] = [false, state.picture, wordOf(strokes)];
      state.brush = word;
      state.brushSize = clamp(Math.round(finite(state.brushSize)), 1, Math.ceil(side / 2));
      if (!Object.values(FILLS).includes(state.brushFill)) state.brushFill = "mean";
      if (!/^#[0-9a-f]{6}$/.test(state.brushColour)) state.brushColour = GREY_FILL;
    },
    read(words) {
      recalled = true;
      const colour = `#${words.get("brush-colour") ?? ""}`, size = Number.parseInt(words.get("brush-size") ?? "", 10);
      return { brush: words.get("brush") ?? "", brushSize: Number.isNaN(size) ? Math.max(2, Math.round(side / 6)) : size, brushFill: words.get("brush-fill") ?? "mean", brushColour: colour };
    },
    write(words) {
      if (state.brush) words.set("brush", state.brush);
      if (state.brushSize !== this.opening.brushSize) words.set("brush-size", state.brushSize);
      if (state.brushFill !== "mean") words.set("brush-fill", state.brushFill);
      if (state.brushColour !== GREY_FILL) words.set("brush-colour", state.brushColour.slice(1));
    },
    over(picture) {
      if (picture !== base) [base, before, fills] = [picture, null, null];
      work = strokes.length ? workOn() : null;
      return work?.canvas ?? picture;
    },
    took() {
      const values = work ? (before ? null : forward(steps, core.pixelsOf(base))) : core.activations;
      if (values) before = { scores: values[scores], shares: values[last] };
    },
    chose(old) { if (state.brush !== old.brush && state.picture === old.picture) core.take(); },
    show() {
      if (stroke) return;
      draw();
      tell(core.activations);
      part("brush-size").value = String(state.brushSize);
      part("brush-size-text").textContent = `${state.brushSize} px`;
      part("brush-colour").value = state.brushColour;
      for (const input of fillInputs) input.checked = input.value === state.brushFill;
      part("brush-undo").disabled = part("brush-clear").disabled = !strokes.length;
      note.hidden = !strokes.length;
      note.firstChild.textContent = `Picture changed: ${strokes.length === 1 ? "one stroke" : `${strokes.length} strokes`}`;
    },
  };
}
