"""The chapters of an audit: findings, attention of every class, suspicious pictures, repeated strategies, and the search."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vgg_viz.audit.findings import Audit, Found, beside, suspicion
from vgg_viz.audit.intervention import CERTAIN, LEAST, TURNED
from vgg_viz.audit.region import Region, carried, removed
from vgg_viz.audit.region_text import place_of
from vgg_viz.audit.search import STANDS_OUT
from vgg_viz.audit.strategies import GRID, STABLE, strategies
from vgg_viz.capture.predict import predict_logits
from vgg_viz.data.truth import truth_kind
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.comparison import Told, picture_rows
from vgg_viz.figures.mosaic import outlined, overlay, pixels
from vgg_viz.figures.pictures import picture_grid
from vgg_viz.maths.heatmaps import LAYER_INSIDE, MANY_INSIDE, shared_scale
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.report.auditing.case import Case
from vgg_viz.report.section import section

ACROSS = 5  # pictures in a row of transplants and strategies
RANKED = 20  # suspicious pictures shown
CLASSES_SHOWN = 30  # mean maps in one figure
ENLARGED = 4  # how many times a small picture is enlarged before a line is drawn around a region


@section(
    "findings", study="audit", title="Findings", order=10, when=lambda case: bool(case.seen.findings),
    lead="What stood the trial: pictures of other classes before and after a transplant.",
)  # fmt: skip
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
    others = apart[torch.randperm(len(apart), generator=torch.Generator().manual_seed(case.seed))[: len(donors)]].tolist()
    masks = None if seen.batch.masks is None else (seen.batch.masks[donors[:1]], seen.batch.masks[others])
    images = seen.batch.images
    pasted = carried(found.region, images[donors[:1]], images[others], masks)[0]
    without = removed(found.region, images[donors])
    rows = (
        (f"Donors: pictures of {name} that speak for it most", _answers(case, images[donors], seen.labels[donors], found.region)),
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
            "class": name, "kind": found.region.kind, "region": found.region.box, "turned": verdict.turned, "control": verdict.control,
            "effect": verdict.effect, "interval": verdict.interval, "log_odds": verdict.odds, "p": found.adjusted, "elsewhere": found.elsewhere,
            "mass": found.mass, "recall": found.recall, "donors": [seen.batch.names[i] for i in donors], "recipients": [seen.batch.names[i] for i in others],
        },
    )  # fmt: skip


def _answers(case: Case, images: Tensor, labels: Tensor, region: Region | None = None) -> list[Told]:
    """Pictures with what the network says about them; a region is outlined."""
    probability = predict_logits(case.model, images).softmax(1)
    told: list[Told] = []
    for picture, row, label in zip(pixels(images), probability, labels.tolist(), strict=True):
        best = int(row.argmax())
        shown = framed(picture, region) if region else enlarged(picture)
        told.append((shown, [(f"{case.classes[best]} {percent(float(row[best]))}", best == label), (f"shows {case.classes[label]}", None)]))
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


@section(
    "attention", study="audit", title="Attention", order=20,
    lead="Where the evidence for each class lies, over all its pictures.",
)  # fmt: skip
def attention(case: Case) -> Iterator[Exhibit]:
    """The mean heat map of each class, with the place of a finding outlined."""
    seen = case.seen
    present = [label for label in range(len(case.classes)) if int((seen.labels == label).sum())]
    marked = {found.wanted: found.region for found in seen.findings}
    present.sort(key=lambda label: (label not in marked, label))
    shown = present[:CLASSES_SHOWN]
    means = torch.stack([seen.evidence.share[seen.labels == label].mean(0) for label in shown])
    scale = shared_scale(means, signed=False, unit="share of the evidence", over="all classes", quantile=MANY_INSIDE)
    cells, captions, rows = [], [], []
    for label, mean in zip(shown, means, strict=True):
        grey = np.full((case.side, case.side, 3), 1.0, np.float32)
        coloured = overlay(grey, mean.numpy(), scale, strength=1.0)
        region = marked.get(label)
        cells.append(framed(coloured, region) if region else enlarged(coloured))
        count = int((seen.labels == label).sum())
        captions.append(f"{case.classes[label]}\n{place_of(region, case.side) if region else counted(count, 'picture')}")
    frame = Region("border", (0, 0, case.side, case.side), max(1, case.side // 8)).mask(case.side)
    edge = seen.evidence.inside(frame)
    for label in present:
        own = seen.labels == label
        away = float(beside(seen)[own].nanmean())
        rows.append((case.classes[label], int(own.sum()), float(seen.right[own].float().mean()), float(edge[own].mean()), None if math.isnan(away) else away))
    most = max(range(len(rows)), key=lambda i: rows[i][3])
    thing = thing_of(seen)
    yield Exhibit(
        "class-attention",
        "Where the evidence for each class lies on the average",
        Caption(
            see="For every class the mean of its pictures' heat maps (integrated gradients, what speaks for the class, each map "
            f"summing to one), all on one scale up to {scale.high:.2g}. "
            + ("The place of a finding is outlined." if any(one.region.kind in ("patch", "border") for one in seen.findings) else ""),
            read="A mean map with a sharp spot or rim means that the network looks at the same place whatever the picture shows. A "
            "broad cloud in the middle is where "
            "objects lie. The table says how much of the evidence lies in the outer eighth of the pictures"
            + (f", and how much beside the {thing}." if seen.batch.masks is not None else ".")
            + (" A box holds background too: what lies beside it is surely not the object." if truth_kind(seen.batch) == "box" else ""),
            cannot="A place that stands out is a suspicion, not a finding: transplants decide. A background that is everywhere, and "
            "a colour, make no spot at all.",
        ),
        alt=f"Mean heat maps of {counted(len(shown), 'class', 'classes')}; {rows[most][0]} has most of its evidence at the edge, "
        f"{percent(rows[most][3])}.",
        figure=picture_grid(cells, captions, side=96, title="Mean evidence of each class"),
        kind="picture",
        numbers={"scale": [scale.low, scale.high], "classes": [row[0] for row in rows], "edge": [row[3] for row in rows], "beside": [row[4] for row in rows]},
        table=Table(
            (Column("class"), Column("pictures", "", True), Column("right", "[0, 1]", True), Column("evidence at the edge", "[0, 1]", True),
             *((Column(f"beside the {thing}", "[0, 1]", True),) if seen.batch.masks is not None else ())),
            tuple(row if seen.batch.masks is not None else row[:-1] for row in rows),
        ),
    )  # fmt: skip


def thing_of(seen: Audit) -> str:
    """What is known of the objects' places, in a word."""
    return {"box": "box", "both": "object or its box"}.get(truth_kind(seen.batch), "object")


