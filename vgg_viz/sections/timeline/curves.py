"""Accuracy, loss and what the maps do, on one axis of epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.data.annotations import where_word
from vgg_viz.figures.timeline import Chart, Line, numbers_by_epoch
from vgg_viz.gallery.sections import section
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Column, Exhibit, Finding, Table
from vgg_viz.studies.epoch_measures import BORDER, Measured, Series, first_above, measured
from vgg_viz.studies.epochs import Walk

SETTLED = 0.8  # rank correlation with the last maps from which on little moves
MOST_LINES = 4  # layers in one panel


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy [0, 1] and loss [nat] of every epoch on the labelled pictures, measured here: (E,) each."""

    accuracy: Tensor
    loss: Tensor


def scores(walk: Walk) -> Scores:
    """Measured again, and not read from the history: the pictures may be others, and the history knows no epoch 0."""
    loss = torch.stack([functional.cross_entropy(logits, walk.labels) for logits in walk.answers])
    return Scores(walk.right.double().mean(1), loss.double())


@section(
    "numbers",
    study="timeline",
    title="In numbers",
    order=10,
    lead="What was learned, and what the evidence did meanwhile, on one axis of epochs.",
)
def curves(walk: Walk) -> Iterator[Exhibit | Finding]:
    """The panel of small multiples, its table, and what they say in sentences."""
    found = measured(walk)
    if walk.material.labelled is not None:
        told = scores(walk)
        first, last = float(told.accuracy[0]), float(told.accuracy[-1])
        yield Finding(
            "note" if last > first else "warn",
            f"From epoch {walk.epochs[0]} to epoch {walk.epochs[-1]}, accuracy went from {percent(first)} to {percent(last)} on the same "
            f"{counted(len(walk.labelled), 'picture')}.",
        )
    deep = found.layers.get(walk.deep, {})
    yield from _where(walk, found, deep)
    yield from _settled(walk, deep)
    yield _exhibit(walk, found)


def _where(walk: Walk, found: Measured, deep: Mapping[str, Series]) -> Iterator[Finding]:
    series = deep.get("mass")
    if series is None:
        return
    area, start, end = found.area["mass"], float(series.mean[0]), float(series.mean[-1])
    since = first_above(series, area)
    if since is None:
        held = f"In the end it is not shown to be more than the {percent(area)} that a map without knowledge would have there."
    elif since == 0 and walk.epochs[0] == 0:
        held = (
            f"Already before training it is more than the {percent(area)} that a map without knowledge would have: random filters follow contrast, and objects "
            "have it. That share alone is no proof of learning."
        )
    else:
        held = f"From epoch {walk.epochs[since]} on it lies above the {percent(area)} that a map without knowledge would have there."
    yield Finding(
        "warn" if since is None else "note" if since == 0 else "good",
        f"{percent(end)} of the evidence at {walk.deep} lies {where_word(walk.sample)} at the end, {percent(start)} at the start. {held}",
    )


def _settled(walk: Walk, deep: Mapping[str, Series]) -> Iterator[Finding]:
    series = deep.get("with_last")
    if series is None or len(walk.epochs) < 3:
        return
    since = _settled_from(series)
    if since is None:
        yield Finding(
            "note",
            f"The maps at {walk.deep} still moved in the last epoch: before it, their rank correlation with the last ones is "
            f"{float(series.mean[-2]):.2f}.".replace("-", "−"),
        )
    else:
        yield Finding(
            "note",
            f"The maps at {walk.deep} look much like the last ones (rank correlation {SETTLED} or more) from epoch {walk.epochs[since]} on.",
        )


def _settled_from(series: Series) -> int | None:
    """Place of the first epoch from which on the maps are like the last ones; None where that is the last epoch only."""
    values = series.mean[:-1].tolist()
    return next((n for n in range(len(values)) if min(values[n:]) >= SETTLED), None)


