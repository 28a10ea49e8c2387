"""From labelled pictures to findings: one half of the pictures is searched, the other half is what every suspect is tried on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import DataRefused
from vgg_viz.maths.outputs import meaning
from vgg_viz.models.outputs import outputs_of
from vgg_viz.records import Batch
from vgg_viz.shortcuts.evidence import FRAME, EvidenceMaps, evidence_maps
from vgg_viz.shortcuts.intervention import ClassShift, Group, Verdict, intervene, transplant_shift
from vgg_viz.shortcuts.region import Region, paint_over
from vgg_viz.shortcuts.sampling import FEWEST, between, groups, sample_size, searchable, usable
from vgg_viz.shortcuts.search import SuspectRegion, narrowest, remaining_effect, search_regions

ENOUGH = 2  # pictures without which there is nothing to look at or to compare
SHOWN = 12  # pictures named with a finding


@dataclass(frozen=True, slots=True)
class ShortcutFinding:
    """A class that the network knows by something else than its object, with the evidence.

    Attributes:
        verdict: Of transplants onto pictures of other classes.
        adjusted: `p` times the number of suspects that were tried.
        mass: Mean share of the class's heat maps in the region, and of the other classes' there, [0, 1]; None without
            a place.
        elsewhere: The effect of the same size of patch from mirrored places, or None.
        recall: Of the class's own pictures before and after the region is painted over, [0, 1].
        places: Of pictures of the class that speak for it most, among all audited ones.
    """

    wanted: int
    region: Region
    verdict: Verdict
    adjusted: float
    mass: tuple[float, float] | None
    elsewhere: float | None
    recall: tuple[float, float]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit saw.

    Attributes:
        logits: (N, K); evidence of all pictures.
        suspects: What was searched, for each class.
        tried: The suspects that were tried on the other half, with their verdicts; findings and leanings are among
            them.
        leanings: Tried suspects that move the log-odds as a finding does, and change hardly any answer.
        too_few: Classes with too few pictures to be searched; where that is all, nothing was tested.
    """

    batch: Batch
    labels: Tensor
    logits: Tensor
    evidence: EvidenceMaps
    suspects: tuple[tuple[SuspectRegion, ...], ...]
    tried: tuple[tuple[SuspectRegion, Verdict], ...]
    findings: tuple[ShortcutFinding, ...]
    too_few: tuple[int, ...]
    leanings: tuple[tuple[SuspectRegion, Verdict], ...] = ()
    outputs: str = "softmax"

    @property
    def right(self) -> Tensor:
        """(N,) bool: answered rightly."""
        return self.logits.argmax(1) == self.labels