@section(
    "suspicion", study="audit", title="Suspicion", order=40,
    lead="Which pictures to look at first.",
)  # fmt: skip
def ranking(case: Case) -> Iterator[Exhibit]:
    """The pictures that deserve a look."""
    seen = case.seen
    score, why = suspicion(seen)
    order = score.argsort(descending=True, stable=True)[:RANKED].tolist()
    probability = seen.logits.softmax(1)
    scale = shared_scale(seen.evidence.share[order], signed=False, unit="share of the evidence", over="these pictures", quantile=LAYER_INSIDE)
    cells, captions, borders, rows = [], [], [], []
    for place in order:
        best = int(probability[place].argmax())
        cells.append(enlarged(overlay(pixels(seen.batch.images[place : place + 1])[0], seen.evidence.share[place].numpy(), scale)))
        captions.append(f"{case.classes[best]} {percent(float(probability[place, best]))}\n{', '.join(why[place]) or 'nothing in particular'}")
        borders.append("good" if bool(seen.right[place]) else "bad")
        rows.append((seen.batch.names[place], case.classes[int(seen.labels[place])], case.classes[best], float(probability[place, best]), float(score[place]), ", ".join(why[place]) or "nothing in particular"))
    wrong = sum(border == "bad" for border in borders)
    yield Exhibit(
        "suspicion",
        "Pictures that deserve a look",
        Caption(
            see=f"The {counted(len(order), 'picture')} with the highest suspicion, with the evidence for the class that each shows "
            "laid over it, and what the network answered.",
            read="Suspicion adds up to four parts, each from 0 to 1: being confident and wrong, and how far a picture lies beyond "
            "the usual of these pictures in evidence beside the object "
            "(where masks or boxes are known), evidence at the edge, and disagreement of integrated gradients with Grad-CAM.",
            cannot="This is an order in which to look, no measurement: the parts are added without weights, and a picture may be "
            "unusual for good reasons.",
        ),
        alt=f"{counted(len(order), 'picture')} ranked by suspicion, {wrong} of them answered wrongly.",
        figure=picture_grid(cells, captions, borders=borders, side=128, title="Most suspicious pictures"),  # type: ignore[arg-type]
        kind="picture",
        numbers={"names": [row[0] for row in rows], "score": [row[4] for row in rows], "reasons": [why[i] for i in order]},
        table=Table((Column("picture"), Column("shows"), Column("called"), Column("confidence", "[0, 1]", True), Column("suspicion", "", True), Column("because of")), tuple(rows)),
    )  # fmt: skip


