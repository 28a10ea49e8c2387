// From stored bytes to colours on a photo: the arithmetic of the viewer, without its buttons.

import { TABLES } from "./colours.js";
import { clamp, finite } from "./values.js";

/**
 * Where the units of a layer look, in photo pixels: their distance, the centre of the first, and the side of what one sees.
 * @typedef {{ jump: number, centre: number, size: number }} Field
 */

/** @typedef {{ width: number, height: number }} Size */
/** @typedef {{ x0: number, y0: number, x1: number, y1: number }} Box */
/** @typedef {{ h: number, w: number }} Grid */

/**
 * A map as it travels in a page: byte 0 is `low`, byte 255 is `high`.
 * @typedef {Grid & { low: number, high: number, bytes: ArrayLike<number> }} StoredMap
 */

/** @type {WeakMap<object, Float32Array>} */
export const decoded = new WeakMap();

/**
 * The raw values of a map, decoded once.
 * @param {StoredMap | Grid} map  without bytes where its values are in `decoded` already
 * @returns {Float32Array}
 */
export function valuesOf(map) {
  if (!decoded.has(map)) {
    const { low: first, high, bytes } = /** @type {StoredMap} */ (map), low = finite(first), step = (finite(high) - low) / 255;
    decoded.set(map, Float32Array.from({ length: map.h * map.w }, (_, i) => low + step * (bytes[i] || 0)));
  }
  return decoded.get(map);
}

/**
 * The value that gets the strongest colour. Signed maps have zero in the middle; unsigned ones start at zero.
 * @param {number} low
 * @param {number} high
 * @param {boolean} signed
 * @returns {number}
 */
export function topOf(low, high, signed) {
  return signed ? Math.max(Math.abs(finite(low)), Math.abs(finite(high))) : Math.max(0, finite(high));
}

/**
 * A value as a position: [-1, 1] with a sign, [0, 1] without one. A map of zeros stays at zero.
 * @param {number} value
 * @param {number} top
 * @param {boolean} signed
 * @returns {number}
 */
export function position(value, top, signed) {
  return top > 0 ? clamp(value / top, signed ? -1 : 0, 1) : 0;
}

/** @type {WeakMap<object, { key: string, values: Float32Array }>} */
const softened = new WeakMap();

/**
 * A layer's map on the pixels of the photo, blurred by much less than what one unit sees: the same arithmetic as
 * `heatmaps.smoothed` of the package. A unit speaks for all of its field; the read-out stays raw.
 * @param {StoredMap | Grid} map
 * @param {Field} layer
 * @param {Size} size
 * @returns {Float32Array}
 */
function smoothed(map, layer, size) {
  const key = `${size.width},${size.height},${layer.size}`, known = softened.get(map);
  if (known?.key === key) return known.values;
  const values = valuesOf(map), { width, height } = size;
  const x = between(width, 1, map.w, width, layer), y = between(height, 1, map.h, height, layer);
  let placed = new Float32Array(width * height);
  for (let row = 0, at = 0; row < height; row++) {
    const above = y.first[row] * map.w, below = y.second[row] * map.w, down = y.share[row];
    for (let column = 0; column < width; column++, at++) {
      const a = x.first[column], b = x.second[column], right = x.share[column];
      const upper = values[above + a] + (values[above + b] - values[above + a]) * right;
      const lower = values[below + a] + (values[below + b] - values[below + a]) * right;
      placed[at] = upper + (lower - upper) * down;
    }
  }
  const sigma = Math.min(layer.size / 4, Math.max(width, height) / 20), reach = Math.ceil(3 * sigma);
  if (reach > 0) {
    const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sigma) ** 2));
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [along, across, step, stride] of [[width, height, 1, width], [height, width, width, 1]]) {
      const out = new Float32Array(placed.length);
      for (let line = 0; line < across; line++) {
        for (let i = 0; i < along; i++) {
          let sum = 0;
          for (let k = -reach; k <= reach; k++) sum += weights[k + reach] * placed[line * stride + clamp(i + k, 0, along - 1) * step];
          out[line * stride + i * step] = sum / whole;
        }
      }
      placed = out;
    }
  }
  softened.set(map, { key, values: placed });
  return placed;
}

