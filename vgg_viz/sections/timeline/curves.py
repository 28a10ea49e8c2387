"""Accuracy, loss and what the maps do, on one axis of epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.data.annotations import where_word
from vgg_viz.figures.timeline import Chart, Line, numbers_by_epoch
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.records import Column, Exhibit, Finding, Table
from vgg_viz.studies.epoch_measures import BORDER, EpochMeasures, Series, first_above, measure_epochs
from vgg_viz.studies.epochs import EpochSeries

TEXTS = Texts(__name__)
SETTLED = 0.8  # rank correlation with the last maps from which on little moves
MOST_LINES = 4  # layers in one panel


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy [0, 1] and loss [nat] of every epoch on the labelled pictures, measured here: (E,) each."""

    accuracy: Tensor
    loss: Tensor


def scores(epoch_series: EpochSeries) -> Scores:
    """EpochMeasures again, and not read from the history: the pictures may be others, and the history knows no epoch 0."""
    loss = torch.stack([functional.cross_entropy(logits, epoch_series.labels) for logits in epoch_series.answers])
    return Scores(epoch_series.right.double().mean(1), loss.double())


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the small charts about the maps.

    Attributes:
        key: Name of its series in `EpochMeasures.layers`.
        title: What stands above it.
        limits: Range of its axis; None: that of the values.
        level: Name of the level to compare with, "" where there is none.
    """

    key: str
    title: str
    limits: tuple[float, float] | None = None
    level: str = ""


@section("numbers", study="timeline", order=10)
def curves(epoch_series: EpochSeries) -> Iterator[Exhibit | Finding]:
    """The panel of small multiples, its table, and what they say in sentences."""
    maps = measure_epochs(epoch_series)
    answers = scores(epoch_series) if epoch_series.inputs.labelled is not None else None
    if answers is not None:
        yield _accuracy_finding(epoch_series, answers)
    deep = maps.layers.get(epoch_series.deep, {})
    if "mass" in deep:
        yield _evidence_finding(epoch_series, deep["mass"], maps.area["mass"])
    if "with_last" in deep and len(epoch_series.epochs) >= 3:
        yield _settled_finding(epoch_series, deep["with_last"])
    yield _exhibit(epoch_series, maps, answers)


def _accuracy_finding(epoch_series: EpochSeries, answers: Scores) -> Finding:
    first, last = float(answers.accuracy[0]), float(answers.accuracy[-1])
    text = TEXTS.say(
        "findings.accuracy",
        first_epoch=epoch_series.epochs[0],
        last_epoch=epoch_series.epochs[-1],
        first=first,
        last=last,
        pictures=len(epoch_series.labelled),
    )
    return Finding("note" if last > first else "warn", text)


def _evidence_finding(epoch_series: EpochSeries, mass: Series, area: float) -> Finding:
    """Whether more of the evidence lies on the objects than their share of the area, and since when."""
    place = first_above(mass, area)
    text = TEXTS.say(
        "findings.evidence",
        start=float(mass.mean[0]),
        end=float(mass.mean[-1]),
        area=area,
        layer=epoch_series.deep,
        place=where_word(epoch_series.sample),
        since=None if place is None else epoch_series.epochs[place],
    )
    return Finding("warn" if place is None else "note" if place == 0 else "good", text)


def _settled_finding(epoch_series: EpochSeries, with_last: Series) -> Finding:
    place = _settled_from(with_last)
    if place is None:
        correlation = float(with_last.mean[-2])
        return Finding("note", TEXTS.say("findings.still_moving", layer=epoch_series.deep, correlation=correlation))
    return Finding(
        "note",
        TEXTS.say("findings.settled", layer=epoch_series.deep, settled=SETTLED, since=epoch_series.epochs[place]),
    )


def _settled_from(series: Series) -> int | None:
    """Place of the first epoch from which on the maps are like the last ones; None where that is the last epoch only."""
    values = series.mean[:-1].tolist()
    return next((n for n in range(len(values)) if min(values[n:]) >= SETTLED), None)


def _order(epoch_series: EpochSeries, maps: EpochMeasures) -> str:
    """Which layers settle first and last on this run."""
    places = {name: _settled_from(parts["with_last"]) for name, parts in maps.layers.items()}
    settled = {name: epoch_series.epochs[place] for name, place in places.items() if place is not None}
    first, last = min(settled.values(), default=0), max(settled.values(), default=0)
    compared = len(settled) > 1
    return TEXTS.say(
        "phrases.order",
        first=first,
        last=last,
        soonest=[name for name, epoch in settled.items() if epoch == first and compared],
        latest=[name for name, epoch in settled.items() if epoch == last and compared],
        settled=SETTLED,
    )


def _layers_shown(epoch_series: EpochSeries, maps: EpochMeasures) -> list[str]:
    """The layers in the figure: the deep one first, then others spread over the depth."""
    others = [name for name in maps.layers if name != epoch_series.deep]
    few = min(len(others), MOST_LINES - 1)
    spread = [others[round(i * (len(others) - 1) / max(1, few - 1))] for i in range(few)]
    return [name for name in (epoch_series.deep, *dict.fromkeys(spread)) if name in maps.layers]


def _exhibit(epoch_series: EpochSeries, maps: EpochMeasures, answers: Scores | None) -> Exhibit:
    names = _layers_shown(epoch_series, maps)
    charts = [] if answers is None else _answer_charts(epoch_series, answers)
    charts += [_chart(maps, names, panel) for panel in _panels(epoch_series)]
    masked = epoch_series.sample.masks is not None
    share = maps.layers.get(epoch_series.deep, {}).get("mass" if masked else "centre")
    text = TEXTS.exhibit(
        "numbers",
        labelled=0 if answers is None else len(epoch_series.labelled),
        pictures=len(epoch_series.sample),
        placed=int(epoch_series.sample.known.sum()),
        masked=masked,
        place=where_word(epoch_series.sample),
        border=BORDER,
        layers=len(names),
        layer=epoch_series.deep,
        order=_order(epoch_series, maps),
        epochs=len(epoch_series.epochs),
        accuracy=None if answers is None else _ends(answers.accuracy),
        share=None if share is None else _ends(share.mean),
    )
    return Exhibit(
        "timeline-numbers",
        text.title,
        text.caption,
        text.alt,
        figure=numbers_by_epoch(charts, epoch_series.epochs),
        table=_table(epoch_series, maps, answers),
        numbers=series_of(epoch_series, maps, answers),
    )


def _ends(values: Tensor) -> tuple[float, float]:
    return float(values[0]), float(values[-1])


def _answer_charts(epoch_series: EpochSeries, answers: Scores) -> list[Chart]:
    """Accuracy and loss, tested here and, where the run wrote it down, in training."""
    history = {entry.epoch: entry for entry in epoch_series.run.history}
    training = [history.get(epoch) for epoch in epoch_series.epochs]
    nan = float("nan")
    accuracy = [100 * entry.train_accuracy if entry else nan for entry in training]
    loss = [entry.train_loss if entry else nan for entry in training]
    chance = 100 / len(epoch_series.classes)
    return [
        Chart(
            "Accuracy [%]",
            [
                Line("tested", 100 * answers.accuracy.numpy()),
                *([Line("training", torch.tensor(accuracy).numpy())] if history else []),
            ],
            ("chance", chance),
            (0.0, 102.0),
        ),
        Chart(
            "Loss [nat]",
            [
                Line("tested", answers.loss.numpy()),
                *([Line("training", torch.tensor(loss).numpy())] if history else []),
            ],
        ),
    ]


def _panels(epoch_series: EpochSeries) -> list[Panel]:
    """The charts about the maps: of the objects where their places are known, else of the middle and the border."""
    if epoch_series.sample.masks is not None:
        first = [Panel("mass", f"Share of the map {where_word(epoch_series.sample)}", (0.0, 1.02), "object")]
    else:
        first = [
            Panel("centre", "Share of the map in the middle", (0.0, 1.02), "area"),
            Panel("border", "Share of the map in the border", (0.0, 1.02), "area"),
        ]
    return [
        *first,
        Panel("entropy", "Entropy of the map, 1 is flat"),
        Panel("drift", "Drift since the epoch before"),
        Panel("with_last", "Rank correlation with the last epoch"),
    ]


def _chart(maps: EpochMeasures, names: list[str], panel: Panel) -> Chart:
    lines = []
    for n, name in enumerate(names):
        series = maps.layers[name][panel.key]
        band = (series.low.numpy(), series.high.numpy()) if n == 0 else (None, None)
        lines.append(Line(name, series.mean.numpy(), *band))
    level = (panel.level, maps.area[panel.key]) if panel.key in maps.area else None
    return Chart(panel.title, lines, level, panel.limits)


def _table(epoch_series: EpochSeries, maps: EpochMeasures, answers: Scores | None) -> Table:
    columns = [Column("epoch", "", True)]
    if answers is not None:
        columns += [Column("accuracy", "%", True), Column("loss", "nat", True)]
    deep = maps.layers.get(epoch_series.deep, {})
    titles = {
        "mass": where_word(epoch_series.sample),
        "centre": "in the middle",
        "border": "in the border",
        "entropy": "entropy",
        "drift": "drift",
        "with_last": "like the last",
    }
    for key in deep:
        columns.append(Column(f"{titles[key]}, {epoch_series.deep}", "%" if key in maps.area else "", True))
    rows: list[tuple[str | int | float | None, ...]] = []
    for n, epoch in enumerate(epoch_series.epochs):
        row: list[str | int | float | None] = [epoch]
        if answers is not None:
            row += [round(100 * float(answers.accuracy[n]), 1), round(float(answers.loss[n]), 3)]
        for key, series in deep.items():
            value = float(series.mean[n]) * (100 if key in maps.area else 1)
            row.append(round(value, 1 if key in maps.area else 3) if value == value else None)
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def series_of(epoch_series: EpochSeries, maps: EpochMeasures, answers: Scores | None) -> dict[str, object]:
    """Every series as plain values: what --json prints and what stands beside the figure."""
    return {
        "epochs": epoch_series.epochs,
        "pictures": len(epoch_series.sample),
        "deep": epoch_series.deep,
        "early": epoch_series.early,
        "accuracy": None if answers is None else answers.accuracy,
        "loss": None if answers is None else answers.loss,
        "measured_on": len(epoch_series.labelled) if answers is not None else 0,
        "area": dict(maps.area),
        "layers": {
            layer: {name: asdict(series) for name, series in parts.items()} for layer, parts in maps.layers.items()
        },
    }
