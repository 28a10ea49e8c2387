"""Attention: where the evidence for a class is, by several methods, layers and classes, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vgg_viz.attribution import attribute, methods
from vgg_viz.attribution.cam import after_relu, choose_layer
from vgg_viz.attribution.shared import gradient_bundle
from vgg_viz.attribution.trust import Evidence, evidence
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.maths.heatmaps import Scale, place, shared_scale
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.maths.receptive_field import Field
from vgg_viz.records import Attribution, Caption, Column, Exhibit, Finding, Table
from vgg_viz.report.section import Looked, Subject, pixels, section
from vgg_viz.report.sections.activations import looked_at
from vgg_viz.report.viewer import payload

# For the second class too: the methods whose maps are about a class. The others hardly change, as the trials show.
TWO_CLASSES = ("grad_cam", "guided_grad_cam", "saliency", "integrated_gradients", "occlusion")
TRIED = 16  # pictures on which methods are put to the test
PEAKS = 0.995  # of the magnitudes lie inside a pixel map's scale: a few peaks would darken the rest


@dataclass(frozen=True, slots=True)
class Maps:
    """All maps of the section: for the predicted class and for a second one, by method, and Grad-CAM by layer.

    second  (B,) the true class of a mistake, else the runner-up
    """

    chosen_layer: str
    reason: str
    second: Tensor
    by_method: dict[tuple[str, str], Attribution]
    by_layer: dict[tuple[str, str], Attribution]


@section(
    "attention", title="Attention", order=80,
    lead="Where is the evidence? Heat maps always look convincing, so every method here is shown beside others, for a second class, and with "
    "the result of trials on this very checkpoint.",
)  # fmt: skip
def attention(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Viewer, methods side by side, layers side by side, two classes, and the trials."""
    looked = looked_at(subject)
    maps = compute(subject, looked)
    trials = tried(subject, looked)
    yield _viewer(subject, looked, maps, trials)
    if trials:
        yield _finding(trials)
        yield _trials(trials)
    yield _methods(subject, looked, maps)
    yield _layers(subject, looked, maps)
    yield _classes(subject, looked, maps)


def compute(subject: Subject, looked: Looked) -> Maps:
    """Every map that the section shows, from as few passes as the methods allow: one shared pass a class, then the others."""
    images = looked.batch.images.to(subject.device)
    side = images.shape[-1]
    convolution, reason = choose_layer(subject.geometry, side)
    layer = after_relu(subject.geometry, convolution)
    every = [after_relu(subject.geometry, row.name) for row in subject.conv_layers]
    order = looked.logits.argsort(dim=1, descending=True, stable=True)
    first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
    if looked.batch.labels is not None:
        second = torch.where(looked.batch.labels == first, second, looked.batch.labels)
    by_method: dict[tuple[str, str], Attribution] = {}
    by_layer: dict[tuple[str, str], Attribution] = {}
    window = max(2, round(side * subject.preset.window))
    for target, classes in (("predicted", first), ("second", second)):
        bundle = gradient_bundle(subject.model, images, classes.to(images.device), layers=every)
        ready = {"saliency": bundle.saliency, "input_x_gradient": bundle.input_x_gradient, "grad_cam": bundle.grad_cam[layer]}
        by_layer.update({(target, name): found for name, found in bundle.grad_cam.items()})
        for name in subject.preset.methods:
            if target == "second" and name not in TWO_CLASSES:
                continue
            by_method[target, name] = ready.get(name) or attribute(
                subject.model, images, method=name, target=classes.to(images.device), seed=subject.seed,
                layer=layer if methods()[name].layered else None, steps=subject.preset.steps, samples=subject.preset.samples,
                window=window, stride=max(1, round(window * subject.preset.stride)),
            )  # fmt: skip
    return Maps(layer, reason, second, by_method, by_layer)


def tried(subject: Subject, looked: Looked) -> tuple[Evidence, ...]:
    """The methods put to the test on this checkpoint; nothing where the preset leaves that out."""
    if not subject.preset.trust:
        return ()
    # Not the pictures looked into where there are others: half of those are mistakes, chosen for being so.
    batch = subject.material.labelled or looked.batch
    count = min(TRIED, len(batch))
    return evidence(
        subject.model, batch.images[:count].to(subject.device), names=subject.preset.methods,
        labels=None if batch.labels is None else batch.labels[:count], masks=None if batch.masks is None else batch.masks[:count],
        seed=subject.seed, steps=subject.preset.steps, samples=subject.preset.samples,
    )  # fmt: skip


# ---------------------------------------------------------------- exhibits


