"""Forensics: weights compared with a random start, their singular values with noise, and layers that look broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np
import torch

from vgg_viz.figures.forensics import LayerSpectrum, LayerWeights, drawn, singular_values, weight_histograms
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.units.forensics import (
    BINS,
    REACH,
    LayerForensics,
    NormForensics,
    examine_norms,
    examine_weights,
    slope_after,
)

TEXTS = Texts(__name__)
COLUMNS = (
    Column("layer"),
    Column("verdict"),
    Column("nearest start"),
    Column("KS distance", "", True),
    Column("variance / start's", "", True),
    Column("moved at least", "spread", True),
    Column("top singular value", "edge", True),
    Column("beyond noise", "", True),
    Column("norm", "", True),
    Column("silent filters", "", True),
    Column("copies", "", True),
    Column("zeros", "%", True),
    Column("distinct", "%", True),
)
CURVE = 25  # points of a start's density


@section("forensics", study="report", order=55, chapter="depth")
def forensics(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Weights beside their starts, singular values beside noise, and the table with dead, copied, cut and rounded weights."""
    layers, norms = examine_weights(subject.model), examine_norms(subject.model)
    yield _histograms(layers, leaky=any(slope_after([layer]) for layer in layers_of(subject.model)))
    yield _spectra(layers)
    yield _table(layers, norms)
    if faults := what_is_wrong(layers, norms):
        untouched = any(layer.verdict != "trained" for layer in layers)
        # Of a variant's name everyone knows that its weights are random; the headline says so.
        if not (subject.checkpoint.provenance.format == "untrained" and untouched):
            yield Finding("warn", faults)


def what_is_wrong(layers: Sequence[LayerForensics], norms: Sequence[NormForensics]) -> str:
    """One line that names everything that no training leaves behind; "" when nothing is wrong."""
    faults = [*_untrained(layers), *_broken(layers, norms)]
    return TEXTS.say("faults.all", faults=faults) if faults else ""


def _untrained(layers: Sequence[LayerForensics]) -> Iterator[str]:
    """Layers that are still as drawn at random, or nearly."""
    untouched = [layer.name for layer in layers if layer.verdict == "untouched"]
    if untouched:
        every = len(untouched) == len(layers)
        yield TEXTS.say("faults.untouched", every=every, count=len(untouched), names=_names(untouched))
    barely_moved = [layer.name for layer in layers if layer.verdict not in ("untouched", "trained")]
    if barely_moved:
        every = len(barely_moved) == len(layers)
        yield TEXTS.say("faults.barely_moved", every=every, count=len(barely_moved), names=_names(barely_moved))


def _broken(layers: Sequence[LayerForensics], norms: Sequence[NormForensics]) -> Iterator[str]:
    """Filters and channels that do nothing or are double, statistics that were never updated, weights cut or rounded."""
    if silent := _nonzero({layer.name: len(layer.silent) for layer in layers}):
        yield TEXTS.say("faults.silent", count=sum(silent.values()), names=_names(silent))
    if copied := _nonzero({layer.name: len({second for _, second in layer.copies}) for layer in layers}):
        yield TEXTS.say("faults.copied", count=sum(copied.values()), names=_names(copied))
    if shut := _nonzero({norm.name: len(norm.shut) for norm in norms}):
        yield TEXTS.say("faults.shut", count=sum(shut.values()), names=_names(shut))
    if collapsed := _nonzero({norm.name: len(norm.collapsed) for norm in norms}):
        yield TEXTS.say("faults.collapsed", count=sum(collapsed.values()), names=_names(collapsed))
    if negative := _nonzero({norm.name: len(norm.negative) for norm in norms}):
        yield TEXTS.say("faults.negative", count=sum(negative.values()), names=_names(negative))
    untrained = {layer.name.removeprefix("conv") for layer in layers if layer.verdict != "trained"}
    stale = [norm.name for norm in norms if norm.never_updated and norm.name.removeprefix("bn") not in untrained]
    if stale and any(layer.verdict == "trained" for layer in layers):
        yield TEXTS.say("faults.stale", names=_names(stale))
    if zeros := [layer.name for layer in layers if layer.zeros > 0.5]:
        yield TEXTS.say("faults.zeros", names=_names(zeros))
    if quantised := [layer.name for layer in layers if layer.quantised]:
        yield TEXTS.say("faults.quantised", names=_names(quantised))


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _names(names: Iterable[str]) -> str:
    """Such as "conv1_1, conv1_2", or the first six and how many more."""
    return TEXTS.say("phrases.names", names=list(names))


def _tally(layers: Sequence[LayerForensics]) -> str:
    """Such as "5 trained, 1 untouched"."""
    counts = Counter(layer.verdict for layer in layers)
    verdicts = [(kind, counts[kind]) for kind in ("trained", "barely moved", "untouched") if counts[kind]]
    return TEXTS.say("phrases.tally", verdicts=verdicts)


