"""Deletion, insertion and ROAD: what the network says while a picture is taken apart in a map's order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgg_viz.attribution.method import pictures_at_once
from vgg_viz.capture.hooks import eval_mode
from vgg_viz.faithfulness.maps import scores
from vgg_viz.maths.removal import area, first_tiles, imputed

SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the tiles that are gone, or back
ROAD_SHARES = (0.2, 0.5, 0.8)
TILES = 16  # along one side

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Removal:
    """What one kind of map does to the score, picture by picture.

    shares     of the tiles that are gone, or back, from 0 to 1: S of them
    deletion   (B, S) probability of the class while the strongest tiles are painted in the picture's mean colour
    insertion  (B, S) the same while they come back onto a blurred picture
    road       (b, R) probability with the weakest tiles gone less that with the strongest gone, missing tiles filled in by
               ROAD's imputation; b of the B pictures; no columns where that was not asked
    """

    deletion: Tensor
    insertion: Tensor
    road: Tensor
    shares: Sequence[float] = SHARES

    @property
    def gap(self) -> Tensor:
        """Area under insertion less area under deletion, (B,) in [-1, 1]: 0 for a map without an order."""
        return area(self.insertion, self.shares) - area(self.deletion, self.shares)

    @property
    def road_gap(self) -> Tensor:
        """Mean over ROAD's shares, (b,) in [-1, 1]: 0 for a map without an order; NaN where that was not asked."""
        return self.road.mean(1)


def removals(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: Mapping[Name, Tensor],
    *,
    imputations: int = 8,
    tiles: int = TILES,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    road: bool = True,
) -> dict[Name, Removal]:
    """Take the pictures apart in the order of several kinds of maps.

    images       (B, C, H, W) in [0, 1]
    targets      (B,) class whose probability is read
    maps         {name: (B, H, W)}: the method and the controls
    imputations  how many of the pictures ROAD is asked about: filling in costs more than asking the network
    tiles        along one side: one order for fine maps and coarse ones, and few passes
    shares       of the tiles that are gone, or back, from 0 to 1; each between costs two passes a picture and map
    road         whether ROAD is asked, too
    returns      {name: Removal}

    Both ends of the curves are the same for all maps and asked once.
    Sources: Petsiuk et al., "RISE", BMVC 2018; Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution
    Methods", ICML 2022.
    """
    batch = pictures_at_once(model, images)
    mean = images.mean((2, 3), keepdim=True).expand_as(images)
    blurred = _blurred(images)
    count, few = len(images), min(imputations, len(images))
    with eval_mode(model):
        ends = scores(model, torch.cat([images, mean, blurred]), targets.repeat(3), batch).view(3, count)
        found = {}
        for name, values in maps.items():
            gone = first_tiles(values, shares[1:-1], tiles=tiles, seed=seed)
            deleted = torch.where(gone[:, :, None], mean, images).flatten(0, 1)
            inserted = torch.where(gone[:, :, None], images, blurred).flatten(0, 1)
            inner = scores(model, torch.cat([deleted, inserted]), targets.repeat(2 * len(gone)), batch).view(
                2, len(gone), count
            )
            deletion, insertion = (
                torch.cat([ends[:1], inner[0], ends[1:2]]).T,
                torch.cat([ends[2:3], inner[1], ends[:1]]).T,
            )
            found[name] = Removal(deletion, insertion, ends.new_empty(count, 0), shares)
            if road:
                holes = torch.cat(
                    [first_tiles(sign * values[:few], ROAD_SHARES, tiles=tiles, seed=seed) for sign in (-1, 1)]
                )
                filled = imputed(images[:few].repeat(2 * len(ROAD_SHARES), 1, 1, 1), holes.flatten(0, 1), seed=seed)
                said = scores(model, filled, targets[:few].repeat(2 * len(ROAD_SHARES)), batch)
                weakest, strongest = said.view(2, len(ROAD_SHARES), few)
                found[name] = replace(found[name], road=(weakest - strongest).T)
    return found


def _blurred(images: Tensor) -> Tensor:
    """Box blur of a quarter of the side, three times: colours stay, forms go."""
    reach = max(1, min(images.shape[-2:]) // 8)
    for _ in range(3):
        padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
        images = F.avg_pool2d(F.avg_pool2d(padded, (2 * reach + 1, 1), stride=1), (1, 2 * reach + 1), stride=1)
    return images
