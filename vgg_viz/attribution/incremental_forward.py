"""Scores of a picture with squares painted over, from what each square can reach alone.

A square of 15 px changes 17x17 of the 224x224 units of conv1_1, and the rest of that map is known from the bare picture. So
each layer of the chain is asked only about the window that the change has reached, cut out of the known map with what lies
around it; a unit recomputed from unchanged inputs says what it said. Only what follows the chain sees whole maps.

On a CPU in float32 the scores are bit for bit those of whole pictures, in batches of the same pictures: oneDNN adds up a
unit's inputs in an order that does not depend on the size of the map. It is not asked, and the order is another, about
single small pictures and, on one thread, about 1x1 convolutions of fewer than 16 pictures: hence the pairs, and `AT_MOST`.
Where another order is taken all the same, the scores differ as those of two batch sizes do, in the seventh digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.attribution.affected_region import Axis, Chain, Reach, axes, chain_of, grid_work, whole_work
from vgg_viz.capture.hooks import bypass_modules
from vgg_viz.maths.receptive_field import Window

# Fewer than PyTorch's 16, from which on 1x1 convolutions take another way (see above).
AT_MOST = 15
# Pictures in one batch of what follows the chain: VGG's fully connected layers read 0.5 GB of weights for each batch.
AFTER = 32
# Windows in one batch, and the bytes of last maps that are kept until what follows has seen them.
WINDOWS, KEPT = 64, 2**28
# What cutting the windows of one more layer out takes, in multiply-adds: 0.12 ms at 65 billion a second.
CUT_COST = 8_000_000
# What one weight costs each group of places, in multiply-adds: oneDNN puts the weights into its own order for every batch.
WEIGHT_COST = 200
# Beyond this share of a whole pass, windows cost more than they save.
WORTHWHILE = 0.6

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a network is asked about rectangles of a picture painted over: rows and columns as spans, places as pairs of them.

    rows, columns  the spans, in classes
    at_once        pictures in one batch of what follows the chain
    block          places whose last maps are kept together: a multiple of `at_once`
    """

    chain: Chain
    rows: Axis
    columns: Axis
    at_once: int
    block: int

    def groups(self, places: Sequence[tuple[int, int]]) -> Iterator[tuple[Reach, Reach, list[int]]]:
        """Places whose windows go through the chain together: their reaches, and their numbers in `places`; never one alone."""
        found: dict[tuple[int, int], list[int]] = {}
        for number, (row, column) in enumerate(places):
            found.setdefault((self.rows.member[row][0], self.columns.member[column][0]), []).append(number)
        for (row, column), numbers in found.items():
            most = min(WINDOWS, AT_MOST if has_1x1(self.chain) else WINDOWS)
            for start in range(0, len(numbers), most):
                here = numbers[start : start + most]
                yield self.rows.classes[row], self.columns.classes[column], here if len(here) > 1 else here * 2

    def share(self) -> float:
        """The multiply-adds of all places, in those of one whole picture."""
        inside, after = whole_work(self.chain, self.rows.classes[0], self.columns.classes[0])
        places = len(self.rows.member) * len(self.columns.member)
        return (grid_work(self.chain, self.rows, self.columns) + places * after) / (inside + after)


def has_1x1(chain: Chain) -> bool:
    """Whether a convolution of the chain has a 1x1 kernel (variant C)."""
    return any(step.window.kernel == 1 for step in chain.steps)


def plan(
    model: nn.Module, size: Sequence[int], rows: Sequence[Span], columns: Sequence[Span], batch: int
) -> Plan | None:
    """How the network is best asked about rectangles of pictures of `size` (H, W), each of some rows and some columns.

    rows, columns  first and last pixel of each span
    batch          pictures that may go through the whole network at once
    returns        None where whole pictures are the better way
    """
    chain = chain_of(model)
    if chain is None:
        return None
    ways = [axes(chain, side, spans) for side, spans in zip(size, (rows, columns), strict=True)]
    inside, after = whole_work(chain, ways[0][0].classes[0], ways[1][0].classes[0])
    weights = sum(step.module.weight.numel() for step in chain.steps if isinstance(step.module, nn.Conv2d))
    group = len(chain.steps) * CUT_COST + weights * WEIGHT_COST
    # As many classes down as across, as far as there are as many.
    pairs = [[way[min(number, len(way) - 1)] for way in ways] for number in range(max(map(len, ways)))]
    work = [grid_work(chain, down, across) + len(down.classes) * len(across.classes) * group for down, across in pairs]
    least = min(work)
    down, across = pairs[work.index(least)]
    places = len(rows) * len(columns)
    # Two whole pictures tell what is known of the maps.
    if least + places * after + 2 * (inside + after) > WORTHWHILE * places * (inside + after):
        return None
    at_once = AT_MOST if has_1x1(chain) else max(batch, AFTER)
    channels = max(step.module.out_channels for step in chain.steps if isinstance(step.module, nn.Conv2d))
    together = KEPT // (4 * channels * down.classes[0].sides[-1] * across.classes[0].sides[-1] * at_once)
    return Plan(chain, down, across, at_once, at_once * max(1, together))


