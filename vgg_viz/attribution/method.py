"""What an attribution method is, and how one registers itself: a decorated function in a file of this folder.

    @method("saliency", title="Saliency", family="gradient", signed=False, unit="logit / intensity",
            about="How much the score would change if a pixel changed a little.", source="Simonyan et al. 2014")
    def saliency(model, images, targets, options): ...
        return Map(values)

`attribute` has put the model in eval mode with frozen weights and brings it back; `images` may be changed at will. `targets` (B,)
are columns of what the model puts out: class indices, or the scores that stand there while somebody asks for one class
against another or for a single unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vgg_viz.attribution.options import MethodOptions, Options
from vgg_viz.registry import Registry

Family = Literal["gradient", "cam", "relevance", "perturbation"]


@dataclass(frozen=True, slots=True)
class Map:
    """What a method found for one batch; `attribute` adds the method's name and unit.

    values    (B, h, w)
    layer     layer name when h, w are those of a layer's map; None for pixels
    residual  (B,) completeness error [logit], or None
    passes    forward and backward passes per picture, each counted as one
    signed    only where it depends on the options
    """

    values: Tensor
    layer: str | None = None
    residual: Tensor | None = None
    passes: float = 0.0
    signed: bool | None = None


Compute = Callable[[nn.Module, Tensor, Tensor, MethodOptions], Map]
Passes = Callable[
    [MethodOptions, int], float
]  # options and the side of the pictures [px] -> forward and backward passes a picture
PassesOn = Callable[[nn.Module, MethodOptions, int], float]  # the same, where the network decides as well


@dataclass(frozen=True, slots=True)
class Method:
    """One attribution method, as the page presents it.

    unit      of a value
    signed    values below zero mean evidence against the target
    layered   takes a layer name (its map may still be in pixels: `Attribution.layer` says)
    complete  promises that the map adds up to f(x) - f(baseline)
    about     one teaching sentence
    source    the paper
    reads     fields of `MethodOptions` that its map depends on: they become `Attribution.settings`
    passes    of the network a picture, before anything has run, on any network
    passes_on  the same where some networks allow for fewer; read both through `cost`
    """

    name: str
    title: str
    family: Family
    signed: bool
    unit: str
    layered: bool
    complete: bool
    about: str
    source: str
    compute: Compute
    reads: tuple[str, ...] = ()
    passes: Passes | None = None
    passes_on: PassesOn | None = None

    def relevant(self, options: Options) -> Options:
        """Of options that were chosen for many methods, those that this one reads; `batch` always."""
        return Options(**{name: getattr(options, name) for name in (*self.reads, "batch") if name != "layer"})

    def cost(self, model: nn.Module, options: Options, side: int) -> float | None:
        """Passes of `model` a picture of `side` [px], before anything has run: planned by, and checked against what a map says.

        returns  forward and backward passes, each counted as one, parts of one by their multiply-adds; None: nobody knows
        """
        if self.passes_on is not None:
            return self.passes_on(model, MethodOptions.of(options), side)
        return None if self.passes is None else self.passes(MethodOptions.of(options), side)


# Within a family the first methods of these files lead, and those of a new file follow by its name.
FIRST = ("cam", "gradient", "gradient_cams", "occlusion")
METHODS: Registry[Method] = Registry("attribution method", fill="vgg_viz.attribution.methods", first=FIRST)


def method(
    name: str,
    *,
    title: str,
    family: Family,
    signed: bool,
    unit: str,
    about: str,
    source: str,
    layered: bool = False,
    complete: bool = False,
    reads: tuple[str, ...] = (),
    passes: Passes | None = None,
    passes_on: PassesOn | None = None,
) -> Callable[[Compute], Compute]:
    """Register the decorated function as an attribution method; raises VggVizError when the name is taken."""

    def register(compute: Compute) -> Compute:
        about_it = Method(
            name, title, family, signed, unit, layered, complete, about, source, compute, reads, passes, passes_on
        )
        METHODS.add(name, about_it, by=compute.__module__)
        return compute

    return register


# VGG16 at 224 px keeps about 26 million activations a picture (50,176 pixels times its 512 widest channels is a fair
# guess of that); eight such pictures take 3 GB with their gradients, and more at once gain nothing on a CPU.
ACTIVATIONS_AT_ONCE = 8 * 224 * 224 * 512


def pictures_at_once(model: nn.Module, images: Tensor) -> int:
    """How many pictures of this size may go through together: 8 for VGG16 at 224 px, 64 for Tiny VGG, where more gain nothing."""
    widest = max((m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)), default=images.shape[1])
    return max(1, min(64, ACTIVATIONS_AT_ONCE // (images.shape[-1] * images.shape[-2] * widest)))


def with_graph(options: MethodOptions) -> int:
    """How many pictures go through together when a graph of them is kept for the way back: half as many as fit without one.

    Four of VGG16 at 224 px then take less than 0.6 GB beyond the network (benchmarks/gradients.py).
    """
    return max(1, options.batch_size // 2)
