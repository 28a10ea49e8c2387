"""What pictures say of how a network was read: asked by every command, in one place, before anything is measured or shown.

Mean, std and the order of colours by the first batch norm or by labels; the chain by all batch norms; the answers by themselves. Where nobody recorded or gave mean and std and the pictures leave no doubt, what they say is used; else it is told with what to type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import class_network, predict_logits
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.geometry import geometry
from vgg_viz.models.outputs import WRITTEN, class_logits
from vgg_viz.records import Batch, Checkpoint, Evidence, Finding
from vgg_viz.studies.chain_check import ChainCheck, check_chain
from vgg_viz.studies.found_plan import blue_first, found_plan
from vgg_viz.studies.picture_dependence import picture_dependence
from vgg_viz.studies.preprocessing_check import FEWEST, Detection, answers, infer_preprocessing
from vgg_viz.studies.preset import LARGE_GIGAMACS

TEXTS = Texts(__name__)
MEAN_AND_STD = ("--mean", "--std")
# Of the loss of guessing: a large network whose loss lies below reads its pictures well enough not to try ten other ways.
GOOD_LOSS = 0.5

Network = Callable[[Checkpoint], nn.Module]


@dataclass(frozen=True, slots=True)
class Examined:
    """A checkpoint and its network after the pictures were asked.

    Attributes:
        checkpoint: With the mean and std that are used now.
        model: Built from it.
        preprocessing: What the pictures say of mean and std; None where they were not asked.
        used: Whether that is in use now.
        chain: What the batch norms say of the chain; None where there are none, or too few pictures.
        findings: For the top of the page and the first lines of a terminal.
    """

    checkpoint: Checkpoint
    model: nn.Module
    preprocessing: Detection | None = None
    used: bool = False
    chain: ChainCheck | None = None
    findings: tuple[Finding, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What the pictures say, for JSON; None where they were not asked, or cannot tell."""
        found = self.preprocessing
        return {
            "preprocessing": None if found is None else {**found.plain(), "used": self.used},
            "batch_norm": None if self.chain is None else self.chain.facts(),
        }


def examine(
    checkpoint: Checkpoint, model: nn.Module, batch: Batch | None, *, network: Network = class_network, seed: int = 0
) -> Examined:
    """Ask the pictures whether the network is read as it was trained.

    Args:
        checkpoint: As it was opened.
        model: Built from it.
        batch: Pictures such as it was trained on, with labels where there are; None: nobody is asked.
        network: Builds the network anew where mean and std change.
        seed: Of all that is random.
    """
    if batch is None or not len(batch) or _beyond_doubt(checkpoint):
        return Examined(checkpoint, model)
    hardly = _answers_hardly_depend(model, batch, seed)
    found = _detected(checkpoint, model, batch, hardly=hardly, seed=seed) if is_open(checkpoint) else None
    findings: list[Finding] = []
    used = found is not None and found.usable
    if found is not None and found.contradicts:
        findings.append(Finding("warn", found.advice(used=used)))
    if found is not None and used:
        device = next(model.parameters()).device
        checkpoint = with_preprocessing(checkpoint, found)
        model = network(checkpoint).to(device)
        hardly = _answers_hardly_depend(model, batch, seed)
    chain = check_chain(model, batch.images)
    if chain is not None and chain.contradicts and (alarm := _about_chain(checkpoint, chain, batch)):
        findings.insert(0, alarm)
    elif chain is not None and (unexplained := chain.unexplained()):
        findings.append(Finding("warn", unexplained))
    return Examined(checkpoint, model, found, used, chain, (*findings, *_about_answers(hardly=hardly)))


def _about_chain(checkpoint: Checkpoint, chain: ChainCheck, batch: Batch) -> Finding | None:
    """The alarm of a chain that is not the network's own, with the plan that is."""
    if chain.best is None:
        return None
    plan = found_plan(checkpoint, chain.best, batch)
    if plan is None:
        return None
    typed = plan.typed(bgr=chain.best.bgr)
    return Finding("bad", chain.sentence(typed, tail_open=plan.changed and bool(plan.others) and not plan.by_labels))


def _beyond_doubt(checkpoint: Checkpoint) -> bool:
    """What this product wrote is read as it was trained, but for doubts that an export carries; random weights are nobody's."""
    written = checkpoint.provenance.format in WRITTEN and not is_open(checkpoint)
    return written or checkpoint.provenance.format == "untrained"


def is_open(checkpoint: Checkpoint) -> bool:
    """Whether mean and std are only assumed: neither recorded in the file nor given by the user."""
    return any(set(one.settled_by) & set(MEAN_AND_STD) for one in checkpoint.provenance.evidence)


def with_preprocessing(checkpoint: Checkpoint, found: Detection) -> Checkpoint:
    """The checkpoint with the mean and std that pictures named, and with how that is known in the place of the guess."""
    fits = found.fits
    provenance = checkpoint.provenance
    rest = tuple(one for one in provenance.evidence if not set(one.settled_by) & set(MEAN_AND_STD))
    others = tuple(one for one in provenance.alternatives if not set(one.settled_by) & set(MEAN_AND_STD))
    known = Evidence(TEXTS.say("evidence", name=fits.name, by=found.by, pictures=found.pictures), MEAN_AND_STD)
    changed = replace(
        checkpoint,
        architecture=replace(checkpoint.architecture, mean=fits.mean, std=fits.std),
        provenance=replace(provenance, evidence=(*rest, known), alternatives=others),
    )
    return blue_first(changed) if fits.bgr else changed


def _answers_hardly_depend(model: nn.Module, batch: Batch, seed: int) -> bool:
    """Whether all pictures get nearly the same answer; without a classifier there are none."""
    return answers(model) and picture_dependence(model, batch.images, seed=seed).hardly


def _about_answers(*, hardly: bool) -> tuple[Finding, ...]:
    return (Finding("warn", TEXTS.say("hardly")),) if hardly else ()


def _detected(checkpoint: Checkpoint, model: nn.Module, batch: Batch, *, hardly: bool, seed: int) -> Detection | None:
    """What the pictures say; None where asking would cost a large network many passes and nothing hints at a mistake."""
    rows = geometry(model)
    large = sum(row.macs for row in rows) > LARGE_GIGAMACS * 1e9
    labels = batch.labels if checkpoint.architecture.outputs == "softmax" else None
    images = batch.images
    if not answers(model) and not any(row.kind == "bn" for row in rows):
        return None
    if large and not any(row.kind == "bn" for row in rows):
        few = torch.linspace(
            0, len(images) - 1, min(len(images), FEWEST["loss" if labels is not None else "confidence"])
        )
        images, labels = images[few.round().long()], None if labels is None else labels[few.round().long()]
        if labels is None and not hardly:
            return None
        if labels is not None and not _poor(model, images, labels):
            return None
    return infer_preprocessing(model, images, labels, seed=seed)


def _poor(model: nn.Module, images: Tensor, labels: Tensor) -> bool:
    logits = class_logits(model, predict_logits(model, images))
    return float(nn.functional.cross_entropy(logits, labels)) > GOOD_LOSS * log(max(2, logits.shape[1]))
