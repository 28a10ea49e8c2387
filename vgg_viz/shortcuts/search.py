"""The search: which places and properties may a class be known by, and which of them stands the test on pictures not searched in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vgg_viz.shortcuts.evidence import COVERED, EvidenceMaps, object_frequency, suspected_patches
from vgg_viz.shortcuts.intervention import Group, effect_of, shift_of_class, standing_out, transplant_shift
from vgg_viz.shortcuts.region import Region, background, border
from vgg_viz.shortcuts.sampling import SampleSize, between

STANDS_OUT = 2.5  # standard errors from which a suspect is worth a trial
LOOKED_AT = 2.0  # standard errors of the heat maps from which a patch is tried at all
GROWN = 1.2  # a patch half as wide again is preferred when it does this many times as much
PARSIMONY = 0.45  # a narrower region is preferred when it does this share of what the best does, in log-odds
KEPT = 0.5  # a region that keeps this share of what it does without a narrower one in it is not explained by that one
STEADY = (
    0.7  # a patch whose pixels differ within the class by more than this share of what they do elsewhere holds no mark
)


@dataclass(frozen=True, slots=True)
class SuspectRegion:
    """A class and what it may be known by, after the search and before the trial.

    Attributes:
        stands_out: Of transplants, in standard errors.
        effect: Share of recipients turned by carriers beyond controls, on the pictures of the search, [-1, 1].
        attention: Of the heat maps: how far the place stands out, in standard errors; None where it has no place.
    """

    wanted: int
    region: Region
    stands_out: float
    effect: float
    odds: float
    attention: float | None = None


def common_regions(side: int, *, masks: bool) -> list[Region]:
    """What is tried for every class: a thin border, all colours, and the background, which without masks is a wide frame."""
    return [Region("colour"), border(side), background(side, masks=masks)]


def search_regions(  # noqa: PLR0913 - the two parts that pictures play, and what is known of them
    model: nn.Module, donors: Group, recipients: Group, evidence: EvidenceMaps, classes: Sequence[int], size: SampleSize
) -> list[list[SuspectRegion]]:
    """For each class, all that was tried, in the order of narrowness: patches, colours, border, background.

    Args:
        model: The network, which is left as it was.
        donors: Pictures that give the region.
        recipients: Pictures that receive it.
        evidence: Of the donors.
        classes: Those to search, by index.
        size: How many pictures play which part.
    """
    side = donors.images.shape[-1]
    tried: dict[int, list[SuspectRegion]] = {wanted: [] for wanted in classes}
    labels, masks = donors.labels, donors.masks
    for wanted in classes:
        chosen = between(donors, wanted, size)
        for region, attention in suspected_patches(evidence, labels, wanted, masks, most=size.patches):
            # Without masks nobody knows where objects lie: only a patch of like pixels is then taken for a mark.
            if attention < LOOKED_AT or (masks is None and not steady(region, donors.images, labels == wanted)):
                continue
            first = _tried(model, region, chosen, recipients, wanted)
            if (larger := wider(region, side)) != region and free(larger, evidence, labels == wanted, masks):
                grown = _tried(model, larger, chosen, recipients, wanted)
                first = grown if grown.odds > GROWN * first.odds and grown.stands_out >= STANDS_OUT else first
            tried[wanted].append(replace(first, attention=attention))
    some = torch.cat([(labels == wanted).nonzero()[:, 0][: size.donors] for wanted in sorted(set(labels.tolist()))])
    chosen = donors.part(some)
    for region in common_regions(side, masks=masks is not None):
        shift = transplant_shift(model, region, chosen, recipients)
        for wanted in classes:
            read = shift_of_class(shift, chosen.labels, recipients.labels, wanted)
            tried[wanted].append(SuspectRegion(wanted, region, standing_out(read), *effect_of(read)))
    return list(tried.values())


def _tried(model: nn.Module, region: Region, chosen: Group, recipients: Group, wanted: int) -> SuspectRegion:
    read = shift_of_class(transplant_shift(model, region, chosen, recipients), chosen.labels, recipients.labels, wanted)
    return SuspectRegion(wanted, region, standing_out(read), *effect_of(read))


def free(region: Region, evidence: EvidenceMaps, own: Tensor, masks: Tensor | None) -> bool:
    """Whether objects lie in a patch no more often than a suspected patch allows."""
    if region.box is None:
        return False
    x0, y0, x1, y1 = region.box
    taken = object_frequency(evidence, own, masks, min(x1 - x0, y1 - y0), 1)
    return bool(taken[y0, x0] <= COVERED)


def wider(region: Region, side: int) -> Region:
    """The patch half as wide again around its middle, inside the picture."""
    if region.box is None:
        return region
    x0, y0, x1, y1 = region.box
    more = max(1, (x1 - x0) // 4)
    return Region("patch", (max(0, x0 - more), max(0, y0 - more), min(side, x1 + more), min(side, y1 + more)))


def narrowest(
    tried: Sequence[SuspectRegion], left: Callable[[SuspectRegion, SuspectRegion], float]
) -> SuspectRegion | None:
    """The suspect that explains the others of its class; None when nothing stands out.

    A narrow region within a stronger wide one is named when the wide one does little without it; if it still does, the narrow one
    was a part of it. Where neither lies in the other, the narrower that does nearly what the best does is named.

    Args:
        tried: Narrow ones first.
        left: Share of what the first suspect does that it still does when the second's region is left out.
    """
    standing = [suspect for suspect in tried if suspect.stands_out >= STANDS_OUT]
    most = max((suspect.odds for suspect in standing), default=0.0)
    for suspect in standing:
        wide = [other for other in standing if within(suspect.region, other.region) and other.odds > suspect.odds]
        enough = max(other.odds for other in (suspect, *wide)) >= PARSIMONY * most
        if enough and all(left(other, suspect) < KEPT for other in wide):
            return suspect
    return None


def within(narrow: Region, wide: Region) -> bool:
    """Whether a region is a part of what another carries. A background without masks is tiles of a corner, and holds no place."""
    if wide.kind == "background":
        return narrow.kind in ("patch", "border") and wide.width == 0
    if wide.kind != "border" or narrow.kind != "patch" or narrow.box is None or wide.box is None:
        return False
    x0, y0, x1, y1 = narrow.box
    inner = wide.width, wide.width, wide.box[2] - wide.width, wide.box[3] - wide.width
    return x0 < inner[0] or y0 < inner[1] or x1 > inner[2] or y1 > inner[3]


def remaining_effect(
    model: nn.Module, donors: Group, recipients: Group, size: SampleSize
) -> Callable[[SuspectRegion, SuspectRegion], float]:
    """What `narrowest` asks: transplants of a wide region, whole and without a narrow one, from the same donors."""

    def left(wide: SuspectRegion, narrow: SuspectRegion) -> float:
        chosen = between(donors, wide.wanted, size)
        regions = wide.region, replace(wide.region, spared=narrow.region)
        whole, rest = (_tried(model, region, chosen, recipients, wide.wanted).odds for region in regions)
        return rest / whole if whole > 0 else 0.0

    return left


def steady(region: Region, images: Tensor, own: Tensor) -> bool:
    """Whether pictures of a class (own, (N,) bool) hold the same pixels in a patch, as a mark does and the tip of an object does not.

    The middle picture's distance from the medians counts, so that a third of the class may lack the mark.
    """
    if region.box is None:
        return True
    x0, y0, x1, y1 = region.box
    part = images[:, :, y0:y1, x0:x1].flatten(1)
    of_class, of_others = (
        (some - some.median(0).values).square().mean(1).sqrt().median() for some in (part[own], part[~own])
    )
    return bool(of_class <= STEADY * of_others)
