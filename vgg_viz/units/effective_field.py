"""How much of its receptive field a unit really uses: the effective receptive field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import eval_mode, frozen, on_device_of
from vgg_viz.errors import InputRefused
from vgg_viz.maths.receptive_field import Field
from vgg_viz.models.geometry import geometry
from vgg_viz.models.names import find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.records import Architecture


@dataclass(frozen=True, slots=True)
class EffectiveField:
    """Where the centre unit of a layer gets its input from, on average.

    Attributes:
        influence: (H, W) mean |d unit / d pixel| over pictures, summed over colours, 1 at its peak.
        size: Side of a square with as many pixels as lie above the threshold [px].
        threshold: Share of the peak; 4.55 % is two standard deviations of a Gaussian.
        pictures: N of the mean.
        unit: (row, column) in the layer's map.
        field: The theoretical field, or None when it is not known.
    """

    layer: str
    influence: Tensor
    size: float
    threshold: float
    pictures: int
    unit: tuple[int, int]
    field: Field | None


def effective_field(  # noqa: PLR0913 - what is measured, and three numbers of the measurement
    model: nn.Module, images: Tensor, layer: str, *, threshold: float = 0.0455, seed: int = 0, batch: int = 8
) -> EffectiveField:
    """Measure the effective field of the centre unit of `layer`, on real pictures or on noise.

    Source: Luo et al., "Understanding the Effective Receptive Field", NeurIPS 2016. They take the threshold from the
    centre pixel; with max-pooling the peak can be its neighbour, so it is taken from the peak.

    Args:
        model: The network, which is left as it was.
        images: (B, C, H, W) in [0, 1]; the more, the smoother.
        layer: Its name, such as "conv5_3".
        threshold: Share of the peak from which a pixel counts to the field.
        seed: The unit's channels are summed with random signs, new ones for each picture: without signs they would
            partly cancel, and a single channel would be one filter's opinion.
        batch: Pictures at a time.

    Raises:
        UnknownName: A name is unknown; the nearest known one is named.
        InputRefused when the layer has no map: It cannot be done.
    """
    goal = find(model, layer)
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(images.shape[-2:], dtype=torch.float64)
    unit = (0, 0)
    with eval_mode(model), frozen(model), torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(images), batch):
            pictures = on_device_of(model, images[start : start + batch]).detach().clone().requires_grad_()
            maps = _up_to(model, pictures, goal.name)
            if maps.ndim != 4:
                raise InputRefused(
                    f"layer {goal.name} has no map, so no unit in its centre; choose a convolution or a pool."
                )
            unit = (maps.shape[2] // 2, maps.shape[3] // 2)
            signs = torch.randint(0, 2, maps.shape[:2], generator=generator).to(maps) * 2 - 1
            (slope,) = torch.autograd.grad((maps[:, :, unit[0], unit[1]] * signs).sum(), pictures)
            total += slope.abs().sum((0, 1)).double().cpu()
    peak = float(total.max())
    influence = total / peak if peak > 0 else total
    size = math.sqrt(int((influence > threshold).sum()))
    return EffectiveField(
        goal.name, influence.float(), size, threshold, len(images), unit, _theory(model, goal.name, images)
    )


def _up_to(model: nn.Module, values: Tensor, name: str) -> Tensor:
    """What layer `name` says, with its graph, without running what lies above it."""
    for layer in layers_of(model):
        values = layer.module(values)
        if layer.name == name:
            break
    return values


def _theory(model: nn.Module, name: str, images: Tensor) -> Field | None:
    if not isinstance(getattr(model, "architecture", None), Architecture):
        return None
    return {row.name: row.field for row in geometry(model, min(images.shape[-2:]))}[name]
