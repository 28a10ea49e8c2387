// Around the figures: theme, contents, sortable tables, copying, enlarging.

import { all, copy, make, root } from "./elements.js";

function themeSwitch() {
  const inputs = all("input[name=theme]");
  const chosen = root.dataset.theme || "system";
  for (const input of inputs) {
    input.checked = input.value === chosen;
    input.addEventListener("change", () => {
      if (input.value === "system") delete root.dataset.theme;
      else root.dataset.theme = input.value;
      try { localStorage.setItem("vgg_viz theme", input.value); } catch { /* not remembered, still switched */ }
    });
  }
}

// The contents: open and shut on narrow screens, the section being read marked on wide ones.
function contents() {
  /** @type {any} */
  const nav = document.querySelector("nav.contents");
  if (!nav) return;
  const button = nav.querySelector("button"), links = all("a", nav);
  const open = (state) => { button.setAttribute("aria-expanded", String(state)); nav.classList.toggle("open", state); };
  button.addEventListener("click", () => open(button.getAttribute("aria-expanded") !== "true"));
  nav.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && nav.classList.contains("open")) { open(false); button.focus(); }
  });
  const current = button.querySelector(".current");
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  const mark = () => {
    const line = innerHeight * 0.3;
    let index = sections.findLastIndex((section) => section && section.getBoundingClientRect().top <= line);
    if (innerHeight + scrollY >= root.scrollHeight - 2 && scrollY > 0) index = sections.length - 1;
    links.forEach((link, i) => (i === index ? link.setAttribute("aria-current", "location") : link.removeAttribute("aria-current")));
    current.textContent = index >= 0 ? links[index].querySelector(".nav-title").textContent : "";
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  links.forEach((link) => link.addEventListener("click", () => open(false)));
  mark();
}

// Tables sort by their header buttons: numbers as numbers, empty cells last, equal rows in their first order.
function sortable(table) {
  const body = table.tBodies[0], rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = make("button", { type: "button", class: "sort" });
    button.append(...header.childNodes, make("span", { class: "arrow", "aria-hidden": "true" }));
    header.append(button);
    button.addEventListener("click", () => {
      const numeric = header.classList.contains("num");
      const before = header.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        if (!numeric) return cell.textContent.trim();
        return cell.dataset.value === undefined || cell.dataset.value === "" ? null : Number(cell.dataset.value);
      };
      const order = (one, two) => {
        const a = key(one), b = key(two);
        if (a === null || b === null) return Number(a === null) - Number(b === null);
        return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
      };
      body.append(...[...rows].sort(order));
    });
  });
}

// What scrolls sideways can be reached by keyboard; what fits is no stop on the way.
function scrollers() {
  const check = (box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const boxes = all(".scroll");
  const watch = new ResizeObserver((entries) => entries.forEach((entry) => check(entry.target)));
  boxes.forEach((box) => { check(box); watch.observe(box); });
  return () => boxes.forEach(check);
}

function copyButtons() {
  for (const button of all("button[data-copy]")) {
    const label = button.textContent, status = button.nextElementSibling;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      const pairs = all("dt", source).map((term) => `${term.textContent.trim()}: ${term.nextElementSibling.textContent.trim()}`);
      const done = await copy(pairs.length ? pairs.join("\n") : source.textContent.trim());
      button.textContent = done ? "Copied" : "Copy failed";
      status.textContent = button.textContent;
      setTimeout(() => { button.textContent = label; status.textContent = ""; }, 2000);
    });
  }
}

// A figure as large as the window. The dialog closes by Escape, its button or a click beside the picture.
function enlarging() {
  /** @type {any} */
  const dialog = document.getElementById("ui-enlarged");
  if (!dialog) return;
  const title = dialog.querySelector("h2"), holder = dialog.querySelector(".scroll");
  const close = dialog.querySelector("button");
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => holder.replaceChildren());
  for (const button of all("button.enlarge")) {
    button.addEventListener("click", () => {
      const card = button.closest("figure");
      title.textContent = card.querySelector("h3, h4").textContent;
      holder.replaceChildren(...all("img.figure", card).map((image) => image.cloneNode()));
      dialog.showModal();
    });
  }
}

// An address of something closed opens it: the lines around it, and its place on a card that several figures share.
function reveal() {
  let target = null;
  try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { /* no address of ours */ }
  if (!target) return;
  for (let part = target; part; part = part.parentElement) {
    if (part.localName === "details") /** @type {any} */ (part).open = true;
    if (part.classList.contains("pane")) /** @type {any} */ (document.getElementById(`ui-show-${part.id}`)).checked = true;
  }
  target.scrollIntoView();
}

// A document that travels inside the page: opened from its own bytes, as a page in its own right.
function openEmbedded(link) {
  const html = JSON.parse(document.getElementById(link.dataset.embedded).textContent);
  link.href = URL.createObjectURL(new Blob([html], { type: "text/html" }));
}

themeSwitch();
contents();
all("table.sortable").forEach(sortable);
export const checkScrollers = scrollers();
copyButtons();
enlarging();
reveal();
addEventListener("hashchange", reveal);
all("[data-embedded]").forEach(openEmbedded);
