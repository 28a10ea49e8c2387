"""Attention: where the evidence for a class is, by several methods, layers and classes, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgg_viz.attribution import methods
from vgg_viz.attribution.methods.cam import after_relu, choose_layer
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.data.annotations import true_line
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.viewer import AttributedMaps, ViewerStart, attribution_payload, payload_json, viewer_method
from vgg_viz.maths.heatmaps import attribution_scale, on_picture
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.models.geometry import fields_of
from vgg_viz.number_text import counted, rows_of
from vgg_viz.records import Attribution, Caption, Exhibit, Finding
from vgg_viz.sections.report.activations import answer_line, looked_at
from vgg_viz.sections.report.faithfulness import exhibits, finding
from vgg_viz.studies.faithfulness import tried
from vgg_viz.studies.subject import Looked, Subject, spread

COLUMNS = 8  # methods in a figure; more take several


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """All maps of the section: for the predicted class and for a second one, by method, and Grad-CAM by layer.

    second  (B,) the true class of a mistake, else the runner-up
    """

    chosen_layer: str
    reason: str  # what is known of the chosen convolution and why it was chosen, without its name and the full stop
    second: Tensor
    by_method: dict[tuple[str, str], Attribution]
    by_layer: dict[tuple[str, str], Attribution]


@section(
    "attention",
    study="report",
    title="Attention",
    order=80,
    lead="Where is the evidence? Heat maps always look convincing, so every method here is shown beside others, for a second class, and with "
    "the result of trials on this very checkpoint.",
)
def attention(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Viewer, methods side by side, layers side by side, two classes, and the trials."""
    looked = looked_at(subject)
    trials = tried(subject, looked)
    verdicts = {trial.method: (trial.verdict, trial.reason) for trial in trials}
    names = (
        *(name for name in verdicts if name in subject.preset.methods),
        *(name for name in subject.preset.methods if name not in verdicts),
    )
    maps = compute(subject, looked, names)
    names = tuple(name for name in names if ("predicted", name) in maps.by_method)
    failing = [name for name, (verdict, _) in verdicts.items() if verdict == "fails"]
    titles = {name: f"{methods()[name].title}{' (fails)' if name in failing else ''}" for name in names}
    yield _viewer(subject, looked, maps, {name: reason for name, (_, reason) in verdicts.items()}, titles)
    if trials:
        yield finding(trials)
        yield from exhibits(trials)
    yield from _methods(subject, looked, maps, titles)
    yield _layers(subject, looked, maps)
    yield _classes(subject, looked, maps)


def about_a_class(name: str) -> bool:
    """Whether a method is asked about a second class too: those whose maps follow the class by how they are made.

    Maps of plain gradients hardly change with the class, as the trials show.
    """
    about = methods()[name]
    return about.family in ("cam", "perturbation") or about.complete


def grain(found: Attribution) -> bool:
    """Whether a map is shown on its own ground: grain of single pixels is lost over a photo. Layer maps and patches stay over it."""
    return found.layer is None and methods()[found.method].family != "perturbation"


def compute(subject: Subject, looked: Looked, names: tuple[str, ...] = ()) -> AttentionMaps:
    """Every map that the section shows, from as few passes as the methods allow: one shared pass a class, then the others.

    names  of methods, those that the viewer holds first; none: those of the preset
    """
    names = names or subject.preset.methods
    usual = choose_layer(subject.geometry, looked.batch.images.shape[-1])
    layer = after_relu(subject.geometry, usual.name)
    every = [after_relu(subject.geometry, row.name) for row in subject.conv_layers]
    order = looked.logits.argsort(dim=1, descending=True, stable=True)
    first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
    if looked.batch.labels is not None:
        second = torch.where(looked.batch.labels == first, second, looked.batch.labels)
    by_method: dict[tuple[str, str], Attribution] = {}
    by_layer: dict[tuple[str, str], Attribution] = {}
    for target, classes in (("predicted", first), ("second", second)):
        wanted = [name for name in held(subject, names) if about_a_class(name)] if target == "second" else list(names)
        also = [name for name in wanted if name in SHARED]
        ready = subject.maps.shared(looked.batch, classes, target=target, layers=every, also=also, layer=layer)
        by_layer.update({(target, name): ready["grad_cam", name] for name in every})
        for name in wanted:
            found = ready.get((name, layer if methods()[name].layered else None))
            if found is None and subject.maps.offers(looked.batch, name, target):
                found = subject.maps.attribute(looked.batch, name, classes, target=target, layer=layer)
            if found is not None:
                by_method[target, name] = found
    return AttentionMaps(layer, usual.reason, second, by_method, by_layer)


