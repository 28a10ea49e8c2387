"""What the page says first: one line of verdict, what else is worth knowing, and the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.judgement import Judged, Level, Measured, judge
from vgg_viz.maths.metrics import confusion_counts
from vgg_viz.models.outputs import has_scores, is_binary
from vgg_viz.models.vgg import title
from vgg_viz.number_text import percent
from vgg_viz.records import Finding
from vgg_viz.studies.alarms import file_alarms, measured_alarms
from vgg_viz.studies.output_summary import label_summary, score_summary
from vgg_viz.studies.subject import Answers, Subject
from vgg_viz.studies.without_scores import unit_example

TEXTS = Texts(__name__)
# A network whose mean top probability is below this multiple of 1 / K prefers nothing: its weights are near their start.
PREFERS_NOTHING = 2.0
# How findings of the judgement are called on pages, and which of them it says here; sections say the others.
LEVELS: Mapping[Level, Literal["bad", "warn", "note", "good"]] = {
    "problem": "bad",
    "look": "warn",
    "note": "note",
    "good": "good",
}
SAID = ("few", "class", "chance", "weakest", "accuracy")
WORST_FIRST = {"bad": 0, "warn": 1, "note": 2, "good": 3}


def verdict(subject: Subject, findings: Sequence[Finding]) -> list[Finding]:
    """The one-line verdict first, then what the sections found, the worst first."""
    about = subject.checkpoint.architecture
    channel = "" if has_scores(about) else unit_example(about)
    works = [Finding("note", TEXTS.say("channel", unit=channel))] if channel else []
    leading, *others = _headline(subject)
    return [leading, *works, *sorted((*others, *findings), key=lambda finding: WORST_FIRST[finding.level])]


def alarms(subject: Subject) -> tuple[Finding, ...]:
    """What may make this page one about another network; before the verdict."""
    answers = subject.answers
    if answers is None:
        return file_alarms(subject.checkpoint)
    return measured_alarms(subject.checkpoint, int(answers.correct.sum()), len(answers.labels))


def _headline(subject: Subject) -> list[Finding]:
    answers = subject.answers
    if answers is not None and has_scores(subject.checkpoint.architecture):
        return _judged(subject, answers)
    return [_unmeasured(subject)]


def _unmeasured(subject: Subject) -> Finding:
    if not has_scores(subject.checkpoint.architecture):
        name = title(subject.checkpoint.architecture)
        return Finding("note", TEXTS.say("headline.no_classifier", name=name))
    if subject.checkpoint.provenance.format == "untrained":
        return Finding("note", TEXTS.say("headline.untrained"))
    if subject.noun != "class":
        return _of_outputs(subject)
    if (top := mean_top(subject)) is not None and top * len(subject.classes) < PREFERS_NOTHING:
        return Finding("warn", TEXTS.say("headline.looks_untrained", favourite=top, classes=len(subject.classes)))
    return Finding("note", TEXTS.say("headline.no_labels"))


def _judged(subject: Subject, answers: Answers) -> list[Finding]:
    """What counts of right and wrong answers say, the leading finding first.

    The sections say what else is known: training, confidence, and the weights.
    """
    classes = subject.classes
    counts = confusion_counts(answers.predicted, answers.labels, len(classes))
    judgement = judge(Measured(counts.tolist(), classes))
    # A folder without parts may be what the network was trained on; who gave it knows, the report does not.
    origin = subject.inputs.measured_on
    overall = {
        "share": judgement.right / judgement.n,
        "right": judgement.right,
        "total": judgement.n,
        "low": judgement.low,
        "high": judgement.high,
        "base": judgement.base,
        "held_out": origin is not None and origin.held_out,
    }
    return [
        Finding(LEVELS[found.level], _sentence(found, overall, len(classes)))
        for found in judgement.findings
        if found.key in SAID
    ]


def _sentence(found: Judged, overall: Mapping[str, Any], classes: int) -> str:
    share, right, total, low, high, base, held_out = overall.values()
    together = TEXTS.say("judged.together", share=share, total=total, low=low, high=high, base=base, held_out=held_out)
    if found.key == "few":
        return TEXTS.say("judged.few", right=right, total=total, low=low, high=high)
    if found.key == "chance":
        return TEXTS.say("judged.chance", together=together, base=base)
    if found.key == "class":
        rows = found.evidence["rows"]
        others = (right - sum(row.right for row in rows), total - sum(row.n for row in rows))
        return TEXTS.say("judged.class", rows=rows, others=others, classes=classes, together=together)
    if found.key == "weakest":
        row, others = found.evidence["row"], found.evidence["others"]
        return TEXTS.say("judged.weakest", name=row.name, recall=row.recall, others=others)
    return together


def _of_outputs(subject: Subject) -> Finding:
    """What is measured of labels that stand beside each other, or of scores; where nothing is, what the outputs are."""
    logits, labelled = subject.target_logits, subject.inputs.labelled
    measured = logits is not None and labelled is not None and labelled.targets is not None
    found = {}
    if logits is not None and labelled is not None and labelled.targets is not None:
        summarise = label_summary if subject.noun == "label" else score_summary
        found = summarise(logits, labelled.targets, subject.classes)
    rows = list(found.get("per_class", {}).values())
    text = TEXTS.say(
        "headline.outputs",
        noun=subject.noun,
        outputs=len(subject.classes),
        measured=measured,
        mean=found.get("mean_average_precision"),
        pictures=found.get("n", 0),
        named=sum(row.get("average_precision") is not None for row in rows),
        errors=[row.get("mean_absolute_error") for row in rows],
    )
    return Finding("note", text)


def mean_top(subject: Subject) -> float | None:
    """Mean probability of the favourite class over the pictures looked into, [0, 1]; None without pictures or with few classes."""
    if subject.inspected is None or len(subject.classes) < 5 or subject.outputs != "softmax":
        return None  # of two classes the favourite always has half
    return float(subject.inspected.shown.amax(1).mean())


def facts(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Short facts for the head of the page and for the index."""
    rows = subject.geometry
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    kind = "one logit" if is_binary(subject.checkpoint.architecture) else subject.noun
    lines = [
        ("Network", title(subject.checkpoint.architecture)),
        *(
            [({"class": "Classes", "label": "Labels", "score": "Scores"}[subject.noun], f"{len(subject.classes):,}")]
            if has_scores(subject.checkpoint.architecture)
            else []
        ),
        *([] if subject.outputs == "softmax" else [("Outputs", TEXTS.say("facts.outputs", kind=kind))]),
        ("Input", f"{subject.checkpoint.architecture.image_side} px"),
        ("Parameters", f"{parameters:,}"),
        ("Multiply-adds", f"{macs / 1e9:.2f} G" if macs >= 1e8 else f"{macs / 1e6:.1f} M"),
    ]
    answers = subject.answers
    if answers is not None:
        lines.append(("Accuracy", percent(float(answers.correct.float().mean()), decimals=1)))
    if subject.checkpoint.history:
        lines.append(("Epochs", str(len(subject.checkpoint.history))))
    return tuple(lines)