def audit(
    model: nn.Module,
    batch: Batch,
    *,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Audit:
    """Search for what a network looks at instead of the object, and test what was found.

    Args:
        model: The network, which is left as it was.
        batch: Labelled pictures, labels in the network's order; with masks or boxes, a background is known and not
            guessed. Where some pictures have none, only those with one are searched and tried, or the audit goes
            without where that leaves less than half of the pictures.
        classes: To search; None: all that have at least FEWEST pictures; where none has, or there is one class only,
            nothing is searched, and the answers and heat maps are all that is returned.
        seed: Of halves, roles and exchanges.
        progress: Called with the name of each step that begins.

    Raises:
        DataRefused: For pictures without labels, or a single picture.
    """
    tell = progress or (lambda _text: None)
    if batch.labels is None:
        raise DataRefused(
            "the pictures have no labels; an audit needs a folder with one folder of pictures for each class."
        )
    labels = batch.labels
    batch, placed = usable(batch)
    asked, enough = searchable(labels, placed, classes)
    if len(batch) < ENOUGH:
        raise DataRefused(
            f"{len(batch)} labelled picture came; an audit compares pictures, so it needs {ENOUGH} at least, and {FEWEST} of a class "
            "to test anything: give more with --data or --limit, or ask about this one with `explain`."
        )
    tell("answers")
    logits = predict_logits(model, batch.images)
    right = logits.argmax(1) == labels
    size, steps = sample_size(model, len(batch), len(enough))
    tell("heat maps")
    evidence = evidence_maps(model, batch.images, labels, steps=steps)
    if not enough:
        return Audit(batch, labels, logits, evidence, (), (), (), tuple(asked), outputs=outputs_of(model))
    (donors, recipients), (givers, receivers) = groups(batch, placed, right, size, seed)
    tell("search")
    searched = search_regions(model, donors, recipients, evidence.part(donors.places), enough, size)
    left = remaining_effect(model, donors, recipients, size)
    chosen = [best for tried in searched if (best := narrowest(tried, left)) is not None]
    tell("trial")
    tried, findings, leanings = [], [], []
    for suspect in chosen:
        givers_between = between(givers, suspect.wanted, size.of_trial)
        outcome = intervene(model, suspect.region, givers_between, receivers, suspect.wanted, seed=seed)
        if outcome is None:
            continue
        shift, verdict = outcome
        tried.append((suspect, verdict))
        grade = verdict.grade(len(chosen))
        if grade == "leaning":
            leanings.append((suspect, verdict))
        elif grade == "finding":
            tested = torch.cat([givers.places, receivers.places]).sort().values
            trial = _Trial(
                suspect, verdict, shift, givers_between, receivers, min(1.0, verdict.p * len(chosen)), tested
            )
            findings.append(_finding(model, batch.images, labels, evidence, trial))
    findings.sort(key=lambda finding: (-finding.verdict.effect, -finding.verdict.odds))
    return Audit(
        batch,
        labels,
        logits,
        evidence,
        tuple(map(tuple, searched)),
        tuple(tried),
        tuple(findings),
        tuple(label for label in asked if label not in enough),
        tuple(leanings),
        outputs_of(model),
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """A suspect that was tried: who gave and received, what that did, and all pictures of the trial, by place."""

    suspect: SuspectRegion
    verdict: Verdict
    shift: ClassShift
    donors: Group
    recipients: Group
    adjusted: float
    tested: Tensor


def _finding(
    model: nn.Module, images: Tensor, labels: Tensor, evidence: EvidenceMaps, trial: _Trial
) -> ShortcutFinding:
    """The finding with what else is worth knowing about it, all on pictures that were not searched."""
    wanted, region = trial.suspect.wanted, trial.suspect.region
    donors, recipients, shift, tested = trial.donors, trial.recipients, trial.shift, trial.tested
    ranked = donors.places[shift.own][shift.odds[shift.own].mean(1).argsort(descending=True, stable=True)]
    side = images.shape[-1]
    mass = None
    if region.kind in ("patch", "border"):
        inside = evidence.inside(region.mask(side))
        mass = float(inside[labels == wanted].mean()), float(inside[labels != wanted].mean())
    own = donors.part((donors.labels == wanted).nonzero()[:, 0])
    moved = []
    for place in region.moved(side):
        turned = transplant_shift(model, place, own, recipients).turn[:, recipients.labels != wanted, wanted]
        moved.append(float(turned.mean()) - trial.verdict.control)
    pictures = images[tested[labels[tested] == wanted]]
    before, after = (
        float((predict_logits(model, version).argmax(1) == wanted).float().mean())
        for version in (pictures, paint_over(region, pictures))
    )
    return ShortcutFinding(
        wanted,
        region,
        trial.verdict,
        trial.adjusted,
        mass,
        max(moved) if moved else None,
        (before, after),
        tuple(ranked[:SHOWN].tolist()),
    )


def suspicion(seen: Audit) -> tuple[Tensor, list[tuple[str, ...]]]:
    """How much each picture deserves a look, and why.

    Returns:
        (N,) from 0 up, and the reasons in words: each counts what lies beyond the usual of these pictures.
    """
    probability = meaning(seen.logits, seen.outputs).amax(1)
    parts = {"confident and wrong": probability * ~seen.right}
    side = seen.batch.images.shape[-1]
    if seen.batch.masks is not None:
        parts["looks beside the object"] = _beyond(share_beside(seen)).nan_to_num(0.0)
    frame = Region("border", (0, 0, side, side), max(1, round(FRAME * side))).mask(side)
    parts["looks at the edge"] = _beyond(seen.evidence.inside(frame))
    parts["methods disagree"] = _beyond(1 - seen.evidence.agreement.nan_to_num(0.0))
    score = torch.stack(list(parts.values())).sum(0)
    words = [tuple(name for name, part in parts.items() if float(part[i]) > 0.5) for i in range(len(score))]
    return score, words


def share_beside(seen: Audit) -> Tensor:
    """Share of each picture's evidence that lies beside its object or box, (N,) in [0, 1]; NaN where nobody knows the place."""
    if seen.batch.masks is None:
        return torch.full((len(seen.labels),), math.nan)
    return (1 - seen.evidence.inside(seen.batch.masks)).masked_fill(~seen.batch.known, math.nan)


def _beyond(values: Tensor) -> Tensor:
    """How far values lie above their median, as a share of four robust deviations, [0, 1]; NaN counts for nothing and stays."""
    middle = values.nanmedian()
    spread = (values - middle).abs().nanmedian() * 1.4826
    return ((values - middle) / (4 * spread).clamp(min=1e-6)).clamp(0, 1)
