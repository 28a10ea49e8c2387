"""What every layer puts out, sees and costs, by arithmetic alone: no forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from vgg_viz.maths.receptive_field import Field, Window
from vgg_viz.models.names import layers
from vgg_viz.models.network import map_sizes
from vgg_viz.records import Architecture


@dataclass(frozen=True, slots=True)
class LayerGeometry:
    """One row of the network's table.

    Attributes:
        shape: Of its output without the batch: (C, h, w) or (C,).
        field: Receptive field [px]; None where units have none of one size (an uneven average pool and what follows).
        parameters: How many.
        macs: Multiply-accumulates for one picture (biases not counted).
    """

    name: str
    kind: str
    path: str
    shape: tuple[int, ...]
    field: Field | None
    parameters: int
    macs: int


def geometry(model: nn.Module, side: int | None = None) -> tuple[LayerGeometry, ...]:
    """The table of a VGG or Tiny VGG for square images of `side` [px] (default: what it was trained on).

    Raises:
        InputRefused: When the image is too small.
    """
    architecture = model.architecture
    if not isinstance(architecture, Architecture):
        raise TypeError("a model from vgg_viz.build was expected")
    side = architecture.image_side if side is None else side
    map_sizes(architecture, side)
    shape: tuple[int, ...] = (architecture.in_channels, side, side)
    field: Field | None = Field()
    rows = []
    for layer in layers(model):
        module = layer.module
        before, macs = shape, 0
        window = Window()
        if isinstance(module, nn.Conv2d):
            window = window_of(module)
            shape = (module.out_channels, *(window.out(s) for s in before[1:]))
            macs = module.weight[0].numel() * prod(shape)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            window = window_of(module)
            shape = (before[0], *(window.out(s) for s in before[1:]))
        elif isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            pooled = int(module.output_size)  # type: ignore[arg-type]
            shape = (before[0], pooled, pooled)
            if before[1] % pooled:
                field = None
            window = Window(max(1, before[1] // pooled), max(1, before[1] // pooled))
        elif isinstance(module, nn.Linear):
            # Its row of weights covers the whole map below, as a kernel of that size would.
            shape, macs = (module.out_features,), module.weight.numel()
        elif isinstance(module, nn.Flatten):
            window, shape = Window(before[1] if len(before) > 1 else 1), (prod(before),)
        field = field.then(window) if field else None
        parameters = sum(p.numel() for p in module.parameters())
        rows.append(LayerGeometry(layer.name, layer.kind, layer.path, shape, field, parameters, macs))
    return tuple(rows)


def window_of(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> Window:
    """The window of a convolution or pool that is square."""
    dilation = 1 if isinstance(module, nn.AvgPool2d) else _side(module.dilation)
    ceil = not isinstance(module, nn.Conv2d) and module.ceil_mode
    return Window(_side(module.kernel_size), _side(module.stride), _side(module.padding), dilation, ceil)  # type: ignore[arg-type]


def _side(sides: int | tuple[int, ...]) -> int:
    return sides if isinstance(sides, int) else sides[0]


def fields_of(rows: Sequence[LayerGeometry]) -> dict[str, Field]:
    """The receptive field of each layer [px], from the picture up; without those whose units have none of one size."""
    return {row.name: row.field for row in rows if row.field is not None}
