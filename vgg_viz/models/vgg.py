"""The networks of the VGG paper and Tiny VGG: names for chains, and how a chain is recognised as one of them.

Source: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556, table 1;
Wang et al., "CNN Explainer", IEEE TVCG 2020, for Tiny VGG: 64 px, ten channels, padding 0 (some courses use 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from vgg_viz.errors import InputRefused, UnknownName
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.plan import ACTIVATIONS, LARGEST, Step, parse_plan, write_plan
from vgg_viz.records import Architecture


@dataclass(frozen=True, slots=True)
class Variant:
    """One column of the paper's table: what stands between the picture and the classifier.

    Attributes:
        letter: Its name in the paper, or "" when it is not from there.
        title: For a heading.
        plan: From the picture up, in the words of `models.plan`.
    """

    letter: str
    title: str
    plan: str


VARIANTS: dict[str, Variant] = {
    "vgg11": Variant("A", "VGG A (11 layers)", "64 M 128 M 256 256 M 512 512 M 512 512 M"),
    "a_lrn": Variant("A-LRN", "VGG A-LRN (11 layers)", "64 lrn M 128 M 256 256 M 512 512 M 512 512 M"),
    "vgg13": Variant("B", "VGG B (13 layers)", "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M"),
    "c": Variant("C", "VGG C (16 layers, 1 × 1)", "64 64 M 128 128 M 256 256 256/1 M 512 512 512/1 M 512 512 512/1 M"),
    "vgg16": Variant("D", "VGG D (16 layers)", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
    "vgg19": Variant(
        "E", "VGG E (19 layers)", "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"
    ),
    "tiny_vgg": Variant("", "Tiny VGG (CNN Explainer)", "10 10 M 10 10 M"),
}


@dataclass(frozen=True, slots=True)
class VariantOptions:
    """What may be chosen of a variant.

    Attributes:
        width: Factor of all channels and hidden widths.
        head: Hidden widths of the classifier before `width` is applied: (4096, 4096) in the paper, () for one linear layer.
        pooled: Side of the map that the classifier reads: 7 in the paper; None: whatever the features leave.
        dense: The classifier as convolutions (paper, section 3.2): any image size, a map of class scores.
        padding: Of the 3x3 convolutions [px]; 0 or 1.
        conv_bias: False where the convolutions have none (common before batch norm).
        dropout: Whether the hidden layers of the classifier have dropout.
    """

    batch_norm: bool = False
    width: float = 1.0
    head: tuple[int, ...] = (4096, 4096)
    pooled: int | None = 7
    dense: bool = False
    padding: int = 1
    conv_bias: bool = True
    dropout: bool = True


def canonical(name: str) -> tuple[str, bool]:
    """The key in VARIANTS and whether batch norm was asked for: "D" -> ("vgg16", False), "vgg11_bn" -> ("vgg11", True).

    Raises:
        UnknownName: With the nearest name.
    """
    plain = name.lower().replace("-", "_")
    batch_norm = plain.endswith("_bn")
    plain = plain.removesuffix("_bn")
    letters = {v.letter.lower().replace("-", "_"): key for key, v in VARIANTS.items() if v.letter}
    key = plain if plain in VARIANTS else letters.get(plain)
    if key is None:
        raise UnknownName("variant", name, [k + suffix for k in VARIANTS for suffix in ("", "_bn")])
    return key, batch_norm


def variant_plan(name: str, options: VariantOptions) -> str:
    """The plan of a variant with a classifier; raises InputRefused for numbers that make no network."""
    _require_options(options)
    steps: list[Step] = []
    for step in parse_plan(VARIANTS[name].plan):
        if step.kind != "conv":
            steps.append(step)
            continue
        padding = options.padding if step.window.kernel == 3 else step.window.padding
        channels = max(1, round(step.channels * options.width))
        steps.append(
            replace(step, channels=channels, window=replace(step.window, padding=padding), bias=options.conv_bias)
        )
        steps += [Step("bn")] if options.batch_norm else []
    if options.pooled:
        steps.append(Step("adaptive_avg", side=options.pooled))
    steps.append(Step("flat", head=True))
    for width in options.head:
        steps += [Step("fc", max(1, round(width * options.width)), head=True), Step("relu", head=True)]
        steps += [Step("drop", values=(0.5,), head=True)] if options.dropout else []
    return write_plan([*steps, Step("fc", head=True)])


def _require_options(options: VariantOptions) -> None:
    if not all(1 <= width <= LARGEST for width in (options.pooled or 1, *options.head)):
        raise InputRefused(
            f"hidden layers {options.head} and a map of {options.pooled} were asked for; 1 to {LARGEST:,} are possible."
        )
    if not 0 < options.width <= 16:
        raise InputRefused(f"width {options.width:g} was asked for; it must lie above 0 and not above 16.")
    if options.padding not in (0, 1):
        raise InputRefused(f"padding {options.padding} was asked for; 0 or 1 are possible.")


# ---------------------------------------------------------------- what a chain is called


@dataclass(frozen=True, slots=True)
class Description:
    """What a chain is, in a few facts.

    Attributes:
        variant: Key of VARIANTS whose convolutions and pools these are at one width; "" where there is none.
        batch_norm: Whether batch norm follows every convolution.
        width: Of the variant; 1 where there is none.
        padding: Of its 3x3 convolutions [px]; None where they differ.
        head: Hidden widths of the classifier.
        pooled: Side of the map that an adaptive average makes for the classifier; None: there is none.
        dense: The classifier is made of convolutions.
    """

    variant: str
    batch_norm: bool
    width: float
    padding: int | None
    head: tuple[int, ...]
    pooled: int | None
    dense: bool

    @property
    def name(self) -> str:
        """As `--arch` takes it: "vgg16_bn"; "custom" for a chain that is no variant."""
        return f"{self.variant}_bn" if self.variant and self.batch_norm else self.variant or "custom"


def describe(architecture: Architecture) -> Description:
    """The facts of an architecture's chain."""
    return describe_plan(architecture.plan)


