// Figures to take away: what a view shows, laid out on one sheet with its title and its legends, saved as PNG or SVG.
//
// saveButtons(holder, name, sheet, speak) puts "Save PNG", "PNG at 2×" and "SVG" into `holder`. `name` says of what, for those who hear the
// buttons; `speak(text, after)` says how it went. `sheet(times)` is called when a button is pressed (`times` pixels of the file for one of the
// sheet) and returns what is on it; all but file and title may be left out:
//   file     words of the file's name; their signs are made harmless here
//   title    the first line; `lines` are sentences under it
//   panels   pictures, as many in a row as fit: { caption, width, height, layers, draw, legends, text }
//              layers   canvases on top of each other, each stretched to width × height
//              draw     in their place: draw(pen), where 0, 0 is the corner of the panel and the pen is that of `penOn`
//              legends  colour bars under it: { bar, labels, text }: a canvas, the numbers below it from left to right, what they mean
//              text     a sentence under it
//   charts   bars from one zero, on one scale: { title, heads, rows }, a row being { label, values, texts }: one to three bars, and the numbers beside
//            them; `heads` names the columns of numbers
//   wide     width of the sheet [px]
// Colours are those of the page as it stands, light or dark, on its own opaque ground.

import { make, root, savePicture, saveText } from "./elements.js";
import { fileName, named, number } from "./values.js";

/** @typedef {{ size?: number, weight?: number, anchor?: string, faint?: boolean }} TextStyle */
/** @typedef {{ bar: HTMLCanvasElement, labels: string[], text: string }} Legend */

/**
 * @typedef {object} Sheet
 * @property {(string | number | null)[]} file
 * @property {string} title
 * @property {string[]} [lines]
 * @property {Panel[]} [panels]
 * @property {Chart[]} [charts]
 * @property {number} [wide]
 */

/**
 * @typedef {object} Panel
 * @property {number} width
 * @property {number} height
 * @property {string} [caption]
 * @property {HTMLCanvasElement[]} [layers]
 * @property {(pen: Pen) => void} [draw]
 * @property {Legend[]} [legends]
 * @property {string} [text]
 */

/**
 * @typedef {object} Chart
 * @property {string} [title]
 * @property {string[]} [heads]
 * @property {{ label: string, values: number[], texts: string[] }[]} rows
 */

/**
 * @typedef {object} Pen
 * @property {(x: number, y: number, text: string | number, style?: TextStyle) => void} text
 * @property {(x: number, y: number, width: number, height: number, colour: string) => void} box
 * @property {(x: number, y: number, width: number, height: number, canvas: HTMLCanvasElement, smooth?: boolean) => void} image
 * @property {(x: number, y: number) => Pen} at
 */

const SHEET_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";
export const SHEET_EDGE = 24;
const SHEET_WIDE = 720;
const SMALL = { size: 12, faint: true };
const ruler = make("canvas").getContext("2d");

function lengthOf(text, { size = 13, weight = 400 } = {}) {
  ruler.font = `${weight} ${size}px ${SHEET_FONT}`;
  return ruler.measureText(text).width;
}

/**
 * As much of a text as a width takes.
 * @param {string} text
 * @param {number} width
 * @param {TextStyle} style
 * @returns {string}
 */
export function fitting(text, width, style) {
  if (lengthOf(text, style) <= width) return text;
  let most = text.length;
  while (most > 1 && lengthOf(`${text.slice(0, most)}…`, style) > width) most = Math.min(most - 1, Math.floor(most * 0.96));
  return `${text.slice(0, most)}…`;
}

function wrapped(text, width, style) {
  const lines = [];
  for (const word of String(text).split(/\s+/)) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && lengthOf(longer, style) <= width) lines[lines.length - 1] = longer;
    else lines.push(fitting(word, width, style));
  }
  return lines;
}

/**
 * What draws on a sheet, wherever it comes to stand: marks are kept as records and painted when the sheet's height is
 * known.
 * @param {any[]} marks
 * @param {number} [left]
 * @param {number} [top]
 * @returns {Pen}
 */
export const penOn = (marks, left = 0, top = 0) => ({
  text: (x, y, text, style) => marks.push({ kind: "text", x: left + x, y: top + y, text: String(text), size: 13, weight: 400, anchor: "start", ...style }),
  box: (x, y, width, height, colour) => marks.push({ kind: "box", x: left + x, y: top + y, width, height, colour }),
  image: (x, y, width, height, canvas, smooth = false) => marks.push({ kind: "image", x: left + x, y: top + y, width, height, canvas, smooth }),
  at: (x, y) => penOn(marks, left + x, top + y),
});

