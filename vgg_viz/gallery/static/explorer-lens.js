// The lens: one map enlarged, the picture with what the chosen cell sees of it, and a legend that equals the data.

import { make } from "./elements.js";
import { colourOf, colourPlace, tableOf } from "./explorer-colours.js";
import { drawField, fieldOf, twoTone } from "./paint.js";
import { percent } from "./values.js";

/** @import { Scale } from "./explorer-colours.js" */
/** @import { Cell } from "./explorer-core.js" */
/** @import { Step } from "./explorer-engine.js" */

const LENS = 336; // canvas pixels of the enlarged map, and of the picture

/**
 * One map, a canvas pixel a value.
 * @param {ArrayLike<number>} values
 * @param {number} from
 * @param {number} height
 * @param {number} width
 * @param {Scale} scale
 * @returns {HTMLCanvasElement}
 */
export function mapCanvas(values, from, height, width, scale) {
  const image = new ImageData(width, height), out = image.data, table = tableOf(scale.colours);
  for (let i = 0, at = 0; i < height * width; i++, at += 4) {
    const place = colourPlace(values[from + i], scale);
    out[at] = table[place];
    out[at + 1] = table[place + 1];
    out[at + 2] = table[place + 2];
    out[at + 3] = 255;
  }
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/**
 * The enlarged map, or for a layer without places the values of all its units as bars.
 * @param {HTMLCanvasElement} canvas
 * @param {Step} step
 * @param {Float32Array} values
 * @param {Cell} shown
 * @param {Scale} scale
 * @returns {void}
 */
export function drawEnlarged(canvas, step, values, shown, scale) {
  const context = canvas.getContext("2d");
  canvas.width = canvas.height = LENS;
  if (step.shape.length === 1) {
    drawBars(context, values, shown.unit, scale);
    return;
  }
  const [, h, w] = step.shape;
  context.imageSmoothingEnabled = false;
  context.drawImage(mapCanvas(values, shown.unit * h * w, h, w, scale), 0, 0, LENS, LENS);
  const side = LENS / w, tall = LENS / h;
  twoTone(context, () => { context.beginPath(); context.rect(shown.column * side, shown.row * tall, side, tall); }, Math.max(1.5, Math.min(3, side / 5)));
}

function drawBars(context, values, unit, scale) {
  const wide = LENS / values.length, span = scale.high - scale.low, zero = span > 0 ? (LENS * scale.high) / span : LENS / 2;
  const ink = getComputedStyle(context.canvas).color;
  const bar = (i) => {
    const top = zero - (span > 0 ? (values[i] * LENS) / span : 0);
    context.fillRect(i * wide, Math.min(top, zero), Math.max(wide - (wide > 3 ? 2 : 0), 1), Math.max(1, Math.abs(top - zero)));
  };
  values.forEach((value, i) => {
    context.fillStyle = `rgb(${colourOf(value, scale).join(" ")})`;
    bar(i);
  });
  context.fillStyle = ink;
  context.fillRect(0, zero - 0.5, LENS, 1);
  twoTone(context, () => { context.beginPath(); context.rect(unit * wide + 1, 2, Math.max(wide - 2, 2), LENS - 4); }, 1.5);
}

/**
 * The picture with a margin as wide as padding can be seen, and the box of the chosen cell.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLCanvasElement} photo
 * @param {number} side
 * @param {Step} step
 * @param {Cell} shown
 * @param {number} reach
 * @returns {void}
 */
export function drawSeen(canvas, photo, side, step, shown, reach) {
  const margin = Math.ceil(Math.min(reach, 0.2 * side)), zoom = Math.max(1, Math.floor(520 / (side + 2 * margin)));
  const context = canvas.getContext("2d");
  canvas.width = canvas.height = (side + 2 * margin) * zoom;
  context.imageSmoothingEnabled = false;
  context.drawImage(photo, margin * zoom, margin * zoom, side * zoom, side * zoom);
  const box = seenBy(step, shown, side);
  if (box) drawField(context, box, { width: side, height: side }, zoom, margin * zoom);
}

// What a unit sees, in pixels of the picture: x1 and y1 just outside. Null where units of one layer differ in size.
function seenBy(step, shown, side) {
  if (step.shape.length === 1) return { x0: 0, y0: 0, x1: side, y1: side };
  return step.field ? fieldOf(shown.row, shown.column, null, step.field, null) : null;
}

/**
 * What a unit sees, in words.
 * @param {Step} step
 * @param {Cell} shown
 * @param {number} side
 * @returns {string}
 */
export function seenText(step, shown, side) {
  if (step.shape.length === 1) return "It depends on the whole picture.";
  const box = seenBy(step, shown, side);
  if (!box) return "Its units see parts of different sizes.";
  if (step.kind === "normalise") return `It is one pixel: x ${box.x0}, y ${box.y0}.`;
  const inside = Math.max(0, Math.min(box.x1, side) - Math.max(box.x0, 0)) * Math.max(0, Math.min(box.y1, side) - Math.max(box.y0, 0));
  const outside = 1 - inside / step.field.size ** 2;
  return `${step.factor > 1 ? `This is the mean of ${step.factor} × ${step.factor} cells, which together see` : "It sees"} ${step.field.size} × ${step.field.size} px of the picture: x ${box.x0} to ${box.x1 - 1}, y ${box.y0} to ${box.y1 - 1}`.replaceAll("-", "−") +
    (outside > 0 ? `; ${percent(outside)} of that is padding (hatched).` : ".");
}

/**
 * The colours of a scale on a canvas of 256 × 1.
 * @param {HTMLCanvasElement} canvas
 * @param {Scale} scale
 * @returns {void}
 */
export function drawLegend(canvas, scale) {
  canvas.width = 256;
  canvas.height = 1;
  const table = tableOf(scale.colours), context = canvas.getContext("2d"), strip = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) strip.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  context.putImageData(strip, 0, 0);
}
