"""Whether the chain in use is the network's own, as its batch norms remember it, and which one is where it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vgg_viz.gallery.texts import Texts
from vgg_viz.models.geometry import geometry
from vgg_viz.models.network import VGG
from vgg_viz.studies.chain_search import ACTIVATIONS, ChainFit, links_of, misfits_in_use, misfits_of, search
from vgg_viz.studies.preset import LARGE_GIGAMACS

TEXTS = Texts(__name__)
FEWEST, SEARCHED, MEASURED = 8, 32, 128  # pictures; fewer say too little of a layer's mean and variance
MOST_VALUES = 26_000_000  # of the first map, of all pictures together: what a few beginnings of chains hold at once
# Worst misfits of eight networks trained on CIFAR-10: the right chain 0.0008 of 500 pictures, 0.007 of 64 and 0.017 of 32, so about
# 0.4 over their number; red and blue turned round 0.03 to 0.06, another slope 0.05, a pool that is missing or elsewhere 0.1 to 0.4,
# an average for a maximum 0.2 to 1.9, each of 64 to 500 pictures.
NOISE = 0.4
SUSPECT, MORE = 0.01, 0.004  # beyond noise: from which other chains are tried; so much farther is the chain in use
TIMES, ALIKE = 2.5, 1.5  # as far in the mean as the best: another chain; nearly as good as it
FITS = 0.1  # a layer's, above which a chain does not explain what is remembered


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
        """The plainest of the chains that fit best, where they explain what is remembered; None where none does or none was tried."""
        if not self.fits or max(self.fits[0].misfits) >= FITS:
            return None
        nearly = [one for one in self.fits if one.mean <= ALIKE * self.fits[0].mean]
        return min(nearly, key=lambda one: (one.bgr, one.activation != "relu", one.mean))

    @property
    def contradicts(self) -> bool:
        """Whether another chain fits clearly better than the one in use."""
        best = self.best
        if best is None:
            return False
        mean = sum(self.in_use) / len(self.in_use)
        return mean > TIMES * best.mean and max(self.in_use) > max(best.misfits) + NOISE / self.pictures + MORE

    @property
    def agrees(self) -> bool:
        """Whether what is in use explains what is remembered."""
        return not self.contradicts and max(self.in_use) < FITS

    @property
    def margin(self) -> float | None:
        """How many times as far the next best chain lies that has other pools; None where there is none."""
        if self.best is None:
            return None
        best = self.best
        rest = [one.mean for one in self.fits if one.pools != best.pools]
        return rest[0] / max(best.mean, 1e-6) if rest else None

    def first_wrong(self) -> int:
        """Place of the first layer that lies clearly farther in use than in the best chain."""
        best = self.best
        if best is None:
            return 0
        pairs = enumerate(zip(self.in_use, best.misfits, strict=True))
        return next((place for place, (used, fit) in pairs if used > TIMES * fit + MORE), len(self.in_use) - 1)

    def unexplained(self) -> str:
        """What is to be told where neither the chain in use nor another explains what is remembered; "" where one does."""
        if self.agrees or self.contradicts:
            return ""
        worst = max(range(len(self.in_use)), key=lambda place: self.in_use[place])
        return TEXTS.say(
            "unexplained", worst_layer=self.layers[worst], worst=self.in_use[worst], fits=FITS, pictures=self.pictures
        )

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
    links = links_of(model) if isinstance(model, VGG) else ()  # another's module need not be a chain
    if len(links) < 2 or len(images) < FEWEST:
        return None
    rows = geometry(model)
    first = next(row for row in rows if row.name == links[0].name)
    large = sum(row.macs for row in rows) > LARGE_GIGAMACS * 1e9
    measured = _some(images, SEARCHED if large else MEASURED)
    used = misfits_in_use(model, measured)
    names = tuple(link.name for link in links)
    if max(used) < (FITS if large else SUSPECT + NOISE / len(measured)):
        return ChainCheck(len(measured), names, used)
    few = _some(images, min(SEARCHED, max(FEWEST, MOST_VALUES // max(1, prod(first.shape)))))
    activations = ("relu", "leaky0.1") if large else tuple(ACTIVATIONS)
    found = search(model, few, fewest=fewest, activations=activations, colours=not large)
    # The few that are left are measured on as many pictures as the chain in use.
    fits = [replace(one, misfits=misfits_of(model, one, measured)) for one in found]
    return ChainCheck(len(measured), names, used, tuple(sorted(fits, key=lambda one: one.mean)))


def _some(images: Tensor, most: int) -> Tensor:
    """At most so many of the pictures, evenly chosen."""
    return images[torch.linspace(0, len(images) - 1, min(len(images), most)).round().long()]
