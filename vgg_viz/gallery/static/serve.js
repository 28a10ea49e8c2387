// The live page: sends a picture, shows what comes back, asks for maps and opens the viewer on them.

import { writeAddress } from "./address.js";
import { all, announcer, blobOf, make } from "./elements.js";
import { barWidth, finite, named, saidText, shortened } from "./values.js";
import { CANNOT_UNPACK, rangeOf, unpacked, viewer } from "./viewer.js";

const MOST_LOOKED = 8; // pictures whose maps one page keeps
const TRIALS = 5; // to be let in where others wait

// A file's name as text that cannot reorder or hide what stands around it, as Python's `visible` writes it.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;
const visible = (text) => text.replace(unseen, (letter) => `[U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

function live(box) {
  /** @type {(name: string) => any} */
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const about = JSON.parse(part("about").textContent);
  const className = (index) => named(about.classes[index]);
  const announce = announcer(part("live"));
  let picture = null; // { blob, name, id, top }: the picture now asked about
  let data = null; // the maps that have come in this sitting, as the viewer reads them
  const looked = []; // the pictures that they are of, in the order of data.photos
  let sending = null, asking = null; // what is under way and can be stopped
  let preview = "";

  // ---- talking to the server

  class Refused extends Error {
    constructor(status, sentence) {
      super(sentence);
      this.status = status;
    }
  }

  async function post(address, body, type, signal) {
    const answer = await fetch(address, { method: "POST", body, signal, headers: { "Content-Type": type }, referrerPolicy: "no-referrer" });
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.error ?? `The server said ${answer.status}.`);
  }

  const reason = (error) => (error instanceof Refused ? error.message : "The server cannot be reached; look whether it is still running.");

  function problem(name, text) {
    part(name).textContent = text;
    part(name).hidden = text === "";
  }

  // ---- the picture

  async function bring(blob, given) {
    const name = named(visible(given));
    sending?.abort();
    asking?.abort();
    sending = new AbortController();
    const { signal } = sending;
    problem("problem", "");
    problem("wish-problem", "");
    if (blob.size > about.most) {
      problem("problem", `This file has ${(blob.size / 1e6).toFixed(1)} MB; at most ${about.most / 1e6} are taken.`);
      return;
    }
    part("drop").setAttribute("aria-busy", "true");
    try {
      const found = await (await post("live/pictures", blob, "application/octet-stream", signal)).json();
      const same = looked.find((one) => one.name === name && one.blob.size === blob.size && String(one.top) === String(found.top));
      picture = Object.assign(same ?? { name }, { blob, id: found.id, top: found.top });
      answer(found.seconds);
    } catch (error) {
      if (!signal.aborted) problem("problem", reason(error));
    } finally {
      if (!signal.aborted) part("drop").removeAttribute("aria-busy");
    }
  }

  function answer(seconds) {
    for (const button of all("[data-part=specimens] button", box)) button.setAttribute("aria-pressed", String(button.dataset.name === picture.name));
    URL.revokeObjectURL(preview);
    preview = URL.createObjectURL(picture.blob);
    part("photo").src = preview;
    part("name").textContent = shortened(picture.name, 80);
    part("top").replaceChildren(...picture.top.map(([index, share]) => {
      const bar = make("span", { class: "guess-bar", "aria-hidden": "true" }, make("span"));
      bar.firstChild.style.width = barWidth(share, about.outputs);
      bar.hidden = about.outputs === "scores";
      return make("li", {}, make("span", { class: "guess-name" }, make("bdi", { text: className(index) })), make("span", { class: "guess-share", text: saidText(share, about.outputs) }), bar);
    }));
    part("took").textContent = `It sees ${about.sees}. Unpacked, fitted and answered in ${duration(seconds)}.`;
    const likely = make("optgroup", { label: about.noun === "class" ? "Most likely" : about.noun === "label" ? "Strongest" : "Largest" }), others = make("optgroup", { label: about.noun === "class" ? "All classes" : `All ${about.noun}s` });
    const option = (index, text) => make("option", { value: index, text });
    likely.append(...picture.top.map(([index, share]) => option(index, `${shortened(className(index))}, ${saidText(share, about.outputs)}`)));
    others.append(...about.classes.map((_, index) => option(index, shortened(className(index)))));
    part("class").replaceChildren(likely, others);
    for (const name of ["answer", "wish"]) part(name).hidden = false;
    part("shown").hidden = true; // its maps are of other pictures; they come back with the next
    part("state").textContent = "";
    const [first, share] = picture.top[0];
    announce(`It says ${className(first)}, ${saidText(share, about.outputs)}.`);
  }

  const duration = (seconds) => (seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);

  // ---- the maps

  async function compute() {
    asking?.abort();
    const methods = all("input[name=ui-method]:checked", box).map((input) => input.value);
    problem("wish-problem", methods.length ? "" : "Choose at least one method.");
    if (!methods.length || !picture) return;
    asking = new AbortController();
    const { signal } = asking, asked = picture;
    const wish = { methods, classes: [Number(part("class").value)], layer: part("layer").value || null };
    working(true);
    try {
      const found = await maps(asked, wish, signal);
      if (signal.aborted) return;
      const photo = merge(found.viewer, asked);
      const count = found.viewer.maps.length, first = found.viewer.maps.at(-1);
      part("state").textContent = `${count} map${count === 1 ? "" : "s"} in ${duration(found.seconds)}.`;
      announce(part("state").textContent);
      open(first, photo);
    } catch (error) {
      if (!signal.aborted) problem("wish-problem", reason(error));
    } finally {
      if (asking?.signal === signal) working(false);
    }
  }

  function working(busy) {
    part("compute").disabled = busy;
    part("stop").hidden = part("progress").hidden = !busy;
    if (!busy) return;
    part("progress").removeAttribute("value");
    part("state").textContent = "Asking …";
  }

  // A picture that the server has forgotten is sent once more; where its line is full, the page comes back.
  async function opened(asked, wish, signal) {
    for (let trial = 1; ; trial++) {
      try {
        return await post(`live/pictures/${encodeURIComponent(asked.id)}/maps`, JSON.stringify(wish), "application/json", signal);
      } catch (error) {
        if (!(error instanceof Refused) || trial > TRIALS || ![404, 503].includes(error.status)) throw error;
        if (error.status === 404) asked.id = (await (await post("live/pictures", asked.blob, "application/octet-stream", signal)).json()).id;
        else {
          part("state").textContent = "Others are waiting; asking again soon …";
          await new Promise((done) => { setTimeout(done, 3000); });
        }
      }
    }
  }

  // The answer is lines of JSON, the last with the maps.
  async function maps(asked, wish, signal) {
    const response = await opened(asked, wish, signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = [];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Refused(0, "The server ended before the maps were done; ask again.");
      const lines = value.split("\n");
      rest.push(lines[0]);
      for (const next of lines.slice(1)) {
        const said = JSON.parse(rest.join(""));
        rest = [next];
        if (said.state === "done") return { ...said, viewer: await opening(said.viewer) };
        if (said.state === "failed") throw new Refused(0, said.error[0].toUpperCase() + said.error.slice(1));
        progress(said);
      }
    }
  }

  const opening = (told) => unpacked(told).catch(() => { throw new Refused(0, CANNOT_UNPACK); });

  function progress(said) {
    if (said.state === "waiting") {
      part("state").textContent = "Waiting for others …";
      return;
    }
    const passes = said.pictures > 1 ? `, ${said.pictures} pictures through the network` : "";
    part("state").textContent = said.of ? `${said.part} (${said.done + 1} of ${said.of}${passes}) …` : "Beginning …";
    if (said.of > 1) part("progress").value = said.done / said.of;
  }

  function stop() {
    asking?.abort();
    working(false);
    part("state").textContent = "Stopped.";
  }

  // What came now beside what had come before; the same map again takes the place of the old one. Returns the photo's index.
  function merge(found, asked) {
    const united = (one, other, id) => [...new Map([...one, ...other].map((item) => [item[id], item])).values()];
    const order = all("[data-part=layer] option", box).map((option) => option.value);
    const old = data ?? { photos: [], methods: [], layers: [], maps: [] };
    if (!looked.includes(asked) && looked.length === MOST_LOOKED) {
      looked.shift();
      old.photos.shift();
      old.maps = old.maps.filter((map) => map.photo > 0).map((map) => ({ ...map, photo: map.photo - 1 }));
    }
    if (!looked.includes(asked)) looked.push(asked);
    const photo = looked.indexOf(asked);
    const fresh = new Set(found.maps.map(rangeOf));
    const photos = [...old.photos];
    photos[photo] = { ...found.photos[0], name: asked.name };
    const maps = [...old.maps.filter((map) => map.photo !== photo || !fresh.has(rangeOf(map))), ...found.maps.map((map) => ({ ...map, photo }))];
    const limits = {};
    for (const map of maps) limits[rangeOf(map)] = Math.max(limits[rangeOf(map)] ?? 0, finite(map.limit));
    data = {
      ...found, photos, maps, limits, methods: united(old.methods, found.methods, "id"),
      layers: united(old.layers, found.layers, "name").sort((one, other) => order.indexOf(one.name) - order.indexOf(other.name)),
    };
    return photo;
  }

  // The viewer reads its state from the address: how it looked stays, what has just come is shown.
  function open(map, photo) {
    const state = new URLSearchParams(location.hash.slice(1));
    const before = state.get("view") === "live" ? state : new URLSearchParams({ view: "live" });
    for (const [name, value] of [["photo", photo + 1], ["method", map.method], ["layer", map.layer], ["target", map.target]]) {
      if (value === null) before.delete(name);
      else before.set(name, value);
    }
    before.delete("cell");
    writeAddress(before);
    const fresh = part("viewer").content.querySelector(".viewer").cloneNode(true);
    part("place").replaceChildren(fresh);
    part("shown").hidden = false;
    viewer(fresh, data);
  }

  // ---- the ways in

  const take = (files) => { if (files?.[0]) bring(files[0], files[0].name); };
  part("choose").addEventListener("click", () => part("file").click());
  part("file").addEventListener("change", () => { take(part("file").files); part("file").value = ""; });
  addEventListener("paste", (event) => take(event.clipboardData?.files));
  addEventListener("dragover", (event) => { event.preventDefault(); part("drop").classList.add("dropping"); });
  addEventListener("dragleave", () => part("drop").classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    part("drop").classList.remove("dropping");
    take(event.dataTransfer?.files);
  });
  part("compute").addEventListener("click", compute);
  part("stop").addEventListener("click", stop);
  about.specimens.forEach((item, i) => {
    const image = make("img", { alt: "", width: 64, height: 64 });
    image.src = item.src;
    const button = make("button", { type: "button", "aria-pressed": "false", "aria-label": `Picture ${i + 1}: ${named(item.name)}` }, image);
    button.dataset.name = named(item.name);
    button.addEventListener("click", () => {
      bring(blobOf(item.src), item.name);
    });
    part("specimens").append(button);
  });
  part("own-row").hidden = about.specimens.length === 0;
}

live(document.getElementById("ui-live"));
