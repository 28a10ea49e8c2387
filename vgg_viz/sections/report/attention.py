"""Attention: attribution maps by several methods, layers and classes, and whether to believe them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vgg_viz.attribution import methods
from vgg_viz.attribution.layers import after_activation, choose_layer
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.data.annotations import true_line
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.image_grid import pixels
from vgg_viz.gallery.sections import section
from vgg_viz.gallery.texts import Texts
from vgg_viz.gallery.viewer import AttributedMaps, ViewerStart, attribution_payload, payload_json, viewer_method
from vgg_viz.maths.heatmaps import attribution_scale, on_picture, painted
from vgg_viz.maths.metrics import rank_correlation
from vgg_viz.models.geometry import fields_of
from vgg_viz.models.layer_words import read_where
from vgg_viz.number_text import chosen as chosen_output
from vgg_viz.number_text import counted
from vgg_viz.records import Attribution, Exhibit, Finding
from vgg_viz.sections.report.activations import answer_line, require_inspected
from vgg_viz.sections.report.faithfulness import exhibits, finding
from vgg_viz.sections.report.opening import FirstMaps
from vgg_viz.studies.answers import evenly_spaced
from vgg_viz.studies.faithfulness import faithfulness_results
from vgg_viz.studies.subject import Inspected, Subject

TEXTS = Texts(__name__)
COLUMNS = 8  # methods in a figure; more take several


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """All maps of the section: for the predicted class and for a second one, by method, and Grad-CAM by layer.

    Attributes:
        chosen_layer: The layer of maps by methods that ask for one.
        reason: What is known of it and why it was chosen, without its name and the full stop.
        second: (B,) the true class of a mistake, else the runner-up.
        by_method: By target ("predicted", "second") and method.
        by_layer: Grad-CAM, by target and layer.
    """

    chosen_layer: str
    reason: str
    second: Tensor
    by_method: dict[tuple[str, str], Attribution]
    by_layer: dict[tuple[str, str], Attribution]


@section("attention", study="report", order=80, chapter="looks", needs="scores")
def attention(subject: Subject) -> Iterator[Exhibit | Finding]:
    """Viewer, methods side by side, layers side by side, two classes, and the trials."""
    inspected = require_inspected(subject)
    trials = faithfulness_results(subject, inspected)
    verdicts = {trial.method: (trial.verdict, trial.reason) for trial in trials}
    names = (
        *(name for name in verdicts if name in subject.preset.methods),
        *(name for name in subject.preset.methods if name not in verdicts),
    )
    maps = compute(subject, inspected, names)
    names = tuple(name for name in names if ("predicted", name) in maps.by_method)
    failing = [name for name, (verdict, _) in verdicts.items() if verdict == "fails"]
    titles = {name: methods()[name].title for name in names}
    titles |= {name: TEXTS.say("phrases.failing", method=titles[name]) for name in names if name in failing}
    yield _viewer(subject, inspected, maps, {name: reason for name, (_, reason) in verdicts.items()}, titles)
    if trials:
        yield finding(trials)
        yield from exhibits(trials)
    yield from _methods(subject, inspected, maps, titles)
    yield _layers(subject, inspected, maps)
    if len(subject.classes) > 1:
        yield _classes(subject, inspected, maps)
    if subject.preset.trust and subject.noun == "score":
        yield Finding("note", TEXTS.say("findings.no_probability"))


def about_a_class(name: str) -> bool:
    """Whether a method is asked about a second class too: those whose maps follow the class by how they are made.

    Maps of plain gradients hardly change with the class, as the trials show.
    """
    about = methods()[name]
    return about.family in ("cam", "perturbation") or about.complete


def grain(maps: Attribution) -> bool:
    """Whether a map is shown on its own background: grain of single pixels is lost over a photo. Layer maps and patches stay over it."""
    return maps.layer is None and methods()[maps.method].family != "perturbation"


def compute(subject: Subject, inspected: Inspected, names: tuple[str, ...] = ()) -> AttentionMaps:
    """Every map that the section shows, from as few passes as the methods allow: one shared pass a class, then the others.

    Args:
        subject: The checkpoint under study.
        inspected: The pictures, with the network's answers.
        names: Methods, those that the viewer holds first; none: those of the preset.
    """
    names = names or subject.preset.methods
    usual = choose_layer(subject.geometry, inspected.batch.images.shape[-1])
    layer = after_activation(subject.geometry, usual.name)
    every = [after_activation(subject.geometry, row.name) for row in subject.conv_layers]
    order = inspected.logits.argsort(dim=1, descending=True, stable=True)
    first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
    if inspected.batch.labels is not None:
        second = torch.where(inspected.batch.labels == first, second, inspected.batch.labels)
    by_method: dict[tuple[str, str], Attribution] = {}
    by_layer: dict[tuple[str, str], Attribution] = {}
    alone = order.shape[1] == 1
    for target, classes in (("predicted", first), *([] if alone else [("second", second)])):
        wanted = [name for name in held(subject, names) if about_a_class(name)] if target == "second" else list(names)
        also = [name for name in wanted if name in SHARED]
        shared = subject.maps.shared(inspected.batch, classes, target=target, layers=every, also=also, layer=layer)
        by_layer.update({(target, name): shared["grad_cam", name] for name in every})
        for name in wanted:
            maps = shared.get((name, layer if methods()[name].layered else None))
            if maps is None and subject.maps.offers(inspected.batch, name, target):
                maps = subject.maps.attribute(inspected.batch, name, classes, target=target, layer=layer)
            if maps is not None:
                by_method[target, name] = maps
    return AttentionMaps(layer, usual.reason, second, by_method, by_layer)


def held(subject: Subject, names: tuple[str, ...]) -> tuple[str, ...]:
    """The methods in the viewer, whose maps are most of a page's bytes: the first of them, and Grad-CAM for its layers."""
    first = names[: subject.preset.viewer]
    return first if "grad_cam" in first or "grad_cam" not in names else (*first[:-1], "grad_cam")


