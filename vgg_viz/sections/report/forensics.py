"""Forensics: what the weights alone tell about how they came to be, without any picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from vgg_viz.figures.forensics import drawn, singular_values, weight_histograms
from vgg_viz.figures.style import number
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.subject import Subject
from vgg_viz.units.forensics import BINS, REACH, LayerForensics, NormForensics, examine_norms, examine_weights

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


@section(
    "forensics",
    study="report",
    title="Forensics",
    order=55,
    lead="Before training, weights are random numbers of a known kind. What is still like that was not trained; what is like nothing that training leaves was broken or cut.",
)
def forensics(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Weights beside their starts, singular values beside noise, and the table with dead, copied, cut and rounded weights."""
    found, norms = examine_weights(subject.model), examine_norms(subject.model)
    yield _histograms(found)
    yield _spectra(found)
    yield _table(found, norms)
    if wrong := what_is_wrong(found, norms):
        untouched = any(layer.verdict != "trained" for layer in found)
        # Of a variant's name everyone knows that its weights are random; the headline says so.
        if not (subject.checkpoint.provenance.format == "untrained" and untouched):
            yield Finding("warn", wrong)


def what_is_wrong(layers: Sequence[LayerForensics], norms: Sequence[NormForensics]) -> str:
    """One line that names everything that no training leaves behind; "" when nothing is wrong."""
    trained = any(layer.verdict == "trained" for layer in layers)
    faults = []
    for verdict, what in (
        ("untouched", "still as drawn at random"),
        ("barely moved", "hardly moved from random numbers"),
    ):
        names = [layer.name for layer in layers if layer.verdict == verdict]
        if len(names) == len(layers):
            faults.append(f"all {counted(len(names), 'layer')} are {what}: this file was not trained")
        elif names:
            faults.append(f"{_names(names)} {'is' if len(names) == 1 else 'are'} {what}")
    fresh = {layer.name.removeprefix("conv") for layer in layers if layer.verdict != "trained"}
    for what, several, chosen in (
        ("silent filter", "silent filters", [(layer.name, len(layer.silent)) for layer in layers]),
        (
            "copied filter",
            "copied filters",
            [(layer.name, len({second for _, second in layer.copies})) for layer in layers],
        ),
        (
            "channel shut by a scale near 0",
            "channels shut by a scale near 0",
            [(norm.name, len(norm.shut)) for norm in norms],
        ),
        (
            "channel that never varied in training",
            "channels that never varied in training",
            [(norm.name, len(norm.collapsed)) for norm in norms],
        ),
        ("running variance below 0", "running variances below 0", [(norm.name, len(norm.negative)) for norm in norms]),
    ):
        hit = [(name, count) for name, count in chosen if count]
        if hit:
            faults.append(
                f"{counted(sum(count for _, count in hit), what, several)} in {_names([name for name, _ in hit])}"
            )
    stale = [norm.name for norm in norms if norm.never_updated and norm.name.removeprefix("bn") not in fresh]
    if trained and stale:
        faults.append(f"the running statistics of {_names(stale)} were never updated (mean 0, variance 1)")
    for what, names in (
        ("more than half of the weights are exactly 0", [layer.name for layer in layers if layer.zeros > 0.5]),
        (
            "the weights have at most 256 different values, as after rounding to a byte",
            [layer.name for layer in layers if layer.quantised],
        ),
    ):
        if names:
            faults.append(f"in {_names(names)} {what}")
    return f"The weights show traces to look into: {'; '.join(faults)} (see Forensics)." if faults else ""


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _tally(layers: Sequence[LayerForensics]) -> str:
    counts = Counter(layer.verdict for layer in layers)
    return ", ".join(f"{counts[kind]} {kind}" for kind in ("trained", "barely moved", "untouched") if counts[kind])


