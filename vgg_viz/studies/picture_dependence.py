"""Whether a network's answers depend on the picture at all: told without any label, from one picture on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vgg_viz.capture.predict import predict_logits
from vgg_viz.data import shapes
from vgg_viz.maths.outputs import both_sides

MOST = 16  # of the user's pictures
PAINTED = 4  # pictures of shapes put beside them; and a black, a white, a noisy one, and one that gets brighter from left to right

# Trained networks differ by 0.5 to 0.9 on such pictures, one that reads them divided by 255 twice by 0.0002, random ones by 0.0006 to 0.015.
LEAST = 0.05
SURE, MOVING = 0.9, 0.15


@dataclass(frozen=True, slots=True)
class Dependence:
    """How much answers differ between pictures that have nothing in common.

    Attributes:
        answers: Mean distance of an answer from the mean answer, half the sum of the differences in probability: [0, 1].
        scores: Spread of the scores over the pictures, as a share of their spread over the classes.
        favourite: Mean probability of the class that is said most, [0, 1].
    """

    answers: float
    scores: float
    favourite: float

    @property
    def hardly(self) -> bool:
        """Whether the answers hardly depend on the picture.

        A network that is sure of one class whatever it sees is let off while its scores still move: the others may be of that class.
        """
        return self.answers < LEAST and not (self.favourite > SURE and self.scores > MOVING)


def picture_dependence(model: nn.Module, images: Tensor, *, seed: int = 0) -> Dependence:
    """How much the answers depend on the picture: the user's, and some others for comparison.

    Args:
        model: A network of this package.
        images: (N, C, H, W) in [0, 1], N at least 1.
        seed: Of the pictures beside them.
    """
    chosen = images[torch.linspace(0, len(images) - 1, min(len(images), MOST)).round().long()]
    logits = both_sides(predict_logits(model, torch.cat([chosen, _others(images, seed)])).double())
    # Of labels that do not exclude each other, the one that moves most counts.
    several = getattr(model.architecture, "outputs", "softmax") == "sigmoid" and logits.shape[1] > 2
    shares = logits.sigmoid() if several else logits.softmax(1)
    away = (shares - shares.mean(0)).abs()
    centred = logits - logits.mean(1, keepdim=True)
    mean = centred.mean(0)
    return Dependence(
        float(away.mean(0).amax() if several else away.sum(1).mean() / 2),
        float((centred - mean).square().mean().sqrt() / mean.square().mean().sqrt().clamp(min=1e-12)),
        float(shares.mean(0).amax()),
    )


def _others(images: Tensor, seed: int) -> Tensor:
    channels, side = images.shape[1], images.shape[-1]
    flat = images.new_zeros(1, channels, side, side)
    noise = torch.rand(flat.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    ramp = torch.linspace(0, 1, side).to(images).expand(1, channels, side, side)
    painted = shapes.paint(PAINTED, seed=seed, split="test", side=side).images.to(images)
    return torch.cat([flat, flat + 1, noise, ramp, painted.mean(1, keepdim=True) if channels == 1 else painted])
