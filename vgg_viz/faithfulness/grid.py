"""Where there are no masks, four pictures make a picture with a mask: each class must find its own quarter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.capture.hooks import eval_mode
from vgg_viz.models.outputs import class_logits

QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Grids:
    """Pictures made of four, asked about each of the four classes in turn.

    images   (4 G, C, H, W): every grid stands four times
    targets  (4 G,) the class that is asked about
    masks    (4 G, H, W) bool, True on its quarter
    """

    images: Tensor
    targets: Tensor
    masks: Tensor


def grids_of(model: nn.Module, images: Tensor, classes: Tensor, *, most: int = 3, seed: int = 0) -> Grids | None:
    """Tile pictures of four different predicted classes, each shrunk to half its side.

    images   (B, C, H, W) in [0, 1]; classes (B,) as the network names them
    most     grids at most
    returns  None where fewer than four classes are still recognised when the picture is shrunk: the question would be unfair

    A shrunk picture counts as recognised when the network gives it its class on a ground of its own mean colour, in the quarter
    where it will stand. Source: Böhle et al., "Convolutional Dynamic Alignment Networks", CVPR 2021.
    """
    height, width = images.shape[-2:]
    half = (height // 2, width // 2)
    if min(half) < 8:
        return None
    small = F.interpolate(images, half, mode="bilinear", antialias=True, align_corners=False)
    ground = images.mean((2, 3), keepdim=True).expand_as(images)
    places = [(row, column) for row in (0, half[0]) for column in (0, half[1])]
    known = torch.zeros(len(images), QUARTERS, dtype=torch.bool)
    with eval_mode(model), torch.no_grad():
        for quarter, (row, column) in enumerate(places):
            alone = ground.clone()
            alone[..., row : row + half[0], column : column + half[1]] = small
            known[:, quarter] = (class_logits(model, model(alone)).argmax(1) == classes).cpu()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    found: list[list[int]] = []
    used: set[int] = set()
    for _ in range(most):
        chosen: list[int] = []
        for quarter in range(QUARTERS):
            taken = {int(classes[i]) for i in chosen}
            fitting = [i for i in order if known[i, quarter] and i not in chosen and int(classes[i]) not in taken]
            # A picture that no grid has had comes first.
            if not fitting:
                break
            chosen.append(min(fitting, key=lambda i: (i in used, order.index(i))))
        if len(chosen) < QUARTERS or tuple(chosen) in {tuple(old) for old in found}:
            break
        used.update(chosen)
        found.append(chosen)
    if not found:
        return None
    whole, masks = [], []
    for chosen in found:
        grid = images.new_zeros(images.shape[1:])
        for i, (row, column) in zip(chosen, places, strict=True):
            grid[:, row : row + half[0], column : column + half[1]] = small[i]
        # A side that is odd leaves a line; it takes its neighbours' colours.
        if height % 2:
            grid[:, -1] = grid[:, -2]
        if width % 2:
            grid[..., -1] = grid[..., -2]
        for row, column in places:
            mask = torch.zeros(height, width, dtype=torch.bool, device=images.device)
            mask[row : row + half[0], column : column + half[1]] = True
            whole.append(grid)
            masks.append(mask)
    targets = torch.tensor([int(classes[i]) for chosen in found for i in chosen], device=images.device)
    return Grids(torch.stack(whole), targets, torch.stack(masks))