def _histograms(layers: Sequence[LayerForensics]) -> Exhibit:
    width = 2 * REACH / BINS
    densities = [np.asarray(layer.histogram, float) / (layer.looked * width) for layer in layers]
    across = torch.linspace(-REACH, REACH, CURVE, dtype=torch.float64)
    curves = [
        (layer.fit.start.density(across * layer.fit.start.spread) * layer.fit.start.spread).numpy() for layer in layers
    ]
    nearest = Counter(layer.fit.start.name for layer in layers).most_common(1)[0][0]
    least = min(layers, key=lambda layer: layer.fit.moved)
    most = max(layer.beyond for layer in layers)
    return Exhibit(
        "forensics-weights",
        "Weights beside the random numbers they started from",
        Caption(
            see="One row per layer. Blue: how many of its weights have which value; the height is a logarithm, so that rare weights show. The orange line: the "
            "random numbers that such a layer is usually filled with before training, the nearest of eight usual ways (PyTorch's default, He, Xavier, "
            "normal with spread 0.01 or 0.1). Every row is measured in the spread of its own start.",
            read=f"Blue exactly under the line: nothing has been learned there, or next to nothing. Training lengthens the tails first. Here: {_tally(layers)}. "
            "The number at the right is a lower bound: the least that a weight must have moved, root mean square, in spreads of the start; "
            f"the smallest is {number(least.fit.moved)} in {least.name}, most layers are nearest to {nearest}."
            + (f" Up to {percent(most)} of a layer lies beyond ±{REACH:g} spreads." if most else ""),
            cannot="How far the weights really went: only the file from before training could say. And moved is not learned: noise moves weights too.",
        ),
        alt=f"Histograms of the weights of {counted(len(layers), 'layer')} on a logarithmic height beside their random starts; {_tally(layers)}.",
        figure=weight_histograms(
            [layer.name for layer in layers],
            densities,
            curves,
            [f"{layer.verdict}, {number(layer.fit.moved, digits=2)} from {layer.fit.start.name}" for layer in layers],
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
    out = [layer for layer in layers if layer.spectrum.beyond]
    top = max(layers, key=lambda layer: layer.spectrum.top)
    cut = any(layer.spectrum.shape not in (_matrix(layer), _matrix(layer)[::-1]) for layer in layers)
    return Exhibit(
        "forensics-spectrum",
        "Singular values beside those of noise",
        Caption(
            see="A layer is a matrix: a row for each filter, a column for each value that it reads. Ticks are its singular values, the strengths of the directions that it "
            "passes on. The grey band is where all of them would lie if the weights were noise of the same size and variance (the law of Marchenko and Pastur)."
            + (" Of layers with many filters, evenly chosen rows and columns are taken." if cut else ""),
            read="An orange tick far beyond the band is a direction that training has written into the layer. "
            + (
                f"{counted(len(out), 'layer').capitalize()} of {len(layers)} {'has' if len(out) == 1 else 'have'} one or more clearly beyond it"
                if out
                else "No layer has one clearly beyond it"
            )
            + f"; the strongest is {number(top.spectrum.top)} times the edge, in {top.name}.",
            cannot="A small layer can be trained all the same without leaving the band: with few filters, what was learned spreads over all directions. "
            "The histograms above look at the values instead.",
        ),
        alt=f"Singular values of {counted(len(layers), 'layer')} over the band of noise; {len(out)} of them reach clearly beyond, the most in "
        f"{top.name} with {number(top.spectrum.top)} times the edge.",
        figure=singular_values(
            [layer.name for layer in layers],
            values,
            [layer.spectrum.lower for layer in layers],
            [f"{number(layer.spectrum.top)} × edge, {layer.spectrum.beyond} beyond noise" for layer in layers],
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
    columns = 1
    for side in layer.shape[1:]:
        columns *= side
    return layer.shape[0], columns


def _table(layers: Sequence[LayerForensics], norms: Sequence[NormForensics]) -> Exhibit:
    wrong = what_is_wrong(layers, norms)
    halved = [layer.name for layer in layers if layer.half and layer.zeros < 1]
    stale = sum(norm.never_updated for norm in norms)
    normed = (
        f" {counted(len(norms), 'batch norm')}: {counted(sum(len(norm.shut) for norm in norms), 'channel')} shut by a scale near 0, "
        f"{counted(sum(len(norm.collapsed) for norm in norms), 'channel')} that never varied in training, "
        f"{stale or 'none'} with statistics that were never updated."
        if norms
        else ""
    )
    return Exhibit(
        "forensics-layers",
        "Every layer's file, in numbers",
        Caption(
            see="A row per layer. KS distance: the largest gap between the distribution of its weights and that of the nearest start (0: the same). Moved at least: as above. "
            "Silent: filters shorter than a thousandth of the longest. Copies: pairs of filters that point the same way (cosine from 0.999). "
            "Distinct: different values among the weights looked at; float32 training leaves nearly all different."
            + normed,
            read=(
                wrong
                or "Nothing here looks broken: no layer left as it was drawn, no silent or copied filter, no cut or rounded weights."
            )
            + (
                f" The weights of {_names(halved)} are half-precision numbers, so the exact traces of the draw are lost there."
                if halved
                else ""
            )
            + " Untouched and barely moved are told apart by exact traces: biases that began at 0, and the coarse grid on which uniform random numbers lie. "
            "NaN and infinite weights never come this far: such a file is refused, and every layer that holds one is named.",
            cannot="A verdict of untouched says that the weights cannot be told from fresh random ones. One step on a layer with normal weights and no biases leaves no trace.",
        ),
        alt=f"Table of {counted(len(layers), 'layer')}: {_tally(layers)}; {counted(sum(len(layer.silent) for layer in layers), 'silent filter')}, "
        f"{counted(sum(len(layer.copies) for layer in layers), 'copy', 'copies')}.",
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