def _order(walk: Walk, found: Measured) -> str:
    """Which layers settle first and last on this run."""
    known = {
        name: since for name, parts in found.layers.items() if (since := _settled_from(parts["with_last"])) is not None
    }
    if len(known) < 2:
        return "Which layer settles first?"
    first, last = min(known.values()), max(known.values())
    if first == last:
        return f"Here all layers settle at one time (rank correlation {SETTLED} or more with the last epoch, from epoch {walk.epochs[first]} on)."
    soon, late = ([name for name, since in known.items() if since == place] for place in (first, last))
    return (
        f"Here {', '.join(soon)} settle{'s' if len(soon) == 1 else ''} first, from epoch {walk.epochs[first]} on, and {', '.join(late)} last, from epoch {walk.epochs[last]} on "
        f"(rank correlation {SETTLED} or more with the last epoch)."
    )


def _shown(walk: Walk, found: Measured) -> list[str]:
    """The layers in the figure: the deep one first, then others spread over the depth."""
    others = [name for name in found.layers if name != walk.deep]
    few = min(len(others), MOST_LINES - 1)
    spread = [others[round(i * (len(others) - 1) / max(1, few - 1))] for i in range(few)]
    return [name for name in (walk.deep, *dict.fromkeys(spread)) if name in found.layers]


def _exhibit(walk: Walk, found: Measured) -> Exhibit:
    names = _shown(walk, found)
    told = scores(walk) if walk.material.labelled is not None else None
    charts = [] if told is None else _answers(walk, told)
    charts += [_chart(found, names, *row) for row in _rows(walk)]
    masked = walk.sample.masks is not None
    where = (
        f"how much of a map's positive mass lies {where_word(walk.sample)}"
        + (
            ""
            if bool(walk.sample.known.all())
            else f" ({int(walk.sample.known.sum()):,} pictures whose place is known)"
        )
        if masked
        else f"how much of it lies in the middle (half as high and wide) and in the border ({round(100 * BORDER)} % of the side), because the pictures have no masks"
    )
    return Exhibit(
        "timeline-numbers",
        "The run in numbers, epoch by epoch",
        Caption(
            see=f"{'Accuracy and loss over ' + counted(len(walk.labelled), 'picture') + '; then, over ' if told is not None else 'Over '}"
            f"{counted(len(walk.sample), 'picture')} spread evenly over them, what Grad-CAM does at {counted(len(names), 'layer')}: {where}; how evenly it is spread "
            "(entropy, 1 for a flat map); how far the order of its places has moved since the epoch before (drift, 1 minus the rank correlation); how much it is "
            f"like that of the last epoch. Bands are 95 % intervals by bootstrap, drawn for {walk.deep}.",
            read="Compare the bends. Accuracy that rises before the evidence has moved onto the object was won with something else. Maps that still move while accuracy "
            f"stands still: the network gives the same answers for other reasons. {_order(walk, found)}",
            cannot="Mass on the object is not yet the right evidence, and a mean hides pictures that go against it. The last epoch is like itself by definition: the end of that "
            "curve says nothing, its way there does. An untrained network has maps too; they are those of random filters.",
        ),
        alt=_alt(walk, found, told),
        figure=numbers_by_epoch(charts, walk.epochs),
        table=_table(walk, found, told),
        numbers=series_of(walk, found, told),
    )


def _answers(walk: Walk, told: Scores) -> list[Chart]:
    history = {entry.epoch: entry for entry in walk.run.history}
    training = [history.get(epoch) for epoch in walk.epochs]
    nan = float("nan")
    learned = [100 * entry.train_accuracy if entry else nan for entry in training]
    loss = [entry.train_loss if entry else nan for entry in training]
    chance = 100 / len(walk.classes)
    return [
        Chart(
            "Accuracy [%]",
            [
                Line("tested", 100 * told.accuracy.numpy()),
                *([Line("training", torch.tensor(learned).numpy())] if history else []),
            ],
            ("chance", chance),
            (0.0, 102.0),
        ),
        Chart(
            "Loss [nat]",
            [Line("tested", told.loss.numpy()), *([Line("training", torch.tensor(loss).numpy())] if history else [])],
        ),
    ]


