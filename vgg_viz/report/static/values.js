// Words, numbers and bytes: what needs no page.

export const named = (text) => (String(text ?? "").trim() === "" ? "(no name)" : String(text));
export const shortened = (text, most = 48) => (text.length > most ? `${text.slice(0, most - 13)} … ${text.slice(-10)}` : text);
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const finite = (value) => (Number.isFinite(value) ? value : 0);

// Three significant digits, a true minus.
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

// Words as the name of a file: nothing that a system could take for a path, a switch or another type.
export const fileName = (...words) => words.filter((word) => word !== null && word !== "").join("-").replace(/[^a-z0-9_-]+/gi, "-").slice(0, 120);

// ---- bytes in base64

export const bytesOf = (text) => (Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));

// The same, deflated (zlib): the browser inflates them on the side, from an address of file: too.
export const inflated = async (text) => new Uint8Array(await new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