@lru_cache(maxsize=256)
def describe_plan(plan: str) -> Description:
    """The facts of a chain."""
    steps = parse_plan(plan)
    features = [step for step in steps if not step.head]
    convs = [step for step in features if step.kind == "conv"]
    norms = sum(step.kind == "bn" for step in features)
    paddings = {step.window.padding for step in convs if step.window.kernel == 3}
    layers = [step for step in steps if step.head and step.weighted]
    pools = [step for step in features if step.kind == "adaptive_avg"]
    variant, width = _variant_of(features)
    return Description(
        variant,
        bool(convs) and norms == len(convs),
        width,
        next(iter(paddings)) if len(paddings) == 1 else None,
        tuple(step.channels for step in layers[:-1]),
        pools[-1].side if pools else None,
        any(step.kind == "conv" for step in layers),
    )


def _variant_of(features: Sequence[Step]) -> tuple[str, float]:
    channels = [step.channels for step in features if step.kind == "conv"]
    found = list(_skeleton(features))
    for name, variant in VARIANTS.items():
        steps = parse_plan(variant.plan)
        if list(_skeleton(steps)) == found and (
            width := common_width([step.channels for step in steps if step.kind == "conv"], channels)
        ):
            return name, width
    return "", 1.0


def _skeleton(features: Sequence[Step]) -> Iterator[tuple[str, Window]]:
    """Kinds and windows, without what a variant leaves open: width, padding, batch norm, dropout and the last average."""
    for step in features:
        if step.kind == "conv":
            yield step.kind, replace(step.window, padding=0)
        elif step.kind not in ("bn", "drop", "adaptive_avg"):
            yield step.kind, step.window


def common_width(plan: Sequence[int], found: Sequence[int]) -> float | None:
    """The simplest factor that takes every channel count of the plan to the one found, rounded; None when there is none."""
    if len(plan) != len(found):
        return None
    low = max(Fraction(2 * n - 1, 2 * p) for n, p in zip(found, plan, strict=True))
    high = min(Fraction(2 * n + 1, 2 * p) for n, p in zip(found, plan, strict=True))
    tries = [Fraction(found[0], plan[0]), Fraction(found[-1], plan[-1])]
    tries += [Fraction(round((low + high) / 2 * parts), parts) for parts in (10, 16, 100, 1000, 10_000)]
    for width in tries:
        if all(max(1, round(p * float(width))) == n for p, n in zip(plan, found, strict=True)):
            return float(width)
    return None


def title(architecture: Architecture) -> str:
    """A name for a heading: "VGG D (16 layers) with batch norm, width 0.25", or how many layers there are.

    Without a classifier: "convolutions of VGG D with batch norm, width 0.25, no classifier".
    """
    known = describe(architecture)
    steps = parse_plan(architecture.plan)
    linear = sum(step.weighted and step.head for step in steps)
    convs = _count(sum(step.kind == "conv" and not step.head for step in steps), "convolution")
    if known.variant:
        text = VARIANTS[known.variant].title
        text = text if linear else f"convolutions of {text.partition(' (')[0]}"
    else:
        text = f"a network of {convs} and {_count(linear, 'linear layer')}" if linear else convs
    if known.batch_norm:
        text += " with batch norm"
    if known.width != 1:
        text += f", width {known.width:g}"
    return text + (", dense" if known.dense else "") + ("" if linear else ", no classifier")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def activations_of(architecture: Architecture) -> frozenset[str]:
    """The kinds of activation in a chain."""
    return frozenset(step.kind for step in parse_plan(architecture.plan) if step.kind in ACTIVATIONS)