def _rows(walk: Walk) -> list[tuple[str, str, tuple[float, float] | None, str]]:
    """(key, title, range, name of the level to compare with) of each panel of the maps."""
    if walk.sample.masks is not None:
        first = [("mass", f"Share of the map {where_word(walk.sample)}", (0.0, 1.02), "object")]
    else:
        first = [
            ("centre", "Share of the map in the middle", (0.0, 1.02), "area"),
            ("border", "Share of the map in the border", (0.0, 1.02), "area"),
        ]
    return [
        *first,
        ("entropy", "Entropy of the map, 1 is flat", None, ""),
        ("drift", "Drift since the epoch before", None, ""),
        ("with_last", "Rank correlation with the last epoch", None, ""),
    ]


def _chart(
    found: Measured, names: list[str], key: str, title: str, limits: tuple[float, float] | None, level: str
) -> Chart:
    lines = []
    for n, name in enumerate(names):
        series = found.layers[name][key]
        band = (series.low.numpy(), series.high.numpy()) if n == 0 else (None, None)
        lines.append(Line(name, series.mean.numpy(), *band))
    return Chart(title, lines, (level, found.area[key]) if key in found.area else None, limits)


def _alt(walk: Walk, found: Measured, told: Scores | None) -> str:
    start = f"Small charts over {counted(len(walk.epochs), 'epoch')}"
    accuracy = (
        ""
        if told is None
        else f"; accuracy goes from {percent(float(told.accuracy[0]))} to {percent(float(told.accuracy[-1]))}"
    )
    deep = found.layers.get(walk.deep, {})
    key = "mass" if "mass" in deep else "centre"
    where = where_word(walk.sample) if key == "mass" else "in the middle"
    mass = (
        f"; the share of the maps of {walk.deep} {where} goes from {percent(float(deep[key].mean[0]))} to {percent(float(deep[key].mean[-1]))}"
        if key in deep
        else ""
    )
    return f"{start}{accuracy}{mass}."


def _table(walk: Walk, found: Measured, told: Scores | None) -> Table:
    columns = [Column("epoch", "", True)]
    if told is not None:
        columns += [Column("accuracy", "%", True), Column("loss", "nat", True)]
    deep = found.layers.get(walk.deep, {})
    titles = {
        "mass": where_word(walk.sample),
        "centre": "in the middle",
        "border": "in the border",
        "entropy": "entropy",
        "drift": "drift",
        "with_last": "like the last",
    }
    for key in deep:
        columns.append(Column(f"{titles[key]}, {walk.deep}", "%" if key in found.area else "", True))
    rows: list[tuple[str | int | float | None, ...]] = []
    for n, epoch in enumerate(walk.epochs):
        row: list[str | int | float | None] = [epoch]
        if told is not None:
            row += [round(100 * float(told.accuracy[n]), 1), round(float(told.loss[n]), 3)]
        for key, series in deep.items():
            value = float(series.mean[n]) * (100 if key in found.area else 1)
            row.append(round(value, 1 if key in found.area else 3) if value == value else None)
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def series_of(walk: Walk, found: Measured, told: Scores | None) -> dict[str, object]:
    """Every series as plain values: what --json prints and what stands beside the figure."""
    return {
        "epochs": walk.epochs,
        "pictures": len(walk.sample),
        "deep": walk.deep,
        "early": walk.early,
        "accuracy": None if told is None else told.accuracy,
        "loss": None if told is None else told.loss,
        "measured_on": len(walk.labelled) if told is not None else 0,
        "area": dict(found.area),
        "layers": {
            layer: {name: asdict(series) for name, series in parts.items()} for layer, parts in found.layers.items()
        },
    }
