"""Activations and gradients of a layer, reduced to maps a block at a time; and @cam, which makes a method of a formula.

    @cam("xgrad_cam", title="XGrad-CAM", channel_weights=True, about="...", source="...")
    def xgrad_cam(block: Block) -> Tensor:
        return block.product.sum(1) / block.total

The large maps of the lower layers would travel between memory and processor once for every operation of every formula. In
blocks that stay in the cache they travel twice, whatever the number of formulas: that is what makes all maps of all layers
affordable beside one pass (benchmarks/cams.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn

from vgg_viz.attribution.layers import default_layer, spatial
from vgg_viz.attribution.method import FIRST, Map, method
from vgg_viz.attribution.options import MethodOptions
from vgg_viz.capture.hooks import OnGradient, activations_and_gradients
from vgg_viz.registry import Registry

# Values of a block, for each thread. Smaller blocks stay in a cache of the second level and cost more calls than they save: where
# that cache has 512 kB, blocks of half the size took a quarter longer with one thread and an eighth longer with two, of twice the
# size as long or a twelfth longer.
VALUES = 2**17


@dataclass(frozen=True)
class Block:
    """Some places of some pictures, as a formula sees them; nobody writes to what stands here.

    maps      (b, n, C) activations, a row a place
    gradient  (b, n, C) of the score
    places    how many places the picture has
    summed    gives `total`, computed when the first formula asks
    """

    maps: Tensor
    gradient: Tensor
    places: int
    summed: Callable[[], Tensor]

    @cached_property
    def product(self) -> Tensor:
        """Gradient times activation (b, n, C)."""
        return self.gradient * self.maps

    @cached_property
    def positive(self) -> Tensor:
        """The gradient where it is above zero, else zero (b, n, C)."""
        return self.gradient.clamp(min=0)

    @property
    def total(self) -> Tensor:
        """Sum of the activations over all places of the picture, not only over these (b, C)."""
        return self.summed()


Formula = Callable[[Block], Tensor]


@dataclass(frozen=True, slots=True)
class Cam:
    """How one method makes a map of a layer.

    channel_weights   the formula gives a share of each channel's weight (b, C), summed over blocks, and the map is the weighted sum
             of the channels; else it gives the map itself (b, n)
    signed   whether the map can speak against the class, when the ReLU is left out
    """

    formula: Formula
    channel_weights: bool
    signed: bool


CAMS: Registry[Cam] = Registry("class activation map", fill="vgg_viz.attribution.methods", first=FIRST)


def cam(
    name: str, *, title: str, channel_weights: bool, about: str, source: str, signed: bool = True
) -> Callable[[Formula], Formula]:
    """Register the decorated formula as an attribution method of one layer, and for `cams_all_layers`."""

    def register(formula: Formula) -> Formula:
        CAMS.add(name, Cam(formula, channel_weights, signed), by=formula.__module__)

        def compute(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
            layer = spatial(model, options.layer or default_layer(model, images))
            found: dict[str, dict[str, Tensor]] = {}
            with activations_and_gradients(model, [layer.name], reducing(found, [name], relu=options.relu)) as lowest:
                torch.autograd.grad(model(images).gather(1, targets[:, None]).sum(), lowest)
            return Map(found[layer.name][name], layer=layer.name, passes=2, signed=signed and not options.relu)

        compute.__module__ = formula.__module__  # a method stands where its formula does
        method(
            name,
            title=title,
            family="cam",
            signed=False,
            unit="logit",
            layered=True,
            about=about,
            source=source,
            reads=("layer", "relu"),
            passes=lambda options, side: 2,
        )(compute)
        return formula

    return register


# Of activations that are never negative both say the same, so behind a ReLU only one of them is computed.
SAME_BEHIND_RELU = {"layer_cam": "elementwise_grad_cam"}


def reducing(
    found: dict[str, dict[str, Tensor]], names: Sequence[str], *, relu: bool, rectified: Collection[str] = ()
) -> OnGradient:
    """For `activations_and_gradients`: fills {layer: {method: (B, h, w)}} in the backward pass; `rectified` layers are ReLUs."""

    def met(layer: str, maps: Tensor, gradient: Tensor) -> None:
        twins = {
            one: other for one, other in SAME_BEHIND_RELU.items() if layer in rectified and {one, other} <= set(names)
        }
        made = reduced(maps, gradient, [name for name in names if name not in twins], relu=relu)
        found[layer] = made | {one: made[other].clone() for one, other in twins.items()}

    return met


@torch.no_grad()
def reduced(maps: Tensor, gradient: Tensor, names: Sequence[str], *, relu: bool) -> dict[str, Tensor]:
    """The maps of some methods from what one layer said and its gradient.

    maps, gradient  (B, C, h, w), read only
    names           of `CAMS`
    relu            drop what speaks against the class
    returns         {method: (B, h, w)} float32 [logit]
    """
    count, channels, height, width = maps.shape
    rows, slopes = (_rows(values) for values in (maps, gradient))
    cams = [CAMS[name] for name in names]
    weights = {
        name: rows.new_zeros(count, channels, dtype=torch.float32) for name in names if CAMS[name].channel_weights
    }
    found = {
        name: rows.new_empty(count, height * width, dtype=torch.float32)
        for name in names
        if not CAMS[name].channel_weights
    }
    for pictures, places, block in _blocks(rows, slopes):
        for name, one in zip(names, cams, strict=True):
            values = one.formula(block)
            if one.channel_weights:
                weights[name][pictures] += values
            else:
                found[name][pictures, places] = values
    if weights:
        sums = torch.stack(list(weights.values()), dim=1).to(rows.dtype) @ rows.transpose(1, 2)
        found |= dict(zip(weights, sums.float().unbind(1), strict=True))
    return {name: (found[name].relu_() if relu else found[name]).view(count, height, width) for name in names}


def _rows(values: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C): no copy where the channels lie last, as they do behind `attribute`."""
    count, channels = values.shape[:2]
    return values.permute(0, 2, 3, 1).reshape(count, -1, channels)


def _blocks(rows: Tensor, slopes: Tensor) -> Iterator[tuple[slice, slice, Block]]:
    """Whole pictures together where they are small, else a picture's places by and by."""
    count, places, channels = rows.shape
    size = VALUES * torch.get_num_threads() if rows.device.type == "cpu" else rows.numel()
    at_once = max(1, size // (places * channels))
    step = places if at_once > 1 else max(1, size // channels)
    for first in range(0, count, at_once):
        pictures = slice(first, first + at_once)
        summed = cache(partial(_summed, rows[pictures]))
        for start in range(0, places, step):
            here = slice(start, start + step)
            maps, gradient = rows[pictures, here].float(), slopes[pictures, here].float()
            yield pictures, here, Block(maps, gradient, places, summed)


def _summed(rows: Tensor) -> Tensor:
    return rows.float().sum(1)
