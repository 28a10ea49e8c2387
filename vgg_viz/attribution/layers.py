"""Which layer a map is read from, and where its units lie on the picture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.attribution.targets import require_unit
from vgg_viz.errors import InputRefused
from vgg_viz.maths.heatmaps import on_picture
from vgg_viz.models.geometry import LayerGeometry, fields_of, geometry
from vgg_viz.models.names import ACTIVATION_KINDS, Layer, find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Architecture, LayerChoice, Neuron

# A coarser map is a handful of blobs on the picture.
SMALLEST_MAP = 7


def on_pixels(
    model: nn.Module, layer: str | None, maps: Tensor, size: Sequence[int], *, stretch: bool = False
) -> Tensor:
    """`on_picture` for a model: maps of its layer (B, h, w) on pictures of `size` (H, W): (B, H, W).

    layer    None: the maps are in pixels already
    stretch  maps of a network that is not one of ours evenly over the picture, since nobody knows where its units look
    raises   InputRefused when the units have no receptive field of one size, or the network is not one of ours
    """
    if layer is None:
        return maps
    ours = isinstance(getattr(model, "architecture", None), Architecture)
    if stretch and not ours:
        return functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
    return on_picture(maps, layer, fields_of(geometry(model, min(size))) if ours else {}, size)


# Layers whose output is a map: those of the classifier are not, except in the dense form, where scores are averaged.
SPATIAL = ("conv", "bn", "lrn", "pool", "avgpool", *ACTIVATION_KINDS)


def spatial(model: nn.Module, name: str) -> Layer:
    """The layer called `name`, if it has a map to paint.

    raises  UnknownName; InputRefused for flatten, fc6 and what follows
    """
    layer = find(model, name)
    if layer.kind not in SPATIAL or layer.path.startswith("classifier."):
        raise InputRefused(
            f"layer {layer.name} has no map, so Grad-CAM has nothing to paint; choose a convolution or a pool."
        )
    return layer


def default_layer(model: nn.Module, images: Tensor) -> str:
    """The convolution that `choose_layer` picks, or the last one of a network that is not ours; read after its ReLU, if it has one."""
    side = min(images.shape[-2:])
    if isinstance(getattr(model, "architecture", None), Architecture):
        rows = geometry(model, side)
        return after_activation(rows, choose_layer(rows, side).name)
    known = layers_of(model)
    last = max((place for place, layer in enumerate(known) if layer.kind == "conv"), default=None)
    if last is None:
        raise InputRefused("the network has no convolution, so Grad-CAM has no map; choose a gradient method.")
    follows = next((layer for layer in known[last + 1 :] if layer.kind != "bn"), known[last])
    return follows.name if follows.kind in ACTIVATION_KINDS else known[last].name


def layer_for(model: nn.Module, images: Tensor, asked: str | None, neuron: Neuron) -> str:
    """The layer whose map explains a unit: `asked`, or the usual one if it lies below the unit, or the highest ReLU that does.

    raises  UnknownName; InputRefused where nothing of the layer reaches the unit
    """
    below = layers_below(model, neuron)
    if asked is not None:
        name = find(model, asked).name
        if name not in below:
            raise InputRefused(
                f"layer {name} does not lie below {neuron.layer}, so unit {neuron} hears nothing of it; choose a layer below, "
                f"or leave it out."
            )
        return name
    usual = default_layer(model, images)
    maps = [name for name, layer in below.items() if layer.kind == "conv"]
    maps += [name for name, layer in below.items() if layer.kind in ACTIVATION_KINDS]
    if not maps:
        raise InputRefused(
            f"no layer with a map lies below unit {neuron}; choose a method that paints the picture, such as saliency."
        )
    return usual if usual in below else maps[-1]


def layers_below(model: nn.Module, neuron: Neuron) -> dict[str, Layer]:
    """The layers that a picture meets before the neuron's own, by name."""
    require_unit(neuron)
    found, top = {}, find(model, neuron.layer).name
    for layer in layers_of(model):
        if layer.name == top:
            break
        found[layer.name] = layer
    return found


def after_activation(rows: Sequence[LayerGeometry], convolution: str) -> str:
    """The activation that follows a convolution: where the paper takes Grad-CAM's feature maps. The convolution itself where none does.

    Before the ReLU a channel's map also holds how strongly its pattern is absent, and the sum paints that as evidence.
    On 500 pictures of `shapes` the peak then lies on the object about half as often (benchmarks/grad_cam_layers.py).
    """
    names = [row.name for row in rows]
    for row in rows[names.index(convolution) + 1 :]:
        if row.kind in ACTIVATION_KINDS:
            return row.name
        if row.kind in ("conv", "fc", "flatten"):
            break  # what follows belongs to another layer
    return convolution


def choose_layer(rows: Sequence[LayerGeometry], image_side: int) -> LayerChoice:
    """Where Grad-CAM looks best: the deepest convolution whose map is 7x7 or finer and whose field fits the picture.

    rows        from `geometry(model, image_side)`
    image_side  [px]
    returns     the convolution, and why: the numbers that decided
    raises      InputRefused when there is no convolution

    Deeper layers know more about the class, but their maps are coarser, and a unit that sees the whole picture
    (and padding around it) cannot say where in it the evidence was.
    """
    convolutions = [row for row in rows if row.kind == "conv" and len(row.shape) == 3]
    if not convolutions:
        raise InputRefused("the network has no convolution, so Grad-CAM has no map; choose a gradient method.")
    known = {row.name: row for row in rows}
    read = {row.name: known[after_activation(rows, row.name)] for row in convolutions}  # a pool may lie between
    fine = [row for row in convolutions if min(read[row.name].shape[1:]) >= SMALLEST_MAP]
    fitting = [row for row in fine if (field := read[row.name].field) and field.size <= image_side]
    if fitting:
        chosen = fitting[-1]
        why = f"the deepest convolution whose map is {SMALLEST_MAP} × {SMALLEST_MAP} or finer and whose field fits the picture"
    elif fine:
        chosen = fine[0]
        why = "no field of a fine enough map fits the picture, so the one that sees least beyond it"
    else:
        chosen = max(convolutions, key=lambda row: read[row.name].shape[1])
        why = f"no convolution has a map of {SMALLEST_MAP} × {SMALLEST_MAP}, so the finest that there is"
    deeper = convolutions[convolutions.index(chosen) + 1 :]
    reason = f"{_sees(read[chosen.name], image_side)}; {why}"
    if deeper and fitting:
        reason += f" (the next, {deeper[0].name}: {_sees(read[deeper[0].name], image_side)})"
    return LayerChoice(chosen.name, reason)


def _sees(row: LayerGeometry, image_side: int) -> str:
    field = f"each unit sees {row.field.size} of {image_side} px" if row.field else "without a field of one size"
    return f"a {row.shape[1]} × {row.shape[2]} map, {field}"
