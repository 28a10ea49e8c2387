"""The payload of the interactive viewer for two networks: A, B and their difference take the place of methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from vgg_viz.records import Batch
from vgg_viz.report.comparison.maps import LOGIT, TIMES, Look, layer_of
from vgg_viz.report.comparison.pair import Pair
from vgg_viz.report.viewer import FINEST, FINEST_LAYER, coarser, photo_of, quantised

KINDS = (("where", TIMES), ("how much", LOGIT))
Drawn = tuple[str, str | None, Tensor, tuple[float, float]]  # method, layer, map (h, w), what its bytes span


def payload(pair: Pair, batch: Batch, said: list[Tensor], asked: dict[str, Tensor], looks: dict[str, Look]) -> dict[str, Any]:
    """What the viewer of the page needs, as plain JSON.

    batch  the pictures as the page shows them
    said   logits of A and of B, (B, S) each
    asked  the classes that maps are about, (B,) places among the shared classes; a class that comes twice is stored once
    looks  the maps, under the names of `asked`

    Maps of one picture span one range, that of both networks: switching between them changes no colour's meaning.
    """
    maps: list[dict[str, Any]] = []
    ranges: dict[str, list[float]] = {}
    names = list(asked)
    for number, target in enumerate(names):
        for i in range(len(batch)):
            index = int(asked[target][i])
            if any(int(asked[earlier][i]) == index for earlier in names[:number]):
                continue
            for method, layer, values, limits in _drawn(pair, looks[target], i):
                low, high, data = quantised(values, limits)
                known = ranges.setdefault(f"{method}|{layer or ''}|{target}", [low, high])
                known[:] = min(known[0], low), max(known[1], high)
                maps.append({
                    "photo": i, "method": method, "layer": layer, "target": target, "class": index, "h": values.shape[0], "w": values.shape[1],
                    "low": low, "high": high, "data": data,
                })  # fmt: skip
    return {
        **({"outline": "Box around the object"} if batch.boxed is not None and bool(batch.boxed.any()) else {}),
        "kind": "attention", "photos": list(_photos(batch, said)), "classes": list(pair.classes), "range": "both networks on this photo",
        "methods": list(_methods()), "layers": list(_layers(pair)), "maps": maps, "ranges": ranges,
        "start": {"photo": 0, "method": "b-where", "target": names[0]},
    }  # fmt: skip


def _methods() -> Iterator[dict[str, Any]]:
    for kind, unit in KINDS:
        about = (
            "Grad-CAM at the layer that each network's own report uses, as a multiple of the map's mean over the picture: 1 everywhere would be "
            "evidence without a place."
            if kind == "where"
            else "Grad-CAM at the layer that each network's own report uses, in logits: a network with larger logits has stronger maps."
        )
        for letter in "AB":
            yield {"id": _id(letter, kind), "title": f"{kind.capitalize()}: {letter}", "signed": False, "unit": unit, "layered": True, "about": about,
                   "evidence": "", "speaker": letter}  # fmt: skip
        yield {"id": _id("difference", kind), "title": f"{kind.capitalize()}: B minus A", "signed": True, "unit": unit, "layered": False, "about": about,
               "evidence": "", "speaker": "B", "poles": "red more in B, blue more in A"}  # fmt: skip


def _id(what: str, kind: str) -> str:
    return f"{what.lower()}-{kind.replace(' ', '-')}"


def _layers(pair: Pair) -> Iterator[dict[str, Any]]:
    """The layers whose maps can be told by their fields: those of a network that reads the photo as the page shows it."""
    for network in (pair.a, pair.b):
        if network.side == max(pair.a.side, pair.b.side):
            name, field = layer_of(network)
            factor = _factor(network.rows[[row.name for row in network.rows].index(name)].shape)
            yield {
                "name": f"{name} of {network.letter}", "jump": field.jump * factor, "centre": field.centre + field.jump * (factor - 1) / 2,
                "size": field.size + field.jump * (factor - 1),
            }  # fmt: skip


def _factor(shape: tuple[int, ...]) -> int:
    return -(-max(shape[-2:]) // FINEST_LAYER)


def _drawn(pair: Pair, found: Look, i: int) -> Iterator[Drawn]:
    """The maps of one picture for one class: where A, B and their difference, then how much."""
    own = [network.side == max(pair.a.side, pair.b.side) for network in (pair.a, pair.b)]
    for kind, _ in KINDS:
        placed = (found.where if kind == "where" else found.placed)[:, i]
        raw = [found.raw[n][i] / (found.means[n, i] if kind == "where" else 1) for n in range(2)]
        # A unit's centre may lie between two pixels: the layer's own values can be a little above the placed ones.
        high = max(float(placed.max()), *(float(values.max()) for values, known in zip(raw, own, strict=True) if known))
        for n, network in enumerate((pair.a, pair.b)):
            if own[n]:
                values, layer = coarser(raw[n][None], _factor(raw[n].shape))[0], f"{layer_of(network)[0]} of {network.letter}"
                yield _id(network.letter, kind), layer, values, (0.0, high)
            else:
                yield _id(network.letter, kind), None, _in_pixels(placed[n]), (0.0, high)
        yield _id("difference", kind), None, _in_pixels(placed[1] - placed[0]), (-high, high)


def _in_pixels(values: Tensor) -> Tensor:
    return coarser(values[None], -(-max(values.shape) // FINEST))[0]


def _photos(batch: Batch, said: list[Tensor]) -> Iterator[dict[str, Any]]:
    """The pictures with what B says of them, and under `by` what A says to its own maps."""
    a, b = (logits.softmax(1) for logits in said)
    for i in range(len(batch)):
        told = photo_of(batch, i, a[i])["top"]
        yield {**photo_of(batch, i, b[i]), "by": {_id("A", kind): told for kind, _ in KINDS}}
