"""A picture of any size brought to the square that a network reads, by the network's rule."""

from __future__ import annotations

from torch import Tensor

from vgg_viz.maths.images import centre_crop, middle, resize
from vgg_viz.records import Resize


def fit(image: Tensor, fitting: int | Resize) -> Tensor:
    """A picture as the network reads it: (.., side, side), by the network's rule.

    Args:
        image: (C, H, W) or (B, C, H, W) float.
        fitting: The rule; a number: the shorter side to this, then the centre square [px].
    """
    rule = Resize(fitting) if isinstance(fitting, int) else fitting
    length = rule.shorter or rule.side
    if rule.squash:
        image = resize(image, length, "stretch", rule.interpolation)
    else:
        image = resize(middle(image), length, interpolation=rule.interpolation)
    return centre_crop(image, rule.side)


def fitting_text(rule: Resize) -> str:
    """What of a picture a network sees by this rule, as a phrase."""
    length = rule.shorter or rule.side
    if length == rule.side:
        how = "the whole picture, squashed" if rule.squash else "the centre square"
        return f"{how}, at {rule.side} px"
    whole = f"squashed to {length} × {length} px" if rule.squash else f"whose shorter side has {length} px"
    return f"the centre {rule.side} px of a picture {whole}"
