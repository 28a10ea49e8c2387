"""The chapters of an explanation: the sheet, the maps, what had to go, the layers, the channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from vgg_viz.attribution.method import METHODS
from vgg_viz.figures.attention import Row, layers_side_by_side, methods_side_by_side
from vgg_viz.figures.explaining import Hidden, Panel, Path, Said, explanation, removal_curves, signed_number
from vgg_viz.figures.style import number, percent
from vgg_viz.maths.heatmaps import Scale, shared_scale
from vgg_viz.models.vgg import title
from vgg_viz.records import Attribution, Caption, Column, Exhibit, Table
from vgg_viz.report.explaining.explanation import Explanation
from vgg_viz.report.explaining.look import UNIT, placed
from vgg_viz.report.explaining.removal import Path as Measured
from vgg_viz.report.explaining.removal import Removal
from vgg_viz.report.explaining.telling import answer, by_chance, is_flat, method_said, name_of, part, removed
from vgg_viz.report.section import counted, pixels
from vgg_viz.report.viewer import payload

PEAKS = 0.995  # of the magnitudes lie inside a pixel map's scale: a few peaks would darken the rest
TOP = 5  # classes that are named
MAPS = 4  # on the sheet, where there are no more classes
CHANNELS = 13  # shown of the layer: two rows with the picture


def whole(found: Explanation) -> Iterator[Exhibit]:
    """The sheet: everything at one look."""
    look = found.look
    order = ranked(look.logits)
    panels, scale = hero(found)
    yield Exhibit(
        "explain-sheet",
        _upper(answer(found)),
        Caption(see=_seen(found, scale), read=_readable(found), cannot="A map shows what the score reacts to, not what the network thinks; that it looks right to us is no "
            "evidence." + (" A hidden region is itself something that the network has hardly seen in training." if found.removal else "")),
        alt=f"The picture with {counted(len(panels), 'map')} on one scale. {_upper(answer(found))}. {removed(found)}".strip(),
        figure=sheet(found),
        kind="picture",
        table=Table(
            (Column("class"), Column("part"), Column("probability", "%", True), Column("logit", "", True), Column("rank", "", True)),
            tuple((found.classes[i], part(found, i), 100 * float(look.probabilities[i]), float(look.logits[i]), order.index(i) + 1) for i in shown_classes(found)),
        ),
        numbers={
            "picture": found.name, "answer": answer(found), "method": found.leading, "layer": look.maps[found.leading, look.asked[0]].layer,
            "difference": None if look.classes is None else list(look.classes.pair),
            "scale": {"low": scale.low, "high": scale.high, "unit": scale.unit, "beyond": scale.clipped},
            "top": top(found), "maps": facts_of_maps(found),
        },
    )  # fmt: skip


def _seen(found: Explanation, scale: Scale) -> str:
    classes = found.look.classes
    flat = " All maps are flat: zero everywhere." if not scale.high > scale.low else ""
    if classes is None:
        about = f"for {name_of(found, UNIT)}"
    else:
        other = part(found, classes.expected)
        about = f"for the predicted class, for {f'the {other} one' if other in ('expected', 'runner-up') else 'the one it is set against'}, and their difference"
    against = ", and what speaks against it" if classes is None else ", and what speaks against the predicted class"
    below = " Below: the likeliest classes; the region that had to be hidden, and what the network said then." if found.removal else " Below: the likeliest classes."
    return (
        f"The picture as the network sees it, and {method_said(found, found.leading)} {about}{against if signed(found) else ''}. All of these maps share one scale, "
        f"printed below them; at zero the picture is left as it is.{flat}{below}"
    )


def _readable(found: Explanation) -> str:
    classes = found.look.classes
    if classes is None:
        alone = found.question.unit is not None and found.question.unit.row is not None
        beyond = " Grad-CAM weighs whole channels: what it paints outside of the outline cannot have moved this unit." if alone and "grad_cam" in found.question.methods else ""
        return f"Red raises the unit, blue lowers it. It is {'one place of a channel' if alone else 'the mean of a channel'}, and no class.{beyond}"
    first, second = (name_of(found, index) for index in classes.pair)
    signs = (
        f"Red speaks for a class, blue against it; in the difference, red is for {first} and blue for {second}. "
        if signed(found)
        else f"The values have no sign: they say how much a pixel matters, not for what. In the difference red is where {first} has more of it, blue where {second} has. "
    )
    return signs + removed(found)


def sheet(found: Explanation) -> Figure:
    """The one figure that `--out FILE` writes."""
    panels, scale = hero(found)
    said = [Said(found.classes[i], float(found.look.probabilities[i]), part(found, i)) for i in shown_classes(found)]
    told = f"{found.name}; {title(found.checkpoint.architecture)}; {method_said(found, found.leading)}"
    return explanation(pixels(found.batch.images)[0], panels, scale, said, _hidden(found), seen=_seen_by_unit(found), title=_upper(answer(found)), subtitle=told,
                       caveat=removed(found))  # fmt: skip


def _seen_by_unit(found: Explanation) -> np.ndarray[Any, Any] | None:
    """(H, W) bool: the receptive field of the unit asked about, or None where there is no single one."""
    unit = found.question.unit
    field = next((row.field for row in found.rows if unit is not None and row.name == unit.layer), None)
    if unit is None or field is None or unit.row is None or unit.column is None:
        return None
    box = field.box(unit.row, unit.column).clipped(*found.size)
    mask = np.zeros(found.size, bool)
    mask[box.y0 : box.y1, box.x0 : box.x1] = True
    return mask


def hero(found: Explanation) -> tuple[list[Panel], Scale]:
    """The maps of the sheet, placed, and the one scale that they share."""
    look, method = found.look, found.leading
    maps: list[tuple[str, str, Tensor]] = [
        (f"for {name_of(found, index)}", part(found, index) or ("unit" if index == UNIT else "class"), found.map(method, index)) for index in look.asked
    ]
    if look.classes is not None and (difference := look.difference(method)) is not None:
        first, second = (name_of(found, index) for index in look.classes.pair)
        maps.append((f"{first} minus {second}", "difference", placed(found.model, difference, found.size)))
    if signed(found) and len(maps) < MAPS:
        maps.append((f"against {name_of(found, look.asked[0]).removeprefix('unit ')}", "counterfactual", found.map(method, look.asked[0]).clamp(max=0)))
    one = look.maps[method, look.asked[0]]
    scale = shared_scale(torch.stack([value for _, _, value in maps]), signed=True, unit=unit_of(one), over="all maps of this figure", quantile=1.0 if one.layer else PEAKS)
    return [((name, "flat: zero everywhere" if not bool(value.any()) else about), value.numpy()) for name, about, value in maps], scale


def signed(found: Explanation) -> bool:
    """Whether the leading method tells evidence for from evidence against."""
    return found.look.maps[found.leading, found.look.asked[0]].signed


def maps(found: Explanation) -> Iterator[Exhibit]:
    """The viewer, and the methods side by side."""
    yield _viewer(found)
    if len(found.question.methods) > 1:
        yield _methods(found)


def removal(found: Explanation) -> Iterator[Exhibit]:
    """The path from the answer to another one."""
    hidden, measured = _hidden(found), found.removal
    if hidden is None or measured is None:
        return
    names = [name_of(found, index) for index in (measured.answer, measured.expected)]
    rows = [_row(found, "the map's", measured.by_map, place) for place in range(len(measured.by_map.shares))]
    yield Exhibit(
        "explain-removal",
        "What had to go until the answer changed",
        Caption(
            see=f"Lines with points: the probability of {names[0]} and of {names[1]} while more and more of the picture is hidden, the pixels with the most evidence first. "
            f"Areas: the same in {counted(len(measured.by_chance), 'random order')}, from the lowest to the highest; dashed: their median.",
            read=f"{removed(found)} The further the line of the map's order falls below that of chance, the more the map knows about this network.",
            cannot=f"The share is the least that was found by steps and halvings in this one order: a smaller region of another shape may do as well. Hidden means "
            f"{f'blurred by {number(measured.blur)} px' if measured.cover == 'blur' else f'painted {measured.cover}, because blurring left the answer as it was'}; a random order is smooth noise of {measured.grain} × {measured.grain} values, because scattered pixels hide nothing.",
        ),
        alt=f"Curves of two probabilities over the share of the picture that is hidden. {removed(found)}",
        figure=removal_curves(hidden, title="How sure the network is while more is hidden", subtitle=f"in the order of {method_said(found, found.leading)}"),
        table=Table(
            (Column("order"), Column("hidden", "%", True), Column(names[0], "%", True), Column(names[1], "%", True), Column("the network says")), tuple(rows),
        ),
        numbers={
            "share": measured.share, "becomes": measured.becomes, "chance_shares": measured.chance_shares, "by_chance": by_chance(measured), "cover": measured.cover, "blur_px": measured.blur,
            "passes": measured.passes, "shares": measured.by_map.shares, "predicted": measured.by_map.probabilities[:, measured.answer],
            "expected": measured.by_map.probabilities[:, measured.expected], "answers": measured.by_map.answers,
        },
    )  # fmt: skip


def layers(found: Explanation) -> Iterator[Exhibit]:
    """Grad-CAM at every convolution."""
    look, size = found.look, found.size
    fields = {row.name: row for row in found.rows}
    panels, rows = [], []
    for name, one in look.by_layer.items():
        row = fields[name]
        on = placed(found.model, one, size)
        scale = shared_scale(on, signed=True, unit=unit_of(one), over="each layer's own map")
        field = row.field.size if row.field else None
        panels.append((f"{name} {row.shape[1]}×{row.shape[2]}, sees {field} px", on.numpy(), scale))
        highest = peak(one)
        rows.append((name, f"{row.shape[1]}×{row.shape[2]}", row.shape[0], field, float(one.values.min()), float(one.values.max()), f"{highest[0] + 1}, {highest[1] + 1}"))
    chosen = "asked for" if found.question.layer else "chosen"
    said = name_of(found, look.asked[0])
    yield Exhibit(
        "explain-layers",
        "The same question at every depth",
        Caption(
            see=f"Signed Grad-CAM for {said} after the ReLU of {'all ' if len(panels) > 1 else ''}{counted(len(panels), 'convolution')}, from the first to the last, from one forward and "
            "one backward pass. Above each map: its size, and how many pixels a unit sees. Each map has a scale of its own, zero in its middle, with its numbers below it.",
            read=f"Early layers find edges and colours, whatever they belong to; later ones are coarser and often gather on what decides. {look.layer} was {chosen}: {look.reason}.",
            cannot="Since each map has its own scale, a strong colour in one layer is not more than a pale one in another: the numbers tell. A unit of a late layer that sees the "
            "whole picture cannot say where in it the evidence was.",
        ),
        alt=f"The picture and its Grad-CAM maps at {counted(len(panels), 'layer')}, coarser with depth; {look.layer} is the {chosen} one.",
        figure=layers_side_by_side(Row(pixels(found.batch.images)[0], panels), title=f"Signed Grad-CAM for {said} at every convolution"),
        kind="picture",
        table=Table(
            (Column("layer"), Column("map"), Column("channels", "", True), Column("field", "px", True), Column("lowest", unit_of(one), True), Column("highest", unit_of(one), True),
             Column("peak in row, column")), tuple(rows),
        ),
        numbers={"layers": [row[0] for row in rows], "map": [row[1] for row in rows], "field": [row[3] for row in rows],
                 "lowest": [row[4] for row in rows], "highest": [row[5] for row in rows], "layer": look.layer},
    )  # fmt: skip


def channels(found: Explanation) -> Iterator[Exhibit]:
    """The channels that the Grad-CAM of the chosen layer is made of."""
    look, size = found.look, found.size
    order = look.channels.abs().argsort(descending=True, stable=True)[:CHANNELS].tolist()
    total = float(look.channels.sum())
    one = look.by_layer[look.layer]
    on = [placed(found.model, one, size, look.activation[index]) for index in order]
    scale = shared_scale(torch.stack(on), signed=bool((look.activation < 0).any()), unit="activation", over="all channels shown")
    said = name_of(found, look.asked[0])
    unit = unit_of(one)
    panels = [(f"channel {index} {signed_number(float(look.channels[index]))} {unit}", value.numpy(), scale) for index, value in zip(order, on, strict=True)]
    held = float(look.channels[order].sum())
    rows = [(index, float(look.channels[index]), float(look.activation[index].max()), _at(look.activation[index])) for index in order]
    yield Exhibit(
        "explain-channels",
        f"The channels of {look.layer} that decided",
        Caption(
            see=f"What the {counted(len(order), 'channel')} of {look.layer} with the largest part in the Grad-CAM for {said} answered to this picture, on one scale. The number above each "
            "is what it adds to the sum of the map: its weight for the class times the sum of its activations.",
            read=f"The sum of the whole map is {signed_number(total)} {unit}; these {counted(len(order), 'channel')} add {signed_number(held)} of it. A channel with a minus spoke "
            f"against {said}. Look where each is active: does it find a part of the object, or of its surroundings?",
            cannot="A channel is no concept: it may answer to several unlike things, and its weight holds for this picture alone.",
        ),
        alt=f"The picture and {counted(len(order), 'channel')} of {look.layer} over it. The strongest, channel {order[0]}, adds {signed_number(float(look.channels[order[0]]))} {unit}.",
        figure=layers_side_by_side(Row(pixels(found.batch.images)[0], panels), title=f"The channels of {look.layer} that made the map for {said}"),
        kind="picture",
        table=Table((Column("channel", "", True), Column("adds", unit, True), Column("highest activation", "", True), Column("in row, column")), tuple(rows)),
        numbers={"layer": look.layer, "channels": order, "adds": [row[1] for row in rows], "sum": total},
    )  # fmt: skip


# ---------------------------------------------------------------- pieces


def ranked(logits: Tensor) -> list[int]:
    """Class indices, the likeliest first."""
    order: list[int] = logits.argsort(descending=True, stable=True).tolist()
    return order


def shown_classes(found: Explanation) -> list[int]:
    """The likeliest classes, and those of the question where they are not among them."""
    return list(dict.fromkeys([*ranked(found.look.logits)[:TOP], *(index for index in found.look.asked if index != UNIT)]))


def top(found: Explanation) -> list[dict[str, Any]]:
    """The likeliest classes as facts."""
    look = found.look
    return [
        {"class": found.classes[i], "index": i, "probability": float(look.probabilities[i]), "logit": float(look.logits[i])} for i in ranked(look.logits)[:TOP]
    ]


def unit_of(one: Attribution) -> str:
    """Of a value: a map about a unit of the network is counted in what that unit says."""
    return one.unit if one.unit_of is None else one.unit.replace("logit", "activation")


def peak(found: Attribution) -> tuple[int, int]:
    """Row and column of the strongest value of a map's own grid, for a signed map the largest magnitude."""
    values = found.values[0].abs() if found.signed else found.values[0]
    place = int(values.argmax())
    return place // values.shape[1], place % values.shape[1]