def _histograms(layers: Sequence[LayerForensics], *, leaky: bool) -> Exhibit:
    width = 2 * REACH / BINS
    densities = [np.asarray(layer.histogram, float) / (layer.looked * width) for layer in layers]
    across = torch.linspace(-REACH, REACH, CURVE, dtype=torch.float64)
    curves = [
        (layer.fit.start.density(across * layer.fit.start.spread) * layer.fit.start.spread).numpy() for layer in layers
    ]
    least = min(layers, key=lambda layer: layer.fit.moved)
    text = TEXTS.exhibit(
        "weights",
        leaky=leaky,
        layers=len(layers),
        tally=_tally(layers),
        moved=number(least.fit.moved),
        least=least.name,
        nearest=Counter(layer.fit.start.name for layer in layers).most_common(1)[0][0],
        beyond=max(layer.beyond for layer in layers),
        reach=REACH,
    )
    return Exhibit(
        "forensics-weights",
        text.title,
        text.caption,
        text.alt,
        figure=weight_histograms(
            [
                LayerWeights(
                    layer.name,
                    density,
                    start,
                    f"{layer.verdict}, {number(layer.fit.moved, digits=2)} from {layer.fit.start.name}",
                )
                for layer, density, start in zip(layers, densities, curves, strict=True)
            ],
            reach=REACH,
            title="Density of weights, layer by layer",
            subtitle="the line is the nearest start; at the right: the least that weights moved [spreads of that start]",
        ),
        numbers={
            layer.name: {
                "verdict": layer.verdict,
                "start": layer.fit.start.name,
                "spread": layer.fit.start.spread,
                "moved": layer.fit.moved,
                "histogram": layer.histogram,
                "weights": layer.looked,
                "beyond": layer.beyond,
            }
            for layer in layers
        }
        | {"reach": REACH},
    )


def _spectra(layers: Sequence[LayerForensics]) -> Exhibit:
    values = [layer.spectrum.values.numpy() for layer in layers]
    strongest = max(layers, key=lambda layer: layer.spectrum.top)
    text = TEXTS.exhibit(
        "spectrum",
        layers=len(layers),
        beyond=sum(bool(layer.spectrum.beyond) for layer in layers),
        strongest=strongest.name,
        edge=number(strongest.spectrum.top),
        sampled=any(layer.spectrum.shape not in (_matrix(layer), _matrix(layer)[::-1]) for layer in layers),
    )
    return Exhibit(
        "forensics-spectrum",
        text.title,
        text.caption,
        text.alt,
        figure=singular_values(
            [
                LayerSpectrum(
                    layer.name,
                    spectrum,
                    layer.spectrum.lower,
                    f"{number(layer.spectrum.top)} × edge, {layer.spectrum.beyond} beyond noise",
                )
                for layer, spectrum in zip(layers, values, strict=True)
            ],
            title="Singular values, layer by layer",
            subtitle="grey: where noise of the same size and variance lies; the line is its edge",
        ),
        numbers={
            layer.name: {
                "top": layer.spectrum.top,
                "lower_edge": layer.spectrum.lower,
                "beyond": layer.spectrum.beyond,
                "tracy_widom": layer.spectrum.tracy_widom,
                "shown": [round(float(v), 4) for v in drawn(layer.spectrum.values.numpy())],
            }
            for layer in layers
        },
    )


def _matrix(layer: LayerForensics) -> tuple[int, int]:
    return layer.shape[0], prod(layer.shape[1:])


def _table(layers: Sequence[LayerForensics], norms: Sequence[NormForensics]) -> Exhibit:
    halved = [layer.name for layer in layers if layer.half and layer.zeros < 1]
    text = TEXTS.exhibit(
        "layers",
        layers=len(layers),
        tally=_tally(layers),
        silent=sum(len(layer.silent) for layer in layers),
        copies=sum(len(layer.copies) for layer in layers),
        norms=len(norms),
        shut=sum(len(norm.shut) for norm in norms),
        collapsed=sum(len(norm.collapsed) for norm in norms),
        stale=sum(norm.never_updated for norm in norms),
        faults=what_is_wrong(layers, norms),
        halved=_names(halved),
    )
    return Exhibit(
        "forensics-layers",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            COLUMNS,
            tuple(
                (
                    layer.name,
                    f"{layer.verdict} ({layer.why})",
                    layer.fit.start.name,
                    round(layer.fit.distance, 4),
                    round(layer.fit.variance_ratio, 3),
                    round(layer.fit.moved, 3),
                    round(layer.spectrum.top, 3),
                    layer.spectrum.beyond,
                    round(layer.norm, 3),
                    len(layer.silent),
                    len(layer.copies),
                    round(100 * layer.zeros, 2),
                    round(100 * layer.distinct / layer.looked, 1),
                )
                for layer in layers
            ),
        ),
        numbers={
            "verdicts": {layer.name: layer.verdict for layer in layers},
            "silent": {layer.name: layer.silent for layer in layers if layer.silent},
            "copies": {layer.name: layer.copies for layer in layers if layer.copies},
            "norms": {
                norm.name: {
                    "channels": norm.channels,
                    "never_updated": norm.never_updated,
                    "untouched": norm.untouched,
                    "shut": norm.shut,
                    "collapsed": norm.collapsed,
                    "negative": norm.negative,
                }
                for norm in norms
            },
        },
    )
