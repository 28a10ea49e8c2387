// Lists that the viewer and the grid of examples share: options of a select, answers with their bars.

import { make } from "./elements.js";
import { barWidth, saidText } from "./values.js";

/**
 * The options of a select, built again only when they are others; [value, text] each.
 * @param {HTMLSelectElement} select
 * @param {[any, string][]} options
 * @param {any} chosen
 * @returns {void}
 */
export function fillSelect(select, options, chosen) {
  const key = JSON.stringify(options);
  if (select.dataset.key !== key) {
    select.replaceChildren(...options.map(([value, text]) => make("option", { value, text })));
    select.dataset.key = key;
  }
  select.value = String(chosen);
  select.disabled = options.length < 2;
}

/**
 * The first answers of the network as list items with bars: [class, probability] each, or [output, score] without a bar.
 * @param {[number, number][]} top
 * @param {number | null} truth
 * @param {(index: number) => string} className
 * @param {string} [outputs]  softmax, sigmoid or scores
 * @returns {HTMLElement[]}
 */
export function guessRows(top, truth, className, outputs) {
  return top.map(([index, probability]) => {
    const bar = make("span", { class: "guess-bar", "aria-hidden": "true" }, make("span"));
    bar.firstChild.style.width = barWidth(probability, outputs);
    bar.hidden = outputs === "scores";
    const mark = index === truth ? make("span", { class: "truth", text: "true class" }) : "";
    return make("li", {}, make("span", { class: "guess-name" }, make("bdi", { text: className(index) }), " ", mark),
      make("span", { class: "guess-share", text: saidText(probability, outputs) }), bar);
  });
}
