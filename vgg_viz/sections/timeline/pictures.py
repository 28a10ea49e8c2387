"""The same pictures before the network of every epoch: a figure of their maps, and a viewer to drag through training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vgg_viz.data.annotations import true_line
from vgg_viz.figures.attention import ScaledRow, maps_in_rows
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
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
from vgg_viz.number_text import counted, percent
from vgg_viz.records import Caption, Exhibit
from vgg_viz.studies.epochs import Walk

MOST_COLUMNS = 7  # epochs in the figure
MOST_FRAMES = 16  # epochs in the viewer
METHODS = (("how-much", "logit"), ("where", STRENGTH))


@section(
    "maps",
    study="timeline",
    title="Where it looked",
    order=20,
    lead="The same picture, the same class, one network after the other.",
)
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
    batch, asked = walk.looked, walk.targets(walk.looked)
    photos = pixels(batch.images)
    count = min(len(photos), max(2, 2 * walk.preset.rows))
    strips, moved = [], []
    for i in range(count):
        truth = walk.classes[int(asked[i])]
        for layer in dict.fromkeys((walk.deep, walk.early)):
            maps = torch.stack([walk.shown[epoch]["asked"].maps[layer][i] for epoch in epochs])
            placed = place(relative(maps), fields_of(walk.rows)[layer], walk.side)
            scale = shared_scale(placed, signed=True, unit=STRENGTH, over="all epochs of a row", quantile=LAYER_INSIDE)
            if layer == walk.deep:
                moved.append(float(drift(maps[:1], maps[-1:])))
            first, last = (_short(float(part.abs().max())) for part in (maps[0], maps[-1]))
            label = f"for {truth} at {layer}; peak {first} at first, {last} at last [logit]"
            said = [_said(walk, epoch, i) for epoch in epochs] if layer == walk.deep else []
            mask = None if batch.masks is None else batch.masks[i].numpy()
            strips.append(ScaledRow(photos[i], placed.numpy(), scale, label, said, mask))
    skipped = (
        ""
        if len(epochs) == len(walk.epochs)
        else f" {len(epochs)} of {len(walk.epochs)} kept epochs are shown, more of the early ones."
    )
    known = [value for value in moved if value == value]
    how = (
        f"Between the first and the last epoch shown the drift at {walk.deep} is {sum(known) / len(known):.2f} on average."
        if known
        else ""
    )
    return Exhibit(
        "timeline-maps",
        "The same pictures, epoch by epoch",
        Caption(
            see=f"Each row is a picture with Grad-CAM at one layer, after its ReLU, in the network of every epoch: at {walk.deep}, where reports look, and below it at the early "
            f"{walk.early}. Red is evidence for the class, blue against it: the ReLU that Grad-CAM usually ends with is left out, and the class's score is taken less the mean score of all classes, because what is added to all scores changes no answer. A value is a multiple "
            "of the map's own mean strength, and all epochs of a row share the scale at its right. The photo is paled below the maps. The line below says what the network of that epoch answered."
            + true_line(batch, " on the photo")
            + skipped,
            read=f"Follow a row from left to right: when does the red leave the corners and gather on the object, and is that the epoch in which the answer becomes right? {how}",
            cannot="How strong the evidence is: that grows with the logits, stands above each row, and can be seen in the viewer. These pictures were chosen because they were "
            "forgotten or came late, unless you gave others: the chapter in numbers has an even sample.",
        ),
        alt=f"{counted(count, 'picture')} with signed Grad-CAM maps in {counted(len(epochs), 'epoch')}, at {walk.deep} and {walk.early}. {how}".strip(),
        figure=maps_in_rows(
            strips,
            [f"epoch {epoch}" for epoch in epochs],
            over="all epochs of a row",
            title="Grad-CAM by epoch, one signed scale in each row",
        ),
        kind="picture",
        numbers={
            "epochs": epochs,
            "pictures": batch.names[:count],
            "classes": [walk.classes[int(index)] for index in asked[:count]],
            "layers": [walk.deep, walk.early],
            "scales": [strip.scale.high for strip in strips],
            "drift_first_to_last": moved,
            "said": [
                [walk.classes[int(walk.shown[epoch]["asked"].logits[i].argmax())] for epoch in epochs]
                for i in range(count)
            ],
        },
    )


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _said(walk: Walk, epoch: int, i: int) -> tuple[str, bool | None]:
    answer = int(walk.shown[epoch]["asked"].logits[i].argmax())
    labels = walk.looked.labels
    return walk.classes[answer], None if labels is None else answer == int(labels[i])


# ---------------------------------------------------------------- the viewer


def _viewer(walk: Walk) -> Exhibit:
    epochs = evenly(walk.epochs, MOST_FRAMES)
    return Exhibit(
        "timeline-viewer",
        "Try it: drag through training",
        Caption(
            see=f"{counted(len(walk.looked), 'picture').capitalize()} with Grad-CAM at {walk.deep} in {counted(len(epochs), 'epoch')}: in logits (how much), or as multiples of the "
            "map's own mean strength (where). Colours span the range of all epochs on the picture, so that you can go from one to the next.",
            read="Move the slider of epochs, or use the arrow keys in the row of small pictures. It opens with “where”: was the place right before the answer was? Change to “how much”: "
            "in logits the first epochs are pale, because a network that has learned nothing has little evidence for anything.",
            cannot="A map for the class that an epoch answered changes its question when the answer changes.",
        ),
        alt=f"Interactive viewer of {counted(len(walk.looked), 'picture')} with maps of {counted(len(epochs), 'epoch')}; the figure below shows the same.",
        numbers={"pictures": walk.looked.names, "epochs": epochs, "layer": walk.deep},
        viewer=payload_json(payload(walk, epochs)),
    )


def payload(walk: Walk, epochs: list[int]) -> ViewerPayload:
    """Maps of the pictures by epoch, which takes the place of layers; maps of one picture span one range, that of all epochs."""
    batch, asked, field = walk.looked, walk.targets(walk.looked), fields_of(walk.rows)[walk.deep]
    word = "true" if batch.labels is not None else "last answer"
    found: list[ViewerMap] = []
    factor = 1
    for i in range(len(batch)):
        for method, _ in METHODS:
            drawn = list(_drawn(walk, epochs, i, method, word, int(asked[i])))
            values, factor = downsample(torch.stack([one for _, _, _, one in drawn]), FINEST_LAYER)
            high = float(values.abs().max())
            # Colours end where all but a few peaks do; the bytes hold every value.
            limit = shared_scale(values, signed=True, unit="", over="", quantile=LAYER_INSIDE).high
            found += [
                ViewerMap(i, method, name_of(epoch), target, index, one, (-high, high), limit)
                for (epoch, target, index, _), one in zip(drawn, values, strict=True)
            ]
    said = {name_of(epoch): walk.shown[epoch]["asked"].logits.softmax(1) for epoch in epochs}
    return ViewerPayload(
        viewer_pictures(batch, said[name_of(epochs[-1])], said),
        walk.classes,
        _methods(walk),
        dict.fromkeys(said, field.then(Window(factor, factor))),
        found,
        axis="epoch",
        over=f"all epochs on this photo, without {percent(1 - LAYER_INSIDE, decimals=0)} of peaks",
        outline=outline_name(batch),
        pale=True,
        start=ViewerStart(0, "where", name_of(epochs[-1]), word),
    )


def name_of(epoch: int) -> str:
    """An epoch in the viewer's list of layers."""
    return f"epoch {epoch}"


def _methods(walk: Walk) -> list[ViewerMethod]:
    about = f"Grad-CAM at {walk.deep} of the class's score less the mean score of all classes, with evidence against it"
    told = {
        "how-much": f"{about}, in logits: what the places of the picture add to the score or take from it.",
        "where": f"{about}, as multiples of the map's own mean strength: comparable also where the logits are small.",
    }
    return [ViewerMethod(name, name.replace("-", " ").capitalize(), True, unit, told[name]) for name, unit in METHODS]


def _drawn(
    walk: Walk, epochs: list[int], i: int, method: str, word: str, asked: int
) -> Iterator[tuple[int, str, int, Tensor]]:
    """(epoch, target, class, map) of one picture: for the class that is asked about, and for what the epoch answers."""
    for epoch in epochs:
        for kind, target in (("asked", word), ("said", "answered")):
            found = walk.shown[epoch][kind]
            index = asked if kind == "asked" else int(found.logits[i].argmax())
            raw = found.maps[walk.deep][i : i + 1]
            yield epoch, target, index, (relative(raw) if method == "where" else raw)[0]