def held(subject: Subject, names: tuple[str, ...]) -> tuple[str, ...]:
    """The methods in the viewer, whose maps are most of a page's bytes: the first of them, and Grad-CAM for its layers."""
    first = names[: subject.preset.viewer]
    return first if "grad_cam" in first or "grad_cam" not in names else (*first[:-1], "grad_cam")


# ---------------------------------------------------------------- exhibits


def _viewer(
    subject: Subject, looked: Looked, maps: AttentionMaps, reasons: dict[str, str], titles: dict[str, str]
) -> Exhibit:
    names = held(subject, tuple(titles))
    everything: list[tuple[str, Attribution]] = []
    for name in names:
        if name == "grad_cam":  # at its usual layer first: there the viewer opens where it opens with Grad-CAM
            layers = sorted(maps.by_layer.items(), key=lambda item: item[0][1] != maps.chosen_layer)
            everything += [
                (target, found)
                for (target, layer), found in layers
                if target == "predicted" or layer == maps.chosen_layer
            ]
        else:
            everything += [
                (target, maps.by_method[target, name])
                for target in ("predicted", "second")
                if (target, name) in maps.by_method
            ]
    said = {name: f"On trial here it {reason}" for name, reason in reasons.items()}
    about = [replace(viewer_method(methods()[name], said.get(name, "")), title=titles[name]) for name in names]
    both = [titles[name] for name in names if ("second", name) in maps.by_method]
    twice = f"{', '.join(both[:-1])} and {both[-1]}" if len(both) > 1 else "".join(both)
    rest = [titles[name] for name in titles if name not in names]
    shown = attribution_payload(
        looked.batch,
        subject.classes,
        looked.logits.softmax(1),
        AttributedMaps(everything, about, fields_of(subject.geometry)),
        start=ViewerStart(0, names[0], maps.chosen_layer, "predicted"),
    )
    return Exhibit(
        "attention-viewer",
        "Try it: picture, method, layer, class",
        Caption(
            see=f"A picture with a map over it; the stronger the value, the less transparent the colour. {counted(len(looked.batch), 'picture')}, "
            f"{counted(len(names), 'method')}{', the most credible on this checkpoint first' if reasons else ''}, Grad-CAM for {'all ' if len(subject.conv_layers) > 1 else ''}"
            f"{counted(len(subject.conv_layers), 'convolution')}. {twice} can also be asked about a second class: the true class of a mistake, "
            "otherwise the runner-up." + (f" {', '.join(rest)}: in the figures below." if rest else ""),
            read=f"Grad-CAM starts at {maps.chosen_layer}: {maps.reason}. Change one thing at a time. Does the map move when the class changes? "
            "Do two methods agree? Point at a cell of a layer's map to see the pixels that it can depend on.",
            cannot="A map shows what the score reacts to, not what the network thinks. That it looks right to us is no evidence that it is right.",
        ),
        alt=f"Interactive viewer of {counted(len(looked.batch), 'picture')} with maps by {counted(len(names), 'method')}; the figures below show the same.",
        numbers={
            "pictures": looked.batch.names,
            "methods": names,
            "chosen_layer": maps.chosen_layer,
            "reason": maps.reason,
            "predicted": looked.predicted,
            "second": maps.second,
            "passes": {name: maps.by_method["predicted", name].passes for name in titles},
        },
        viewer=payload_json(shown),
    )


