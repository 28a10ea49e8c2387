"""Grad-CAM of A and B for one class in one picture, on one photo and on scales that can be compared.

Two networks differ in how strong their maps are, by their logits and by the grid of their layers: on a scale of logits the weaker map is
empty to the eye, wherever it looks. So a map is shown as a multiple of its own mean over the picture, "where"; in logits it says "how much".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.attribution.single_pass import grad_cam_all_layers
from vgg_viz.maths.heatmaps import place
from vgg_viz.maths.receptive_field import Field
from vgg_viz.studies.pair import Network, Pair, Pictures

LOGIT, TIMES = "logit", "× mean"


@dataclass(frozen=True, slots=True)
class GradCamPair:
    """Grad-CAM of both networks for one class a picture, at the layer of each one's own report.

    raw     (N, h, w) maps of the layers of A and B, as they come [logit]
    placed  (2, N, H, W) both on the photo of the page: A, B [logit]
    """

    raw: tuple[Tensor, Tensor]
    placed: Tensor

    @property
    def means(self) -> Tensor:
        """(2, N) mean of each map over its picture [logit]; 1 where a map is zero everywhere, which leaves it so."""
        found: Tensor = self.placed.mean((2, 3))
        return torch.where(found > 0, found, torch.ones_like(found))

    @property
    def where(self) -> Tensor:
        """(2, N, H, W) the maps as multiples of their means: 1 everywhere for evidence that is spread evenly."""
        return self.placed / self.means[:, :, None, None]


def grad_cams(pair: Pair, pictures: Pictures, classes: Tensor, side: int) -> GradCamPair:
    """Maps of both for `classes` (N,), places among the shared classes; `side` of the photo that they are laid on [px]."""
    raw, placed = [], []
    for network, batch in ((pair.a, pictures.a), (pair.b, pictures.b)):
        layer, field = layer_of(network)
        device = next(network.model.parameters()).device
        found = grad_cam_all_layers(
            network.model, batch.images.to(device), network.columns[classes].to(device), layers=[layer]
        )
        raw.append(found[layer].values.detach().float().cpu())
        placed.append(on_photo(network, raw[-1], field, side))
    return GradCamPair((raw[0], raw[1]), torch.stack(placed))


def on_photo(network: Network, maps: Tensor, field: Field, side: int) -> Tensor:
    """Maps of a layer (N, h, w) on the photo of the page: placed on what the network reads, and enlarged where the other reads more: (N, side, side)."""
    own = place(maps, field, network.side)
    return (
        own
        if network.side == side
        else functional.interpolate(own[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    )


def layer_of(network: Network) -> tuple[str, Field]:
    """The layer of the network's own report, and the field of its units."""
    name, _ = network.report_layer()
    return name, next(row.field for row in network.rows if row.name == name and row.field is not None)
