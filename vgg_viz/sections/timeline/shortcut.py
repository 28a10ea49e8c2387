"""The first epoch at which a shortcut is used: the audit's experiment on a suspected region, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.image_grid import pixels
from vgg_viz.figures.pictures import Told, picture_rows
from vgg_viz.figures.timeline import Chart, Line, numbers_by_epoch
from vgg_viz.gallery.sections import section
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import mass_inside
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Batch, Caption, Exhibit, Finding
from vgg_viz.shortcuts.intervention import CERTAIN, LEAST, TURNED, Group, Reading, Verdict, intervene
from vgg_viz.shortcuts.region import carried
from vgg_viz.shortcuts.region_text import place_of
from vgg_viz.studies.candidate_regions import Suspect
from vgg_viz.studies.epoch_measures import Series, series_of_values
from vgg_viz.studies.epochs import SAMPLED, Walk
from vgg_viz.studies.region_parts import Parts, parts

ACROSS = 5  # pictures in a row of transplants


@dataclass(frozen=True, slots=True)
class Trials:
    """One suspect tried on every epoch.

    verdicts   of the epochs, in their order
    tried      how many suspects share one chance of error
    last       every donor's effect on every recipient at the last epoch
    elsewhere  where no epoch uses it: whether a mirrored place of the same pictures gives the class away at the last epoch
    """

    verdicts: tuple[Verdict, ...]
    tried: int
    last: Reading
    elsewhere: Verdict | None

    @property
    def used(self) -> list[bool]:
        """Which epochs use the shortcut: those whose network an audit would report it of."""
        return [verdict.grade(self.tried) == "finding" for verdict in self.verdicts]

    @property
    def first(self) -> int | None:
        """Place of the first epoch that uses it; None where none does."""
        return next((n for n, used in enumerate(self.used) if used), None)


def trials(walk: Walk, suspect: Suspect, who: Parts, tried: int = 1) -> Trials:
    """The experiment at every epoch of the run, forward only.

    raises  SectionMissing where the objects' places are known for too few pictures
    """
    verdicts = []
    read = None
    for epoch in walk.each():
        donors, recipients = (who.donors, who.recipients) if epoch == walk.epochs[-1] else who.few
        found = intervene(walk.model, suspect.region, donors, recipients, suspect.index, seed=walk.seed)
        if found is None:
            raise SectionMissing(
                f"Too few pictures of {suspect.name} and of others can be tried.",
                "python -m vgg_viz compare RUN_DIR --data DIR",
            )
        read, verdict = found
        verdicts.append(verdict)
    if read is None:
        raise TypeError("a run with epochs was expected")
    done = Trials(tuple(verdicts), tried, read, None)
    return done if done.first is not None else Trials(done.verdicts, tried, read, _elsewhere(walk, suspect, who, tried))


def _elsewhere(walk: Walk, suspect: Suspect, who: Parts, tried: int) -> Verdict | None:
    """What the mirrored places do with the weights that the walk wears now, if one of them is a finding: the one that does most."""
    found = [
        intervene(walk.model, region, *who.few, suspect.index, seed=walk.seed)
        for region in suspect.region.moved(walk.side)
    ]
    # Three places are three more chances of error.
    grave = [one[1] for one in found if one is not None and one[1].grade(tried * len(found)) == "finding"]
    return max(grave, key=lambda verdict: verdict.effect, default=None)


def sentence(suspect: Suspect, found: Trials, epochs: tuple[int, ...], side: int) -> str:
    """When the shortcut is first used, and what became of it, in words."""
    what, name = f"The shortcut of {suspect.name} by {place_of(suspect.region, side)}", suspect.name
    last, first = found.verdicts[-1], found.first
    if first is None:
        most = max(found.verdicts, key=lambda verdict: verdict.effect)
        other = (
            ""
            if found.elsewhere is None
            else (
                f" In the last epoch another place of the same pictures does more: it turns {share(found.elsewhere.turned)} of them. What lies there speaks for "
                f"{name}: the object, or a mark that was not named."
            )
        )
        return (
            f"{what} is not shown to be used in any of {counted(len(epochs), 'epoch')}: {_carrying(most, name)} turns at most "
            f"{share(most.turned)} of them into {name} ({share(most.control)} when the same comes from other classes).{other}"
        )
    verdict, later = found.verdicts[first], found.used[first + 1 :]
    low, high = (f"{100 * end:.0f}".replace("-", "−") for end in verdict.interval)
    ending = f"in the last it turns {share(last.turned)} into {name}."
    if not later:
        held = "That is the last epoch."
    elif all(later):
        held = f"All later epochs use it too; {ending}"
    else:
        held = f"{sum(later)} of the {counted(len(later), 'later epoch')} use it too; {ending}"
    return (
        f"{what} is first used in epoch {epochs[first]}: {_carrying(verdict, name)} turns {share(verdict.turned)} of them into {name} "
        f"({share(verdict.control)} when the same comes from other classes; a difference of {100 * verdict.effect:.0f} points, 95 % interval {low} to {high}) and raises the "
        f"log-odds of {name} by {verdict.odds:.1f} more than the control does. {held}"
    )


def share(value: float) -> str:
    """A share of pairs, to the whole per cent, so that those of one sentence can be compared."""
    return percent(value, decimals=0)


def _carrying(verdict: Verdict, name: str) -> str:
    """What was done, and how often: each picture that gives with each that takes is a pair."""
    pairs = verdict.donors[0] * verdict.recipients
    return f"carried from {counted(verdict.donors[0], 'picture')} of {name} onto {verdict.recipients:,} of other classes ({counted(pairs, 'pair')}), it"


# ---------------------------------------------------------------- the section


@section(
    "shortcut",
    study="timeline",
    title="A shortcut",
    order=40,
    when=lambda walk: bool(walk.suspects),
    lead="Something other than the object may give a class away: from which epoch on does the network use it?",
)
def shortcuts(walk: Walk) -> Iterator[Exhibit | Finding]:
    """For every suspect a chart over the epochs and the pictures that it was tried on; the sentence goes into the verdict."""
    for number, suspect in enumerate(walk.suspects):
        who = parts(walk, suspect)
        found = trials(walk, suspect, who, len(walk.suspects))
        told = sentence(suspect, found, walk.epochs, walk.side)
        if found.first is None:
            yield Finding("good" if found.elsewhere is None else "note", told)
        else:
            yield Finding("bad" if found.used[-1] else "warn", told)
        yield _chart(walk, suspect, found, who, told, number)
        yield _examples(walk, suspect, found, who, number)


def series(found: Trials) -> dict[str, list[object]]:
    """The verdicts as one list an epoch, under the names that `audit --json` gives them; p times the number of suspects."""
    verdicts = found.verdicts
    return {
        "turned": [one.turned for one in verdicts],
        "control": [one.control for one in verdicts],
        "effect": [one.effect for one in verdicts],
        "interval": [list(one.interval) for one in verdicts],
        "log_odds": [one.odds for one in verdicts],
        "p": [min(1.0, one.p * found.tried) for one in verdicts],
        "donors": [one.donors[0] for one in verdicts],
        "controls": [one.donors[1] for one in verdicts],
        "recipients": [one.recipients for one in verdicts],
    }


def attended(walk: Walk, suspect: Suspect, donors: Group) -> tuple[Series, float] | None:
    """How much of the map of the class lies in the region of its own pictures, epoch by epoch, and the region's share of the area.

    None for a background or colours, which lie everywhere.
    """
    if suspect.region.kind not in ("patch", "border"):
        return None
    own = donors.part((donors.labels == suspect.index).nonzero()[:SAMPLED, 0])
    batch = Batch(own.images, own.labels, ("",) * len(own))
    mask = suspect.region.mask(walk.side)
    field = next(row.field for row in walk.rows if row.name == walk.deep and row.field is not None)
    maps = [walk.look(batch, own.labels, (walk.deep,)).maps[walk.deep] for _ in walk.each()]
    masks = mask.expand(len(own), -1, -1)
    return series_of_values([mass_inside(place(part, field, walk.side), masks) for part in maps], walk.seed), float(
        mask.double().mean()
    )


def _chart(walk: Walk, suspect: Suspect, found: Trials, who: Parts, told: str, number: int) -> Exhibit:
    name, first, last, numbers = suspect.name, found.first, found.verdicts[-1], series(found)
    values = {key: torch.tensor(part).numpy() for key, part in numbers.items()}
    attention = attended(walk, suspect, who.donors)
    where = place_of(suspect.region, walk.side)
    if suspect.region.kind == "patch" and suspect.region.box is not None:
        x0, y0, x1, y1 = suspect.region.box
        where += f" (x {x0} to {x1 - 1}, y {y0} to {y1 - 1})"
    watched = (
        ""
        if attention is None
        else (
            f" The last chart has how much of Grad-CAM of {name} at {walk.deep} lies in that region of {counted(int(attention[0].pictures.max()), 'picture')} of the class: more than its "
            f"share of the area, {percent(attention[1])}, is attention to it."
        )
    )
    before = found.verdicts[0]
    fewer = (
        ""
        if before.donors == last.donors and before.recipients == last.recipients
        else (
            f" Epochs before the last are asked about a part of them, {counted(sum(before.donors), 'donor')} and {counted(before.recipients, 'recipient')}."
        )
    )
    return Exhibit(
        "timeline-shortcut" + (f"-{number + 1}" if number else ""),
        f"When is the shortcut of {name} by {place_of(suspect.region, walk.side)} used?",
        Caption(
            see=f"At every epoch {where} of {counted(last.donors[0], 'picture')} of {name} ({who.origin}) is carried onto {counted(last.recipients, 'picture')} of other classes, and "
            f"the same region of {counted(last.donors[1], 'picture')} of other classes as a control.{fewer} The charts: the pairs that turn into {name}, less those that turn away from it, by either; the difference, with "
            f"the 95 % interval; the same difference in log-odds. The suspicion is {suspect.origin}.{watched}",
            read=f"{told} An epoch uses a shortcut where an audit would report it: p by exchange of the donors' labels, times the suspects tried ({found.tried}), is at most {CERTAIN:g}; "
            f"the log-odds move by {LEAST:g} logits or more, by themselves and beyond the control; and {percent(TURNED, decimals=0)} or more of the pictures turn beyond the control, or clearly more than none.",
            cannot="That the region is no part of the object: carrying the object itself would do the same. Between two kept epochs nothing is seen, every epoch is judged by itself, and a mark "
            "that only some pictures of the class carry is carried only as often as they are drawn.",
        ),
        alt=f"Line charts over {counted(len(walk.epochs), 'epoch')}. {told}",
        figure=numbers_by_epoch(
            [
                Chart(
                    "Pairs that turn into the class, less those that leave it [%]",
                    [Line("region", 100 * values["turned"]), Line("control", 100 * values["control"])],
                    None,
                ),
                Chart(
                    "The same beyond the control [%]",
                    [Line("effect", 100 * values["effect"], *(100 * values["interval"].T))],
                    ("none", 0.0),
                ),
                Chart(
                    "Log-odds beyond the control [logit]", [Line("effect", values["log_odds"])], ("a finding", LEAST)
                ),
                *(
                    []
                    if attention is None
                    else [
                        Chart(
                            f"Share of the map in the region, {walk.deep}",
                            [
                                Line(
                                    "map",
                                    attention[0].mean.numpy(),
                                    attention[0].low.numpy(),
                                    attention[0].high.numpy(),
                                )
                            ],
                            ("area", attention[1]),
                        )
                    ]
                ),
            ],
            walk.epochs,
            mark=None if first is None else (walk.epochs[first], "first used"),
        ),
        numbers={
            "class": name,
            "kind": suspect.region.kind,
            "region": suspect.region.box,
            "width": suspect.region.width or None,
            "origin": suspect.origin,
            "donors_from": who.origin,
            "epochs": walk.epochs,
            "first_used": None if first is None else walk.epochs[first],
            "used": found.used,
            "sentence": told,
            **numbers,
            "mass_in_region": None if attention is None else asdict(attention[0]),
            "region_area": None if attention is None else attention[1],
        },
    )


def _examples(walk: Walk, suspect: Suspect, found: Trials, who: Parts, number: int) -> Exhibit:
    """Some of the recipients, each with one donor, and what the last network says of them: those that turn first."""
    read = found.last
    own, rest = ((read.own == wanted).nonzero()[:, 0] for wanted in (True, False))
    pairs = [
        (int(own[n % len(own)]), n) for n in range(len(who.recipients))
    ]  # every recipient with a donor of its own, in turn
    turned = [pair for pair in pairs if float(read.turn[pair]) > 0]
    chosen = [*turned, *(pair for pair in pairs if pair not in turned)][:ACROSS]
    taking = who.recipients.part(torch.tensor([taker for _, taker in chosen]))
    giving = [
        who.donors.part(torch.tensor(places))
        for places in ([giver for giver, _ in chosen], [int(rest[n % len(rest)]) for n in range(len(chosen))])
    ]
    made = [
        torch.cat([_carried(suspect, group.part(one), taking.part(one)) for one in torch.arange(len(chosen))[:, None]])
        for group in giving
    ]
    answers = [predict_logits(walk.model, images) for images in (taking.images, *made)]

    def row(images: Tensor, logits: Tensor | None) -> list[Told]:
        said = (
            [suspect.name] * len(chosen) if logits is None else [walk.classes[int(best)] for best in logits.argmax(1)]
        )
        return [(photo, [(word, None)]) for photo, word in zip(pixels(images), said, strict=True)]

    where, verdict = place_of(suspect.region, walk.side), found.verdicts[-1]
    return Exhibit(
        "timeline-shortcut-pictures" + (f"-{number + 1}" if number else ""),
        f"What was carried, and what the last epoch says: {suspect.name}, {place_of(suspect.region, walk.side)}",
        Caption(
            see=f"From above: pictures as they are; pictures of {suspect.name} from which {where} was taken; the first ones with it; the first ones with the same of pictures of other "
            f"classes. Below each, what the network of epoch {walk.epochs[-1]} answers, below the second row the true class.",
            read=f"Over {counted(verdict.donors[0], 'donor')} and {counted(verdict.recipients, 'recipient')}, {share(verdict.turned)} turn into {suspect.name}.{' Those that do are shown first.' if turned else ''}",
            cannot="A picture with a foreign region is like none that the network was trained on: the control row shows what that alone does.",
        ),
        alt=f"Four rows of {counted(len(chosen), 'picture')}: as they are, donors, with the region, with the control.",
        figure=picture_rows(
            [
                ("as they are", row(taking.images, answers[0])),
                (f"pictures of {suspect.name}, which give the region", row(giving[0].images, None)),
                ("with the region", row(made[0], answers[1])),
                ("with the control", row(made[1], answers[2])),
            ]
        ),
        kind="picture",
        numbers={"turned": len(turned), "pictures": len(pairs)},
    )


def _carried(suspect: Suspect, donor: Group, recipient: Group) -> Tensor:
    masks = None if donor.masks is None or recipient.masks is None else (donor.masks, recipient.masks)
    return carried(suspect.region, donor.images, recipient.images, masks)[0]