def facts_of_maps(found: Explanation) -> list[dict[str, Any]]:
    """What a script wants to know of each map."""
    facts = []
    for (method, index), one in found.look.maps.items():
        row, column = peak(one)
        facts.append({
            "method": method, "class": None if index == UNIT else found.classes[index], "index": None if index == UNIT else index, "unit_of": one.unit_of,
            "part": part(found, index), "layer": one.layer, "unit": unit_of(one), "signed": one.signed,
            "low": float(one.values.min()), "high": float(one.values.max()), "flat": is_flat(one.values),
            "shape": list(one.values.shape[1:]), "peak": {"row": row, "column": column, "value": float(one.values[0, row, column])},
            "residual": None if one.residual is None else float(one.residual[0]), "passes": one.passes, "seconds": one.seconds,
        })  # fmt: skip
    return facts


def _at(values: Tensor) -> str:
    place = int(values.argmax())
    return f"{place // values.shape[1] + 1}, {place % values.shape[1] + 1}"


def _row(found: Explanation, order: str, path: Measured, place: int) -> tuple[str | float, ...]:
    measured = found.removal
    pair = () if measured is None else (measured.answer, measured.expected)
    chances = [100 * float(path.probabilities[place, index]) for index in pair]
    return (order, 100 * float(path.shares[place]), *chances, found.classes[int(path.answers[place])])


