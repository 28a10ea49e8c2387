"""What weights alone tell about their past: as drawn, barely moved, trained, broken, cut or copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from vgg_viz.maths.initialisation import MOST_TRACY_WIDOM, SAMPLE, Fit, Spectrum, drawn_on_grid, fits, spectrum
from vgg_viz.models.names import Layer
from vgg_viz.models.names import layers as layers_of
from vgg_viz.units.health import FilterHealth, filter_health

Verdict = Literal["untouched", "barely moved", "trained"]
BARELY = 0.05  # of the start's spread: a layer that must have gone less than this has hardly been trained
COPY = 0.999  # cosine from which two filters count as one filter written twice
BINS, REACH = 36, 6.0  # of a histogram; how far it reaches on either side, in spreads of the nearest start


@dataclass(frozen=True, slots=True)
class LayerForensics:
    """One convolution or fully connected layer, by its weights and biases alone.

    Attributes:
        fit: The nearest start; spectrum: singular values beside noise.
        why: What decided the verdict, in a few words.
        norm: Frobenius norm of its weights.
        silent: Filters shorter than a thousandth of the longest; copies: pairs of filters with one direction (cosine
            from COPY).
        zeros: Share of weights that are exactly 0, [0, 1].
        distinct: Different values among the `looked` weights, evenly chosen; few of them betray a quantised file.
        half: Every weight is a half-precision or bfloat16 number.
        histogram: (BINS,) of the `looked` weights in each bin of ±REACH spreads of the start; beyond: share outside
            of it, [0, 1].
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    verdict: Verdict
    why: str
    fit: Fit
    spectrum: Spectrum
    norm: float
    silent: tuple[int, ...]
    copies: tuple[tuple[int, int], ...]
    zeros: float
    distinct: int
    looked: int
    half: bool
    histogram: tuple[int, ...]
    beyond: float

    @property
    def quantised(self) -> bool:
        """Fewer values than a byte can name, in a layer of far more weights."""
        return self.distinct <= 256 and self.looked >= 4 * self.distinct and self.zeros < 1


@dataclass(frozen=True, slots=True)
class NormForensics:
    """One batch norm, by its statistics and scales alone.

    Attributes:
        never_updated: Running means all exactly 0 and variances all exactly 1: no picture ever passed in training
            mode.
        untouched: Scales all exactly 1 and shifts all exactly 0: no step was taken.
        shut: Channels whose scale is below a thousandth of the largest: what they say is their shift.
        collapsed: Channels whose running variance is below a millionth of the median: constant in training.
        negative: Channels with a variance below 0, which no data give.
    """

    name: str
    channels: int
    never_updated: bool
    untouched: bool
    shut: tuple[int, ...]
    collapsed: tuple[int, ...]
    negative: tuple[int, ...]


def examine_weights(model: nn.Module) -> tuple[LayerForensics, ...]:
    """Every layer with weights, from the picture up; no picture is needed and nothing is run."""
    health = {layer.layer: layer for layer in filter_health(model, threshold=COPY)}
    layers, chain = [], layers_of(model)
    for place, layer in enumerate(chain):
        weight = getattr(layer.module, "weight", None)
        if layer.kind in ("conv", "fc") and isinstance(weight, Tensor):
            layers.append(_layer(layer, health.get(layer.name), slope_after(chain[place + 1 :])))
    return tuple(layers)


def slope_after(chain: Sequence[Layer]) -> float:
    """The slope below zero of the leaky ReLU that comes before the next layer with weights; 0 where there is none."""
    for layer in chain:
        if isinstance(layer.module, nn.LeakyReLU):
            return float(layer.module.negative_slope)
        if layer.kind in ("conv", "fc"):
            break
    return 0.0


def examine_norms(model: nn.Module) -> tuple[NormForensics, ...]:
    """Every batch norm, from the picture up; () where there is none."""
    return tuple(
        _norm(layer.name, layer.module)
        for layer in layers_of(model)
        if isinstance(layer.module, nn.BatchNorm2d | nn.BatchNorm1d)
    )