def _viewer(subject: Subject, looked: Looked, maps: Maps, trials: tuple[Evidence, ...]) -> Exhibit:
    fields = {row.name: row.field for row in subject.geometry if row.field is not None}
    everything = [*((t, a) for (t, name), a in maps.by_method.items() if name != "grad_cam"), *((t, a) for (t, _), a in maps.by_layer.items())]
    said = {trial.method: f"On trial here it {trial.reason}" for trial in trials}
    every_method = methods()
    shown = payload(looked.batch, subject.classes, looked.logits.softmax(1), everything, every_method, fields, said)
    return Exhibit(
        "attention-viewer",
        "Try it: picture, method, layer, class",
        Caption(
            see=f"A picture with a map over it; the stronger the value, the less transparent the colour. {len(looked.batch)} pictures, "
            f"{len(subject.preset.methods)} methods, Grad-CAM for all {len(subject.conv_layers)} convolutions, each for the predicted class and for a "
            "second one: the true class of a mistake, otherwise the runner-up.",
            read=f"Grad-CAM starts at {maps.chosen_layer}, the ReLU of the layer that was chosen. Why there: {maps.reason} Change one thing at a time. Does the map move when the class changes? "
            "Do two methods agree? Point at a cell of a layer's map to see the pixels that it can depend on.",
            cannot="A map shows what the score reacts to, not what the network thinks. That it looks right to us is no evidence that it is right.",
        ),
        alt=f"Interactive viewer of {len(looked.batch)} pictures with maps by {len(subject.preset.methods)} methods; the figures below show the same.",
        numbers={
            "pictures": looked.batch.names, "methods": subject.preset.methods, "chosen_layer": maps.chosen_layer,
            "reason": maps.reason, "predicted": looked.predicted, "second": maps.second,
            "passes": {name: maps.by_method["predicted", name].passes for name in subject.preset.methods},
        },
        viewer=shown,
    )  # fmt: skip


def _trials(trials: tuple[Evidence, ...]) -> Exhibit:
    titles = {name: method.title for name, method in methods().items()}
    passing = [titles[trial.method] for trial in trials if trial.verdict == "passes"]
    failing = [titles[trial.method] for trial in trials if trial.verdict == "fails"]
    pointed = any(trial.pointing is not None for trial in trials)
    words = f"{len(passing)} of {len(trials)} methods pass" + (f": {', '.join(passing)}" if passing else "")
    return Exhibit(
        "attention-trials",
        "Should you believe these maps?",
        Caption(
            see="Each method put to the test on this checkpoint and these pictures. Completeness: by how much the map's sum misses the change of the "
            "score that it promises to explain. Other class: rank correlation with the map of the runner-up; near 1, the map does not say which class "
            "it is about. Random weights: rank correlation with the map of the same network with randomised weights; near 1, the map shows the "
            "picture and not what was learned." + (" On the object: how often the strongest point lies on the object's mask." if pointed else ""),
            read=f"{words}. " + (f"{', '.join(failing)} fail: read their maps as drawings of edges, not as evidence. " if failing else "")
            + "The verdict is that of the worst check.",
            cannot="The thresholds are this package's conventions; the numbers are what was measured. A dozen pictures give a hint, not a proof, and a "
            "method that passes can still mislead on a single picture.",
        ),
        alt=f"Table of {len(trials)} attribution methods with their trials: {words}.",
        table=Table(
            (
                Column("method"), Column("verdict"), Column("completeness error", "share", True), Column("other class", "rank corr.", True),
                Column("random top layer", "rank corr.", True), Column("all layers random", "rank corr.", True),
                Column("peak on the object", "%", True), Column("why"),
            ),
            tuple(
                (
                    titles[t.method], t.verdict, _rounded(t.completeness), _rounded(t.discrimination), _rounded(t.randomised_top),
                    _rounded(t.randomised_all), None if t.pointing is None else round(100 * t.pointing.hit_rate, 1), t.reason,
                )
                for t in trials
            ),
        ),
        numbers={
            t.method: {
                "verdict": t.verdict, "reason": t.reason, "completeness": t.completeness, "discrimination": t.discrimination,
                "randomised_top": t.randomised_top, "randomised_all": t.randomised_all,
                "pointing": None if t.pointing is None else t.pointing.hit_rate,
            }
            for t in trials
        },
    )  # fmt: skip


