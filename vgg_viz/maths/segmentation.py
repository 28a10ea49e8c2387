"""A picture cut into object and ground by its colours, and the box around the largest piece."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vgg_viz.maths.images import Array, opencv, to_uint8
from vgg_viz.maths.receptive_field import Box

ROUNDS = 5


def grab_cut(image: Tensor, object_seeds: Array, ground_seeds: Array) -> Array:
    """The pixels whose colours and neighbours go better with the object's seeds than with those of the ground.

    Mixtures of Gaussians for both colours and a cut through the graph of neighbours, in turn. Seeds of OpenCV's generator, which place
    the mixtures, are set before each call: the same picture gives the same cut.
    Source: Rother, Kolmogorov & Blake, "GrabCut", SIGGRAPH 2004.

    Args:
        image: (C, H, W) in [0, 1]; grey is repeated.
        object_seeds: (H, W) bool, taken for granted.
        ground_seeds: (H, W) bool, likewise of the background.

    Returns:
        (H, W) bool; nothing where either kind of seed is missing.
    """
    if not object_seeds.any() or not ground_seeds.any():
        return np.zeros(object_seeds.shape, bool)
    cv2 = opencv()
    pixels = to_uint8(image.expand(3, -1, -1) if len(image) == 1 else image).cpu().numpy()[::-1].transpose(1, 2, 0)
    labels = np.full(object_seeds.shape, cv2.GC_PR_BGD, np.uint8)
    labels[ground_seeds], labels[object_seeds] = cv2.GC_BGD, cv2.GC_FGD
    cv2.setRNGSeed(0)
    models = np.zeros((2, 1, 65))
    cv2.grabCut(np.ascontiguousarray(pixels), labels, None, models[0], models[1], ROUNDS, cv2.GC_INIT_WITH_MASK)
    is_object: Array = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return is_object


def largest_piece(mask: Array) -> tuple[Array, Box | None]:
    """The largest connected piece of a mask (H, W) bool, pixels that touch at a corner included, and its box; None when it is empty."""
    count, labels, statistics, _ = opencv().connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros(mask.shape, bool), None
    number = 1 + int(statistics[1:, 4].argmax())
    x, y, width, height = (int(value) for value in statistics[number, :4])
    return labels == number, Box(x, y, x + width, y + height)


def box_of(mask: Array) -> Box | None:
    """The smallest box around all of a mask (H, W) bool; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) else None


def box_overlap(first: Box | None, second: Box | None) -> float:
    """Intersection over union of two boxes, [0, 1]; 0 where one is missing."""
    if first is None or second is None:
        return 0.0
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    common = max(0, width) * max(0, height)
    areas = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in (first, second))
    return common / (areas - common)
