"""What the file's notes and the user say, put over what shapes said; the guesses that remain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vgg_viz.errors import CheckpointRefused, InputRefused
from vgg_viz.models.build import require_buildable
from vgg_viz.models.formats import ReadCheckpoint
from vgg_viz.models.from_shapes import moved
from vgg_viz.models.metadata import Beside, notes
from vgg_viz.models.vgg import canonical, dense_weights, feature_map
from vgg_viz.records import Architecture, Evidence

OPTIONS = {"arch": "--arch", "image_side": "--image-size", "padding": "--padding", "mean": "--mean", "std": "--std"}
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


def overridden(reading: ReadCheckpoint, arch: str | None, overrides: Mapping[str, Any]) -> ReadCheckpoint:
    """The reading as the user wants it, with the sentences that remain open.

    Args:
        reading: What a format read.
        arch: A variant the user named, or None.
        overrides: Fields of `Architecture`: image_side, padding, mean, std.

    Raises:
        CheckpointRefused: When the weights cannot be those of what was asked for.
        InputRefused: For impossible numbers.
    """
    wanted, weights = reading.architecture, reading.weights
    if arch is not None and canonical(arch) != (wanted.variant, wanted.batch_norm):
        variant, batch_norm = canonical(arch)
        if batch_norm != wanted.batch_norm:
            there = "batch norm" if wanted.batch_norm else "no batch norm"
            raise CheckpointRefused(f"--arch {arch} came, but the file's network has {there}; leave --arch out.")
        new = replace(wanted, variant=variant)
        weights = moved(weights, wanted, new)
        reading = replace(reading, architecture=new, weights=weights, fits=())
    require_buildable(replace(reading.architecture, **overrides))
    chosen = _fitting(reading, overrides)
    if chosen is None:
        raise CheckpointRefused(_contradiction(reading, overrides))
    if reading.slides and feature_map(chosen)[1] > (chosen.pooled or 1):
        chosen, weights = dense_weights(chosen, dict(weights))
        slides = Evidence(f"At {chosen.image_side} px the classifier slides: the dense form.")
        reading = replace(reading, evidence=(*reading.evidence, slides))
    settled = {OPTIONS[name] for name in overrides} | ({"--arch"} if arch else set())
    given = [("arch", arch), *overrides.items()]
    settings = tuple(
        Evidence(f"You set {name.replace('_', ' ')} to {_plain(value)}.") for name, value in given if value is not None
    )
    fits = _others(reading, chosen, overrides)
    place, others = _about_fits(chosen, fits, settled)
    return replace(
        reading,
        architecture=chosen,
        weights=weights,
        fits=fits,
        evidence=(*_open(reading.evidence, settled), *place, *settings),
        alternatives=(*others, *_open(reading.alternatives, settled)),
    )


def _fitting(reading: ReadCheckpoint, wanted: Mapping[str, Any]) -> Architecture | None:
    """The likeliest architecture with these fields that the weights fit; None when there is none."""
    place = {name: value for name, value in wanted.items() if name in ("padding", "image_side")}
    for candidate in (reading.architecture, *reading.fits):
        if all(getattr(candidate, name) == value for name, value in place.items()):
            return replace(candidate, **wanted)
    free = replace(reading.architecture, **wanted)
    fixed = free.pooled is None  # the features' own map is what the classifier reads
    try:
        channels, side = feature_map(free)
        before = feature_map(reading.architecture)
    except InputRefused:
        return None
    if free.dense and free.pooled and side < free.pooled:
        return None
    return None if fixed and (channels, side) != before else free


def _others(reading: ReadCheckpoint, chosen: Architecture, wanted: Mapping[str, Any]) -> tuple[Architecture, ...]:
    """What else the weights fit, of all that agrees with what is settled."""
    place = {name: value for name, value in wanted.items() if name in ("padding", "image_side")}
    return tuple(
        fit
        for fit in reading.fits
        if (fit.padding, fit.image_side) != (chosen.padding, chosen.image_side)
        and all(getattr(fit, name) == value for name, value in place.items())
    )


def _contradiction(reading: ReadCheckpoint, overrides: Mapping[str, Any]) -> str:
    architecture = reading.architecture
    given = " and ".join(
        f"{OPTIONS[name]} {value}" for name, value in overrides.items() if name in ("padding", "image_side")
    )
    try:
        side = feature_map(
            replace(architecture, **{n: v for n, v in overrides.items() if n in ("padding", "image_side")})
        )[1]
        gives = f"which leaves a {side} × {side} map"
    except InputRefused:
        gives = "which leaves no map at all"
    wants = architecture.pooled or feature_map(architecture)[1]
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
    place = Evidence(f"Padding {chosen.padding} at {chosen.image_side} px gives this map, {usual}.", options)
    others = []
    for padding in (0, 1):
        sides = sorted({fit.image_side for fit in fits if fit.padding == padding})
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