function colourIndex(t, signed) {
  return Math.min(255, Math.floor((signed ? (t + 1) / 2 : t) * 256));
}

// For each canvas pixel along one axis: the two units it lies between, and how far towards the second.
// A layer's unit sits at the centre of its receptive field; a map in pixels is stretched evenly, in flat blocks.
function between(pixels, zoom, units, side, layer) {
  const first = new Int32Array(pixels), second = new Int32Array(pixels), share = new Float32Array(pixels);
  for (let i = 0; i < pixels; i++) {
    const pixel = (i + 0.5) / zoom - 0.5;
    if (layer) {
      const unit = clamp((pixel - layer.centre) / layer.jump, 0, units - 1);
      first[i] = Math.floor(unit);
      second[i] = Math.min(first[i] + 1, units - 1);
      share[i] = unit - first[i];
    } else {
      first[i] = second[i] = clamp(Math.floor(((pixel + 0.5) * units) / side), 0, units - 1);
    }
  }
  return { first, second, share };
}

// A pixel as a unit that sees itself.
const PIXELS = { jump: 1, centre: 0, size: 1 };

/**
 * The map as a picture of `zoom` canvas pixels a photo pixel. Alpha is opacity x |position|, so zero leaves the photo
 * alone.
 * @param {StoredMap | Grid} map
 * @param {Field | null} layer
 * @param {Size} size
 * @param {number} zoom
 * @param {{ top: number, signed: boolean, opacity?: number, alone?: boolean, smooth?: boolean }} style  smooth: a layer's map as
 *   figures paint it, else its cells
 * @returns {ImageData}
 */
export function paintMap(map, layer, size, zoom, { top, signed, opacity, alone, smooth }) {
  const width = size.width * zoom, height = size.height * zoom;
  const image = new ImageData(width, height), out = image.data;
  const table = signed ? TABLES.signed : TABLES.unsigned, soft = smooth && layer;
  const values = soft ? smoothed(map, layer, size) : valuesOf(map);
  const units = soft ? { w: size.width, h: size.height } : map, field = soft ? PIXELS : layer;
  const x = between(width, zoom, units.w, size.width, field), y = between(height, zoom, units.h, size.height, field);
  for (let row = 0, at = 0; row < height; row++) {
    const above = y.first[row] * units.w, below = y.second[row] * units.w, down = y.share[row];
    for (let column = 0; column < width; column++, at += 4) {
      const a = x.first[column], b = x.second[column], right = x.share[column];
      const upper = values[above + a] + (values[above + b] - values[above + a]) * right;
      const lower = values[below + a] + (values[below + b] - values[below + a]) * right;
      const t = position(upper + (lower - upper) * down, top, signed);
      const colour = 3 * colourIndex(t, signed);
      out[at] = table[colour];
      out[at + 1] = table[colour + 1];
      out[at + 2] = table[colour + 2];
      out[at + 3] = alone ? 255 : Math.round(255 * opacity * Math.abs(t));
    }
  }
  return image;
}

/**
 * What one cell of a map looks at, in photo pixels: x0, y0 inside, x1, y1 just outside; may reach beyond the photo.
 * @param {number} row
 * @param {number} column
 * @param {Grid} map
 * @param {Field | null} layer
 * @param {Size} size
 * @returns {Box}
 */
export function fieldOf(row, column, map, layer, size) {
  if (!layer) {
    const w = size.width / map.w, h = size.height / map.h;
    return { x0: column * w, y0: row * h, x1: (column + 1) * w, y1: (row + 1) * h };
  }
  const x0 = column * layer.jump + layer.centre - (layer.size - 1) / 2;
  const y0 = row * layer.jump + layer.centre - (layer.size - 1) / 2;
  return { x0, y0, x1: x0 + layer.size, y1: y0 + layer.size };
}

