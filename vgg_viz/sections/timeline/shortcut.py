"""The first epoch at which a shortcut is used: the audit's experiment on a suspected region, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import CaptionedPicture, picture_rows
from vgg_viz.figures.timeline import Chart, Line, numbers_by_epoch
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import mass_inside
from vgg_viz.records import Batch, Exhibit, Finding
from vgg_viz.shortcuts.intervention import CERTAIN, LEAST, TURNED, ClassShift, Group, Verdict, intervene
from vgg_viz.shortcuts.region import transplant
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.candidate_regions import Suspect
from vgg_viz.studies.epoch_measures import Series, series_of_values
from vgg_viz.studies.epochs import SAMPLED, EpochSeries
from vgg_viz.studies.region_parts import Parts, parts

TEXTS = Texts(__name__)
ACROSS = 5  # pictures in a row of transplants


@dataclass(frozen=True, slots=True)
class Trials:
    """One suspect tried on every epoch.

    Attributes:
        verdicts: Of the epochs, in their order.
        tried: How many suspects share one chance of error.
        last: Every donor's effect on every recipient at the last epoch.
        elsewhere: Where no epoch uses it: whether a mirrored place of the same pictures gives the class away at the last epoch.
    """

    verdicts: tuple[Verdict, ...]
    tried: int
    last: ClassShift
    elsewhere: Verdict | None

    @property
    def used(self) -> list[bool]:
        """Which epochs use the shortcut: those whose network an audit would report it of."""
        return [verdict.grade(self.tried) == "finding" for verdict in self.verdicts]

    @property
    def first(self) -> int | None:
        """Place of the first epoch that uses it; None where none does."""
        return next((n for n, used in enumerate(self.used) if used), None)


def trials(epoch_series: EpochSeries, suspect: Suspect, pictures: Parts, tried: int = 1) -> Trials:
    """The experiment at every epoch of the run, forward only.

    Args:
        epoch_series: The run.
        suspect: The region and its class.
        pictures: Donors and recipients, of the last epoch and of those before it.
        tried: How many suspects share one chance of error.

    Raises:
        SectionMissing: The objects' places are known for too few pictures.
    """
    verdicts = []
    reading = None
    for epoch in epoch_series.each():
        groups = (pictures.donors, pictures.recipients) if epoch == epoch_series.epochs[-1] else pictures.few
        result = intervene(epoch_series.model, suspect.region, *groups, suspect.index, seed=epoch_series.seed)
        if result is None:
            raise SectionMissing(
                TEXTS.say("missing.too_few", name=suspect.name), "python -m vgg_viz compare RUN_DIR --data DIR"
            )
        reading, verdict = result
        verdicts.append(verdict)
    if reading is None:
        raise TypeError("a run with epochs was expected")
    results = Trials(tuple(verdicts), tried, reading, None)
    return (
        results
        if results.first is not None
        else replace(results, elsewhere=_elsewhere(epoch_series, suspect, pictures, tried))
    )


def _elsewhere(epoch_series: EpochSeries, suspect: Suspect, pictures: Parts, tried: int) -> Verdict | None:
    """What the mirrored places do with the weights that the walk wears now, if one of them is a finding: the one that does most."""
    results = [
        intervene(epoch_series.model, region, *pictures.few, suspect.index, seed=epoch_series.seed)
        for region in suspect.region.moved(epoch_series.side)
    ]
    # Three places are three more chances of error.
    findings = [
        result[1] for result in results if result is not None and result[1].grade(tried * len(results)) == "finding"
    ]
    return max(findings, key=lambda verdict: verdict.effect, default=None)


def sentence(suspect: Suspect, results: Trials, epochs: tuple[int, ...], side: int) -> str:
    """When the shortcut is first used, and what became of it, in words."""
    name, place = suspect.name, place_of(suspect.region, side)
    if results.first is None:
        most = max(results.verdicts, key=lambda verdict: verdict.effect)
        return TEXTS.say(
            "findings.unused",
            name=name,
            place=place,
            epochs=len(epochs),
            carried=TEXTS.say("phrases.carried", name=name, verdict=most),
            most=most,
            elsewhere=results.elsewhere,
        )
    verdict, later = results.verdicts[results.first], results.used[results.first + 1 :]
    return TEXTS.say(
        "findings.used",
        name=name,
        place=place,
        epoch=epochs[results.first],
        carried=TEXTS.say("phrases.carried", name=name, verdict=verdict),
        verdict=verdict,
        later=len(later),
        users=sum(later),
        last=results.verdicts[-1],
    )


# ---------------------------------------------------------------- the section


@dataclass(frozen=True, slots=True)
class Tested:
    """A suspect with all that its exhibits show.

    Attributes:
        suspect: What was tried.
        trials: What came of it at every epoch.
        parts: The pictures that it was tried on.
        sentence: The same in words.
        suffix: What its addresses end with: nothing for the first suspect, else such as "-2".
    """

    suspect: Suspect
    trials: Trials
    parts: Parts
    sentence: str
    suffix: str


@section("shortcut", study="timeline", order=40, when=lambda epoch_series: bool(epoch_series.suspects))
def shortcuts(epoch_series: EpochSeries) -> Iterator[Exhibit | Finding]:
    """For every suspect a chart over the epochs and the pictures that it was tried on; the sentence goes into the verdict."""
    for number, suspect in enumerate(epoch_series.suspects, 1):
        pictures = parts(epoch_series, suspect)
        results = trials(epoch_series, suspect, pictures, len(epoch_series.suspects))
        text = sentence(suspect, results, epoch_series.epochs, epoch_series.side)
        if results.first is None:
            yield Finding("good" if results.elsewhere is None else "note", text)
        else:
            yield Finding("bad" if results.used[-1] else "warn", text)
        tested = Tested(suspect, results, pictures, text, f"-{number}" if number > 1 else "")
        yield _chart(epoch_series, tested)
        yield _examples(epoch_series, tested)


def series(results: Trials) -> dict[str, list[object]]:
    """The verdicts as one list an epoch, under the names that `audit --json` gives them; p times the number of suspects."""
    verdicts = results.verdicts
    return {
        "turned": [verdict.turned for verdict in verdicts],
        "control": [verdict.control for verdict in verdicts],
        "effect": [verdict.effect for verdict in verdicts],
        "interval": [list(verdict.interval) for verdict in verdicts],
        "log_odds": [verdict.odds for verdict in verdicts],
        "p": [min(1.0, verdict.p * results.tried) for verdict in verdicts],
        "donors": [verdict.donors[0] for verdict in verdicts],
        "controls": [verdict.donors[1] for verdict in verdicts],
        "recipients": [verdict.recipients for verdict in verdicts],
    }


def attended(epoch_series: EpochSeries, suspect: Suspect, donors: Group) -> tuple[Series, float] | None:
    """How much of the map of the class lies in the region of its own pictures, epoch by epoch, and the region's share of the area.

    None for a background or colours, which lie everywhere.
    """
    if suspect.region.kind not in ("patch", "border"):
        return None
    own = donors.part((donors.labels == suspect.index).nonzero()[:SAMPLED, 0])
    batch = Batch(own.images, own.labels, ("",) * len(own))
    mask = suspect.region.mask(epoch_series.side)
    field = next(row.field for row in epoch_series.rows if row.name == epoch_series.deep and row.field is not None)
    maps = [
        epoch_series.maps_of(batch, own.labels, (epoch_series.deep,)).maps[epoch_series.deep]
        for _ in epoch_series.each()
    ]
    masks = mask.expand(len(own), -1, -1)
    return series_of_values(
        [mass_inside(place(part, field, epoch_series.side), masks) for part in maps], epoch_series.seed
    ), float(mask.double().mean())


def _chart(epoch_series: EpochSeries, tested: Tested) -> Exhibit:
    suspect, results = tested.suspect, tested.trials
    region, first, numbers = suspect.region, results.first, series(results)
    attention = attended(epoch_series, suspect, tested.parts.donors)
    text = TEXTS.exhibit(
        "chart",
        name=suspect.name,
        place=place_of(region, epoch_series.side),
        box=region.box if region.kind == "patch" else None,
        before=results.verdicts[0],
        last=results.verdicts[-1],
        donors_from=tested.parts.origin,
        origin=suspect.origin,
        layer=epoch_series.deep,
        watched=None if attention is None else int(attention[0].pictures.max()),
        area=None if attention is None else attention[1],
        epochs=len(epoch_series.epochs),
        sentence=tested.sentence,
        tried=results.tried,
        certain=CERTAIN,
        least=LEAST,
        turned=TURNED,
    )
    return Exhibit(
        f"timeline-shortcut{tested.suffix}",
        text.title,
        text.caption,
        text.alt,
        figure=numbers_by_epoch(
            _charts(numbers, attention, epoch_series.deep),
            epoch_series.epochs,
            mark=None if first is None else (epoch_series.epochs[first], "first used"),
        ),
        numbers={
            "class": suspect.name,
            "kind": region.kind,
            "region": region.box,
            "width": region.width or None,
            "origin": suspect.origin,
            "donors_from": tested.parts.origin,
            "epochs": epoch_series.epochs,
            "first_used": None if first is None else epoch_series.epochs[first],
            "used": results.used,
            "sentence": tested.sentence,
            **numbers,
            "mass_in_region": None if attention is None else asdict(attention[0]),
            "region_area": None if attention is None else attention[1],
        },
    )


def _charts(numbers: Mapping[str, list[object]], attention: tuple[Series, float] | None, layer: str) -> list[Chart]:
    """Shares of pairs, their difference, log-odds and, where the region has a place, how much of the maps lies there."""
    values = {key: torch.tensor(part).numpy() for key, part in numbers.items()}
    charts = [
        Chart(
            "Pairs that turn into the class, less those that leave it [%]",
            [Line("region", 100 * values["turned"]), Line("control", 100 * values["control"])],
        ),
        Chart(
            "The same beyond the control [%]",
            [Line("effect", 100 * values["effect"], *(100 * values["interval"].T))],
            ("none", 0.0),
        ),
        Chart("Log-odds beyond the control [logit]", [Line("effect", values["log_odds"])], ("a finding", LEAST)),
    ]
    if attention is not None:
        mass, area = attention
        line = Line("map", mass.mean.numpy(), mass.low.numpy(), mass.high.numpy())
        charts.append(Chart(f"Share of the map in the region, {layer}", [line], ("area", area)))
    return charts


def _examples(epoch_series: EpochSeries, tested: Tested) -> Exhibit:
    """Some of the recipients, each with one donor, and what the last network says of them: those that turn first."""
    suspect, last, recipients = tested.suspect, tested.trials.last, tested.parts.recipients
    own, others = ((last.own == wanted).nonzero()[:, 0] for wanted in (True, False))
    # Every recipient with a donor of its own, in turn.
    pairs = [(int(own[n % len(own)]), n) for n in range(len(recipients))]
    turning = [pair for pair in pairs if float(last.turn[pair]) > 0]
    chosen = [*turning, *(pair for pair in pairs if pair not in turning)][:ACROSS]
    taking = recipients.part(torch.tensor([taker for _, taker in chosen]))
    giving, control = (
        tested.parts.donors.part(torch.tensor(places))
        for places in ([giver for giver, _ in chosen], [int(others[n % len(others)]) for n in range(len(chosen))])
    )
    with_region, with_control = (_pairwise(suspect, group, taking) for group in (giving, control))
    text = TEXTS.exhibit(
        "pictures",
        name=suspect.name,
        place=place_of(suspect.region, epoch_series.side),
        epoch=epoch_series.epochs[-1],
        verdict=tested.trials.verdicts[-1],
        turning=len(turning),
        shown=len(chosen),
    )
    return Exhibit(
        f"timeline-shortcut-pictures{tested.suffix}",
        text.title,
        text.caption,
        text.alt,
        figure=picture_rows(
            [
                (TEXTS.say("rows.plain"), _answered(epoch_series, taking.images)),
                (
                    TEXTS.say("rows.donors", name=suspect.name),
                    [(photo, [(suspect.name, None)]) for photo in pixels(giving.images)],
                ),
                (TEXTS.say("rows.region"), _answered(epoch_series, with_region)),
                (TEXTS.say("rows.control"), _answered(epoch_series, with_control)),
            ]
        ),
        kind="picture",
        numbers={"turned": len(turning), "pictures": len(pairs)},
    )


def _answered(epoch_series: EpochSeries, images: Tensor) -> list[CaptionedPicture]:
    """Photographs with the class under each that the network with the weights of the moment answers."""
    best = predict_logits(epoch_series.model, images).argmax(1)
    return [
        (photo, [(epoch_series.classes[int(index)], None)]) for photo, index in zip(pixels(images), best, strict=True)
    ]


def _pairwise(suspect: Suspect, donors: Group, recipients: Group) -> Tensor:
    """Each recipient with the region of the donor at its place, (N, C, S, S)."""
    return torch.cat(
        [_carried(suspect, donors.part(one), recipients.part(one)) for one in torch.arange(len(recipients))[:, None]]
    )


def _carried(suspect: Suspect, donor: Group, recipient: Group) -> Tensor:
    masks = None if donor.masks is None or recipient.masks is None else (donor.masks, recipient.masks)
    return transplant(suspect.region, donor.images, recipient.images, masks)[0]
