"""Maps that know nothing of the network: what a method must beat before its score means anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CONTROLS = ("centre", "edge", "random", "blur-matched")


def control_maps(images: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Three maps (B, H, W) that look at the picture at most.

    centre  a blob in the middle, a quarter of the side wide: photographers centre their objects
    edge    how much the picture's brightness changes at a pixel: objects have edges
    random  smooth noise, eight grains across: the object's share of the picture, with the spread that luck has
    """
    count, _, height, width = images.shape
    rows, columns = (torch.linspace(-1, 1, side, device=images.device) for side in (height, width))
    centre = torch.exp(-2 * (rows[:, None].square() + columns.square())).expand(count, -1, -1)
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")[:, 0]
    edge = torch.hypot(grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1])
    grains = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).to(images)
    random = F.interpolate(grains, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return {"centre": centre, "edge": edge, "random": random}


def blur_matched(maps: Tensor, seed: int = 0) -> Tensor:
    """Each map with the same values and the same blur, in places that mean nothing: (B, H, W), same unit.

    The map's power spectrum keeps its autocorrelation, random phases lose its places; then each pixel takes the map's own value
    of the same rank. Removing pixels and filling them in favours blurred maps (ROAD, ROAR), so a map must beat its like, not noise.
    Source: Theiler et al., "Testing for nonlinearity in time series: the method of surrogate data", Physica D 1992.
    """
    maps = maps.detach().float()
    dice = torch.randn(maps.shape, generator=torch.Generator().manual_seed(seed)).to(maps.device)
    # Phases of real noise: the mirrored halves of the spectrum agree, so the surrogate is real. The mean's phase stays.
    turned = torch.fft.rfft2(dice)
    turned = turned / turned.abs().clamp(min=1e-12)
    spectrum = torch.fft.rfft2(maps - maps.mean((1, 2), keepdim=True))
    surrogate = torch.fft.irfft2(spectrum.abs() * turned, s=maps.shape[-2:])
    order = surrogate.flatten(1).argsort(dim=1)
    values = maps.flatten(1).sort(dim=1).values
    return torch.empty_like(values).scatter_(1, order, values).view_as(maps)
