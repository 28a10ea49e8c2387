"""Which pools, activation and order of colours reproduce what every batch norm remembers: a search along the chain, layer by layer.

What stands between two convolutions has no weights, so a state dict cannot show it; but each batch norm keeps the mean and variance of
what its convolution said in training. With the right chain they come out again within noise; a pool that is missing, elsewhere or of
the other kind shows at the very next layer. So a few beginnings of chains are carried along, the best after each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg_viz.maths.batch_norm_misfit import misfit
from vgg_viz.models.names import Layer, layers

# Word of the plan -> what it does. A slope of 0.01 is PyTorch's own for LeakyReLU, 0.1 that of darknet, 0.2 that of generators.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "leaky0.01": lambda maps: functional.leaky_relu(maps, 0.01),
    "leaky0.1": lambda maps: functional.leaky_relu(maps, 0.1),
    "leaky0.2": lambda maps: functional.leaky_relu(maps, 0.2),
    "elu": functional.elu,
    "silu": functional.silu,
    "gelu": functional.gelu,
}
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda maps: maps,
    "M": lambda maps: functional.max_pool2d(maps, 2),
    "A": lambda maps: functional.avg_pool2d(maps, 2),
}
CARRIED = 8  # beginnings of chains


@dataclass(frozen=True, slots=True)
class Link:
    """A convolution and the batch norm right behind it."""

    name: str
    conv: nn.Module
    norm: nn.BatchNorm2d


@dataclass(frozen=True, slots=True)
class ChainFit:
    """One way to fill the places between the convolutions, and how well it fits.

    Attributes:
        pools: After each convolution but the last: "" none, "M" a max-pool, "A" an average pool, both of 2 x 2.
        activation: Key of `ACTIVATIONS`, behind each batch norm.
        bgr: Whether blue comes first.
        misfits: Of each batch norm, in order (`maths.batch_norm_misfit`).
        side: Of the map of the last convolution [px].
    """

    pools: tuple[str, ...]
    activation: str
    bgr: bool
    misfits: tuple[float, ...]
    side: int

    @property
    def mean(self) -> float:
        """Mean misfit of all batch norms."""
        return sum(self.misfits) / len(self.misfits)


@dataclass(frozen=True, slots=True)
class _Beginning:
    pools: tuple[str, ...]
    activation: str
    bgr: bool
    misfits: tuple[float, ...] = ()
    maps: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False, compare=False)

    def fit(self) -> ChainFit:
        return ChainFit(self.pools, self.activation, self.bgr, self.misfits, int(self.maps.shape[-1]))


def links_of(model: nn.Module) -> tuple[Link, ...]:
    """The convolutions with the batch norm behind each; () where one has none, or one of another place."""
    found: list[Link] = []
    chain = list(layers(model))
    for layer, behind in zip(chain, [*chain[1:], None], strict=True):
        if layer.kind != "conv":
            continue
        norm = behind.module if behind is not None else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            return ()
        found.append(Link(layer.name, layer.module, norm))
    return tuple(found)


def misfits_in_use(model: nn.Module, images: Tensor) -> tuple[float, ...]:
    """The misfit of every batch norm behind a convolution, in the chain as it runs.

    Args:
        model: A network of this package, in eval mode.
        images: (N, C, H, W) in [0, 1].
    """
    wanted = {id(link.norm) for link in links_of(model)}
    chain = _until_flat(layers(model))

    def course(part: Tensor) -> Iterator[tuple[Tensor, nn.BatchNorm2d]]:
        maps = part
        for layer in chain:
            if isinstance(layer.module, nn.BatchNorm2d) and id(layer.module) in wanted:
                yield maps, layer.module
            # Where a module works in place, nothing of what it is given is needed any more.
            maps = layer.module(maps)

    return _measured(model, images, course)


def misfits_of(model: nn.Module, fit: ChainFit, images: Tensor) -> tuple[float, ...]:
    """The same in another chain of the same convolutions."""
    links = links_of(model)
    normalise = model.get_submodule("normalise")

    def course(part: Tensor) -> Iterator[tuple[Tensor, nn.BatchNorm2d]]:
        maps = normalise(part)
        maps = maps.flip(1) if fit.bgr else maps
        for link, pool in zip(links, (None, *fit.pools), strict=True):
            if pool is not None:
                maps = POOLS[pool](ACTIVATIONS[fit.activation](maps))
            said = link.conv(maps)
            yield said, link.norm
            maps = link.norm(said)

    return _measured(model, images, course)


Course = Callable[[Tensor], Iterator[tuple[Tensor, nn.BatchNorm2d]]]


def _measured(model: nn.Module, images: Tensor, course: Course) -> tuple[float, ...]:
    """Misfits over all pictures, a few at a time."""
    device = next(model.parameters()).device
    side = int(images.shape[-1])
    sums: list[Tensor] = []
    norms: list[nn.BatchNorm2d] = []
    parts = torch.split(images, max(1, min(64, 4 * 224 * 224 // (side * side))))
    with torch.no_grad():
        for part in parts:
            steps = [
                (
                    torch.stack([maps.double().mean((2, 3)).sum(0), maps.double().square().mean((2, 3)).sum(0)]).cpu(),
                    norm,
                )
                for maps, norm in course(part.to(device))
            ]
            norms = [norm for _, norm in steps]
            sums = [one + other for one, (other, _) in zip(sums or [torch.zeros(())] * len(steps), steps, strict=True)]
    found = []
    for (total, squares), norm in zip(sums, norms, strict=True):
        mean = total / len(images)
        found.append(_misfit(mean, squares / len(images) - mean**2, norm))
    return tuple(found)


def _until_flat(chain: Sequence[Layer]) -> list[Layer]:
    last = max((place for place, layer in enumerate(chain) if layer.kind == "bn"), default=-1)
    return [layer for layer in chain[: last + 1] if layer.kind != "drop"]


def search(
    model: nn.Module,
    images: Tensor,
    *,
    fewest: int,
    activations: Sequence[str] = tuple(ACTIVATIONS),
    colours: bool = True,
) -> tuple[ChainFit, ...]:
    """Whole chains that fit best, the best first; () where the network has no batch norm behind each convolution.

    Args:
        model: Whose convolutions and batch norms; its own pools and activations are not looked at.
        images: (N, C, H, W) in [0, 1]; its first layer normalises them.
        fewest: Side of the smallest map that the classifier can read [px].
        activations: Keys of `ACTIVATIONS` to try.
        colours: Whether to try blue first as well.
    """
    links = links_of(model)
    if not links:
        return ()
    with torch.no_grad():
        inputs = model.get_submodule("normalise")(images.to(next(model.parameters()).device))
        orders = (False, True) if colours and inputs.shape[1] == 3 else (False,)
        carried = [
            _extended(_Beginning((), activations[0], bgr, maps=inputs.flip(1) if bgr else inputs), links[0])
            for bgr in orders
        ]
        # What follows the first batch norm is not known yet: every activation begins where the first convolution ends.
        carried = [
            _Beginning((), activation, one.bgr, one.misfits, one.maps) for one in carried for activation in activations
        ]
        for link in links[1:]:
            carried = _best([_extended(one, link, pool) for one in carried for pool in _possible(one, fewest)])
    return tuple(one.fit() for one in carried)


def _possible(one: _Beginning, fewest: int) -> tuple[str, ...]:
    return tuple(POOLS) if one.maps.shape[-1] >= 2 * fewest else ("",)


def _extended(one: _Beginning, link: Link, pool: str | None = None) -> _Beginning:
    """A beginning with the next convolution; `pool` before it, None for the first of all."""
    maps = one.maps if pool is None else POOLS[pool](ACTIVATIONS[one.activation](one.maps))
    said = link.conv(maps)
    misfits = (*one.misfits, _misfit(said.mean((0, 2, 3)), said.var((0, 2, 3), unbiased=False), link.norm))
    return _Beginning(one.pools + (() if pool is None else (pool,)), one.activation, one.bgr, misfits, link.norm(said))


def _best(beginnings: Sequence[_Beginning]) -> list[_Beginning]:
    return sorted(beginnings, key=lambda one: sum(one.misfits))[:CARRIED]


def _misfit(mean: Tensor, variance: Tensor, norm: nn.BatchNorm2d) -> float:
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("batch norm with running statistics was expected")
    return float(misfit(mean.cpu(), variance.cpu(), norm.running_mean.cpu(), norm.running_var.cpu()))
