"""The payload of the interactive viewer: each photo once, each map raw in bytes; the page colours and places them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.attribution.method import Method
from vgg_viz.maths.images import encode_jpeg, encode_png, encode_webp
from vgg_viz.maths.receptive_field import Field
from vgg_viz.records import Attribution, Batch

# Sides above which a map is averaged down for the page [values]: of a map in pixels, and of a layer's.
FINEST, FINEST_LAYER = 112, 56
EXACT_PHOTO = 96  # side up to which a photo is stored without loss [px]


def payload(
    batch: Batch,
    classes: Sequence[str],
    probabilities: Tensor,
    maps: Iterable[tuple[str, Attribution]],
    methods: Mapping[str, Method],
    fields: Mapping[str, Field],
    evidence: Mapping[str, str],
    *,
    finest: tuple[int, int] = (FINEST, FINEST_LAYER),
) -> dict[str, Any]:
    """What the viewer needs, as plain JSON.

    probabilities  (B, K)
    maps           (target, attribution of all B pictures); target "predicted", or "second": the true class of a mistake, else the
                   runner-up; another word is shown as it is
    fields         receptive field of each layer that maps come from
    evidence       one sentence on each method's trial on this checkpoint, where there was one
    finest         sides above which maps in pixels and maps of layers are averaged down [values]
    """
    named: list[dict[str, Any]] = []
    ranges: dict[str, list[float]] = {}
    layers: dict[str, dict[str, Any]] = {}
    used: dict[str, None] = {}
    labels = batch.labels
    for target, found in maps:
        values = found.values.detach().float().cpu()
        factor = -(-max(values.shape[-2:]) // (finest[0] if found.layer is None else finest[1]))
        values = coarser(values, factor)
        values = values if found.layer else without_repeats(values)
        used[found.method] = None
        if found.layer is not None:
            field = fields[found.layer]
            layers[found.layer] = {
                "name": found.layer, "jump": field.jump * factor, "centre": field.centre + field.jump * (factor - 1) / 2,
                "size": field.size + field.jump * (factor - 1),
            }  # fmt: skip
        for photo in range(len(batch)):
            which = _second(photo, found, labels) if target == "second" else target
            key = f"{found.method}|{found.layer or ''}|{which}"
            low, high, data = quantised(values[photo])
            known = ranges.setdefault(key, [low, high])
            ranges[key] = [min(known[0], low), max(known[1], high)]
            named.append({
                "photo": photo, "method": found.method, "layer": found.layer, "target": which, "class": int(found.targets[photo]),
                "h": values.shape[1], "w": values.shape[2], "low": low, "high": high, "data": data,
            })  # fmt: skip
    return {
        "kind": "attention",
        **({"outline": "Box around the object"} if batch.boxed is not None and bool(batch.boxed.any()) else {}),
        "photos": [photo_of(batch, i, probabilities[i]) for i in range(len(batch))],
        "classes": list(classes),
        "methods": [
            {
                "id": name, "title": methods[name].title, "signed": methods[name].signed, "unit": methods[name].unit,
                "layered": any(m["method"] == name and m["layer"] for m in named), "about": methods[name].about,
                "evidence": evidence.get(name, ""),
            }
            for name in used
        ],
        "layers": [layers[name] for name in fields if name in layers],  # in the order in which a picture meets them
        "maps": named,
        "ranges": ranges,
    }  # fmt: skip


def coarser(values: Tensor, factor: int) -> Tensor:
    """Block means of (B, h, w) maps; the last blocks may be smaller."""
    return values if factor == 1 else functional.avg_pool2d(values, factor, ceil_mode=True, count_include_pad=False)


def without_repeats(values: Tensor) -> Tensor:
    """(B, h, w) maps made of equal squares, as occlusion leaves them, with one value a square; others as they are."""
    for factor in (16, 8, 4, 2):
        if values.shape[-1] % factor == 0 and values.shape[-2] % factor == 0:
            small = values[:, ::factor, ::factor]
            if torch.equal(small.repeat_interleave(factor, 1).repeat_interleave(factor, 2), values):
                return small
    return values


def quantised(values: Tensor, limits: tuple[float, float] | None = None) -> tuple[float, float, str]:
    """A map as bytes: the values of byte 0 and byte 255, and the bytes in base64; the error is at most half a step.

    limits  what the bytes span, where several maps share a range; None: this map's own
    """
    low, high = limits or (float(values.min()), float(values.max()))
    span = high - low
    steps = torch.zeros_like(values) if span <= 0 else (values - low) / span * 255
    return low, high, base64.b64encode(steps.round().clamp(0, 255).to(torch.uint8).numpy().tobytes()).decode("ascii")


def _second(photo: int, found: Attribution, labels: Tensor | None) -> str:
    return "true" if labels is not None and int(found.targets[photo]) == int(labels[photo]) else "runner-up"


def photo_of(batch: Batch, index: int, probabilities: Tensor) -> dict[str, Any]:
    """One picture of the payload: its pixels, its mask, its true class, and the five likeliest of `probabilities` (K,)."""
    image = batch.images[index]
    image = image if image.shape[0] == 3 else image.expand(3, -1, -1)
    height, width = image.shape[-2:]
    small = max(height, width) <= EXACT_PHOTO
    kind, content = ("webp", encode_webp(image, quality=None)) if small else ("jpeg", encode_jpeg(image, quality=90))
    order = probabilities.argsort(descending=True, stable=True)[:5].tolist()
    mask = None if batch.masks is None or not batch.known[index] else batch.masks[index]
    return {
        "name": batch.names[index],
        "src": _uri(kind, content),
        "width": width,
        "height": height,
        "true": None if batch.labels is None else int(batch.labels[index]),
        "top": [[i, round(float(probabilities[i]), 6)] for i in order],
        "mask": None if mask is None else _uri("png", encode_png(mask.float()[None])),
    }


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