def _layer(layer: Layer, health: FilterHealth | None, slope: float) -> LayerForensics:
    name, kind = layer.name, layer.kind
    weight = layer.module.get_parameter("weight").detach().cpu()
    drawn = getattr(layer.module, "bias", None)
    bias = None if drawn is None else drawn.detach().cpu()
    singular = spectrum(weight)
    tried = fits(weight, singular, slope)
    flat = weight.flatten()
    sample = flat[:: max(1, -(-flat.numel() // SAMPLE))]
    half = any(bool((sample.to(kind).float() == sample).all()) for kind in (torch.float16, torch.bfloat16))
    verdict, why = _verdict(weight, bias, tried, singular, half=half)
    norms = weight.flatten(1).norm(dim=1)
    copies = {(pair.first, pair.second) for pair in health.twins} if health else set()
    reach = REACH * tried[0].start.spread
    counts = torch.histc(sample, BINS, -reach, reach)
    return LayerForensics(
        name,
        kind,
        tuple(weight.shape),
        verdict,
        why,
        tried[0],
        singular,
        float(norms.norm()),
        health.silent if health else tuple((norms <= norms.max() / 1000).nonzero().flatten().tolist()),
        tuple(sorted(copies | set(exact_copies(weight)))),
        float((flat == 0).float().mean()),
        int(torch.unique(sample).numel()),
        len(sample),
        half,
        tuple(int(count) for count in counts.tolist()),
        1 - float(counts.sum()) / len(sample),
    )


def _verdict(
    weight: Tensor, bias: Tensor | None, tried: tuple[Fit, ...], singular: Spectrum, *, half: bool
) -> tuple[Verdict, str]:
    """What the layer is, and what decided it.

    Values and singular values say whether the weights can still be a draw. One step hides among them, but not from two exact
    traces: biases that started at 0, and the coarse grid on which uniform draws lie.
    """
    nearest = tried[0]
    if not any(fit.plausible for fit in tried) or singular.tracy_widom > MOST_TRACY_WIDOM:
        if nearest.moved >= BARELY or (singular.beyond and singular.top >= 1 + BARELY):
            return "trained", "outliers beyond noise" if nearest.plausible else "no start draws such weights"
        return "barely moved", "close to a start, but not a draw of it"
    if bias is not None and _moved(bias, 1 / sqrt(prod(weight.shape[1:])), half=half):
        return "barely moved", "weights as drawn, biases have moved"
    drawn = [fit.start for fit in tried if fit.plausible]
    if bias is not None and not _alike(
        bias
    ):  # drawn with the weights, or moved since: only PyTorch's default draws biases
        # It is asked also where a step carried one weight just beyond its bound, which rules the draw itself out.
        drawn = [fit.start for fit in tried if fit.start.bias and (fit.plausible or fit.moved < BARELY)] or drawn
    if not half and all(start.kind == "uniform" and drawn_on_grid(weight, start.bound) is False for start in drawn):
        return "barely moved", "weights off the grid on which they were drawn"
    return "untouched", "cannot be told from a fresh draw"


def _moved(bias: Tensor, default: float, *, half: bool) -> bool:
    """Whether biases can no longer be as they were drawn: all alike (usually 0), or on the grid within ±`default`."""
    if _alike(bias):
        return False
    if (
        float(bias.abs().max()) < default / 100
    ):  # no draw, but what is left of a 0 after steps that cancel, as below batch norm
        return True
    return not half and drawn_on_grid(bias, default) is False


def _alike(bias: Tensor) -> bool:
    return bool((bias == bias[0]).all())


def exact_copies(weight: Tensor) -> tuple[tuple[int, int], ...]:
    """Pairs of filters (first, second) whose weights are equal bit for bit; filters of zeros are left out.

    Args:
        weight: (N, ...); by one sum a filter and a look at those whose sums agree: N filters cost no N² cosines.
    """
    rows = weight.flatten(1)
    shuffle = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(0))
    keys, order = (rows * 1.0 @ shuffle).sort(stable=True)
    near = (keys.diff().abs() <= 1e-4 * keys[1:].abs()).nonzero().flatten().tolist()
    pairs = ((int(order[place]), int(order[place + 1])) for place in near)
    return tuple(
        (min(pair), max(pair))
        for pair in pairs
        if torch.equal(rows[pair[0]], rows[pair[1]]) and bool(rows[pair[0]].any())
    )


def _norm(name: str, module: nn.BatchNorm2d | nn.BatchNorm1d) -> NormForensics:
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        mean, variance = torch.zeros(module.num_features), torch.ones(module.num_features)
    scale, shift = module.weight.detach().cpu(), module.bias.detach().cpu()
    mean, variance = mean.cpu(), variance.cpu()
    return NormForensics(
        name,
        module.num_features,
        not bool(mean.any()) and bool((variance == 1).all()),
        bool((scale == 1).all()) and not bool(shift.any()),
        _where(scale.abs() <= scale.abs().max() / 1000),
        _where((variance >= 0) & (variance <= variance.median() * 1e-6)),
        _where(variance < 0),
    )


def _where(chosen: Tensor) -> tuple[int, ...]:
    return tuple(chosen.nonzero().flatten().tolist())
