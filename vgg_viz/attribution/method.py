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
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.registry import Registry

Family = Literal["gradient", "cam", "relevance", "perturbation"]
Baseline = str | float | Tensor


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose; a method reads those that it knows.

    layer     where a layered method looks; None: chosen by map size and receptive field
    seed      of the noise
    steps     points on the path of integrated gradients
    samples   noisy copies of each picture
    noise     their standard deviation, as a share of the picture's own range of intensities
    baseline  what "nothing" looks like: "black", "grey", "white", "mean" (each picture's mean colour), "blur"
              (each picture so blurred that only its large colours stay), a number in [0, 1], or a tensor that
              broadcasts to the pictures; None: the method's own
    window    side of an occluding square [px]; None: an eighth of the picture
    stride    how far it moves [px]; None: half a window
    windows   sides of the squares where a method takes several [px]; None: an eighth, a quarter and half of the picture
    masks     random masks that RISE puts over each picture
    relu      whether Grad-CAM drops evidence against the class, as the paper does
    batch     pictures that go through the network at once
    scores    logits (B, K, ...) -> the scores asked about, whose columns are a method's `targets`: the network itself does this
              already; only a method that runs the last layers without the network calls it
    """

    layer: str | None = None
    seed: int = 0
    steps: int = 32
    samples: int = 16
    noise: float = 0.15
    baseline: Baseline | None = None
    window: int | None = None
    stride: int | None = None
    windows: tuple[int, ...] | None = None
    masks: int = 1000
    relu: bool = True
    batch: int = 8
    scores: Callable[[Tensor], Tensor] = field(default=lambda logits: logits, repr=False, compare=False)


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


Compute = Callable[[nn.Module, Tensor, Tensor, Options], Map]
Passes = Callable[
    [Options, int], float
]  # options and the side of the pictures [px] -> forward and backward passes a picture
PassesOn = Callable[[nn.Module, Options, int], float]  # the same, where the network decides as well


@dataclass(frozen=True, slots=True)
class Method:
    """One attribution method, as the page presents it.

    unit      of a value
    signed    values below zero mean evidence against the target
    layered   takes a layer name (its map may still be in pixels: `Attribution.layer` says)
    complete  promises that the map adds up to f(x) - f(baseline)
    about     one teaching sentence
    source    the paper
    reads     fields of `Options` that its map depends on: they become `Attribution.settings`
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

    def cost(self, model: nn.Module, options: Options, side: int) -> float | None:
        """Passes of `model` a picture of `side` [px], before anything has run: planned by, and checked against what a map says.

        returns  forward and backward passes, each counted as one, parts of one by their multiply-adds; None: nobody knows
        """
        if self.passes_on is not None:
            return self.passes_on(model, options, side)
        return None if self.passes is None else self.passes(options, side)


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


def baseline_for(images: Tensor, baseline: Baseline) -> Tensor:
    """The picture of nothing to compare with, one for each picture: (B, C, H, W) in [0, 1].

    raises  InputRefused for a word or a shape that says nothing
    """
    if isinstance(baseline, Tensor):
        try:
            return baseline.to(images).expand_as(images).clone()
        except RuntimeError:
            raise InputRefused(
                f"a baseline of shape {tuple(baseline.shape)} came for pictures of shape {tuple(images.shape)}; "
                f"give one that broadcasts to them, such as ({images.shape[1]}, 1, 1)."
            ) from None
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images).clone()
    if baseline == "blur":
        return blurred(images, min(images.shape[-2:]) / BLUR)
    known = {"black": 0.0, "grey": 0.5, "white": 1.0}
    if isinstance(baseline, str) and baseline not in known:
        raise InputRefused(
            f"there is no baseline {baseline!r}; choose black, grey, white, mean, blur, a number or a tensor."
        )
    return torch.full_like(images, known[baseline] if isinstance(baseline, str) else float(baseline))


# The blur's standard deviation is the picture's side over this: 14 px of 224, where an object is a stain without parts.
BLUR = 16


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Pictures (B, C, H, W) under a Gaussian blur of standard deviation `sigma` [px]; their border pixels go on beyond the border."""
    reach = max(1, round(3 * sigma))
    bell = torch.exp(-(torch.arange(-reach, reach + 1, device=images.device) ** 2) / (2 * sigma**2))
    channels = images.shape[1]
    bell = (bell / bell.sum()).to(images.dtype).expand(channels, 1, -1)
    padded = nn.functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    down = nn.functional.conv2d(padded, bell[..., None], groups=channels)
    return nn.functional.conv2d(down, bell[:, :, None], groups=channels)


# VGG16 at 224 px keeps about 26 million activations a picture (50,176 pixels times its 512 widest channels is a fair
# guess of that); eight such pictures take 3 GB with their gradients, and more at once gain nothing on a CPU.
ACTIVATIONS_AT_ONCE = 8 * 224 * 224 * 512


def pictures_at_once(model: nn.Module, images: Tensor) -> int:
    """How many pictures of this size may go through together: 8 for VGG16 at 224 px, 64 for Tiny VGG, where more gain nothing."""
    widest = max((m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)), default=images.shape[1])
    return max(1, min(64, ACTIVATIONS_AT_ONCE // (images.shape[-1] * images.shape[-2] * widest)))


def with_graph(options: Options) -> int:
    """How many pictures go through together when a graph of them is kept for the way back: half as many as fit without one.

    Four of VGG16 at 224 px then take less than 0.6 GB beyond the network (benchmarks/gradients.py).
    """
    return max(1, options.batch // 2)
