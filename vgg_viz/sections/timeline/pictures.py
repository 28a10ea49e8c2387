"""The same pictures before the network of every epoch: a figure of their maps, and a viewer to drag through training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.data.annotations import true_line
from vgg_viz.figures.attention import ScaledRow, maps_in_rows
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.small_maps import downsample
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import (
    FINEST_LAYER,
    ViewerMap,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    outline_name,
    payload_json,
    viewer_pictures,
)
from vgg_viz.maths.change import drift
from vgg_viz.maths.heatmaps import MAP_INSIDE, STRENGTH, place, relative, shared_scale
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.geometry import fields_of
from vgg_viz.models.layer_words import activation_word
from vgg_viz.records import Exhibit
from vgg_viz.studies.epochs import EpochSeries

TEXTS = Texts(__name__)
MOST_COLUMNS = 7  # epochs in the figure
MOST_FRAMES = 16  # epochs in the viewer
METHODS = (("how-much", "logit"), ("where", STRENGTH))


@section("maps", study="timeline", order=20)
def pictures(epoch_series: EpochSeries) -> Iterator[Exhibit]:
    """The viewer, then the figure, for the pictures that are shown."""
    yield _viewer(epoch_series)
    yield _figure(epoch_series)


def evenly(epochs: tuple[int, ...], most: int) -> list[int]:
    """At most `most` epochs: the first, the last, and between them more of the early ones, where most happens."""
    if len(epochs) <= most:
        return list(epochs)
    last = len(epochs) - 1
    places = {0, 1, *(round(last * (i / (most - 1)) ** 1.5) for i in range(most)), last}
    missing = (n for n in range(len(epochs)) if n not in places)
    while len(places) < most:
        places.add(next(missing))
    kept = sorted(places)
    while len(kept) > most:
        kept.pop(-2)
    return [epochs[n] for n in kept]


def _figure(epoch_series: EpochSeries) -> Exhibit:
    epochs = evenly(epoch_series.epochs, MOST_COLUMNS)
    batch, targets = epoch_series.inspected, epoch_series.targets(epoch_series.inspected)
    count = min(len(batch), max(2, 2 * epoch_series.preset.rows))
    rows, drifts = _rows(epoch_series, targets, epochs, count)
    known = [value for value in drifts if value == value]
    text = TEXTS.exhibit(
        "maps",
        activation=activation_word(
            row.kind for row in epoch_series.rows if row.name in (epoch_series.deep, epoch_series.early)
        ),
        pictures=count,
        layer=epoch_series.deep,
        early=epoch_series.early,
        truth=true_line(batch, " on the photo"),
        shown=len(epochs),
        kept=len(epoch_series.epochs),
        drift=sum(known) / len(known) if known else None,
    )
    return Exhibit(
        "timeline-maps",
        text.title,
        text.caption,
        text.alt,
        figure=maps_in_rows(
            rows,
            [f"epoch {epoch}" for epoch in epochs],
            over="all epochs of a row",
            title="Grad-CAM by epoch, one signed scale in each row",
        ),
        kind="picture",
        numbers={
            "epochs": epochs,
            "pictures": batch.names[:count],
            "classes": [epoch_series.classes[int(index)] for index in targets[:count]],
            "layers": [epoch_series.deep, epoch_series.early],
            "scales": [row.scale.high for row in rows],
            "drift_first_to_last": drifts,
            "said": [[_answer(epoch_series, epoch, i)[0] for epoch in epochs] for i in range(count)],
        },
    )


def _rows(
    epoch_series: EpochSeries, targets: Tensor, epochs: list[int], count: int
) -> tuple[list[ScaledRow], list[float]]:
    """A row for each picture and layer, and how far each picture's map at the deep layer drifts from the first epoch to the last."""
    batch, photos = epoch_series.inspected, pixels(epoch_series.inspected.images)
    rows, drifts = [], []
    for i in range(count):
        name = epoch_series.classes[int(targets[i])]
        for layer in dict.fromkeys((epoch_series.deep, epoch_series.early)):
            maps = torch.stack([epoch_series.shown_maps[epoch]["asked"].maps[layer][i] for epoch in epochs])
            placed = place(relative(maps), fields_of(epoch_series.rows)[layer], epoch_series.side)
            scale = shared_scale(placed, signed=True, unit=STRENGTH, over="all epochs of a row", quantile=MAP_INSIDE)
            if layer == epoch_series.deep:
                drifts.append(float(drift(maps[:1], maps[-1:])))
            first, last = (_short(float(part.abs().max())) for part in (maps[0], maps[-1]))
            label = TEXTS.say("rows.label", name=name, layer=layer, first=first, last=last)
            answers = [_answer(epoch_series, epoch, i) for epoch in epochs] if layer == epoch_series.deep else []
            mask = None if batch.masks is None else batch.masks[i].numpy()
            rows.append(ScaledRow(photos[i], placed.numpy(), scale, label, answers, mask))
    return rows, drifts


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _answer(epoch_series: EpochSeries, epoch: int, i: int) -> tuple[str, bool | None]:
    """What the network of an epoch answers to a picture, and whether that is right, where anybody knows."""
    answer = int(epoch_series.shown_maps[epoch]["asked"].logits[i].argmax())
    labels = epoch_series.inspected.labels
    return epoch_series.classes[answer], None if labels is None else answer == int(labels[i])