class Known:
    """What every sliding layer of the chain reads of the bare picture, kept as rows of channels."""

    def __init__(self, chain: Chain, picture: Tensor, painted: Tensor) -> None:
        """picture, painted  (1, C, H, W): as it is, and as it is where it is painted over."""
        self.chain = chain
        self.picture, self.painted = _rows(picture), _rows(painted)
        self.weights: list[Tensor | None] = []
        self.read: list[Tensor] = []
        self.formats: list[torch.memory_format] = []
        # Two copies: alone, a small picture would go another way than the batches that are to come (see the module).
        maps = _through(chain.before, picture.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last))
        for step in chain.steps:
            pad = step.window.padding
            self.read.append(_rows(nn.functional.pad(maps[:1], (pad, pad, pad, pad))))
            self.formats.append(torch.contiguous_format if maps.is_contiguous() else torch.channels_last)
            weight = step.module.weight.detach() if isinstance(step.module, nn.Conv2d) else None
            if weight is not None and self.formats[-1] == torch.channels_last:
                # Once for all groups: PyTorch would bring it into this order for each of them.
                weight = weight.contiguous(memory_format=torch.channels_last)
            self.weights.append(weight)
            maps = _through(step.after, step.module(maps))
        self.last = _rows(maps[:1])

    def room(self, count: int, height: int, width: int) -> Tensor:
        """Room for so many of the chain's last maps: (count, C, height, width)."""
        return _as_maps(self.last.new_empty((count, height, width, self.last.shape[1])))

    def maps(self, rows: Reach, columns: Reach, places: Sequence[tuple[int, int]], boxes: Tensor) -> Tensor:
        """The chain's last maps with some rectangles painted over: (n, C, h, w).

        places  n pairs: which span of `rows`, which of `columns`
        boxes   (n, 4) first row, row after the last, first column, column after the last that are painted [px]
        """
        device = self.picture.device
        y = [torch.tensor([starts[place[0]] for place in places], device=device) for starts in rows.starts]
        x = [torch.tensor([starts[place[1]] for place in places], device=device) for starts in columns.starts]
        down, across = _lines(y[0], rows.widths[0]), _lines(x[0], columns.widths[0])
        top, bottom, left, right = boxes[:, :, None].unbind(1)
        inside = _grid((down >= top) & (down < bottom), (across >= left) & (across < right))
        at = _grid(down * columns.sides[0], across)
        patch = torch.where(inside[..., None], self.painted[at], self.picture[at])
        patch = _as_rows(_through(self.chain.before, _as_maps(patch)))
        for i, step in enumerate(self.chain.steps):
            window = step.window
            height, width = (_needed(window, reach.widths[i + 1]) for reach in (rows, columns))
            cut = _cut(
                self.read[i],
                columns.sides[i] + 2 * window.padding,
                patch,
                (y[i + 1] * window.stride, x[i + 1] * window.stride),
                (height, width),
                (y[i] + window.padding, x[i] + window.padding),
            )
            # Maps of one channel are taken for such whose channels come first, and so are those that follow from them.
            cut = (
                _as_maps(cut)
                if self.formats[i] == torch.channels_last
                else _as_maps(cut).clone(memory_format=self.formats[i])
            )
            patch = _as_rows(_through(step.after, _slide(step.module, self.weights[i], cut)))
        zero = torch.zeros_like(y[-1])
        return _as_maps(
            _cut(self.last, columns.sides[-1], patch, (zero, zero), (rows.sides[-1], columns.sides[-1]), (y[-1], x[-1]))
        )


