"""Occlusion: the class score with a square of the picture painted over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from vgg_viz.attribution.incremental_forward import Span, plan, scores
from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions, baseline_for
from vgg_viz.errors import InputRefused


def _passes(options: MethodOptions, side: int) -> float:
    return squares(options, side, side) + 1


def _passes_on(model: nn.Module, options: MethodOptions, side: int) -> float:
    return passes_of(model, options, side, side)


@method(
    "occlusion",
    title="Occlusion",
    family="perturbation",
    signed=True,
    unit="logit",
    reads=("window", "stride", "baseline"),
    passes=_passes,
    passes_on=_passes_on,
    about="How far the class score falls when a square of the picture is painted over: asked of the network, not of its gradients.",
    source="Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
)
def occlusion(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Score of the picture minus score with a square painted over, averaged over the squares that cover a pixel.

    The square has an eighth of the picture's side and moves by half of its own; it is painted in the picture's mean
    colour, which says less than black. raises InputRefused when the square does not fit or leaves gaps.

    The map is that of Captum's Occlusion, asked about one picture and `options.batch_size` squares at a time. Where the network
    begins with a chain of local layers, only what a square can reach is computed anew, see `windows`.
    """
    height, width = images.shape[2:]
    refuse_misfit(options, height, width)
    baselines = baseline_for(images, "mean" if options.baseline is None else options.baseline)
    spans = spans_of(options, height, width)
    found = plan(model, (height, width), *spans, options.batch_size)
    maps = []
    with torch.no_grad():
        for picture, painted, target in zip(
            torch.split(images, 1), torch.split(baselines, 1), targets.tolist(), strict=True
        ):
            if found is None:
                maps.append(_by_captum(model, picture, painted, target, options))
            else:
                maps.append(
                    falls(model(picture)[:, target], spans, scores(model, found, picture, painted, spans), target)
                )
    return Map(torch.cat(maps), passes=passes_of(model, options, height, width))


def _by_captum(model: nn.Module, picture: Tensor, painted: Tensor, target: int, options: MethodOptions) -> Tensor:
    channels, height, width = picture.shape[1:]
    window, stride = square(options, height, width)
    fall: Tensor = Occlusion(model).attribute(
        picture,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        baselines=painted,
        target=target,
        perturbations_per_eval=max(2, options.batch_size),
    )
    # The square covers all channels, so Captum's map says the same in each of them.
    return fall[:, 0]


def falls(
    bare: Tensor,
    spans: tuple[Sequence[Span], Sequence[Span]],
    said: Iterable[Tensor],
    target: int,
    *,
    per_pixel: bool = False,
) -> Tensor:
    """The mean fall of the score over the rectangles that cover a pixel (1, H, W), added up in Captum's order: it rounds alike.

    bare       (1,) score of the picture itself
    spans      of rows and of columns
    said       what the network says with each rectangle painted over, rows fastest, (n, K) a batch
    per_pixel  each fall is divided by the pixels of its rectangle
    """
    height, width = (rows[-1][1] + 1 for rows in spans)
    down, across = (_covers(rows, side, bare.device) for rows, side in zip(spans, (height, width), strict=True))
    total = torch.zeros((1, height, width), dtype=bare.dtype, device=bare.device)
    covered = torch.zeros((1, height, width), device=bare.device)
    place = 0
    for part in said:
        at = torch.arange(place, place + len(part), device=bare.device)
        place += len(part)
        inside = down[at % len(down), :, None] & across[at // len(down), None, :]
        fall = bare - part[:, target]
        if per_pixel:
            fall = fall / inside.sum((1, 2))
        total += (fall[:, None, None] * inside.to(total.dtype)).sum(0)
        covered += inside.float().sum(0)
    return total.float() / covered


def _covers(spans: Sequence[Span], side: int, device: torch.device) -> Tensor:
    """Which lines each span covers: (spans, side) bool."""
    lines = torch.arange(side, device=device)
    return torch.stack([(lines >= first) & (lines <= last) for first, last in spans])


def passes_of(model: nn.Module, options: MethodOptions, height: int, width: int) -> float:
    """What occlusion costs a picture of this size; parts of a pass by their multiply-adds."""
    found = plan(model, (height, width), *spans_of(options, height, width), options.batch_size)
    # One for the bare score, two for what is known of its maps.
    return squares(options, height, width) + 1 if found is None else found.share() + 3


def refuse_misfit(options: MethodOptions, height: int, width: int) -> None:
    """Raise InputRefused when the square does not fit into the picture, or leaves gaps."""
    window, stride = square(options, height, width)
    if not 1 <= stride <= window <= min(height, width):
        raise InputRefused(
            f"a square of {window} px that moves by {stride} px came for pictures of {height} × {width} px; "
            f"it must fit into the picture, and move by no more than its own side."
        )


def square(options: MethodOptions, height: int, width: int) -> tuple[int, int]:
    """Side of the square and how far it moves [px], for pictures of this size."""
    window = max(1, min(height, width) // 8) if options.window is None else options.window
    return window, max(1, window // 2) if options.stride is None else options.stride


def spans_of(options: MethodOptions, height: int, width: int) -> tuple[list[Span], list[Span]]:
    """First and last line of the squares, down and across; the last may stand out of the picture, and is cut there."""
    window, stride = square(options, height, width)
    down, across = (
        [(stride * i, min(stride * i + window, side) - 1) for i in range(math.ceil((side - window) / stride) + 1)]
        for side in (height, width)
    )
    return down, across


def squares(options: MethodOptions, height: int, width: int) -> int:
    """How many places the square takes on a picture of this size."""
    down, across = spans_of(options, height, width)
    return len(down) * len(across)
