"""What was found, each finding with the pictures before and after."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.image_grid import outlined, pixels
from vgg_viz.figures.pictures import CaptionedPicture, picture_rows
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.outputs import meaning
from vgg_viz.records import Exhibit
from vgg_viz.shortcuts.findings import ShortcutFinding
from vgg_viz.shortcuts.region import Region, paint_over, transplant
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.subject import Case

TEXTS = Texts(__name__)
ACROSS = 5  # pictures in a row of transplants and strategies
ENLARGED = 4  # how many times a small picture is enlarged before a line is drawn around a region


@section("findings", study="audit", order=10, when=lambda case: bool(case.seen.findings))
def findings(case: Case) -> Iterator[Exhibit]:
    """Each finding before and after: donors, recipients, transplants, and the class's pictures without the region."""
    if not case.seen.findings:
        raise SectionMissing(TEXTS.say("missing.none"))
    for number, finding in enumerate(case.seen.findings, 1):
        yield _exhibit(case, number, finding)


def _exhibit(case: Case, number: int, finding: ShortcutFinding) -> Exhibit:
    audit, verdict = case.seen, finding.verdict
    name, place = case.classes[finding.wanted], place_of(finding.region, case.side)
    donors = list(finding.places[:ACROSS])
    recipients = _recipients(case, finding.wanted, len(donors))
    text = TEXTS.exhibit("finding", name=name, place=place, verdict=verdict, p=finding.adjusted)
    return Exhibit(
        f"finding-{number}",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(_rows(case, finding, donors, recipients), title=text.title),
        kind="picture",
        numbers={
            "class": name,
            "kind": finding.region.kind,
            "region": finding.region.box,
            "turned": verdict.turned,
            "control": verdict.control,
            "effect": verdict.effect,
            "interval": verdict.interval,
            "log_odds": verdict.odds,
            "p": finding.adjusted,
            "elsewhere": finding.elsewhere,
            "mass": finding.mass,
            "recall": finding.recall,
            "donors": [audit.batch.names[i] for i in donors],
            "recipients": [audit.batch.names[i] for i in recipients],
        },
    )


def _recipients(case: Case, wanted: int, count: int) -> list[int]:
    """Some pictures of other classes that are answered rightly; where objects' places are known, of those with one."""
    audit = case.seen
    others = ((audit.labels != wanted) & audit.right).nonzero()[:, 0]
    if audit.batch.masks is not None:
        others = others[audit.batch.known[others]]
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(case.seed))
    drawn: list[int] = others[order[:count]].tolist()
    return drawn


def _rows(
    case: Case, finding: ShortcutFinding, donors: list[int], recipients: list[int]
) -> list[tuple[str, list[CaptionedPicture]]]:
    """Headings and pictures of the four rows: donors, recipients before and after, donors without the region."""
    batch, labels, region = case.seen.batch, case.seen.labels, finding.region
    name, place = case.classes[finding.wanted], place_of(region, case.side)
    giving, taking = batch.images[donors], batch.images[recipients]
    masks = None if batch.masks is None else (batch.masks[donors[:1]], batch.masks[recipients])
    pasted = transplant(region, giving[:1], taking, masks)[0]
    without = paint_over(region, giving)
    return [
        (TEXTS.say("rows.donors", name=name), _answers(case, giving, labels[donors], region)),
        (TEXTS.say("rows.recipients"), _answers(case, taking, labels[recipients])),
        (TEXTS.say("rows.given", place=place), _answers(case, pasted, labels[recipients], region)),
        (TEXTS.say("rows.without", place=place), _answers(case, without, labels[donors])),
    ]


def _answers(case: Case, images: Tensor, labels: Tensor, region: Region | None = None) -> list[CaptionedPicture]:
    """Pictures with what the network says about them; a region is outlined."""
    probabilities = meaning(predict_logits(case.model, images), case.seen.outputs)
    answers: list[CaptionedPicture] = []
    for picture, probability, label in zip(pixels(images), probabilities, labels.tolist(), strict=True):
        best = int(probability.argmax())
        answer = TEXTS.say("rows.answer", name=case.classes[best], share=float(probability[best]))
        truth = TEXTS.say("rows.truth", name=case.classes[label])
        answers.append(
            (framed(picture, region) if region else enlarged(picture), [(answer, best == label), (truth, None)])
        )
    return answers


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A small picture enlarged whole times, so that lines on it are thin."""
    times = max(1, ENLARGED * 64 // picture.shape[0])
    return picture.repeat(times, 0).repeat(times, 1)


def framed(picture: np.ndarray, region: Region) -> np.ndarray:
    """The picture with a line around a patch, or along the inner edge of a border; as it is for what lies nowhere in particular."""
    large = enlarged(picture)
    if region.kind not in ("patch", "border"):
        return large
    times = large.shape[0] // picture.shape[0]
    mask = region.mask(picture.shape[0]).numpy().repeat(times, 0).repeat(times, 1)
    return outlined(large, mask if region.kind == "patch" else ~mask)
