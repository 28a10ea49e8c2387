"""What the page says first: the leading finding, what else is worth knowing, and the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vgg_viz.gallery.make_section import SectionResult
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.outputs import has_scores, is_binary
from vgg_viz.models.vgg import title
from vgg_viz.number_text import percent
from vgg_viz.records import Finding
from vgg_viz.studies.alarms import file_alarms, measured_alarms
from vgg_viz.studies.judging import judged
from vgg_viz.studies.output_summary import label_summary, score_summary
from vgg_viz.studies.subject import Subject
from vgg_viz.studies.without_scores import unit_example

TEXTS = Texts(__name__)
# A network whose mean top probability is below this multiple of 1 / K prefers nothing: its weights are near their start.
PREFERS_NOTHING = 2.0
WORST_FIRST = {"bad": 0, "warn": 1, "note": 2, "good": 3}
SHOWN_AT = {  # where the page shows what a finding of the judgement is about
    "class": "section-mistakes",
    "chance": "section-mistakes",
    "weakest": "section-mistakes",
    "accuracy": "section-mistakes",
    "confidence": "mistakes-calibration",
    "overfit": "section-training",
    "labels": "section-data",
    "copies": "section-data",
}


def verdict(subject: Subject, made: Sequence[SectionResult]) -> list[Finding]:
    """The leading finding first, then those of the judgement and of the sections, the worst first."""
    about = subject.checkpoint.architecture
    channel = "" if has_scores(about) else unit_example(about)
    works = [Finding("note", TEXTS.say("channel", unit=channel))] if channel else []
    leading, *others = _headline(subject)
    others += [replace(one, anchor=f"section-{part.section.slug}") for part in made for one in part.findings]
    return [leading, *works, *sorted(others, key=lambda finding: WORST_FIRST[finding.level])]


def alarms(subject: Subject) -> tuple[Finding, ...]:
    """What may make this page one about another network; before the verdict."""
    answers = subject.answers
    if answers is None:
        return file_alarms(subject.checkpoint)
    return measured_alarms(subject.checkpoint, int(answers.correct.sum()), len(answers.labels))


def _headline(subject: Subject) -> list[Finding]:
    found = judged(subject)
    if found is None:
        return [_unmeasured(subject)]
    return [replace(one, anchor=SHOWN_AT.get(one.key, "")) for one in found.findings]


def _unmeasured(subject: Subject) -> Finding:
    if not has_scores(subject.checkpoint.architecture):
        name = title(subject.checkpoint.architecture)
        return Finding("note", TEXTS.say("no_classifier.text"), TEXTS.say("no_classifier.detail", name=name))
    if subject.checkpoint.provenance.format == "untrained":
        return Finding("note", TEXTS.say("untrained.text"), TEXTS.say("untrained.detail"))
    if subject.noun != "class":
        return _of_outputs(subject)
    if (top := mean_top(subject)) is not None and top * len(subject.classes) < PREFERS_NOTHING:
        detail = TEXTS.say("looks_untrained.detail", favourite=top, classes=len(subject.classes))
        return Finding("warn", TEXTS.say("looks_untrained.text"), detail)
    return Finding("note", TEXTS.say("no_labels.text"), TEXTS.say("no_labels.detail"))


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
        "outputs.text",
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
    if (found := judged(subject)) is not None:
        lines.append(("Accuracy", percent(found.judgement.right / found.judgement.n, decimals=1)))
    if subject.checkpoint.history:
        lines.append(("Epochs", str(len(subject.checkpoint.history))))
    return tuple(lines)
