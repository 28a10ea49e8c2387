"""What must go from a picture until the answer changes: asked of the network itself, by hiding what a map calls important first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgg_viz.maths.outputs import meaning

Answer = Callable[[Tensor], Tensor]  # pictures (B, C, H, W) -> logits (B, K)

BLUR = (
    1 / 6
)  # standard deviation of the blur, as a share of the side: at half of that a shape as large as the picture is still known
TONES = {"grey": 0.5, "black": 0.0, "white": 1.0}
FINE = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COARSE = (0.0, 0.03, 0.08, 0.16, 0.3, 0.6, 1.0)  # for a network whose passes take a while


@dataclass(frozen=True, slots=True)
class Path:
    """What the network said while more and more of the picture was hidden in one order.

    shares   (S,) hidden, [0, 1], rising from 0 to 1
    logits   (S, K)
    outputs  what they mean: "softmax", or "sigmoid" where one logit decides between two classes
    """

    shares: Tensor
    logits: Tensor
    outputs: str = "softmax"

    @property
    def probabilities(self) -> Tensor:
        """(S, K) of the classes."""
        return meaning(self.logits, self.outputs)

    @property
    def answers(self) -> Tensor:
        """(S,) class index."""
        return self.logits.argmax(1)

    def changed(self, answer: int) -> int | None:
        """The first place at which the answer is another one, or None; at the first place nothing is hidden yet."""
        other = (self.answers[1:] != answer).nonzero()
        return int(other[0]) + 1 if len(other) else None


@dataclass(frozen=True, slots=True)
class Removal:
    """The same in the map's order and in random ones.

    answer, expected  class indices: what the network says, and what it was expected, or likely, to say instead
    by_map            the path in the map's order, its shares refined where the answer changes
    by_chance         paths in random orders of the same grain
    rank              (H, W) place of each pixel in the map's order, [0, 1): hide those below a share
    hidden            (C, H, W) the picture where `share` is hidden
    share             least share found at which the answer changes, or None: it never does
    blur              standard deviation of the blur [px]
    grain             a random order is made of so many values a side
    passes            forward passes
    """

    answer: int
    expected: int
    by_map: Path
    by_chance: tuple[Path, ...]
    rank: Tensor
    hidden: Tensor
    share: float | None
    cover: str
    all_hidden: Mapping[str, Tensor]
    blur: float
    grain: int
    passes: int

    @property
    def becomes(self) -> int | None:
        """What the network says once the answer has changed."""
        at = self.by_map.changed(self.answer)
        return None if at is None else int(self.by_map.answers[at])

    @property
    def chance_shares(self) -> list[float | None]:
        """For each random order the share at which the answer has changed, as far as the steps tell; None: never."""
        places = [path.changed(self.answer) for path in self.by_chance]
        return [None if at is None else float(path.shares[at]) for path, at in zip(self.by_chance, places, strict=True)]


def hide_stepwise(
    answer: Answer,
    image: Tensor,
    evidence: Tensor,
    *,
    said: int,
    expected: int,
    shares: Sequence[float] = FINE,
    orders: int = 8,
    refinements: int = 4,
    seed: int = 0,
    batch: int = 32,
    outputs: str = "softmax",
) -> Removal:
    """Hide the picture step by step, the pixels with the most evidence first, and beside that in random orders.

    answer       the network
    image        (C, H, W) in [0, 1]
    evidence     (H, W): more is hidden earlier; equal values in a random order, so that a flat map is no better than chance
    said         the network's answer for the whole picture
    shares       hidden at each step, [0, 1], rising, from 0 on
    refinements  halvings of the step at which the answer changes, in the map's order
    outputs      what the logits mean

    Hidden means blurred: patches of one colour are objects of their own to a network. But a blur leaves the colours, and some
    networks answer by them: where the answer stays when all is blurred, the first tone hides that changes it.
    A random order is smooth noise, as coarse as a layer's map, because scattered pixels hide nothing.
    """
    side = min(image.shape[-2:])
    grain = max(3, min(14, side // 4))
    dice = torch.Generator().manual_seed(seed)
    covers = {"blur": blur(image, side * BLUR), **{name: torch.full_like(image, tone) for name, tone in TONES.items()}}
    ranks = [_rank(evidence.detach().cpu(), dice)]
    for _ in range(orders):
        noise = torch.randn(1, 1, grain, grain, generator=dice)
        ranks.append(
            _rank(functional.interpolate(noise, image.shape[-2:], mode="bicubic", align_corners=False)[0, 0], dice)
        )

    def hide(rank: Tensor, share: float) -> Tensor:
        return torch.where((rank < share).to(image.device), covers[cover], image)

    wanted = [(order, share) for order in range(len(ranks)) for share in shares if 0 < share < 1]
    start, blurred = answer(torch.stack([image, covers["blur"]])).detach().float().cpu()
    all_hidden = {"blur": blurred}
    for tone in TONES if int(blurred.argmax()) == said else ():
        all_hidden[tone] = answer(covers[tone][None])[0].detach().float().cpu()
        if int(all_hidden[tone].argmax()) != said:
            break
    changing = [name for name, row in all_hidden.items() if int(row.argmax()) != said]
    cover = changing[0] if changing else "blur"
    ends = torch.stack([start, all_hidden[cover]])  # nothing and everything hidden are the same in every order
    rows = [ends[:1]]
    for start in range(0, len(wanted), batch):
        some = torch.stack([hide(ranks[order], share) for order, share in wanted[start : start + batch]])
        rows.append(answer(some).detach().float().cpu())
    between = torch.cat(rows)[1:].view(len(ranks), -1, ends.shape[1])
    steps = torch.tensor([0.0, *(share for share in shares if 0 < share < 1), 1.0])
    paths = [Path(steps, torch.cat([ends[:1], part, ends[1:]]), outputs) for part in between]
    by_map, passes = paths[0], 1 + len(all_hidden) + len(wanted)
    for _ in range(refinements if by_map.changed(said) else 0):
        at = by_map.changed(said) or 1  # there is one: a step more can only bring it forward
        middle = float(by_map.shares[at - 1] + by_map.shares[at]) / 2
        by_map = _with(by_map, at, middle, answer(hide(ranks[0], middle)[None]).detach().float().cpu())
        passes += 1
    last = by_map.changed(said)
    share = None if last is None else float(by_map.shares[last])
    return Removal(
        said,
        expected,
        by_map,
        tuple(paths[1:]),
        ranks[0],
        hide(ranks[0], 1.0 if share is None else share),
        share,
        cover,
        all_hidden,
        side * BLUR,
        grain,
        passes,
    )


def blur(image: Tensor, deviation: float) -> Tensor:
    """A picture or map (C, H, W) without its detail: Gaussian of `deviation` [px], mirrored at the border."""
    height, width = image.shape[-2:]
    reach = max(1, min(math.ceil(3 * deviation), height - 1, width - 1))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    weights = torch.exp(-places.square() / (2 * deviation**2))
    weights = weights / weights.sum()
    padded = functional.pad(image[:, None], (reach,) * 4, mode="reflect")
    across = functional.conv2d(padded, weights.view(1, 1, 1, -1))
    smooth: Tensor = functional.conv2d(across, weights.view(1, 1, -1, 1))[:, 0]
    return smooth


def _rank(values: Tensor, dice: torch.Generator) -> Tensor:
    """The place of each pixel when the largest value comes first, [0, 1); ties by the dice."""
    flat = values.flatten().double()
    shuffled = torch.randperm(flat.numel(), generator=dice)
    order = shuffled[flat[shuffled].argsort(descending=True, stable=True)]
    rank = torch.empty(flat.numel(), dtype=torch.float64)
    rank[order] = torch.arange(flat.numel(), dtype=torch.float64) / flat.numel()
    return rank.view(values.shape)


def _with(path: Path, at: int, share: float, row: Tensor) -> Path:
    """The path with one more step before the place `at`."""
    shares = torch.cat([path.shares[:at], torch.tensor([share]), path.shares[at:]])
    return Path(shares, torch.cat([path.logits[:at], row, path.logits[at:]]), path.outputs)
