// The pictures to choose from: those of the report, and the reader's own; and what the network says about the chosen one.

import { arrows, make } from "./elements.js";
import { wholeOf } from "./explorer-core.js";
import { clamp, named, shortened } from "./values.js";

/** @import { Core } from "./explorer-core.js" */

export const NO_PICTURE = "This file is no picture that the browser can read; choose a JPEG, PNG or WebP.";

/**
 * The view: see the top of `explorer-core.js`.
 * @param {Core} core
 * @returns {Record<string, any>}
 */
export function picturesView(core) {
  const { part, pictures, state, side, choose, className } = core;
  let own = null; // a picture of the reader: { name, canvas }
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

  function mark(thumb, chosen) {
    thumb.setAttribute("aria-selected", String(chosen));
    thumb.tabIndex = chosen ? 0 : -1;
  }

  async function bring(file) {
    try {
      const bitmap = await createImageBitmap(file);
      own = { name: named(file.name), canvas: core.fitted(bitmap, bitmap.width, bitmap.height, core.network.side, core.network.fit) };
      bitmap.close();
    } catch {
      core.speak(NO_PICTURE, 0);
      part("verdict").textContent = NO_PICTURE;
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
  function listen() {
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
  }
  if (core.live) listen();

  return {
    opening: { picture: 0 },
    ready: Promise.all(thumbs.map((thumb) => thumb.querySelector("img").decode().catch(() => {}))),
    settle() {
      state.picture = own && state.picture === "own" ? "own" : clamp(Number(state.picture) || 0, 0, Math.max(0, pictures.length - 1));
    },
    read: (words) => ({ picture: wholeOf(words.get("picture"), state.picture === "own" && !words.has("picture") ? "own" : 0) }),
    write(words) { if (state.picture !== "own") words.set("picture", state.picture + 1); },
    canvasOf(picture) {
      if (picture === "own") return own?.canvas;
      const image = thumbs[picture].querySelector("img");
      return core.fitted(image, image.naturalWidth || side, image.naturalHeight || side);
    },
    took() {
      thumbs.forEach((thumb, i) => mark(thumb, i === state.picture));
      if (ownThumb) mark(ownThumb, state.picture === "own");
      const guess = core.best(), truth = core.truth(), share = core.valueText(core.activations[core.last][guess]);
      part("verdict").replaceChildren(`The network ${core.saysText} `, make("b", {}, make("bdi", { text: shortened(className(guess)) })), ` (${share})`,
        ...(truth === null ? [] : truth === guess ? [", and is right"] : [", but it is ", make("b", {}, make("bdi", { text: shortened(className(truth)) }))]),
        core.live ? `. Computed in ${Number(core.box.dataset.milliseconds).toFixed(0)} ms.` : ".");
    },
  };
}
