"""What a caller may choose of a method: the options, their ranges, and the refusal of those that a method does not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from vgg_viz.errors import InputRefused

Baseline = str | float | Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of all methods; `methods()[name].reads` says which of them a method reads, and `attribute` refuses the others.

    Attributes:
        seed: Of the random numbers, 0 to 2⁶³ - 1.
        steps: Points on the path of integrated gradients, 1 to 10,000.
        samples: Noisy copies of each picture, or draws of a baseline, 1 to 10,000.
        noise: Standard deviation of the noise as a share of the picture's own range of intensities, 0 to 1.
        baseline: What "nothing" looks like: "black", "grey", "white", "mean" (each picture's mean colour), "blur" (each picture so
            blurred that only its large colours stay), a number in [0, 1], or a finite tensor that broadcasts to the pictures;
            None: the method's own.
        window: Side of an occluding square [px], 1 to the picture's; None: an eighth of the picture.
        stride: How far it moves [px], 1 to `window`; None: half a window.
        windows: Sides of the squares where a method takes several [px], each as `window`; None: an eighth, a quarter and half of the
            picture.
        masks: Random masks of RISE, or channels that Score-CAM asks about at most, 1 to 1,000,000.
        relu: Whether a class activation map drops evidence against the class, as the papers do.
        batch: Pictures that go through the network at once, from 1; every method reads it; None: by memory.
    """

    seed: int = 0
    steps: int = 32
    samples: int = 16
    noise: float = 0.15
    baseline: Baseline | None = None
    window: int | None = None
    stride: int | None = None
    windows: Sequence[int] | None = None
    masks: int = 1000
    relu: bool = True
    batch: int | None = None

    @property
    def batch_size(self) -> int:
        """Pictures at once; where nobody chose, what VGG16 at 224 px takes."""
        return self.batch or 8

    def changed(self) -> dict[str, object]:
        """The options that differ from their defaults, by name."""
        values = {about.name: (getattr(self, about.name), about.default) for about in fields(Options)}
        return {name: value for name, (value, usual) in values.items() if isinstance(value, Tensor) or value != usual}


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions(Options):
    """What a method is given: the caller's options, and what `attribute` knows besides.

    Attributes:
        layer: Where a layered method looks; None: chosen by map size and receptive field.
        scores: Logits (B, K, ...) to the scores asked about, whose columns are a method's `targets`: the network itself does this
            already; only a method that runs the last layers without the network calls it.
    """

    layer: str | None = None
    scores: Callable[[Tensor], Tensor] = field(default=lambda logits: logits, repr=False, compare=False)

    @classmethod
    def of(cls, options: Options, *, layer: str | None = None) -> MethodOptions:
        """The caller's options as a method is given them, sides of squares as a tuple."""
        if isinstance(options, cls):
            return options
        values = {about.name: getattr(options, about.name) for about in fields(Options)}
        values["windows"] = None if options.windows is None else tuple(options.windows)
        return cls(**values, layer=layer)


# Whole numbers and their ranges; those with None may be left to the method.
RANGES: dict[str, tuple[int, int]] = {
    "seed": (0, 2**63 - 1),
    "steps": (1, 10_000),
    "samples": (1, 10_000),
    "window": (1, 1_000_000),
    "stride": (1, 1_000_000),
    "masks": (1, 1_000_000),
    "batch": (1, 1_000_000),
}


def refuse_options(method: str, reads: Sequence[str], options: object) -> None:
    """Raise InputRefused for an option that the method does not read, and for a value out of its range."""
    if not isinstance(options, Options):
        raise InputRefused(
            f"options of type {type(options).__name__} came; give Options(...), such as Options(seed=1)."
        )
    known = {about.name for about in fields(Options)}
    readable = [name for name in reads if name in known] + ["batch"]
    unread = [name for name in options.changed() if name not in readable]
    if unread:
        raise InputRefused(
            f"option {', '.join(unread)} came, and {method} does not read it: it reads {', '.join(readable)}; "
            "leave it out, or choose another method."
        )
    for sentence in _out_of_range(options):
        raise InputRefused(f"{sentence}; give {method} another value, or leave it out.")


def _out_of_range(options: Options) -> Iterator[str]:
    """What is wrong with the values, as the beginnings of sentences."""
    changed = options.changed()
    for name, (least, most) in RANGES.items():
        if name in changed and not _whole(changed[name], least, most):
            yield f"{name} {_shown(changed[name])} came, where a whole number from {least:,} to {most:,} is expected"
    if "noise" in changed and not _share(options.noise):
        yield f"noise {_shown(options.noise)} came, where a share from 0 to 1 is expected"
    if type(changed.get("relu", True)) is not bool:
        yield f"relu {_shown(options.relu)} came, where True or False is expected"
    windows = options.windows
    if windows is not None and not (
        isinstance(windows, list | tuple) and all(_whole(side, *RANGES["window"]) for side in windows)
    ):
        yield f"windows {_shown(windows)} came, where whole numbers from 1 are expected, such as (8, 16, 32)"
    baseline = options.baseline
    if isinstance(baseline, Tensor):
        if not bool(torch.isfinite(baseline).all()):
            yield "a baseline that is not finite came, where intensities are expected"
    elif baseline is not None and not isinstance(baseline, str) and not _share(baseline):
        yield f"baseline {_shown(baseline)} came, where a word, a number from 0 to 1 or a tensor is expected"


def _whole(value: object, least: int, most: int) -> bool:
    # To Python, True is a whole number.
    return type(value) is not bool and isinstance(value, Integral) and least <= int(value) <= most


def _share(value: object) -> bool:
    return type(value) is not bool and isinstance(value, Real) and 0 <= float(value) <= 1  # NaN is not


def _shown(value: object) -> str:
    return repr(value)[:40]


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
