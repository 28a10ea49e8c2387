// What every page's scripts share: elements, lists for the keyboard, speech, files to take away.

import { bytesOf, clamp } from "./values.js";

export const root = document.documentElement;

/**
 * All elements that a selector finds.
 * @param {string} selector
 * @param {ParentNode} [within]
 * @returns {any[]}
 */
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/**
 * A new element: "text" is its text, true an attribute without value, false and null none.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/**
 * Text to the clipboard; false where the browser does not let it.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copy(text) {
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

/**
 * A list of pictures is one stop for the keyboard; arrows, Home and End move inside it.
 * @param {HTMLElement} list
 * @param {() => any[]} options
 * @param {(index: number) => void} to
 * @returns {void}
 */
export function arrows(list, options, to) {
  list.addEventListener("keydown", (event) => {
    const all = options(), at = all.findIndex((option) => option.getAttribute("aria-selected") === "true"), last = all.length - 1;
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    to(clamp(next, 0, last));
    options()[clamp(next, 0, last)].focus({ preventScroll: true });
  });
}

/**
 * Speech for those who cannot see the change: the last of several in a row is said.
 * @param {HTMLElement} element
 * @returns {(text: string, after?: number) => void}
 */
export function announcer(element) {
  let speaking = 0;
  return (text, after = 600) => {
    clearTimeout(speaking);
    speaking = setTimeout(() => { element.textContent = text; }, after);
  };
}

// ---- files to take away

function saveBlob(blob, name) {
  const link = make("a", { download: name });
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/**
 * What a data: address in base64 holds.
 * @param {string} uri
 * @returns {Blob}
 */
export function blobOf(uri) {
  const [head, content] = uri.split(",");
  return new Blob([bytesOf(content)], { type: head.slice("data:".length).split(";")[0] });
}

/**
 * A canvas as PNG. Not toBlob: it waits for an idle moment, which a busy page may not have for seconds.
 * @param {HTMLCanvasElement} canvas
 * @param {string} name
 * @returns {void}
 */
export const savePicture = (canvas, name) => saveBlob(blobOf(canvas.toDataURL("image/png")), name);

/**
 * Text as a file to take away.
 * @param {string} text
 * @param {string} name
 * @param {string} type
 * @returns {void}
 */
export const saveText = (text, name, type) => saveBlob(new Blob([text], { type }), name);
