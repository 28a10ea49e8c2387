"""Maps made small for a page: averaged down, without repeats, as bytes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def downsample(maps: Tensor, finest: int) -> tuple[Tensor, int]:
    """Maps (B, h, w) as float32 on the CPU, averaged down to sides of `finest` values at most, and by which factor."""
    values = maps.detach().float().cpu()
    factor = -(-max(values.shape[-2:]) // finest)
    return block_means(values, factor), factor


def block_means(values: Tensor, factor: int) -> Tensor:
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


def quantise(values: Tensor, ends: tuple[float, float] | None = None) -> tuple[float, float, bytes]:
    """A map as bytes: the values of byte 0 and byte 255, and the bytes; the error is at most half a step.

    Args:
        values: (h, w) of one map.
        ends: What the bytes span, where several maps share a range; None: this map's own.
    """
    low, high = ends or (float(values.min()), float(values.max()))
    span = high - low
    steps = torch.zeros_like(values) if span <= 0 else (values - low) / span * 255
    return low, high, steps.round().clamp(0, 255).to(torch.uint8).numpy().tobytes()