# ---------------------------------------------------------------- the viewer


def _viewer(epoch_series: EpochSeries) -> Exhibit:
    epochs = evenly(epoch_series.epochs, MOST_FRAMES)
    text = TEXTS.exhibit("viewer", pictures=len(epoch_series.inspected), layer=epoch_series.deep, epochs=len(epochs))
    return Exhibit(
        "timeline-viewer",
        text.title,
        text.caption,
        text.alt,
        numbers={"pictures": epoch_series.inspected.names, "epochs": epochs, "layer": epoch_series.deep},
        viewer=payload_json(payload(epoch_series, epochs)),
    )


def payload(epoch_series: EpochSeries, epochs: list[int]) -> ViewerPayload:
    """Maps of the pictures by epoch, which takes the place of layers; maps of one picture span one range, that of all epochs."""
    batch, targets, field = (
        epoch_series.inspected,
        epoch_series.targets(epoch_series.inspected),
        fields_of(epoch_series.rows)[epoch_series.deep],
    )
    viewer_maps: list[ViewerMap] = []
    factor = 1
    for i in range(len(batch)):
        for method, _ in METHODS:
            keys, maps = zip(*_maps(epoch_series, epochs, i, method, int(targets[i])), strict=True)
            values, factor = downsample(torch.stack(maps), FINEST_LAYER)
            high = float(values.abs().max())
            # Colours end where all but a few peaks do; the bytes hold every value.
            limit = shared_scale(values, signed=True, unit="", over="", quantile=MAP_INSIDE).high
            viewer_maps += [
                ViewerMap(i, method, name_of(epoch), target, index, drawn, (-high, high), limit)
                for (epoch, target, index), drawn in zip(keys, values, strict=True)
            ]
    probabilities = {name_of(epoch): epoch_series.shown_maps[epoch]["asked"].logits.softmax(1) for epoch in epochs}
    return ViewerPayload(
        viewer_pictures(batch, probabilities[name_of(epochs[-1])], probabilities),
        epoch_series.classes,
        _methods(epoch_series),
        dict.fromkeys(probabilities, field.then(Window(factor, factor))),
        viewer_maps,
        axis="epoch",
        over=TEXTS.say("inside.over", peaks=1 - MAP_INSIDE),
        outline=outline_name(batch),
        pale=True,
        start=ViewerStart(0, "where", name_of(epochs[-1]), _target_word(epoch_series)),
    )


def name_of(epoch: int) -> str:
    """An epoch in the viewer's list of layers."""
    return f"epoch {epoch}"


def _target_word(epoch_series: EpochSeries) -> str:
    """The class that is asked about at every epoch: the true one, or where nobody knows it the last answer."""
    return "true" if epoch_series.inspected.labels is not None else "last answer"


def _methods(epoch_series: EpochSeries) -> list[ViewerMethod]:
    about = {
        "how-much": TEXTS.say("inside.how_much", layer=epoch_series.deep),
        "where": TEXTS.say("inside.where", layer=epoch_series.deep),
    }
    return [ViewerMethod(name, name.replace("-", " ").capitalize(), True, unit, about[name]) for name, unit in METHODS]


def _maps(
    epoch_series: EpochSeries, epochs: list[int], i: int, method: str, asked: int
) -> Iterator[tuple[tuple[int, str, int], Tensor]]:
    """(epoch, target, class) and map of one picture: for the class that is asked about, and for what the epoch answers."""
    for epoch in epochs:
        for kind, target in (("asked", _target_word(epoch_series)), ("said", "answered")):
            look = epoch_series.shown_maps[epoch][kind]
            index = asked if kind == "asked" else int(look.logits[i].argmax())
            raw = look.maps[epoch_series.deep][i : i + 1]
            yield (epoch, target, index), (relative(raw) if method == "where" else raw)[0]