def scores(
    model: nn.Module, plan: Plan, picture: Tensor, painted: Tensor, spans: tuple[Sequence[Span], Sequence[Span]]
) -> Iterator[Tensor]:
    """What the network says with each rectangle painted over: (n, K) a batch, row spans fastest.

    picture, painted  (1, C, H, W): as it is, and as it is where it is painted over
    spans             those that `plan` was made for: of rows, of columns
    """
    known = Known(plan.chain, picture, painted)
    places = [(row, column) for column in range(len(spans[1])) for row in range(len(spans[0]))]
    for start in range(0, len(places), plan.block):
        block = places[start : start + plan.block]
        boxes = torch.tensor([(*spans[0][row], *spans[1][column]) for row, column in block], device=picture.device)
        boxes += torch.tensor([0, 1, 0, 1], device=picture.device)
        last = known.room(len(block), plan.rows.classes[0].sides[-1], plan.columns.classes[0].sides[-1])
        for rows, columns, numbers in plan.groups(block):
            members = [(plan.rows.member[block[i][0]][1], plan.columns.member[block[i][1]][1]) for i in numbers]
            at = torch.tensor(numbers, device=picture.device)
            last[at] = known.maps(rows, columns, members, boxes[at])
        for here in range(0, len(block), plan.at_once):
            maps = last[here : here + plan.at_once]
            if len(maps) > 1:
                with bypass_modules(model, *plan.chain.paths):
                    yield model(maps)
            else:
                yield model(_painted(picture, painted, boxes[here]))


def scores_of_whole(
    model: nn.Module, picture: Tensor, painted: Tensor, spans: tuple[Sequence[Span], Sequence[Span]], at_once: int
) -> Iterator[Tensor]:
    """The same for any network, from whole pictures, `at_once` in a batch."""
    boxes = [(*row, *column) for column in spans[1] for row in spans[0]]
    for start in range(0, len(boxes), at_once):
        here = torch.tensor(boxes[start : start + at_once]) + torch.tensor([0, 1, 0, 1])
        yield model(
            torch.cat([_painted(picture, painted, box) for box in here]).contiguous(memory_format=torch.channels_last)
        )


def _painted(picture: Tensor, painted: Tensor, box: Tensor) -> Tensor:
    """The picture with one rectangle painted over, channel by channel: as Captum hands on a single picture."""
    top, bottom, left, right = box.tolist()
    found = picture.clone(memory_format=torch.contiguous_format)
    found[:, :, top:bottom, left:right] = painted[:, :, top:bottom, left:right]
    return found


def _needed(window: Window, width: int) -> int:
    """How many neighbouring inputs `width` neighbouring outputs read."""
    return (width - 1) * window.stride + window.dilation * (window.kernel - 1) + 1


def _slide(module: nn.Module, weight: Tensor | None, cut: Tensor) -> Tensor:
    """The layer over windows that bring their own padding."""
    if isinstance(module, nn.Conv2d) and weight is not None:
        return nn.functional.conv2d(cut, weight, module.bias, module.stride, 0, module.dilation, module.groups)
    found: Tensor = module(cut)
    return found


def _through(modules: Sequence[nn.Module], maps: Tensor) -> Tensor:
    for module in modules:
        maps = module(maps)
    return maps


def _cut(
    known: Tensor,
    line: int,
    patch: Tensor,
    start: tuple[Tensor, Tensor],
    size: tuple[int, int],
    at: tuple[Tensor, Tensor],
) -> Tensor:
    """Windows of a known map, with what has changed put in: (n, h, w, C).

    known  (H W, C), padded; line: its W
    patch  (n, h', w', C) what has changed, and `at` (n,), (n,) where that begins
    start  (n,), (n,) where the windows begin; size: (h, w) theirs
    """
    count, height, width, channels = patch.shape
    down, across = _lines(start[0], size[0]), _lines(start[1], size[1])
    cut = known.index_select(0, _grid(down * line, across).flatten())
    down, across = down - at[0][:, None], across - at[1][:, None]
    inside = _grid((down >= 0) & (down < height), (across >= 0) & (across < width)).flatten().nonzero()[:, 0]
    first = torch.arange(count, device=patch.device)[:, None] * (height * width)
    of = _grid(first + down * width, across).flatten().index_select(0, inside)
    cut.index_copy_(0, inside, patch.reshape(-1, channels).index_select(0, of))
    return cut.view(count, *size, channels)


def _lines(start: Tensor, width: int) -> Tensor:
    """(n,) -> (n, width): the lines from each start on."""
    return start[:, None] + torch.arange(width, device=start.device)


def _grid(down: Tensor, across: Tensor) -> Tensor:
    """(n, h) and (n, w) -> (n, h, w): the sum of numbers, or both of truths."""
    down, across = down[:, :, None], across[:, None, :]
    return down & across if down.dtype == torch.bool else down + across


def _rows(maps: Tensor) -> Tensor:
    """(1, C, H, W) -> (H W, C)."""
    return maps[0].permute(1, 2, 0).reshape(-1, maps.shape[1])


def _as_rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)


def _as_maps(rows: Tensor) -> Tensor:
    return rows.permute(0, 3, 1, 2)