# ---------------------------------------------------------------- exhibits


def _viewer(
    subject: Subject, inspected: Inspected, maps: AttentionMaps, reasons: dict[str, str], titles: dict[str, str]
) -> Exhibit:
    names = held(subject, tuple(titles))
    about = [replace(viewer_method(methods()[name], _tested(reasons.get(name))), title=titles[name]) for name in names]
    text = TEXTS.exhibit(
        "viewer",
        pictures=len(inspected.batch),
        methods=len(names),
        tested=bool(reasons),
        convolutions=len(subject.conv_layers),
        of_second_class=[titles[name] for name in names if ("second", name) in maps.by_method],
        others=[titles[name] for name in titles if name not in names],
        noun=subject.noun,
        layer=maps.chosen_layer,
        reason=maps.reason,
    )
    payload = attribution_payload(
        inspected.batch,
        subject.classes,
        inspected.shown,
        AttributedMaps(_in_viewer(maps, names), about, fields_of(subject.geometry)),
        start=_start(subject, names, maps.chosen_layer),
    )
    payload = replace(payload, outputs=subject.outputs, noun=subject.noun)
    return Exhibit(
        "attention-viewer",
        text.title,
        text.caption,
        text.alt,
        numbers={
            "pictures": inspected.batch.names,
            "methods": names,
            "chosen_layer": maps.chosen_layer,
            "reason": maps.reason,
            "predicted": inspected.predicted,
            "second": maps.second,
            "passes": {name: maps.by_method["predicted", name].passes for name in titles},
        },
        viewer=payload_json(payload),
    )


def _start(subject: Subject, names: tuple[str, ...], layer: str) -> ViewerStart:
    """The viewer opens with the mistake of the first screen, and with the method of its maps."""
    answers, about = subject.answers, FirstMaps.of(subject)
    among = answers is not None and subject.told and subject.inputs.inspected is None
    picture = subject.chosen(answers).index(subject.told[0]) if answers is not None and among else 0
    method = about.method if about is not None and about.method in names else names[0]
    return ViewerStart(picture, method, layer, "predicted")


