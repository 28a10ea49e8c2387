"""Whether the chain in use is the network's own, as its batch norms remember it, and which one is where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.gallery.texts import Texts
from vgg_viz.models.geometry import geometry
from vgg_viz.studies.chain_search import ACTIVATIONS, ChainFit, links_of, misfits_in_use, search
from vgg_viz.studies.preset import LARGE_GIGAMACS

TEXTS = Texts(__name__)
FEWEST, MOST = 8, 32  # pictures; fewer say too little of a layer's mean and variance
MOST_VALUES = 12_000_000  # of the first map, of all pictures together: what a few beginnings of chains hold at once
# Misfits of networks trained on CIFAR-10, 32 pictures (benchmarks/chain_check.py): the right chain 0.002 to 0.016 at every layer, blue
# first 0.05, another slope 0.05 to 0.06, a missing or misplaced pool 0.1 to 0.4, an average for a maximum 0.2 to 1.9.
SUSPECT = 0.02  # a layer's, from which other chains are tried
FITS = 0.1  # a layer's, above which a chain does not explain what is remembered
TIMES, MORE = 2.5, 0.025  # as far in the mean, and so much more at its worst layer, as the best: no longer by chance


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What the batch norms say.

    Attributes:
        pictures: That were asked.
        layers: Names of the convolutions with batch norm.
        in_use: Misfit of each in the chain in use.
        fits: Chains that were tried, the best first; () where the one in use raises no suspicion.
    """

    pictures: int
    layers: tuple[str, ...]
    in_use: tuple[float, ...]
    fits: tuple[ChainFit, ...] = ()

    @property
    def best(self) -> ChainFit | None:
        """The best other chain, where it explains what is remembered; None where none does or none was tried."""
        return self.fits[0] if self.fits and max(self.fits[0].misfits) < FITS else None

    @property
    def contradicts(self) -> bool:
        """Whether another chain fits clearly better than the one in use."""
        best = self.best
        if best is None:
            return False
        mean = sum(self.in_use) / len(self.in_use)
        return mean > TIMES * best.mean and max(self.in_use) > max(best.misfits) + MORE

    @property
    def agrees(self) -> bool:
        """Whether what is in use explains what is remembered."""
        return not self.contradicts and max(self.in_use) < FITS

    @property
    def margin(self) -> float | None:
        """How many times as far the next best chain lies that has other pools or another activation; None where there is none."""
        if self.best is None:
            return None
        best = self.best
        rest = [one.mean for one in self.fits if (one.pools, one.activation) != (best.pools, best.activation)]
        return rest[0] / max(best.mean, 1e-6) if rest else None

    def first_wrong(self) -> int:
        """Place of the first layer that lies clearly farther in use than in the best chain."""
        best = self.best
        if best is None:
            return 0
        pairs = enumerate(zip(self.in_use, best.misfits, strict=True))
        return next((place for place, (used, fit) in pairs if used > TIMES * fit + MORE / 2), len(self.in_use) - 1)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        best = self.best
        return {
            "pictures": self.pictures,
            "layers": self.layers,
            "in_use": self.in_use,
            "agrees": self.agrees,
            "contradicts": self.contradicts,
            "margin": self.margin,
            "best": best
            and {"pools": best.pools, "activation": best.activation, "bgr": best.bgr, "misfits": best.misfits},
        }

    def sentence(self, plan: str, *, tail_open: bool) -> str:
        """The alarm: up to where the chain in use fits, what fits instead, and what to type.

        Args:
            plan: What to type, such as "--plan '64 M ...'".
            tail_open: Whether the batch norms leave open what follows the last of them.
        """
        best = self.best
        if best is None:
            raise TypeError("only a chain that is contradicted has this sentence")
        wrong = self.first_wrong()
        return TEXTS.say(
            "contradicts",
            pictures=self.pictures,
            good=self.layers[wrong - 1] if wrong else "",
            wrong=self.layers[wrong],
            used=self.in_use[wrong],
            fit=best.misfits[wrong],
            worst=max(best.misfits),
            margin=self.margin,
            plan=plan,
            tail_open=tail_open,
        )


def check_chain(model: nn.Module, images: Tensor, *, fewest: int = 1) -> ChainCheck | None:
    """Ask every batch norm; None without batch norm behind each convolution, or with too few pictures.

    Args:
        model: A network of this package, in eval mode.
        images: (N, C, H, W) in [0, 1].
        fewest: Side of the smallest map that the classifier can read [px].
    """
    links = links_of(model)
    if len(links) < 2 or len(images) < FEWEST:
        return None
    first = next(row for row in geometry(model) if row.name == links[0].name)
    count = max(FEWEST // 2, min(MOST, len(images), MOST_VALUES // max(1, prod(first.shape))))
    images = images[torch.linspace(0, len(images) - 1, count).round().long()]
    used = misfits_in_use(model, images)
    names = tuple(link.name for link in links)
    if max(used) < SUSPECT:
        return ChainCheck(len(images), names, used)
    large = sum(row.macs for row in geometry(model)) > LARGE_GIGAMACS * 1e9
    activations = ("relu", "leaky0.1") if large else tuple(ACTIVATIONS)
    fits = search(model, images, fewest=fewest, activations=activations, colours=not large)
    return ChainCheck(len(images), names, used, fits)
