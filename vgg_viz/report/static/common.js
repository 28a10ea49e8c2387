// What every page's scripts share: elements, words and numbers, lists for the keyboard, files to take away.

const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const named = (text) => (String(text ?? "").trim() === "" ? "(no name)" : String(text));
const shortened = (text, most = 48) => (text.length > most ? `${text.slice(0, most - 13)} … ${text.slice(-10)}` : text);
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const finite = (value) => (Number.isFinite(value) ? value : 0);

// Three significant digits, a true minus.
function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { class: "visually-hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// A list of pictures is one stop for the keyboard; arrows, Home and End move inside it.
function arrows(list, options, to) {
  list.addEventListener("keydown", (event) => {
    const all = options(), at = all.findIndex((option) => option.getAttribute("aria-selected") === "true"), last = all.length - 1;
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    to(clamp(next, 0, last));
    options()[clamp(next, 0, last)].focus({ preventScroll: true });
  });
}

// Speech for those who cannot see the change: the last of several in a row is said.
function announcer(element) {
  let speaking = 0;
  return (text, after = 600) => {
    clearTimeout(speaking);
    speaking = setTimeout(() => { element.textContent = text; }, after);
  };
}

// ---- bytes in base64

const bytesOf = (text) => (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));

// The same, deflated (zlib): the browser inflates them on the side, from an address of file: too.
const inflated = async (text) => new Uint8Array(await new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());

// ---- files to take away

// Words as the name of a file: nothing that a system could take for a path, a switch or another type.
const fileName = (...words) => words.filter((word) => word !== null && word !== "").join("-").replace(/[^a-z0-9_-]+/gi, "-").slice(0, 120);

function saveBlob(blob, name) {
  const link = make("a", { download: name });
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// What a data: address in base64 holds.
function blobOf(uri) {
  const [head, content] = uri.split(",");
  return new Blob([bytesOf(content)], { type: head.slice("data:".length).split(";")[0] });
}

// A canvas as PNG. Not toBlob: it waits for an idle moment, which a busy page may not have for seconds.
const savePicture = (canvas, name) => saveBlob(blobOf(canvas.toDataURL("image/png")), name);

const saveText = (text, name, type) => saveBlob(new Blob([text], { type }), name);
