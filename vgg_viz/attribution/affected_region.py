"""How far a changed rectangle of the picture reaches on the maps of a network's local layers: arithmetic only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vgg_viz.capture.hooks import has_hooks
from vgg_viz.maths.receptive_field import Window
from vgg_viz.models.geometry import window_of
from vgg_viz.models.names import ACTIVATION_KINDS, Layer
from vgg_viz.models.names import layers as layers_of
from vgg_viz.models.network import VGG

# In eval mode each of these says at a place what follows from that place alone: LRN looks across channels.
POINTWISE = ("normalise", "bn", "lrn", "drop", *ACTIVATION_KINDS)
SLIDING = ("conv", "pool")


@dataclass(frozen=True, slots=True)
class Step:
    """A sliding layer of the chain, and the pointwise ones that follow it."""

    module: nn.Module
    window: Window
    after: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The local layers that a network begins with.

    before  pointwise layers below the first sliding one
    steps   the others, in their order
    paths   of the modules that hold these layers and nothing else
    tail    what follows and has weights
    """

    before: tuple[nn.Module, ...]
    steps: tuple[Step, ...]
    paths: tuple[str, ...]
    tail: tuple[nn.Module, ...]


def chain_of(model: nn.Module) -> Chain | None:
    """The chain of local layers that the network begins with; None where it does not, or where somebody listens to one of them."""
    # Only of these is it known that the layers follow one another and nothing goes round them.
    if type(model) is not VGG:
        return None
    inside = [layer for layer in layers_of(model) if layer.path.startswith(("normalise", "features.", "conv_block_"))]
    paths = tuple(dict.fromkeys(layer.path.split(".")[0] for layer in inside))
    holding = [module for path in paths for module in model.get_submodule(path).modules()]
    if any(map(has_hooks, holding)) or not all(map(_plain, inside)):
        return None
    before: list[nn.Module] = []
    steps: list[tuple[nn.Module, Window, list[nn.Module]]] = []
    for layer in inside:
        if isinstance(layer.module, nn.Conv2d | nn.MaxPool2d):
            steps.append((layer.module, window_of(layer.module), []))
        else:
            (steps[-1][2] if steps else before).append(layer.module)
    tail = tuple(layer.module for layer in layers_of(model) if layer.kind == "fc")
    return Chain(
        tuple(before), tuple(Step(module, window, tuple(after)) for module, window, after in steps), paths, tail
    )


def _plain(layer: Layer) -> bool:
    """Whether the layer does what a `Window` says: square, zeros around, nothing dropped or added at the border."""
    module = layer.module
    if isinstance(module, nn.Conv2d):
        sides = (module.kernel_size, module.stride, module.padding, module.dilation)
        return module.padding_mode == "zeros" and all(len(set(side)) == 1 for side in sides)
    if isinstance(module, nn.MaxPool2d):
        whole = all(isinstance(side, int) for side in (module.kernel_size, module.stride, module.dilation))
        return whole and module.padding == 0 and not module.ceil_mode
    return layer.kind in POINTWISE


@dataclass(frozen=True, slots=True)
class Reach:
    """Along one axis, where a change of some spans of the picture begins on each map, and how wide its windows are.

    sides   of the picture, and of the map after each step
    starts  one tuple a map: the first unit of each span's window; inside the map, shifted inwards where need be
    widths  one a map, the same for all spans
    """

    sides: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]


def reach(chain: Chain, side: int, spans: Sequence[tuple[int, int]]) -> Reach:
    """How far changes of some spans travel along one axis, each span in a window wide enough for all.

    side   of the picture along it [px]
    spans  first and last changed pixel of each
    """
    found = [_travel(chain, side, span) for span in spans]
    sides = [side]
    for step in chain.steps:
        sides.append(step.window.out(sides[-1]))
    widths = [max(last - first + 1 for first, last in at) for at in zip(*found, strict=True)]
    starts = [
        tuple(min(first, whole - width) for first, _ in at)
        for at, whole, width in zip(zip(*found, strict=True), sides, widths, strict=True)
    ]
    return Reach(tuple(sides), tuple(starts), tuple(widths))