def _hidden(found: Explanation) -> Hidden | None:
    one = found.removal
    if one is None:
        return None
    share = 1.0 if one.share is None else one.share
    at = -1 if one.share is None else one.by_map.changed(one.answer) or 0
    said = int(one.by_map.answers[at])
    return Hidden(
        region=(one.rank < share).numpy(), picture=pixels(one.hidden[None].cpu())[0], share=one.share, cover=one.cover,
        answer=(found.classes[said], float(one.by_map.probabilities[at, said])), names=(found.classes[one.answer], found.classes[one.expected]),
        by_map=_path(one, one.by_map), by_chance=[_path(one, path) for path in one.by_chance],
    )  # fmt: skip


def _path(one: Removal, path: Measured) -> Path:
    numbers: list[np.ndarray[Any, Any]] = [path.probabilities[:, index].numpy() for index in (one.answer, one.expected)]
    return Path(path.shares.numpy(), *numbers)


def _upper(sentence: str) -> str:
    """A unit's sentence begins with a capital; the name of a class is left as it is."""
    return f"U{sentence[1:]}" if sentence.startswith("unit ") else sentence


def _viewer(found: Explanation) -> Exhibit:
    look = found.look
    names = found.question.methods
    leading = look.asked[0]
    every = {name: replace(METHODS[name], signed=look.maps[name, leading].signed, title=method_said(found, name).split(", at ")[0]) for name in names}
    shown: list[tuple[str, Attribution]] = [
        (target(found, index), one) for (name, index), one in look.maps.items() if not (name == "grad_cam" and index == leading)
    ]
    if "grad_cam" in names:
        shown += [(target(found, leading), one) for one in look.by_layer.values()]
    difference = look.difference(found.leading)
    if difference is not None and look.classes is not None:
        first, second = (name_of(found, index) for index in look.classes.pair)
        every["difference"] = replace(every[found.leading], name="difference", title=f"Difference: {first} minus {second}", signed=True)
        shown.append((f"{target(found, look.classes.pair[0])} minus {target(found, look.classes.pair[1])}", replace(difference, method="difference")))
    fields = {row.name: row.field for row in found.rows if row.field is not None}
    shown = [(word, replace(one, targets=one.targets.clamp(min=0))) for word, one in shown]
    data = payload(found.batch, found.classes, look.probabilities[None], shown, every, fields, {})
    if difference is not None:
        data["methods"][-1]["poles"] = f"red for {first}, blue for {second}"
    data["start"] = {"photo": 0, "method": found.leading, "layer": look.maps[found.leading, leading].layer, "target": target(found, leading)}
    return Exhibit(
        "explain-viewer",
        "Try it: method, layer, class",
        Caption(
            see=f"The picture with a map over it; the stronger the value, the less transparent the colour. {counted(len(names), 'method')}"
            f"{', Grad-CAM at every convolution' if 'grad_cam' in names else ''}{', and the difference of two classes' if difference is not None else ''}.",
            read="Change the class: does the map move? Change the layer: from which depth on is the evidence where you would look yourself? Point at a cell to read its value and "
            "to see the pixels that it can depend on.",
            cannot="A map shows what the score reacts to, not what the network thinks. Here each map has a range of its own; on the sheet above all share one.",
        ),
        alt="Interactive viewer of the picture with all maps of this page; the figures show the same.",
        numbers={"methods": names, "about": [name_of(found, index) for index in look.asked], "layers": list(look.by_layer)},
        viewer=data,
    )  # fmt: skip


