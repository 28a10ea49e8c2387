// The arithmetic of the explorer without a page: one case a line on the input, one answer a line on the output, both JSON.

import { backward } from "../vgg_viz/gallery/static/explorer-backward.js";
import { colourOf, coloursOf, scaleOf } from "../vgg_viz/gallery/static/explorer-colours.js";
import { forward, openNetwork, softmax } from "../vgg_viz/gallery/static/explorer-engine.js";
import { convTerms } from "../vgg_viz/gallery/static/explorer-terms.js";
import { number, percent } from "../vgg_viz/gallery/static/values.js";

const CASES = {
  network({ network, pixels, from, place }) {
    const steps = openNetwork(network), values = Float32Array.from(pixels), answers = forward(steps, values);
    const slopes = backward(steps, answers, values, from, place);
    return { answers: answers.map((one) => [...one]), gradients: [...slopes.gradients, slopes.pixels].map((one) => [...one]), colours: steps.map((_, i) => coloursOf(steps, i)) };
  },
  terms({ network, pixels, unit, row, column }) {
    return convTerms(openNetwork(network)[0], Float32Array.from(pixels), unit, row, column).map(({ sum, seen, inside }) => ({ sum, seen: [...seen], inside }));
  },
  softmax: ({ scores }) => [...softmax(Float32Array.from(scores))],
  colours({ of, ends, values }) {
    const scale = scaleOf(of, ends);
    return { scale, colours: values.map((value) => colourOf(value, scale)) };
  },
  words: ({ values }) => values.map((value) => [number(value), percent(value)]),
};

const asked = await new Response(Deno.stdin.readable).text();
for (const line of asked.trim().split("\n")) {
  const { kind, ...what } = JSON.parse(line);
  console.log(JSON.stringify(CASES[kind](what)));
}