def _methods(subject: Subject, looked: Looked, maps: AttentionMaps, titles: dict[str, str]) -> Iterator[Exhibit]:
    names = tuple(titles)
    count = -(-len(names) // COLUMNS)
    for part in range(count):
        here = names[len(names) * part // count : len(names) * (part + 1) // count]
        yield _side_by_side(
            subject, looked, maps, {name: titles[name] for name in here}, f"-{part + 1}" if part else ""
        )


def _side_by_side(
    subject: Subject, looked: Looked, maps: AttentionMaps, titles: dict[str, str], suffix: str
) -> Exhibit:
    names = tuple(titles)
    photos = pixels(looked.batch.images)
    chosen = spread(len(photos), subject.preset.rows)
    rows = []
    for i in chosen:
        panels = []
        for name in names:
            found = maps.by_method["predicted", name]
            placed = _placed(subject, looked, found, i)
            panels.append((titles[name], placed.numpy(), attribution_scale(placed, found, over="this map")))
        mask = None if looked.batch.masks is None else looked.batch.masks[i].numpy()
        rows.append(Row(photos[i], panels, answer_line(subject.classes, looked, i), mask))
    ranks = _agreement(subject, looked, maps, chosen, names)
    return Exhibit(
        "attention-methods" + suffix,
        f"Methods side by side{f', {suffix[1:]}' if suffix else ''}",
        Caption(
            see=f"{rows_of(len(chosen))}; a column is a method, asked about the class that the network predicted. "
            f"The most credible stand first where they were put to the test. Each map has its own scale, printed under it. Maps of a layer, here {maps.chosen_layer}, and of "
            "patches lie over the picture, the stronger the less transparent; maps in grains of single pixels have their own ground, the colour of zero."
            + true_line(looked.batch),
            read="What methods of different families agree on is less likely to be a whim of one of them. Where they do not, ask what each one measures: a gradient is about "
            "small changes, occlusion about removing a part, Grad-CAM about where useful channels are active. " + ranks,
            cannot="Scales differ from map to map: a bright spot in one column is not stronger than a pale one in another.",
        ),
        alt=f"{counted(len(chosen), 'picture')} with the maps of {counted(len(names), 'method')} for the predicted class. {ranks}",
        figure=methods_side_by_side(
            rows,
            alone=[titles[name] for name in names if grain(maps.by_method["predicted", name])],
            title=f"{counted(len(names), 'method')} on {counted(len(chosen), 'picture')}, for the predicted class",
        ),
        kind="picture",
        numbers={
            "pictures": [looked.batch.names[i] for i in chosen],
            "methods": names,
            "layer": maps.chosen_layer,
            "ranges": {
                titles[n]: [[p[2].low, p[2].high] for row in rows for p in row.maps if p[0] == titles[n]] for n in names
            },
        },
    )


def _layers(subject: Subject, looked: Looked, maps: AttentionMaps) -> Exhibit:
    names = [after_relu(subject.geometry, row.name) for row in subject.conv_layers]
    if len(names) > 7:
        names = [names[i] for i in spread(len(names), 7)]
    some = (
        f"all {len(names)}" if len(names) == len(subject.conv_layers) else f"{len(names)} of {len(subject.conv_layers)}"
    )
    photos = pixels(looked.batch.images)
    rows = []
    chosen = spread(len(photos), max(1, subject.preset.rows // 2))
    for i in chosen:
        placed = {name: _placed(subject, looked, maps.by_layer["predicted", name], i) for name in names}
        panels = [
            (name, value.numpy(), attribution_scale(value, maps.by_layer["predicted", name], over="this map"))
            for name, value in placed.items()
        ]
        rows.append(Row(photos[i], panels, answer_line(subject.classes, looked, i)))
    return Exhibit(
        "attention-layers",
        "The same question at every depth",
        Caption(
            see=f"Grad-CAM for the predicted class after the ReLU of {some} convolutions, from the first to the last, all from one forward "
            "and one backward pass. Each map has its own scale. Every value is painted at the centre of what its unit sees.",
            read=f"Early layers give fine but scattered maps: their channels find edges and colours, whatever they belong to. Later maps are coarser, and in a "
            f"well trained network they often gather on the object. The report uses {maps.chosen_layer}: {maps.reason}.",
            cannot="Coarse maps are not wrong, and fine ones not right: a late map is as coarse as its grid, and smoothing only hides that. Grad-CAM was proposed "
            "for the last convolutions; weighting early channels by one number each says little.",
        ),
        alt=f"{counted(len(chosen), 'picture')} with Grad-CAM maps of {counted(len(names), 'layer')}, coarser with depth; {maps.chosen_layer} is the chosen one.",
        figure=methods_side_by_side(rows, title=f"Grad-CAM after {some} convolutions, early to late"),
        kind="picture",
        numbers={
            "layers": names,
            "chosen_layer": maps.chosen_layer,
            "pictures": [looked.batch.names[i] for i in chosen],
            "maximum": {
                name: [float(maps.by_layer["predicted", name].values[i].max()) for i in chosen] for name in names
            },
        },
    )


def _classes(subject: Subject, looked: Looked, maps: AttentionMaps) -> Exhibit:
    photos = pixels(looked.batch.images)
    labels = looked.batch.labels
    wrong = [] if labels is None else [i for i in range(len(photos)) if int(looked.predicted[i]) != int(labels[i])]
    chosen = (wrong + [i for i in range(len(photos)) if i not in wrong])[: subject.preset.rows]
    rows = []
    for i in chosen:
        placed = [
            _placed(subject, looked, maps.by_layer[target, maps.chosen_layer], i) for target in ("predicted", "second")
        ]
        scale = attribution_scale(
            torch.stack(placed), maps.by_layer["predicted", maps.chosen_layer], over="both maps of this row"
        )
        difference = placed[0] - placed[1]
        signed = attribution_scale(
            difference, maps.by_layer["predicted", maps.chosen_layer], over="this map", signed=True
        )
        mask = None if looked.batch.masks is None else looked.batch.masks[i].numpy()
        panels = [
            ("predicted class", placed[0].numpy(), scale),
            ("second class", placed[1].numpy(), scale),
            ("difference", difference.numpy(), signed),
        ]
        second = subject.classes[int(maps.second[i])]
        told = (
            "" if i in wrong else f"; second: {second}"
        )  # of a mistake, the second is its true class, which is told already
        rows.append(Row(photos[i], panels, f"{answer_line(subject.classes, looked, i)}{told}", mask))
    mistakes = min(len(wrong), len(chosen))
    first = "The first row is a mistake" if mistakes == 1 else f"The first {mistakes} rows are mistakes"
    first = "All rows are mistakes" if 1 < mistakes == len(chosen) else first
    return Exhibit(
        "attention-classes",
        "This class, or that one?",
        Caption(
            see=f"Grad-CAM at {maps.chosen_layer} for the predicted class and for a second one (the true class where the network is wrong, otherwise the "
            "runner-up), on one scale per row, and their difference: red speaks for the predicted class, blue for the second.",
            read=(f"{first}: what in the picture spoke for the wrong class? " if wrong else "")
            + "If both maps are alike, the map tells where something is, not what it is.",
            cannot="Grad-CAM keeps only evidence for a class; evidence against it is cut off by its ReLU, in both maps. A faint map on the photo is a small value on the "
            "scale of its row, not an uncertain one.",
        ),
        alt=f"{counted(len(chosen), 'picture')} with Grad-CAM for two classes and their signed difference"
        + ("." if labels is None else f"; {counted(mistakes, 'mistake')} among them."),
        figure=methods_side_by_side(rows, title=f"Grad-CAM at {maps.chosen_layer}, class against class"),
        kind="picture",
        numbers={
            "pictures": [looked.batch.names[i] for i in chosen],
            "predicted": [int(looked.predicted[i]) for i in chosen],
            "second": [int(maps.second[i]) for i in chosen],
        },
    )


# ---------------------------------------------------------------- pieces


def _placed(subject: Subject, looked: Looked, found: Attribution, index: int) -> Tensor:
    """(H, W) one of the maps, on its picture."""
    values = found.values[index : index + 1].detach().float().cpu()
    return on_picture(values, found.layer, fields_of(subject.geometry), looked.batch.images.shape[-2:])[0]


def _agreement(subject: Subject, looked: Looked, maps: AttentionMaps, chosen: list[int], names: tuple[str, ...]) -> str:
    """How much Grad-CAM and the farthest other method agree, as a sentence with its number."""
    if "occlusion" not in names or "grad_cam" not in names:
        return ""
    a, b = (
        torch.stack([_placed(subject, looked, maps.by_method["predicted", name], i) for i in chosen])
        for name in ("grad_cam", "occlusion")
    )
    mean = float(torch.nanmean(rank_correlation(a, b)))
    if mean != mean:
        return "One of Grad-CAM and occlusion is flat here, so their agreement cannot be measured."
    over = "on this picture" if len(chosen) == 1 else f"on average over these {len(chosen)} pictures"
    return f"Grad-CAM and occlusion rank the pixels with a correlation of {mean:.2f} {over} (1: alike, 0: unrelated)."