function paragraph(pen, text, y, width, style = {}) {
  const step = Math.round((style.size ?? 13) * 1.5);
  wrapped(text, width, style).forEach((line, i) => pen.text(0, y + i * step + (style.size ?? 13), line, style));
  return y + wrapped(text, width, style).length * step;
}

function layPanel(pen, panel) {
  const { width, height } = panel;
  let y = panel.caption ? paragraph(pen, panel.caption, 0, width, { weight: 600 }) + 4 : 0;
  if (panel.draw) panel.draw(pen.at(0, y));
  for (const canvas of panel.layers ?? []) pen.image(0, y, width, height, canvas, canvas.width > width);
  y += height;
  for (const { bar, labels, text } of panel.legends ?? []) {
    const span = Math.min(width, 400);
    pen.image(0, y + 10, span, 12, bar);
    labels.forEach((label, i) => pen.text((span * i) / (labels.length - 1), y + 36, label, { size: 12, anchor: ["start", ...Array(labels.length - 2).fill("middle"), "end"][i] }));
    y = paragraph(pen, text ?? "", y + 40, width, SMALL);
  }
  return panel.text ? paragraph(pen, panel.text, y + 6, width, SMALL) : y;
}

function layChart(pen, { title, heads = [], rows }, inner) {
  const columns = Math.max(...rows.map((row) => row.texts.length)), numbers = columns * 78, from = Math.round(inner * 0.3), span = inner - from - numbers - 12;
  const values = rows.flatMap((row) => row.values), low = Math.min(0, ...values), high = Math.max(0, ...values), per = high > low ? span / (high - low) : 0;
  let y = title ? paragraph(pen, title, 0, inner, { weight: 600 }) + 4 : 0;
  if (heads.length) {
    heads.forEach((head, i) => pen.text(inner - (heads.length - 1 - i) * 78, y + 12, fitting(head, 74, SMALL), { ...SMALL, anchor: "end" }));
    y += 20;
  }
  const zero = from - low * per, top = y;
  for (const row of rows) {
    const thick = row.values.length > 1 ? 7 : 11, tall = Math.max(22, row.values.length * (thick + 1) + 7);
    pen.text(0, y + tall / 2 + 4, fitting(named(row.label), from - 10, { size: 12 }), { size: 12 });
    row.values.forEach((value, i) => {
      const colour = row.values.length > 1 ? ["one", "two", "ink"][i] : value < 0 ? "less" : low < 0 ? "more" : "one";
      pen.box(value < 0 ? zero + value * per : zero, y + (tall - row.values.length * (thick + 1)) / 2 + i * (thick + 1), Math.abs(value) * per, thick, colour);
    });
    row.texts.forEach((text, i) => pen.text(inner - (row.texts.length - 1 - i) * 78, y + tall / 2 + 4, text, { size: 12, anchor: "end" }));
    y += tall;
  }
  pen.box(zero - 0.5, top, 1, y - top, "ink");
  return y;
}

// The sheet as marks, with its size [px].
function layOut({ title, lines = [], panels = [], charts = [], wide = SHEET_WIDE }) {
  const marks = [], pen = penOn(marks, SHEET_EDGE, 0), inner = wide - 2 * SHEET_EDGE;
  let y = paragraph(pen, title, SHEET_EDGE - 4, inner, { size: 17, weight: 600 });
  for (const line of lines) y = paragraph(pen, line, y + 2, inner);
  let x = 0, below = y + 14, top = below;
  for (const panel of panels) {
    if (x > 0 && x + panel.width > inner + 1) { x = 0; top = below + 20; }
    below = Math.max(below, top + layPanel(pen.at(x, top), panel));
    x += panel.width + 24;
  }
  y = panels.length ? below : y;
  for (const chart of charts) if (chart.rows.length) y = y + 18 + layChart(pen.at(0, y + 18), chart, inner);
  return { marks, width: wide, height: Math.ceil(y + SHEET_EDGE) };
}

// Colours of the page as it stands.
function sheetColours() {
  const style = getComputedStyle(root), colour = (name) => style.getPropertyValue(name).trim() || style.color;
  return { ground: style.backgroundColor, ink: style.color, more: colour("--flow-more"), less: colour("--flow-less"), one: colour("--pair-one"), two: colour("--pair-two"), rule: colour("--flow-quiet") };
}

