"""The first epoch at which a shortcut is used: a region moved from pictures of its class to pictures of others, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vgg_viz.capture.predict import predict_logits
from vgg_viz.errors import SectionMissing
from vgg_viz.figures.comparison import Told, picture_rows
from vgg_viz.figures.style import percent
from vgg_viz.figures.timeline import Chart, Line, numbers_by_epoch
from vgg_viz.maths.change import border_mask
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside
from vgg_viz.maths.transplant import box_mask, elsewhere, transplant
from vgg_viz.records import Batch, Caption, Exhibit, Finding
from vgg_viz.report.section import counted, picked, pixels
from vgg_viz.report.timeline.series import Series, series_of_values
from vgg_viz.report.timeline.suspects import Suspect
from vgg_viz.report.timeline.walk import SAMPLED, Walk

RECIPIENTS = 200  # pictures of other classes, at most
FEWEST = 8  # pictures on either side, below which nothing is said
FLIPPED = 0.1  # share of them that must turn into the class, beyond the control, before a shortcut counts as used


@dataclass(frozen=True, slots=True)
class Moved:
    """One suspect's pictures: as they are, with the region of a picture of the class, and with the control in its place.

    plain, treated, control  (N, C, S, S) in [0, 1]
    donors                   (N, C, S, S) where the region came from
    """

    plain: Tensor
    treated: Tensor
    control: Tensor
    donors: Tensor


@dataclass(frozen=True, slots=True)
class Effect:
    """What the moved region does at one epoch.

    effect, control  mean change of the class's log-odds, of the region and of the control [logit]
    beyond           the first minus the second, picture by picture: its mean
    interval         95 % of it, by bootstrap
    flips            share of the pictures that turn into the class, by the region and by the control
    """

    effect: float
    control: float
    beyond: float
    interval: tuple[float, float]
    flips: tuple[float, float]

    @property
    def used(self) -> bool:
        """Whether this epoch uses the shortcut: the interval lies above zero, and enough pictures turn."""
        return self.interval[0] > 0 and self.flips[0] - self.flips[1] >= FLIPPED


def log_odds(logits: Tensor, index: int) -> Tensor:
    """ln p / (1 - p) of one class, (N,) [logit]: unlike a logit alone, unmoved by what is added to all of them."""
    others = torch.cat([logits[:, :index], logits[:, index + 1 :]], 1)
    return logits[:, index] - others.logsumexp(1)


def moved(suspect: Suspect, labelled: Batch, donors: Batch, seed: int) -> Moved:
    """The pictures before and after: recipients of other classes, each with a donor drawn by the seed, the same at every epoch.

    labelled  what the run is measured on: recipients
    donors    pictures of the class and of others, with labels: where regions come from
    raises    SectionMissing where there are too few, or no masks where the background is to be moved
    """
    if suspect.region.kind == "background":
        if labelled.masks is None or donors.masks is None:
            raise SectionMissing("A background can be moved only where masks or boxes of the objects are known.", "python -m vgg_viz compare RUN_DIR --data DIR (with masks/ or boxes)")
        labelled, donors = (picked(part, part.known.nonzero()[:, 0].tolist()) for part in (labelled, donors))
    if labelled.labels is None or donors.labels is None:
        raise TypeError("labelled pictures were expected")
    others = (labelled.labels != suspect.index).nonzero()[:, 0]
    others = others[[round(i * (len(others) - 1) / max(1, RECIPIENTS - 1)) for i in range(RECIPIENTS)]] if len(others) > RECIPIENTS else others
    own = (donors.labels == suspect.index).nonzero()[:, 0]
    strangers = (donors.labels != suspect.index).nonzero()[:, 0]
    for count, what in ((len(others), f"other classes than {suspect.name}"), (len(own), suspect.name)):
        if count < FEWEST:
            raise SectionMissing(f"There are {counted(count, 'picture')} of {what}, and {FEWEST} or more are needed to say anything about a shortcut.",
                                 "python -m vgg_viz compare RUN_DIR --data DIR")  # fmt: skip
    dice = torch.Generator().manual_seed(seed)
    taken, foreign = (pool[torch.randint(len(pool), (len(others),), generator=dice)] for pool in (own, strangers if len(strangers) else own))
    images, masks = labelled.images[others], None if labelled.masks is None else labelled.masks[others]
    from_masks = [None if donors.masks is None else donors.masks[chosen] for chosen in (taken, foreign)]
    treated = transplant(suspect.region, images, donors.images[taken], masks, from_masks[0])
    if suspect.region.kind == "box":
        control = elsewhere(suspect.region, images, donors.images[taken])
    else:  # there is no other place like it (a ring further inside is a form of its own): the same from pictures of other classes
        control = transplant(suspect.region, images, donors.images[foreign], masks, from_masks[1])
    return Moved(images, treated, control, donors.images[taken])


def effect_of(logits: tuple[Tensor, Tensor, Tensor], index: int, seed: int) -> Effect:
    """From the logits (N, K) of the pictures as they are, with the region, and with the control."""
    plain, treated, control = (log_odds(part.double(), index) for part in logits)
    gain, null = treated - plain, control - plain
    before, after, beside = (part.argmax(1) == index for part in logits)
    flips = [float((turned & ~before).double().mean()) for turned in (after, beside)]
    return Effect(float(gain.mean()), float(null.mean()), float((gain - null).mean()), bootstrap_interval(gain - null, seed=seed), (flips[0], flips[1]))


def effects(walk: Walk, suspect: Suspect, pictures: Moved) -> list[Effect]:
    """The effect at every epoch of the run: three batches of pictures, forward only."""
    parts = (pictures.plain, pictures.treated, pictures.control)
    return [
        effect_of((predict_logits(walk.model, parts[0]), predict_logits(walk.model, parts[1]), predict_logits(walk.model, parts[2])), suspect.index, walk.seed)
        for _ in walk.each()
    ]  # fmt: skip


def first_use(found: list[Effect]) -> int | None:
    """Place of the first epoch that uses the shortcut; None where none does."""
    return next((n for n, effect in enumerate(found) if effect.used), None)


def elsewhere_more(suspect: Suspect, effect: Effect) -> bool:
    """Whether another place of the same pictures clearly gives the class away rather than the one that was named."""
    return suspect.region.kind == "box" and effect.interval[1] < 0 and effect.flips[1] > effect.flips[0]


def sentence(suspect: Suspect, found: list[Effect], epochs: tuple[int, ...], recipients: int) -> str:
    """When the shortcut is first used, and what became of it, in words."""
    what = f"The shortcut of {suspect.name} by {suspect.region}"
    first = first_use(found)
    if first is None:
        most = max(found, key=lambda effect: effect.flips[0] - effect.flips[1])
        last = found[-1]
        other = (
            f" In the last epoch the control, another place of the same pictures, does more: it turns {percent(last.flips[1])} of them. What lies there speaks for "
            f"{suspect.name}: the object, or a mark that was not named."
        ) if elsewhere_more(suspect, last) else ""  # fmt: skip
        return (
            f"{what} is not shown to be used in any of {counted(len(epochs), 'epoch')}: moving it to {counted(recipients, 'picture')} of other classes turns at most "
            f"{percent(most.flips[0])} of them into {suspect.name} ({percent(most.flips[1])} by the control).{other}"
        )
    effect, last = found[first], found[-1]
    low, high = (f"{end:.2f}".replace("-", "−") for end in effect.interval)
    later = found[first:]
    if first == len(found) - 1:
        held = "That is the last epoch."
    elif all(part.used for part in later):
        held = f"All later epochs use it too; in the last it turns {percent(last.flips[0])} into {suspect.name}."
    else:
        held = f"{sum(part.used for part in later[1:])} of the {len(later) - 1} later epochs use it too; in the last it turns {percent(last.flips[0])} into {suspect.name}."
    return (
        f"{what} is first used in epoch {epochs[first]}: moving it to {counted(recipients, 'picture')} of other classes raises the log-odds of {suspect.name} by "
        f"{effect.beyond:.2f} more than the control (95 % {low} to {high}) and turns {percent(effect.flips[0])} of them into {suspect.name} "
        f"({percent(effect.flips[1])} by the control). {held}"
    )


# ---------------------------------------------------------------- the chapter


def shortcuts(walk: Walk, named: tuple[Suspect, ...], donors: Batch, donors_from: str) -> Iterator[Exhibit | Finding]:
    """For every suspect a chart over the epochs and the pictures that it was tested on; the sentence goes into the verdict."""
    for number, suspect in enumerate(named):
        pictures = moved(suspect, walk.labelled, donors, walk.seed)
        found = effects(walk, suspect, pictures)
        first = first_use(found)
        told = sentence(suspect, found, walk.epochs, len(pictures.plain))
        unsure = elsewhere_more(suspect, found[-1])
        yield Finding(("note" if unsure else "good") if first is None else "bad" if found[-1].used else "warn", told)
        yield _chart(walk, suspect, found, len(pictures.plain), told, donors, donors_from, number)
        yield _examples(walk, suspect, pictures, number)


def _series(found: list[Effect]) -> dict[str, list[float]]:
    return {
        "effect": [part.effect for part in found], "control": [part.control for part in found], "beyond": [part.beyond for part in found],
        "low": [part.interval[0] for part in found], "high": [part.interval[1] for part in found],
        "flips": [part.flips[0] for part in found], "control_flips": [part.flips[1] for part in found],
    }  # fmt: skip


def attended(walk: Walk, suspect: Suspect, donors: Batch) -> tuple[Series, float] | None:
    """How much of the map of the class lies in the region of its own pictures, epoch by epoch, and the region's share of the area.

    None for a background or a cast, which lie everywhere.
    """
    if suspect.region.kind not in ("box", "border") or donors.labels is None:
        return None
    own = picked(donors, (donors.labels == suspect.index).nonzero()[:SAMPLED, 0].tolist())
    mask = box_mask(suspect.region.box, walk.side) if suspect.region.box is not None else border_mask(walk.side, suspect.region.width)
    masks = mask.expand(len(own), -1, -1)
    asked = torch.full((len(own),), suspect.index)
    field = next(row.field for row in walk.rows if row.name == walk.deep and row.field is not None)
    maps = [walk.look(own, asked, (walk.deep,)).maps[walk.deep] for _ in walk.each()]
    return series_of_values([mass_inside(place(part, field, walk.side), masks) for part in maps], walk.seed), float(mask.double().mean())


def _chart(walk: Walk, suspect: Suspect, found: list[Effect], recipients: int, told: str, donors: Batch, donors_from: str, number: int) -> Exhibit:
    first, series = first_use(found), _series(found)
    values = {name: torch.tensor(part).numpy() for name, part in series.items()}
    share = attended(walk, suspect, donors)
    watched = "" if share is None else (
        f" The third chart has how much of Grad-CAM of {suspect.name} at {walk.deep} lies in that region of {counted(int(share[0].pictures.max()), 'picture')} of the class: more than its "
        f"share of the area, {percent(share[1])}, is attention to it.")  # fmt: skip
    beside = "a region of the same size elsewhere, from the same pictures" if suspect.region.kind == "box" else "the same from pictures of other classes"
    return Exhibit(
        "timeline-shortcut" + (f"-{number + 1}" if number else ""),
        f"When is the shortcut of {suspect.name} used?",
        Caption(
            see=f"At every epoch {suspect.region} of pictures of {suspect.name} ({donors_from}) is moved to {counted(recipients, 'picture')} of other classes. Left, how much more "
            f"the log-odds of {suspect.name} rise than by the control, {beside}, with the 95 % interval; right, how many pictures turn into {suspect.name}, by either. "
            f"The suspicion is {suspect.origin}.{watched}",
            read=f"{told} A shortcut counts as used where the whole interval lies above zero and {percent(FLIPPED)} or more of the pictures turn, beyond the control.",
            cannot="That the region is no part of the object: moving the object itself would do the same. Between two kept epochs nothing is seen, and a mark that only some pictures of the "
            "class carry is moved only as often as they are drawn.",
        ),
        alt=f"Two line charts over {counted(len(walk.epochs), 'epoch')}. {told}",
        figure=numbers_by_epoch(
            [
                Chart("Log-odds of the class beyond the control [logit]", [Line("effect", values["beyond"], values["low"], values["high"])], ("none", 0.0)),
                Chart("Pictures that turn into the class [%]", [Line("region", 100 * values["flips"]), Line("control", 100 * values["control_flips"])], None, (0.0, 102.0)),
                *([] if share is None else [Chart(f"Share of the map in the region, {walk.deep}", [Line("map", share[0].mean.numpy(), share[0].low.numpy(), share[0].high.numpy())],
                                                  ("area", share[1]))]),
            ],
            walk.epochs, mark=None if first is None else (walk.epochs[first], "first used"),
        ),
        numbers={
            "class": suspect.name, "kind": suspect.region.kind, "region": suspect.region.box, "width": suspect.region.width or None, "origin": suspect.origin,
            "epochs": walk.epochs, "pictures": recipients, "first_used": None if first is None else walk.epochs[first],
            "used": [part.used for part in found], "sentence": told, **series,
            "mass_in_region": None if share is None else asdict(share[0]), "region_area": None if share is None else share[1],
        },
    )  # fmt: skip


def _examples(walk: Walk, suspect: Suspect, pictures: Moved, number: int) -> Exhibit:
    """Some of the pictures, and what the last network says of them: those that turn first."""
    before, after, beside = (predict_logits(walk.model, part) for part in (pictures.plain, pictures.treated, pictures.control))
    turned = (after.argmax(1) == suspect.index) & (before.argmax(1) != suspect.index)
    parts = [part.nonzero()[:, 0].tolist() for part in (turned, ~turned)]
    # Evenly over each: a folder begins with its first class.
    chosen = [i for part in parts for i in (part[round(n * (len(part) - 1) / 4)] for n in range(min(5, len(part))))]
    chosen = list(dict.fromkeys(chosen))[:5]

    def row(images: Tensor, logits: Tensor | None) -> list[Told]:
        photos = pixels(images[chosen])
        said = ["" if logits is None else walk.classes[int(logits[i].argmax())] for i in chosen]
        return [(photo, [(word or suspect.name, None)]) for photo, word in zip(photos, said, strict=True)]

    return Exhibit(
        "timeline-shortcut-pictures" + (f"-{number + 1}" if number else ""),
        f"What was moved, and what the last epoch says: {suspect.name}",
        Caption(
            see=f"From above: pictures as they are; pictures of {suspect.name} from which {suspect.region} was taken; the first ones with it; the first ones with the control. Below "
            f"each, what the network of epoch {walk.epochs[-1]} answers, below the second row the true class.",
            read=f"{int(turned.sum()):,} of {len(turned):,} pictures turn into {suspect.name}. Those that do are shown first.",
            cannot="A picture with a foreign region is like none that the network was trained on: the control row shows what that alone does.",
        ),
        alt=f"Four rows of {counted(len(chosen), 'picture')}: as they are, donors, with the region, with the control.",
        figure=picture_rows([
            ("as they are", row(pictures.plain, before)), (f"pictures of {suspect.name}, which give the region", row(pictures.donors, None)),
            ("with the region", row(pictures.treated, after)), ("with the control", row(pictures.control, beside)),
        ]),
        kind="picture",
        numbers={"turned": int(turned.sum()), "pictures": len(turned)},
    )  # fmt: skip
