"""How good an answer is: of a classifier, of its confidence, of a map that says where it looked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

# ---------------------------------------------------------------- answers


def top_k_correct(logits: Tensor, labels: Tensor, *, k: int = 1) -> Tensor:
    """Whether each label is among the k highest logits.

    topk leaves the order of equal logits open: a network whose logits are all the same would be right by luck of the sort.

    Args:
        logits: (N, K), higher is more likely.
        labels: (N,) class index.
        k: How many guesses count.

    Returns:
        (N,) bool, equal logits rank by class index, so k = 1 agrees with argmax; a NaN is never right.
    """
    own = logits.gather(1, labels[:, None])
    classes = torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (classes < labels[:, None])) | logits.isnan()
    return (before.sum(1) < k) & ~own[:, 0].isnan()


def accuracy(logits: Tensor, labels: Tensor, *, k: int = 1) -> float:
    """Share of the N pictures whose label is among the k highest logits, [0, 1]; NaN when N is 0."""
    return float(top_k_correct(logits, labels, k=k).double().mean())


def confusion_counts(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often class i (row) was called class j (column): (K, K) int64, summing to the number of pictures."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def wilson_interval(hits: float, n: int, *, z: float = 1.96) -> tuple[float, float]:
    """Where the true share lies when `hits` of `n` were seen; z = 1.96 gives 95 %.

    Unlike p +- z sqrt(p (1 - p) / n) it never leaves [0, 1], and 10 of 10 is not taken for certainty.
    Source: Wilson, "Probable Inference", JASA 1927.

    Returns:
        (low, high) in [0, 1]; (0, 1) when nothing was seen.
    """
    if n == 0:
        return 0.0, 1.0
    share, pull = hits / n, z * z / n
    middle = (share + pull / 2) / (1 + pull)
    reach = z / (1 + pull) * math.sqrt(share * (1 - share) / n + pull / (4 * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """How often two equally good networks would disagree as unevenly as this: the exact two-sided McNemar test.

        p = min(1, 2 P(X <= min(only_first, only_second))),  X ~ Binomial(only_first + only_second, 1/2)

    Pictures that both got right, or both wrong, say nothing about which is better. Counted in whole numbers: no approximation
    that fails for few pictures. Source: McNemar, "Sampling error of the difference between correlated proportions", 1947.

    Args:
        only_first: Pictures that only the first network got right.
        only_second: Pictures that only the second got right.

    Returns:
        [0, 1]; 1 when they never disagree.
    """
    disagreements = only_first + only_second
    term, below = 1, 1
    for k in range(1, min(only_first, only_second) + 1):
        term = term * (disagreements - k + 1) // k  # "disagreements over k", from the one before
        below += term
    return min(1.0, 2 * below / (1 << disagreements))


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int, *, z: float = 1.96
) -> tuple[float, float]:
    """Where the true difference of two accuracies on the same pictures lies: second minus first; z = 1.96 gives 95 %.

    Wilson's intervals of the two accuracies, joined with regard to how much the two go together: two intervals that overlap can
    still leave a clear difference when both networks fail on the same pictures.
    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data", 1998,
    method 10.

    Args:
        both: Pictures that both networks got right.
        only_first: Only the first.
        only_second: Only the second.
        neither: Neither.
        z: Standard errors of the interval: 1.96 for 95 %.

    Returns:
        (low, high) in [-1, 1]; (-1, 1) when nothing was seen.
    """
    n = both + only_first + only_second + neither
    if n == 0:
        return -1.0, 1.0
    first, second = (both + only_first) / n, (both + only_second) / n
    (low1, high1), (low2, high2) = (
        wilson_interval(both + only_first, n, z=z),
        wilson_interval(both + only_second, n, z=z),
    )
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    apart = both * neither - only_first * only_second
    together = (max(apart - n / 2, 0) if apart > 0 else apart) / math.sqrt(margins) if margins else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * together * a * b + b * b))

    difference = second - first
    return (
        max(-1.0, difference - reach(second - low2, high1 - first)),
        min(1.0, difference + reach(high2 - second, first - low1)),
    )


def bootstrap_interval(values: Tensor, *, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Where the mean of `values` (N,) would lie in 95 % of repetitions, by drawing N of them again and again.

    NaNs are left out; (NaN, NaN) when nothing remains. Source: Efron, "Bootstrap Methods", Annals of Statistics 1979.
    """
    known = values.detach().double().cpu().flatten()
    known = known[~known.isnan()]
    if known.numel() == 0:
        return math.nan, math.nan
    draws = torch.randint(len(known), (rounds, len(known)), generator=torch.Generator().manual_seed(seed))
    low, high = known[draws].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def entropy(probabilities: Tensor) -> Tensor:
    """How undecided a distribution over the last axis is [nat]: 0 when certain, ln K when all K are equal."""
    total: Tensor = torch.special.entr(probabilities).sum(-1)
    return total


# ---------------------------------------------------------------- confidence


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures of similar confidence: what the network promised, and what it kept."""

    low: float  # smallest confidence that belongs here, [0, 1]
    high: float  # largest
    count: int  # pictures
    confidence: float  # mean promised, [0, 1]
    accuracy: float  # share kept, [0, 1]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, and the bins (never empty ones) that it was computed from.

    Attributes:
        error: Sum over bins of count / N |accuracy - confidence|, [0, 1].
    """

    error: float
    bins: tuple[Bin, ...]