def _in_viewer(maps: AttentionMaps, names: tuple[str, ...]) -> list[tuple[str, Attribution]]:
    """The maps of these methods with their targets, in the order in which the viewer lists them."""
    listed: list[tuple[str, Attribution]] = []
    for name in names:
        if name == "grad_cam":  # at its usual layer first: there the viewer opens where it opens with Grad-CAM
            layers = sorted(maps.by_layer.items(), key=lambda item: item[0][1] != maps.chosen_layer)
            listed += [
                (target, of_layer)
                for (target, layer), of_layer in layers
                if target == "predicted" or layer == maps.chosen_layer
            ]
        else:
            targets = [target for target in ("predicted", "second") if (target, name) in maps.by_method]
            listed += [(target, maps.by_method[target, name]) for target in targets]
    return listed


def _tested(reason: str | None) -> str:
    return "" if reason is None else TEXTS.say("phrases.tested", reason=reason)


def _methods(subject: Subject, inspected: Inspected, maps: AttentionMaps, titles: dict[str, str]) -> Iterator[Exhibit]:
    names = tuple(titles)
    count = -(-len(names) // COLUMNS)
    for part in range(count):
        here = names[len(names) * part // count : len(names) * (part + 1) // count]
        yield _side_by_side(subject, inspected, maps, {name: titles[name] for name in here}, part + 1)


def _side_by_side(
    subject: Subject, inspected: Inspected, maps: AttentionMaps, titles: dict[str, str], part: int
) -> Exhibit:
    names = tuple(titles)
    photos = pixels(inspected.batch.images)
    chosen = evenly_spaced(len(photos), subject.preset.rows)
    rows = []
    for i in chosen:
        panels = []
        for name in names:
            attribution = maps.by_method["predicted", name]
            placed = _painted(subject, inspected, attribution, i)
            panels.append((titles[name], placed.numpy(), attribution_scale(placed, attribution, over="this map")))
        mask = None if inspected.batch.masks is None else inspected.batch.masks[i].numpy()
        rows.append(Row(photos[i], panels, answer_line(subject.classes, inspected, i), mask))
    text = TEXTS.exhibit(
        "methods",
        part=part,
        noun=subject.noun,
        pictures=len(chosen),
        methods=len(names),
        layer=maps.chosen_layer,
        true_line=true_line(inspected.batch),
        agreement=_agreement(subject, inspected, maps, chosen, names),
    )
    return Exhibit(
        f"attention-methods-{part}" if part > 1 else "attention-methods",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            rows,
            alone=[titles[name] for name in names if grain(maps.by_method["predicted", name])],
            title=f"{counted(len(names), 'method')} on {counted(len(chosen), 'picture')}, for the {chosen_output(subject.noun)}",
        ),
        kind="picture",
        numbers={
            "pictures": [inspected.batch.names[i] for i in chosen],
            "methods": names,
            "layer": maps.chosen_layer,
            "ranges": {
                titles[n]: [[p[2].low, p[2].high] for row in rows for p in row.maps if p[0] == titles[n]] for n in names
            },
        },
    )


def _layers(subject: Subject, inspected: Inspected, maps: AttentionMaps) -> Exhibit:
    names = [after_activation(subject.geometry, row.name) for row in subject.conv_layers]
    if len(names) > 7:
        names = [names[i] for i in evenly_spaced(len(names), 7)]
    of_all = f"of {len(subject.conv_layers)} " if len(names) < len(subject.conv_layers) else ""
    kinds = {row.name: row.kind for row in subject.geometry}
    photos = pixels(inspected.batch.images)
    rows = []
    chosen = evenly_spaced(len(photos), max(1, subject.preset.rows // 2))
    for i in chosen:
        placed = {name: _painted(subject, inspected, maps.by_layer["predicted", name], i) for name in names}
        panels = [
            (name, value.numpy(), attribution_scale(value, maps.by_layer["predicted", name], over="this map"))
            for name, value in placed.items()
        ]
        rows.append(Row(photos[i], panels, answer_line(subject.classes, inspected, i)))
    text = TEXTS.exhibit(
        "layers",
        where=read_where(kinds[name] for name in names),
        noun=subject.noun,
        layers=len(names),
        convolutions=len(subject.conv_layers),
        layer=maps.chosen_layer,
        reason=maps.reason,
        pictures=len(chosen),
    )
    return Exhibit(
        "attention-layers",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            rows,
            title=f"Grad-CAM at {len(names)} {of_all}{'convolution' if len(names) == 1 else 'convolutions, early to late'}",
        ),
        kind="picture",
        numbers={
            "layers": names,
            "chosen_layer": maps.chosen_layer,
            "pictures": [inspected.batch.names[i] for i in chosen],
            "maximum": {
                name: [float(maps.by_layer["predicted", name].values[i].max()) for i in chosen] for name in names
            },
        },
    )


def _classes(subject: Subject, inspected: Inspected, maps: AttentionMaps) -> Exhibit:
    photos = pixels(inspected.batch.images)
    labels = inspected.batch.labels
    wrong = [] if labels is None else [i for i in range(len(photos)) if int(inspected.predicted[i]) != int(labels[i])]
    chosen = (wrong + [i for i in range(len(photos)) if i not in wrong])[: subject.preset.rows]
    rows = []
    for i in chosen:
        placed = [
            _painted(subject, inspected, maps.by_layer[target, maps.chosen_layer], i)
            for target in ("predicted", "second")
        ]
        scale = attribution_scale(
            torch.stack(placed), maps.by_layer["predicted", maps.chosen_layer], over="both maps of this row"
        )
        difference = placed[0] - placed[1]
        signed = attribution_scale(
            difference, maps.by_layer["predicted", maps.chosen_layer], over="this map", signed=True
        )
        mask = None if inspected.batch.masks is None else inspected.batch.masks[i].numpy()
        panels = [
            (chosen_output(subject.noun), placed[0].numpy(), scale),
            (f"second {subject.noun}", placed[1].numpy(), scale),
            ("difference", difference.numpy(), signed),
        ]
        answer = answer_line(subject.classes, inspected, i)
        if i not in wrong:  # of a mistake, the second is its true class, which the line names already
            answer = TEXTS.say("phrases.second_class", answer=answer, second=subject.classes[int(maps.second[i])])
        rows.append(Row(photos[i], panels, answer, mask))
    mistakes = min(len(wrong), len(chosen))
    text = TEXTS.exhibit(
        "classes",
        layer=maps.chosen_layer,
        mistakes=mistakes,
        pictures=len(chosen),
        labelled=labels is not None,
        noun=subject.noun,
    )
    return Exhibit(
        "attention-classes",
        text.title,
        text.caption,
        text.alt,
        figure=methods_side_by_side(
            rows, title=f"Grad-CAM at {maps.chosen_layer}, {subject.noun} against {subject.noun}"
        ),
        kind="picture",
        numbers={
            "pictures": [inspected.batch.names[i] for i in chosen],
            "predicted": [int(inspected.predicted[i]) for i in chosen],
            "second": [int(maps.second[i]) for i in chosen],
        },
    )


# ---------------------------------------------------------------- pieces


def _painted(subject: Subject, inspected: Inspected, maps: Attribution, index: int) -> Tensor:
    """(H, W) one of the maps, as it is painted on its picture."""
    values = maps.values[index : index + 1].detach().float().cpu()
    return painted(values, maps.layer, fields_of(subject.geometry), inspected.batch.images.shape[-2:])[0]


def _agreement(
    subject: Subject, inspected: Inspected, maps: AttentionMaps, chosen: list[int], names: tuple[str, ...]
) -> str:
    """How much Grad-CAM and the farthest other method agree, as a sentence with its number."""
    if "occlusion" not in names or "grad_cam" not in names:
        return ""
    fields, size = fields_of(subject.geometry), inspected.batch.images.shape[-2:]
    a, b = (
        on_picture(
            maps.by_method["predicted", name].values[chosen].float().cpu(),
            maps.by_method["predicted", name].layer,
            fields,
            size,
        )
        for name in ("grad_cam", "occlusion")
    )
    mean = float(torch.nanmean(rank_correlation(a, b)))
    if mean != mean:
        return TEXTS.say("agreement.flat")
    return TEXTS.say("agreement.measured", correlation=mean, pictures=len(chosen))
