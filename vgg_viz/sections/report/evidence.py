"""Evidence: what was read from the file, what was inferred from it, and what else it could be."""

from __future__ import annotations

from collections.abc import Iterator

from vgg_viz.attribution import methods
from vgg_viz.gallery.sections import section
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.inspection import ignored
from vgg_viz.studies.preprocessing_check import detected
from vgg_viz.studies.subject import Subject


@section(
    "evidence",
    study="report",
    title="Evidence and methods",
    order=90,
    lead="A report is worth as much as one can check of it: where every number comes from, and what had to be assumed.",
)
def evidence(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Evidence, alternatives, ignored keys; the methods with their sources."""
    provenance = subject.checkpoint.provenance
    architecture = subject.checkpoint.architecture
    rows: list[tuple[str, str]] = [("file", provenance.file), ("format", provenance.format)]
    # What a reader may have to mend comes first.
    rows += [("assumed", str(one)) for one in provenance.evidence if one.assumed]
    rows += [("or else", str(one)) for one in provenance.alternatives]
    rows += [("known", str(one)) for one in provenance.evidence if not one.assumed]
    if provenance.ignored_keys:
        rows.append(("not loaded", ignored(provenance.ignored_keys)))
    rows += [
        (
            "input",
            f"{architecture.in_channels} × {architecture.image_side} × {architecture.image_side}, values in [0, 1]",
        ),
        ("first layer subtracts", ", ".join(f"{v:.4g}" for v in architecture.mean)),
        ("first layer divides by", ", ".join(f"{v:.4g}" for v in architecture.std)),
        ("measured on", subject.material.labelled_from or "nothing: no labelled pictures"),
        ("looked into", subject.material.looked_from or "nothing: no pictures"),
        *([("objects", subject.material.objects)] if subject.material.objects else []),
        (
            "preset",
            f"{subject.preset.name}: {subject.preset.pictures} pictures, {subject.preset.steps} steps, {subject.preset.samples} samples",
        ),
    ]
    if (preprocessing := detected(subject)) is not None:
        rows.append(("preprocessing, by pictures", preprocessing.sentence()))
        if preprocessing.contradicts:
            yield Finding("warn", preprocessing.sentence())
    yield Exhibit(
        "evidence-file",
        "What was read, and what was assumed",
        Caption(
            see="What the checkpoint file says about itself, what was inferred from names and shapes of its tensors, what had to be assumed, and what else would fit.",
            read="A wrong assumption about preprocessing or image side makes a good network look bad: check the rows called assumed first when the "
            "accuracy is lower than you know it to be. Each ends with the options that settle it.",
            cannot="A file of weights cannot prove what pictures it was trained on, nor in which order its classes were.",
        ),
        alt=f"Table of {len(rows)} facts about the checkpoint {provenance.file}.",
        table=Table((Column("what"), Column("how it is known")), tuple(rows)),
        numbers={
            "evidence": [str(one) for one in provenance.evidence],
            "alternatives": [str(one) for one in provenance.alternatives],
            "ignored_keys": provenance.ignored_keys,
        },
    )
    known = methods()
    yield Exhibit(
        "evidence-methods",
        "Methods and their sources",
        Caption(
            see="The attribution methods of this report, with what their values mean and who proposed them. They are computed with Captum, or checked against it where one pass serves many maps.",
            read="Gradient methods ask how the score would change; Grad-CAM asks where the channels that matter are active; occlusion covers a part and "
            "watches the score. They answer different questions, so they may differ and still all be right.",
            cannot="No method shows what the network sees. Each shows one derivative, average or difference"
            + ("; the table of trials says how it fared here." if subject.preset.trust else "."),
        ),
        alt=f"Table of {len(subject.preset.methods)} attribution methods with unit and source.",
        table=Table(
            (Column("method"), Column("what it says"), Column("unit"), Column("source")),
            tuple(
                (known[name].title, known[name].about, known[name].unit, known[name].source)
                for name in subject.preset.methods
            ),
        ),
    )
