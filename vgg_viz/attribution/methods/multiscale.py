"""Occlusion by squares of several sizes, in one map."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vgg_viz.attribution.incremental_forward import plan, scores, scores_of_whole
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.methods.occlusion import falls, passes_of, refuse_misfit, spans_of, squares
from vgg_viz.attribution.options import MethodOptions, baseline_for
from vgg_viz.errors import InputRefused

# Sides of the squares as shares of the picture's: a part of an object, an object, what is around it.
SHARES = (8, 4, 2)


def _passes(options: MethodOptions, side: int) -> float:
    return sum(squares(size, side, side) for size in sizes(options, side, side)) + 1


def _passes_on(model: nn.Module, options: MethodOptions, side: int) -> float:
    return _cost(model, options, side, side)


@method(
    "occlusion_multiscale",
    title="Occlusion at several sizes",
    family="perturbation",
    signed=True,
    unit="logit / pixel",
    reads=("windows", "baseline"),
    passes=_passes,
    passes_on=_passes_on,
    about="Occlusion by small, middle and large squares in one map: what matters as a detail counts, and what matters as a whole.",
    source="Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014; several sizes: ours",
)
def occlusion_multiscale(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Mean over the sizes of (fall of the score / pixels of the square), each averaged over the squares that cover a pixel.

    A small square misses what the network can read off the rest of an object; a large one cannot say where in it the evidence
    was. By area, because a larger square takes away more: the bare falls of the largest would be the whole map. In a network
    that adds up evidence each size then estimates the same thing, the evidence of a pixel, and the map's sum is about
    f(x) - f(painted over) whatever the sizes. Each square moves by half of its side.
    raises  InputRefused for no size at all, or for a square that does not fit into the picture
    """
    height, width = images.shape[2:]
    asked = sizes(options, height, width)
    if not asked:
        raise InputRefused("no size of a square came; give windows such as (8, 16, 32) in pixels, or leave them out.")
    for size in asked:
        refuse_misfit(size, height, width)
    baselines = baseline_for(images, "mean" if options.baseline is None else options.baseline)
    plans = [plan(model, (height, width), *spans_of(size, height, width), options.batch_size) for size in asked]
    maps = []
    with torch.no_grad():
        for picture, painted, target in zip(
            torch.split(images, 1), torch.split(baselines, 1), targets.tolist(), strict=True
        ):
            bare, found = model(picture)[:, target], []
            for size, planned in zip(asked, plans, strict=True):
                spans = spans_of(size, height, width)
                if planned is None:
                    said = scores_of_whole(model, picture, painted, spans, max(2, options.batch_size))
                else:
                    said = scores(model, planned, picture, painted, spans)
                found.append(falls(bare, spans, said, target, per_pixel=True))
            maps.append(torch.stack(found).mean(0))
    return Map(torch.cat(maps), passes=_cost(model, options, height, width))


def sizes(options: MethodOptions, height: int, width: int) -> list[MethodOptions]:
    """The options of each size, as plain occlusion understands them."""
    windows = [max(1, min(height, width) // share) for share in SHARES] if options.windows is None else options.windows
    return [replace(options, window=window, stride=max(1, window // 2)) for window in windows]


def _cost(model: nn.Module, options: MethodOptions, height: int, width: int) -> float:
    """Passes a picture: of each size, the score of the bare picture once."""
    return sum(passes_of(model, size, height, width) - 1 for size in sizes(options, height, width)) + 1
