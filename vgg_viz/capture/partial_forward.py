"""A network resumed behind a layer: only what follows is run again, from an activation that somebody kept and changed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import Scores, replace_activations
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.models.network import VGG

PartialForward = Callable[[Tensor], Tensor]


def forward_after(model: nn.Module, layer: str, images: Tensor, scores: Scores) -> PartialForward:
    """A function from what `layer` might have said (N, C, h, w), which may be written over, to the scores asked about (N, P).

    images  (B, C, H, W) of which one is shown to a network that cannot be resumed
    scores  logits -> scores, as `capture.hooks.replace_output` yields it
    raises  UnknownName

    A network that this package built is a chain, so the layers behind this one are all that runs. Any other network runs as a
    whole, with the layer's answer exchanged: it may use the layer's answer twice, or something beside it.
    """
    name = find(model, layer).name
    if type(model) is VGG:
        known = layers_of(model)
        after = [one.module for one in known[[one.name for one in known].index(name) + 1 :]]

        def run(values: Tensor) -> Tensor:
            for module in after:
                values = module(values)
            return scores(values)

        return run

    def whole(values: Tensor) -> Tensor:
        with replace_activations(model, {name: lambda _module, _output: values}):
            asked: Tensor = model(images[:1].expand(len(values), *images.shape[1:]))
        return asked

    return whole


def work_after(model: nn.Module, layer: str, side: int) -> float:
    """Multiply-adds of what follows a layer, as a share of a forward pass on pictures of `side` [px]; 1 where all must be run."""
    if type(model) is not VGG:
        return 1.0
    rows = geometry(model, side)
    names = [row.name for row in rows]
    after = rows[names.index(find(model, layer).name) + 1 :]
    return sum(row.macs for row in after) / sum(row.macs for row in rows)


def batch_size_for(values: int) -> int:
    """How many activations of so many numbers each go through together: as many as 32 MB hold, at most 128."""
    return max(1, min(128, 2**23 // max(1, values)))


@torch.no_grad()
def run_in_batches(run: PartialForward, make: Callable[[slice], Tensor], count: int, size: int) -> Tensor:
    """`run` over `count` changed activations, `size` at once: (count, P), or nothing of no column where there are none.

    make  the changed activations of a slice, made anew for each part: the layers behind may write over them
    """
    found = [run(make(slice(start, min(start + size, count)))) for start in range(0, count, size)]
    return torch.cat(found) if found else torch.empty(0, 0)
