"""What the interactive viewer of a page shows: pictures, and maps on them as bytes; the page colours and places them.

Report, comparison, timeline, explanation and the live page fill a `ViewerPayload`; `payload_json` alone decides how it lies in a page.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vgg_viz.gallery.small_maps import downsample, quantise, without_repeats
from vgg_viz.maths.heatmaps import MAP_INSIDE, attribution_scale, painted
from vgg_viz.maths.images import encode_jpeg, encode_png, encode_webp
from vgg_viz.maths.receptive_field import Field, Window
from vgg_viz.records import Attribution, Batch

# Sides above which a map is averaged down for the page [values]: of a map in pixels, and of a layer's.
FINEST, FINEST_LAYER = 112, 56
EXACT_PHOTO = 96  # side up to which a photo is stored without loss [px]
LIKELIEST = 5  # classes named with a picture
NETWORK = "the network"

# ---------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class ViewerPicture:
    """A picture, and what the network answers.

    Attributes:
        name: Of its file.
        image: (C, H, W) in [0, 1].
        label: Its true class, or None.
        probabilities: (K,) of the network.
        mask: (H, W) bool, True on the object, or None where nobody knows.
        by: (K,) of each speaker, where several answer: under the method or the layer whose maps are its own.
    """

    name: str
    image: Tensor
    label: int | None
    probabilities: Tensor
    mask: Tensor | None = None
    by: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ViewerMethod:
    """An attribution method as the viewer lists it.

    Attributes:
        id: What the maps call it.
        title: What readers call it.
        signed: Whether its maps speak for and against.
        unit: Of a value: "logit", "× mean".
        about: One sentence for students.
        evidence: A sentence on its trial on this checkpoint, or "".
        speaker: Who answers: "the network", "A".
        poles: What the two colours of a signed map mean.
    """

    id: str
    title: str
    signed: bool
    unit: str
    about: str
    evidence: str = ""
    speaker: str = NETWORK
    poles: str = "red for, blue against"


@dataclass(frozen=True, slots=True)
class ViewerMap:
    """A map of one picture.

    Attributes:
        picture: Its place among the pictures.
        method: Id of a method of the payload.
        layer: Name of a layer of the payload; None: the map is in pixels.
        target: What it is about, in a word: "predicted", "true".
        index: The class that it is about.
        values: (h, w) [unit of the method], as `downsample` leaves them.
        ends: Values that byte 0 and byte 255 stand for; None: lowest and highest of this map.
        limit: Value that takes the strongest colour, where the maps of this picture are seen alone; None: the farther
            of the ends.
    """

    picture: int
    method: str
    layer: str | None
    target: str
    index: int
    values: Tensor
    ends: tuple[float, float] | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class ViewerStart:
    """What the viewer opens with, as far as there is such a map; a layer of None means one in pixels, else None is no wish."""

    picture: int = 0
    method: str | None = None
    layer: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class ViewerPayload:
    """All that a viewer shows.

    Attributes:
        pictures: That can be chosen.
        classes: K names.
        methods: That can be chosen.
        layers: Receptive field of what one value of a stored map stands for [px], in the order of the viewer's list.
        maps: In the order of the viewer's lists.
        axis: What takes the place of layers: those of a network, or the epochs of a run, which share one range.
        over: What the colours of a picture's maps span, in words.
        outline: What the masks are, in words.
        pale: Whether pictures are paled below the maps.
        start: None: with the deepest layer of the first picture.
        outputs: What the networks' outputs mean: "softmax", "sigmoid" or "scores"; of scores, `probabilities` are these.
        noun: What one output is called: "class", "label" or "score".
        inside: Share of a picture's maps that lies below the strongest colour; None where that is not one number for all.
    """

    pictures: Sequence[ViewerPicture]
    classes: Sequence[str]
    methods: Sequence[ViewerMethod]
    layers: Mapping[str, Field]
    maps: Sequence[ViewerMap]
    axis: Literal["layer", "epoch"] = "layer"
    over: str = "this map"
    outline: str = "Outline of the object"
    pale: bool = False
    start: ViewerStart | None = None
    outputs: str = "softmax"
    noun: str = "class"
    inside: float | None = None


# ---------------------------------------------------------------- filling


@dataclass(frozen=True, slots=True)
class AttributedMaps:
    """Maps of the pictures of one batch, and what they are maps of.

    Attributes:
        by_target: (target, attribution of all B pictures); target "predicted", or "second": the true class of a mistake, else
            the runner-up; another word is shown as it is.
        methods: Of these maps; those without any are left out.
        fields: Receptive field of each layer that maps come from, from the picture up.
        finest: Sides above which maps in pixels and maps of layers are averaged down [values].
    """

    by_target: Iterable[tuple[str, Attribution]]
    methods: Sequence[ViewerMethod]
    fields: Mapping[str, Field]
    finest: tuple[int, int] = (FINEST, FINEST_LAYER)


def attribution_payload(
    batch: Batch,
    classes: Sequence[str],
    probabilities: Tensor,
    maps: AttributedMaps,
    *,
    start: ViewerStart | None = None,
) -> ViewerPayload:
    """The payload of one network's maps.

    Args:
        batch: B pictures.
        classes: K names.
        probabilities: (B, K) of the network.
        maps: Of these pictures.
        start: What the viewer opens with.
    """
    viewer_maps: list[ViewerMap] = []
    layers: dict[str, Field] = {}
    by_target = list(maps.by_target)
    limits = _limits([attribution for _, attribution in by_target], maps.fields, batch.images.shape[-2:])
    for target, attribution in by_target:
        layer = attribution.layer
        if layer is None:
            values, _ = downsample(attribution.values, maps.finest[0])
            values = without_repeats(values)
        else:
            values, factor = downsample(attribution.values, maps.finest[1])
            layers[layer] = maps.fields[layer].then(Window(factor, factor))
        for picture, index in enumerate(attribution.targets.tolist()):
            word = _second(batch.labels, picture, index) if target == "second" else target
            limit = limits[attribution.method, layer][picture]
            viewer_maps.append(ViewerMap(picture, attribution.method, layer, word, index, values[picture], limit=limit))
    by_id = {method.id: method for method in maps.methods}
    methods = [by_id[name] for name in dict.fromkeys(one.method for one in viewer_maps)]
    in_order = {name: layers[name] for name in maps.fields if name in layers}
    pictures = viewer_pictures(batch, probabilities)
    return ViewerPayload(
        pictures,
        classes,
        methods,
        in_order,
        viewer_maps,
        over="this photo",
        outline=outline_name(batch),
        start=start,
        inside=MAP_INSIDE,
    )


def _limits(
    maps: Sequence[Attribution], fields: Mapping[str, Field], size: Sequence[int]
) -> dict[tuple[str, str | None], list[float]]:
    """By method and layer, for each picture the value of the strongest colour: maps of several classes share it, as in figures."""
    groups: dict[tuple[str, str | None], list[Attribution]] = {}
    for one in maps:
        groups.setdefault((one.method, one.layer), []).append(one)
    found = {}
    for key, group in groups.items():
        all_painted = [painted(one.values.detach().float().cpu(), one.layer, fields, size) for one in group]
        found[key] = [
            attribution_scale(torch.stack([values[at] for values in all_painted]), group[0], over="").high
            for at in range(len(all_painted[0]))
        ]
    return found


class MethodFacts(Protocol):
    """The facts of an attribution method that the viewer shows."""

    @property
    def name(self) -> str:
        """What code calls it."""
        ...

    @property
    def title(self) -> str:
        """What readers call it."""
        ...

    @property
    def signed(self) -> bool:
        """Whether its maps speak for and against."""
        ...

    @property
    def unit(self) -> str:
        """Of a value."""
        ...

    @property
    def about(self) -> str:
        """One sentence for students."""
        ...


def viewer_method(method: MethodFacts, evidence: str = "") -> ViewerMethod:
    """A method of the registry as the viewer names it."""
    return ViewerMethod(method.name, method.title, method.signed, method.unit, method.about, evidence)


def viewer_pictures(batch: Batch, probabilities: Tensor, by: Mapping[str, Tensor] | None = None) -> list[ViewerPicture]:
    """The pictures of a batch.

    Args:
        batch: B pictures.
        probabilities: (B, K).
        by: (B, K) of each speaker, where several answer.
    """
    labels = [None] * len(batch) if batch.labels is None else batch.labels.tolist()
    masks = (
        [None] * len(batch)
        if batch.masks is None
        else [mask if known else None for mask, known in zip(batch.masks, batch.known.tolist(), strict=True)]
    )
    rows = zip(batch.names, batch.images, labels, probabilities, masks, strict=True)
    return [
        ViewerPicture(*row, by={key: answers[place] for key, answers in (by or {}).items()})
        for place, row in enumerate(rows)
    ]


def outline_name(batch: Batch) -> str:
    """What the lines of the masks are."""
    return "Box around the object" if batch.boxed is not None and bool(batch.boxed.any()) else "Outline of the object"


def _second(labels: Tensor | None, picture: int, index: int) -> str:
    return "true" if labels is not None and index == int(labels[picture]) else "runner-up"


# ---------------------------------------------------------------- packing


def payload_json(payload: ViewerPayload) -> dict[str, Any]:
    """The payload as plain JSON, the one shape that `static/viewer.js` reads.

    "block" holds the bytes of all maps in their order, h x w a map, deflated (zlib), in base64; a map alone is too short for that.
    "limits" holds, under `method|layer|target`, the value of the strongest colour where all pictures share one range.
    """
    signed = {method.id: method.signed for method in payload.methods}
    maps: list[dict[str, Any]] = []
    block: list[bytes] = []
    limits: dict[str, float] = {}
    for one in payload.maps:
        low, high, data = quantise(one.values, one.ends)
        limit = (
            one.limit if one.limit is not None else max(abs(low), abs(high)) if signed[one.method] else max(0.0, high)
        )
        maps.append(
            {
                "photo": one.picture,
                "method": one.method,
                "layer": one.layer,
                "target": one.target,
                "class": one.index,
                "h": one.values.shape[0],
                "w": one.values.shape[1],
                "low": low,
                "high": high,
                "limit": limit,
            }
        )
        block.append(data)
        key = shared_by(one, payload.axis)
        limits[key] = max(limits.get(key, 0.0), limit)
    start = payload.start or ViewerStart(
        layer=next((one.layer for one in reversed(payload.maps) if one.layer is not None), None)
    )
    return {
        "kind": "attention",
        "axis": payload.axis,
        "pale": payload.pale,
        "range": payload.over,
        "outline": payload.outline,
        # Only where they are no classes: the page takes these for granted.
        **({} if payload.noun == "class" else {"outputs": payload.outputs, "noun": payload.noun}),
        **({} if payload.inside is None else {"inside": payload.inside}),
        "photos": [_picture(one) for one in payload.pictures],
        "classes": list(payload.classes),
        "methods": [asdict(method) for method in payload.methods],
        "layers": [
            {"name": name, "jump": one.jump, "centre": one.centre, "size": one.size}
            for name, one in payload.layers.items()
        ],
        "maps": maps,
        "limits": {key_of(one): limits[shared_by(one, payload.axis)] for one in payload.maps},
        "start": {"photo": start.picture, "method": start.method, "layer": start.layer, "target": start.target},
        "block": _base64(zlib.compress(b"".join(block), 9)),
    }


def key_of(one: ViewerMap) -> str:
    """The name of a map's range over all pictures."""
    return f"{one.method}|{one.layer or ''}|{one.target}"


def shared_by(one: ViewerMap, axis: str) -> str:
    """Which maps share that range: those of one layer and target; of a run all that a method made, so that epochs can be compared."""
    return one.method if axis == "epoch" else key_of(one)


def _picture(one: ViewerPicture) -> dict[str, Any]:
    image = one.image if one.image.shape[0] == 3 else one.image.expand(3, -1, -1)
    height, width = image.shape[-2:]
    small = max(height, width) <= EXACT_PHOTO
    kind, content = ("webp", encode_webp(image, quality=None)) if small else ("jpeg", encode_jpeg(image, quality=90))
    return {
        "name": one.name,
        "src": _uri(kind, content),
        "width": width,
        "height": height,
        "true": one.label,
        "top": _likeliest(one.probabilities),
        "by": {name: _likeliest(probabilities) for name, probabilities in one.by.items()},
        "mask": None if one.mask is None else _uri("png", encode_png(one.mask.float()[None])),
    }


def _likeliest(probabilities: Tensor) -> list[list[float]]:
    """[[class, probability], ...], the likeliest first."""
    order = probabilities.argsort(descending=True, stable=True)[:LIKELIEST].tolist()
    return [[index, round(float(probabilities[index]), 6)] for index in order]


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{_base64(content)}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
