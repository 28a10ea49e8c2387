// Words, numbers and bytes: what needs no page.

/**
 * A name as it came, or words for an empty one.
 * @param {unknown} text
 * @returns {string}
 */
export const named = (text) => (String(text ?? "").trim() === "" ? "(no name)" : String(text));

/**
 * A text of at most some letters, its middle left out.
 * @param {string} text
 * @param {number} [most]
 * @returns {string}
 */
export const shortened = (text, most = 48) => (text.length > most ? `${text.slice(0, most - 13)} … ${text.slice(-10)}` : text);

/**
 * A share of one as a percentage.
 * @param {number} share
 * @returns {string}
 */
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/**
 * What a network says of one output: a probability as a percentage, a score as a number.
 * @param {number} value
 * @param {string} [outputs]  softmax, sigmoid or scores
 * @returns {string}
 */
export const saidText = (value, outputs = "softmax") => (outputs === "scores" ? number(value) : percent(value));

/**
 * The width of its bar; a score is no share that a bar could show.
 * @param {number} value
 * @param {string} [outputs]
 * @returns {string}
 */
export const barWidth = (value, outputs = "softmax") => (outputs === "scores" ? "0" : `${clamp(100 * value, 0, 100)}%`);

/**
 * A value within two ends.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {number}
 */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * A value, or zero where it is none.
 * @param {any} value
 * @returns {number}
 */
export const finite = (value) => (Number.isFinite(value) ? value : 0);

/**
 * Three significant digits, a true minus.
 * @param {number} value
 * @returns {string}
 */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

/**
 * Words as the name of a file: nothing that a system could take for a path, a switch or another type.
 * @param {...(string | number | null)} words
 * @returns {string}
 */
export const fileName = (...words) => words.filter((word) => word !== null && word !== "").join("-").replace(/[^a-z0-9_-]+/gi, "-").slice(0, 120);

// ---- bytes in base64

/**
 * The bytes that a text in base64 stands for.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export const bytesOf = (text) => (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));

/**
 * The same, deflated (zlib): the browser inflates them on the side, from an address of file: too.
 * @param {string} text
 * @returns {Promise<Uint8Array>}
 */
export const inflated = async (text) => new Uint8Array(await new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