@section(
    "strategies", study="audit", title="Strategies", order=30, optional=True,
    lead="Do groups of pictures get their answer in the same way?",
)  # fmt: skip
def repeated(case: Case) -> Iterator[Exhibit]:
    """Groups of pictures whose heat maps look alike."""
    found, stable = strategies(case.seen, seed=case.seed)
    if not found:
        raise SectionMissing(f"No grouping of the heat maps was stable (adjusted Rand index of two starts below {STABLE:g}).")
    seen = case.seen
    scale = shared_scale(torch.stack([one.mean for one in found]), signed=False, unit="share of the evidence", over="all strategies", quantile=MANY_INSIDE)
    rows, table = [], []
    for number, one in enumerate(found, 1):
        mean = enlarged(overlay(np.full((case.side, case.side, 3), 1.0, np.float32), one.mean.numpy(), scale, strength=1.0))
        told: list[Told] = [(mean, [("mean of the group", None)])]
        for place, picture in zip(one.places[:ACROSS], pixels(seen.batch.images[list(one.places[:ACROSS])]), strict=True):
            own = shared_scale(seen.evidence.share[place], signed=False, unit="share", over="this map", quantile=LAYER_INSIDE)
            told.append((enlarged(overlay(picture, seen.evidence.share[place].numpy(), own)), [(case.classes[int(seen.labels[place])], bool(seen.right[place]))]))
        heading = f"Strategy {number}: {counted(len(one.places), 'picture')}, {percent(one.purity, decimals=0)} of them {case.classes[one.wanted]}; {percent(one.edge)} of the evidence at the edge"
        rows.append((heading, told))
        table.append((number, len(one.places), case.classes[one.wanted], one.purity, one.edge))
    purest = max(found, key=lambda one: one.purity)
    yield Exhibit(
        "strategies",
        "Repeated strategies",
        Caption(
            see=f"The heat maps on a grid of {GRID} × {GRID} cells, grouped by k-means; each row a group, with its mean map and the "
            "pictures nearest to it.",
            read="A group that holds one class and whose evidence lies at one place or at the edge is a strategy to distrust. "
            "Groups that mix all classes and differ by where the "
            f"object lies are harmless. Two starts of the grouping agree to {stable:.2f} (1: the same groups, 0: chance).",
            cannot="Where things are grouped says nothing about why. Strategies without a place, such as a colour, do not show here.",
        ),
        alt=f"{counted(len(found), 'group')} of heat maps; the purest holds {percent(purest.purity)} {case.classes[purest.wanted]}.",
        figure=picture_rows(rows, title="Pictures whose evidence lies alike"),
        kind="picture",
        numbers={"sizes": [len(one.places) for one in found], "classes": [case.classes[one.wanted] for one in found], "purity": [one.purity for one in found], "edge": [one.edge for one in found], "stability": stable},
        table=Table((Column("strategy", "", True), Column("pictures", "", True), Column("most of them"), Column("share", "[0, 1]", True), Column("evidence at the edge", "[0, 1]", True)), tuple(table)),
    )  # fmt: skip


@section(
    "search", study="audit", title="Search", order=50, when=lambda case: bool(case.seen.suspects),
    lead="All suspects with their numbers, also those that came to nothing.",
)  # fmt: skip
def search(case: Case) -> Iterator[Exhibit]:
    """All that was searched and tried, with its numbers."""
    verdicts = {(suspect.wanted, suspect.region): verdict for suspect, verdict in case.seen.tried}
    rows = []
    for tried in case.seen.suspects:
        for suspect in tried:
            verdict = verdicts.get((suspect.wanted, suspect.region))
            rows.append((
                case.classes[suspect.wanted], place_of(suspect.region, case.side), suspect.stands_out, suspect.odds, suspect.effect,
                None if verdict is None else verdict.odds, None if verdict is None else verdict.effect,
                None if verdict is None else min(1.0, verdict.p * len(case.seen.tried)),
            ))  # fmt: skip
    rows.sort(key=lambda row: -row[2])
    yield Exhibit(
        "search",
        "What was searched, and what was tried",
        Caption(
            see="Every class with the places and properties that it might be known by. The first numbers come from one half of the "
            "pictures, in which the search was made, those of the trial from the other half.",
            read=f"What stands out by {STANDS_OUT:g} standard errors or more is a suspect; for each class one is tried: a "
            "narrow one if a wide one does little without it, else the wide one. It becomes a finding when p, "
            f"corrected for all that were tried, is at most {CERTAIN:g} and the log-odds move by at least {LEAST:g} logits more than "
            f"with the same region of other classes. What then turns less than {percent(TURNED, decimals=0)} of the pictures, and not clearly more than none, "
            "is called a leaning.",
            cannot="What was not among the suspects was not tested: without masks patches where objects lie or whose pixels vary, marks that "
            "move from picture to picture, and combinations.",
        ),
        alt=f"{counted(len(rows), 'suspect')} in a table, {len(case.seen.tried)} of them tried, {len(case.seen.findings)} of those "
        "findings.",
        numbers={"suspects": len(rows), "tried": len(case.seen.tried), "findings": len(case.seen.findings)},
        table=Table(
            (Column("class"), Column("what"), Column("stands out", "standard errors", True), Column("search: log-odds", "logit", True), Column("search: turned", "[−1, 1]", True),
             Column("trial: log-odds", "logit", True), Column("trial: turned", "[−1, 1]", True), Column("trial: p", "", True)), tuple(rows),
        ),
    )  # fmt: skip