/**
 * A sheet of marks on a canvas, `times` pixels for one of the sheet.
 * @param {{ marks: any[], width: number, height: number }} sheet
 * @param {number} times
 * @param {string | null} [ground]
 * @returns {HTMLCanvasElement}
 */
export function paintSheet({ marks, width, height }, times, ground = null) {
  const colours = sheetColours(), canvas = make("canvas", { width: width * times, height: height * times }), context = canvas.getContext("2d");
  context.scale(times, times);
  context.fillStyle = ground ?? colours.ground;
  context.fillRect(0, 0, width, height);
  for (const mark of marks) {
    context.fillStyle = colours[mark.colour ?? "ink"];
    if (mark.kind === "box") context.fillRect(mark.x, mark.y, mark.width, mark.height);
    else if (mark.kind === "image") {
      context.imageSmoothingEnabled = mark.smooth;
      context.imageSmoothingQuality = "high";
      context.drawImage(mark.canvas, mark.x, mark.y, mark.width, mark.height);
    } else {
      context.font = `${mark.weight} ${mark.size}px ${SHEET_FONT}`;
      context.textAlign = { start: "left", middle: "center", end: "right" }[mark.anchor];
      context.globalAlpha = mark.faint ? 0.8 : 1;
      context.fillText(mark.text, mark.x, mark.y);
      context.globalAlpha = 1;
    }
  }
  return canvas;
}

// XML knows no control characters, not even escaped ones; everything that it gives a meaning is written as a number.
const xml = (text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
  .replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

// The same as vectors: text stays text, bars are rectangles, pictures are PNGs inside it.
function vectorSheet({ marks, width, height }) {
  const colours = sheetColours(), short = (value) => String(Math.round(value * 100) / 100);
  const place = ({ x, y, width: wide, height: tall }) => `x="${short(x)}" y="${short(y)}" width="${short(wide)}" height="${short(tall)}"`;
  const drawn = marks.map((mark) => {
    if (mark.kind === "box") return `<rect ${place(mark)} fill="${colours[mark.colour ?? "ink"]}"/>`;
    if (mark.kind === "image") return `<image ${place(mark)} preserveAspectRatio="none"${mark.smooth ? "" : ' image-rendering="pixelated"'} href="${mark.canvas.toDataURL()}"/>`;
    return `<text x="${short(mark.x)}" y="${short(mark.y)}" font-size="${mark.size}" font-weight="${mark.weight}" text-anchor="${mark.anchor}" fill="${colours.ink}"${mark.faint ? ' fill-opacity="0.8"' : ""}>${xml(mark.text)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${SHEET_FONT}">\n` +
    `<rect width="${width}" height="${height}" fill="${colours.ground}"/>\n${drawn.join("\n")}\n</svg>\n`;
}

/**
 * Buttons that save what a view shows: see the top of this file.
 * @param {HTMLElement} holder
 * @param {string} name
 * @param {(times: number) => Sheet} sheet
 * @param {(text: string, after?: number) => void} [speak]
 * @returns {void}
 */
export function saveButtons(holder, name, sheet, speak = () => {}) {
  const button = (text, save) => {
    const made = make("button", { type: "button" }, text, make("span", { class: "visually-hidden", text: `: ${name}` }));
    made.addEventListener("click", () => {
      try {
        save();
        speak("The picture was saved.", 0);
      } catch {
        speak("The browser does not allow this picture to be saved.", 0);
      }
    });
    return made;
  };
  const png = (times) => () => { const described = sheet(times); savePicture(paintSheet(layOut(described), times), `${fileName(...described.file)}@${times}x.png`); };
  holder.append(button("Save PNG", png(1)), button("PNG at 2×", png(2)),
    button("SVG", () => { const described = sheet(2); saveText(vectorSheet(layOut(described)), `${fileName(...described.file)}.svg`, "image/svg+xml"); }));
}

/**
 * A canvas with the legend's colours as they lie between two numbers.
 * @param {HTMLCanvasElement} bar
 * @param {(number | string)[]} labels
 * @param {string} text
 * @returns {Legend}
 */
export const legendOf = (bar, labels, text) => ({ bar, labels: labels.map((label) => (typeof label === "number" ? number(label) : label)), text });
