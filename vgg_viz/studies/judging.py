"""How good a classifier is on the pictures of a study: judged once, said in the same words by pages, terminals and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.data.copies import copies_of, hash_pictures
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.judgement import Judged, Judgement, Measured, Training, judge
from vgg_viz.maths.metrics import confusion_counts
from vgg_viz.models.outputs import has_scores
from vgg_viz.records import Checkpoint, Finding, PictureOrigin
from vgg_viz.studies.answers import Answers
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)
PLAIN = ("none", "", None)  # names of no augmentation in a checkpoint's record of its training


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one classifier on one set of pictures, and its findings in words, the leading one first.

    Attributes:
        measured: What was judged.
        judgement: Levels and numbers.
        findings: One for each of the judgement's.
        kept: Places of the pictures that were counted: of exact copies the first.
    """

    measured: Measured
    judgement: Judgement
    findings: tuple[Finding, ...]
    kept: tuple[int, ...]


def verdict_on(
    answers: Answers,
    classes: Sequence[str],
    checkpoint: Checkpoint,
    origin: PictureOrigin | None,
    *,
    shortcut: bool | None = None,
) -> Verdict:
    """Judge what a network answered.

    Args:
        answers: For labelled pictures, of one class each.
        classes: K names, as they are shown.
        checkpoint: Whose record of its training counts too.
        origin: Where the pictures come from; None: nobody knows.
        shortcut: Whether an audit found one; None: none was made.
    """
    hashes, labels = hash_pictures(answers.batch.images), answers.labels.tolist()
    copies = copies_of(hashes, labels)
    first: dict[tuple[str, int], int] = {}
    for at, key in enumerate(zip(hashes, labels, strict=True)):
        first.setdefault(key, at)
    kept = torch.tensor(list(first.values()))
    gap, noise = confidence_gap(answers.confidence[kept], answers.correct[kept])
    # A folder without parts may be what the network was trained on; who gave it knows, nobody else.
    held_out = True if origin is not None and origin.held_out else None
    measured = Measured(
        confusion_counts(answers.predicted[kept], answers.labels[kept], len(classes)).tolist(),
        tuple(classes),
        training=training_of(checkpoint),
        gap=gap,
        gap_noise=noise,
        copies=len(hashes) - len(kept),
        contradictory=copies.contradictory,
        held_out=held_out,
        shortcut=shortcut,
    )
    judgement = judge(measured)
    return Verdict(measured, judgement, findings_of(measured, judgement), tuple(kept.tolist()))


def judged(subject: Subject) -> Verdict | None:
    """The verdict of a report's checkpoint on its labelled pictures; None where nobody can be right or wrong."""
    answers = subject.answers
    if answers is None or not has_scores(subject.checkpoint.architecture):
        return None
    return subject.once(
        "verdict", lambda: verdict_on(answers, subject.classes, subject.checkpoint, subject.inputs.measured_on)
    )


def confidence_gap(confidence: Tensor, correct: Tensor) -> tuple[float, float]:
    """Mean confidence minus accuracy, and the standard error that this has where every confidence is true.

    Args:
        confidence: (N,) probability of the predicted class.
        correct: (N,) bool.
    """
    p = confidence.double()
    noise = float((p * (1 - p)).sum().sqrt()) / len(p)
    return float(p.mean() - correct.double().mean()), noise


def training_of(checkpoint: Checkpoint) -> Training | None:
    """What the file says of its training; None where it says nothing."""
    if not checkpoint.history:
        return None
    return Training(
        right=checkpoint.history[-1].train_accuracy,
        best_validation=max(epoch.val_accuracy for epoch in checkpoint.history),
        plain=checkpoint.provenance.training.get("augment", "unknown") in PLAIN,
    )


def findings_of(measured: Measured, judgement: Judgement) -> tuple[Finding, ...]:
    """The judgement in words."""
    return tuple(Finding(found.level, *_words(found, measured, judgement), found.key) for found in judgement.findings)


def _words(found: Judged, measured: Measured, judged: Judgement) -> tuple[str, str]:
    """Text and detail of one finding."""
    told, held_out = found.evidence, bool(measured.held_out)
    match found.key:
        case "accuracy":
            return (
                TEXTS.say("accuracy.text", found=told, held_out=held_out, copies=measured.copies),
                TEXTS.say("accuracy.detail", found=told, failing=_failing(judged), weaker=_weaker(judged)),
            )
        case "few":
            return TEXTS.say("few.text", found=told), TEXTS.say("few.detail", found=told)
        case "chance":
            totals = [sum(row) for row in measured.counts]
            return (
                TEXTS.say("chance.text", found=told),
                TEXTS.say(
                    "chance.detail",
                    found=told,
                    commonest=measured.classes[totals.index(max(totals))],
                    equal=len(set(totals)) == 1,
                ),
            )
        case "class":
            rows = told["rows"]
            others = (judged.right - sum(row.right for row in rows), judged.n - sum(row.n for row in rows))
            return (
                TEXTS.say("class.text", rows=rows, classes=len(measured.classes)),
                TEXTS.say("class.detail", rows=rows, others=others, judged=judged),
            )
        case "overfit":
            return TEXTS.say("overfit.text", found=told), TEXTS.say("overfit.detail", level=found.level, judged=judged)
        case "confidence":
            right = judged.right / judged.n
            return (
                TEXTS.say("confidence.text", gap=told["gap"], level=found.level),
                TEXTS.say("confidence.detail", claims=right + told["gap"], right=right),
            )
        case "weakest":
            return TEXTS.say("weakest.text", row=told["row"]), TEXTS.say("weakest.detail", found=told)
        case "labels":
            return TEXTS.say("labels.text", pictures=told["pictures"]), TEXTS.say("labels.detail")
        case "copies":
            return TEXTS.say("copies.text", found=told), TEXTS.say("copies.detail", found=told)
        case "split":
            return TEXTS.say("split.text"), TEXTS.say("split.detail")
        case "shortcut":
            return TEXTS.say("shortcut.text"), ""
        case "trace":
            return TEXTS.say("trace.text", weights=told["weights"]), ""
    return TEXTS.say("untested.text"), TEXTS.say("untested.detail")


def _failing(judged: Judgement) -> bool:
    return any(one.key == "class" for one in judged.findings)


def _weaker(judged: Judgement) -> list[str]:
    """Classes that are weaker than the others, the weakest first."""
    told = {one.evidence["row"].name for one in judged.findings if one.key == "weakest"}
    return [row.name for row in judged.rows if row.name in told]
