// The attention viewer: a photo, a map on it, and every choice in the address of the page.

import { addressOf } from "./address.js";
import { TABLES } from "./colours.js";
import { all, announcer, arrows, make } from "./elements.js";
import { legendOf, saveButtons } from "./export.js";
import { fillSelect, guessRows } from "./lists.js";
import { checkScrollers } from "./page.js";
import { cellAt, drawField, drawOutline, fieldOf, overhang, paintMap, position, valuesOf } from "./paint.js";
import { clamp, finite, inflated, named, number, percent, shortened } from "./values.js";

/**
 * Open the viewer on its data.
 * @param {HTMLElement} box
 * @param {any} data
 * @returns {void}
 */
export function viewer(box, data) {
  const address = box.dataset.viewer;
  /** @type {(name: string) => any} */
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const methods = new Map(data.methods.map((method) => [method.id, method]));
  const layers = new Map(data.layers.map((layer) => [layer.name, layer]));
  const maps = data.maps.filter((map) => data.photos[map.photo] && methods.has(map.method) && (map.layer === null || layers.has(map.layer)));
  const className = (index) => named(data.classes[index]);
  // Of labels and scores nothing is predicted or true: the first of them is the strongest, or the largest.
  const noun = data.noun ?? "class", words = noun === "class" ? {} : { predicted: noun === "label" ? "strongest" : "largest", "runner-up": "second" };
  const targetWord = (target) => `${words[target] ?? target} `;
  const photoName = (index) => named(data.photos[index].name);
  box.dataset.ready = "yes";
  if (!maps.length) {
    part("body").hidden = part("strip").hidden = true;
    part("sentence").textContent = "There are no maps to show.";
    return;
  }

  // What the reader asked for, and what there is of it: asking for a layer survives a method that has none.
  const start = ["photo", "method", "layer", "target"].reduce((left, key) => {
    const fits = left.filter((map) => map[key] === data.start[key]);
    return fits.length ? fits : left;
  }, maps)[0];
  const wanted = { photo: start.photo, method: start.method, layer: start.layer, target: start.target };
  const opaque = data.pale ? 100 : 80;
  const look = { opacity: opaque, scale: "this", outline: false, alone: false, cells: false };
  let shown = start; // the map on the stage
  let pinned = null; // the cell chosen by click or keyboard
  let hovered = null; // the cell under the pointer
  let zoom = 1, margin = 0;
  let frames = []; // the layers of the film, as [map, option]

  const picture = part("picture"), marks = part("marks"), stage = part("stage"), bar = part("bar");
  const selects = { photo: part("photo"), method: part("method"), layer: part("layer"), target: part("target") };
  const moment = part("moment"); // a slider, where the place of layers is taken by moments of a training
  const thumbs = [];
  const announce = announcer(part("live"));
  const masks = new Map();

  const distinct = (list) => [...new Set(list)];
  const inOrder = (order, found) => order.filter((item) => found.includes(item));
  const photoIndices = distinct(maps.map((map) => map.photo)).sort((a, b) => a - b);
  const method = () => methods.get(shown.method);
  const layer = () => (shown.layer === null ? null : layers.get(shown.layer));
  const photo = () => data.photos[shown.photo];
  // Where several networks are compared, a method speaks for one of them.
  const speaker = () => method().speaker;
  const answers = () => photo().by[shown.method] ?? photo().by[shown.layer] ?? photo().top;
  const size = () => ({ width: photo().width, height: photo().height });
  // The value that takes the strongest colour.
  const limit = (map = shown) => finite(look.scale === "all" ? data.limits[rangeOf(map)] : map.limit);

  // ---- choosing

  function settle() {
    const ofPhoto = maps.filter((map) => map.photo === wanted.photo);
    const methodIds = inOrder([...methods.keys()], ofPhoto.map((map) => map.method));
    const methodId = methodIds.includes(wanted.method) ? wanted.method : methodIds[0];
    const ofMethod = ofPhoto.filter((map) => map.method === methodId);
    const layerNames = inOrder([null, ...layers.keys()], ofMethod.map((map) => map.layer));
    const layerName = layerNames.includes(wanted.layer) ? wanted.layer : layerNames.at(-1);
    const ofLayer = ofMethod.filter((map) => map.layer === layerName);
    const before = shown, cell = pinned;
    shown = ofLayer.find((map) => map.target === wanted.target) ?? ofLayer[0];
    if (cell && before !== shown && !cell.exact) {
      const field = fieldOf(cell.row, cell.column, before, before.layer === null ? null : layers.get(before.layer), size());
      pinned = cellAt((field.x0 + field.x1 - 1) / 2, (field.y0 + field.y1 - 1) / 2, shown, layer(), size());
    }
    if (pinned) pinned = { row: clamp(pinned.row, 0, shown.h - 1), column: clamp(pinned.column, 0, shown.w - 1) };
    fillSelect(selects.photo, photoIndices.map((index) => [index, `${index + 1} · ${shortened(photoName(index))}`]), shown.photo);
    fillSelect(selects.method, methodIds.map((id) => [id, methods.get(id).title]), shown.method);
    fillSelect(selects.layer, layerNames.map((name) => [name ?? "", name ?? "the photo itself (pixels)"]), shown.layer ?? "");
    fillSelect(selects.target, ofLayer.map((map) => [map.target, `${noun === "class" ? map.target : targetWord(map.target) + noun}: ${shortened(className(map.class))}`]), shown.target);
  }

  function choose(change) {
    Object.assign(wanted, change);
    settle();
    paint();
    remember();
    announce(sentence());
  }

  // ---- painting

  function paint() {
    const { width, height } = size();
    zoom = Math.max(1, Math.ceil(520 / Math.max(width, height)) | 1); // odd, so that every photo pixel has a centre
    const reach = Math.max(...maps.map((map) => overhang(map, map.layer === null ? null : layers.get(map.layer), data.photos[map.photo])));
    margin = Math.ceil(Math.min(reach, 0.14 * Math.max(width, height)));
    for (const canvas of [picture, marks]) {
      canvas.width = (width + 2 * margin) * zoom;
      canvas.height = (height + 2 * margin) * zoom;
    }
    film();
    paintPicture();
    paintMarks();
    describe();
  }

  function paintPicture() {
    const { width, height } = size(), context = picture.getContext("2d");
    const image = thumbs[shown.photo].querySelector("img"), drawn = shown;
    if (!image.complete) {
      image.addEventListener("load", () => { if (drawn.photo === shown.photo) { paintPicture(); paintMarks(); } }, { once: true });
      return;
    }
    const origin = margin * zoom;
    context.clearRect(0, 0, picture.width, picture.height);
    context.imageSmoothingEnabled = zoom < 4;
    if (image.naturalWidth) context.drawImage(image, origin, origin, width * zoom, height * zoom);
    pale(context, origin, origin, width * zoom, height * zoom);
    const style = { top: limit(), signed: method().signed, opacity: look.opacity / 100, alone: look.alone, smooth: !look.cells };
    const overlay = make("canvas", { width: width * zoom, height: height * zoom });
    overlay.getContext("2d").putImageData(paintMap(shown, layer(), size(), zoom, style), 0, 0);
    context.drawImage(overlay, origin, origin);
    frames.forEach(([map, option]) => {
      const canvas = option.querySelector("canvas"), small = make("canvas", size());
      Object.assign(canvas, size());
      if (image.naturalWidth) canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      pale(canvas.getContext("2d"), 0, 0, canvas.width, canvas.height);
      small.getContext("2d").putImageData(paintMap(map, layers.get(map.layer), size(), 1, { ...style, top: limit(map) }), 0, 0);
      canvas.getContext("2d").drawImage(small, 0, 0);
    });
  }

  // One small picture a layer, from the photo upwards: how the same question looks at every depth.
  function film() {
    const found = shown.layer === null ? [] : inOrder([...layers.keys()], maps.map((map) => map.layer)).flatMap((name) =>
      maps.filter((map) => map.layer === name && ["photo", "method", "target"].every((key) => map[key] === shown[key])).slice(0, 1));
    part("film-row").hidden = found.length < 2;
    const old = frames.map(([map]) => map);
    if (found.length < 2) frames = [];
    else if (found.length !== old.length || found.some((map, i) => map !== old[i])) {
      frames = found.map((map) => {
        const option = make("div", { role: "option", class: "thumb" }, make("canvas", { class: "thumb-picture" }), make("span", { class: "thumb-label", text: map.layer }));
        option.addEventListener("click", () => choose({ layer: map.layer }));
        return [map, option];
      });
      part("film").replaceChildren(...frames.map(([, option]) => option));
    }
    frames.forEach(([map, option]) => select(option, map === shown));
    part("film-scale").textContent = look.scale === "all" ? (moment ? "all on the range of all photos" : "each on the range of all photos at that layer")
      : moment ? `all on the range of ${rangeName()}` : "each on its own range";
    if (!moment) return;
    const at = frames.findIndex(([map]) => map === shown);
    moment.max = Math.max(0, frames.length - 1);
    moment.value = Math.max(0, at);
    moment.setAttribute("aria-valuetext", shown.layer);
    part("moment-value").textContent = shown.layer;
  }

  function select(option, chosen) {
    option.setAttribute("aria-selected", String(chosen));
    option.tabIndex = chosen ? 0 : -1;
    const holder = option.parentElement;
    if (!chosen || holder.scrollWidth <= holder.clientWidth) return;
    const left = option.getBoundingClientRect().left - holder.getBoundingClientRect().left + holder.scrollLeft;
    holder.scrollLeft = clamp(holder.scrollLeft, left + option.offsetWidth - holder.clientWidth + 8, left - 8);
  }

  function paintMarks() {
    const context = marks.getContext("2d"), cell = hovered ?? pinned;
    context.clearRect(0, 0, marks.width, marks.height);
    if (look.outline && photo().mask) {
      const mask = maskOf(shown.photo);
      if (mask) drawOutline(context, mask, zoom * (size().width / mask.width), margin * zoom);
    }
    if (cell) drawField(context, fieldOf(cell.row, cell.column, shown, layer(), size()), size(), zoom, margin * zoom);
    readOut(cell);
  }

  // The photo without colour and half white, where the payload asks for it: red and blue are then the map's alone.
  function pale(context, ...area) {
    if (!data.pale) return;
    for (const [operation, colour] of [["saturation", "rgb(128 128 128)"], ["source-over", "rgb(255 255 255 / 0.5)"]]) {
      context.globalCompositeOperation = operation;
      context.fillStyle = colour;
      context.fillRect(...area);
    }
  }

  function maskOf(index) {
    if (masks.has(index)) return masks.get(index);
    masks.set(index, null);
    const image = new Image();
    image.addEventListener("load", () => {
      const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight }), context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      masks.set(index, context.getImageData(0, 0, canvas.width, canvas.height));
      if (index === shown.photo) paintMarks();
    });
    image.src = data.photos[index].mask;
    return null;
  }

  // ---- words and numbers around the picture

  function readOut(cell) {
    const pointer = part("pointer"), top = limit(), signed = method().signed;
    pointer.hidden = !cell;
    if (!cell) {
      part("value").textContent = "Point at the picture, or focus it and use the arrow keys, to read a value.";
      return;
    }
    const value = valuesOf(shown)[cell.row * shown.w + cell.column], t = position(value, top, signed);
    pointer.style.left = `${100 * (signed ? (t + 1) / 2 : t)}%`;
    part("value").textContent = cellText(cell, value);
  }

  function cellText(cell, value = valuesOf(shown)[cell.row * shown.w + cell.column]) {
    const field = fieldOf(cell.row, cell.column, shown, layer(), size()), { width, height } = size();
    const said = `Row ${cell.row}, column ${cell.column} of ${shown.h} × ${shown.w} (from 0): ${number(value)} ${method().unit}.`;
    if (!layer()) return said;
    const inside = Math.max(0, Math.min(field.x1, width) - Math.max(field.x0, 0)) * Math.max(0, Math.min(field.y1, height) - Math.max(field.y0, 0));
    const outside = 1 - inside / layer().size ** 2;
    return `${said} This unit sees ${layer().size} × ${layer().size} px: x ${field.x0} to ${field.x1 - 1}, y ${field.y0} to ${field.y1 - 1}`.replaceAll("-", "−") +
      (outside > 0 ? `; ${percent(outside)} of it is padding (hatched).` : ".");
  }

  function peak() {
    const values = valuesOf(shown), weigh = method().signed ? Math.abs : (value) => value;
    let best = 0;
    values.forEach((value, i) => { if (weigh(value) > weigh(values[best])) best = i; });
    return { row: Math.floor(best / shown.w), column: best % shown.w };
  }

  function sentence() {
    const { true: truth } = photo(), guess = answers()[0]?.[0], who = speaker().replace(/^t/, "T");
    const where = shown.layer === null ? "in pixels" : `at ${shown.layer}`;
    const verdict = truth === null ? "" : guess === truth
      ? ` ${who} is right: ${className(truth)}.`
      : ` ${who} is wrong: it says ${className(guess)}, the label is ${className(truth)}.`;
    const strongest = peak(), value = valuesOf(shown)[strongest.row * shown.w + strongest.column];
    const about = shown.target === "unit" ? className(shown.class) : `the ${targetWord(shown.target)}${noun}, ${className(shown.class)},`;
    return `${method().title} ${where} for ${about} on ${photoName(shown.photo)}.${verdict} ` +
      (value === 0 ? "The map is zero everywhere." : `Strongest in row ${strongest.row}, column ${strongest.column}: ${number(value)} ${method().unit}.`);
  }

  function describe() {
    const signed = method().signed, top = limit();
    part("sentence").textContent = sentence();
    part("about").textContent = method().about;
    part("evidence").textContent = method().evidence;
    part("evidence").hidden = !method().evidence;
    const canvas = bar, context = canvas.getContext("2d"), table = signed ? TABLES.signed : TABLES.unsigned;
    const strip = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) strip.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
    context.putImageData(strip, 0, 0);
    const ends = signed ? [-top, 0, top] : [0, top / 2, top];
    ["low", "middle", "high"].forEach((name, i) => { part(name).textContent = number(ends[i]); });
    const beyond = data.inside && look.scale === "this" ? `; ${percent(1 - data.inside)} of it lies beyond` : "";
    part("unit").textContent = `${method().unit}; range of ${rangeName()}${beyond}` + (signed ? `; ${method().poles}` : "");
    photoIndices.forEach((index) => select(thumbs[index], index === shown.photo));
    part("guess-title").textContent = `What ${speaker()} says`;
    part("target-label").textContent = shown.target === "unit" ? "For the unit" : "For the class";
    part("guess-box").hidden = !answers().length; // without a classifier there are none
    part("guesses").replaceChildren(...guessRows(answers(), photo().true, className, data.outputs));
    part("outline-row").hidden = !data.photos.some((item) => item.mask);
    part("outline").disabled = !photo().mask;
    part("opacity").value = look.opacity;
    part("opacity-value").textContent = `${look.opacity} %`;
    part("opacity").disabled = look.alone;
    for (const input of all("[data-scale]", box)) input.checked = input.dataset.scale === look.scale;
    part("outline").checked = look.outline;
    part("alone").checked = look.alone;
    part("cells").checked = look.cells;
    part("cells-row").hidden = !data.layers.length;
    part("cells").disabled = shown.layer === null;
  }

  function rangeName() { return look.scale === "all" ? "all photos" : data.range; }

  // ---- the address

  const { soon: remember } = addressOf(() => {
    if (!box.isConnected) return null; // another viewer has taken its place
    const state = new URLSearchParams({ view: address, photo: shown.photo + 1, method: shown.method });
    if (shown.layer !== null) state.set("layer", shown.layer);
    state.set("target", shown.target);
    state.set("opacity", String(look.opacity));
    state.set("scale", look.scale);
    if (look.outline) state.set("outline", "1");
    if (look.alone) state.set("alone", "1");
    if (look.cells) state.set("cells", "raw");
    if (pinned) state.set("cell", `${pinned.row},${pinned.column}`);
    return state;
  });

  // Whatever stands in the address becomes a state that exists: clamped or ignored, never an error.
  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (state.get("view") !== address) return false;
    const whole = (name, low, high, otherwise) => {
      const value = Number.parseFloat(state.get(name) ?? "");
      return Number.isNaN(value) ? otherwise : Math.round(clamp(value, low, high));
    };
    const index = whole("photo", 1, data.photos.length, start.photo + 1) - 1;
    wanted.photo = photoIndices.includes(index) ? index : photoIndices[0];
    wanted.method = state.get("method") ?? start.method;
    wanted.layer = state.get("layer") ?? start.layer;
    wanted.target = state.get("target") ?? start.target;
    look.opacity = whole("opacity", 0, 100, opaque);
    look.scale = state.get("scale") === "all" ? "all" : "this";
    look.outline = state.get("outline") === "1";
    look.alone = state.get("alone") === "1";
    look.cells = state.get("cells") === "raw";
    const [row, column] = (state.get("cell") ?? "").split(",").map((text) => Number.parseInt(text, 10));
    pinned = row >= 0 && column >= 0 ? { row, column, exact: true } : null;
    settle();
    paint();
    return true;
  }

  // ---- the strip of photos

  const strip = part("strip");
  photoIndices.forEach((index) => {
    const item = data.photos[index], guess = item.top[0]?.[0];
    const known = item.true !== null, right = known && guess === item.true;
    const image = make("img", { alt: "", width: 72, height: 72 });
    image.src = item.src;
    const mark = known ? make("span", { class: `mark ${right ? "right" : "wrong"}`, "aria-hidden": "true" }) : "";
    const says = guess === undefined ? "" : className(guess);
    const label = make("span", { class: "thumb-label", "aria-hidden": "true" }, make("bdi", { text: shortened(says, 24) }));
    const truth = known && !right ? make("span", { class: "thumb-truth", "aria-hidden": "true" }, "is ", make("bdi", { text: shortened(className(item.true), 24) })) : "";
    const spoken = `Photo ${index + 1}, ${photoName(index)}` + (says && `: ${targetWord("predicted").trim()} ${says}${known ? (right ? ", correct" : `, wrong, true class ${className(item.true)}`) : ""}`);
    const thumb = make("div", { role: "option", class: "thumb", "aria-label": spoken, "aria-selected": "false", title: shortened(photoName(index), 80) });
    thumb.append(make("span", { class: "thumb-picture" }, image, mark), label, truth);
    thumb.addEventListener("click", () => { choose({ photo: index }); thumb.focus({ preventScroll: true }); });
    thumbs[index] = thumb;
    strip.append(thumb);
  });
  arrows(strip, () => photoIndices.map((index) => thumbs[index]), (index) => choose({ photo: photoIndices[index] }));
  arrows(part("film"), () => frames.map(([, option]) => option), (index) => choose({ layer: frames[index][0].layer }));

  // ---- controls

  selects.photo.addEventListener("change", () => choose({ photo: Number(selects.photo.value) }));
  selects.method.addEventListener("change", () => choose({ method: selects.method.value }));
  selects.layer.addEventListener("change", () => choose({ layer: selects.layer.value === "" ? null : selects.layer.value }));
  moment?.addEventListener("input", () => { if (frames[moment.value]) choose({ layer: frames[moment.value][0].layer }); });
  selects.target.addEventListener("change", () => choose({ target: selects.target.value }));
  const restyle = (change) => {
    Object.assign(look, change);
    film();
    paintPicture();
    paintMarks();
    describe();
    remember();
  };
  part("opacity").addEventListener("input", () => restyle({ opacity: Number(part("opacity").value) }));
  part("outline").addEventListener("change", () => restyle({ outline: part("outline").checked }));
  part("alone").addEventListener("change", () => restyle({ alone: part("alone").checked }));
  part("cells").addEventListener("change", () => restyle({ cells: part("cells").checked }));
  for (const input of all("[data-scale]", box)) {
    input.addEventListener("change", () => { restyle({ scale: input.dataset.scale }); announce(`Colours span the range of ${rangeName()}, up to ${number(limit())} ${method().unit}.`); });
  }

  // ---- reading values

  const underPointer = (event) => {
    const frame = picture.getBoundingClientRect(), scale = picture.width / frame.width / zoom;
    const x = (event.clientX - frame.left) * scale - margin - 0.5, y = (event.clientY - frame.top) * scale - margin - 0.5;
    return cellAt(x, y, shown, layer(), size());
  };
  const pin = (cell) => { pinned = cell; hovered = null; paintMarks(); remember(); };
  stage.addEventListener("pointermove", (event) => { hovered = underPointer(event); paintMarks(); });
  stage.addEventListener("pointerleave", () => { hovered = null; paintMarks(); });
  stage.addEventListener("click", (event) => pin(underPointer(event)));
  stage.addEventListener("focus", () => { if (!pinned && stage.matches(":focus-visible")) { pinned = peak(); paintMarks(); } });
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { pin(null); announce("No cell chosen.", 0); return; }
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -shown.w], End: [0, shown.w], PageUp: [-shown.h, 0], PageDown: [shown.h, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = pinned ?? peak();
    pin({ row: clamp(from.row + step[0], 0, shown.h - 1), column: clamp(from.column + step[1], 0, shown.w - 1) });
    announce(cellText(pinned), 250);
  });

  // ---- taking the picture away

  const fileWords = () => [address, shown.photo + 1, shown.method, shown.layer ?? "pixels", shown.target];
  const legend = () => legendOf(bar, ["low", "middle", "high"].map((name) => part(name).textContent), part("unit").textContent);
  saveButtons(part("save"), "this map on the photo", () => ({
    file: fileWords(), title: `${method().title} · ${shown.layer ?? "pixels"} · ${shown.target}: ${shortened(className(shown.class), 36)}`, lines: [shortened(photoName(shown.photo), 70)], wide: 640,
    panels: [{ width: 592, height: Math.round((592 * picture.height) / picture.width), layers: [picture, marks], legends: [legend()] }],
  }), announce);
  const across = moment ? "epoch by epoch" : "layer by layer";
  saveButtons(part("save-film"), across, () => ({
    file: [...fileWords().filter((word) => word !== shown.layer), moment ? "epochs" : "layers"], title: `${method().title}, ${across} · ${shown.target}: ${shortened(className(shown.class), 36)}`,
    lines: [shortened(photoName(shown.photo), 70), `Colours: ${part("film-scale").textContent}.`],
    panels: frames.map(([map, option]) => {
      const top = limit(map), labels = method().signed ? [-top, 0, top] : [0, top / 2, top];
      return { caption: map.layer, width: 150, height: Math.round((150 * size().height) / size().width), layers: [option.querySelector("canvas")], legends: [legendOf(bar, labels, method().unit)] };
    }),
  }), announce);

  const changed = () => (box.isConnected ? recall() : removeEventListener("hashchange", changed));
  addEventListener("hashchange", changed);
  if (recall()) {
    document.getElementById(address)?.scrollIntoView();
  } else {
    settle();
    paint();
  }
}

/**
 * The name of the range that a map shares with those of the other photos.
 * @param {any} map
 * @returns {string}
 */
export const rangeOf = (map) => `${map.method}|${map.layer ?? ""}|${map.target}`;

/**
 * Maps come deflated, as one block: what was told with each its own bytes again. Fails where the browser cannot
 * inflate.
 * @param {any} payload
 * @returns {Promise<any>}
 */
export async function unpacked({ block, ...told }) {
  const bytes = await inflated(block);
  let filled = 0;
  return { ...told, maps: told.maps.map((map) => ({ ...map, bytes: bytes.subarray(filled, (filled += map.h * map.w)) })) };
}

export const CANNOT_UNPACK = "This browser cannot unpack the maps; a newer one can.";

async function openViewer(box) {
  let data;
  try {
    data = await unpacked(JSON.parse(box.querySelector("[data-part=data]").textContent));
  } catch {
    box.dataset.ready = "no";
    box.querySelector("[data-part=sentence]").textContent = `${CANNOT_UNPACK} The figures below show some of them.`;
    return;
  }
  viewer(box, data);
  checkScrollers();
}

all("[data-viewer]").forEach(openViewer);