def _finding(trials: tuple[Evidence, ...]) -> Finding:
    """Which maps of this report to believe first."""
    titles = {name: method.title for name, method in methods().items()}
    by_verdict = {verdict: [titles[t.method] for t in trials if t.verdict == verdict] for verdict in ("passes", "weak", "fails")}
    passing, failing = by_verdict["passes"], by_verdict["fails"]
    text = f"Of {len(trials)} attribution methods put to the test on this checkpoint, {len(passing)} pass every check"
    text += f" ({', '.join(passing)})" if passing else ""
    text += f", {len(by_verdict['weak'])} are weak and {len(failing)} fail" + (f" ({', '.join(failing)})" if failing else "")
    return Finding("note" if passing else "warn", f"{text}.")


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)


def _methods(subject: Subject, looked: Looked, maps: Maps) -> Exhibit:
    photos = pixels(looked.batch.images)
    names = subject.preset.methods
    titles = methods()
    fields = _fields(subject)
    chosen = _spread(len(photos), subject.preset.rows)
    rows = []
    for i in chosen:
        panels = []
        for name in names:
            found = maps.by_method["predicted", name]
            placed = on_picture(found, i, fields, photos[i].shape[:2])
            panels.append((titles[name].title, placed.numpy(), _scale(placed, found, "this map")))
        mask = None if looked.batch.masks is None else looked.batch.masks[i].numpy()
        rows.append(Row(photos[i], panels, _answer(subject, looked, i), mask))
    ranks = _agreement(maps, chosen, fields, photos[0].shape[:2], names)
    return Exhibit(
        "attention-methods",
        "Methods side by side",
        Caption(
            see=f"{len(chosen)} pictures, one a row; a column is a method, asked about the class that the network predicted. "
            f"Each map has its own scale, printed under it. Grad-CAM is taken at {maps.chosen_layer}. "
            + ("The outline is the object's true mask." if looked.batch.masks is not None else ""),
            read="Where methods of different families agree, the evidence is robust. Where they do not, ask what each one measures: a gradient is about "
            "small changes, occlusion about removing a part, Grad-CAM about where useful channels are active. " + ranks,
            cannot="Scales differ from map to map: a bright spot in one column is not stronger than a pale one in another.",
        ),
        alt=f"{len(chosen)} photographs with the maps of {len(names)} methods for the predicted class. {ranks}",
        figure=methods_side_by_side(rows, title="Methods side by side"),
        kind="picture",
        numbers={"pictures": [looked.batch.names[i] for i in chosen], "methods": names, "layer": maps.chosen_layer,
                 "ranges": {titles[n].title: [[p[2].low, p[2].high] for row in rows for p in row.maps if p[0] == titles[n].title] for n in names}},
    )  # fmt: skip


def _layers(subject: Subject, looked: Looked, maps: Maps) -> Exhibit:
    names = [after_relu(subject.geometry, row.name) for row in subject.conv_layers]
    if len(names) > 7:
        names = [names[round(i * (len(names) - 1) / 6)] for i in range(7)]
    photos = pixels(looked.batch.images)
    fields = _fields(subject)
    rows = []
    chosen = _spread(len(photos), subject.preset.rows)
    for i in chosen:
        placed = {name: on_picture(maps.by_layer["predicted", name], i, fields, photos[i].shape[:2]) for name in names}
        panels = [(name, value.numpy(), _scale(value, maps.by_layer["predicted", name], "this map")) for name, value in placed.items()]
        rows.append(Row(photos[i], panels, _answer(subject, looked, i)))
    return Exhibit(
        "attention-layers",
        "The same question at every depth",
        Caption(
            see=f"Grad-CAM for the predicted class at {len(names)} of {len(subject.conv_layers)} convolutions, each after its ReLU, from the first to the last, all from one forward "
            "and one backward pass. Every value is painted at the centre of what its unit sees.",
            read=f"Early layers give fine but scattered maps: their channels find edges, whatever they belong to. Late layers give coarse maps that follow "
            f"the object. The report uses {maps.chosen_layer}: {maps.reason}",
            cannot="Coarse maps are not wrong, and fine ones not right: a late map is as coarse as its grid, and smoothing only hides that.",
        ),
        alt=f"{len(chosen)} photographs with Grad-CAM maps of {len(names)} layers, coarser with depth; {maps.chosen_layer} is the chosen one.",
        figure=methods_side_by_side(rows, title="Grad-CAM layer by layer"),
        kind="picture",
        numbers={"layers": names, "chosen_layer": maps.chosen_layer, "pictures": [looked.batch.names[i] for i in chosen],
                 "maximum": {name: [float(maps.by_layer["predicted", name].values[i].max()) for i in chosen] for name in names}},
    )  # fmt: skip


