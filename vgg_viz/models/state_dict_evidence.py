"""What is said of a chain that was read from a bare state dict: what is known, and what is assumed and would change every number."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from vgg_viz.models.plan import Step
from vgg_viz.models.state_dict_choice import LARGE_SIDE, SMALL_SIDE, Choice, plan_of
from vgg_viz.models.state_dict_pools import AVERAGE_POOL, USUAL_SIDES, paper_places
from vgg_viz.models.state_dict_steps import Keyed, Layers, Reading
from vgg_viz.models.vgg import VARIANTS, common_width
from vgg_viz.records import Evidence

PLAN = ("--plan",)
UNSEEN = "Max-pooling, ReLU and RGB order are assumed; average pooling, another activation or BGR order would leave the same shapes."
LRN = Evidence("VGG A-LRN has the same shapes: normalisation has no weights (--arch a_lrn).")
DEFINED = Evidence(
    "A state dict lists layers as they were defined; layers that the forward pass calls in another order would be mixed up."
)
MOST_PLANS = 3


# ---------------------------------------------------------------- known


def about_layers(keyed: Sequence[Keyed], weights: Mapping[str, Tensor], variant: str) -> list[Evidence]:
    """What the shapes of a chain say: convolutions, batch norm, biases, classifier."""
    convs = [(step, keys) for step, keys in keyed if step.kind == "conv" and not step.head]
    heads = [(step, keys) for step, keys in keyed if step.weighted and step.head]
    shapes = [weights[keys["weight"]].shape for _, keys in convs]
    said = [
        _about_kernels(
            [int(shape[0]) for shape in shapes], [int(shape[2]) for shape in shapes], int(shapes[0][1]), variant
        )
    ]
    norms = sum(step.kind == "bn" and not step.head for step, _ in keyed)
    if norms:
        where = "every convolution" if norms == len(convs) else f"{norms} of {len(convs)} convolutions"
        said.append(f"Running means and variances follow {where}: batch norm.")
    biasless = [step for step, _ in (*convs, *heads) if not step.bias]
    if not any(step.bias for step, _ in convs):
        said.append("The convolutions have no bias.")
        biasless = [step for step in biasless if step.head]
    if heads:
        said.append(_about_head([weights[keys["weight"]] for _, keys in heads], int(shapes[-1][0])))
    if biasless:
        said.append(f"{len(biasless)} {'layer has' if len(biasless) == 1 else 'layers have'} no bias in the file.")
    if any(step.kind == "bn" and "weight" not in keys for step, keys in keyed):
        said.append("Batch norm has no weight and bias in the file (affine=False); ones and zeros stand in for them.")
    return [Evidence(text) for text in said]


def _about_kernels(channels: Sequence[int], kernels: Sequence[int], inputs: int, variant: str) -> str:
    sides = sorted(set(kernels), reverse=True)
    counts = [f"{kernels.count(side)} of {side} × {side}" for side in sides]
    shapes = f"all {sides[0]} × {sides[0]}" if len(sides) == 1 else " and ".join(counts)
    of = ""
    if variant:
        plan = [int(word.split("/")[0]) for word in VARIANTS[variant].plan.split() if word[0].isdigit()]
        width = common_width(plan, channels[-len(plan) :])
        at = f" at width {width:g}" if width and width != 1 else ""
        of = f": the widths of {VARIANTS[variant].title}{at}"
    return (
        f"{len(channels)} {'convolution' if len(channels) == 1 else 'convolutions'} ({shapes}) of {'-'.join(map(str, channels))} "
        f"channels on {'RGB' if inputs == 3 else 'grey'} pictures{of}."
    )


def _about_head(heads: Sequence[Tensor], channels: int) -> str:
    inputs, classes = heads[0][0].numel(), int(heads[-1].shape[0])
    side = round((inputs / channels) ** 0.5)
    hidden = [f"{int(weight.shape[0]):,}" for weight in heads[:-1]]
    between = f", has hidden layers of {' and '.join(hidden)}," if hidden else ""
    return (
        f"The classifier reads {inputs:,} values (a {side} × {side} map of {channels} channels){between} and gives {classes:,} "
        f"{'class' if classes == 1 else 'classes'}."
    )


def about_places(layers: Layers, choice: Choice, variant: str) -> Iterator[Evidence]:
    """From what the places of the pools are known, where they are known."""
    fit = choice.reading.fit
    count = len(fit.placement.pools)
    if choice.how == "noted":
        yield Evidence("A list of widths and pools in the file says where the pools are.")
    elif choice.how == "numbers":
        paper = bool(variant) and fit.placement.pools == frozenset(p + layers.adapters for p in paper_places(variant))
        places = ", at the paper's places" if paper and count else ""
        pools = f"{count} max-pool{'s' if count != 1 else ''}" if count else "no pool"
        yield Evidence(
            f"The gaps between the convolutions' numbers leave room for {pools} before the last convolution{places}."
        )
    elif choice.how == "paper" and not any(gap.activation == "unseen" for gap in layers.gaps[: layers.head - 1]):
        yield Evidence(
            "The convolutions' numbers are not torchvision's: layers without weights (dropout, other pools) shift them. "
            "Pools are assumed at the paper's places.",
            PLAN,
        )


# ---------------------------------------------------------------- assumed


def doubts(layers: Layers, choice: Choice, *, known_head: bool) -> list[Evidence]:
    """What is assumed, the likelier to be wrong first.

    Args:
        layers: Of the chain.
        choice: What was chosen.
        known_head: Whether the keys are a library's whose head is known.
    """
    head = [] if known_head else _about_activations(layers, choice.reading)
    found = [*_about_pools(layers, choice), *head]
    return sorted(found, key=lambda doubt: not doubt.alarm)


def unseen(layers: Layers, reading: Reading) -> Evidence:
    """Kinds of pools and activations leave no trace in a state dict."""
    average = replace(reading, pool=AVERAGE_POOL)
    leaky = replace(reading, activation=Step("leaky", values=(0.1,)))
    mine = plan_of(layers, reading)
    plans = tuple(plan for plan in dict.fromkeys(plan_of(layers, one) for one in (average, leaky)) if plan != mine)
    return Evidence(UNSEEN, PLAN, plans=plans)


_PLACES = {
    "paper": "Pools are assumed at the paper's places; the keys do not show them.",
    "blocks": "A pool is assumed at the end of each block that the names of the convolutions make; the keys do not show it.",
    "each": "A pool is assumed behind each convolution, with which a usual side of pictures fits; the keys do not show it.",
    "pairs": "A pool is assumed behind every second convolution, with which a usual side of pictures fits; the keys do not show it.",
    "none": "No pool is assumed before the last convolution, with which a usual side of pictures fits; the keys do not show it.",
}


def _about_pools(layers: Layers, choice: Choice) -> Iterator[Evidence]:
    fit = choice.reading.fit
    same = [reading for reading in choice.rivals if reading.fit.placement.pools == fit.placement.pools]
    other = [reading for reading in choice.rivals if reading not in same]
    numbered = not any(gap.activation == "unseen" for gap in layers.gaps[: layers.head - 1])
    if (choice.how in _PLACES and not numbered) or other:
        text = _PLACES.get(choice.how, "Free numbers in the names may hold pools or dropout; pools are assumed.")
        serious = (
            bool(other) or choice.how in ("each", "pairs", "none") or (choice.how == "paper" and choice.needed <= 1)
        )
        yield _doubt(text, [plan_of(layers, reading) for reading in other], serious=serious)
    if same:
        stands = {"avg_pool": "an average pool", "max_pool": "a max-pool"}.get(
            fit.last[-1].kind if fit.last else "", "no pool"
        )
        likely = (choice.needed > 1 and choice.usual) or not choice.needed
        text = f"Behind the last convolution no number or name shows what stands; {stands} is assumed."
        yield _doubt(text, [plan_of(layers, reading) for reading in same], serious=not likely)


def _about_activations(layers: Layers, reading: Reading) -> Iterator[Evidence]:
    """Activations between linear layers that no number shows."""
    places = [
        place
        for place in range(layers.head, len(layers.units) - 1)
        if layers.gaps[place].activation == "unseen" and place not in reading.silent
    ]
    if not places:
        return
    names = " and ".join(_short(layers.units[place + 1].main.stem) for place in places[:3])
    silent = replace(reading, silent=reading.silent | {places[-1]})
    apart = any(layers.gaps[place].apart for place in places)
    yield _doubt(
        f"ReLU is assumed in front of {names}; nothing in the file shows it.", [plan_of(layers, silent)], serious=apart
    )


def _doubt(text: str, plans: Sequence[str], *, serious: bool) -> Evidence:
    kept = tuple(dict.fromkeys(plans))[:MOST_PLANS]
    listed = " or ".join(f"--plan {shlex.quote(plan)}" for plan in kept)
    others = f" Otherwise the network is {listed}." if kept else ""
    return Evidence(f"{text}{others}", PLAN, alarm=serious, plans=kept)


# ---------------------------------------------------------------- pictures


def about_side(choice: Choice, side: int) -> tuple[list[Evidence], list[Evidence]]:
    """The side of the pictures where an average pool leaves it open: what is assumed, and what else is possible."""
    made = choice.reading.average
    if not made and choice.kind == "other" and choice.needed and not choice.usual:
        text = (
            f"No usual side of pictures leaves the {choice.needed} × {choice.needed} map that the classifier reads; {side} px, the "
            "first that does, are assumed. A stride or other pools may be the reason (--plan)."
        )
        return [Evidence(text, ("--image-size",), alarm=True)], []
    if not made:
        return [], []
    usual = "the usual one" if side in (*USUAL_SIDES, LARGE_SIDE, SMALL_SIDE) or side % 32 == 0 else "one of many"
    guess = Evidence(f"Image side: {side} px is assumed, {usual} for a {made} × {made} map.", ("--image-size",))
    without = ""
    fit = choice.reading.fit
    shrinks = 2 ** (len(fit.placement.pools) + sum(step.kind.endswith("pool") for step in fit.last))
    if made * shrinks <= side:
        without = f"; without one, {made * shrinks} to {made * shrinks + shrinks - 1} px fit"
    others = Evidence(
        f"Other image sides: an average pool, as in torchvision, makes {made} × {made} of any map{without}.",
        ("--image-size",),
    )
    return [guess], [others]


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