def _travel(chain: Chain, side: int, span: tuple[int, int]) -> list[tuple[int, int]]:
    """First and last changed unit on the picture and after each step."""
    found = [span]
    for step in chain.steps:
        side = step.window.out(side)
        found.append(step.window.reached(*found[-1], side))
    return found


@dataclass(frozen=True, slots=True)
class Axis:
    """The spans along one axis, sorted into classes whose windows are of one width.

    classes  their reaches
    member   of each span: its class, and its number in it
    """

    classes: tuple[Reach, ...]
    member: tuple[tuple[int, int], ...]


def axes(chain: Chain, side: int, spans: Sequence[tuple[int, int]]) -> list[Axis]:
    """Ways to sort spans into classes: from as many as there are sets of widths, so that no window is wider than need be, to one.

    From one way to the next, the two classes are joined whose windows grow least by it, weighed by the weights of their layers.
    """
    found = [_travel(chain, side, span) for span in spans]
    widths = [tuple(last - first + 1 for first, last in at) for at in found]
    kinds = list(dict.fromkeys(widths))
    member = [kinds.index(own) for own in widths]
    wide = torch.tensor(kinds, dtype=torch.float64)
    count = torch.tensor([float(member.count(kind)) for kind in range(len(kinds))], dtype=torch.float64)
    weigh = torch.tensor([0.0, *(float(_weights(step)) for step in chain.steps)], dtype=torch.float64)
    ways = [_axis(chain, side, spans, member)]
    while len(count) > 1:
        joined = torch.maximum(wide[:, None], wide)
        alone = count * (wide @ weigh)
        growth = (count[:, None] + count) * (joined @ weigh) - alone[:, None] - alone
        growth.fill_diagonal_(float("inf"))
        one, other = sorted(divmod(int(growth.argmin()), len(count)))
        wide[one], count[one] = joined[one, other], count[one] + count[other]
        keep = [kind for kind in range(len(count)) if kind != other]
        wide, count = wide[keep], count[keep]
        member = [one if kind == other else kind - (kind > other) for kind in member]
        ways.append(_axis(chain, side, spans, member))
    return ways


def _axis(chain: Chain, side: int, spans: Sequence[tuple[int, int]], member: Sequence[int]) -> Axis:
    within: Counter[int] = Counter()
    numbered = []
    for kind in member:
        numbered.append((kind, within[kind]))
        within[kind] += 1
    classes = [
        reach(chain, side, [span for span, own in zip(spans, member, strict=True) if own == kind])
        for kind in range(len(within))
    ]
    return Axis(tuple(classes), tuple(numbered))


def _weights(step: Step) -> int:
    return step.module.weight.numel() if isinstance(step.module, nn.Conv2d) else 0


def grid_work(chain: Chain, rows: Axis, columns: Axis) -> int:
    """Multiply-adds of the windows of all places: each span of rows with each of columns."""
    return sum(
        step.module.weight.numel() * _widths(rows, i) * _widths(columns, i)
        for i, step in enumerate(chain.steps, 1)
        if isinstance(step.module, nn.Conv2d)
    )


def _widths(one: Axis, number: int) -> int:
    return sum(one.classes[kind].widths[number] for kind, _ in one.member)


def whole_work(chain: Chain, rows: Reach, columns: Reach) -> tuple[int, int]:
    """Multiply-adds of a whole picture: in the chain, and in what follows it."""
    inside = sum(
        step.module.weight.numel() * rows.sides[i] * columns.sides[i]
        for i, step in enumerate(chain.steps, 1)
        if isinstance(step.module, nn.Conv2d)
    )
    height, width, after = rows.sides[-1], columns.sides[-1], 0
    for module in chain.tail:
        if isinstance(module, nn.Linear):
            after += module.weight.numel()
        elif isinstance(module, nn.Conv2d):
            height, width = window_of(module).out(height), window_of(module).out(width)
            after += module.weight.numel() * height * width
    return inside, after
