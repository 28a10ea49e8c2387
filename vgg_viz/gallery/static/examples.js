// The grid of examples: search, filters, order, one picture opened, and all of it in the address of the page.

import { addressOf } from "./address.js";
import { all, announcer, blobOf, make, root } from "./elements.js";
import { fillSelect, guessRows } from "./lists.js";
import { clamp, named, number, percent, shortened } from "./values.js";

function examples(box) {
  const address = box.dataset.examples;
  /** @type {(name: string) => any} */
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const data = JSON.parse(part("examples").textContent);
  const className = (index) => named(data.classes[index]);
  const lacking = (value) => value === null || value === undefined;
  const share = (value, digits) => (lacking(value) ? "–" : digits === undefined ? percent(value) : `${(100 * value).toFixed(digits)} %`);
  // As a reader types it: no capitals, no accents.
  const plain = (text) => String(text).normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const photos = new Map(data.photos ?? []);

  const items = data.name.map((name, index) => {
    const top = data.top[index] ?? [], predicted = top[0]?.[0], truth = data.true[index];
    const inside = data.inside[index], area = data.area[index], confidence = top[0]?.[1] ?? null, runner = top[1] ?? null;
    return {
      index, name: named(name), true: truth, predicted, top, confidence, runner, inside, area,
      loss: data.loss[index], place: data.place[index], photo: photos.get(index),
      margin: runner && confidence !== null ? confidence - runner[1] : null,
      wrong: predicted !== truth, low: confidence !== null && confidence < data.low,
      outside: !lacking(inside) && inside < area,
      text: [name, className(truth), className(predicted)].map(plain),
    };
  });

  // What can be sorted by: [what to call it, its value, what "up" and "down" mean].
  const LOWEST = ["lowest first", "highest first"];
  const collator = new Intl.Collator("en", { numeric: true });
  /** @type {Map<string, [string, (item: any) => any, string[]]>} */
  const SORTS = new Map([
    ["loss", ["loss", (item) => item.loss, LOWEST]],
    ["confidence", ["confidence", (item) => item.confidence, LOWEST]],
    ["margin", ["margin to the runner-up", (item) => item.margin, LOWEST]],
    ...(items.some((item) => !lacking(item.inside)) ? [/** @type {any} */ (["attention", ["attention inside the object", (item) => item.inside, LOWEST]])] : []),
    ["name", ["file name", (item) => item.name, ["A to Z", "Z to A"]]],
    ["place", ["order of the set", (item) => item.place, ["first to last", "last to first"]]],
  ]);
  const thing = data.thing ?? "object";
  const FILTERS = { wrong: "wrong", right: "right", low: "low confidence", outside: `attention outside the ${thing}` };
  const opening = () => ({ search: "", wrong: false, right: false, low: false, outside: false, true: null, predicted: null, sort: "loss", order: "down" });
  const inSet = (key) => [...new Set(items.map((item) => item[key]))].sort((a, b) => a - b);
  const known = { true: inSet("true"), predicted: inSet("predicted") };

  let state = opening();
  let shown = []; // items in the order of the grid
  let failing = []; // of each item, the keys of the criteria that it fails
  let active = null; // the tile that the keyboard is on
  let opened = null; // the item in the dialog
  let columns = 1;
  let leaving = false;

  const grid = part("grid"), dialog = part("dialog"), picture = part("picture");
  const announce = announcer(part("live")), say = announcer(part("said"));

  // ---- the pictures: one sheet, of which every tile shows its part

  const { columns: across, side, cell, margin } = data.sheet;
  const sheet = new Image(), down = Math.ceil(items.length / across);
  const corner = (index) => [margin + (index % across) * cell, margin + Math.floor(index / across) * cell];
  sheet.addEventListener("load", () => { if (opened) paint(); });
  // An address of a few letters: the sheet itself would stand in the style of every tile.
  sheet.src = URL.createObjectURL(blobOf(data.sheet.src));
  grid.style.setProperty("--sheet", `url("${sheet.src}")`);
  grid.style.setProperty("--size", `${(100 * across * cell) / side}% ${(100 * down * cell) / side}%`);
  grid.style.setProperty("--side", `${side * Math.max(1, Math.round(64 / side))}px`);

  const spoken = (item) => `${className(item.predicted)} ${share(item.confidence)}, ` +
    (item.wrong ? `wrong, is ${className(item.true)}` : "correct") + `; ${item.name}`;

  const tiles = items.map((item) => {
    const view = make("span", { class: "example-picture" }, make("span", { class: `mark ${item.wrong ? "wrong" : "right"}` }));
    const [x, y] = corner(item.index);
    const along = (at, length) => (length > side ? (100 * at) / (length - side) : 0);
    view.style.backgroundPosition = `${along(x, across * cell)}% ${along(y, down * cell)}%`;
    const button = make("button", { type: "button", class: "example", tabindex: -1, "aria-haspopup": "dialog", "aria-label": spoken(item), "data-index": item.index },
      view, make("span", { class: "thumb-label" }, make("bdi", { text: shortened(className(item.predicted), 24) })), make("span", { class: "thumb-label", text: share(item.confidence) }));
    if (item.wrong) button.append(make("span", { class: "thumb-truth" }, "is ", make("bdi", { text: shortened(className(item.true), 24) })));
    return { button, cell: make("div", { role: "gridcell" }, button) };
  });
  const itemAt = (target) => items[target.closest?.("[data-index]")?.dataset.index];

  // ---- choosing

  // What is asked for: [key, how to call it, who passes]. "wrong" and "right" are two answers to one question.
  function criteria() {
    /** @type {[string, string, (item: any) => boolean][]} */
    const list = [];
    const wanted = plain(state.search.trim());
    if (wanted !== "") list.push(["search", `the search for “${shortened(state.search.trim())}”`, (item) => item.text.some((text) => text.includes(wanted))]);
    if (state.wrong !== state.right) list.push(["answer", `“${state.wrong ? "wrong" : "right"}”`, (item) => item.wrong === state.wrong]);
    for (const key of ["low", "outside"]) if (state[key]) list.push([key, `“${FILTERS[key]}”`, (item) => item[key]]);
    for (const key of ["true", "predicted"]) {
      if (state[key] !== null) list.push([key, `“${key} class ${shortened(className(state[key]))}”`, (item) => item[key] === state[key]]);
    }
    return list;
  }

  function settle() {
    const list = criteria(), [, value] = SORTS.get(state.sort), sign = state.order === "down" ? -1 : 1;
    failing = items.map((item) => list.filter(([, , passes]) => !passes(item)).map(([key]) => key));
    const order = (one, two) => {
      const a = value(one), b = value(two);
      if (lacking(a) || lacking(b)) return Number(lacking(a)) - Number(lacking(b)) || one.index - two.index; // what was not measured comes last
      return sign * (typeof a === "string" ? collator.compare(a, b) : a - b) || one.index - two.index;
    };
    shown = items.filter((item) => failing[item.index].length === 0).sort(order);
    if (!shown.includes(active)) active = shown[0] ?? null;
    layOut();
    describe(list);
  }

  // How many would be left if the choice of `key` were `test` alone.
  const left = (key, test) => items.filter((item) => failing[item.index].every((other) => other === key) && test(item)).length;

  function change(what) {
    Object.assign(state, what);
    settle();
    grid.scrollTop = 0;
    remember();
    announce(part("status").textContent + (shown.length ? "" : ` ${part("empty").querySelector("p").textContent}`));
  }

  // After a button that vanishes: the reader is led to what became of it.
  function changeFromButton(what) {
    change(what);
    part("status").focus();
  }

  // ---- painting

  function layOut() {
    const focused = grid.contains(document.activeElement), rows = [];
    for (let at = 0; at < shown.length; at += columns) {
      rows.push(make("div", { role: "row", class: "example-row" }, ...shown.slice(at, at + columns).map((item) => tiles[item.index].cell)));
    }
    grid.replaceChildren(...rows);
    grid.hidden = part("value").hidden = part("keys").hidden = !shown.length;
    tiles.forEach(({ button }, index) => { button.tabIndex = items[index] === active ? 0 : -1; });
    if (focused && active) tiles[active.index].button.focus({ preventScroll: true });
  }

  function describe(list) {
    part("status").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} shown`;
    part("reset").hidden = !list.length && state.sort === "loss" && state.order === "down";
    if (part("search").value !== state.search) part("search").value = state.search;
    for (const key of Object.keys(FILTERS)) {
      const input = box.querySelector(`[data-filter=${key}]`), answer = key === "wrong" || key === "right";
      input.checked = state[key];
      box.querySelector(`[data-count=${key}]`).textContent = input.disabled ? "" :
        left(answer ? "answer" : key, (item) => (key === "right" ? !item.wrong : item[key])).toLocaleString("en");
    }
    for (const key of ["true", "predicted"]) {
      const counts = known[key].map((index) => [index, `${shortened(className(index), 32)} (${left(key, (item) => item[key] === index)})`]);
      fillSelect(part(key), [["", "any"], ...counts], state[key] ?? "");
    }
    fillSelect(part("sort"), [...SORTS].map(([key, [title]]) => [key, title]), state.sort);
    fillSelect(part("order"), SORTS.get(state.sort)[2].map((title, i) => [["up", "down"][i], title]), state.order);
    part("empty").hidden = shown.length > 0;
    if (!shown.length) part("empty").replaceChildren(...nothing(list));
    readOut(active);
  }

  // Nothing is left: which one filter stands in the way, and how many examples come back without it.
  function nothing(list) {
    const helps = list.map(([key, title]) => [key, title, left(key, () => true)]).filter(([, , count]) => count);
    const words = !items.length ? "There are no examples." : helps.length
      ? `No example fits. Drop ${helps.map(([, title, count]) => `${title} to see ${count.toLocaleString("en")}`).join(", or ")}.`
      : `No example fits, and dropping one filter is not enough: drop ${list.map(([, title]) => title).join(" and ")}.`;
    const without = { search: { search: "" }, answer: { wrong: false, right: false }, low: { low: false }, outside: { outside: false }, true: { true: null }, predicted: { predicted: null } };
    const dropping = helps.map(([key, title]) => {
      const button = make("button", { type: "button", text: `Drop ${title}` });
      button.addEventListener("click", () => changeFromButton(without[key]));
      return button;
    });
    const all = make("button", { type: "button", text: `Show all ${items.length.toLocaleString("en")}` });
    all.addEventListener("click", () => changeFromButton(opening()));
    return [make("p", { text: words }), make("div", { class: "takeaway" }, ...dropping, all)];
  }

  function readOut(item) {
    if (!item) return;
    const value = part("value"), truth = Math.exp(-item.loss);
    const said = item.wrong ? `Wrong: says ${className(item.predicted)} (${share(item.confidence)}), is ${className(item.true)} (${share(truth)}).`
      : `Right: ${className(item.predicted)} (${share(item.confidence)}).`;
    value.textContent = `${item.name}. ${said}` + (item.runner ? ` Runner-up ${className(item.runner[0])} (${share(item.runner[1])}).` : "") +
      ` Loss ${lacking(item.loss) ? "–" : number(item.loss)} nat.` +
      (lacking(item.inside) ? "" : ` Attention inside the ${thing} ${share(item.inside)}; it fills ${share(item.area)} of the picture.`);
  }

  // ---- one picture

  function open(item) {
    opened = active = item;
    tiles.forEach(({ button }, index) => { button.tabIndex = items[index] === item ? 0 : -1; });
    readOut(item);
    const at = shown.indexOf(item);
    part("title").textContent = shortened(item.name, 80);
    part("where").textContent = `${at + 1} of ${shown.length}`;
    part("before").setAttribute("aria-disabled", String(at === 0));
    part("after").setAttribute("aria-disabled", String(at === shown.length - 1));
    const verdict = item.wrong ? ["wrong", "Wrong: says ", className(item.predicted), ", is ", className(item.true)] : ["right", "Right: ", className(item.predicted)];
    part("verdict").replaceChildren(make("span", { class: `mark ${verdict[0]}`, "aria-hidden": "true" }),
      make("span", {}, verdict[1], make("bdi", { text: verdict[2] }), ...(item.wrong ? [verdict[3], make("bdi", { text: verdict[4] })] : [])));
    part("guesses").replaceChildren(...guessRows(item.top, item.true, className));
    const facts = [
      ["True class", className(item.true)], ["Confidence", share(item.confidence, 2) + (item.low ? ` (low: below ${share(data.low)})` : "")],
      ["Runner-up", item.runner ? `${className(item.runner[0])}, ${share(item.runner[1], 2)}` : "–"],
      ["Margin", lacking(item.margin) ? "–" : `${number(100 * item.margin)} points`],
      ["Probability of the true class", lacking(item.loss) ? "–" : share(Math.exp(-item.loss), 2)],
      ["Loss", lacking(item.loss) ? "–" : `${number(item.loss)} nat`],
      ...(lacking(item.area) ? [] : [
        [`Attention inside the ${thing}`, lacking(item.inside) ? "the map is zero everywhere" : share(item.inside, 1) + (item.outside ? " (outside)" : "")],
        [`The ${thing} fills`, share(item.area, 1)]]),
      ["Place in the set", Number(item.place).toLocaleString("en")],
    ];
    part("facts").replaceChildren(...facts.map(([name, text]) => make("div", {}, make("dt", { text: name }), make("dd", {}, make("bdi", { text })))));
    const look = part("look"), viewer = all("[data-viewer]")[0]?.dataset.viewer;
    look.parentElement.hidden = item.photo === undefined || !viewer;
    if (viewer) look.setAttribute("href", `#${new URLSearchParams({ view: viewer, photo: item.photo + 1 })}`);
    paint();
    if (!dialog.open) dialog.showModal();
    remember();
  }

  function paint() {
    const zoom = Math.max(1, Math.ceil(320 / side)), context = picture.getContext("2d"), [x, y] = corner(opened.index);
    picture.width = picture.height = side * zoom;
    picture.setAttribute("aria-label", `Picture ${shortened(opened.name, 80)}, ${side} by ${side} pixels`);
    context.imageSmoothingEnabled = false;
    if (sheet.complete && sheet.naturalWidth) context.drawImage(sheet, x, y, side, side, 0, 0, side * zoom, side * zoom);
  }

  function step(by) {
    const next = shown[shown.indexOf(opened) + by];
    if (!next) return;
    open(next);
    say(`${part("where").textContent}: ${spoken(next)}`, 250);
  }

  part("close").addEventListener("click", () => dialog.close());
  part("before").addEventListener("click", () => step(-1));
  part("after").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    step(by);
  });
  dialog.addEventListener("close", () => {
    opened = null;
    if (leaving) { leaving = false; return; }
    if (active) tiles[active.index].button.focus();
    remember();
  });
  part("look").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // into another tab
    write(); // so that the way back leads to this picture
    leaving = true;
    dialog.close();
    const target = document.querySelector("[data-viewer]");
    const arrive = () => { // once the viewer has read the address
      target.closest("figure").scrollIntoView();
      all("[role=option][tabindex='0']", target)[0]?.focus({ preventScroll: true });
    };
    addEventListener("hashchange", arrive, { once: true });
  });

  // ---- the keyboard: one stop, two dimensions

  function go(to, focus = true) {
    if (!shown.length) return;
    const item = shown[clamp(to, 0, shown.length - 1)];
    if (active) tiles[active.index].button.tabIndex = -1;
    active = item;
    tiles[item.index].button.tabIndex = 0;
    if (focus) tiles[item.index].button.focus();
    readOut(item);
  }

  grid.addEventListener("keydown", (event) => {
    if (event.metaKey || event.altKey) return;
    const at = shown.indexOf(active), first = at - (at % columns), last = Math.min(first + columns, shown.length) - 1;
    const rowHeight = grid.firstElementChild?.getBoundingClientRect().height || 1;
    const leap = columns * Math.max(1, Math.floor(grid.clientHeight / rowHeight) - 1);
    const vertical = (by) => (at + by < 0 ? at % columns : at + by >= shown.length ? lastInColumn(at % columns) : at + by);
    const next = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: vertical(columns), ArrowUp: vertical(-columns), PageDown: vertical(leap), PageUp: vertical(-leap),
      Home: event.ctrlKey ? 0 : first, End: event.ctrlKey ? shown.length - 1 : last,
    }[event.key];
    if (next === undefined || (event.ctrlKey && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    go(next);
  });
  // The lowest tile of a column: the last row may be shorter.
  const lastInColumn = (column) => {
    const row = Math.floor((shown.length - 1) / columns) * columns + column;
    return row < shown.length ? row : Math.max(column, row - columns);
  };
  // While the dialog closes, the browser returns the focus to where it was opened from: the picture seen last matters more.
  grid.addEventListener("focusin", (event) => { const item = itemAt(event.target); if (item && !opened) go(shown.indexOf(item), false); });
  grid.addEventListener("pointerover", (event) => { const item = itemAt(event.target); if (item) readOut(item); });
  grid.addEventListener("pointerleave", () => readOut(active));
  grid.addEventListener("click", (event) => { const item = itemAt(event.target); if (item) open(item); });

  // ---- the address

  const { soon: remember, now: write } = addressOf(() => {
    const words = new URLSearchParams({ view: address });
    if (state.search) words.set("search", state.search);
    for (const key of Object.keys(FILTERS)) if (state[key]) words.set(key, "1");
    for (const key of ["true", "predicted"]) if (state[key] !== null) words.set(key, state[key] + 1);
    words.set("sort", state.sort);
    words.set("order", state.order);
    if (opened) words.set("example", opened.index + 1);
    return words;
  });

  // Whatever stands in the address becomes a state that exists: what does not is left out, never an error.
  function recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    if (words.get("view") !== address) return false;
    const otherwise = opening(), index = (key) => Number.parseInt(words.get(key) ?? "", 10) - 1;
    state = {
      ...otherwise,
      search: (words.get("search") ?? "").slice(0, 200),
      sort: SORTS.has(words.get("sort")) ? words.get("sort") : otherwise.sort,
      order: words.get("order") === "up" ? "up" : "down",
    };
    for (const key of Object.keys(FILTERS)) state[key] = words.get(key) === "1" && !box.querySelector(`[data-filter=${key}]`).disabled;
    for (const key of ["true", "predicted"]) state[key] = known[key].includes(index(key)) ? index(key) : null;
    settle();
    const item = items[index("example")];
    if (item && shown.includes(item)) open(item);
    else if (dialog.open) dialog.close();
    return true;
  }

  // ---- controls

  part("search").addEventListener("input", () => change({ search: part("search").value }));
  for (const input of box.querySelectorAll("[data-filter]")) input.addEventListener("change", () => change({ [input.dataset.filter]: input.checked }));
  for (const key of ["true", "predicted"]) part(key).addEventListener("change", () => change({ [key]: part(key).value === "" ? null : Number(part(key).value) }));
  // What a reader wants first: high losses, but low margins, and names from A.
  part("sort").addEventListener("change", () => change({ sort: part("sort").value, order: part("sort").value === "loss" ? "down" : "up" }));
  part("order").addEventListener("change", () => change({ order: part("order").value }));
  part("reset").addEventListener("click", () => changeFromButton(opening()));

  const fit = () => {
    const style = getComputedStyle(grid), rem = Number.parseFloat(getComputedStyle(root).fontSize);
    const room = grid.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    const tile = Math.max(Number.parseFloat(style.getPropertyValue("--side")) + 8, 5 * rem);
    const found = Math.max(1, Math.floor(room / tile));
    if (room <= 0 || found === columns) return false;
    columns = found;
    grid.style.setProperty("--columns", columns);
    return true;
  };
  fit();
  new ResizeObserver(() => { if (fit()) layOut(); }).observe(grid);
  addEventListener("hashchange", recall);
  if (recall()) document.getElementById(address)?.scrollIntoView();
  else settle();
}

all("[data-examples]").forEach(examples);
