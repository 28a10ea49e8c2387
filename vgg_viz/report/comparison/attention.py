"""Where A and B find their evidence for one class in one picture: two maps and their difference on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.attribution.shared import grad_cam_all_layers
from vgg_viz.figures.attention import Row, methods_side_by_side
from vgg_viz.figures.style import percent
from vgg_viz.maths.heatmaps import Scale, place
from vgg_viz.maths.metrics import bootstrap_interval, mass_inside, rank_correlation
from vgg_viz.maths.receptive_field import Field
from vgg_viz.records import Batch, Caption, Column, Exhibit, Table
from vgg_viz.report.comparison.pair import Network, Pair, Pictures
from vgg_viz.report.section import counted, picked, pixels
from vgg_viz.report.viewer import FINEST, FINEST_LAYER, coarser, photo_of, quantised

SAMPLED = 64  # pictures over which maps are compared in numbers; a large network gets as many as are looked into
UNIT = "logit"


@dataclass(frozen=True, slots=True)
class Look:
    """Grad-CAM of both networks for one class a picture, at the layer of each one's own report.

    raw           (N, h, w) maps of the layers of A and B, as they come
    placed        (2, N, H, W) both on the photo of the page: A, B
    """

    raw: tuple[Tensor, Tensor]
    placed: Tensor

    @property
    def highest(self) -> Tensor:
        """(N,) the highest value of either map: one scale for the row of a picture."""
        return self.placed.amax((0, 2, 3))


def look(pair: Pair, pictures: Pictures, classes: Tensor, side: int) -> Look:
    """Maps of both for `classes` (N,), places among the shared classes; `side` of the photo that they are laid on [px]."""
    raw, placed = [], []
    for network, batch in ((pair.a, pictures.a), (pair.b, pictures.b)):
        layer, field = _layer(network)
        device = next(network.model.parameters()).device
        found = grad_cam_all_layers(network.model, batch.images.to(device), network.columns[classes].to(device), layers=[layer])
        raw.append(found[layer].values.detach().float().cpu())
        own = place(raw[-1], field, network.side)
        placed.append(own if network.side == side else functional.interpolate(own[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0])
    return Look((raw[0], raw[1]), torch.stack(placed))


def _layer(network: Network) -> tuple[str, Field]:
    name, _ = network.report_layer()
    return name, next(row.field for row in network.rows if row.name == name and row.field is not None)


def attention(pair: Pair) -> Iterator[Exhibit]:
    """The viewer, photographs with both maps and their difference, and the same in numbers over more pictures."""
    batch, side = pair.view, max(pair.a.side, pair.b.side)
    said = [network.answers(part) for network, part in ((pair.a, pair.looked.a), (pair.b, pair.looked.b))]
    asked = _asked(batch, said)
    looks = {name: look(pair, pair.looked, classes, side) for name, classes in asked.items()}
    yield _viewer(pair, batch, said, asked, looks)
    name = next(iter(asked))
    yield _rows(pair, batch, said, asked[name], looks[name], "true class" if name == "true" else "class that A chose")
    if pair.labelled is not None:
        yield _agreement(pair, side)


def _asked(batch: Batch, said: list[Tensor]) -> dict[str, Tensor]:
    """The classes that maps are made for: the true one where it is known, and what either network chose."""
    chosen = {f"{letter}-chosen": logits.argmax(1) for letter, logits in zip("AB", said, strict=True)}
    return chosen if batch.labels is None else {"true": batch.labels, **chosen}


def _layers_said(pair: Pair) -> str:
    a, b = (network.report_layer() for network in (pair.a, pair.b))
    if a[0] == b[0] and pair.a.side == pair.b.side:
        return f"at {a[0]} in both"
    return f"at {a[0]} in A and at {b[0]} in B"


def _caveat(pair: Pair) -> str:
    if pair.same_architecture:
        return "A network with larger logits has stronger maps: strength tells less than place."
    return (
        "The two are different networks: their units see squares of different sizes, a finer grid spreads the same evidence over more cells, and larger logits make "
        "stronger maps. Compare where the evidence lies rather than how much there is."
    )


# ---------------------------------------------------------------- exhibits


def _rows(pair: Pair, batch: Batch, said: list[Tensor], classes: Tensor, found: Look, asked: str) -> Exhibit:
    photos = pixels(batch.images)
    rows = []
    for i, photo in enumerate(photos):
        a, b = found.placed[:, i]
        high = float(found.highest[i])
        own, signed = Scale(0.0, high, False, UNIT, "each row"), Scale(-high, high, True, UNIT, "each row")
        answers = "; ".join(_answer(pair, letter, logits[i]) for letter, logits in zip("AB", said, strict=True))
        start = f"maps for {pair.classes[int(classes[i])]}" + (", the true class" if batch.labels is not None else "")
        mask = None if batch.masks is None else batch.masks[i].numpy()
        rows.append(Row(photo, [("A", a.numpy(), own), ("B", b.numpy(), own), ("B minus A", (b - a).numpy(), signed)], f"{start}; {answers}", mask))
    ranks = rank_correlation(found.placed[0], found.placed[1])
    inside = None if batch.masks is None else [mass_inside(maps, batch.masks) for maps in found.placed]
    known = ranks[~ranks.isnan()]
    like = f"The rank correlation of the two maps is {float(known.mean()):.2f} on average." if known.numel() else "No picture has two maps with an order."
    return Exhibit(
        "compare-attention",
        "The same pictures, the same class, both networks",
        Caption(
            see=f"Each row is a picture with Grad-CAM of A, of B, and B minus A, {_layers_said(pair)}, asked about the {asked}. The three maps of a row share one scale, printed "
            "below them; every value is painted at the centre of what its unit sees. In the difference red is where B has more evidence, blue where A has, "
            "and where neither has more the photograph is left as it is." + (" The outline is the object's true mask." if batch.masks is not None else ""),
            read=f"{like} Did the evidence move onto the object where an answer became right, and off it where it became wrong?",
            cannot=f"{_caveat(pair)} Grad-CAM keeps only evidence for the class.",
        ),
        alt=f"{counted(len(photos), 'picture')} with Grad-CAM of A, of B and their signed difference for the {asked}. {like}",
        figure=methods_side_by_side(rows, side=128, title=f"Grad-CAM for the {asked}, one scale in each row"),
        kind="picture",
        numbers={
            "pictures": batch.names, "classes": [pair.classes[int(index)] for index in classes], "layers": [network.report_layer()[0] for network in (pair.a, pair.b)],
            "highest": found.highest, "rank_correlation": ranks,
            "inside_mask": None if inside is None else {"a": inside[0], "b": inside[1], "object": batch.masks.double().mean((1, 2)) if batch.masks is not None else None},
        },
    )  # fmt: skip


def _answer(pair: Pair, letter: str, logits: Tensor) -> str:
    return f"{letter} says {pair.classes[int(logits.argmax())]} ({percent(float(logits.softmax(0).max()))})"


def _agreement(pair: Pair, side: int) -> Exhibit:
    """Numbers over pictures that were not chosen for what they show: the first ones of the labelled set."""
    whole = pair.labelled
    if whole is None or whole.a.labels is None:
        raise TypeError("labelled pictures were expected")
    count = min(len(whole.a), SAMPLED if pair.a.macs + pair.b.macs < 2e9 else pair.preset.pictures)
    # Evenly over the set: a folder begins with its first class.
    chosen = sorted({round(i * (len(whole.a) - 1) / max(1, count - 1)) for i in range(count)})
    sample = Pictures(picked(whole.a, chosen), picked(whole.b, chosen), "")
    found = look(pair, sample, whole.a.labels[chosen], side)
    ranks = rank_correlation(found.placed[0], found.placed[1])
    measured: list[tuple[str, Tensor]] = [("rank correlation of the two maps", ranks)]
    masks = (sample.b if pair.b.side > pair.a.side else sample.a).masks
    if masks is not None:
        inside = [mass_inside(maps, masks) for maps in found.placed]
        measured += [
            ("share of A's map on the object", inside[0]), ("share of B's map on the object", inside[1]),
            ("B minus A, picture by picture", inside[1] - inside[0]), ("share of the picture that the object covers", masks.double().mean((1, 2))),
        ]  # fmt: skip
    rows = []
    for name, values in measured:
        known = values[~values.isnan()]
        low, high = bootstrap_interval(values, seed=pair.seed)
        rows.append((name, len(known), float(known.mean()) if len(known) else None, f"{low:.3f} to {high:.3f}".replace("-", "−") if len(known) else None))
    empty = int((found.placed.amax((2, 3)) <= 0).any(0).sum())
    lines = dict(zip(("rank", "a", "b", "difference", "object"), rows, strict=False))
    said = f"Over {counted(count, 'picture')} the rank correlation of the two maps is {_two(lines['rank'][2])} on average"
    if masks is not None:
        said += f"; {_two(lines['a'][2])} of A's map lies on the object, {_two(lines['b'][2])} of B's, and the object covers {_two(lines['object'][2])} of the picture"
    return Exhibit(
        "compare-agreement",
        "Do they look at the same places?",
        Caption(
            see=f"The same maps for the true class over {counted(count, 'picture')}, spread evenly over the labelled ones instead of chosen, with 95 % intervals by bootstrap.",
            read=f"{said}. A correlation of 1 means that both order the places of a picture alike, 0 that one tells nothing of the other."
            + (" A map that knows nothing has the object's share of the picture on it: compare with that." if masks is not None else ""),
            cannot="That evidence lies on the object does not make it the right evidence."
            + (f" {counted(empty, 'picture').capitalize()} with an empty map in either network {'is' if empty == 1 else 'are'} left out where a share needs one." if empty else ""),
        ),
        alt=f"Table of {len(rows)} numbers. {said}.",
        table=Table((Column("what"), Column("pictures", "", True), Column("mean", "", True), Column("95 % interval")), tuple(rows)),
        numbers={"pictures": count, "rows": [{"what": row[0], "n": row[1], "mean": row[2], "interval": row[3]} for row in rows], "empty": empty},
    )  # fmt: skip


def _two(value: object) -> str:
    return f"{value:.2f}".replace("-", "−") if isinstance(value, float) else "unknown"


# ---------------------------------------------------------------- viewer


def _viewer(pair: Pair, batch: Batch, said: list[Tensor], asked: dict[str, Tensor], looks: dict[str, Look]) -> Exhibit:
    return Exhibit(
        "compare-viewer",
        "Try it: A, B, or B minus A",
        Caption(
            see=f"{counted(len(batch), 'picture').capitalize()} with Grad-CAM of A, of B, or the difference, {_layers_said(pair)}. Colours span the range of both networks on the picture, "
            "so that you can switch between them. The strip names what B says.",
            read="Switch from A to B and back: what moves? Ask about the class that A chose and the one that B chose: is the evidence for the wrong answer in "
            "another place? Point at a cell to see the pixels that it can depend on.",
            cannot=_caveat(pair),
        ),
        alt=f"Interactive viewer of {counted(len(batch), 'picture')} with the maps of both networks and their difference; the figure below shows the same.",
        numbers={"pictures": batch.names, "layers": {n.letter: {"layer": n.report_layer()[0], "why": n.report_layer()[1]} for n in (pair.a, pair.b)}},
        viewer=payload(pair, batch, said, asked, looks),
    )  # fmt: skip


def payload(pair: Pair, batch: Batch, said: list[Tensor], asked: dict[str, Tensor], looks: dict[str, Look]) -> dict[str, Any]:
    """What the viewer of the page needs, as in report/viewer.py, with A, B and their difference for methods."""
    side = batch.images.shape[-1]
    layers: list[dict[str, Any]] = []
    maps: list[dict[str, Any]] = []
    ranges: dict[str, list[float]] = {}
    chances = [logits.softmax(1) for logits in said]
    whole = {}
    for place_of, network in enumerate((pair.a, pair.b)):
        name, field = _layer(network)
        factor = -(-max(looks[next(iter(looks))].raw[place_of].shape[-2:]) // FINEST_LAYER)
        # A layer's map is told by its field only on a photo of its own side; on a finer one it is laid in pixels.
        whole[network.letter] = (f"{name} of {network.letter}", factor) if network.side == side else None
        if network.side == side:
            layers.append({"name": f"{name} of {network.letter}", "jump": field.jump * factor, "centre": field.centre + field.jump * (factor - 1) / 2,
                           "size": field.size + field.jump * (factor - 1)})  # fmt: skip
    for target, found in looks.items():
        for i in range(len(batch)):
            earlier = [name for name in list(asked)[: list(asked).index(target)] if int(asked[name][i]) == int(asked[target][i])]
            if earlier:
                continue  # the same class under another name
            high = float(found.highest[i])
            drawn: list[tuple[str, str | None, Tensor]] = []
            for place_of, network in enumerate((pair.a, pair.b)):
                known = whole[network.letter]
                values = coarser(found.raw[place_of][i : i + 1], known[1]) if known else _in_pixels(found.placed[place_of][i : i + 1])
                drawn.append((network.letter.lower(), known[0] if known else None, values[0]))
            drawn.append(("difference", None, _in_pixels(found.placed[1][i : i + 1] - found.placed[0][i : i + 1])[0]))
            for name, layer, values in drawn:
                low, top, data = quantised(values, (-high, high) if name == "difference" else (0.0, high))
                key = f"{name}|{layer or ''}|{target}"
                before = ranges.get(key, [low, top])
                ranges[key] = [min(before[0], low), max(before[1], top)]
                maps.append({"photo": i, "method": name, "layer": layer, "target": target, "class": int(asked[target][i]), "h": values.shape[0],
                             "w": values.shape[1], "low": low, "high": top, "data": data})  # fmt: skip
    photos = []
    for i in range(len(batch)):
        photo = photo_of(batch, i, chances[1][i])
        photos.append({**photo, "by": {"a": photo_of(batch, i, chances[0][i])["top"]}})
    about = "Grad-CAM at the layer that this network's own report uses; red on the difference is more evidence in B, blue more in A."
    return {
        "kind": "attention", "photos": photos, "classes": list(pair.classes), "range": "both networks on this photo",
        "methods": [
            {"id": "a", "title": "A", "signed": False, "unit": UNIT, "layered": True, "about": about, "evidence": "", "speaker": "A"},
            {"id": "b", "title": "B", "signed": False, "unit": UNIT, "layered": True, "about": about, "evidence": "", "speaker": "B"},
            {"id": "difference", "title": "B minus A", "signed": True, "unit": UNIT, "layered": False, "about": about, "evidence": "", "speaker": "B",
             "poles": "red more in B, blue more in A"},
        ],
        "layers": layers, "maps": maps, "ranges": ranges, "start": {"photo": 0, "method": "b", "target": next(iter(asked))},
    }  # fmt: skip


def _in_pixels(values: Tensor) -> Tensor:
    return coarser(values, -(-max(values.shape[-2:]) // FINEST))
