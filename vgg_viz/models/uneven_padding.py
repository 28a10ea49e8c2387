"""Windows that pad one side more than the other (TensorFlow's SAME), in layers that pad all sides alike: the same numbers come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

Sides = tuple[int, int, int, int]  # above, left, below, right [px]


@dataclass(frozen=True, slots=True)
class Sliding:
    """How a window slides over a map: height and width each [px].

    Attributes:
        pads: Zeros above, left, below and right.
        ceil: Whether a pool rounds up.
        counts: Whether an average counts the padding.
    """

    stride: tuple[int, int] = (1, 1)
    pads: Sides = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil: bool = False
    counts: bool = False


def same(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    *,
    above: bool = False,
) -> Sides:
    """The padding of TensorFlow's SAME: the output has size / stride places, rounded up; an odd pixel goes below and to the right.

    Args:
        size: Height and width of the map [px].
        kernel: Height and width.
        stride: Likewise.
        dilation: Likewise.
        above: The odd pixel goes above and to the left instead (ONNX's SAME_LOWER).
    """
    totals = [
        max(0, (-(-side // step) - 1) * step + (width - 1) * wide + 1 - side)
        for side, width, step, wide in zip(size, kernel, stride, dilation, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*more, *less) if above else (*less, *more)  # type: ignore[return-value]


def convolved(maps: Tensor, weight: Tensor, bias: Tensor | None, how: Sliding, groups: int = 1) -> Tensor:
    """A convolution; where its padding is uneven, kernels get a border of zeros, which makes it even and changes no number."""
    (top, left, below, right), pads = how.pads, [0, 0]
    borders = [0, 0, 0, 0]  # left, right, above, below
    for axis, (before, after) in enumerate(((top, below), (left, right))):
        more, step = after - before, how.dilation[axis]
        if more % step:  # no whole row of the kernel: the map itself is padded
            maps = functional.pad(maps, (left, right, top, below))
            return functional.conv2d(maps, weight, bias, how.stride, 0, how.dilation, groups)
        # A kernel with a row of zeros before it, on a map that begins a row earlier, reads the same pixels.
        borders[2 - 2 * axis], borders[3 - 2 * axis] = max(more, 0) // step, max(-more, 0) // step
        pads[axis] = max(before, after)
    weight = functional.pad(weight, borders) if any(borders) else weight
    return functional.conv2d(maps, weight, bias, how.stride, tuple(pads), how.dilation, groups)


def pooled(maps: Tensor, kernel: tuple[int, int], how: Sliding, *, average: bool) -> Tensor:
    """A max-pool or average pool; a row of padding below and to the right is what rounding up makes of it."""
    (top, left, below, right), ceil = how.pads, how.ceil
    places = [
        (side + before + after - width) // step + 1
        for side, before, after, width, step in zip(
            maps.shape[2:], (top, left), (below, right), kernel, how.stride, strict=True
        )
    ]
    uneven = (top, left) != (below, right)
    if uneven:
        up = [
            -(-(side + 2 * before - width) // step) + 1
            for side, before, width, step in zip(maps.shape[2:], (top, left), kernel, how.stride, strict=True)
        ]
        if up != places or (average and how.counts) or ceil:
            if average and not how.counts:
                raise ValueError("it averages over padding that is uneven, which no layer of this package does")
            value = 0.0 if average else -float("inf")
            maps = functional.pad(maps, (left, right, top, below), value=value)
            top = left = 0
        else:
            ceil = True
    if average:
        return functional.avg_pool2d(maps, kernel, how.stride, (top, left), ceil, how.counts)
    return functional.max_pool2d(maps, kernel, how.stride, (top, left), 1, ceil)
