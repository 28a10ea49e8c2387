"""Maps of a layer brought onto the image, on scales that can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.errors import InputRefused
from vgg_viz.maths.receptive_field import Field
from vgg_viz.records import Attribution

# Share of the values (of the magnitudes, where maps have a sign) that lie inside a scale; the scales of a page take one of two.
# Of maps on one picture: a few peaks would darken the rest, or make it transparent over the photo.
MAP_INSIDE = 0.98
# Of the feature maps of a layer, and of means over many maps: many share the scale, and a spot in one of them is what is looked for.
MANY_INSIDE = 0.999


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of values that a colour map spans, and over what it was taken.

    Attributes:
        low: Least value that keeps its colour [unit].
        high: Largest [unit]; equal to `low` when every value is the same: such a map is painted flat.
        signed: Zero lies in the middle: low = -high.
        unit: "logit", "activation", ...
        over: What shares it: "this map", "all maps of this row", "all layers".
        clipped: Share of values beyond the range, [0, 1]: painted in the end colours.
    """

    low: float
    high: float
    signed: bool
    unit: str
    over: str
    clipped: float = 0.0

    def normalise(self, values: Tensor) -> Tensor:
        """Values as positions on the colour map, [0, 1]; a flat range maps to its neutral position."""
        if not self.high > self.low:
            return torch.full_like(values, 0.5 if self.signed else 0.0)
        return ((values - self.low) / (self.high - self.low)).clamp(0, 1)


def shared_scale(values: Tensor, *, signed: bool, unit: str, over: str, quantile: float = 1.0) -> Scale:
    """One scale for all `values`: zero in the middle if signed, starting at zero or the minimum if not.

    Unsigned maps without negative values start at zero, so that "nothing" and "little" look alike on every map.

    Args:
        values: Any shape, at least one value.
        signed: Whether zero lies in the middle.
        unit: What a value is: "logit", "activation", ...
        over: What shares the scale, as a phrase.
        quantile: Share of magnitudes that must lie inside, (0, 1]; below 1 a few peaks no longer darken the rest.
    """
    flat = values.detach().float().flatten()
    magnitude = flat.abs() if signed else flat
    high = float(magnitude.max()) if quantile >= 1 else float(_quantile(magnitude, quantile))
    low = -high if signed else min(float(flat.min()), 0.0)
    beyond = (flat > high) | (flat < low)
    return Scale(low, high, signed, unit, over, float(beyond.float().mean()))


def attribution_scale(values: Tensor, found: Attribution, *, over: str, signed: bool | None = None) -> Scale:
    """The scale on which maps of an attribution are shown, whatever figure they stand in.

    Args:
        values: Any shape: the maps as they are painted, all that share the scale.
        found: Whose unit, sign and kind of map they have: in pixels, or a layer's.
        over: What shares the scale, as a phrase.
        signed: None: as the attribution; True for a difference of two maps without signs.
    """
    return shared_scale(
        values, signed=found.signed if signed is None else signed, unit=found.unit, over=over, quantile=MAP_INSIDE
    )


def _quantile(values: Tensor, q: float) -> Tensor:
    # torch.quantile refuses more than 16 million values; kthvalue does not.
    k = max(1, min(values.numel(), round(q * values.numel())))
    return values.kthvalue(k).values


STRENGTH = "× mean strength"  # the unit of what follows


def relative(maps: Tensor) -> Tensor:
    """Signed maps (B, h, w) as multiples of their own mean magnitude: a network with small logits shows where it looks too.

    A map that is zero everywhere stays so.
    """
    strength = maps.abs().mean((1, 2), keepdim=True)
    return maps / strength.where(strength > 0, 1.0)


