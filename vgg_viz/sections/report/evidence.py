"""Evidence: what was read from the file, what was inferred from it, and what else it could be."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.attribution import methods
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.models.outputs import has_scores
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.inspection import ignored
from vgg_viz.studies.subject import Subject

TEXTS = Texts(__name__)


@section("evidence", study="report", order=90, chapter="made")
def evidence(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Evidence, alternatives, ignored keys; the methods with their sources."""
    provenance = subject.checkpoint.provenance
    architecture = subject.checkpoint.architecture
    rows: list[tuple[str, str]] = [("file", provenance.file), ("format", provenance.format)]
    # What a reader may have to mend comes first.
    rows += [("alarm", one.text) for one in provenance.evidence if one.alarm]
    rows += [("assumed", str(one)) for one in provenance.evidence if one.assumed]
    rows += [("or else", str(one)) for one in provenance.alternatives]
    rows += [("known", str(one)) for one in provenance.evidence if not one.assumed and not one.alarm]
    if provenance.ignored_keys:
        rows.append(("not loaded", ignored(provenance.ignored_keys)))
    rows += [
        ("input", TEXTS.say("facts.input", channels=architecture.in_channels, side=architecture.image_side)),
        ("first layer subtracts", ", ".join(f"{v:.4g}" for v in architecture.mean)),
        ("first layer divides by", ", ".join(f"{v:.4g}" for v in architecture.std)),
        ("measured on", subject.inputs.labelled_from or TEXTS.say("facts.no_labelled")),
        ("looked into", subject.inputs.inspected_from or TEXTS.say("facts.no_pictures")),
        *([("objects", subject.inputs.objects)] if subject.inputs.objects else []),
        (
            "preset",
            TEXTS.say(
                "facts.preset",
                name=subject.preset.name,
                pictures=subject.preset.pictures,
                steps=subject.preset.steps,
                samples=subject.preset.samples,
            ),
        ),
    ]
    if subject.examined is not None and (preprocessing := subject.examined.preprocessing) is not None:
        rows.append(("preprocessing, by pictures", preprocessing.advice(used=subject.examined.used)))
    text = TEXTS.exhibit("file", facts=len(rows), file=provenance.file)
    yield Exhibit(
        "evidence-file",
        text.title,
        text.caption,
        text.alt,
        table=Table((Column("what"), Column("how it is known")), tuple(rows)),
        numbers={
            "evidence": [str(one) for one in provenance.evidence],
            "alternatives": [str(one) for one in provenance.alternatives],
            "ignored_keys": provenance.ignored_keys,
        },
    )
    if not has_scores(architecture):
        return  # no method was asked about a class
    known = methods()
    text = TEXTS.exhibit("methods", tested=subject.preset.trust, methods=len(subject.preset.methods))
    yield Exhibit(
        "evidence-methods",
        text.title,
        text.caption,
        text.alt,
        table=Table(
            (Column("method"), Column("what it says"), Column("unit"), Column("source")),
            tuple(
                (known[name].title, known[name].about, known[name].unit, known[name].source)
                for name in subject.preset.methods
            ),
        ),
    )