def target(found: Explanation, index: int) -> str:
    """What a map is about, in the one word of the viewer and of receipts."""
    return "unit" if index == UNIT else (part(found, index) or "other").split(",")[0]


def _methods(found: Explanation) -> Exhibit:
    look, photo = found.look, pixels(found.batch.images)[0]
    rows = []
    for index in look.asked:
        panels: list[tuple[str, np.ndarray[Any, Any], Scale]] = []
        for name in found.question.methods:
            one = look.maps[name, index]
            both = torch.stack([found.map(name, other) for other in look.asked])
            scale = shared_scale(both, signed=one.signed, unit=unit_of(one), over="all rows of each method", quantile=1.0 if one.layer else PEAKS)
            panels.append((method_said(found, name), found.map(name, index).numpy(), scale))
        about = name_of(found, index) if index == UNIT else f"{name_of(found, index)} ({part(found, index)}, {percent(float(look.probabilities[index]))})"
        rows.append(Row(photo, panels, f"for {about}"))
    alone = [method_said(found, name) for name in found.question.methods if look.maps[name, look.asked[0]].layer is None and METHODS[name].family == "gradient"]
    grain = " Maps with the grain of a gradient are shown without the picture." if alone else ""
    what = counted(len(rows), "row")
    return Exhibit(
        "explain-methods",
        "The same question, asked in several ways",
        Caption(
            see=f"A row for each thing that is asked about, a column for each method. The maps of one method share a scale; its numbers stand at its foot.{grain}",
            read="Where methods of different families agree, the place is less likely to be a whim of one of them. Where the map of a method is alike for two classes, it tells where "
            "something is, and not what the network takes it for.",
            cannot="Scales and units differ from method to method: a bright spot in one column is not stronger than a pale one in another.",
        ),
        alt=f"Maps by {counted(len(found.question.methods), 'method')} in {what}.",
        figure=methods_side_by_side(rows, alone=alone, title="The same question, asked in several ways"),
        kind="picture",
        numbers={"methods": list(found.question.methods), "about": [name_of(found, index) for index in look.asked]},
    )  # fmt: skip
