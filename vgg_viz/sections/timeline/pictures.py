"""The same pictures before the network of every epoch: a figure of their maps, and a viewer to drag through training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.data.annotations import true_line
from vgg_viz.figures.attention import ScaledRow, maps_in_rows
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import (
    FINEST_LAYER,
    ViewerMap,
    ViewerMethod,
    ViewerPayload,
    ViewerStart,
    downsample,
    outline_name,
    payload_json,
    viewer_pictures,
)
from vgg_viz.maths.change import drift
from vgg_viz.maths.heatmaps import LAYER_INSIDE, STRENGTH, place, relative, shared_scale
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.geometry import fields_of
from vgg_viz.records import Exhibit
from vgg_viz.studies.epochs import Walk

TEXTS = Texts(__name__)
MOST_COLUMNS = 7  # epochs in the figure
MOST_FRAMES = 16  # epochs in the viewer
METHODS = (("how-much", "logit"), ("where", STRENGTH))


@section("maps", study="timeline", order=20)
def pictures(walk: Walk) -> Iterator[Exhibit]:
    """The viewer, then the figure, for the pictures that are shown."""
    yield _viewer(walk)
    yield _figure(walk)


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


def _figure(walk: Walk) -> Exhibit:
    epochs = evenly(walk.epochs, MOST_COLUMNS)
    batch, targets = walk.looked, walk.targets(walk.looked)
    count = min(len(batch), max(2, 2 * walk.preset.rows))
    rows, drifts = _rows(walk, targets, epochs, count)
    known = [value for value in drifts if value == value]
    text = TEXTS.exhibit(
        "maps",
        pictures=count,
        layer=walk.deep,
        early=walk.early,
        truth=true_line(batch, " on the photo"),
        shown=len(epochs),
        kept=len(walk.epochs),
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
            "classes": [walk.classes[int(index)] for index in targets[:count]],
            "layers": [walk.deep, walk.early],
            "scales": [row.scale.high for row in rows],
            "drift_first_to_last": drifts,
            "said": [[_answer(walk, epoch, i)[0] for epoch in epochs] for i in range(count)],
        },
    )


def _rows(walk: Walk, targets: Tensor, epochs: list[int], count: int) -> tuple[list[ScaledRow], list[float]]:
    """A row for each picture and layer, and how far each picture's map at the deep layer drifts from the first epoch to the last."""
    batch, photos = walk.looked, pixels(walk.looked.images)
    rows, drifts = [], []
    for i in range(count):
        name = walk.classes[int(targets[i])]
        for layer in dict.fromkeys((walk.deep, walk.early)):
            maps = torch.stack([walk.shown[epoch]["asked"].maps[layer][i] for epoch in epochs])
            placed = place(relative(maps), fields_of(walk.rows)[layer], walk.side)
            scale = shared_scale(placed, signed=True, unit=STRENGTH, over="all epochs of a row", quantile=LAYER_INSIDE)
            if layer == walk.deep:
                drifts.append(float(drift(maps[:1], maps[-1:])))
            first, last = (_short(float(part.abs().max())) for part in (maps[0], maps[-1]))
            label = TEXTS.say("rows.label", name=name, layer=layer, first=first, last=last)
            answers = [_answer(walk, epoch, i) for epoch in epochs] if layer == walk.deep else []
            mask = None if batch.masks is None else batch.masks[i].numpy()
            rows.append(ScaledRow(photos[i], placed.numpy(), scale, label, answers, mask))
    return rows, drifts


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _answer(walk: Walk, epoch: int, i: int) -> tuple[str, bool | None]:
    """What the network of an epoch answers to a picture, and whether that is right, where anybody knows."""
    answer = int(walk.shown[epoch]["asked"].logits[i].argmax())
    labels = walk.looked.labels
    return walk.classes[answer], None if labels is None else answer == int(labels[i])


# ---------------------------------------------------------------- the viewer


def _viewer(walk: Walk) -> Exhibit:
    epochs = evenly(walk.epochs, MOST_FRAMES)
    text = TEXTS.exhibit("viewer", pictures=len(walk.looked), layer=walk.deep, epochs=len(epochs))
    return Exhibit(
        "timeline-viewer",
        text.title,
        text.caption,
        text.alt,
        numbers={"pictures": walk.looked.names, "epochs": epochs, "layer": walk.deep},
        viewer=payload_json(payload(walk, epochs)),
    )


def payload(walk: Walk, epochs: list[int]) -> ViewerPayload:
    """Maps of the pictures by epoch, which takes the place of layers; maps of one picture span one range, that of all epochs."""
    batch, targets, field = walk.looked, walk.targets(walk.looked), fields_of(walk.rows)[walk.deep]
    viewer_maps: list[ViewerMap] = []
    factor = 1
    for i in range(len(batch)):
        for method, _ in METHODS:
            keys, maps = zip(*_maps(walk, epochs, i, method, int(targets[i])), strict=True)
            values, factor = downsample(torch.stack(maps), FINEST_LAYER)
            high = float(values.abs().max())
            # Colours end where all but a few peaks do; the bytes hold every value.
            limit = shared_scale(values, signed=True, unit="", over="", quantile=LAYER_INSIDE).high
            viewer_maps += [
                ViewerMap(i, method, name_of(epoch), target, index, drawn, (-high, high), limit)
                for (epoch, target, index), drawn in zip(keys, values, strict=True)
            ]
    probabilities = {name_of(epoch): walk.shown[epoch]["asked"].logits.softmax(1) for epoch in epochs}
    return ViewerPayload(
        viewer_pictures(batch, probabilities[name_of(epochs[-1])], probabilities),
        walk.classes,
        _methods(walk),
        dict.fromkeys(probabilities, field.then(Window(factor, factor))),
        viewer_maps,
        axis="epoch",
        over=TEXTS.say("inside.over", peaks=1 - LAYER_INSIDE),
        outline=outline_name(batch),
        pale=True,
        start=ViewerStart(0, "where", name_of(epochs[-1]), _target_word(walk)),
    )


def name_of(epoch: int) -> str:
    """An epoch in the viewer's list of layers."""
    return f"epoch {epoch}"


def _target_word(walk: Walk) -> str:
    """The class that is asked about at every epoch: the true one, or where nobody knows it the last answer."""
    return "true" if walk.looked.labels is not None else "last answer"


def _methods(walk: Walk) -> list[ViewerMethod]:
    about = {
        "how-much": TEXTS.say("inside.how_much", layer=walk.deep),
        "where": TEXTS.say("inside.where", layer=walk.deep),
    }
    return [ViewerMethod(name, name.replace("-", " ").capitalize(), True, unit, about[name]) for name, unit in METHODS]


def _maps(
    walk: Walk, epochs: list[int], i: int, method: str, asked: int
) -> Iterator[tuple[tuple[int, str, int], Tensor]]:
    """(epoch, target, class) and map of one picture: for the class that is asked about, and for what the epoch answers."""
    for epoch in epochs:
        for kind, target in (("asked", _target_word(walk)), ("said", "answered")):
            look = walk.shown[epoch][kind]
            index = asked if kind == "asked" else int(look.logits[i].argmax())
            raw = look.maps[walk.deep][i : i + 1]
            yield (epoch, target, index), (relative(raw) if method == "where" else raw)[0]