/**
 * How many pixels beyond the photo the fields of a layer reach, at most.
 * @param {Grid} map
 * @param {Field | null} layer
 * @param {Size} size
 * @returns {number}
 */
export function overhang(map, layer, size) {
  if (!layer) return 0;
  const first = fieldOf(0, 0, map, layer, size), last = fieldOf(map.h - 1, map.w - 1, map, layer, size);
  return Math.max(0, -first.x0, -first.y0, last.x1 - size.width, last.y1 - size.height);
}

/**
 * The cell whose centre is nearest to a place on the photo (pixel indices, fractions allowed).
 * @param {number} x
 * @param {number} y
 * @param {Grid} map
 * @param {Field | null} layer
 * @param {Size} size
 * @returns {{ row: number, column: number }}
 */
export function cellAt(x, y, map, layer, size) {
  const unit = (p, units, side) => (layer ? Math.round((p - layer.centre) / layer.jump) : Math.floor(((p + 0.5) * units) / side));
  return { row: clamp(unit(y, map.h, size.height), 0, map.h - 1), column: clamp(unit(x, map.w, size.width), 0, map.w - 1) };
}

/**
 * A box with everything outside the photo hatched: that part of the field sees only padding.
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {Size} size
 * @param {number} scale
 * @param {number} origin
 * @returns {void}
 */
export function drawField(context, box, size, scale, origin) {
  const place = (value) => origin + value * scale;
  const left = place(box.x0), top = place(box.y0), width = (box.x1 - box.x0) * scale, height = (box.y1 - box.y0) * scale;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.beginPath();
  context.rect(0, 0, context.canvas.width, context.canvas.height);
  context.rect(place(0), place(0), size.width * scale, size.height * scale);
  context.clip("evenodd");
  context.beginPath();
  const gap = Math.max(6, context.canvas.width / 90);
  for (let x = -context.canvas.height; x < context.canvas.width; x += gap) {
    context.moveTo(x, context.canvas.height);
    context.lineTo(x + context.canvas.height, 0);
  }
  context.strokeStyle = "#d97706";
  context.lineWidth = gap / 4;
  context.stroke();
  context.restore();
  twoTone(context, () => { context.beginPath(); context.rect(left, top, width, height); });
  const dot = context.canvas.width / 160;
  if (width > 8 * dot) twoTone(context, () => { context.beginPath(); context.arc(left + width / 2, top + height / 2, dot, 0, 7); }, dot);
}

/**
 * White on black: an outline that shows on any picture.
 * @param {CanvasRenderingContext2D} context
 * @param {() => void} path
 * @param {number} [width]
 * @returns {void}
 */
export function twoTone(context, path, width = Math.max(2, context.canvas.width / 280)) {
  context.lineJoin = "round";
  for (const colour of ["#000", "#fff"]) {
    path();
    context.strokeStyle = colour;
    context.lineWidth = colour === "#000" ? width * 2 : width;
    context.stroke();
  }
}

/**
 * The border of a mask, along the edges of its pixels.
 * @param {CanvasRenderingContext2D} context
 * @param {ImageData} mask
 * @param {number} scale
 * @param {number} origin
 * @returns {void}
 */
export function drawOutline(context, mask, scale, origin) {
  const { data, width, height } = mask;
  const on = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)] > 127;
  const path = () => {
    context.beginPath();
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        const px = origin + x * scale, py = origin + y * scale;
        if (on(x, y) !== on(x - 1, y)) { context.moveTo(px, py); context.lineTo(px, py + scale); }
        if (on(x, y) !== on(x, y - 1)) { context.moveTo(px, py); context.lineTo(px + scale, py); }
      }
    }
  };
  twoTone(context, path, Math.max(1.5, context.canvas.width / 380));
}
