"""How slow this machine is now: for passes of the network and for painting, each on its own, and what chapters usually take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from vgg_viz.capture.hooks import evaluating, frozen
from vgg_viz.report.budget import Speed

# Seconds of painting, of a chapter with its files, while the painted probe took PROBE; of the standard preset on the bundled network
# with one thread (processor seconds, so that neighbours on the machine do not count), and what VGG16 adds. No maps, no trials.
PROBE = 0.16
CHAPTERS: dict[str, tuple[float, float]] = {
    "overview": (0.5, 0.2), "training": (0.5, 0.0), "data": (1.5, 0.7), "mistakes": (3.2, 0.0), "examples": (0.8, 0.5),
    "filters": (1.4, 0.6), "receptive-fields": (1.3, 1.0), "forensics": (0.7, 3.0), "activations": (2.2, 3.5), "attention": (1.5, 0.5),
    "relevance": (2.0, 1.0), "localisation": (1.6, 2.0), "evidence": (0.3, 0.0), "explorer": (3.0, 1.0),
}  # fmt: skip
UNKNOWN_CHAPTER = (1.0, 1.0)
A_ROW = 1.5  # more for the attention chapter, for each photograph in its figures of maps
THEIR_FIGURES = 1.2  # more where there were trials
WRITING = 0.9  # the page itself, its numbers, and the end of the process
VGG16_GIGAMACS = 15.5
STEADY = 3.0  # seconds of usual work that the first guess of a ratio weighs as much as


@dataclass(slots=True)
class Ratio:
    """How many times longer than expected things take here, learned while they are done; what is long past weighs less.

    value  the first guess, then what was learned
    """

    value: float = 1.0
    expected: float = 0.0
    taken: float = 0.0

    def guess(self, value: float) -> None:
        """Start from a measurement that weighs as much as some seconds of usual work."""
        self.value = min(20.0, max(0.05, value))
        self.expected, self.taken = STEADY, STEADY * self.value

    def learn(self, expected: float, taken: float) -> None:
        """Something that should have taken `expected` took `taken` [s]."""
        self.expected, self.taken = 0.7 * self.expected + expected, 0.7 * self.taken + taken
        if self.expected > 0:
            self.value = min(20.0, max(0.05, self.taken / self.expected))


def painted(slug: str, gigamacs: float, *, rows: int, trials: bool = False) -> float:
    """Seconds of painting of a chapter with its files, where `CHAPTERS` was measured.

    gigamacs  that a picture costs the network; rows: photographs in a figure of maps; trials: whether it shows trials
    """
    small, more = CHAPTERS.get(slug, UNKNOWN_CHAPTER)
    attention = A_ROW * rows + THEIR_FIGURES * trials if slug == "attention" else 0.0
    return small + more * min(1.5, gigamacs / VGG16_GIGAMACS) + attention


def painting(clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times longer than usual painting takes here and now: a small chart is painted, after one that finds the fonts."""
    from vgg_viz.figures.network import parameters_and_macs
    from vgg_viz.figures.write import adaptive, vector

    def chart() -> float:
        started = clock()
        figure = parameters_and_macs(["conv1_1", "conv1_2", "fc6"], [1000, 2000, 3000], [3000, 2000, 1000])
        adaptive(vector(figure))
        return clock() - started

    chart()
    return chart() / PROBE


def measured(model: nn.Module, side: int, *, large: bool, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Time a forward pass, and one with its way back, a picture.

    large  one picture, once each, for a pass takes a good part of a second; a small network is timed on eight, as it is used, and
           the median of some tries counts
    """
    weight = next(model.parameters())
    count = 1 if large else 8
    channels = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    images = torch.full((count, channels, side, side), 0.5, device=weight.device).to(memory_format=torch.channels_last)

    def timed(run: Callable[[], Tensor]) -> float:
        started = clock()
        float(run().sum())  # waits for a GPU, too
        return max(clock() - started, 1e-9) / count

    def back() -> Tensor:
        given = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(given).amax(1).sum(), given)
        return gradient

    with evaluating(model), frozen(model), torch.inference_mode(False):
        with torch.no_grad():
            forward = median([timed(lambda: model(images)) for _ in range(1 if large else 8)][-7:])
        with torch.enable_grad():
            both = median(timed(back) for _ in range(1 if large else 5))
    # The first pass of a large network also warms up; the way back never takes less than the way there.
    return Speed(min(forward, both / 2) if large else forward, max(both, forward))
