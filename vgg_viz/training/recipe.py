"""What a training run is told: a handful of numbers that fit on one line, and the optimiser made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from vgg_viz.data.transforms import AUGMENTATIONS
from vgg_viz.errors import InputRefused, UnknownName


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; together with the data and the architecture it decides every bit of the result.

    Attributes:
        learning_rate: The highest; the schedule goes up to it and down again.
        schedule: "cosine": up over the first `warmup` of the run, then half a cosine to zero; "steps": divided by 10
            after a half and after three quarters (the paper waits for a plateau); "constant".
        augment: A key of `AUGMENTATIONS`.
        seed: Of the weights, the order of pictures, their random views and dropout.
    """

    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 0.003
    momentum: float = 0.9
    weight_decay: float = 0.05
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    warmup: float = 0.15
    augment: str = "none"
    seed: int = 0


def usual_recipe(arch: str, data: str, **overrides: int | float | str | None) -> Recipe:
    """The recipe when nobody says more: AdamW for Tiny VGG, the paper's SGD for the others.

    Args:
        arch: The name of a variant, such as "vgg16_bn".
        data: "shapes", or a folder of pictures.
        overrides: Fields of `Recipe`; None leaves the usual value.

    Raises:
        UnknownName: A name is unknown; the nearest known one is named.
        InputRefused: A value is out of range, or does not fit.
    """
    tiny = arch.lower().replace("-", "_") in ("tiny_vgg", "tinyvgg")
    if tiny:
        # Painted shapes may not be mirrored or enlarged further than they are painted; moving them keeps what they are.
        recipe = Recipe(augment="move" if data == "shapes" else "light")
    else:
        rate = 0.05 if arch.lower().endswith("_bn") else 0.01
        recipe = Recipe(20, 128, rate, weight_decay=5e-4, optimizer="sgd", augment="light")
    return require_trainable(replace(recipe, **{key: value for key, value in overrides.items() if value is not None}))  # type: ignore[arg-type]


def require_trainable(recipe: Recipe) -> Recipe:
    """`recipe`, if it can be followed; raises InputRefused with the first number that cannot."""
    if recipe.augment not in AUGMENTATIONS:
        raise UnknownName("augmentation", recipe.augment, AUGMENTATIONS)
    faults = [
        (recipe.epochs < 1, f"{recipe.epochs} epochs were asked for; at least 1 is needed"),
        (recipe.batch_size < 1, f"a batch of {recipe.batch_size} was asked for; at least 1 picture is needed"),
        (
            not 0 < recipe.learning_rate < math.inf,
            f"a learning rate of {recipe.learning_rate:g} was asked for; it must lie above 0",
        ),
        (
            recipe.optimizer not in ("adamw", "sgd"),
            f"the optimiser {recipe.optimizer!r} is unknown; adamw and sgd are known",
        ),
        (
            recipe.schedule not in ("cosine", "steps", "constant"),
            f"the schedule {recipe.schedule!r} is unknown; cosine, steps and constant are known",
        ),
    ]
    for wrong, sentence in faults:
        if wrong:
            raise InputRefused(f"{sentence}.")
    return recipe


def rate_at(recipe: Recipe, progress: float) -> float:
    """The learning rate at a share of the run, [0, 1]: a pure function, so a resumed run needs no schedule state."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "steps":
        return recipe.learning_rate * (0.1 if progress >= 0.5 else 1.0) * (0.1 if progress >= 0.75 else 1.0)
    if progress < recipe.warmup:
        return recipe.learning_rate * (0.04 + 0.96 * progress / recipe.warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser; weight decay pulls on weights only, never on biases or batch-norm parameters."""
    pulled = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": pulled, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
