"""RISE: which parts of the picture raise the score when they happen to be visible."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.attribution.method import Map, method
from vgg_viz.attribution.options import MethodOptions, baseline_for

CELLS = 7  # of a mask along a side, as in the paper
SHOWN = 0.5  # share of the cells that stay visible


@method(
    "rise",
    title="RISE",
    family="perturbation",
    signed=True,
    unit="logit",
    reads=("seed", "masks", "baseline"),
    passes=lambda options, side: options.masks,
    about="The picture behind hundreds of random soft masks: what is visible when the score is high. No gradient is asked.",
    source="Petsiuk, Das & Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018",
)
def rise(model: nn.Module, images: Tensor, targets: Tensor, options: MethodOptions) -> Map:
    """Covariance over masks of the score and the mask at a pixel, divided by the mask's variance there.

        values = sum over masks of (f(x M + blank (1 - M)) - mean f) (M - mean M) / sum over masks of (M - mean M)²

    The paper weighs masks with the probability itself. Its mean over masks then stands at every pixel, with the noise of the
    number of masks, and drowns small evidence; without it a value is what showing that place adds to the score, and a linear
    network gets its own w (x - blank), blurred by a cell. The score is the logit and not the probability: that saturates, and
    one class against another, or a single unit, has none. The same masks for all pictures, by seed.
    """
    count, _, height, width = images.shape
    blank = baseline_for(images, "black" if options.baseline is None else options.baseline)
    totals = [images.new_zeros(count, 1, dtype=torch.float64)]
    scored = images.new_zeros(count, height, width, dtype=torch.float64)  # sum of f M
    shown, squared = (images.new_zeros(height, width, dtype=torch.float64) for _ in range(2))
    at_once = max(1, options.batch_size // count)
    with torch.no_grad():
        for masks in _masks(options.masks, at_once, height, width, options.seed):
            masks = masks.to(images.device)
            veil = masks[:, None, None].to(images.dtype)
            seen = (blank + veil * (images - blank)).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            scores = model(seen).gather(1, targets.repeat(len(masks))[:, None]).view(len(masks), count).double()
            totals.append(scores.T)
            scored += torch.einsum("mb,mhw->bhw", scores, masks)
            shown += masks.sum(0)
            squared += masks.square().sum(0)
    mean = torch.cat(totals, dim=1).sum(1) / options.masks
    spread = (squared - shown.square() / options.masks).clamp(
        min=1e-12
    )  # a single mask varies nowhere: its map is flat
    values = (scored - mean[:, None, None] * shown) / spread
    return Map(values.float(), passes=options.masks)


def _masks(count: int, at_once: int, height: int, width: int, seed: int) -> Iterator[Tensor]:
    """Soft random masks (m, H, W) in [0, 1], float64, a few at a time: a coarse grid of dice, stretched and shifted by part of a cell.

    The shift differs from mask to mask, so that no pixel lies on the border of cells every time. The dice of a mask do not
    depend on how many go at once.
    """
    dice = torch.Generator().manual_seed(seed)
    tall, wide = (-(-side // CELLS) for side in (height, width))  # pixels of a cell, rounded up
    for start in range(0, count, at_once):
        masks = []
        for _ in range(start, min(start + at_once, count)):
            cells = (torch.rand(1, 1, CELLS + 1, CELLS + 1, generator=dice, dtype=torch.float64) < SHOWN).double()
            large = F.interpolate(
                cells, ((CELLS + 1) * tall, (CELLS + 1) * wide), mode="bilinear", align_corners=False
            )[0, 0]
            top, left = (int(torch.randint(size, (), generator=dice)) for size in (tall, wide))
            masks.append(large[top : top + height, left : left + width])
        yield torch.stack(masks)