def calibration(
    confidences: Tensor, correct: Tensor, *, bins: int = 10, by: Literal["mass", "width"] = "mass"
) -> Calibration:
    """Does the network know how often it is right?

    A trained network puts most pictures above 0.9: with equal widths most bins then rest on a handful of them.
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    Args:
        confidences: (N,) probability of the predicted class, [0, 1].
        correct: (N,) bool, was the prediction right.
        bins: How many bins.
        by: "mass": bins hold (nearly) equally many pictures; equal confidences never part; "width": bins (i / bins, (i
            + 1) / bins] of [0, 1], the textbook diagram.
    """
    confidence, right = confidences.double(), correct.double()
    if confidence.numel() == 0:
        return Calibration(math.nan, ())
    if by == "mass":
        ordered = confidence.sort().values
        starts = [round(i * len(ordered) / bins) for i in range(1, bins)]
        edges = torch.unique(ordered[[s for s in starts if s < len(ordered)]])
        index = torch.bucketize(confidence, edges, right=True)
        bounds = [(math.nan, math.nan)] * bins
    else:
        # Decided against the printed edges and not by conf * bins: 0.7 * 10 is 7.000000000000001.
        edges = torch.arange(1, bins, dtype=torch.float64, device=confidence.device) / bins
        index = torch.bucketize(confidence, edges, right=False)
        bounds = [(i / bins, (i + 1) / bins) for i in range(bins)]
    members = []
    for i in sorted(set(index.tolist())):
        here = index == i
        low, high = bounds[i] if by == "width" else (float(confidence[here].min()), float(confidence[here].max()))
        members.append(Bin(low, high, int(here.sum()), float(confidence[here].mean()), float(right[here].mean())))
    error = sum(b.count / len(confidence) * abs(b.accuracy - b.confidence) for b in members)
    return Calibration(error, tuple(members))


# ---------------------------------------------------------------- maps


def average_ranks(values: Tensor) -> Tensor:
    """Place of each value in its row (B, N), from 0, float64; equal values share the mean of their places."""
    ordered = values.sort(dim=-1).values
    first = torch.searchsorted(ordered, values.contiguous(), right=False)
    behind = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (first + behind - 1).double() / 2


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of each pair of maps: do they order the pixels alike?

    Args:
        a: (B, ...), same shape, any unit.
        b: The same shape.

    Returns:
        (B,), [-1, 1], float64; NaN where a map is flat and so has no order.
    """
    x, y = (average_ranks(m.detach().float().flatten(1)) for m in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()


def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of a map's positive mass that lies on the object.

    A map that knows nothing gets the object's share of the picture: compare with that, not with 0.

    Args:
        maps: (B, H, W), negative values count as nothing.
        masks: (B, H, W) bool, True on the object.

    Returns:
        (B,), [0, 1], float64; NaN where the map has no positive value, or the mask is empty: nobody knows.
    """
    mass = maps.double().clamp(min=0)
    share: Tensor = (mass * masks).sum((1, 2)) / mass.sum((1, 2))
    return share.masked_fill(~masks.any(-1).any(-1), math.nan)


def pointing_hits(maps: Tensor, masks: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Whether the highest pixel of each map lies on the object, or within `tolerance` of it [px].

    argmax would take the first of several maxima, the top left one: a flat map would be judged by its corner.
    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.

    Args:
        maps: (B, H, W).
        masks: (B, H, W) bool.
        tolerance: How far from the mask still hits [px].

    Returns:
        (B,), 1 hit, 0 miss, float64; several pixels that share the maximum count by the share of them that hits; NaN
            where the mask is empty.
    """
    reach = math.floor(tolerance)
    if reach > 0:
        offsets = torch.arange(-reach, reach + 1, device=maps.device)
        disc = (offsets[:, None].square() + offsets.square() <= tolerance**2).to(torch.float32)
        near = F.conv2d(masks[:, None].to(torch.float32), disc[None, None], padding=reach)[:, 0] > 0.5
    else:
        near = masks.bool()
    peaks = maps == maps.amax((1, 2), keepdim=True)
    hits: Tensor = (peaks & near).sum((1, 2)).double() / peaks.sum((1, 2))
    return hits.masked_fill(~masks.any(-1).any(-1), math.nan)


def best_threshold_iou(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """How well {map >= threshold} can cover the object, at the best threshold of each picture.

    The threshold is chosen with the mask in sight: an upper bound of what the map could do, not a segmentation score.

    Args:
        maps: (B, H, W).
        masks: (B, H, W) bool.

    Returns:
        IoU (B,) [0, 1] and the threshold (B,) in the unit of the map; all thresholds are tried, not a grid; NaN where
            the mask is empty.
    """
    values, order = maps.double().flatten(1).sort(dim=1, descending=True)
    inside = masks.flatten(1).gather(1, order).double()
    hit = inside.cumsum(1)
    covered = torch.arange(1, values.shape[1] + 1, device=maps.device)
    iou = hit / (covered + inside.sum(1, keepdim=True) - hit)
    # A threshold cannot part equal values: only the last of each group is a real choice.
    splits = F.pad(values[:, 1:] < values[:, :-1], (0, 1), value=True)
    best = iou.where(splits, -1.0).max(1)
    nobody = ~masks.any(-1).any(-1)
    thresholds = values.gather(1, best.indices[:, None])[:, 0]
    return best.values.masked_fill(nobody, math.nan), thresholds.masked_fill(nobody, math.nan)