def _classes(subject: Subject, looked: Looked, maps: Maps) -> Exhibit:
    photos = pixels(looked.batch.images)
    fields = _fields(subject)
    labels = looked.batch.labels
    wrong = [] if labels is None else [i for i in range(len(photos)) if int(looked.predicted[i]) != int(labels[i])]
    chosen = (wrong + [i for i in range(len(photos)) if i not in wrong])[: subject.preset.rows]
    rows = []
    for i in chosen:
        placed = [on_picture(maps.by_layer[target, maps.chosen_layer], i, fields, photos[i].shape[:2]) for target in ("predicted", "second")]
        scale = _scale(torch.stack(placed), maps.by_layer["predicted", maps.chosen_layer], "both maps of this row")
        difference = placed[0] - placed[1]
        signed = shared_scale(difference, signed=True, unit="logit", over="this map")
        mask = None if looked.batch.masks is None else looked.batch.masks[i].numpy()
        panels = [
            ("predicted class", placed[0].numpy(), scale), ("second class", placed[1].numpy(), scale), ("difference", difference.numpy(), signed),
        ]  # fmt: skip
        second = subject.classes[int(maps.second[i])]
        rows.append(Row(photos[i], panels, f"{_answer(subject, looked, i)}; second: {second}", mask))
    return Exhibit(
        "attention-classes",
        "This class, or that one?",
        Caption(
            see=f"Grad-CAM at {maps.chosen_layer} for the predicted class and for a second one (the true class where the network is wrong, otherwise the "
            "runner-up), on one scale a row, and their difference: red speaks for the predicted class, blue for the second.",
            read=(f"The first {min(len(wrong), len(chosen))} rows are mistakes: what in the picture spoke for the wrong class? " if wrong else "")
            + "If both maps are alike, the map tells where something is, not what it is.",
            cannot="Grad-CAM keeps only evidence for a class; evidence against it is cut off by its ReLU, in both maps.",
        ),
        alt=f"{len(chosen)} photographs with Grad-CAM for two classes and their signed difference; {min(len(wrong), len(chosen))} of them are mistakes.",
        figure=methods_side_by_side(rows, title="Two classes compared"),
        kind="picture",
        numbers={"pictures": [looked.batch.names[i] for i in chosen], "predicted": [int(looked.predicted[i]) for i in chosen],
                 "second": [int(maps.second[i]) for i in chosen]},
    )  # fmt: skip


# ---------------------------------------------------------------- pieces


def on_picture(found: Attribution, index: int, fields: dict[str, Field], size: tuple[int, int]) -> Tensor:
    """One map of an attribution in the pixels of its photo: layer maps land at receptive-field centres."""
    values = found.values[index : index + 1].detach().float().cpu()
    placed: Tensor = values if found.layer is None or values.shape[-2:] == size else place(values, fields[found.layer], size)
    return placed[0]


def _scale(values: Tensor, found: Attribution, over: str) -> Scale:
    quantile = PEAKS if found.layer is None else 1.0
    return shared_scale(values, signed=found.signed, unit=found.unit, over=over, quantile=quantile)


def _fields(subject: Subject) -> dict[str, Field]:
    return {row.name: row.field for row in subject.geometry if row.field is not None}


def _spread(count: int, rows: int) -> list[int]:
    """`rows` of `count` pictures, evenly: successes come first among them, mistakes last."""
    return sorted({round(i * (count - 1) / max(1, rows - 1)) for i in range(rows)})


def _answer(subject: Subject, looked: Looked, index: int) -> str:
    said = subject.classes[int(looked.predicted[index])]
    probability = float(looked.logits[index].softmax(0).max())
    text = f"says {said} ({probability * 100:.0f} %)"
    if looked.batch.labels is None:
        return f"{looked.batch.names[index]}: {text}"
    true = subject.classes[int(looked.batch.labels[index])]
    return f"{text}, and is right" if true == said else f"{text}, but it is {true}"


def _agreement(maps: Maps, chosen: list[int], fields: dict[str, Field], size: tuple[int, int], names: tuple[str, ...]) -> str:
    """How much Grad-CAM and the farthest other method agree, as a sentence with its number."""
    if "occlusion" not in names or "grad_cam" not in names:
        return ""
    a = torch.stack([on_picture(maps.by_method["predicted", "grad_cam"], i, fields, size) for i in chosen])
    b = torch.stack([on_picture(maps.by_method["predicted", "occlusion"], i, fields, size) for i in chosen])
    mean = float(torch.nanmean(rank_correlation(a, b)))
    return f"Grad-CAM and occlusion order the pixels with a mean rank correlation of {mean:.2f} here (1: alike, 0: unrelated)."

