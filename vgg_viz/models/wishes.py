"""What a user says of a file: which of its weights, and what stands in the place of what the file says or leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The option of the command line that settles each.
OPTIONS = {
    "arch": "--arch",
    "plan": "--plan",
    "image_side": "--image-size",
    "padding": "--padding",
    "mean": "--mean",
    "std": "--std",
    "bgr": "--bgr",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user wants of a file; None: nothing was said.

    Attributes:
        key: Where in the file the weights lie.
        weights: "ema" or "raw".
        head: Name of the last layer, where a file has several.
        arch: A variant's name.
        plan: The chain, in the words of `models.plan`.
        image_side: Of the pictures [px].
        padding: Of the 3x3 convolutions [px].
        mean: Subtracted per channel (red, green, blue), on pictures in [0, 1].
        std: Divided by per channel.
        bgr: Whether the network reads blue first.
        outputs: What the logits mean.
        resize: How pictures are fitted, as `models.resize_rule` reads it.
        names: Whether class names are looked for in the file.
    """

    key: str | None = None
    weights: str | None = None
    head: str | None = None
    arch: str | None = None
    plan: str | None = None
    image_side: int | None = None
    padding: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool | None = None
    outputs: str | None = None
    resize: str | int | None = None
    names: bool = True

    @property
    def fields(self) -> dict[str, Any]:
        """What was said of image side, padding, mean and std."""
        said = {name: getattr(self, name) for name in ("image_side", "padding", "mean", "std")}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def settled(self) -> set[str]:
        """The options that were given."""
        return {option for name, option in OPTIONS.items() if getattr(self, name) is not None}