def on_picture(maps: Tensor, layer: str | None, fields: Mapping[str, Field], size: Sequence[int]) -> Tensor:
    """Maps of an attribution's layer, or other values of it, in the pixels of their pictures: (B, H, W).

    Args:
        maps: (B, h, w), any unit, any sign.
        layer: That they belong to; None: they are in pixels already, as is a map with a unit for every pixel.
        fields: Receptive field of each layer [px], see `geometry.fields_of`.
        size: (H, W) of the pictures [px].

    Raises:
        InputRefused: For a layer whose units have no receptive field of one size.
    """
    if layer is None or maps.shape[-2:] == tuple(size):
        return maps
    if layer not in fields:
        raise InputRefused(
            f"nobody knows what the units of {layer} see here; choose a convolution of a VGG or Tiny VGG."
        )
    return place(maps, fields[layer], (int(size[0]), int(size[1])))


def painted(maps: Tensor, layer: str | None, fields: Mapping[str, Field], size: Sequence[int]) -> Tensor:
    """Maps as every figure, viewer and first screen paints them: on their pictures, those of a layer smoothed; (B, H, W).

    Args:
        maps: (B, h, w), any unit, any sign.
        layer: As for `on_picture`.
        fields: As for `on_picture`.
        size: (H, W) of the pictures [px].

    Raises:
        InputRefused: As `on_picture`.
    """
    placed = on_picture(maps, layer, fields, size)
    return placed if layer is None else smoothed(placed, fields[layer].size)


def smoothed(placed: Tensor, seen: float) -> Tensor:
    """Layer maps on their pictures as a reader sees them: blurred by much less than what one unit sees.

    A unit speaks for all of its field, so a map finer than that shows the grid of units and not the picture. The width of the
    Gaussian is min(seen / 4, side / 20); what is read out and saved stays raw.

    Args:
        placed: (B, H, W), as `place` gives them.
        seen: Side of what one unit sees [px].

    Returns:
        (B, H, W), same unit; values beyond the border repeat those at it, so that a constant stays what it is.
    """
    sigma = min(seen / 4, max(placed.shape[-2:]) / 20)
    reach = math.ceil(3 * sigma)
    if reach < 1:
        return placed
    steps = torch.arange(-reach, reach + 1, dtype=placed.dtype, device=placed.device)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = weights / weights.sum()
    padded = functional.pad(placed[:, None], (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, weights[None, None, None]), weights[None, None, :, None])[:, 0]


def place(maps: Tensor, field: Field, side: int | tuple[int, int]) -> Tensor:
    """Paint layer maps on the image, each unit at the centre of what it sees.

    A plain resize assumes that unit 0 is centred half a jump from the border. That holds for padded VGGs;
    in a valid-padding Tiny VGG it is wrong by up to 5.8 px of 64.

    Args:
        maps: (B, h, w), any unit, any sign.
        field: Receptive field of the layer: jump and first centre [px].
        side: Image side [px], or (H, W).

    Returns:
        (B, H, W), same unit; bilinear between centres, the border unit's value beyond the last centre: extremes never
            grow.
    """
    height, width = (side, side) if isinstance(side, int) else side
    rows = _positions(height, maps.shape[-2], field, maps)
    columns = _positions(width, maps.shape[-1], field, maps)
    return _between(_between(maps, rows, -2), columns, -1)


def _positions(side: int, units: int, field: Field, like: Tensor) -> Tensor:
    """For every pixel along one axis, which unit looks at it (fractional, clamped to the units that exist)."""
    pixels = torch.arange(side, device=like.device, dtype=torch.float64)
    return ((pixels - field.centre) / field.jump).clamp(0, units - 1)


def _between(maps: Tensor, positions: Tensor, axis: int) -> Tensor:
    low = positions.floor().long()
    high = (low + 1).clamp(max=maps.shape[axis] - 1)
    weight = (positions - low).to(maps.dtype)
    weight = weight[:, None] if axis == -2 else weight
    below, above = maps.index_select(axis, low), maps.index_select(axis, high)
    # Written as a sum of two non-negative parts, so that rounding cannot leave the interval of its two ends.
    return torch.lerp(below, above, weight)
