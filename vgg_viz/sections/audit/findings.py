"""What was found, each finding with the pictures before and after."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.comparison import Told, picture_rows
from vgg_viz.figures.image_grid import outlined, pixels
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Exhibit, Finding
from vgg_viz.shortcuts.findings import Found
from vgg_viz.shortcuts.region import Region, carried, removed
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.audit_case import Case

ACROSS = 5  # pictures in a row of transplants and strategies


ENLARGED = 4  # how many times a small picture is enlarged before a line is drawn around a region


@section(
    "findings",
    study="audit",
    title="Findings",
    order=10,
    when=lambda case: bool(case.seen.findings),
    lead="What stood the trial: pictures of other classes before and after a transplant.",
)
def findings(case: Case) -> Iterator[Exhibit | Finding]:
    """Each finding before and after: donors, recipients, transplants, and the class's pictures without the region."""
    if not case.seen.findings:
        raise SectionMissing("No finding stood the trial, so there is nothing to show before and after.")
    for number, found in enumerate(case.seen.findings, 1):
        yield _finding(case, number, found)


def _finding(case: Case, number: int, found: Found) -> Exhibit:
    seen, wanted = case.seen, found.wanted
    name, place = case.classes[wanted], place_of(found.region, case.side)
    donors = list(found.places[:ACROSS])
    apart = ((seen.labels != wanted) & seen.right).nonzero()[:, 0]
    apart = apart if seen.batch.masks is None else apart[seen.batch.known[apart]]
    others = apart[
        torch.randperm(len(apart), generator=torch.Generator().manual_seed(case.seed))[: len(donors)]
    ].tolist()
    masks = None if seen.batch.masks is None else (seen.batch.masks[donors[:1]], seen.batch.masks[others])
    images = seen.batch.images
    pasted = carried(found.region, images[donors[:1]], images[others], masks)[0]
    without = removed(found.region, images[donors])
    rows = (
        (
            f"Donors: pictures of {name} that speak for it most",
            _answers(case, images[donors], seen.labels[donors], found.region),
        ),
        ("Recipients: pictures of other classes, as they are", _answers(case, images[others], seen.labels[others])),
        (f"The recipients with {place} of the first donor", _answers(case, pasted, seen.labels[others], found.region)),
        (f"The donors without {place}", _answers(case, without, seen.labels[donors])),
    )
    verdict = found.verdict
    return Exhibit(
        f"finding-{number}",
        f"{name} is known by {place}",
        Caption(
            see=f"Pictures of {name} (above), pictures of other classes before and after they are given {place} of the first of "
            f"them, and pictures of {name} "
            "that lost it. Below each: what the network calls it, and how sure it is.",
            read=f"If the third row is called {name} although nothing else changed, the network goes by {place}. Over "
            f"{counted(verdict.donors[0], 'donor')} and "
            f"{counted(verdict.recipients, 'recipient')} it turned {percent(verdict.turned)}; the same from "
            f"{counted(verdict.donors[1], 'picture')} of other classes turned "
            f"{percent(verdict.control)}. The difference, {percent(verdict.effect)}, lies between {percent(verdict.interval[0])} and "
            f"{percent(verdict.interval[1])} in 95 % of "
            f"repetitions; exchanging the donors' labels reaches the change of log-odds with p = {found.adjusted:.2g}, corrected for "
            "all suspects tried.",
            cannot="Whether the network is wrong to look there: a background, or colours, may belong to its class in the world as well. And a "
            "region beside others that "
            "say the same may be missed: one region is tried for a class.",
        ),
        alt=f"Transplants of {place}: {percent(verdict.turned)} of pictures of other classes turn into {name}, "
        f"{percent(verdict.control)} in the control.",
        figure=picture_rows(rows, title=f"{name} is known by {place}"),
        kind="picture",
        numbers={
            "class": name,
            "kind": found.region.kind,
            "region": found.region.box,
            "turned": verdict.turned,
            "control": verdict.control,
            "effect": verdict.effect,
            "interval": verdict.interval,
            "log_odds": verdict.odds,
            "p": found.adjusted,
            "elsewhere": found.elsewhere,
            "mass": found.mass,
            "recall": found.recall,
            "donors": [seen.batch.names[i] for i in donors],
            "recipients": [seen.batch.names[i] for i in others],
        },
    )


def _answers(case: Case, images: Tensor, labels: Tensor, region: Region | None = None) -> list[Told]:
    """Pictures with what the network says about them; a region is outlined."""
    probability = predict_logits(case.model, images).softmax(1)
    told: list[Told] = []
    for picture, row, label in zip(pixels(images), probability, labels.tolist(), strict=True):
        best = int(row.argmax())
        shown = framed(picture, region) if region else enlarged(picture)
        told.append(
            (
                shown,
                [
                    (f"{case.classes[best]} {percent(float(row[best]))}", best == label),
                    (f"shows {case.classes[label]}", None),
                ],
            )
        )
    return told


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
