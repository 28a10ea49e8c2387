"""What the file's notes and the user say, put over what shapes said; the guesses that remain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.build import require_buildable
from vgg_viz.models.formats import FORMATS, ReadCheckpoint
from vgg_viz.models.metadata import Beside, notes
from vgg_viz.models.network import dense_weights, feature_map, layer_paths, map_sizes, padded, rekeyed
from vgg_viz.models.plan import Step, parse_plan, write_plan
from vgg_viz.models.vgg import VARIANTS, canonical, describe
from vgg_viz.models.wishes import OPTIONS, Wishes
from vgg_viz.records import Architecture, Evidence

USUAL_SIDES = (28, 32, 64, 96, 128, 224)


def noted(reading: ReadCheckpoint, stored: object, beside: Beside, *, names: bool = True) -> ReadCheckpoint:
    """A foreign reading with what the file says beside its weights: class names, image side, mean and std.

    A side that the weights cannot come from is named and not used.

    Args:
        reading: What a format read.
        stored: All that the file held.
        beside: What lies beside the file, as `notes_beside` gives it.
        names: Whether to look for class names: not where the user has given them.
    """
    about = reading.architecture
    found = notes(stored, beside, num_classes=about.num_classes, channels=about.in_channels, names=names)
    wanted = {
        name: value
        for name, value in [("image_side", found.image_side), ("mean", found.mean), ("std", found.std)]
        if value
    }
    sentences = list(found.evidence)
    if "image_side" in wanted and _fitting(reading, {"image_side": wanted["image_side"]}) is None:
        text = f"Pictures of {wanted.pop('image_side')} px do not fit the weights, so that side was not used."
        sentences.append(Evidence(text))
    architecture = _fitting(reading, wanted) or reading.architecture
    settled = {OPTIONS[name] for name in wanted}
    fits = tuple(
        replace(fit, mean=architecture.mean, std=architecture.std) for fit in _others(reading, architecture, wanted)
    )
    return replace(
        reading,
        architecture=architecture,
        fits=fits,
        classes=reading.classes or found.classes,
        evidence=(*_open(reading.evidence, settled), *sentences),
        alternatives=_open(reading.alternatives, settled),
        accuracy=found.accuracy,
    )


def overridden(reading: ReadCheckpoint, wishes: Wishes) -> ReadCheckpoint:
    """The reading as the user wants it, with the sentences that remain open.

    Args:
        reading: What a format read.
        wishes: What the user said.

    Raises:
        CheckpointRefused: When the weights cannot be those of what was asked for.
        InputRefused: For impossible numbers.
    """
    about = describe(reading.architecture)
    if wishes.arch is not None and canonical(wishes.arch) != (about.variant, about.batch_norm):
        reading = _as_variant(reading, wishes.arch)
    weights = reading.weights
    if wishes.padding not in (None, 0, 1):
        raise InputRefused(f"padding {wishes.padding} was asked for; 0 or 1 are possible.")
    require_buildable(_with(reading.architecture, wishes.fields))
    chosen = _fitting(reading, wishes.fields)
    if chosen is None:
        raise CheckpointRefused(_contradiction(reading, wishes.fields))
    if reading.slides and feature_map(chosen)[1] > (describe(chosen).pooled or 1):
        chosen, weights = dense_weights(chosen, dict(weights))
        slides = Evidence(f"At {chosen.image_side} px the classifier slides: the dense form.")
        reading = replace(reading, evidence=(*reading.evidence, slides))
    given = [("arch", wishes.arch), ("plan", wishes.plan), *wishes.fields.items()]
    settings = tuple(
        Evidence(f"You set {name.replace('_', ' ')} to {_plain(value)}.") for name, value in given if value is not None
    )
    fits = _others(reading, chosen, wishes.fields)
    place, others = _about_fits(chosen, fits, wishes.settled)
    made = replace(
        reading,
        architecture=chosen,
        weights=weights,
        fits=fits,
        evidence=(*_open(reading.evidence, wishes.settled), *place, *settings),
        alternatives=(*others, *_open(reading.alternatives, wishes.settled)),
    )
    return _red_first(made, wishes)


# What Caffe's VGGs subtract of red, green, blue in 0 to 255; they read blue first.
CAFFE_MEAN, CAFFE_STD = (123.68, 116.779, 103.939), 1.0


def _red_first(reading: ReadCheckpoint, wishes: Wishes) -> ReadCheckpoint:
    """The network as one that reads red first: where it reads blue first, the input channels of its first kernels are turned."""
    architecture = reading.architecture
    by_mean = (
        reading.format not in FORMATS
        and architecture.in_channels == 3
        and all(abs(255 * mean - wanted) < 0.1 for mean, wanted in zip(architecture.mean, CAFFE_MEAN, strict=True))
        and all(abs(255 * std - CAFFE_STD) < 0.01 for std in architecture.std)
    )
    if wishes.bgr is False or (wishes.bgr is None and not by_mean):
        return reading
    if architecture.in_channels != 3:
        raise CheckpointRefused("--bgr came, but the file's network reads grey pictures; leave --bgr out.")
    steps = parse_plan(architecture.plan)
    path = next(path for path, step in zip(layer_paths(steps), steps, strict=True) if step.kind == "conv")
    weights = {**reading.weights, f"{path}.weight": reading.weights[f"{path}.weight"].flip(1)}
    turned = "the input channels of its first kernels were turned, and everything here is red, green, blue"
    fact = (
        Evidence(f"You said that the network reads blue first: {turned}.")
        if wishes.bgr
        else Evidence(
            f"Blue first is assumed, because the mean is that of Caffe's VGGs, which read blue first: {turned}.",
            ("--bgr", "--no-bgr"),
        )
    )
    return replace(reading, weights=weights, evidence=(*reading.evidence, fact))


def _as_variant(reading: ReadCheckpoint, arch: str) -> ReadCheckpoint:
    """The same weights in the chain of another variant with these kernels: A and A-LRN differ in nothing else."""
    variant, batch_norm = canonical(arch)
    about = describe(reading.architecture)
    old = parse_plan(reading.architecture.plan)
    convs = [step for step in old if step.kind == "conv" and not step.head]
    norms = sum(step.kind == "bn" and not step.head for step in old)
    if batch_norm != bool(norms):
        there = "batch norm" if norms else "no batch norm"
        raise CheckpointRefused(f"--arch {arch} came, but the file's network has {there}; leave --arch out.")
    new = parse_plan(VARIANTS[variant].plan)
    kernels = [step.window.kernel for step in new if step.kind == "conv"]
    if kernels != [step.window.kernel for step in convs] or norms not in (0, len(convs)):
        there = f"{len(kernels)}" if len(kernels) != len(convs) else "as many, but of other kernels"
        raise CheckpointRefused(
            f"the file holds the {len(convs)} convolutions of {about.name}, --arch {arch} has {there}; "
            "leave --arch out, or give the file that belongs to it."
        )
    rest = iter(convs)
    features = [
        part
        for step in new
        for part in ((next(rest), *([Step("bn")] if norms else [])) if step.kind == "conv" else (step,))
    ]
    averaged = [step for step in old if not step.head and step.kind == "adaptive_avg"][-1:]
    steps = [*features, *averaged, *(step for step in old if step.head)]
    architecture = replace(reading.architecture, plan=write_plan(steps))
    return replace(reading, architecture=architecture, weights=rekeyed(reading.weights, old, steps), fits=())


def _with(architecture: Architecture, wanted: Mapping[str, Any]) -> Architecture:
    """The architecture with these fields; padding is that of its 3x3 convolutions."""
    rest = {name: value for name, value in wanted.items() if name != "padding"}
    padding = wanted.get("padding")
    return replace(architecture if padding is None else padded(architecture, padding), **rest)


def _place(architecture: Architecture) -> dict[str, Any]:
    return {"padding": describe(architecture).padding, "image_side": architecture.image_side}


def _fitting(reading: ReadCheckpoint, wanted: Mapping[str, Any]) -> Architecture | None:
    """The likeliest architecture with these fields that the weights fit; None when there is none."""
    place = {name: value for name, value in wanted.items() if name in ("padding", "image_side")}
    rest = {name: value for name, value in wanted.items() if name not in place}
    for candidate in (reading.architecture, *reading.fits):
        if place.items() <= _place(candidate).items():
            return replace(candidate, **rest)
    free = _with(reading.architecture, wanted)
    try:
        fits = _read_by_classifier(free) == _read_by_classifier(reading.architecture)
    except InputRefused:
        return None
    return free if fits else None


def _read_by_classifier(architecture: Architecture) -> tuple[int, int] | None:
    """Channels and side of what is flattened for the first linear layer; None: convolutions slide over any map."""
    steps = parse_plan(architecture.plan)
    sizes = [(architecture.in_channels, architecture.image_side), *map_sizes(architecture)]
    flat = next((place for place, step in enumerate(steps) if step.kind == "flat"), None)
    return None if flat is None else sizes[flat]


def _others(reading: ReadCheckpoint, chosen: Architecture, wanted: Mapping[str, Any]) -> tuple[Architecture, ...]:
    """What else the weights fit, of all that agrees with what is settled."""
    place = {name: value for name, value in wanted.items() if name in ("padding", "image_side")}
    return tuple(fit for fit in reading.fits if _place(fit) != _place(chosen) and place.items() <= _place(fit).items())


def _contradiction(reading: ReadCheckpoint, overrides: Mapping[str, Any]) -> str:
    architecture = reading.architecture
    given = " and ".join(
        f"{OPTIONS[name]} {value}" for name, value in overrides.items() if name in ("padding", "image_side")
    )
    try:
        side = feature_map(_with(architecture, {n: v for n, v in overrides.items() if n in ("padding", "image_side")}))[
            1
        ]
        gives = f"which leaves a {side} × {side} map"
    except InputRefused:
        gives = "which leaves no map at all"
    wants = (_read_by_classifier(architecture) or feature_map(architecture))[1]
    return (
        f"{given} came, {gives}, and the weights do not fit it: the classifier in this file reads a {wants} × {wants} map; "
        "leave the option out, or give what the network was trained with."
    )


def _about_fits(
    chosen: Architecture, fits: tuple[Architecture, ...], settled: set[str]
) -> tuple[tuple[Evidence, ...], tuple[Evidence, ...]]:
    """What was chosen among several paddings and sides, and the others."""
    if not fits:
        return (), ()
    usual = "a usual side" if chosen.image_side in USUAL_SIDES else "the first side that fits; no usual one does"
    options = tuple(option for option in ("--padding", "--image-size") if option not in settled)
    place = Evidence(f"Padding {describe(chosen).padding} at {chosen.image_side} px gives this map, {usual}.", options)
    others = []
    for padding in (0, 1):
        sides = sorted({fit.image_side for fit in fits if describe(fit).padding == padding})
        if sides:
            others.append(f"padding {padding} at {_range(sides)} px")
    return (place,), (Evidence(f"{' or '.join(others).capitalize()} gives the same map.", options),)


def _range(sides: list[int]) -> str:
    whole = sides == list(range(sides[0], sides[-1] + 1)) and len(sides) > 2
    return f"{sides[0]} to {sides[-1]}" if whole else ", ".join(map(str, sides))


def _open(evidence: tuple[Evidence, ...], settled: set[str]) -> tuple[Evidence, ...]:
    return tuple(fact for fact in evidence if fact.open(settled))


def _plain(value: object) -> str:
    return ", ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else str(value)
