// The explorer: a picture goes through the network, and every choice stands in the address of the page.

function explorer(box) {
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const { network, pictures } = JSON.parse(part("data").textContent);
  const className = (index) => named(network.classes[index]);
  const steps = openNetwork(network);
  const scores = steps.at(-1).shape;
  steps.push({ name: "softmax", kind: "softmax", shape: scores, input: scores, window: null, field: null });
  steps.forEach((step, i) => {
    step.title = i === 0 ? "input" : step.name;
    step.inputColours = i ? coloursOf(steps, i - 1) : "grey";
  });
  const last = steps.length - 1, side = network.side;
  const deepest = steps.findLastIndex((step) => step.kind === "conv");
  const opening = { picture: 0, layer: deepest, unit: 0, row: null, column: null, channel: null, range: "layer" };
  const state = { ...opening };
  let own = null; // a picture of the reader: { name, canvas }
  let photo = null; // what is shown, a canvas of the network's size
  let activations = [];
  let pointed = null; // the cell under the pointer, which goes before the chosen one
  let took = 0;

  // ---- the state, always within what exists

  const shapeOf = (layer) => (steps[layer].shape.length === 3 ? steps[layer].shape : [steps[layer].shape[0], 1, 1]);
  function settle() {
    state.picture = own && state.picture === "own" ? "own" : clamp(Number(state.picture) || 0, 0, Math.max(0, pictures.length - 1));
    state.layer = clamp(state.layer, 0, last);
    const [units, h, w] = shapeOf(state.layer), below = state.layer ? (sourceOf(state.layer)?.shape ?? steps[state.layer].input)[0] : 0;
    state.unit = clamp(state.unit, 0, units - 1);
    state.row = clamp(state.row ?? Math.floor(h / 2), 0, h - 1);
    state.column = clamp(state.column ?? Math.floor(w / 2), 0, w - 1);
    if (state.channel !== null) state.channel = clamp(state.channel, 0, Math.max(0, below - 1));
    if (!["unit", "layer", "network"].includes(state.range)) state.range = "layer";
  }

  // The maps that a flattened list came from.
  const sourceOf = (layer) => (steps[layer].kind === "fc" && steps[layer - 1].kind === "flatten" && steps[layer - 2].shape.length === 3 ? steps[layer - 2] : null);

  function unitName(layer, unit) {
    if (layer === 0) return network.channels === 3 ? ["red", "green", "blue"][unit] : "grey";
    return layer >= last - 1 ? className(unit) : `unit ${unit + 1}`;
  }

  function valueAt({ layer, unit, row, column }) {
    const [, h, w] = shapeOf(layer);
    return activations[layer][(unit * h + row) * w + column];
  }

  // A choice: `change` says what is new; a new layer keeps the place on the picture, a new unit the place on the map.
  function choose(change, spoken = true) {
    const before = { ...state };
    Object.assign(state, change);
    if (change.layer !== undefined && change.row === undefined && change.layer !== before.layer) Object.assign(state, sameplace(before, state.layer));
    if ((change.layer ?? before.layer) !== before.layer || (change.unit ?? before.unit) !== before.unit) state.channel = change.channel ?? null;
    settle();
    if (state.picture !== before.picture) take();
    else if (state.range !== before.range) paintBoard();
    if (state.layer !== before.layer) reveal();
    show();
    remember();
    if (spoken) announce();
  }

  function sameplace(before, layer) {
    const old = steps[before.layer]?.field, field = steps[layer]?.field;
    if (!old || !field) return { row: null, column: null };
    const across = (place) => Math.round((place * old.jump + old.centre - field.centre) / field.jump);
    return { row: across(before.row), column: across(before.column) };
  }

  // ---- a picture through the network

  function pixelsOf(canvas) {
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, side, side), area = side * side;
    const out = new Float32Array(network.channels * area);
    for (let i = 0; i < area; i++) {
      const [r, g, b] = [data[4 * i] / 255, data[4 * i + 1] / 255, data[4 * i + 2] / 255];
      if (network.channels === 3) { out[i] = r; out[area + i] = g; out[2 * area + i] = b; }
      else out[i] = r === g && g === b ? r : 0.299 * r + 0.587 * g + 0.114 * b;
    }
    return out;
  }

  function fitted(source, width, height) {
    const canvas = make("canvas", { width: side, height: side }), context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingQuality = "high";
    const square = Math.min(width, height);
    context.drawImage(source, (width - square) / 2, (height - square) / 2, square, square, 0, 0, side, side);
    return canvas;
  }

  function take() {
    if (state.picture === "own") photo = own.canvas;
    else {
      const image = thumbs[state.picture].querySelector("img");
      photo = fitted(image, image.naturalWidth || side, image.naturalHeight || side);
    }
    const started = performance.now();
    activations = forward(steps, pixelsOf(photo));
    took = performance.now() - started;
    box.dataset.milliseconds = took.toFixed(1);
    paintBoard();
    thumbs.forEach((thumb, i) => mark(thumb, i === state.picture));
    if (ownThumb) mark(ownThumb, state.picture === "own");
    const guess = best(), truth = state.picture === "own" ? null : pictures[state.picture].true;
    const share = percent(activations[last][guess]);
    part("verdict").replaceChildren("The network says ", make("b", {}, make("bdi", { text: shortened(className(guess)) })), ` (${share})`,
      ...(truth === null ? [] : truth === guess ? [", and is right"] : [", but it is ", make("b", {}, make("bdi", { text: shortened(className(truth)) }))]),
      `. Computed in ${took.toFixed(0)} ms.`);
  }

  const best = () => activations[last].reduce((top, share, i, all) => (share > all[top] ? i : top), 0);

  function mark(thumb, chosen) {
    thumb.setAttribute("aria-selected", String(chosen));
    thumb.tabIndex = chosen ? 0 : -1;
  }

  // ---- colours

  function scaleFor(layer, unit) {
    const colours = coloursOf(steps, layer), [, h, w] = shapeOf(layer), area = h * w;
    if (state.range === "network" && colours !== "grey" && steps[layer].kind !== "softmax") {
      const ranges = steps.flatMap((step, i) => (i && i < last ? [rangeOf(i)] : []));
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
    const colours = coloursOf(steps, layer), alone = colours === "grey" || steps[layer].kind === "softmax" || (state.range === "unit" && steps[layer].shape.length === 1);
    const scope = { unit: "this unit", layer: `all of ${steps[layer].title}`, network: "the whole network" }[alone && state.range !== "layer" ? (colours === "grey" && state.range === "unit" ? "unit" : "layer") : state.range];
    return `Range of ${scope} on this picture` + (colours === "signed" ? "; red above zero, blue below" : "");
  }

  // ---- the board

  const flows = make("canvas", { "aria-hidden": "true" });
  const shares = make("ol", { class: "shares" });
  const sharesLayer = make("div", { class: "layer softmax" }, make("p", { class: "layer-name" }, make("b", { text: "softmax" }), make("span", { text: "probabilities" })), shares);
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
    const wanted = listed === scores[0] ? order : order.sort((a, b) => values[b] - values[a]).slice(0, listed), top = best();
    wanted.forEach((index, i) => {
      const bar = make("span", { class: "guess-bar", "aria-hidden": "true" }, make("span"));
      bar.firstChild.style.width = `${100 * clamp(values[index], 0, 1)}%`;
      bars[i].dataset.unit = index;
      bars[i].replaceChildren(make("span", { class: `share-name${index === top ? " best" : ""}` }, make("bdi", { text: shortened(className(index), 40) })),
        make("span", { class: "share-value", text: percent(values[index]) }), bar);
    });
  }

  function paintBoard() {
    places.forEach((place, layer) => place.paint(activations[layer], (unit) => scaleFor(layer, unit)));
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
    place.canvas.addEventListener("click", (event) => { const cell = at(event); if (cell) choose({ ...cell, channel: null }); });
  }

  const scroller = part("board-scroll");
  scroller.addEventListener("keydown", (event) => {
    if (event.target !== scroller || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1], Home: [-last, 0], End: [last, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    choose(move[0] ? { layer: clamp(state.layer + move[0], 0, last) } : { unit: state.unit + move[1] });
  });

  // A wide network is scrolled until the chosen layer and the one that feeds it are in sight.
  function reveal() {
    const element = places[state.layer].element, from = places[Math.max(0, state.layer - 1)].element.offsetLeft;
    scroller.scrollLeft = clamp(scroller.scrollLeft, element.offsetLeft + element.offsetWidth - scroller.clientWidth + 40, Math.max(0, from - 20));
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
    const shown = pointed ?? state, { layer, unit } = shown, step = steps[layer], scale = scaleFor(layer, unit), value = valueAt(shown);
    drawFlows(flows, places, shown, flowsInto(steps, activations, shown), state);
    places.forEach((place, i) => place.element.classList.toggle("current", i === layer));
    bars.forEach((button) => button.setAttribute("aria-pressed", String(state.layer === last && Number(button.dataset.unit) === state.unit)));
    const reach = step.field && step.shape.length === 3 ? overhang({ h: step.shape[1], w: step.shape[2] }, step.field, { width: side, height: side }) : 0;
    drawSeen(part("seen"), photo, side, step, shown, reach);
    part("seen-text").textContent = seenText(step, shown, side);
    drawEnlarged(part("map"), step, activations[layer], shown, scale);
    part("map-title").replaceChildren(`${step.title}, `, make("bdi", { text: shortened(unitName(layer, unit)) }));
    drawLegend(part("bar"), scale);
    [["low", scale.low], ["middle", (scale.low + scale.high) / 2], ["high", scale.high]].forEach(([name, end]) => { part(name).textContent = number(end); });
    part("range-text").textContent = rangeText(layer);
    part("pointer").style.left = `${scale.high > scale.low ? 100 * clamp((value - scale.low) / (scale.high - scale.low), 0, 1) : 50}%`;
    part("value").textContent = cellText(shown);
    // What only floats by on the board would shift the sums to and fro: they follow within the chosen layer.
    if (!pointed || pointed.layer === state.layer) explain(shown);
  }

  function cellText(shown) {
    const step = steps[shown.layer], name = `${step.title}, ${unitName(shown.layer, shown.unit)}`;
    const at = step.shape.length === 3 ? `, row ${shown.row + 1}, column ${shown.column + 1}` : "";
    return `${name}${at}: ${number(valueAt(shown))}`;
  }

  function explain(shown) {
    const { layer } = shown, step = steps[layer], source = sourceOf(layer);
    const before = layer ? activations[layer - 1] : pixelsOf(photo);
    const channel = state.channel;
    const naming = layer === last ? (i) => className(i) : (i) => unitName(layer - (source ? 2 : 1), i);
    const { text, parts } = SUMS[step.kind](step, before, { ...shown, channel }, valueAt(shown), {
      names: naming, source, below: layer ? steps[layer - 1].title : "picture", pick: (picked) => { choose({ channel: picked }, false); part("sums").querySelector("[aria-pressed=true]")?.focus(); },
    });
    part("sums-title").textContent = `How this number comes about: ${shortened(cellText(shown), 90)}`;
    part("sums-text").textContent = text;
    part("sums").replaceChildren(...parts);
    checkScrollers();
    const [units, h, w] = shapeOf(state.layer);
    part("layer").value = String(state.layer);
    [["unit", units], ["row", h], ["column", w]].forEach(([name, most]) => {
      Object.assign(part(name), { max: most, disabled: most === 1 });
      if (document.activeElement !== part(name)) part(name).value = state[name] + 1;
    });
  }

  const speak = announcer(part("live"));
  const announce = () => speak(`${cellText(state)}. ${seenText(steps[state.layer], state, side)}`, 400);

  // ---- the enlarged map, and the place by numbers

  const stage = part("stage");
  const underPointer = (event) => {
    const frame = part("map").getBoundingClientRect(), now = steps[state.layer], x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
    const [units, h, w] = shapeOf(state.layer), to = (share, count) => clamp(Math.floor(share * count), 0, count - 1);
    return now.shape.length === 1 ? { layer: state.layer, unit: to(x, units), row: 0, column: 0 } : { layer: state.layer, unit: state.unit, row: to(y, h), column: to(x, w) };
  };
  stage.addEventListener("pointermove", (event) => point(underPointer(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("click", (event) => choose(underPointer(event)));
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(steps[state.layer].shape.length === 1 ? { unit: state.unit + step[0] + step[1] } : { row: state.row + step[0], column: state.column + step[1] });
  });
  part("layer").append(...steps.map((step, i) => make("option", { value: i, text: step.title })));
  part("layer").addEventListener("change", () => choose({ layer: Number(part("layer").value) }));
  for (const name of ["unit", "row", "column"]) {
    part(name).addEventListener("change", () => { choose({ [name]: Math.round(Number(part(name).value) || 1) - 1 }); part(name).value = state[name] + 1; });
  }
  for (const input of all("input[name=ui-range]")) input.addEventListener("change", () => choose({ range: input.value }));

  // ---- the pictures: those of the report, and the reader's own

  const strip = part("strip");
  function thumbOf(label, spoken, image, pick) {
    const thumb = make("div", { role: "option", class: "thumb", "aria-label": spoken, "aria-selected": "false", title: spoken }, make("span", { class: "thumb-picture" }, image),
      make("span", { class: "thumb-label", "aria-hidden": "true" }, make("bdi", { text: shortened(label, 20) })));
    thumb.addEventListener("click", pick);
    return thumb;
  }
  const thumbs = pictures.map((picture, i) => {
    const image = make("img", { alt: "", width: 72, height: 72 });
    image.src = picture.src;
    const label = picture.true === null ? named(picture.name) : className(picture.true);
    return thumbOf(label, `Picture ${i + 1}, ${shortened(named(picture.name), 80)}${picture.true === null ? "" : `: ${label}`}`, image, () => choose({ picture: i }));
  });
  let ownThumb = null;
  strip.append(...thumbs);
  arrows(strip, () => [...strip.children], (index) => strip.children[index].click());

  async function bring(file) {
    try {
      const bitmap = await createImageBitmap(file);
      own = { name: named(file.name), canvas: fitted(bitmap, bitmap.width, bitmap.height) };
      bitmap.close();
    } catch {
      part("live").textContent = "This file is no picture that the browser can read.";
      part("verdict").textContent = "This file is no picture that the browser can read; choose a JPEG, PNG or WebP.";
      return;
    }
    const small = make("img", { alt: "", width: 72, height: 72 });
    small.src = own.canvas.toDataURL();
    ownThumb?.remove();
    ownThumb = thumbOf("yours", `Your own picture, ${shortened(own.name, 80)}`, small, () => choose({ picture: "own" }));
    strip.prepend(ownThumb);
    state.picture = -1; // so that a second picture of one's own counts as new
    choose({ picture: "own" });
  }
  part("choose").addEventListener("click", () => part("file").click());
  part("file").addEventListener("change", () => { if (part("file").files[0]) bring(part("file").files[0]); part("file").value = ""; });
  addEventListener("paste", (event) => { if (event.clipboardData?.files[0]) bring(event.clipboardData.files[0]); });
  addEventListener("dragover", (event) => { event.preventDefault(); strip.classList.add("dropping"); });
  addEventListener("dragleave", () => strip.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    strip.classList.remove("dropping");
    if (event.dataTransfer?.files[0]) bring(event.dataTransfer.files[0]);
  });

  // ---- the address

  let writing = 0;
  function remember() {
    clearTimeout(writing);
    writing = setTimeout(() => {
      const words = new URLSearchParams({ layer: steps[state.layer].name, unit: state.unit + 1, cell: `${state.row + 1},${state.column + 1}`, range: state.range });
      if (state.picture !== "own") words.set("picture", state.picture + 1);
      if (state.channel !== null) words.set("input", state.channel + 1);
      try { history.replaceState(null, "", `#${words}`); } catch { /* too many in a row: the next one will do */ }
    }, 120);
  }

  // Whatever stands in the address becomes a state that exists: clamped or ignored, never an error.
  function recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    const whole = (text, otherwise) => { const found = Number.parseInt(text ?? "", 10); return Number.isNaN(found) ? otherwise : found - 1; };
    const [row, column] = (words.get("cell") ?? "").split(",");
    const layer = steps.findIndex((step) => step.name === words.get("layer")), before = photo ? { ...state } : {};
    Object.assign(state, opening, {
      picture: whole(words.get("picture"), state.picture === "own" && !words.has("picture") ? "own" : 0), layer: layer < 0 ? opening.layer : layer, unit: whole(words.get("unit"), 0),
      row: whole(row, null), column: whole(column, null), channel: whole(words.get("input"), null), range: words.get("range") ?? "layer",
    });
    settle();
    if (state.picture !== before.picture) take();
    else if (state.range !== before.range) paintBoard();
    reveal();
    show();
  }

  // The numbers themselves, for whoever asks: every step's name and its values as they are now.
  box.addEventListener("explorer:read", (event) => event.detail(steps.map((step, i) => [step.name, activations[i]])));

  const repaint = () => { if (photo) show(); };
  all("input[name=theme]").forEach((input) => input.addEventListener("change", repaint));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new ResizeObserver(repaint).observe(part("board"));
  addEventListener("hashchange", recall);
  Promise.all(thumbs.map((thumb) => thumb.querySelector("img").decode().catch(() => {}))).then(() => { recall(); box.dataset.ready = "yes"; });
}

all("#ui-explorer").forEach(explorer);
